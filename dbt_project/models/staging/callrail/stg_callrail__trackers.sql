with trackers as (
    select * from {{ ref('base_callrail__trackers') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        tracker_id,
        tracker_name,
        tracker_type,
        status,
        status = 'active' as is_active,
        source_type,
        source_type = 'offline' as is_offline,
        case when company_id like 'COM%' then company_id end as company_id,
        case when company_id not like 'COM%' then company_id end as legacy_company_id,
        tracking_numbers,
        destination_number,
        {{ phone_e164('destination_number') }} as destination_e164,
        is_texting_on,
        created_at,
        disabled_at,
        received_at,
        via
    from trackers
)

select * from final
