{{ config(materialized='incremental', incremental_strategy='staged_records', records_of=['twilio', 'messages'], post_hook="{{ note_progress() }}") }}
{#- a message is called by its sid, also one that can no longer be read #}
{%- set touched = only_sharing('message_sid', [
    ("(select record_key, substr(record_key, length(client_id) + 2) as message_sid from " ~ ref('base_twilio__messages') ~ ") as named", 'twilio', 'messages'),
    (ref('base_twilio__message_events'), 'twilio', 'message_events'),
]) %}
-- A message as far as anyone knows: what the API listed, raised by callbacks that know more; and inbound texts that so far
-- only their webhook has told of. Callbacks of outbound messages not yet listed wait in stg_twilio__message_events.
-- A table, because of one message and its callbacks an engine would otherwise read all of them.
with messages as (
    select * from {{ ref('base_twilio__messages') }} where rejected_because is null and {{ touched }}
),

events as (
    select
        *,
        {{ twilio_status_rank('status') }} as status_rank
    from {{ ref('base_twilio__message_events') }}
    where rejected_because is null and {{ touched }}
),

furthest as (
    select * from (
        select
            client_id, message_sid, status, status_rank, error_code, opt_out_type,
            row_number() over (
                partition by client_id, message_sid order by status_rank desc, received_at desc, record_key
            ) as position
        from events
    ) as ranked
    where position = 1
),

listed as (
    select
        messages.client_id,
        messages.record_key,
        messages.message_sid,
        messages.direction,
        case
            when furthest.status_rank > {{ twilio_status_rank('messages.status') }} then furthest.status
            else messages.status
        end as status,
        -- the code of the status that counts, not of one that was overtaken
        case
            when furthest.status_rank > {{ twilio_status_rank('messages.status') }} then furthest.error_code
            else messages.error_code
        end as error_code,
        messages.from_number,
        messages.to_number,
        messages.body,
        furthest.opt_out_type,
        messages.segment_count,
        messages.media_count,
        messages.price_micros,
        messages.price_currency,
        messages.messaging_service_sid,
        messages.created_at,
        messages.sent_at,
        true as is_listed,
        messages.is_absent as is_deleted,
        messages.absent_since as deleted_at,
        messages.received_at,
        messages.via
    from messages
    left join furthest
        on messages.client_id = furthest.client_id and messages.message_sid = furthest.message_sid
),

pushed_only as (
    select
        events.client_id,
        events.client_id || ':' || events.message_sid as record_key,
        events.message_sid,
        'inbound' as direction,
        'received' as status,
        cast(null as bigint) as error_code,
        events.from_number,
        events.to_number,
        events.body,
        events.opt_out_type,
        events.segment_count,
        events.media_count,
        cast(null as bigint) as price_micros,
        cast(null as {{ text_type() }}) as price_currency,
        events.messaging_service_sid,
        events.received_at as created_at,
        events.received_at as sent_at,
        false as is_listed,
        false as is_deleted,
        cast(null as timestamp) as deleted_at,
        events.received_at,
        events.via
    from events
    left join messages
        on events.client_id = messages.client_id and events.message_sid = messages.message_sid
    where events.status in ('received', 'receiving') and messages.message_sid is null
),

together as (
    select * from listed
    union all
    select * from pushed_only
),

final as (
    select
        client_id,
        record_key,
        message_sid,
        case when direction = 'inbound' then 'inbound' else 'outbound' end as direction,
        direction as provider_direction,
        direction = 'outbound-reply' as is_automatic_reply,
        from_number,
        to_number,
        case when direction = 'inbound' then {{ phone_e164('from_number') }} else {{ phone_e164('to_number') }} end as phone_e164,
        case when direction = 'inbound' then {{ phone_e164('to_number') }} else {{ phone_e164('from_number') }} end as client_phone_e164,
        body,
        status,
        {{ twilio_status_rank('status') }} >= 5 as is_final,
        status in ('delivered', 'read') as is_delivered,
        status in ('undelivered', 'failed') as is_failed,
        error_code,
        {{ twilio_failure_reason('error_code') }} as failure_reason,
        direction = 'inbound' and coalesce(opt_out_type, {{ twilio_keyword('body') }}, '') = 'STOP' as is_opt_out,
        direction = 'inbound' and coalesce(opt_out_type, {{ twilio_keyword('body') }}, '') = 'START' as lifts_block,
        segment_count,
        media_count,
        price_micros,
        price_currency,
        messaging_service_sid,
        created_at,
        sent_at,
        coalesce(sent_at, created_at) as occurred_at,
        is_listed,
        is_deleted,
        deleted_at,
        received_at,
        via
    from together
)

select * from final
