{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
with calls as (
    select
        *,
        {{ channel_of('source', 'source_name') }} as marketing_channel,
        started_at + coalesce(duration_seconds, 0) * interval '1' second as ended_at
    from {{ ref('stg_callrail__calls') }}
    where {{ only_touched_records('callrail', 'calls') }}
),

forms as (
    select *, {{ channel_of('source') }} as marketing_channel
    from {{ ref('stg_callrail__form_submissions') }}
    where {{ only_touched_records('callrail', 'form_submissions') }}
),

tracker_sources as (
    select
        client_id, tracker_id,
        {{ channel_of('source_type', 'tracker_name') }} as channel_of_type,
        {{ channel_of('tracker_name') }} as channel_of_name,
        source_type
    from {{ ref('stg_callrail__trackers') }}
),

messages as (
    select
        texts.*, texts.conversation_key as record_key,
        coalesce(
            {{ channel_of('conversations.source_name') }},
            case when trackers.source_type in ('all', 'offline') then trackers.channel_of_name else trackers.channel_of_type end
        ) as marketing_channel
    from {{ ref('stg_callrail__text_messages') }} as texts
    left join {{ ref('stg_callrail__conversations') }} as conversations on texts.conversation_key = conversations.record_key
    left join tracker_sources as trackers
        on conversations.client_id = trackers.client_id and conversations.tracker_id = trackers.tracker_id
    where {{ only_touched_records('callrail', 'text_messages', 'texts.conversation_key') }}
        {{ or_of_clients_touched('callrail', 'trackers', ref('stg_callrail__trackers'), 'texts.client_id') }}
),

events as (
    {{ event_rows('callrail', 'calls', 'calls', "
        case
            when direction = 'outbound' and is_answered then 'call_outbound_answered'
            when direction = 'outbound' then 'call_outbound_unanswered'
            when not is_finished then 'call_started'
            when is_answered then 'call_answered'
            when is_voicemail then 'call_voicemail'
            when duration_seconds < 15 then 'call_abandoned'
            else 'call_missed'
        end", {
        'occurred_at': 'started_at', 'received_at': 'received_at', 'direction': 'direction', 'contact_method': "'call'",
        'actor': "case when direction = 'outbound' then 'staff' else 'customer' end",
        'channel': "case when direction = 'inbound' then marketing_channel end", 'source': 'source_name', 'medium': 'medium', 'campaign': 'campaign',
        'value_cents': 'value_cents', 'currency': "case when value_cents is not null then 'USD' end", 'duration_seconds': 'duration_seconds',
        'staff': 'agent_email', 'reference': 'call_id', 'detail': 'qualification',
    }) }}

    union all

    {{ event_rows('callrail', 'calls', 'calls', "'job_booked'", {
        'occurred_at': 'ended_at', 'received_at': 'received_at', 'actor': "'staff'", 'value_cents': 'value_cents', 'staff': 'agent_email',
        'currency': "case when value_cents is not null then 'USD' end", 'reference': 'call_id', 'detail': "'The call is tagged Booked.'",
    }, "lower(tags) like '%\"booked\"%'") }}

    union all

    {{ event_rows('callrail', 'calls', 'calls', "'note_added'", {
        'occurred_at': 'ended_at', 'received_at': 'received_at', 'actor': "'staff'", 'staff': 'agent_email', 'reference': 'call_id', 'text': 'note',
    }, 'note is not null') }}

    union all

    {{ event_rows('callrail', 'form_submissions', 'forms', "
        case when lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%quote%' or lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%estimate%'
            then 'quote_requested' else 'form_submitted' end", {
        'occurred_at': 'submitted_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'form'", 'actor': "'customer'",
        'channel': 'marketing_channel', 'source': 'source', 'medium': 'medium', 'campaign': 'campaign', 'service': 'service', 'reference': 'form_id',
        'text': 'message', 'detail': 'qualification',
    }) }}

    union all

    {{ event_rows('callrail', 'form_submissions', 'forms', "case when has_text_consent then 'consent_given' when not has_text_consent then 'consent_refused' end", {
        'occurred_at': 'submitted_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'text'", 'actor': "'customer'",
        'reference': 'form_id', 'detail': "'form'",
    }) }}

    union all

    {{ event_rows('callrail', 'text_messages', 'messages', "case direction when 'inbound' then 'text_received' when 'outbound' then 'text_sent' end", {
        'occurred_at': 'sent_at', 'received_at': 'received_at', 'direction': 'direction', 'contact_method': "'text'",
        'actor': "case direction when 'inbound' then 'customer' else 'staff' end",
        'channel': "case when direction = 'inbound' then marketing_channel end", 'reference': 'conversation_id', 'text': 'content',
    }, nth='message_key') }}
)

select * from events
