-- What happened in each client's weeks and months, counted, with how many people that speaks of. Where a week lies in two months, its two
-- parts are counted too: what a week and a month have in common can be worked out from both, so it matters how many people it is.
with happened as (
    select
        client_id, figure, part, currency, week_start, month_start, value, is_person, is_new_in_month, is_of_no_part_before,
        is_first_in_week, is_new_in_week, is_of_no_part_before_in_week
    from {{ ref('int_person_weeks') }}

    union all

    -- whose it is nobody knows: it adds to the sum, and not to the people
    select
        client_id, 'revenue', 'all', currency, cast(date_trunc('week', day) as date), cast(date_trunc('month', day) as date), revenue_cents,
        0, 0, 0, 0, 0, 0
    from (
        select money.*, {{ local_day('money.converted_at', 'zone_days') }} as day
        from {{ ref('int_unowned_money') }} as money
        inner join {{ source('leadtrail', 'clients') }} as clients on money.client_id = clients.client_id
        inner join {{ ref('int_zone_days') }} as zone_days
            on clients.timezone = zone_days.timezone and cast(money.converted_at as date) = zone_days.day
    ) as unowned
),

-- people can't be added up, as one may come twice; where each counts is marked, and marks can
week_parts as (
    select
        client_id, figure, part, currency, week_start, month_start,
        sum(value) as value,
        sum(is_person) as people_of_week_part,
        sum(is_person * is_of_no_part_before) as week_part_of_no_part_before,
        sum(is_new_in_month) as people_of_month,
        sum(is_new_in_month * is_of_no_part_before) as month_of_no_part_before,
        sum(is_first_in_week) as people_of_week,
        sum(is_first_in_week * is_new_in_week) as week_new_in_month,
        sum(is_first_in_week * is_of_no_part_before_in_week) as week_of_no_part_before
    from happened
    group by client_id, figure, part, currency, week_start, month_start
),

counted as (
    {% for kind, (by, new) in {
        'week': (['week_start'], 'week_new_in_month'),
        'month': (['month_start'], 'people_of_month'),
        'week_part': (['week_start', 'month_start'], 'people_of_month'),
    }.items() %}
    select
        client_id, '{{ kind }}' as kind, {{ by[0] }} as period_start,
        {% for start in ['week_start', 'month_start'] %}{{ start if start in by else 'cast(null as date)' }} as {{ start }}, {% endfor %}
        figure, part, currency,
        cast(sum(value) as bigint) as value,
        sum(people_of_{{ kind }}) as people,
        sum({{ new }}) as people_new_in_month,
        sum({{ kind }}_of_no_part_before) as people_of_no_part_before
    from week_parts
    group by client_id, {{ by | join(', ') }}, figure, part, currency
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

answered as (
    select client_id, opened_on, person_id, human_response_seconds
    from {{ ref('int_leads') }}
    where has_enquiry and is_valid and human_response_seconds is not null
),

-- half of those who were answered waited no longer
waited as (
    {% for kind in ['week', 'month'] %}
    select
        client_id, '{{ kind }}' as kind, cast(date_trunc('{{ kind }}', opened_on) as date) as period_start,
        cast(percentile_cont(0.5) within group (order by human_response_seconds) as bigint) as value,
        count(distinct person_id) as people
    from answered
    group by client_id, cast(date_trunc('{{ kind }}', opened_on) as date)
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select * from counted
    union all
    select client_id, kind, period_start, null, null, 'response_time', 'all', null, value, people, null, null from waited
)

select
    {{ id_of(['client_id', 'kind', 'period_start', 'month_start', 'figure', 'part', 'currency']) }} as period_figure_key,
    client_id, kind, period_start, week_start, month_start, figure, part, currency, value,
    cast(people as bigint) as people,
    cast(people_new_in_month as bigint) as people_new_in_month,
    cast(people_of_no_part_before as bigint) as people_of_no_part_before
from final
