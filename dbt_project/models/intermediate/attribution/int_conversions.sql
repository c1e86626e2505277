{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}") }}
-- What is to be credited: every movement of money in the books, whosoever it is, and every booking. A deleted or voided record has no
-- amount left, so it is none.
with clients as (
    select client_id, timezone from {{ source('leadtrail', 'clients') }}
),

money as (
    select client_id, event_id, lead_id, event_type, stream, occurred_at, value_cents, currency, cluster_id
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where event_type in ('payment_received', 'refund_issued') and value_cents <> 0
),

leads as (
    select client_id, lead_id, booked_at, currency, cluster_id
    from {{ touched_rows(ref('int_leads')) }} as touched
    where is_booked
),

conversions as (
    select
        event_id as conversion_id,
        client_id,
        lead_id,
        case when event_type = 'refund_issued' then 'refund' when stream = 'sales_receipts' then 'sales_receipt' else 'payment' end as conversion_type,
        occurred_at as converted_at,
        value_cents as revenue_cents,
        coalesce(currency, 'unknown') as currency,
        cluster_id
    from money

    union all

    select {{ id_of(["'booking'", 'lead_id']) }}, client_id, lead_id, 'booking', booked_at, 0, currency, cluster_id
    from leads
)

select
    conversions.conversion_id,
    conversions.client_id,
    conversions.lead_id,
    conversions.conversion_type,
    conversions.converted_at,
    cast(date_trunc('month', {{ wall_clock('conversions.converted_at', 'clients.timezone') }}) as date) as converted_month,
    conversions.revenue_cents,
    conversions.currency,
    conversions.cluster_id
from conversions
inner join clients on conversions.client_id = clients.client_id
