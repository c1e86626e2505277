-- The subtotal line repeats the lines above it and is left out; a discount line counts against them.
with invoices as (
    select
        base_quickbooks__invoices.*,
        case when lines like '[%' then lines end as line_list
    from {{ ref('base_quickbooks__invoices') }}
    where rejected_because is null and coalesce(provider_status, '') <> 'Deleted' and not is_absent
),

lines as (
    select
        invoices.client_id,
        invoices.record_key as invoice_key,
        invoices.invoice_id,
        invoices.currency,
        invoices.received_at,
        each_item.item_number as line_number,
        lower(replace({{ json_text('each_item.item', 'DetailType') }}, '_', '')) as detail_type,
        {{ typed_value(json_text('each_item.item', 'Amount'), 'money') }} as amount_cents,
        {{ json_text('each_item.item', 'Description') }} as description,
        {{ json_text('each_item.item', 'SalesItemLineDetail.ItemRef.value') }} as item_id,
        {{ json_text('each_item.item', 'SalesItemLineDetail.ItemRef.name') }} as item_name,
        {{ typed_value(json_text('each_item.item', 'SalesItemLineDetail.Qty'), 'double') }} as quantity,
        {{ typed_value(json_text('each_item.item', 'SalesItemLineDetail.ServiceDate'), 'date') }} as served_on,
        {{ json_text('each_item.item', 'LinkedTxn[0].TxnId') }} as linked_id,
        {{ json_text('each_item.item', 'LinkedTxn[0].TxnType') }} as linked_type
    from invoices
    {{ json_each('invoices.line_list') }}
),

final as (
    select
        client_id,
        invoice_key || ':' || cast(line_number as {{ text_type() }}) as line_key,
        invoice_key,
        invoice_id,
        line_number,
        case detail_type
            when 'salesitemlinedetail' then 'item'
            when 'discountlinedetail' then 'discount'
            when 'descriptiononly' then 'description'
            when 'grouplinedetail' then 'group'
            else detail_type
        end as line_type,
        case when detail_type = 'discountlinedetail' then -amount_cents else amount_cents end as amount_cents,
        currency,
        description,
        item_id,
        item_name,
        quantity,
        served_on,
        linked_id,
        linked_type,
        received_at
    from lines
    where coalesce(detail_type, '') <> 'subtotallinedetail'
)

select * from final
