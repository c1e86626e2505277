{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}") }}
-- What is true of each lead whatever day it is. What depends on today is added in dim_leads.
with events as (
    select * from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where lead_id is not null
),

clients as (
    select
        clients.client_id, clients.timezone, cast(nullif(clients.joined_on, '') as date) as joined_on,
        coalesce(hours.client_id, '*') as hours_of
    from {{ source('leadtrail', 'clients') }} as clients
    left join (select distinct client_id from {{ ref('business_hours') }}) as hours on clients.client_id = hours.client_id
),

-- the first enquiry opens it; a lead without one (a customer of old in the books) opens with its first event
openings as (
    select
        lead_id,
        min(case when is_enquiry then occurred_at end) as enquired_at,
        min(case when not is_minor then occurred_at end) as first_sign_at,
        min(occurred_at) as first_event_at
    from events
    group by lead_id
),

enquiries as (
    select
        events.*,
        row_number() over (partition by events.lead_id order by events.occurred_at, events.event_id) as place,
        row_number() over (partition by events.lead_id order by events.occurred_at desc, events.event_id desc) as place_from_last
    from events
    where events.is_enquiry
),

first_enquiries as (
    select lead_id, event_id, event_type, contact_method, channel, source, campaign from enquiries where place = 1
),

last_enquiries as (
    select lead_id, channel from enquiries where place_from_last = 1
),

-- what was said of each of these, with its place: the first service, the last of everything else, ties by id. Only rows that say
-- something are ranked, and all kinds at once
{%- set kinds = {
    'service': 'service is not null', 'reason': "event_type = 'job_lost'", 'staff': "staff is not null and provider = 'hubspot'",
    'deal': "provider = 'hubspot' and value_cents is not null", 'estimate': "event_type in ('estimate_created', 'estimate_accepted')",
    'call_value': "provider = 'callrail' and value_cents is not null",
    'qualification': "provider = 'callrail' and detail in ('qualified', 'not_a_lead')",
    'consent': "event_type in ('consent_given', 'consent_refused', 'opted_out', 'opted_in') and contact_method = 'text'",
} %}
{%- set word = {'service': 'service', 'reason': 'detail', 'staff': 'staff', 'qualification': 'detail', 'consent': 'event_type'} %}
said as (
    {%- for kind, condition in kinds.items() %}
    select
        lead_id, '{{ kind }}' as kind, cast({{ word.get(kind, 'null') }} as {{ text_type() }}) as word,
        {{ 'value_cents' if kind in ('deal', 'estimate', 'call_value') else 'cast(null as bigint)' }} as cents, event_id, occurred_at
    from events where {{ condition }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

ranked as (
    select
        said.*,
        row_number() over (
            partition by lead_id, kind
            order by case when kind = 'service' then occurred_at end, case when kind <> 'service' then occurred_at end desc, event_id
        ) as place
    from said
),

latest as (
    select
        lead_id,
        max(case when kind = 'service' then word end) as service,
        max(case when kind = 'reason' then word end) as lost_reason,
        max(case when kind = 'staff' then word end) as staff,
        max(case when kind = 'deal' then cents end) as deal_cents,
        max(case when kind = 'estimate' then cents end) as estimate_cents,
        max(case when kind = 'call_value' then cents end) as call_value_cents,
        max(case when kind = 'qualification' then word end) as qualification,
        max(case when kind = 'consent' then word end) as consent_event_type,
        max(case when kind = 'consent' then event_id end) as consent_event_id,
        max(case when kind = 'consent' then occurred_at end) as consent_at
    from ranked
    where place = 1
    group by lead_id
),

urgency as (
    select events.lead_id, min(case words.urgency when 'emergency' then 1 else 2 end) as urgency_rank
    from events
    inner join {{ ref('urgency_words') }} as words on lower(coalesce(events.service, '') || ' ' || coalesce(events.text, '')) like words.word_like
    where events.is_enquiry
    group by events.lead_id
),

sums as (
    select
        events.lead_id,
        min(events.client_id) as client_id,
        min(events.person_id) as person_id,
        min(events.cluster_id) as cluster_id,
        min(coalesce(openings.enquired_at, openings.first_sign_at, openings.first_event_at)) as opened_at,
        max(case when openings.enquired_at is not null then 1 else 0 end) = 1 as has_enquiry,
        -- answers count from the first enquiry on; a call that was answered is a human answer in the same moment
        min(case when events.occurred_at >= openings.enquired_at and events.event_type in ('text_sent', 'email_sent') and events.actor = 'automation'
            then events.occurred_at end) as first_automatic_response_at,
        min(case when events.occurred_at >= openings.enquired_at and (
                events.event_type in ('call_answered', 'call_outbound_answered', 'call_outbound_unanswered', 'marketplace_message_sent')
                or (events.event_type in ('text_sent', 'email_sent') and events.actor = 'staff'))
            then events.occurred_at end) as first_human_response_at,
        min(case when events.event_type in ('call_answered', 'call_outbound_answered') and events.duration_seconds >= 60 then events.occurred_at
            when events.event_type in ('text_received', 'email_received', 'marketplace_message_received') and events.occurred_at > openings.enquired_at then events.occurred_at
        end) as two_way_at,
        min(case when events.event_type in ('estimate_created', 'estimate_sent') or (events.event_type = 'crm_stage_changed' and events.detail = 'quoted')
            then events.occurred_at end) as quoted_at,
        min(case
            when events.event_type in ('job_booked', 'job_completed', 'estimate_accepted') then events.occurred_at
            when events.event_type in ('invoice_issued', 'payment_received') and events.value_cents > 0 then events.occurred_at
        end) as booked_at,
        min(case
            when events.event_type = 'job_completed' then events.occurred_at
            when events.event_type = 'invoice_issued' and events.value_cents > 0 then events.occurred_at
            when events.event_type = 'payment_received' and events.stream = 'sales_receipts' and events.value_cents > 0 then events.occurred_at
        end) as completed_at,
        min(case when events.event_type = 'payment_received' and events.value_cents > 0 then events.occurred_at end) as first_paid_at,
        max(case when events.event_type in ('job_lost', 'estimate_declined') then events.occurred_at end) as lost_at,
        max(case when events.event_type = 'complaint_made' then events.occurred_at end) as complained_at,
        coalesce(sum(case when events.event_type = 'invoice_issued' then events.value_cents end), 0)
            + coalesce(sum(case when events.event_type = 'payment_received' and events.stream = 'sales_receipts' then events.value_cents end), 0) as invoiced_cents,
        coalesce(sum(case when events.event_type in ('payment_received', 'refund_issued') then events.value_cents end), 0) as revenue_cents,
        coalesce(sum(case when events.event_type in ('invoice_issued', 'credit_issued') then events.value_cents
            when events.event_type = 'payment_received' and events.stream <> 'sales_receipts' then -events.value_cents end), 0) as owed_cents,
        sum(case when events.is_enquiry then 1 else 0 end) as enquiries,
        sum(case when events.event_type in ('call_missed', 'call_voicemail', 'call_abandoned') then 1 else 0 end) as missed_calls,
        count(*) as events,
        max(case when not events.is_minor and not {{ sent_by_machine('events.') }}
            then events.occurred_at end) as last_touch_at,
        {%- for way in ['text', 'email'] %}
        max(case when events.event_type = 'opted_out' and events.contact_method = '{{ way }}' then events.occurred_at end) as {{ way }}_opted_out_at,
        max(case when events.event_type = 'opted_in' and events.contact_method = '{{ way }}' then events.occurred_at end) as {{ way }}_opted_in_at
        {{- ',' if not loop.last }}
        {%- endfor %}
    from events
    inner join openings on events.lead_id = openings.lead_id
    group by events.lead_id
),

-- a task stands open until it is done or thrown away; the earliest due one is what is to be done next
open_tasks as (
    select
        events.lead_id, tasks.task_id, tasks.subject, tasks.due_at, tasks.owner_id,
        row_number() over (partition by events.lead_id order by tasks.due_at, tasks.task_id) as place
    from events
    inner join {{ ref('stg_hubspot__tasks') }} as tasks
        on events.record_uid = 'hubspot:tasks:' || tasks.record_key
    where events.event_type = 'task_created' and not tasks.is_completed and not tasks.is_deleted
),

timed as (
    select
        sums.*, clients.timezone, clients.joined_on,
        hours_opened.open_seconds_before is not null as has_hours,
        {{ open_seconds_at('sums.first_automatic_response_at', 'hours_automatic') }} - {{ open_seconds_at('sums.opened_at', 'hours_opened') }} as automatic_open_seconds,
        {{ open_seconds_at('sums.first_human_response_at', 'hours_human') }} - {{ open_seconds_at('sums.opened_at', 'hours_opened') }} as human_open_seconds,
        coalesce(sums.opened_at >= hours_opened.opens_at and sums.opened_at < hours_opened.closes_at, false) as opened_in_hours,
        {{ wall_clock('sums.opened_at', 'clients.timezone') }} as opened_local
    from sums
    inner join clients on sums.client_id = clients.client_id
    {%- for name, instant in {'opened': 'opened_at', 'automatic': 'first_automatic_response_at', 'human': 'first_human_response_at'}.items() %}
    left join {{ ref('int_open_hours') }} as hours_{{ name }}
        on hours_{{ name }}.open_hours_key
            = clients.hours_of || '|' || clients.timezone || '|' || cast(cast({{ wall_clock('sums.' ~ instant, 'clients.timezone') }} as date) as {{ text_type() }})
    {%- endfor %}
),

final as (
    select
        timed.client_id,
        timed.lead_id,
        timed.person_id,
        timed.opened_at,
        cast(timed.opened_local as date) as opened_on,
        cast(date_trunc('month', timed.opened_local) as date) as opened_month,
        timed.opened_in_hours,
        timed.has_enquiry,
        timed.joined_on is not null and cast(timed.opened_local as date) >= timed.joined_on as is_after_joining,
        first_enquiries.event_id as first_enquiry_event_id,
        first_enquiries.contact_method as first_contact_method,
        coalesce(first_enquiries.channel, 'unknown') as channel,
        coalesce(last_enquiries.channel, first_enquiries.channel, 'unknown') as last_channel,
        first_enquiries.source,
        first_enquiries.campaign,
        latest.service,
        case urgency.urgency_rank when 1 then 'emergency' when 2 then 'soon' else 'normal' end as urgency,
        coalesce(latest.qualification, 'not_scored') as qualification,
        -- who an answered call or the CRM says is not a lead is not counted, unless work came of it
        not (coalesce(latest.qualification, '') = 'not_a_lead' and timed.booked_at is null) as is_valid,
        cast(case
            when timed.invoiced_cents > 0 then timed.invoiced_cents
            when latest.estimate_cents is not null then latest.estimate_cents
            when latest.deal_cents is not null then latest.deal_cents
            else latest.call_value_cents
        end as bigint) as value_estimate_cents,
        case
            when timed.invoiced_cents > 0 then 'invoiced'
            when latest.estimate_cents is not null then 'estimate'
            when latest.deal_cents is not null then 'deal'
            when latest.call_value_cents is not null then 'call'
            else 'none'
        end as value_basis,
        case
            when timed.text_opted_out_at is not null and coalesce(timed.text_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.text_opted_out_at then 'opted_out'
            when latest.consent_event_type = 'consent_given' then 'express'
            when latest.consent_event_type = 'opted_in' then 'express'
            when latest.consent_event_type = 'consent_refused' then 'refused'
            when timed.has_enquiry then 'inquiry'
            else 'none'
        end as text_consent,
        coalesce(latest.consent_event_id, first_enquiries.event_id) as text_consent_event_id,
        coalesce(latest.consent_at, case when timed.has_enquiry then timed.opened_at end) as text_consent_at,
        timed.text_opted_out_at is not null and coalesce(timed.text_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.text_opted_out_at as is_text_opted_out,
        timed.email_opted_out_at is not null and coalesce(timed.email_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.email_opted_out_at as is_email_opted_out,
        latest.staff as owner_id,
        timed.first_automatic_response_at,
        {{ epoch_seconds('timed.first_automatic_response_at') }} - {{ epoch_seconds('timed.opened_at') }} as automatic_response_seconds,
        case when timed.has_hours then timed.automatic_open_seconds end as automatic_response_open_seconds,
        timed.first_human_response_at,
        {{ epoch_seconds('timed.first_human_response_at') }} - {{ epoch_seconds('timed.opened_at') }} as human_response_seconds,
        case when timed.has_hours then timed.human_open_seconds end as human_response_open_seconds,
        timed.two_way_at,
        timed.quoted_at,
        timed.booked_at is not null as is_booked,
        timed.booked_at,
        timed.completed_at,
        timed.first_paid_at,
        case when timed.booked_at is null or timed.lost_at > timed.booked_at then timed.lost_at end as lost_at,
        case when timed.booked_at is null or timed.lost_at > timed.booked_at then latest.lost_reason end as lost_reason,
        timed.complained_at,
        cast(timed.invoiced_cents as bigint) as invoiced_cents,
        cast(timed.revenue_cents as bigint) as revenue_cents,
        cast(timed.owed_cents as bigint) as owed_cents,
        'USD' as currency,
        cast(timed.enquiries as bigint) as enquiries,
        cast(timed.missed_calls as bigint) as missed_calls,
        cast(timed.events as bigint) as events,
        timed.last_touch_at,
        open_tasks.task_id as next_task_id,
        open_tasks.subject as next_task,
        open_tasks.due_at as next_task_due_at,
        open_tasks.owner_id as next_task_owner_id,
        timed.cluster_id
    from timed
    left join first_enquiries on timed.lead_id = first_enquiries.lead_id
    left join last_enquiries on timed.lead_id = last_enquiries.lead_id
    left join latest on timed.lead_id = latest.lead_id
    left join urgency on timed.lead_id = urgency.lead_id
    left join open_tasks on timed.lead_id = open_tasks.lead_id and open_tasks.place = 1
)

select * from final
