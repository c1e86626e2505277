{{ config(materialized='view') }}
-- Metrics of quotes, by the month in which each was sent (or written, if nobody sent it). An open quote is not counted until it is 30 days old.
with clock as (
    select {{ as_of() }} as as_of
),

events as (
    select
        record_uid,
        min(client_id) as client_id,
        min(lead_id) as lead_id,
        min(person_id) as person_id,
        coalesce(min(case when event_type = 'estimate_sent' then occurred_at end), min(case when event_type = 'estimate_created' then occurred_at end)) as quoted_at,
        min(case when event_type = 'estimate_accepted' then occurred_at end) as accepted_at,
        min(case when event_type = 'estimate_declined' then occurred_at end) as declined_at,
        max(value_cents) as value_cents
    from {{ ref('fct_lead_events') }}
    where event_type in ('estimate_created', 'estimate_sent', 'estimate_accepted', 'estimate_declined')
        and event_type between 'estimate_accepted' and 'estimate_sent'  -- by a range an engine leaves out the rest while it reads
    group by record_uid
),

quotes as (
    select
        events.client_id, events.person_id,
        cast(date_trunc('month', {{ local_day('events.quoted_at', 'zone_days') }}) as date) as month,
        coalesce(leads.channel, 'unknown') as channel,
        events.value_cents,
        events.accepted_at is not null as is_accepted,
        events.accepted_at is not null or events.declined_at is not null
            or {{ epoch_seconds('clock.as_of') }} - {{ epoch_seconds('events.quoted_at') }} > 30 * 86400 as is_decided
    from events
    inner join {{ source('leadtrail', 'clients') }} as clients on events.client_id = clients.client_id
    left join {{ ref('int_zone_days') }} as zone_days
        on clients.timezone = zone_days.timezone and cast(events.quoted_at as date) = zone_days.day
    left join {{ ref('int_leads') }} as leads on events.lead_id = leads.lead_id
    cross join clock
)

{% set open = {'open for less than 30 days': 'not is_decided'} -%}
select * from ({{ metric_rows('quotes', {
    'close_rate': {'counted': 'is_decided', 'met': 'is_accepted', 'excluded': open},
    'close_rate_by_value': {'counted': 'is_decided and value_cents > 0', 'numerator': 'case when is_accepted then value_cents else 0 end', 'denominator': 'value_cents', 'excluded': open},
}) }}) as rows_of_metrics
