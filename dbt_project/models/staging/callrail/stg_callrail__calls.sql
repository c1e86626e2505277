-- A call without a duration has not ended; until then `answered` is a placeholder, so it is neither answered nor missed yet.
-- Spam vanishes from CallRail: such a call is hidden here and kept.
with calls as (
    select * from {{ ref('base_callrail__calls') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        call_id,
        case when company_id like 'COM%' then company_id end as company_id,
        case when company_id not like 'COM%' then company_id end as legacy_company_id,
        company_time_zone,
        tracker_id,
        person_id,
        started_at,
        direction,
        call_type,
        duration_seconds is not null as is_finished,
        duration_seconds is not null and coalesce(is_answered, false) as is_answered,
        duration_seconds is not null and direction = 'inbound' and is_answered = false as is_missed,
        coalesce(is_voicemail, false) as is_voicemail,
        duration_seconds,
        recording_seconds,
        customer_name,
        customer_phone,
        {{ phone_e164('customer_phone') }} as phone_e164,
        customer_city,
        customer_state,
        customer_zip_code,
        tracking_number,
        {{ phone_e164('tracking_number') }} as tracking_e164,
        business_number,
        {{ email_normalized('agent_email') }} as agent_email,
        is_first_call,
        prior_calls,
        total_calls,
        lead_status,
        case
            when lead_status in ('good_lead', 'previously_marked_good_lead') then 'qualified'
            when lead_status = 'not_a_lead' then 'not_a_lead'
            else 'not_scored'
        end as qualification,
        value_cents,
        tags,
        note,
        transcription,
        call_summary,
        source,
        source_name,
        medium,
        campaign,
        keywords,
        referrer_domain,
        landing_page_url,
        utm_source,
        utm_medium,
        utm_campaign,
        utm_term,
        utm_content,
        gclid,
        fbclid,
        msclkid,
        milestones,
        occurred_at,
        received_at,
        via,
        is_absent as is_hidden,
        absent_since as hidden_since
    from calls
)

select * from final
