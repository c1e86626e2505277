-- A deleted record stays, flagged and without amounts: sums fall, and the timeline can still say what happened to it.
-- A sales receipt is work and payment in one: QuickBooks makes no payment object for it.
with sales_receipts as (
    select
        base_quickbooks__sales_receipts.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from {{ ref('base_quickbooks__sales_receipts') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        sales_receipt_id,
        doc_number,
        customer_id,
        customer_name,
        txn_on,
        case when not is_deleted then total_cents end as total_cents,
        case when not is_deleted then tax_cents end as tax_cents,
        currency,
        exchange_rate,
        reference,
        payment_method_id,
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
    from sales_receipts
)

select * from final
