{{ config(meta={'dagster': {'ref': {'name': 'attribution_by_channel'}}}) }}
-- Per client, month and currency: what each shown model gives to all channels, unattributed among them, is payments + sales receipts -
-- refunds in the staged books. Compared with staging, not with the timeline, so money that identity or the timeline lost is found here.
with books as (
    {%- for model, sign in {'payments': '', 'sales_receipts': '', 'refund_receipts': '-'}.items() %}
    select client_id, coalesce(created_at, received_at) as moved_at, {{ sign }}total_cents as cents, coalesce(currency, 'unknown') as currency
    from {{ ref('stg_quickbooks__' ~ model) }}
    where not is_deleted and not is_voided and total_cents <> 0
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

held as (
    select
        books.client_id, cast(date_trunc('month', {{ wall_clock('books.moved_at', 'clients.timezone') }}) as date) as month,
        books.currency, sum(books.cents) as cents
    from books
    inner join {{ source('leadtrail', 'clients') }} as clients on books.client_id = clients.client_id
    group by 1, 2, 3
),

expected as (
    select held.*, models.model
    from held
    inner join {{ ref('attribution_models') }} as models on held.client_id = models.client_id and models.is_shown
),

credited as (
    select client_id, month, currency, model, sum(revenue_cents) as cents
    from {{ ref('attribution_by_channel') }}
    where money_credit > 0
    group by client_id, month, currency, model
)

select
    coalesce(expected.client_id, credited.client_id) as client_id, coalesce(expected.month, credited.month) as month,
    coalesce(expected.model, credited.model) as model, expected.cents as held_cents, credited.cents as credited_cents
from expected
full outer join credited
    on expected.client_id = credited.client_id and expected.month = credited.month and expected.model = credited.model
    and expected.currency = credited.currency
where coalesce(expected.cents, 0) <> coalesce(credited.cents, 0)
