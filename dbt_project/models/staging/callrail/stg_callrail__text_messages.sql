-- CallRail gives messages no id. Conversation, direction, time and text make one; twins of the same second are told apart by
-- a number, so both stay.
with conversations as (
    select
        base_callrail__text_messages.*,
        case when messages like '[%' then messages end as message_list
    from {{ ref('base_callrail__text_messages') }}
    where rejected_because is null
),

messages as (
    select
        conversations.client_id,
        conversations.record_key,
        conversations.conversation_id,
        conversations.customer_phone,
        conversations.tracking_number,
        conversations.received_at,
        conversations.via,
        conversations.is_absent,
        conversations.absent_since,
        each_item.item_number,
        {{ json_text('each_item.item', 'direction') }} as raw_direction,
        {{ json_text('each_item.item', 'created_at') }} as raw_created_at,
        {{ json_text('each_item.item', 'content') }} as content,
        {{ json_text('each_item.item', 'type') }} as message_type,
        {{ json_text('each_item.item', 'media_urls') }} as media_urls
    from conversations
    {{ json_each('conversations.message_list') }}
),

keyed as (
    select
        messages.*,
        md5(
            coalesce(raw_direction, '') || '|' || coalesce(raw_created_at, '') || '|' || coalesce(content, '')
        ) as fingerprint
    from messages
),

final as (
    select
        client_id,
        record_key || ':' || fingerprint || ':' || cast(
            row_number() over (partition by record_key, fingerprint order by item_number) as {{ text_type() }}
        ) as message_key,
        record_key as conversation_key,
        conversation_id,
        {{ typed_value('raw_created_at', 'timestamp') }} as sent_at,
        case raw_direction when 'incoming' then 'inbound' when 'outgoing' then 'outbound' else raw_direction end as direction,
        content,
        coalesce(message_type, 'sms') as message_type,
        media_urls,
        customer_phone,
        {{ phone_e164('customer_phone') }} as phone_e164,
        tracking_number,
        {{ phone_e164('tracking_number') }} as tracking_e164,
        received_at,
        via,
        is_absent as is_hidden,
        absent_since as hidden_since
    from keyed
)

select * from final
