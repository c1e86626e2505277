{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], post_hook="{{ note_progress() }}") }}
-- What happened with each person in each week of each month, counted, so that periods add up without telling people apart again: flags say
-- where a person counts for a week, for a month, and for both.
with leads as (
    select client_id, lead_id, person_id, channel, opened_at, booked_at, has_enquiry, is_valid, cluster_id
    from {{ touched_rows(ref('int_leads')) }} as touched
),

events as (
    select client_id, event_type, occurred_at, person_id, value_cents, currency, detail, record_uid, cluster_id
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where event_type in ('invoice_issued', 'leadtrail_message', 'leadtrail_task', 'leadtrail_outcome')
),

happened as (
    select
        client_id, 'calls' as figure, case when is_answered then 'answered' else 'missed' end as part, cast(null as {{ text_type() }}) as currency,
        called_at as at, person_id, 1 as value, cluster_id
    from {{ touched_rows(ref('int_calls')) }} as touched where is_human

    union all

    select client_id, 'leads', coalesce(channel, 'unknown'), null, opened_at, person_id, 1, cluster_id
    from leads where has_enquiry and is_valid

    union all

    select client_id, 'booked_jobs', null, null, booked_at, person_id, 1, cluster_id
    from leads where booked_at is not null

    union all

    select money.client_id, 'revenue', null, money.currency, money.converted_at, leads.person_id, money.revenue_cents, money.cluster_id
    from {{ touched_rows(ref('int_conversions')) }} as money
    left join leads on money.lead_id = leads.lead_id
    where money.conversion_type <> 'booking'

    union all

    select client_id, 'invoiced', null, currency, occurred_at, person_id, value_cents, cluster_id
    from events where event_type = 'invoice_issued' and value_cents <> 0

    union all

    select
        sent.client_id, case sent.event_type when 'leadtrail_message' then 'messages_sent' else 'tasks_given' end, null, null, sent.occurred_at,
        sent.person_id, 1, sent.cluster_id
    from events as sent
    left join (
        select distinct record_uid from events where event_type = 'leadtrail_outcome' and detail like 'failed%'
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
    select client_id, figure, 'all' as part, currency, day, person_id, value, cluster_id from placed
    union all
    select client_id, figure, part, currency, day, person_id, value, cluster_id from placed where part is not null
),

person_weeks as (
    select
        client_id, figure, part, currency, cast(date_trunc('week', day) as date) as week_start, cast(date_trunc('month', day) as date) as month_start,
        person_id, cast(sum(value) as bigint) as value, cluster_id
    from in_parts
    group by client_id, figure, part, currency, date_trunc('week', day), date_trunc('month', day), person_id, cluster_id
),

marked as (
    select
        person_weeks.*,
        case when person_id is not null then 1 else 0 end as is_person,
        case when person_id is not null and week_start = min(week_start) over (
            partition by client_id, person_id, month_start, figure, part, currency) then 1 else 0 end as is_new_in_month,
        case when person_id is not null and part = min(part) over (
            partition by client_id, person_id, month_start, figure, case when part = 'all' then 1 else 0 end, currency) then 1 else 0 end as is_of_no_part_before
    from person_weeks
)

select
    client_id, figure, part, currency, week_start, month_start, person_id, value,
    is_person, is_new_in_month, is_of_no_part_before,
    -- in a week that lies in two months somebody may have two rows: the first stands for both
    case when is_person = 1 and month_start = min(month_start) over in_week then 1 else 0 end as is_first_in_week,
    max(is_new_in_month) over in_week as is_new_in_week,
    max(is_of_no_part_before) over in_week as is_of_no_part_before_in_week,
    cluster_id
from marked
window in_week as (partition by client_id, person_id, week_start, figure, part, currency)
