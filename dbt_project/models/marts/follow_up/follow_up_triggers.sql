{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], post_hook="{{ note_progress() }}") }}
-- What happened to leads that a follow-up rule may hang on, and what was true of it at that moment: which rules there are is no matter here.
-- `counts_from` is what the steps' waiting times count from; a sign of life after `stops_after` ends what hangs on it.
{%- set unanswered = "'call_missed', 'call_voicemail', 'call_abandoned'" %}
-- what decides, and no more: windows sort every column they carry
with events as (
    select
        event_id, client_id, lead_id, person_id, cluster_id, event_type, occurred_at, known_at, provider, stream, record_id, record_uid, contact_method,
        actor, channel, detail, value_cents, duration_seconds, is_enquiry, is_minor,
        case when event_type = 'text_received' then lower(trim(text)) in ('help', 'info') end as asks_for_help,
        case when is_enquiry then lower(coalesce(service, '') || ' ' || coalesce(text, '')) end as asked_for
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where lead_id is not null
),

clients as (
    select
        clients.client_id, clients.timezone, cast(nullif(clients.joined_on, '') as date) as joined_on, clients.high_value_cents,
        coalesce(hours.client_id, '*') as hours_of
    from {{ source('leadtrail', 'clients') }} as clients
    left join (select distinct client_id from {{ ref('business_hours') }}) as hours on clients.client_id = hours.client_id
),

urgent_words as (
    select events.event_id, min(case words.urgency when 'emergency' then 1 else 2 end) as urgency_rank
    from events
    inner join {{ ref('urgency_words') }} as words on events.asked_for like words.word_like
    group by events.event_id
),

of_leads as (
    select
        lead_id,
        max(case when event_type = 'lead_fee_credited' then occurred_at end) as credited_at,
        max(case when event_type in ('job_booked', 'estimate_accepted', 'job_completed', 'job_lost') or (event_type = 'payment_received' and value_cents > 0)
            then occurred_at end) as decided_at,
        min(case when is_enquiry then occurred_at end) as enquired_at
    from events
    group by lead_id
),

-- a lead's first enquiry, the last thing that a person did, the last payment
{%- for name, which, order in [
    ('first_enquiries', 'is_enquiry', 'occurred_at, event_id'),
    ('last_signs', 'not is_minor and not ' ~ sent_by_machine(), 'occurred_at desc, event_id desc'),
    ('last_payments', "event_type = 'payment_received'", 'occurred_at desc, event_id desc'),
] %}
{{ name }} as (
    select event_id
    from (select event_id, row_number() over (partition by lead_id order by {{ order }}) as place from events where {{ which }}) as placed
    where place = 1
),
{% endfor %}
-- leads that CallRail's users had said are none, when their fee was charged
not_leads as (
    select event_id, event_type, max(case when event_type <> 'lead_fee_charged' then occurred_at end) over (
        partition by lead_id order by occurred_at, event_id rows between unbounded preceding and current row
    ) as not_a_lead_at
    from events
    where event_type = 'lead_fee_charged' or (detail = 'not_a_lead' and provider = 'callrail')
),

-- what had been going on with this person until then
told as (
    select
        events.*,
        urgent_words.urgency_rank,
        clients.high_value_cents,
        of_leads.credited_at,
        of_leads.decided_at,
        of_leads.enquired_at,
        min(case when events.event_type = 'payment_received' and events.value_cents > 0 then events.occurred_at end) over person_until as first_paid_at,
        sum(case
            when events.event_type in ('invoice_issued', 'credit_issued') then events.value_cents
            when events.event_type = 'payment_received' and events.stream <> 'sales_receipts' then -events.value_cents
        end) over person_until as owed_cents,
        max(case when events.event_type in ('job_completed', 'invoice_issued') or events.stream = 'sales_receipts' then events.occurred_at end) over person_until as done_at,
        max(case when events.event_type = 'complaint_made' then events.occurred_at end) over person_until as complained_at,
        min(case when events.event_type in ('job_booked', 'estimate_accepted') then events.occurred_at end) over person_until as first_booked_at
    from events
    inner join clients on events.client_id = clients.client_id
    inner join of_leads on events.lead_id = of_leads.lead_id
    left join urgent_words on events.event_id = urgent_words.event_id
    window person_until as (partition by events.person_id order by events.occurred_at, events.event_id rows between unbounded preceding and current row)
),

-- a quote's last days, at ten in the morning on the client's clock
expiring as (
    select
        told.event_id, told.occurred_at,
        {{ utc_of("cast(cast(estimates.expires_on - 2 as " ~ text_type() ~ ") || ' 10:00:00' as timestamp)", 'clients.timezone') }} as remind_at
    from told
    inner join {{ ref('stg_quickbooks__estimates') }} as estimates on told.record_uid = 'quickbooks:estimates:' || estimates.record_key
    inner join clients on told.client_id = clients.client_id
    where told.event_type = 'estimate_sent' and estimates.expires_on is not null
),

-- visits that a marketplace booked, on the client's clock. No other source says when one is. `visit_at` is null where only the day is sure
bookings as (
    select 'thumbtack:leads:' || record_key as record_uid, booked_for as starts_at, booked_has_time as has_time
    from {{ ref('stg_thumbtack__leads') }} where booked_for is not null
    union all
    select 'angi:leads:' || record_key, appointment_starts_at, appointment_has_time
    from {{ ref('stg_angi__leads') }} where appointment_starts_at is not null
),

visits as (
    select
        told.event_id, told.occurred_at, told.known_at, clients.timezone,
        case when bookings.has_time then bookings.starts_at end as visit_at,
        case
            when bookings.has_time then cast({{ wall_clock('bookings.starts_at', 'clients.timezone') }} as date) else cast(bookings.starts_at as date)
        end as visit_on
    from told
    inner join bookings on told.record_uid = bookings.record_uid
    inner join clients on told.client_id = clients.client_id
    where told.event_type = 'job_booked'
),

-- a reminder of what was booked only just before would come together with its confirmation
reminders as (
    select 'visit_tomorrow' as trigger_kind, event_id, occurred_at, known_at, coalesce(
        visit_at - interval '1' day, {{ utc_of("cast(cast(visit_on - 1 as " ~ text_type() ~ ") || ' 10:00:00' as timestamp)", 'timezone') }}
    ) as remind_at
    from visits
    union all
    select 'visit_soon', event_id, occurred_at, known_at, visit_at - interval '1' hour
    from visits
    where visit_at is not null
),

triggered as (
    {#- each kind: condition, what the waiting counts from, from when on signs of life count, and how it is told #}
    {%- set day = "* interval '1' day" %}
    {%- set kinds = {
        'urgent_lead': ("is_enquiry and event_type <> 'call_answered' and (urgency_rank = 1 or first_paid_at < occurred_at or value_cents >= high_value_cents)
            or (event_type = 'crm_deal_opened' and value_cents >= high_value_cents)", 'occurred_at', 'occurred_at'),
        'missed_call': ("event_type in (" ~ unanswered ~ ")", 'occurred_at + coalesce(duration_seconds, 0) * interval \'1\' second', 'occurred_at'),
        'missed_call_after_hours': ("event_type in (" ~ unanswered ~ ")", 'occurred_at + coalesce(duration_seconds, 0) * interval \'1\' second', 'occurred_at'),
        'form_received': ("event_type in ('form_submitted', 'quote_requested')", 'occurred_at', 'occurred_at'),
        'marketplace_lead': ("event_type = 'marketplace_lead_received'", 'occurred_at', 'occurred_at'),
        'no_response': ("event_type <> 'call_answered' and event_id in (select event_id from first_enquiries)", 'occurred_at + 1 ' ~ day, 'occurred_at'),
        'quote_sent': ("event_type = 'estimate_sent'", 'occurred_at', 'occurred_at'),
        'job_booked': ("event_type in ('job_booked', 'estimate_accepted')", 'occurred_at', 'occurred_at'),
        'first_booking': ("event_type in ('job_booked', 'estimate_accepted') and first_booked_at = occurred_at and first_paid_at is null", 'occurred_at', 'occurred_at'),
        'silent_lead': ("enquired_at is not null and decided_at is null and event_id in (select event_id from last_signs)", 'occurred_at + ' ~ var('silence_days') ~ ' ' ~ day, 'occurred_at'),
        'past_customer': ("value_cents > 0 and event_id in (select event_id from last_payments)", 'occurred_at + ' ~ var('past_customer_days') ~ ' ' ~ day, 'occurred_at'),
        'job_paid': ("event_type = 'payment_received' and value_cents > 0 and coalesce(owed_cents, 0) <= 0 and done_at is not null
            and (complained_at is null or complained_at < occurred_at - " ~ var('complaint_days') ~ " " ~ day ~ ")", 'occurred_at', 'occurred_at'),
        'complaint': ("event_type = 'complaint_made'", 'occurred_at', 'occurred_at'),
        'lead_fee_disputable': ("credited_at is null and decided_at is null
            and event_id in (select event_id from not_leads where event_type = 'lead_fee_charged' and not_a_lead_at is not null)", 'occurred_at', 'occurred_at'),
        'opt_out_or_help': ("event_type = 'opted_out' and contact_method = 'text' or asks_for_help", 'occurred_at', 'occurred_at'),
    } %}
    {%- for trigger, (condition, counts_from, stops_after) in kinds.items() %}
    select
        '{{ trigger }}' as trigger_kind, event_id, {{ counts_from }} as counts_from, {{ stops_after }} as stops_after
    from told
    where {{ condition }}
    union all
    {%- endfor %}
    select 'quote_expiring', event_id, remind_at, occurred_at
    from expiring
    union all
    select trigger_kind, event_id, remind_at, occurred_at
    from reminders
    where known_at <= remind_at
),

-- whose phone it was: of one caller a day counts once, also while nobody knows who that is
phones as (
    select keys.record_uid, min(keys.key_value) as phone
    from {{ ref('int_record_keys') }} as keys
    where keys.key_kind = 'phone' and keys.record_uid in (select record_uid from told where event_type in ({{ unanswered }}))
    group by keys.record_uid
),

timed as (
    select
        triggered.trigger_kind, triggered.counts_from, triggered.stops_after, visits.visit_at, visits.visit_on, told.*, clients.joined_on, clients.timezone,
        coalesce(told.occurred_at >= hours.opens_at and told.occurred_at < hours.closes_at, false) as in_hours,
        cast({{ wall_clock('told.occurred_at', 'clients.timezone') }} as date) as occurred_on
    from triggered
    inner join told on triggered.event_id = told.event_id
    inner join clients on told.client_id = clients.client_id
    left join visits on triggered.event_id = visits.event_id
    left join {{ ref('int_open_hours') }} as hours
        on hours.open_hours_key
            = clients.hours_of || '|' || clients.timezone || '|' || cast(cast({{ wall_clock('told.occurred_at', 'clients.timezone') }} as date) as {{ text_type() }})
),

final as (
    select
        {{ id_of(['timed.trigger_kind', 'timed.event_id']) }} as trigger_key,
        timed.client_id,
        timed.trigger_kind,
        timed.event_id as trigger_event_id,
        timed.event_type,
        timed.lead_id,
        timed.person_id,
        timed.occurred_at as triggered_at,
        timed.known_at,
        timed.counts_from,
        timed.stops_after,
        timed.in_hours,
        timed.joined_on is not null and timed.occurred_on >= timed.joined_on as is_after_joining,
        case timed.urgency_rank when 1 then 'emergency' when 2 then 'soon' else 'normal' end as urgency,
        timed.channel,
        timed.value_cents,
        timed.visit_at,
        timed.visit_on,
        coalesce(timed.first_paid_at < timed.occurred_at, false) as is_repeat_customer,
        coalesce(phones.phone, timed.person_id) || '|' || cast(timed.occurred_on as {{ text_type() }}) as caller_day,
        timed.timezone,
        timed.provider,
        timed.stream,
        timed.record_id,
        timed.record_uid,
        timed.cluster_id
    from timed
    left join phones on timed.record_uid = phones.record_uid
    where timed.trigger_kind <> 'missed_call_after_hours' or not timed.in_hours
)

select * from final
