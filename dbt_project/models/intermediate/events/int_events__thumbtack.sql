{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
-- what a lead costs is told by its updates, so a touched update touches its lead
with touched_leads as (
    select distinct client_id, lead_id
    from {{ ref('stg_thumbtack__lead_updates') }}
    where {{ only_touched_records('thumbtack', 'lead_updates') }}
),

leads as (
    select *
    from {{ ref('stg_thumbtack__leads') }}
    where {{ only_touched_records('thumbtack', 'leads') }}
        or client_id || ':' || lead_id in (select client_id || ':' || lead_id from touched_leads)
),

imported as (
    select * from {{ ref('stg_thumbtack__imported_leads') }} where {{ only_touched_records('thumbtack', 'imported_leads') }}
),

updates as (
    select * from {{ ref('stg_thumbtack__lead_updates') }} where {{ only_touched_records('thumbtack', 'lead_updates') }}
),

messages as (
    select * from {{ ref('stg_thumbtack__messages') }} where {{ only_touched_records('thumbtack', 'messages') }}
),

reviews as (
    select * from {{ ref('stg_thumbtack__reviews') }} where {{ only_touched_records('thumbtack', 'reviews') }}
),

events as (
    {{ event_rows('thumbtack', 'leads', 'leads', "'marketplace_lead_received'", {
        'occurred_at': 'created_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'marketplace'", 'actor': "'customer'",
        'channel': "'thumbtack'", 'source': "'Thumbtack'", 'medium': "'marketplace'", 'campaign': 'lead_class', 'service': 'category',
        'reference': 'lead_id', 'text': 'description', 'detail': 'charge_state',
    }) }}

    union all

    {{ event_rows('thumbtack', 'leads', 'leads', "'job_booked'", {
        'occurred_at': 'coalesce(updated_at, created_at)', 'received_at': 'received_at', 'actor': "'customer'", 'reference': 'lead_id',
        'detail': "'Booked on Thumbtack.'",
    }, "booked_for is not null or status_normalized = 'booked'") }}

    union all

    {{ event_rows('thumbtack', 'imported_leads', 'imported', "'marketplace_lead_received'", {
        'occurred_at': 'created_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'marketplace'", 'actor': "'customer'",
        'channel': "'thumbtack'", 'source': "'Thumbtack'", 'medium': "'marketplace'", 'service': 'task', 'reference': 'lead_id', 'detail': "'imported'",
    }) }}

    union all

    {{ event_rows('thumbtack', 'lead_updates', 'updates', "
        case charge_state when 'Charged' then 'lead_fee_charged' when 'Refunded' then 'lead_fee_credited' else 'lead_fee_changed' end", {
        'occurred_at': 'occurred_at', 'received_at': 'received_at', 'actor': "'system'", 'value_cents': 'lead_price_cents', 'currency': "'USD'",
        'reference': 'lead_id', 'detail': 'charge_state',
    }) }}

    union all

    {{ event_rows('thumbtack', 'messages', 'messages', "
        case direction when 'inbound' then 'marketplace_message_received' else 'marketplace_message_sent' end", {
        'occurred_at': 'sent_at', 'received_at': 'received_at', 'direction': 'direction', 'contact_method': "'marketplace'",
        'actor': "case direction when 'inbound' then 'customer' else 'staff' end", 'channel': "case direction when 'inbound' then 'thumbtack' end",
        'reference': 'lead_id', 'text': 'text',
    }) }}

    union all

    {{ event_rows('thumbtack', 'reviews', 'reviews', "'review_posted'", {
        'occurred_at': 'created_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'review'", 'actor': "'customer'",
        'reference': 'lead_id', 'detail': 'rating', 'text': 'text',
    }) }}

    union all

    {{ event_rows('thumbtack', 'reviews', 'reviews', "'complaint_made'", {
        'occurred_at': 'created_at', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'review'", 'actor': "'customer'",
        'reference': 'lead_id', 'detail': 'rating', 'text': 'text',
    }, 'rating <= 2') }}
)

select * from events
