-- How far each source can be trusted, without what went wrong there: that is the agency's to mend.
with clock as (
    select client_id, max(as_of) as as_of from {{ ref('client_periods') }} group by client_id
)

select
    health.client_id || '|' || health.provider as source_key,
    health.client_id,
    health.provider,
    case
        when health.last_success_at is null then 'not connected'
        when health.state = 'needs_person' then 'paused'
        when {{ epoch_seconds('clock.as_of') }} - {{ epoch_seconds('health.last_success_at') }} > {{ var('client_safe_late_hours') }} * 3600 then 'late'
        else 'complete'
    end as state,
    health.last_success_at as data_until
from {{ ref('sync_health') }} as health
inner join clock on health.client_id = clock.client_id
