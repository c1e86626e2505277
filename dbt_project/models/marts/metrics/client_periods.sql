-- Weeks (Monday to Sunday) and months on each client's clock, from the first day we know of. A month is over when its last week is: before
-- that, nobody can say what its weeks and the month together would tell of single people (see safe_figures).
with clock as (
    select {{ as_of() }} as as_of
),

firsts as (
    select client_id, min(occurred_at) as first_at from {{ ref('fct_lead_events') }} group by client_id
),

clients as (
    select
        clients.client_id,
        clock.as_of,
        cast({{ wall_clock('firsts.first_at', 'clients.timezone') }} as date) as first_day,
        cast({{ wall_clock('clock.as_of', 'clients.timezone') }} as date) as today
    from {{ source('leadtrail', 'clients') }} as clients
    inner join firsts on clients.client_id = firsts.client_id
    cross join clock
),

calendar as (
    select
        day,
        cast(date_trunc('week', day) as date) as week_start,
        cast(date_trunc('month', day) as date) as month_start
    from ({{ every_day() }}) as every_day
),

starts as (
    select 'week' as kind, week_start as period_start, max(day) + 1 as period_end, max(day) + 1 as over_on from calendar group by week_start

    union all

    select 'month', month_start, max(day) + 1, max(week_start) + 7 from calendar group by month_start
)

select
    clients.client_id || '|' || starts.kind || '|' || cast(starts.period_start as {{ text_type() }}) as period_key,
    clients.client_id,
    starts.kind,
    starts.period_start,
    starts.period_end,
    clients.today >= starts.over_on as is_over,
    clients.as_of
from clients
inner join starts on starts.period_end > clients.first_day and starts.period_start <= clients.today
