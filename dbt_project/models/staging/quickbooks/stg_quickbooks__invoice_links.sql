-- Which estimate an invoice bills, and which payments and credits settle it. One estimate may have many invoices (progress
-- invoicing): its value is the estimate's own, never a sum over this.
with invoices as (
    select
        base_quickbooks__invoices.*,
        case when linked_transactions like '[%' then linked_transactions end as link_list
    from {{ ref('base_quickbooks__invoices') }}
    where rejected_because is null and coalesce(provider_status, '') <> 'Deleted' and not is_absent
),

final as (
    select
        invoices.client_id,
        invoices.record_key || ':' || cast(each_item.item_number as {{ text_type() }}) as link_key,
        invoices.record_key as invoice_key,
        invoices.invoice_id,
        {{ json_text('each_item.item', 'TxnType') }} as linked_type,
        {{ json_text('each_item.item', 'TxnId') }} as linked_id,
        invoices.received_at
    from invoices
    {{ json_each('invoices.link_list') }}
)

select * from final
