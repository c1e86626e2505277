{{ config(materialized='view') }}
-- The ledger between the two booking rates: standard = booked / (calls - these); raw knows no exclusions.
select
    calls.event_id,
    calls.client_id,
    calls.month,
    calls.channel,
    calls.counted_as as excluded_as,
    calls.reason,
    calls.decided_by,
    calls.agent,
    calls.called_at,
    calls.duration_seconds,
    calls.is_first_of_caller,
    calls.lead_id,
    calls.person_id,
    calls.received_at as known_since,
    events.provider,
    events.stream,
    events.record_id
from {{ ref('int_calls') }} as calls
inner join {{ ref('fct_lead_events') }} as events on calls.event_id = events.event_id
where calls.counted_as not in ('booked', 'unbooked')
