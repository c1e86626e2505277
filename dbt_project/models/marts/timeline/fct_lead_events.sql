{{ config(
    materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}"
) }}
with identity as (
    select * from {{ touched_rows(ref('int_identity')) }} as touched
),

-- what a stream's first day brought had been known to the business all along; from then on we know a thing when we first read it
first_days as (
    select client_id, provider, stream, min(first_known_at) as first_read_at
    from {{ ref('int_records') }}
    group by client_id, provider, stream
),

events as (
    select
        events.*, identity.person_id, identity.cluster_id, identity.is_spam, identity.first_known_at, identity.batch_id,
        types.is_enquiry, types.is_minor,
        -- a message that a machine sends is no sign of a lead
        types.opens_lead and not {{ sent_by_machine('events.') }} as opens_lead,
        case
            when events.occurred_at < first_days.first_read_at
                and {{ epoch_seconds('identity.first_known_at') }} - {{ epoch_seconds('first_days.first_read_at') }} < 86400 then events.occurred_at
            else greatest(events.occurred_at, identity.first_known_at)
        end as known_at
    from {{ ref('int_events') }} as events
    inner join identity on events.record_uid = identity.record_uid
    left join first_days
        on events.client_id = first_days.client_id and events.provider = first_days.provider and events.stream = first_days.stream
    inner join {{ ref('event_types') }} as types on events.event_type = types.event_type
),

-- sorting is what costs here, so only what decides is carried through the windows; the rest is joined again at the end
deciding as (
    select
        event_id, person_id, occurred_at, event_type, value_cents, first_known_at, opens_lead, is_enquiry,
        case
            when event_type = 'invoice_issued' or event_type = 'credit_issued' then value_cents
            when event_type = 'payment_received' and stream <> 'sales_receipts' then -value_cents
            else 0
        end as billed_cents
    from events
),

-- what is still owed after each event: a lead is paid once everything billed so far is settled
owed as (
    select
        deciding.*,
        sum(billed_cents) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row) as owed_cents
    from deciding
),

marked as (
    select
        owed.*,
        case
            when event_type = 'job_lost' then occurred_at
            when event_type = 'payment_received' and value_cents > 0 and owed_cents <= 0 then occurred_at
        end as closes_at
    from owed
),

preceded as (
    select
        marked.*,
        max(case when opens_lead then occurred_at end) over before_this as last_sign_at,
        max(case when is_enquiry then occurred_at end) over before_this as last_enquiry_at,
        max(closes_at) over before_this as last_closed_at
    from marked
    window before_this as (partition by person_id order by occurred_at, event_id rows between unbounded preceding and 1 preceding)
),

after_silence as (
    select
        preceded.*,
        max(case
            when opens_lead and (
                last_sign_at is null
                or {{ epoch_seconds('occurred_at') }} - {{ epoch_seconds('last_sign_at') }} > {{ var('silence_days') }} * 86400
            ) then occurred_at
        end) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row) as broke_silence_at
    from preceded
),

opened as (
    select
        after_silence.*,
        case
            when not opens_lead then 0
            when last_sign_at is null then 1
            when {{ epoch_seconds('occurred_at') }} - {{ epoch_seconds('last_sign_at') }} > {{ var('silence_days') }} * 86400 then 1
            when is_enquiry
                and last_closed_at >= broke_silence_at
                and last_closed_at > coalesce(last_enquiry_at, cast('1970-01-01' as timestamp))
                and {{ epoch_seconds('occurred_at') }} - {{ epoch_seconds('last_closed_at') }} > {{ var('closed_days') }} * 86400 then 1
            else 0
        end as opens
    from after_silence
),

episodes as (
    select
        opened.*,
        greatest(1, sum(opens) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row)) as episode
    from opened
),

-- a lead is called after the event that was known first among those that can open one, so its id stays when older news arrives
named as (
    select
        episodes.*,
        first_value(event_id) over (
            partition by person_id, episode
            order by case when opens_lead then 0 else 1 end, first_known_at, occurred_at, event_id
            rows between unbounded preceding and unbounded following
        ) as first_event_id
    from episodes
),

numbered as (
    select
        event_id,
        first_event_id,
        episode,
        row_number() over (partition by person_id, episode order by occurred_at, event_id) as event_number,
        lag(occurred_at) over (partition by person_id, episode order by occurred_at, event_id) as previous_at
    from named
),

final as (
    select
        events.client_id,
        case when not events.is_spam then {{ id_of(["'lead'", 'numbered.first_event_id']) }} end as lead_id,
        events.person_id,
        events.event_id,
        events.event_type,
        events.occurred_at,
        events.known_at,
        events.received_at,
        numbered.event_number,
        {{ epoch_seconds('events.occurred_at') }} - {{ epoch_seconds('numbered.previous_at') }} as seconds_since_last,
        events.direction,
        events.contact_method,
        events.actor,
        events.staff,
        events.channel,
        events.source,
        events.medium,
        events.campaign,
        events.service,
        events.value_cents,
        events.currency,
        events.duration_seconds,
        events.reference,
        events.detail,
        events.text,
        events.is_enquiry,
        events.is_minor,
        cast(numbered.episode as bigint) as episode,
        events.provider,
        events.stream,
        events.record_id,
        events.batch_id,
        events.record_uid,
        events.cluster_id
    from events
    inner join numbered on events.event_id = numbered.event_id
)

select * from final
