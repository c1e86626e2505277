-- A deleted invoice stays, flagged and without amounts: sums fall, and the timeline can still say what happened to it.
-- A void one keeps its id with total and balance 0, so a balance of 0 alone does not mean paid: a payment or credit must be linked.
with invoices as (
    select
        base_quickbooks__invoices.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted,
        case when linked_transactions like '[%' then linked_transactions end as link_list
    from {{ ref('base_quickbooks__invoices') }}
    where rejected_because is null
),

links as (
    select
        invoices.record_key,
        {{ json_text('each_item.item', 'TxnType') }} as linked_type,
        {{ json_text('each_item.item', 'TxnId') }} as linked_id
    from invoices
    {{ json_each('invoices.link_list') }}
),

settlements as (
    select
        record_key,
        max(case when linked_type = 'Estimate' then linked_id end) as estimate_id,
        max(case when linked_type in ('Payment', 'CreditMemo') then 1 else 0 end) = 1 as has_settlement
    from links
    group by record_key
),

flagged as (
    select
        invoices.*,
        coalesce(
            not invoices.is_deleted and invoices.total_cents = 0 and invoices.balance_cents = 0
            and lower(invoices.private_note) like 'voided%',
            false
        ) as is_voided,
        settlements.estimate_id,
        coalesce(settlements.has_settlement, false) as has_settlement
    from invoices
    left join settlements on invoices.record_key = settlements.record_key
),

final as (
    select
        client_id,
        record_key,
        invoice_id,
        doc_number,
        customer_id,
        customer_name,
        estimate_id,
        txn_on,
        due_on,
        case when not is_deleted then total_cents end as total_cents,
        case when not is_deleted then tax_cents end as tax_cents,
        case when not is_deleted then balance_cents end as balance_cents,
        case when not is_deleted then deposit_cents end as deposit_cents,
        currency,
        exchange_rate,
        case
            when is_deleted then 'deleted'
            when is_voided then 'voided'
            when total_cents > 0 and balance_cents = 0 and (has_settlement or deposit_cents >= total_cents) then 'paid'
            when total_cents > 0 and balance_cents > 0 and balance_cents < total_cents then 'part_paid'
            when balance_cents > 0 then 'open'
            else 'unclear'
        end as payment_state,
        has_settlement,
        email_status,
        case when lower(replace(email_status, '_', '')) in ('emailsent', 'sent') then delivered_at end as sent_at,
        bill_email,
        {{ email_normalized('bill_email') }} as email_normalized,
        class_name,
        custom_fields,
        private_note,
        customer_memo,
        change_number,
        is_deleted,
        is_voided,
        created_at,
        updated_at,
        received_at,
        via
    from flagged
)

select * from final
