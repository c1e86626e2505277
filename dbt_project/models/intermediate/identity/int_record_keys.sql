{{ config(
    materialized='incremental', incremental_strategy='touched_records', logs_keys=true,
    post_hook=["{{ note_everything('keys') }}", "{{ note_progress() }}"]
) }}
-- depends_on: {{ ref('int_events') }}
-- Every identifier on every record, as its provider wrote it. What an identifier is worth is decided in int_keys.
with calls as (
    select *, coalesce(is_hidden or lower(tags) like '%"spam"%', false) as is_spam_call,
        coalesce(direction = 'outbound', false) as is_outbound
    from {{ ref('stg_callrail__calls') }} where {{ only_touched_records('callrail', 'calls') }}
),

callrail_forms as (
    select * from {{ ref('stg_callrail__form_submissions') }} where {{ only_touched_records('callrail', 'form_submissions') }}
),

conversations as (
    select * from {{ ref('stg_callrail__conversations') }} where {{ only_touched_records('callrail', 'text_messages') }}
),

trackers as (
    select * from {{ ref('stg_callrail__trackers') }} where {{ only_touched_records('callrail', 'trackers') }}
),

tracker_numbers as (
    select trackers.*, {{ phone_e164("trim(replace(cast(item as " ~ text_type() ~ "), '\"', ''))") }} as tracking_e164
    from trackers
    {{ json_each("case when tracking_numbers like '[%' then tracking_numbers end") }}
),

forms as (
    select * from {{ ref('stg_forms__submissions') }} where {{ only_touched_records('forms', 'submissions') }}
),

contacts as (
    select * from {{ ref('stg_hubspot__contacts') }} where {{ only_touched_records('hubspot', 'contacts') }}
),

-- as each contact names them itself: which of two contacts took a third in last, as staging says it, is no property of one record
merged_contacts as (
    select named.client_id, named.record_key, named.received_at, nullif(trim(replace(cast(item as {{ text_type() }}), '"', '')), '') as merged_contact_id
    from (
        select *, '["' || replace(merged_contact_ids, ';', '","') || '"]' as merged_ids
        from {{ ref('stg_hubspot__contacts') }}
        where merged_contact_ids is not null and {{ only_touched_records('hubspot', 'contacts') }}
    ) as named
    {{ json_each('merged_ids') }}
),

deals as (
    select *, case when deal_name like '% - %' then split_part(deal_name, ' - ', 1) end as name_on_deal,
        case when deal_name like '% - %' then split_part(deal_name, ' - ', 2) end as service_on_deal
    from {{ ref('stg_hubspot__deals') }} where {{ only_touched_records('hubspot', 'deals') }}
),

deal_contacts as (
    select *, deal_key as record_key from {{ ref('stg_hubspot__deal_contacts') }} where {{ only_touched_records('hubspot', 'deal_contacts', 'deal_key') }}
),

tasks as (
    select * from {{ ref('stg_hubspot__tasks') }} where {{ only_touched_records('hubspot', 'tasks') }}
),

task_contacts as (
    select *, task_key as record_key from {{ ref('stg_hubspot__task_contacts') }} where {{ only_touched_records('hubspot', 'task_contacts', 'task_key') }}
),

customers as (
    select
        *,
        primary_phone is null and mobile_phone is null and alternate_phone is null and email_normalized is null and parent_id is null as has_no_way_to_reach,
        case when parent_id is not null and full_name like '%:%' then trim(split_part(full_name, ':', 1)) else display_name end as payer_name,
        case when parent_id is null and family_name is not null then given_name || ' ' || family_name end as person_name
    from {{ ref('stg_quickbooks__customers') }} where {{ only_touched_records('quickbooks', 'customers') }}
),

-- whom the bill of a job is for is on the customer it belongs to, and QuickBooks names that one in the job's full name
jobs as (
    select record_key as job_key, trim(split_part(full_name, ':', 1)) as payer_name
    from {{ ref('stg_quickbooks__customers') }}
    where parent_id is not null and full_name like '%:%'
),

{%- for papers, stream in [('estimates', 'estimates'), ('invoices', 'invoices'), ('receipts', 'sales_receipts')] %}
{{ papers }} as (
    select papers.*, coalesce(jobs.payer_name, trim(split_part(papers.customer_name, ':', 1))) as payer_name
    from (
        select * from {{ ref('stg_quickbooks__' ~ stream) }}
        where {{ only_touched_or_owned('quickbooks', stream, 'customers', ref('stg_quickbooks__' ~ stream), "client_id || ':' || customer_id") }}
    ) as papers
    left join jobs on papers.client_id || ':' || papers.customer_id = jobs.job_key
),
{% endfor %}
payments as (
    select * from {{ ref('stg_quickbooks__payments') }} where {{ only_touched_records('quickbooks', 'payments') }}
),

refunds as (
    select * from {{ ref('stg_quickbooks__refund_receipts') }} where {{ only_touched_records('quickbooks', 'refund_receipts') }}
),

credits as (
    select * from {{ ref('stg_quickbooks__credit_memos') }} where {{ only_touched_records('quickbooks', 'credit_memos') }}
),

thumbtack_leads as (
    select * from {{ ref('stg_thumbtack__leads') }} where {{ only_touched_records('thumbtack', 'leads') }}
),

thumbtack_imported as (
    select * from {{ ref('stg_thumbtack__imported_leads') }} where {{ only_touched_records('thumbtack', 'imported_leads') }}
),

thumbtack_updates as (
    select * from {{ ref('stg_thumbtack__lead_updates') }} where {{ only_touched_records('thumbtack', 'lead_updates') }}
),

thumbtack_messages as (
    select * from {{ ref('stg_thumbtack__messages') }} where {{ only_touched_records('thumbtack', 'messages') }}
),

thumbtack_reviews as (
    select * from {{ ref('stg_thumbtack__reviews') }} where {{ only_touched_records('thumbtack', 'reviews') }}
),

angi_leads as (
    select * from {{ ref('stg_angi__leads') }} where {{ only_touched_records('angi', 'leads') }}
),

angi_imported as (
    select * from {{ ref('stg_angi__imported_leads') }} where {{ only_touched_records('angi', 'imported_leads') }}
),

texts as (
    select *, {{ greeted_name() }} as greeted_name, coalesce(direction = 'outbound', false) as is_outbound
    from {{ ref('stg_twilio__messages') }} where {{ only_touched_records('twilio', 'messages') }}
),

text_events as (
    select callbacks.*, coalesce(messages.occurred_at, callbacks.received_at) as counted_at, messages.greeted_name,
        coalesce(messages.direction = 'outbound', false) as is_outbound
    from {{ ref('stg_twilio__message_events') }} as callbacks
    left join (
        select client_id, message_sid, occurred_at, direction, {{ greeted_name() }} as greeted_name
        from {{ ref('stg_twilio__messages') }}
        where {{ only_sharing('message_sid', [(ref('stg_twilio__message_events'), 'twilio', 'message_events')]) }}
    ) as messages
        on callbacks.client_id = messages.client_id and callbacks.message_sid = messages.message_sid
    where {{ only_touched_records('twilio', 'message_events', 'callbacks.record_key') }}
),

decisions as (
    select * from {{ ref('stg_leadtrail__identity_decisions') }} where {{ only_touched_records('leadtrail', 'identity_decisions') }}
),

mails as (
    select * from {{ ref('stg_mail__events') }} where {{ only_touched_records('mail', 'events') }}
),

-- one identifier each, and no name that counts: what we did says nothing about who is who
outputs as (
    select * from {{ ref('stg_leadtrail__outputs') }}
    where identifier is not null and {{ only_touched_records('leadtrail', 'outputs') }}
),

own_numbers as (
    select * from {{ ref('stg_twilio__phone_numbers') }} where {{ only_touched_records('twilio', 'phone_numbers') }}
),

found as (
    {{ record_keys('callrail', 'calls', 'calls', {'phone': 'phone_e164', 'callrail_call': "case when phone_e164 is null then call_id end"},
        'started_at', is_spam='is_spam_call', screen='customer_name', is_ours='is_outbound') }}
    union all
    {{ record_keys('callrail', 'form_submissions', 'callrail_forms', {'phone': 'phone_e164', 'email': 'email_normalized', 'callrail_form': "case when phone_e164 is null and email_normalized is null then form_id end"},
        'submitted_at', full='customer_name') }}
    union all
    {{ record_keys('callrail', 'text_messages', 'conversations', {'phone': 'phone_e164', 'callrail_conversation': "case when phone_e164 is null then conversation_id end"}, 'last_message_at') }}
    union all
    {{ record_keys('callrail', 'trackers', 'trackers', {'phone': 'destination_e164'}, 'created_at', is_own='true') }}
    union all
    {{ record_keys('callrail', 'trackers', 'tracker_numbers', {'phone': 'tracking_e164'}, 'created_at', is_own='true') }}
    union all
    {{ record_keys('forms', 'submissions', 'forms', {'phone': 'phone_e164', 'email': 'email_normalized', 'form': "case when phone_e164 is null and email_normalized is null then record_id end"}, 'submitted_at', 'given_name', 'full_name') }}
    union all
    {{ record_keys('hubspot', 'contacts', 'contacts', {'hubspot_contact': 'contact_id', 'phone': 'phone_e164', 'phone.mobile': 'mobile_phone_e164', 'email': 'email_normalized',
        'name': "case when contact_name like '% %' then lower(contact_name) end"}, 'created_at', 'first_name', 'contact_name') }}
    union all
    {{ record_keys('hubspot', 'contacts', 'merged_contacts', {'hubspot_contact': 'merged_contact_id'}, 'received_at') }}
    union all
    {{ record_keys('hubspot', 'deals', 'deals', {'hubspot_deal': 'deal_id', 'name_amount': name_and('name_on_deal', 'amount_cents'),
        'name_service': name_and('name_on_deal', 'service_on_deal'), 'name': "case when name_on_deal like '% %' then lower(trim(name_on_deal)) end"}, 'created_at', full='name_on_deal') }}
    union all
    {{ record_keys('hubspot', 'deal_contacts', 'deal_contacts', {'hubspot_deal': 'deal_id', 'hubspot_contact': 'contact_id'}, 'received_at') }}
    union all
    {{ record_keys('hubspot', 'tasks', 'tasks', {'hubspot_task': 'task_id'}, 'created_at') }}
    union all
    {{ record_keys('hubspot', 'task_contacts', 'task_contacts', {'hubspot_task': 'task_id', 'hubspot_contact': 'contact_id'}, 'received_at') }}
    union all
    {{ record_keys('quickbooks', 'customers', 'customers', {
        'quickbooks_customer': 'customer_id', 'quickbooks_customer.parent': 'parent_id', 'phone': 'phone_e164',
        'phone.1': "case when phone_e164 is null then " ~ phone_in_text('primary_phone', 1) ~ " end",
        'phone.2': "case when phone_e164 is null then " ~ phone_in_text('primary_phone', 2) ~ " end",
        'phone.mobile': phone_in_text('mobile_phone', 1), 'phone.alternate': phone_in_text('alternate_phone', 1),
        'email': 'email_normalized', 'name_address': name_and('payer_name', 'street'),
        'name': "case when has_no_way_to_reach and full_name like '% %' then lower(full_name) end",
    }, 'created_at', 'given_name', 'person_name') }}
    union all
    {#- that another of the name can be reached says that the name is not one person's, and nothing more: without a time it proves nothing #}
    {{ record_keys('quickbooks', 'customers', 'customers', {'name': "case when not has_no_way_to_reach then lower(person_name) end"}, 'null', 'given_name', 'person_name') }}
    union all
    {{ record_keys('quickbooks', 'estimates', 'estimates', {'quickbooks_customer': 'customer_id', 'name_amount': name_and('payer_name', 'total_cents')}, 'created_at') }}
    union all
    {{ record_keys('quickbooks', 'invoices', 'invoices', {'quickbooks_customer': 'customer_id', 'email': 'email_normalized',
        'name_amount': name_and('payer_name', 'total_cents')}, 'created_at') }}
    union all
    {{ record_keys('quickbooks', 'payments', 'payments', {'quickbooks_customer': 'customer_id'}, 'created_at') }}
    union all
    {{ record_keys('quickbooks', 'sales_receipts', 'receipts', {'quickbooks_customer': 'customer_id', 'name_amount': name_and('payer_name', 'total_cents')}, 'created_at') }}
    union all
    {{ record_keys('quickbooks', 'refund_receipts', 'refunds', {'quickbooks_customer': 'customer_id'}, 'created_at') }}
    union all
    {{ record_keys('quickbooks', 'credit_memos', 'credits', {'quickbooks_customer': 'customer_id'}, 'created_at') }}
    union all
    {{ record_keys('thumbtack', 'leads', 'thumbtack_leads', {'thumbtack_lead': 'lead_id', 'thumbtack_customer': 'customer_id', 'phone': 'phone_e164',
        'name_address': name_and('full_name', 'street'), 'name_service': name_and('full_name', 'category')}, 'created_at', 'given_name', 'full_name', is_proxy='null', lends='true') }}
    union all
    {{ record_keys('thumbtack', 'imported_leads', 'thumbtack_imported', {'thumbtack_lead': 'coalesce(lead_id, record_id)', 'phone': 'phone_e164', 'email': 'email_normalized'},
        'created_at', full='full_name', is_proxy='null', lends='true') }}
    union all
    {{ record_keys('thumbtack', 'lead_updates', 'thumbtack_updates', {'thumbtack_lead': 'lead_id'}, 'occurred_at') }}
    union all
    {{ record_keys('thumbtack', 'messages', 'thumbtack_messages', {'thumbtack_lead': 'lead_id', 'thumbtack_customer': 'customer_id'}, 'sent_at') }}
    union all
    {{ record_keys('thumbtack', 'reviews', 'thumbtack_reviews', {'thumbtack_lead': 'lead_id'}, 'created_at') }}
    union all
    {{ record_keys('angi', 'leads', 'angi_leads', {'angi_request': 'coalesce(request_group_id, lead_id)', 'angi_lead': 'lead_id', 'phone': 'phone_e164',
        'email': 'email_normalized', 'name_address': name_and('full_name', 'street'), 'name_service': name_and('full_name', "split_part(task, ' - ', 1)")},
        'coalesce(created_at, occurred_at, received_at)', 'given_name', 'full_name', is_proxy="coalesce(phone_kind <> 'real', false)", lends='true') }}
    union all
    {{ record_keys('angi', 'leads', 'angi_leads', {'phone': 'secondary_phone_e164'},
        'coalesce(created_at, occurred_at, received_at)', 'given_name', 'full_name', is_proxy="coalesce(secondary_phone_kind <> 'real', false)", lends='true') }}
    union all
    {{ record_keys('angi', 'imported_leads', 'angi_imported', {'angi_lead': 'coalesce(lead_id, record_id)', 'phone': 'phone_e164', 'email': 'email_normalized'},
        'created_at', full='full_name', is_proxy='null', lends='true') }}
    union all
    {{ record_keys('twilio', 'messages', 'texts', {'phone': 'phone_e164', 'twilio_message': "case when phone_e164 is null then message_sid end"}, 'occurred_at', greeted='greeted_name', is_ours='is_outbound') }}
    union all
    {{ record_keys('twilio', 'message_events', 'text_events', {'phone': 'phone_e164', 'twilio_message': "case when phone_e164 is null then message_sid end"}, 'counted_at', greeted='greeted_name', is_ours='is_outbound') }}
    union all
    {{ record_keys('mail', 'events', 'mails', {'email': 'email_normalized', 'mail_event': "case when email_normalized is null then record_id end"}, 'occurred_at') }}
    union all
    {{ record_keys('twilio', 'phone_numbers', 'own_numbers', {'phone': 'phone_e164'}, 'created_at', is_own='true') }}
    union all
    select
        'leadtrail:outputs:' || record_key, client_id, 'leadtrail', 'outputs', record_key,
        client_id || '|' || identifier, split_part(identifier, ':', 1), substr(identifier, length(split_part(identifier, ':', 1)) + 2),
        nullif(split_part(lower(trim(given_name)), ' ', 1), ''), cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), created_at, false, false, false, false, false
    from outputs
    {%- for side in ['a', 'b'] %}
    union all
    select
        'leadtrail:identity_decisions:' || record_key, client_id, 'leadtrail', 'identity_decisions', record_key,
        client_id || '|' || key_{{ side }}, split_part(key_{{ side }}, ':', 1), substr(key_{{ side }}, length(split_part(key_{{ side }}, ':', 1)) + 2),
        cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), decided_at, false, false, false, false, false
    from decisions
    {%- endfor %}
),

distinct_keys as (
    select
        record_uid, min(client_id) as client_id, min(provider) as provider, min(stream) as stream, min(record_key) as record_key,
        identity_key, min(key_kind) as key_kind, min(key_value) as key_value, min(given_name) as given_name, min(full_name) as full_name, min(caller_name) as caller_name,
        min(greeted_name) as greeted_name, min(occurred_at) as occurred_at,
        case when max(case when is_proxy then 1 else 0 end) = 1 then true when count(is_proxy) = count(*) then false end as is_proxy,
        max(case when is_own then 1 else 0 end) = 1 as is_own,
        max(case when is_spam then 1 else 0 end) = 1 as is_spam,
        max(case when is_lease then 1 else 0 end) = 1 as is_lease,
        max(case when is_ours then 1 else 0 end) = 1 as is_ours
    from found
    group by record_uid, identity_key
)

select * from distinct_keys
