with events as (
    select * from {{ ref('base_mail__events') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        event,
        happened_at as occurred_at,
        address,
        {{ email_normalized('address') }} as email_normalized,
        message_id,
        in_reply_to,
        subject,
        body,
        status_code,
        event = 'bounced' and not coalesce(is_soft, false) as is_returned,
        -- out-of-office replies are no answers
        event = 'received' and not coalesce(is_automatic, false) as is_answer,
        event in ('unsubscribed', 'complained')
        or (event = 'received' and not coalesce(is_automatic, false) and coalesce({{ twilio_keyword('body') }}, '') = 'STOP') as is_opt_out,
        received_at,
        via
    from events
)

select * from final
