{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
{%- set sharing = only_sharing('message_sid', [
    (ref('stg_twilio__messages'), 'twilio', 'messages'), (ref('stg_twilio__message_events'), 'twilio', 'message_events'),
]) %}
-- a message's callbacks tell how it went, and it tells when they count: one that is touched touches the others
with messages as (
    select
        *,
        -- the office confirms a booking by text: often the first that any system knows of it
        direction = 'outbound' and exists (
            select 1 from {{ ref('booking_phrases') }} as phrases where lower(body) like phrases.phrase_like
        ) as confirms_booking
    from {{ ref('stg_twilio__messages') }}
    where {{ sharing }}
),

-- Twilio does not date a callback: it counts at the time of its message
callbacks as (
    select callbacks.*, coalesce(messages.occurred_at, callbacks.received_at) as counted_at
    from (select * from {{ ref('stg_twilio__message_events') }} where {{ sharing }}) as callbacks
    left join messages
        on callbacks.client_id = messages.client_id and callbacks.message_sid = messages.message_sid
),

events as (
    {{ event_rows('twilio', 'messages', 'messages', "case direction when 'inbound' then 'text_received' else 'text_sent' end", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'direction': 'direction', 'contact_method': "'text'",
        'actor': "case when direction = 'inbound' then 'customer' else 'automation' end", 'reference': 'message_sid', 'text': 'body', 'detail': 'status',
    }) }}

    union all

    {{ event_rows('twilio', 'messages', 'messages', "case when is_opt_out then 'opted_out' when lifts_block then 'opted_in' end", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'text'", 'actor': "'customer'",
        'reference': 'message_sid', 'detail': "'text'",
    }) }}

    union all

    {{ event_rows('twilio', 'messages', 'messages', "'job_booked'", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'actor': "'automation'", 'reference': 'message_sid', 'detail': "'The booking was confirmed by text.'",
    }, 'confirms_booking') }}

    union all

    {{ event_rows('twilio', 'messages', 'messages', "'text_failed'", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'direction': 'direction', 'contact_method': "'text'", 'actor': "'system'",
        'reference': 'message_sid', 'detail': 'failure_reason',
    }, 'is_failed') }}

    union all

    {{ event_rows('twilio', 'message_events', 'callbacks', "
        case when event_kind = 'inbound_message' then 'text_status_changed' when status in ('delivered', 'read') then 'text_delivered' else 'text_status_changed' end", {
        'occurred_at': 'counted_at', 'received_at': 'received_at', 'contact_method': "'text'", 'actor': "'system'", 'reference': 'message_sid', 'detail': 'status',
    }) }}
)

select * from events
