-- A deleted record stays, flagged and without amounts: sums fall, and the timeline can still say what happened to it.
with estimates as (
    select
        base_quickbooks__estimates.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from {{ ref('base_quickbooks__estimates') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        estimate_id,
        doc_number,
        customer_id,
        customer_name,
        txn_on,
        case when not is_deleted then total_cents end as total_cents,
        case when not is_deleted then tax_cents end as tax_cents,
        currency,
        exchange_rate,
        status as provider_status,
        lower(status) as status,
        accepted_on,
        accepted_by,
        expires_on,
        case when lower(replace(email_status, '_', '')) in ('emailsent', 'sent') then delivered_at end as sent_at,
        email_status,
        bill_email,
        class_name,
        custom_fields,
        private_note,
        change_number,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at,
        via
    from estimates
)

select * from final
