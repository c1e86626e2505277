{{ config(materialized='table') }}
-- Money in the books that names nobody: a receipt may have no customer. It is on no timeline, and still revenue.
with money as (
    select event_id, record_uid, client_id, event_type, stream, occurred_at, value_cents, currency
    from {{ ref('int_events__quickbooks') }}
    where event_type in ('payment_received', 'refund_issued') and value_cents <> 0
)

select
    money.event_id as conversion_id,
    money.client_id,
    case when money.event_type = 'refund_issued' then 'refund' when money.stream = 'sales_receipts' then 'sales_receipt' else 'payment' end as conversion_type,
    money.occurred_at as converted_at,
    cast(date_trunc('month', {{ wall_clock('money.occurred_at', 'clients.timezone') }}) as date) as converted_month,
    money.value_cents as revenue_cents,
    coalesce(money.currency, 'unknown') as currency
from money
inner join {{ source('leadtrail', 'clients') }} as clients on money.client_id = clients.client_id
where not exists (select 1 from {{ ref('int_identity') }} as identity where identity.record_uid = money.record_uid and identity.provider = 'quickbooks')
