-- What happened in each client's weeks and months, counted, with how many people that speaks of. Where a week lies in two months, its two
-- parts are counted too: what a week and a month have in common can be worked out from both, so it matters how many people it is.
with happened as (
    select client_id, 'calls' as figure, case when is_answered then 'answered' else 'missed' end as part, cast(null as {{ text_type() }}) as currency, called_at as at, person_id, 1 as value
    from {{ ref('int_calls') }} where is_human

    union all

    select client_id, 'leads', coalesce(channel, 'unknown'), null, opened_at, person_id, 1
    from {{ ref('dim_leads') }} where has_enquiry and is_valid

    union all

    select client_id, 'booked_jobs', null, null, booked_at, person_id, 1
    from {{ ref('dim_leads') }} where is_booked and booked_at is not null

    union all

    select money.client_id, 'revenue', null, money.currency, money.converted_at, leads.person_id, money.revenue_cents
    from {{ ref('int_conversions') }} as money
    left join {{ ref('dim_leads') }} as leads on money.lead_id = leads.lead_id
    where money.conversion_type <> 'booking'

    union all

    -- whose it is nobody knows: it adds to the sum, and not to the people
    select client_id, 'revenue', null, currency, converted_at, null, revenue_cents from {{ ref('int_unowned_money') }}

    union all

    select client_id, 'invoiced', null, currency, occurred_at, person_id, value_cents
    from {{ ref('fct_lead_events') }} where event_type = 'invoice_issued' and value_cents <> 0

    union all

    select sent.client_id, case sent.event_type when 'leadtrail_message' then 'messages_sent' else 'tasks_given' end, null, null, sent.occurred_at, sent.person_id, 1
    from {{ ref('fct_lead_events') }} as sent
    left join (
        select distinct record_uid from {{ ref('fct_lead_events') }} where event_type = 'leadtrail_outcome' and detail like 'failed%'
    ) as failed on sent.record_uid = failed.record_uid
    where sent.event_type in ('leadtrail_message', 'leadtrail_task') and failed.record_uid is null
),

placed as (
    select happened.*, {{ local_day('happened.at', 'zone_days') }} as day
    from happened
    inner join {{ source('leadtrail', 'clients') }} as clients on happened.client_id = clients.client_id
    inner join {{ ref('int_zone_days') }} as zone_days
        on clients.timezone = zone_days.timezone and cast(happened.at as date) = zone_days.day
),

in_parts as (
    select client_id, figure, 'all' as part, currency, day, person_id, value from placed
    union all
    select client_id, figure, part, currency, day, person_id, value from placed where part is not null
),

dated as (
    select
        in_parts.*,
        cast(date_trunc('week', day) as date) as week_start,
        cast(date_trunc('month', day) as date) as month_start
    from in_parts
),

-- people can't be added up, as one may come twice; those who come for the first time in a month can
seen as (
    select
        dated.*,
        min(week_start) over (partition by client_id, figure, part, currency, month_start, person_id) as first_week,
        min(part) over (partition by client_id, figure, currency, month_start, person_id, case when part = 'all' then 1 else 0 end) as first_part
    from dated
),

counted as (
    {% for kind, by in {'week': ['week_start'], 'month': ['month_start'], 'week_part': ['week_start', 'month_start']}.items() %}
    select
        client_id, '{{ kind }}' as kind, {{ by[0] }} as period_start,
        {% for start in ['week_start', 'month_start'] %}{{ start if start in by else 'cast(null as date)' }} as {{ start }}, {% endfor %}
        figure, part, currency,
        cast(sum(value) as bigint) as value,
        count(distinct person_id) as people,
        count(distinct case when week_start = first_week then person_id end) as people_new_in_month,
        count(distinct case when part = first_part then person_id end) as people_of_no_part_before
    from seen
    group by client_id, {{ by | join(', ') }}, figure, part, currency
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

answered as (
    select client_id, opened_on, person_id, human_response_seconds
    from {{ ref('dim_leads') }}
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
