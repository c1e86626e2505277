{{ config(
    materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}"
) }}
with forms as (
    select
        *,
        -- paid clicks say so by their click id or medium; a search engine or another site that sent them is in the referrer
        case
            when gclid is not null or gbraid is not null or wbraid is not null or (utm_source = 'google' and lower(utm_medium) in ('cpc', 'ppc', 'paid'))
                then 'google_paid'
            when msclkid is not null then 'bing_paid'
            when fbclid is not null or lower(utm_source) in ('facebook', 'fb', 'ig', 'instagram') or referrer like '%facebook.%' then 'facebook'
            when utm_source is not null then {{ channel_of('utm_source') }}
            when referrer like '%google.%' then 'google_organic'
            when referrer like '%bing.%' then 'bing_organic'
            when referrer is not null and referrer not like '%' || split_part(split_part(page_url, '/', 3), ':', 1) || '%' then 'referral'
            else 'direct'
        end as marketing_channel
    from {{ ref('stg_forms__submissions') }}
    where {{ only_touched_records('forms', 'submissions') }}
),

events as (
    {{ event_rows('forms', 'submissions', 'forms', "
        case when lower(coalesce(page_url, '')) like '%quote%' or lower(coalesce(page_url, '')) like '%estimate%' then 'quote_requested' else 'form_submitted' end", {
        'occurred_at': 'submitted_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'form'", 'actor': "'customer'",
        'channel': 'marketing_channel', 'source': 'utm_source', 'medium': 'utm_medium', 'campaign': 'utm_campaign', 'service': 'service',
        'reference': 'form_id', 'text': 'message',
    }) }}

    union all

    {{ event_rows('forms', 'submissions', 'forms', "case consent_to_text when 'yes' then 'consent_given' when 'no' then 'consent_refused' end", {
        'occurred_at': 'submitted_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'text'", 'actor': "'customer'",
        'reference': 'form_id', 'detail': "'form'", 'text': 'consent_text',
    }) }}
)

select * from events
