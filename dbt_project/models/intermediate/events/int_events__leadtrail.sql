{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
-- What we did ourselves: a task that reached somebody, a message that left, and how it ended.
with outputs as (
    select
        *,
        case output_type when 'task' then 'leadtrail_task' when 'message' then 'leadtrail_message' when 'handoff' then 'leadtrail_handoff' end as event_type,
        case when status in ('failed', 'cancelled', 'expired', 'held', 'unknown') then status end as ended_as,
        case when output_type = 'message' then channel end as contact_method
    from {{ ref('stg_leadtrail__outputs') }}
    where identifier is not null and {{ only_touched_records('leadtrail', 'outputs') }}
),

events as (
    {{ event_rows('leadtrail', 'outputs', 'outputs', 'event_type', {
        'occurred_at': 'sent_at', 'received_at': 'received_at', 'direction': "case when output_type = 'message' then 'outbound' end",
        'contact_method': 'contact_method', 'actor': "'leadtrail'", 'staff': "case when output_type = 'task' then owner end",
        'reference': 'provider_ref', 'detail': "coalesce(nullif(rule, ''), 'leadtrail')",
    }, 'sent_at is not null') }}

    union all

    {{ event_rows('leadtrail', 'outputs', 'outputs', "case when ended_as is not null then 'leadtrail_outcome' end", {
        'occurred_at': 'status_at', 'received_at': 'received_at', 'actor': "'leadtrail'", 'reference': 'output_id',
        'detail': "ended_as || case when reason_code is not null then ': ' || replace(reason_code, '_', ' ') else '' end",
    }, nth='status') }}

    union all

    {{ event_rows('leadtrail', 'outputs', 'outputs', "case when acknowledged_at is not null then 'leadtrail_outcome' end", {
        'occurred_at': 'acknowledged_at', 'received_at': 'received_at', 'actor': "'leadtrail'", 'reference': 'output_id', 'detail': "'taken up'",
    }, nth="'acknowledged'") }}
)

select * from events
