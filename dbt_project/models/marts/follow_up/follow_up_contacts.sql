{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], post_hook="{{ note_progress() }}") }}
-- How each lead is reached, and by what right. An identifier counts only if it is the person's own: no marketplace's, no tracking number, no
-- office's, whose holder would not know what we write about.
with leads as (
    select * from {{ touched_rows(ref('int_leads')) }} as touched
),

identity as (
    select record_uid, person_id from {{ touched_rows(ref('int_identity')) }} as touched
),

held as (
    select
        identity.person_id, keys.record_uid, keys.key_kind, keys.key_value, keys.given_name, keys.occurred_at, keys.identity_key,
        coalesce(classes.key_class, 'direct') as key_class
    from {{ ref('int_record_keys') }} as keys
    inner join identity on keys.record_uid = identity.record_uid
    left join {{ ref('int_keys') }} as classes on keys.identity_key = classes.identity_key
    where not keys.is_own and not coalesce(keys.is_proxy, false) and not keys.is_spam
),

-- contacts that HubSpot has merged into others or deleted: it takes no task for them
gone as (
    select client_id || '|hubspot_contact:' || merged_contact_id as identity_key from {{ ref('stg_hubspot__merged_contacts') }}
    union
    select client_id || '|hubspot_contact:' || contact_id from {{ ref('stg_hubspot__contacts') }} where is_deleted
),

-- the one used last of each kind; ties by value
ways as (
    select
        held.person_id, held.key_kind, held.key_value,
        row_number() over (partition by held.person_id, held.key_kind order by max(held.occurred_at) desc, held.key_value) as place
    from held
    left join gone on held.identity_key = gone.identity_key
    where gone.identity_key is null
        and ((held.key_kind in ('phone', 'email') and held.key_class in ('direct', 'household')) or held.key_kind = 'hubspot_contact')
    group by held.person_id, held.key_kind, held.key_value
),

names as (
    select
        person_id, given_name,
        row_number() over (partition by person_id order by count(*) desc, max(occurred_at) desc, given_name) as place
    from held
    where given_name is not null
    group by person_id, given_name
),

zips as (
    select identity.person_id, max(places.zip_code) as zip_code, count(distinct places.zip_code) as zip_codes
    from (
        {%- for provider, stream, column in [('hubspot', 'contacts', 'zip_code'), ('forms', 'submissions', 'zip_code'), ('angi', 'leads', 'zip_code'), ('thumbtack', 'leads', 'zip_code')] %}
        select '{{ provider }}:{{ stream }}:' || record_key as record_uid, {{ column }} as zip_code
        from {{ ref('stg_' ~ provider ~ '__' ~ stream) }} where {{ column }} is not null
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    ) as places
    inner join identity on places.record_uid = identity.record_uid
    group by identity.person_id
),

events as (
    select person_id, lead_id, event_type, event_id, occurred_at, contact_method, detail, reference, record_uid, value_cents
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where lead_id is not null
),

-- what gives a right to write, of the whole person: what they agreed to, asked, and paid for
rights as (
    select
        person_id,
        max(case when event_type = 'consent_given' then occurred_at end) as agreed_at,
        max(case when event_type = 'consent_refused' then occurred_at end) as refused_at,
        max(case when event_type in ('call_answered', 'call_missed', 'call_voicemail', 'call_abandoned', 'form_submitted', 'quote_requested', 'text_received',
            'email_received', 'marketplace_lead_received', 'marketplace_message_received') then occurred_at end) as last_inquiry_at,
        max(case when event_type = 'payment_received' and value_cents > 0 then occurred_at end) as last_purchase_at,
        max(case when event_type in ('call_answered', 'call_missed', 'call_voicemail', 'call_abandoned') then occurred_at end) as last_call_at,
        max(case when event_type = 'text_received' then occurred_at end) as last_text_at,
        max(case when event_type = 'email_received' then occurred_at end) as last_email_at,
        max(case when event_type in ('form_submitted', 'quote_requested') then occurred_at end) as last_form_at,
        max(case when event_type = 'email_bounced' then occurred_at end) as bounced_at
    from events
    group by person_id
),

agreed as (
    select
        person_id, event_id, detail,
        row_number() over (partition by person_id order by occurred_at desc, event_id) as place
    from events
    where event_type = 'consent_given'
),

deals as (
    select lead_id, reference as deal_id, row_number() over (partition by lead_id order by occurred_at desc, event_id) as place
    from events
    where event_type = 'crm_deal_opened'
),

quotes as (
    select events.lead_id, max(estimates.expires_on) as valid_until
    from events
    inner join {{ ref('stg_quickbooks__estimates') }} as estimates on events.record_uid = 'quickbooks:estimates:' || estimates.record_key
    where events.event_type = 'estimate_sent'
    group by events.lead_id
),

final as (
    select
        leads.client_id,
        leads.lead_id,
        leads.person_id,
        phones.key_value as phone,
        emails.key_value as email,
        upper(substr(names.given_name, 1, 1)) || substr(names.given_name, 2) as given_name,
        -- two addresses: the message must be right in both places, so neither is taken for granted
        case when zips.zip_codes = 1 then zips.zip_code end as zip_code,
        contacts.key_value as crm_contact_id,
        deals.deal_id as crm_deal_id,
        leads.owner_id as crm_owner_id,
        owners.email_normalized as owner_email,
        leads.service,
        leads.channel,
        leads.value_estimate_cents as amount_cents,
        leads.currency,
        leads.opened_at,
        case when rights.agreed_at is not null and (rights.refused_at is null or rights.agreed_at > rights.refused_at) then 'express' else '' end as consent_kind,
        rights.agreed_at as consent_at,
        agreed.detail as consent_source,
        agreed.event_id as consent_event_id,
        rights.refused_at as consent_refused_at,
        rights.last_inquiry_at,
        rights.last_purchase_at,
        rights.last_call_at,
        rights.last_text_at,
        rights.last_email_at,
        rights.last_form_at,
        rights.bounced_at as email_bounced_at,
        quotes.valid_until as quote_valid_until,
        leads.cluster_id
    from leads
    left join ways as phones on leads.person_id = phones.person_id and phones.key_kind = 'phone' and phones.place = 1
    left join ways as emails on leads.person_id = emails.person_id and emails.key_kind = 'email' and emails.place = 1
    left join ways as contacts on leads.person_id = contacts.person_id and contacts.key_kind = 'hubspot_contact' and contacts.place = 1
    left join names on leads.person_id = names.person_id and names.place = 1
    left join zips on leads.person_id = zips.person_id
    left join rights on leads.person_id = rights.person_id
    left join agreed on leads.person_id = agreed.person_id and agreed.place = 1
    left join deals on leads.lead_id = deals.lead_id and deals.place = 1
    left join quotes on leads.lead_id = quotes.lead_id
    left join {{ ref('stg_hubspot__owners') }} as owners on leads.client_id = owners.client_id and leads.owner_id = owners.owner_id
)

select * from final
