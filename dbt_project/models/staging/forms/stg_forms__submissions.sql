with submissions as (
    select * from {{ ref('base_forms__submissions') }} where rejected_because is null
),

-- a form without ids of its own tells a double click from a second wish by time alone: ten minutes
preceded as (
    select
        *,
        lag(occurred_at) over (
            partition by client_id, content_key, case when submission_id is null then 'ours' else record_id end
            order by occurred_at, record_id
        ) as said_before_at
    from submissions
),

final as (
    select
        client_id,
        record_key,
        record_id,
        form_id,
        coalesce(submitted_at, occurred_at) as submitted_at,
        coalesce(full_name, nullif(trim(concat_ws(' ', given_name, family_name)), '')) as full_name,
        given_name,
        family_name,
        phone,
        {{ phone_e164('phone') }} as phone_e164,
        email,
        {{ email_normalized('email') }} as email_normalized,
        message,
        service,
        zip_code,
        {{ url_without_contact('page_url') }} as page_url,
        {{ url_without_contact('referrer') }} as referrer,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,
        gclid,
        gbraid,
        wbraid,
        msclkid,
        fbclid,
        ga_client_id,
        case
            when lower(consent) in ('yes', 'y', 'true', 'on', '1', 'checked', 'agree', 'agreed') then 'yes'
            when lower(consent) like 'i agree%' or lower(consent) like 'i consent%' then 'yes'
            when lower(consent) in ('no', 'n', 'false', 'off', '0', 'unchecked') then 'no'
            else 'unknown'
        end as consent_to_text,
        consent_text,
        occurred_at,
        received_at,
        via
    from preceded
    where said_before_at is null or occurred_at >= said_before_at + interval '10' minute
)

select * from final
