-- Every site names its inputs as it likes; base_callrail__form_submissions lists the labels we know, form_data keeps the rest.
-- "anonymous" is CallRail's word for nobody in particular: joining on it would make one person of many.
with forms as (
    select * from {{ ref('base_callrail__form_submissions') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        form_id,
        case when company_id like 'COM%' then company_id end as company_id,
        case when company_id not like 'COM%' then company_id end as legacy_company_id,
        case when lower(person_id) <> 'anonymous' then person_id end as person_id,
        submitted_at,
        customer_name,
        customer_phone,
        {{ phone_e164('customer_phone') }} as phone_e164,
        customer_email,
        {{ email_normalized('customer_email') }} as email_normalized,
        message,
        service,
        case
            when lower(text_consent) in ('yes', 'true', 'on', '1') then true
            when lower(text_consent) in ('no', 'false', 'off', '0') then false
        end as has_text_consent,
        form_data,
        form_name,
        form_url,
        is_first_form,
        lead_status,
        case
            when lead_status in ('good_lead', 'previously_marked_good_lead') then 'qualified'
            when lead_status = 'not_a_lead' then 'not_a_lead'
            else 'not_scored'
        end as qualification,
        value_cents,
        tags,
        note,
        source,
        medium,
        campaign,
        keywords,
        referrer,
        referring_url,
        landing_page_url,
        utm_source,
        utm_medium,
        utm_campaign,
        milestones,
        occurred_at,
        received_at,
        via,
        is_absent as is_hidden,
        absent_since as hidden_since
    from forms
)

select * from final
