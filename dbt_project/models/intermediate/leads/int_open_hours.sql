{{ config(materialized='table') }}
-- When each client's office is open, as UTC instants: through summer time and winter time, with how many open seconds went before. The
-- open time between two instants is then one subtraction.
with zones as (
    select distinct
        coalesce(hours.client_id, '*') as hours_of,
        clients.timezone
    from {{ source('leadtrail', 'clients') }} as clients
    left join (select distinct client_id from {{ ref('business_hours') }}) as hours on clients.client_id = hours.client_id
),

days as (
    {{ every_day() }}
),

hours as (
    select
        zones.hours_of, zones.timezone, days.day,
        case when holidays.day is null then business_hours.opens end as opens,
        case when holidays.day is null then business_hours.closes end as closes
    from zones
    cross join days
    left join {{ ref('business_hours') }} as business_hours
        on zones.hours_of = business_hours.client_id and {{ weekday('days.day') }} = business_hours.weekday
    left join (
        select client_id, cast(day as date) as day, min(name) as name from {{ ref('holidays') }} group by 1, 2
    ) as holidays
        on days.day = holidays.day and (holidays.client_id = zones.hours_of or holidays.client_id = '*')
),

instants as (
    select
        hours_of, timezone, day,
        {{ utc_of("cast(cast(day as " ~ text_type() ~ ") || ' ' || coalesce(opens, '00:00') || ':00' as timestamp)", 'timezone') }} as opens_at,
        {{ utc_of("cast(cast(day as " ~ text_type() ~ ") || ' ' || coalesce(closes, opens, '00:00') || ':00' as timestamp)", 'timezone') }} as closes_at
    from hours
)

select
    hours_of || '|' || timezone || '|' || cast(day as {{ text_type() }}) as open_hours_key,
    hours_of,
    timezone,
    day,
    opens_at,
    closes_at,
    cast(coalesce(sum({{ epoch_seconds('closes_at') }} - {{ epoch_seconds('opens_at') }}) over (
        partition by hours_of, timezone order by day rows between unbounded preceding and 1 preceding
    ), 0) as bigint) as open_seconds_before
from instants
