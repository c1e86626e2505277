with messages as (
    select * from {{ ref('base_thumbtack__messages') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        message_id,
        lead_id,
        customer_id,
        business_id,
        coalesce(sent_at_iso, sent_at_epoch, occurred_at) as sent_at,
        -- the older integration does not name the sender: it passes on what customers write
        case when sender = 'Business' then 'outbound' else 'inbound' end as direction,
        text,
        attachments,
        occurred_at,
        updated_at,
        received_at,
        via
    from messages
)

select * from final
