with owners as (
    select * from {{ ref('base_hubspot__owners') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        owner_id,
        nullif(trim(concat_ws(' ', first_name, last_name)), '') as owner_name,
        {{ email_normalized('email') }} as email_normalized,
        owner_type,
        coalesce(is_archived, false) or is_absent as is_archived,
        updated_at,
        received_at
    from owners
)

select * from final
