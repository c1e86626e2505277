{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
with leads as (
    select * from {{ ref('stg_angi__leads') }} where {{ only_touched_records('angi', 'leads') }}
),

imported as (
    select * from {{ ref('stg_angi__imported_leads') }} where {{ only_touched_records('angi', 'imported_leads') }}
),

events as (
    {{ event_rows('angi', 'leads', 'leads', "'marketplace_lead_received'", {
        'occurred_at': 'coalesce(created_at, occurred_at, received_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'marketplace'",
        'actor': "'customer'", 'channel': "'angi'", 'source': "'Angi'", 'medium': "'marketplace'", 'campaign': 'lead_class', 'service': 'task',
        'reference': 'lead_id', 'text': 'comments', 'detail': 'match_type',
    }) }}

    union all

    {{ event_rows('angi', 'leads', 'leads', "'job_booked'", {
        'occurred_at': 'coalesce(created_at, occurred_at, received_at)', 'received_at': 'received_at', 'actor': "'customer'", 'reference': 'lead_id',
        'detail': "'Booked on Angi.'",
    }, 'is_appointment') }}

    union all

    {{ event_rows('angi', 'leads', 'leads', "case consent_to_automated_contact when 'yes' then 'consent_given' when 'no' then 'consent_refused' end", {
        'occurred_at': 'coalesce(created_at, occurred_at, received_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'text'",
        'actor': "'customer'", 'reference': 'coalesce(consent_id, lead_id)', 'detail': "'Angi'",
    }) }}

    union all

    {{ event_rows('angi', 'imported_leads', 'imported', "'marketplace_lead_received'", {
        'occurred_at': 'created_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'marketplace'", 'actor': "'customer'",
        'channel': "'angi'", 'source': "'Angi'", 'medium': "'marketplace'", 'service': 'task', 'reference': 'lead_id', 'detail': "'imported'",
    }) }}
)

select * from events
