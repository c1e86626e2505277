{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
with mails as (
    select * from {{ ref('stg_mail__events') }} where {{ only_touched_records('mail', 'events') }}
),

events as (
    {{ event_rows('mail', 'events', 'mails', "case when is_answer then 'email_received' when event = 'sent' then 'email_sent' when is_returned then 'email_bounced' end", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'direction': "case when event = 'received' then 'inbound' else 'outbound' end", 'contact_method': "'email'",
        'actor': "case event when 'received' then 'customer' when 'sent' then 'staff' else 'system' end", 'reference': 'message_id', 'text': 'body', 'detail': 'status_code',
    }) }}

    union all

    {{ event_rows('mail', 'events', 'mails', "case when is_opt_out then 'opted_out' when event = 'resubscribed' then 'opted_in' end", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'email'", 'actor': "'customer'",
        'reference': 'message_id', 'detail': "'email'",
    }) }}
)

select * from events
