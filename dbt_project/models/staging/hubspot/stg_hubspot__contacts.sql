-- A deleted contact is in HubSpot's recycle bin (archived) or not served at all any more (purged, or merged into another).
with contacts as (
    select * from {{ ref('base_hubspot__contacts') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        contact_id,
        created_at,
        first_name,
        last_name,
        nullif(trim(concat_ws(' ', first_name, last_name)), '') as contact_name,
        email,
        {{ email_normalized('email') }} as email_normalized,
        additional_emails,
        phone,
        {{ phone_e164('phone') }} as phone_e164,
        mobile_phone,
        {{ phone_e164('mobile_phone') }} as mobile_phone_e164,
        address,
        city,
        state,
        zip_code,
        company,
        lifecycle_stage,
        lead_status,
        owner_id,
        first_source,
        first_source_detail,
        first_source_detail_2,
        latest_source,
        latest_source_at,
        created_by,
        merged_contact_ids,
        coalesce(is_email_opted_out, false) as is_email_opted_out,
        last_contacted_at,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at,
        via
    from contacts
)

select * from final
