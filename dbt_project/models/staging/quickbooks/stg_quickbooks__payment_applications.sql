-- What each payment was used for. A deleted payment has no applications any more: the invoice is owed again.
with payments as (
    select
        base_quickbooks__payments.*,
        case when lines like '[%' then lines end as line_list
    from {{ ref('base_quickbooks__payments') }}
    where rejected_because is null and coalesce(provider_status, '') <> 'Deleted' and not is_absent
),

applied as (
    select
        payments.client_id,
        payments.record_key as payment_key,
        payments.payment_id,
        payments.txn_on as paid_on,
        payments.created_at,
        payments.currency,
        payments.received_at,
        each_item.item_number as line_number,
        {{ typed_value(json_text('each_item.item', 'Amount'), 'money') }} as applied_cents,
        {{ json_text('each_item.item', 'LinkedTxn[0].TxnType') }} as linked_type,
        {{ json_text('each_item.item', 'LinkedTxn[0].TxnId') }} as linked_id
    from payments
    {{ json_each('payments.line_list') }}
),

final as (
    select
        client_id,
        payment_key || ':' || cast(line_number as {{ text_type() }}) as application_key,
        payment_key,
        payment_id,
        line_number,
        linked_type,
        linked_id,
        case when linked_type = 'Invoice' then client_id || ':' || linked_id end as invoice_key,
        applied_cents,
        currency,
        paid_on,
        created_at,
        received_at
    from applied
)

select * from final
