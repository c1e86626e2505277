with conversations as (
    select * from {{ ref('base_callrail__text_messages') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        conversation_id,
        case when company_id like 'COM%' then company_id end as company_id,
        case when company_id not like 'COM%' then company_id end as legacy_company_id,
        tracker_id,
        customer_name,
        customer_phone,
        {{ phone_e164('customer_phone') }} as phone_e164,
        tracking_number,
        {{ phone_e164('tracking_number') }} as tracking_e164,
        last_message_at,
        state,
        lead_status,
        source_name,
        received_at,
        via,
        is_absent as is_hidden,
        absent_since as hidden_since
    from conversations
)

select * from final
