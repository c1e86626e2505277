with phone_numbers as (
    select * from {{ ref('base_twilio__phone_numbers') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        phone_number_sid,
        phone_number,
        {{ phone_e164('phone_number') }} as phone_e164,
        friendly_name,
        coalesce(can_text, false) as can_text,
        coalesce(can_send_media, false) as can_send_media,
        coalesce(can_call, false) as can_call,
        created_at,
        is_absent as is_released,
        absent_since as released_at,
        received_at,
        via
    from phone_numbers
)

select * from final
