-- Twilio does not say when a callback's status came about, so `received_at` is all that is known of its time.
with events as (
    select
        *,
        status in ('received', 'receiving') as is_inbound
    from {{ ref('base_twilio__message_events') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        message_sid,
        case when is_inbound then 'inbound_message' else 'status_callback' end as event_kind,
        status,
        {{ twilio_status_rank('status') }} as status_rank,
        from_number,
        to_number,
        case when is_inbound then {{ phone_e164('from_number') }} else {{ phone_e164('to_number') }} end as phone_e164,
        case when is_inbound then {{ phone_e164('to_number') }} else {{ phone_e164('from_number') }} end as client_phone_e164,
        body,
        opt_out_type,
        is_inbound and coalesce(opt_out_type, {{ twilio_keyword('body') }}, '') = 'STOP' as is_opt_out,
        is_inbound and coalesce(opt_out_type, {{ twilio_keyword('body') }}, '') = 'START' as lifts_block,
        error_code,
        {{ twilio_failure_reason('error_code') }} as failure_reason,
        segment_count,
        media_count,
        messaging_service_sid,
        received_at,
        via
    from events
)

select * from final
