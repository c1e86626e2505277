{{ config(materialized='view') }}
-- How long each enquiry waited, and whether that was within what we promise: 15 minutes for emergencies, 60 for others. Who has not been
-- answered yet is late once the time is over, and neither late nor in time before.
with reviews as (
    select lead_id, min(occurred_at) as reviewed_at
    from {{ ref('fct_lead_events') }}
    where event_type = 'review_posted'
    group by lead_id
),

clients as (
    select clients.client_id, clients.timezone, cast({{ wall_clock(as_of(), 'clients.timezone') }} as date) as today, coalesce(hours.client_id, '*') as hours_of
    from {{ source('leadtrail', 'clients') }} as clients
    left join (select distinct client_id from {{ ref('business_hours') }}) as hours on clients.client_id = hours.client_id
),

-- open time from a lead's opening until now matters only to those whom nobody has answered
opened as (
    select
        leads.client_id, leads.lead_id, leads.person_id, leads.opened_month, leads.channel, leads.is_valid, leads.stage, leads.opened_at, leads.as_of,
        leads.human_response_seconds, leads.human_response_open_seconds, leads.first_human_response_at, leads.two_way_at, leads.is_booked,
        leads.completed_at, leads.invoiced_cents, leads.lost_at, leads.lost_reason, leads.next_action_owner, leads.next_action_due_at,
        {%- for clock in ['', '_open'] %}
        least(leads.automatic_response{{ clock }}_seconds, leads.human_response{{ clock }}_seconds) as any_response{{ clock }}_seconds,
        {%- endfor %}
        case when leads.urgency = 'emergency' then {{ var('urgent_sla_minutes', 15) }} else {{ var('sla_minutes', 60) }} end * 60 as sla_seconds,
        case when leads.first_human_response_at is null
            then clients.hours_of || '|' || clients.timezone || '|' || cast(leads.opened_on as {{ text_type() }}) end as hours_opened_key,
        case when leads.first_human_response_at is null
            then clients.hours_of || '|' || clients.timezone || '|' || cast(clients.today as {{ text_type() }}) end as hours_now_key,
        reviews.reviewed_at
    from {{ ref('dim_leads') }} as leads
    inner join clients on leads.client_id = clients.client_id
    left join reviews on leads.lead_id = reviews.lead_id
    where leads.has_enquiry
),

waits as (
    select
        opened.*,
        coalesce(opened.human_response_seconds, {{ epoch_seconds('opened.as_of') }} - {{ epoch_seconds('opened.opened_at') }}) as waited_seconds,
        coalesce(opened.human_response_open_seconds, {{ open_seconds_at('opened.as_of', 'hours_now') }} - {{ open_seconds_at('opened.opened_at', 'hours_opened') }}) as waited_open_seconds
    from opened
    left join {{ ref('int_open_hours') }} as hours_opened on opened.hours_opened_key = hours_opened.open_hours_key
    left join {{ ref('int_open_hours') }} as hours_now on opened.hours_now_key = hours_now.open_hours_key
)

select
    client_id, lead_id, person_id, opened_month as month, channel, is_valid, stage,
    any_response_seconds, any_response_open_seconds, human_response_seconds, human_response_open_seconds,
    first_human_response_at is not null as is_answered,
    waited_seconds,
    waited_open_seconds,
    waited_seconds <= sla_seconds as is_within_sla,
    waited_open_seconds <= sla_seconds as is_within_sla_open_hours,
    first_human_response_at is null and waited_seconds <= sla_seconds as is_still_open,
    first_human_response_at is null and waited_open_seconds <= sla_seconds as is_still_open_in_hours,
    two_way_at is not null as is_contacted,
    is_booked,
    completed_at is not null as is_completed,
    completed_at is not null and {{ epoch_seconds('as_of') }} - {{ epoch_seconds('completed_at') }} > 14 * 86400 as is_review_due,
    coalesce(reviewed_at >= completed_at and {{ epoch_seconds('reviewed_at') }} - {{ epoch_seconds('completed_at') }} <= 14 * 86400, false) as is_reviewed,
    invoiced_cents,
    lost_at is not null as is_marked_lost,
    lost_reason,
    next_action_owner is not null and next_action_due_at is not null as has_next_action
from waits
