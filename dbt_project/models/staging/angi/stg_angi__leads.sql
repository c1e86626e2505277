with leads as (
    select * from {{ ref('base_angi__leads') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        record_id as lead_id,
        request_group_id,
        count(*) over (partition by client_id, request_group_id) > 1 and request_group_id is not null as is_repeated_request,
        occurred_at as created_at,
        'received' as time_source,
        lead_source,
        case lower(lead_source)
            when 'homeadvisor' then 'homeadvisor'
            when 'angi' then 'angi_leads'
            when 'angieslist' then 'angies_list'
            else case when lead_oid is null then 'angi_ads' else 'unknown' end
        end as sub_source,
        branch_id,
        branch_name,
        coalesce(full_name, nullif(trim(concat_ws(' ', given_name, family_name)), '')) as full_name,
        coalesce(given_name, case when full_name like '%_ _%' and full_name not like '%,%' then split_part(full_name, ' ', 1) end)
            as given_name,
        coalesce(
            family_name,
            case when full_name like '%_ _%' and full_name not like '%,%'
                then trim(substr(full_name, length(split_part(full_name, ' ', 1)) + 1)) end
        ) as family_name,
        case when given_name is not null or family_name is not null then 'given' else 'guessed' end as name_parts_source,
        phone,
        {{ phone_e164('phone') }} as phone_e164,
        phone_extension,
        case
            when phone is null then null
            when is_phone_masked then 'proxy'
            when is_phone_masked is null or coalesce(has_call_reporting, false) then 'unknown'
            else 'real'
        end as phone_kind,
        secondary_phone,
        {{ phone_e164('secondary_phone') }} as secondary_phone_e164,
        secondary_phone_extension,
        case
            when secondary_phone is null then null
            when is_secondary_phone_masked then 'proxy'
            when is_secondary_phone_masked is null or coalesce(has_call_reporting, false) then 'unknown'
            else 'real'
        end as secondary_phone_kind,
        email,
        {{ email_normalized('email') }} as email_normalized,
        street,
        city,
        state,
        zip_code,
        task,
        task_id,
        comments,
        interview,
        match_type,
        lead_description,
        case
            when appointment is not null or lower(contact_status) like 'new appt%' then 'appointment'
            when lower(match_type) in ('lead', 'market') then 'shared'
            when lower(match_type) in ('direct match', 'exact') then 'direct'
            else 'other'
        end as lead_class,
        contact_status,
        lower(contact_status) like 'new appt%' and contact_status is not null as is_appointment,
        lower(contact_status) = 'new appt - transferred' and contact_status is not null as is_first_contact_made,
        appointment,
        case when appointment_ends_at is not null then appointment_starts_at end as appointment_starts_at,
        case when appointment_starts_at is not null then appointment_ends_at end as appointment_ends_at,
        -- Angi does not say in which zone a time without an offset is: then only its day is sure
        appointment_starts_at is not null and appointment_ends_at is not null and appointment_start_text like '%:%'
            and (appointment_start_text like '%Z' or appointment_start_text like '%+__:__' or appointment_start_text like '%-__:__') as appointment_has_time,
        fee_cents as gross_cost_cents,
        fee_cents as cost_cents,
        case
            when automated_contact_compliant then 'yes' when not automated_contact_compliant then 'no' else 'unknown'
        end as consent_to_automated_contact,
        consent_id,
        consent_certificate_url,
        occurred_at,
        received_at,
        via
    from leads
)

select * from final
