-- On how many days we have anything from a provider: what a metric's coverage stands on. Days and months here are UTC.
with days as (
    select client_id, provider, cast(occurred_at as date) as day
    from {{ ref('fct_lead_events') }}
    group by client_id, provider, cast(occurred_at as date)

    union all

    select client_id, 'search_console', searched_on
    from {{ ref('stg_search_console__by_date') }}
    group by client_id, searched_on
),

-- `any`: all that feeds the timeline, taken together
with_any as (
    select client_id, provider, day from days
    union all
    select client_id, 'any', day from days where provider <> 'search_console' group by client_id, day
),

clock as (
    select cast({{ as_of() }} as date) as today
),

firsts as (
    select client_id, provider, min(day) as first_day
    from with_any
    group by client_id, provider
),

months as (
    select client_id, provider, cast(date_trunc('month', day) as date) as month, count(*) as days_with_data
    from with_any
    group by client_id, provider, cast(date_trunc('month', day) as date)
),

-- a month without anything is the one worth seeing, so months come from the calendar
calendar as (
    select cast(date_trunc('month', day) as date) as month, cast(date_trunc('month', day) + interval '1' month as date) as next_month, day from ({{ every_day() }}) as every_day
),

expected as (
    select firsts.client_id, firsts.provider, calendar.month, count(*) as days,
        min(firsts.first_day) <= calendar.month and calendar.next_month <= min(clock.today) as is_full_month
    from firsts
    cross join clock
    inner join calendar on calendar.day >= firsts.first_day and calendar.day <= clock.today
    group by firsts.client_id, firsts.provider, calendar.month, calendar.next_month
)

select
    expected.client_id || '|' || expected.provider || '|' || cast(expected.month as {{ text_type() }}) as provider_month_key,
    expected.client_id,
    expected.provider,
    expected.month,
    expected.days,
    expected.is_full_month,
    coalesce(months.days_with_data, 0) as days_with_data,
    coalesce(months.days_with_data, 0) / cast(expected.days as {{ double_type() }}) as coverage
from expected
left join months
    on expected.client_id = months.client_id and expected.provider = months.provider and expected.month = months.month
