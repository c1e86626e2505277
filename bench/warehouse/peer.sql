-- The peer: the timeline as one plain script for DuckDB alone, as somebody would write it who needs neither dbt, other engines, later
-- news, refusals by name nor a log of what was touched. It was begun from the compiled models and restructured for DuckDB; attribution and
-- metrics are not in it. From the same segments it makes the same fct_lead_events and the same int_leads, row by row (the benchmark
-- compares them in every run and fails if one differs). What differs: each stream's columns are only those that are needed, intermediate results are temporary
-- tables, connected components are a recursive CTE with USING KEY, and identifiers are unnested from one scan of each stream.
-- Rules that decide (what is an event, whose record it is, when an episode begins) must be the same, so their expressions are.
-- Streams that no record of the town is in (imported leads, decisions about identity, e-mail events, our own outputs) are left out.
-- {landing}, {directory} and {seeds} are folders.

create macro clean(v) as case when v = '' or v like ' %' or v like '% ' or starts_with(v, chr(160)) or ends_with(v, chr(160)) then nullif(trim(v), '') else v end;
create macro utc(v) as try_cast(v as timestamptz) at time zone 'UTC';
create macro cents(v) as cast(round(try_cast(replace(replace(replace(v, '$', ''), ',', ''), ' ', '') as decimal(18, 4)) * 100) as bigint);
create macro digits(v) as regexp_replace(regexp_replace(lower(v), '(x|ext|#).*$', ''), '[^0-9]', '', 'g');
create macro e164(v) as case when length(digits(v)) = 10 then '+1' || digits(v) when length(digits(v)) = 11 and digits(v) like '1%' then '+' || digits(v) end;
create macro mail(v) as case when trim(v) like '%_@_%._%' and trim(v) not like '% %' then lower(trim(v)) end;
create macro id_of(stream, record_key, event_type, nth) as md5(stream || '|' || coalesce(record_key, '') || '|' || event_type || '|' || coalesce(nth, ''));

-- seeds
create temp table booking_phrases as from read_csv('{seeds}/booking_phrases.csv', header = true);
create temp table business_hours as from read_csv('{seeds}/business_hours.csv', header = true, types = {'opens': 'VARCHAR', 'closes': 'VARCHAR'});
create temp table crm_stage_meanings as from read_csv('{seeds}/crm_stage_meanings.csv', header = true);
create temp table event_types as from read_csv('{seeds}/event_types.csv', header = true);
create temp table holidays as from read_csv('{seeds}/holidays.csv', header = true, types = {'day': 'DATE'});
create temp table key_classes as from read_csv('{seeds}/key_classes.csv', header = true);
create temp table marketing_channels as from read_csv('{seeds}/marketing_channels.csv', header = true);
create temp table urgency_words as from read_csv('{seeds}/urgency_words.csv', header = true);

-- the latest version of each record, typed
create temp table base_angi__leads as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/angi/leads/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/angi/leads/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."srOid"', '$."name"', '$."firstName"', '$."FirstName"', '$."lastName"', '$."LastName"', '$."primaryPhone"', '$."PhoneNumber"', '$."primaryPhoneDetails"."maskedNumber"', '$."secondaryPhone"', '$."secondaryPhoneDetails"."maskedNumber"', '$."_call_reporting"', '$."email"', '$."Email"', '$."address"', '$."PostalAddress"."AddressFirstLine"', '$."taskName"', '$."taskId"', '$."taskOid"', '$."comments"', '$."Description"', '$."matchType"', '$."contactStatus"', '$."appointment"', '$."automatedContactCompliant"', '$."automatedContactConsentId"'])) as v
    from read_parquet('{landing}/angi/leads/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as request_group_id,
    clean(v[2]) as full_name,
    coalesce(clean(v[3]), clean(v[4])) as given_name,
    coalesce(clean(v[5]), clean(v[6])) as family_name,
    coalesce(clean(v[7]), clean(v[8])) as phone,
    try_cast(clean(v[9]) as boolean) as is_phone_masked,
    clean(v[10]) as secondary_phone,
    try_cast(clean(v[11]) as boolean) as is_secondary_phone_masked,
    try_cast(clean(v[12]) as boolean) as has_call_reporting,
    coalesce(clean(v[13]), clean(v[14])) as email,
    coalesce(clean(v[15]), clean(v[16])) as street,
    clean(v[17]) as task,
    coalesce(clean(v[18]), clean(v[19])) as task_id,
    coalesce(clean(v[20]), clean(v[21])) as comments,
    clean(v[22]) as match_type,
    clean(v[23]) as contact_status,
    clean(v[24]) as appointment,
    try_cast(clean(v[25]) as boolean) as automated_contact_compliant,
    clean(v[26]) as consent_id,
    false as is_rejected
from landed;

create temp table base_callrail__calls as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/callrail/calls/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/callrail/calls/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."start_time"', '$."direction"', '$."tracker_id"', '$."answered"', '$."voicemail"', '$."duration"', '$."customer_name"', '$."customer_phone_number"', '$."tracking_phone_number"', '$."agent_email"', '$."lead_status"', '$."value"', '$."tags"', '$."note"', '$."source"', '$."source_name"', '$."medium"', '$."campaign"'])) as v
    from read_parquet('{landing}/callrail/calls/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as call_id,
    utc(clean(v[2])) as started_at,
    clean(v[3]) as direction,
    clean(v[4]) as tracker_id,
    try_cast(clean(v[5]) as boolean) as is_answered,
    try_cast(clean(v[6]) as boolean) as is_voicemail,
    try_cast(clean(v[7]) as bigint) as duration_seconds,
    clean(v[8]) as customer_name,
    clean(v[9]) as customer_phone,
    clean(v[10]) as tracking_number,
    clean(v[11]) as agent_email,
    clean(v[12]) as lead_status,
    cents(clean(v[13])) as value_cents,
    clean(v[14]) as tags,
    clean(v[15]) as note,
    clean(v[16]) as source,
    clean(v[17]) as source_name,
    clean(v[18]) as medium,
    clean(v[19]) as campaign,
    call_id is null or started_at is null or direction is null as is_rejected
from landed;

create temp table base_callrail__companies as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/callrail/companies/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/callrail/companies/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"'])) as v
    from read_parquet('{landing}/callrail/companies/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as company_id,
    company_id is null as is_rejected
from landed;

create temp table base_callrail__form_submissions as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/callrail/form_submissions/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/callrail/form_submissions/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."submitted_at"', '$."customer_name"', '$."form_data"."name"', '$."form_data"."Name"', '$."form_data"."Your Name"', '$."form_data"."your_name"', '$."form_data"."Full Name"', '$."form_data"."full_name"', '$."customer_phone_number"', '$."form_data"."phone"', '$."form_data"."Phone"', '$."form_data"."Your Phone"', '$."form_data"."Phone Number"', '$."form_data"."phone_number"', '$."form_data"."tel"', '$."form_data"."email"', '$."form_data"."Email"', '$."form_data"."Your Email"', '$."form_data"."your_email"', '$."form_data"."Email Address"', '$."form_data"."email_address"', '$."form_data"."E-mail"', '$."form_data"."message"', '$."form_data"."Message"', '$."form_data"."comments"', '$."form_data"."Comments"', '$."form_data"."How can we help?"', '$."form_data"."service"', '$."form_data"."Service"', '$."form_data"."service_needed"', '$."form_data"."Service Needed"', '$."form_data"."sms_consent"', '$."form_data"."text_consent"', '$."form_data"."Text me updates"', '$."form_name"', '$."form_url"', '$."lead_status"', '$."value"', '$."tags"', '$."note"', '$."source"', '$."medium"', '$."campaign"'])) as v
    from read_parquet('{landing}/callrail/form_submissions/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as form_id,
    utc(clean(v[2])) as submitted_at,
    coalesce(clean(v[3]), clean(v[4]), clean(v[5]), clean(v[6]), clean(v[7]), clean(v[8]), clean(v[9])) as customer_name,
    coalesce(clean(v[10]), clean(v[11]), clean(v[12]), clean(v[13]), clean(v[14]), clean(v[15]), clean(v[16])) as customer_phone,
    coalesce(clean(v[17]), clean(v[18]), clean(v[19]), clean(v[20]), clean(v[21]), clean(v[22]), clean(v[23])) as customer_email,
    coalesce(clean(v[24]), clean(v[25]), clean(v[26]), clean(v[27]), clean(v[28])) as message,
    coalesce(clean(v[29]), clean(v[30]), clean(v[31]), clean(v[32])) as service,
    coalesce(clean(v[33]), clean(v[34]), clean(v[35])) as text_consent,
    clean(v[36]) as form_name,
    clean(v[37]) as form_url,
    clean(v[38]) as lead_status,
    cents(clean(v[39])) as value_cents,
    clean(v[40]) as tags,
    clean(v[41]) as note,
    clean(v[42]) as source,
    clean(v[43]) as medium,
    clean(v[44]) as campaign,
    form_id is null or submitted_at is null as is_rejected
from landed;

create temp table base_callrail__text_messages as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/callrail/text_messages/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/callrail/text_messages/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."last_message_at"', '$."current_tracker_id"', '$."initial_tracker_id"', '$."customer_name"', '$."customer_phone_number"', '$."current_tracking_number"', '$."initial_tracking_number"', '$."source"', '$."messages"', '$."recent_messages"'])) as v
    from read_parquet('{landing}/callrail/text_messages/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as conversation_id,
    utc(clean(v[2])) as last_message_at,
    coalesce(clean(v[3]), clean(v[4])) as tracker_id,
    clean(v[5]) as customer_name,
    clean(v[6]) as customer_phone,
    coalesce(clean(v[7]), clean(v[8])) as tracking_number,
    clean(v[9]) as source_name,
    coalesce(clean(v[10]), clean(v[11])) as messages,
    conversation_id is null or last_message_at is null as is_rejected
from landed;

create temp table base_callrail__trackers as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/callrail/trackers/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/callrail/trackers/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."name"', '$."source"."type"', '$."tracking_numbers"', '$."destination_number"', '$."call_flow"."destination_number"', '$."created_at"'])) as v
    from read_parquet('{landing}/callrail/trackers/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as tracker_id,
    clean(v[2]) as tracker_name,
    clean(v[3]) as source_type,
    clean(v[4]) as tracking_numbers,
    coalesce(clean(v[5]), clean(v[6])) as destination_number,
    utc(clean(v[7])) as created_at,
    tracker_id is null as is_rejected
from landed;

create temp table base_forms__submissions as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/forms/submissions/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/forms/submissions/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."submission_id"', '$."content_key"', '$."form_id"', '$."submitted_at"', '$."name"', '$."first_name"', '$."last_name"', '$."phone"', '$."email"', '$."message"', '$."service"', '$."page_url"', '$."referrer"', '$."utm_source"', '$."utm_medium"', '$."utm_campaign"', '$."gclid"', '$."gbraid"', '$."wbraid"', '$."msclkid"', '$."fbclid"', '$."consent"', '$."consent_text"'])) as v
    from read_parquet('{landing}/forms/submissions/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as submission_id,
    clean(v[2]) as content_key,
    clean(v[3]) as form_id,
    utc(clean(v[4])) as submitted_at,
    clean(v[5]) as full_name,
    clean(v[6]) as given_name,
    clean(v[7]) as family_name,
    clean(v[8]) as phone,
    clean(v[9]) as email,
    clean(v[10]) as message,
    clean(v[11]) as service,
    clean(v[12]) as page_url,
    clean(v[13]) as referrer,
    clean(v[14]) as utm_source,
    clean(v[15]) as utm_medium,
    clean(v[16]) as utm_campaign,
    clean(v[17]) as gclid,
    clean(v[18]) as gbraid,
    clean(v[19]) as wbraid,
    clean(v[20]) as msclkid,
    clean(v[21]) as fbclid,
    clean(v[22]) as consent,
    clean(v[23]) as consent_text,
    content_key is null as is_rejected
from landed;

create temp table base_hubspot__contacts as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/contacts/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/contacts/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."properties"."createdate"', '$."createdAt"', '$."properties"."firstname"', '$."properties"."lastname"', '$."properties"."email"', '$."properties"."phone"', '$."properties"."mobilephone"', '$."properties"."lifecyclestage"', '$."properties"."hubspot_owner_id"', '$."properties"."hs_analytics_source"', '$."properties"."hs_merged_object_ids"', '$."properties"."hs_email_optout"', '$."archived"', '$."archivedAt"'])) as v
    from read_parquet('{landing}/hubspot/contacts/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as contact_id,
    utc(coalesce(clean(v[2]), clean(v[3]))) as created_at,
    clean(v[4]) as first_name,
    clean(v[5]) as last_name,
    clean(v[6]) as email,
    clean(v[7]) as phone,
    clean(v[8]) as mobile_phone,
    clean(v[9]) as lifecycle_stage,
    clean(v[10]) as owner_id,
    clean(v[11]) as first_source,
    clean(v[12]) as merged_contact_ids,
    try_cast(clean(v[13]) as boolean) as is_email_opted_out,
    try_cast(clean(v[14]) as boolean) as is_archived,
    utc(clean(v[15])) as archived_at,
    contact_id is null or created_at is null as is_rejected
from landed;

create temp table base_hubspot__deal_contacts as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/deal_contacts/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/deal_contacts/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."to"'])) as v
    from read_parquet('{landing}/hubspot/deal_contacts/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as contacts,
    false as is_rejected
from landed;

create temp table base_hubspot__deals as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/deals/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/deals/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."properties"."createdate"', '$."createdAt"', '$."properties"."dealname"', '$."properties"."pipeline"', '$."properties"."dealstage"', '$."properties"."amount"', '$."properties"."deal_currency_code"', '$."properties"."closed_lost_reason"', '$."properties"."hs_is_closed"', '$."properties"."hs_is_closed_won"', '$."properties"."hs_analytics_source"', '$."properties"."hubspot_owner_id"', '$."propertiesWithHistory"."dealstage"', '$."archived"', '$."archivedAt"'])) as v
    from read_parquet('{landing}/hubspot/deals/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as deal_id,
    utc(coalesce(clean(v[2]), clean(v[3]))) as created_at,
    clean(v[4]) as deal_name,
    clean(v[5]) as pipeline_id,
    clean(v[6]) as stage_id,
    try_cast(clean(v[7]) as double) as amount,
    clean(v[8]) as currency,
    clean(v[9]) as lost_reason,
    try_cast(clean(v[10]) as boolean) as is_closed,
    try_cast(clean(v[11]) as boolean) as is_won,
    clean(v[12]) as first_source,
    clean(v[13]) as owner_id,
    clean(v[14]) as stage_history,
    try_cast(clean(v[15]) as boolean) as is_archived,
    utc(clean(v[16])) as archived_at,
    deal_id is null or created_at is null as is_rejected
from landed;

create temp table base_hubspot__owners as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/owners/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/owners/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"'])) as v
    from read_parquet('{landing}/hubspot/owners/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as owner_id,
    owner_id is null as is_rejected
from landed;

create temp table base_hubspot__pipelines as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/pipelines/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/pipelines/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."label"', '$."displayOrder"', '$."archived"', '$."stages"'])) as v
    from read_parquet('{landing}/hubspot/pipelines/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as pipeline_id,
    clean(v[2]) as label,
    try_cast(clean(v[3]) as bigint) as display_order,
    try_cast(clean(v[4]) as boolean) as is_archived,
    clean(v[5]) as stages,
    pipeline_id is null as is_rejected
from landed;

create temp table base_hubspot__task_contacts as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/task_contacts/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/task_contacts/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."to"'])) as v
    from read_parquet('{landing}/hubspot/task_contacts/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as contacts,
    false as is_rejected
from landed;

create temp table base_hubspot__tasks as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/hubspot/tasks/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/hubspot/tasks/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."id"', '$."properties"."hs_createdate"', '$."createdAt"', '$."properties"."hs_timestamp"', '$."properties"."hs_task_subject"', '$."properties"."hs_task_status"', '$."properties"."hs_task_priority"', '$."properties"."hs_task_completion_date"', '$."properties"."hubspot_owner_id"', '$."archived"', '$."archivedAt"'])) as v
    from read_parquet('{landing}/hubspot/tasks/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as task_id,
    utc(coalesce(clean(v[2]), clean(v[3]))) as created_at,
    utc(clean(v[4])) as due_at,
    clean(v[5]) as subject,
    clean(v[6]) as status,
    clean(v[7]) as priority,
    utc(clean(v[8])) as completed_at,
    clean(v[9]) as owner_id,
    try_cast(clean(v[10]) as boolean) as is_archived,
    utc(clean(v[11])) as archived_at,
    task_id is null or created_at is null as is_rejected
from landed;

create temp table base_quickbooks__credit_memos as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/credit_memos/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/credit_memos/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."InvoiceRef"."value"'])) as v
    from read_parquet('{landing}/quickbooks/credit_memos/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as credit_memo_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    clean(v[9]) as invoice_id,
    credit_memo_id is null as is_rejected
from landed;

create temp table base_quickbooks__customers as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/customers/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/customers/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."DisplayName"', '$."FullyQualifiedName"', '$."GivenName"', '$."ParentRef"."value"', '$."PrimaryPhone"."FreeFormNumber"', '$."Mobile"."FreeFormNumber"', '$."AlternatePhone"."FreeFormNumber"', '$."PrimaryEmailAddr"."Address"', '$."BillAddr"."Line1"', '$."MetaData"."CreateTime"', '$."status"', '$."FamilyName"'])) as v
    from read_parquet('{landing}/quickbooks/customers/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as customer_id,
    clean(v[2]) as display_name,
    clean(v[3]) as full_name,
    clean(v[4]) as given_name,
    clean(v[5]) as parent_id,
    clean(v[6]) as primary_phone,
    clean(v[7]) as mobile_phone,
    clean(v[8]) as alternate_phone,
    clean(v[9]) as email,
    clean(v[10]) as street,
    utc(clean(v[11])) as created_at,
    clean(v[12]) as provider_status,
    clean(v[13]) as family_name,
    customer_id is null as is_rejected
from landed;

create temp table base_quickbooks__estimates as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/estimates/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/estimates/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."TxnStatus"', '$."AcceptedDate"', '$."EmailStatus"', '$."DeliveryInfo"."DeliveryTime"'])) as v
    from read_parquet('{landing}/quickbooks/estimates/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as estimate_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    clean(v[9]) as status,
    try_cast(clean(v[10]) as date) as accepted_on,
    clean(v[11]) as email_status,
    utc(clean(v[12])) as delivered_at,
    estimate_id is null as is_rejected
from landed;

create temp table base_quickbooks__invoices as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/invoices/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/invoices/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."Balance"', '$."Deposit"', '$."EmailStatus"', '$."DeliveryInfo"."DeliveryTime"', '$."BillEmail"."Address"', '$."LinkedTxn"'])) as v
    from read_parquet('{landing}/quickbooks/invoices/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as invoice_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    cents(clean(v[9])) as balance_cents,
    cents(clean(v[10])) as deposit_cents,
    clean(v[11]) as email_status,
    utc(clean(v[12])) as delivered_at,
    clean(v[13]) as bill_email,
    clean(v[14]) as linked_transactions,
    invoice_id is null as is_rejected
from landed;

create temp table base_quickbooks__payments as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/payments/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/payments/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."PaymentRefNum"'])) as v
    from read_parquet('{landing}/quickbooks/payments/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as payment_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    clean(v[9]) as reference,
    payment_id is null as is_rejected
from landed;

create temp table base_quickbooks__refund_receipts as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/refund_receipts/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/refund_receipts/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."PaymentRefNum"'])) as v
    from read_parquet('{landing}/quickbooks/refund_receipts/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as refund_receipt_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    clean(v[9]) as reference,
    refund_receipt_id is null as is_rejected
from landed;

create temp table base_quickbooks__sales_receipts as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/quickbooks/sales_receipts/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/quickbooks/sales_receipts/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."Id"', '$."MetaData"."CreateTime"', '$."CustomerRef"."value"', '$."CustomerRef"."name"', '$."TotalAmt"', '$."CurrencyRef"."value"', '$."PrivateNote"', '$."status"', '$."PaymentRefNum"'])) as v
    from read_parquet('{landing}/quickbooks/sales_receipts/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as sales_receipt_id,
    utc(clean(v[2])) as created_at,
    clean(v[3]) as customer_id,
    clean(v[4]) as customer_name,
    cents(clean(v[5])) as total_cents,
    clean(v[6]) as currency,
    clean(v[7]) as private_note,
    clean(v[8]) as provider_status,
    clean(v[9]) as reference,
    sales_receipt_id is null as is_rejected
from landed;

create temp table base_thumbtack__lead_updates as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/thumbtack/lead_updates/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/thumbtack/lead_updates/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."leadID"', '$."chargeState"', '$."leadPrice"'])) as v
    from read_parquet('{landing}/thumbtack/lead_updates/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as lead_id,
    clean(v[2]) as charge_state,
    cents(clean(v[3])) as lead_price_cents,
    lead_id is null as is_rejected
from landed;

create temp table base_thumbtack__leads as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/thumbtack/leads/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/thumbtack/leads/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."negotiationID"', '$."leadID"', '$."createdAt"', '$."createTime"', '$."createTimestamp"', '$."status"', '$."chargeState"', '$."leadPrice"', '$."leadType"', '$."customer"."customerID"', '$."request"."customerID"', '$."customer"."name"', '$."customer"."displayName"', '$."customer"."firstName"', '$."customer"."lastName"', '$."customer"."phone"', '$."request"."requestID"', '$."request"."category"."name"', '$."request"."category"', '$."request"."description"', '$."request"."location"."address1"', '$."request"."booking"."start"'])) as v
    from read_parquet('{landing}/thumbtack/leads/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    coalesce(clean(v[1]), clean(v[2])) as lead_id,
    utc(coalesce(clean(v[3]), clean(v[4]))) as created_at_iso,
    make_timestamp(try_cast(clean(v[5]) as bigint) * 1000000) as created_at_epoch,
    clean(v[6]) as status,
    clean(v[7]) as charge_state,
    cents(clean(v[8])) as lead_price_cents,
    clean(v[9]) as lead_type,
    coalesce(clean(v[10]), clean(v[11])) as customer_id,
    coalesce(clean(v[12]), clean(v[13])) as full_name,
    clean(v[14]) as given_name,
    clean(v[15]) as family_name,
    clean(v[16]) as phone,
    clean(v[17]) as request_id,
    coalesce(clean(v[18]), clean(v[19])) as category,
    clean(v[20]) as description,
    clean(v[21]) as street,
    utc(clean(v[22])) as booked_for,
    lead_id is null as is_rejected
from landed;

create temp table base_thumbtack__messages as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/thumbtack/messages/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/thumbtack/messages/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."messageID"', '$."message"."messageID"', '$."negotiationID"', '$."leadID"', '$."from"', '$."customer"."customerID"', '$."customerID"', '$."text"', '$."message"."text"', '$."sentAt"', '$."message"."createTimestamp"'])) as v
    from read_parquet('{landing}/thumbtack/messages/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    coalesce(clean(v[1]), clean(v[2])) as message_id,
    coalesce(clean(v[3]), clean(v[4])) as lead_id,
    clean(v[5]) as sender,
    coalesce(clean(v[6]), clean(v[7])) as customer_id,
    coalesce(clean(v[8]), clean(v[9])) as text,
    utc(clean(v[10])) as sent_at_iso,
    make_timestamp(try_cast(clean(v[11]) as bigint) * 1000000) as sent_at_epoch,
    message_id is null or lead_id is null as is_rejected
from landed;

create temp table base_thumbtack__reviews as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/thumbtack/reviews/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/thumbtack/reviews/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."reviewID"', '$."review"."reviewID"', '$."negotiationID"', '$."review"."leadID"', '$."rating"', '$."review"."rating"', '$."text"', '$."review"."text"', '$."createTime"', '$."createdAt"', '$."review"."createTime"'])) as v
    from read_parquet('{landing}/thumbtack/reviews/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    coalesce(clean(v[1]), clean(v[2])) as review_id,
    coalesce(clean(v[3]), clean(v[4])) as lead_id,
    try_cast(coalesce(clean(v[5]), clean(v[6])) as bigint) as rating,
    coalesce(clean(v[7]), clean(v[8])) as text,
    utc(coalesce(clean(v[9]), clean(v[10]))) as created_at_iso,
    make_timestamp(try_cast(clean(v[11]) as bigint) * 1000) as created_at_ms,
    review_id is null as is_rejected
from landed;

create temp table base_twilio__message_events as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/twilio/message_events/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/twilio/message_events/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."MessageSid"', '$."SmsSid"', '$."SmsMessageSid"', '$."MessageStatus"', '$."SmsStatus"', '$."From"', '$."To"', '$."Body"', '$."OptOutType"', '$."ErrorCode"', '$."NumSegments"', '$."NumMedia"', '$."MessagingServiceSid"'])) as v
    from read_parquet('{landing}/twilio/message_events/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    coalesce(clean(v[1]), clean(v[2]), clean(v[3])) as message_sid,
    coalesce(clean(v[4]), clean(v[5])) as status,
    clean(v[6]) as from_number,
    clean(v[7]) as to_number,
    clean(v[8]) as body,
    clean(v[9]) as opt_out_type,
    try_cast(clean(v[10]) as bigint) as error_code,
    try_cast(clean(v[11]) as bigint) as segment_count,
    try_cast(clean(v[12]) as bigint) as media_count,
    clean(v[13]) as messaging_service_sid,
    message_sid is null or status is null as is_rejected
from landed;

create temp table base_twilio__messages as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/twilio/messages/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/twilio/messages/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."sid"', '$."direction"', '$."status"', '$."date_created"', '$."date_sent"', '$."from"', '$."to"', '$."body"', '$."error_code"', '$."num_segments"', '$."num_media"', '$."price"', '$."price_unit"', '$."messaging_service_sid"'])) as v
    from read_parquet('{landing}/twilio/messages/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as message_sid,
    clean(v[2]) as direction,
    clean(v[3]) as status,
    try_strptime(clean(v[4]), '%a, %d %b %Y %H:%M:%S %z') at time zone 'UTC' as created_at,
    try_strptime(clean(v[5]), '%a, %d %b %Y %H:%M:%S %z') at time zone 'UTC' as sent_at,
    clean(v[6]) as from_number,
    clean(v[7]) as to_number,
    clean(v[8]) as body,
    try_cast(clean(v[9]) as bigint) as error_code,
    try_cast(clean(v[10]) as bigint) as segment_count,
    try_cast(clean(v[11]) as bigint) as media_count,
    cast(round(try_cast(clean(v[12]) as decimal(18, 6)) * 1000000) as bigint) as price_micros,
    clean(v[13]) as price_currency,
    clean(v[14]) as messaging_service_sid,
    message_sid is null or direction is null or status is null or created_at is null as is_rejected
from landed;

create temp table base_twilio__phone_numbers as
with versions as (
    select client_id, record_id, received_at, idempotency_key, filename, file_row_number, coalesce(updated_at, received_at) as version_at,
        lag(idempotency_key) over (partition by client_id, record_id order by coalesce(updated_at, received_at), received_at, idempotency_key) as key_before,
        min(received_at) over (partition by client_id, record_id) as first_known_at,
        max(received_at) over (partition by client_id, record_id) as seen_at
    from read_parquet('{landing}/twilio/phone_numbers/*.parquet', filename = true, file_row_number = true)
    where via <> 'observed'
),
winners as (
    select client_id, record_id, filename, file_row_number, first_known_at, seen_at
    from versions
    where key_before is distinct from idempotency_key
    qualify row_number() over (partition by client_id, record_id order by version_at desc, received_at desc, idempotency_key desc) = 1
),
absences as (
    select winners.client_id, winners.record_id, min(gone.received_at) as absent_since
    from read_parquet('{landing}/twilio/phone_numbers/*.parquet') as gone
    inner join winners on gone.client_id = winners.client_id and gone.record_id = winners.record_id and gone.received_at > winners.seen_at
    where gone.via = 'observed'
    group by all
),
landed as (
    select payloads.client_id, payloads.record_id, payloads.occurred_at, payloads.updated_at, payloads.received_at, payloads.via, payloads.batch_id,
        winners.first_known_at, absences.absent_since,
        try(json_extract_string(payloads.payload, ['$."sid"', '$."phone_number"', '$."date_created"'])) as v
    from read_parquet('{landing}/twilio/phone_numbers/*.parquet', filename = true, file_row_number = true) as payloads
    inner join winners on payloads.filename = winners.filename and payloads.file_row_number = winners.file_row_number
    left join absences on payloads.client_id = absences.client_id and payloads.record_id = absences.record_id
)
select
    client_id, record_id, client_id || ':' || record_id as record_key, occurred_at, updated_at, received_at, first_known_at, via, batch_id,
    absent_since, absent_since is not null as is_absent,
    clean(v[1]) as phone_number_sid,
    clean(v[2]) as phone_number,
    try_strptime(clean(v[3]), '%a, %d %b %Y %H:%M:%S %z') at time zone 'UTC' as created_at,
    phone_number_sid is null or phone_number is null as is_rejected
from landed;

-- the provider's meaning
create temp view stg_twilio__phone_numbers as
with phone_numbers as (
    select * from base_twilio__phone_numbers where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        e164(phone_number) as phone_e164,
        created_at,
        received_at
    from phone_numbers
)
select * from final;

create temp view stg_twilio__messages as
with messages as (
    select * from base_twilio__messages where not is_rejected
),
events as (
    select
        *,
        case
    when status in ('accepted', 'scheduled') then 0
    when status in ('queued', 'receiving') then 1
    when status = 'sending' then 2
    when status = 'sent' then 3
    when status = 'partially_delivered' then 4
    when status in ('delivered', 'undelivered', 'failed', 'canceled', 'received') then 5
    when status = 'read' then 6
    else -1
end as status_rank
    from base_twilio__message_events
    where not is_rejected
),
furthest as (
    select * from (
        select
            *,
            row_number() over (
                partition by client_id, message_sid order by status_rank desc, received_at desc, record_key
            ) as position
        from events
    ) as ranked
    where position = 1
),
listed as (
    select
        messages.client_id,
        messages.record_key,
        messages.message_sid,
        messages.direction,
        case
            when furthest.status_rank > case
    when messages.status in ('accepted', 'scheduled') then 0
    when messages.status in ('queued', 'receiving') then 1
    when messages.status = 'sending' then 2
    when messages.status = 'sent' then 3
    when messages.status = 'partially_delivered' then 4
    when messages.status in ('delivered', 'undelivered', 'failed', 'canceled', 'received') then 5
    when messages.status = 'read' then 6
    else -1
end then furthest.status
            else messages.status
        end as status,
        case
            when furthest.status_rank > case
    when messages.status in ('accepted', 'scheduled') then 0
    when messages.status in ('queued', 'receiving') then 1
    when messages.status = 'sending' then 2
    when messages.status = 'sent' then 3
    when messages.status = 'partially_delivered' then 4
    when messages.status in ('delivered', 'undelivered', 'failed', 'canceled', 'received') then 5
    when messages.status = 'read' then 6
    else -1
end then furthest.error_code
            else messages.error_code
        end as error_code,
        messages.from_number,
        messages.to_number,
        messages.body,
        furthest.opt_out_type,
        messages.segment_count,
        messages.media_count,
        messages.price_micros,
        messages.price_currency,
        messages.messaging_service_sid,
        messages.created_at,
        messages.sent_at,
        true as is_listed,
        messages.is_absent as is_deleted,
        messages.absent_since as deleted_at,
        messages.received_at,
        messages.via
    from messages
    left join furthest
        on messages.client_id = furthest.client_id and messages.message_sid = furthest.message_sid
),
pushed_only as (
    select
        events.client_id,
        events.client_id || ':' || events.message_sid as record_key,
        events.message_sid,
        'inbound' as direction,
        'received' as status,
        cast(null as bigint) as error_code,
        events.from_number,
        events.to_number,
        events.body,
        events.opt_out_type,
        events.segment_count,
        events.media_count,
        cast(null as bigint) as price_micros,
        cast(null as varchar) as price_currency,
        events.messaging_service_sid,
        events.received_at as created_at,
        events.received_at as sent_at,
        false as is_listed,
        false as is_deleted,
        cast(null as timestamp) as deleted_at,
        events.received_at,
        events.via
    from events
    left join messages
        on events.client_id = messages.client_id and events.message_sid = messages.message_sid
    where events.status in ('received', 'receiving') and messages.message_sid is null
),
together as (
    select * from listed
    union all
    select * from pushed_only
),
final as (
    select

        client_id,
        record_key,
        message_sid,
        case when direction = 'inbound' then 'inbound' else 'outbound' end as direction,
        case when direction = 'inbound' then e164(from_number) else e164(to_number) end as phone_e164,
        body,
        status,
        status in ('undelivered', 'failed') as is_failed,
        case
    when error_code is null then null
    when error_code in (21211, 30005) then 'invalid_number'
    when error_code in (21614, 30006) then 'sms_incapable'
    when error_code = 21610 then 'opted_out'
    when error_code = 30004 then 'blocked'
    when error_code = 30007 then 'filtered_as_spam'
    when error_code in (30003, 30008) then 'unreachable'
    when error_code in (21611, 30001) then 'queue_full'
    when error_code in (21408, 21606, 21608, 30002, 30032, 30034) then 'client_configuration'
    else 'other'
end as failure_reason,
        direction = 'inbound' and coalesce(opt_out_type, case
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') then 'STOP'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('START', 'YES', 'UNSTOP') then 'START'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('HELP', 'INFO') then 'HELP'
end, '') = 'STOP' as is_opt_out,
        direction = 'inbound' and coalesce(opt_out_type, case
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') then 'STOP'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('START', 'YES', 'UNSTOP') then 'START'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('HELP', 'INFO') then 'HELP'
end, '') = 'START' as lifts_block,
        created_at,
        sent_at,
        coalesce(sent_at, created_at) as occurred_at,
        received_at
    from together
)
select * from final;

create temp view stg_twilio__message_events as
with events as (
    select
        *,
        status in ('received', 'receiving') as is_inbound
    from base_twilio__message_events
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        message_sid,
        case when is_inbound then 'inbound_message' else 'status_callback' end as event_kind,
        status,
        case when is_inbound then e164(from_number) else e164(to_number) end as phone_e164,
        body,
        is_inbound and coalesce(opt_out_type, case
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') then 'STOP'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('START', 'YES', 'UNSTOP') then 'START'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('HELP', 'INFO') then 'HELP'
end, '') = 'STOP' as is_opt_out,
        is_inbound and coalesce(opt_out_type, case
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') then 'STOP'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('START', 'YES', 'UNSTOP') then 'START'
    when upper(regexp_replace(body, '^[[:space:]]+|[[:space:]]+$', '', 'g')) in ('HELP', 'INFO') then 'HELP'
end, '') = 'START' as lifts_block,
        case
    when error_code is null then null
    when error_code in (21211, 30005) then 'invalid_number'
    when error_code in (21614, 30006) then 'sms_incapable'
    when error_code = 21610 then 'opted_out'
    when error_code = 30004 then 'blocked'
    when error_code = 30007 then 'filtered_as_spam'
    when error_code in (30003, 30008) then 'unreachable'
    when error_code in (21611, 30001) then 'queue_full'
    when error_code in (21408, 21606, 21608, 30002, 30032, 30034) then 'client_configuration'
    else 'other'
end as failure_reason,
        received_at
    from events
)
select * from final;

create temp view stg_thumbtack__reviews as
with reviews as (
    select * from base_thumbtack__reviews where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        record_id,
        lead_id,
        coalesce(created_at_iso, created_at_ms, occurred_at) as created_at,
        rating,
        text,
        occurred_at,
        updated_at,
        received_at
    from reviews
)
select * from final;

create temp view stg_thumbtack__messages as
with messages as (
    select * from base_thumbtack__messages where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        record_id,
        lead_id,
        customer_id,
        coalesce(sent_at_iso, sent_at_epoch, occurred_at) as sent_at,
        case when sender = 'Business' then 'outbound' else 'inbound' end as direction,
        text,
        occurred_at,
        updated_at,
        received_at
    from messages
)
select * from final;

create temp view stg_thumbtack__leads as
with leads as (
    select *, case charge_state when 'Created' then 1 when 'Pending' then 2 when 'Charged' then 3 when 'Refunded' then 4 else 0 end as charge_rank from base_thumbtack__leads where not is_rejected
),
updates as (
    select *, case charge_state when 'Created' then 1 when 'Pending' then 2 when 'Charged' then 3 when 'Refunded' then 4 else 0 end as charge_rank from base_thumbtack__lead_updates where not is_rejected
),
ranked_updates as (
    select
        client_id, lead_id, charge_state, charge_rank, lead_price_cents, received_at,
        row_number() over (partition by client_id, lead_id order by charge_rank desc, received_at desc) as nth
    from updates
),
updated as (
    select
        leads.*,
        case
            when ranked_updates.charge_rank >= leads.charge_rank then ranked_updates.charge_state else leads.charge_state
        end as known_charge_state,
        case
            when ranked_updates.charge_rank >= leads.charge_rank
                then coalesce(ranked_updates.lead_price_cents, leads.lead_price_cents)
            else leads.lead_price_cents
        end as known_price_cents,
        e164(leads.phone) as phone_e164
    from leads
    left join ranked_updates
        on leads.client_id = ranked_updates.client_id
        and leads.lead_id = ranked_updates.lead_id
        and ranked_updates.nth = 1
),
phones as (
    select client_id, phone_e164, count(distinct customer_id) as customers
    from updated
    where phone_e164 is not null
    group by client_id, phone_e164
),
final as (
    select

        updated.client_id,
        updated.record_key,
        updated.record_id,
        updated.lead_id,
        updated.request_id as request_group_id,
        updated.customer_id,
        coalesce(updated.created_at_iso, updated.created_at_epoch, updated.occurred_at) as created_at,
        case
            when updated.status in ('Open', 'active') then 'open'
            when updated.status = 'Canceled' then 'canceled'
            when updated.status = 'Picked' then 'picked'
            else 'unknown'
        end as status_normalized,
        updated.known_charge_state as charge_state,
        case
            when updated.booked_for is not null
                or updated.lead_type in ('BOOKING', 'INSTANT_BOOK', 'INSTANT_CONSULT', 'SERVICE_CALL') then 'appointment'
            when updated.lead_type in ('CALL', 'PHONE_CONSULTATION') then 'call'
            else 'quote'
        end as lead_class,
        updated.category,
        updated.description,
        coalesce(updated.full_name, nullif(trim(concat_ws(' ', updated.given_name, updated.family_name)), '')) as full_name,
        updated.given_name,
        updated.phone,
        updated.phone_e164,
        case
            when updated.phone is null then null
            when phones.customers > 1 then 'proxy'
            else 'unknown'
        end as phone_kind,
        updated.street,
        updated.booked_for,
        updated.occurred_at,
        updated.updated_at,
        updated.received_at
    from updated
    left join phones on updated.client_id = phones.client_id and updated.phone_e164 = phones.phone_e164
)
select * from final;

create temp view stg_thumbtack__lead_updates as
with updates as (
    select * from base_thumbtack__lead_updates where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        record_id,
        lead_id,
        charge_state,
        lead_price_cents,
        occurred_at,
        received_at
    from updates
)
select * from final;

create temp view stg_quickbooks__sales_receipts as
with sales_receipts as (
    select
        base_quickbooks__sales_receipts.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from base_quickbooks__sales_receipts
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        sales_receipt_id,
        customer_id,
        customer_name,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        reference,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at
    from sales_receipts
)
select * from final;

create temp view stg_quickbooks__refund_receipts as
with refund_receipts as (
    select
        base_quickbooks__refund_receipts.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from base_quickbooks__refund_receipts
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        refund_receipt_id,
        customer_id,
        customer_name,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        reference,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at
    from refund_receipts
)
select * from final;

create temp view stg_quickbooks__payments as
with payments as (
    select
        base_quickbooks__payments.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from base_quickbooks__payments
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        payment_id,
        customer_id,
        customer_name,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        reference,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at
    from payments
)
select * from final;

create temp view stg_quickbooks__invoices as
with invoices as (
    select
        base_quickbooks__invoices.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted,
        case when linked_transactions like '[%' then linked_transactions end as link_list
    from base_quickbooks__invoices
    where not is_rejected
),
links as (
    select
        invoices.record_key,
        nullif(json_extract_string(each_item.item, '$."TxnType"'), '') as linked_type,
        nullif(json_extract_string(each_item.item, '$."TxnId"'), '') as linked_id
    from invoices
    cross join lateral (
    select unnest(cast(invoices.link_list as json[])) as item, generate_subscripts(cast(invoices.link_list as json[]), 1) as item_number
) as each_item
),
settlements as (
    select
        record_key,
        max(case when linked_type = 'Estimate' then linked_id end) as estimate_id,
        max(case when linked_type in ('Payment', 'CreditMemo') then 1 else 0 end) = 1 as has_settlement
    from links
    group by record_key
),
flagged as (
    select
        invoices.*,
        coalesce(
            not invoices.is_deleted and invoices.total_cents = 0 and invoices.balance_cents = 0
            and lower(invoices.private_note) like 'voided%',
            false
        ) as is_voided,
        settlements.estimate_id,
        coalesce(settlements.has_settlement, false) as has_settlement
    from invoices
    left join settlements on invoices.record_key = settlements.record_key
),
final as (
    select

        client_id,
        record_key,
        invoice_id,
        customer_id,
        customer_name,
        estimate_id,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        case
            when is_deleted then 'deleted'
            when is_voided then 'voided'
            when total_cents > 0 and balance_cents = 0 and (has_settlement or deposit_cents >= total_cents) then 'paid'
            when total_cents > 0 and balance_cents > 0 and balance_cents < total_cents then 'part_paid'
            when balance_cents > 0 then 'open'
            else 'unclear'
        end as payment_state,
        case when lower(replace(email_status, '_', '')) in ('emailsent', 'sent') then delivered_at end as sent_at,
        mail(bill_email) as email_normalized,
        is_deleted,
        is_voided,
        created_at,
        updated_at,
        received_at
    from flagged
)
select * from final;

create temp view stg_quickbooks__estimates as
with estimates as (
    select
        base_quickbooks__estimates.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from base_quickbooks__estimates
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        estimate_id,
        customer_id,
        customer_name,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        lower(status) as status,
        accepted_on,
        case when lower(replace(email_status, '_', '')) in ('emailsent', 'sent') then delivered_at end as sent_at,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at
    from estimates
)
select * from final;

create temp view stg_quickbooks__customers as
with customers as (
    select
        base_quickbooks__customers.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted,
        trim(split_part(replace(email, ';', ','), ',', 1)) as first_email
    from base_quickbooks__customers
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        customer_id,
        parent_id,
        display_name,
        full_name,
        given_name,
        family_name,
        primary_phone,
        mobile_phone,
        alternate_phone,
        coalesce(
            e164(primary_phone),
            e164(mobile_phone),
            e164(alternate_phone)
        ) as phone_e164,
        email,
        mail(first_email) as email_normalized,
        street,
        is_deleted,
        created_at,
        updated_at,
        received_at
    from customers
)
select * from final;

create temp view stg_quickbooks__credit_memos as
with credit_memos as (
    select
        base_quickbooks__credit_memos.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted
    from base_quickbooks__credit_memos
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        credit_memo_id,
        customer_id,
        customer_name,
        case when not is_deleted then total_cents end as total_cents,
        currency,
        invoice_id,
        is_deleted,
        coalesce(not is_deleted and total_cents = 0 and lower(private_note) like 'voided%', false) as is_voided,
        created_at,
        updated_at,
        received_at
    from credit_memos
)
select * from final;

create temp view stg_hubspot__tasks as
with tasks as (
    select * from base_hubspot__tasks
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        task_id,
        created_at,
        due_at,
        subject,
        coalesce(status = 'COMPLETED', false) as is_completed,
        case when status = 'COMPLETED' then completed_at end as completed_at,
        nullif(priority, 'NONE') as priority,
        owner_id,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at
    from tasks
)
select * from final;

create temp view stg_hubspot__task_contacts as
with links as (
    select * from base_hubspot__task_contacts
    where not is_rejected and not is_absent
),
ranked as (
    select
        client_id,
        record_key as task_key,
        record_id as task_id,
        received_at,
        nullif(json_extract_string(item, '$."toObjectId"'), '') as contact_id,
        row_number() over (
            partition by record_key, nullif(json_extract_string(item, '$."toObjectId"'), '') order by item_number
        ) as copy_number
    from links
    cross join lateral (
    select unnest(cast(contacts as json[])) as item, generate_subscripts(cast(contacts as json[]), 1) as item_number
) as each_item
),
final as (
    select

        client_id,
        task_key,
        task_id,
        contact_id,
        received_at
    from ranked
    where contact_id is not null and copy_number = 1
)
select * from final;

create temp view stg_hubspot__pipelines as
with pipelines as (
    select * from base_hubspot__pipelines
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        pipeline_id,
        updated_at,
        received_at
    from pipelines
)
select * from final;

create temp view stg_hubspot__pipeline_stages as
with pipelines as (
    select * from base_hubspot__pipelines
    where not is_rejected
),
stages as (
    select
        client_id,
        record_key as pipeline_key,
        pipeline_id,
        received_at,
        nullif(json_extract_string(item, '$."id"'), '') as stage_id,
        nullif(json_extract_string(item, '$."label"'), '') as stage_label,
        try_cast(nullif(json_extract_string(item, '$."displayOrder"'), '') as bigint) as display_order,
        try_cast(nullif(json_extract_string(item, '$."metadata"."isClosed"'), '') as boolean) as is_closed,
        try_cast(nullif(json_extract_string(item, '$."metadata"."probability"'), '') as double) as probability,
        try_cast(nullif(json_extract_string(item, '$."archived"'), '') as boolean) as is_archived
    from pipelines
    cross join lateral (
    select unnest(cast(stages as json[])) as item, generate_subscripts(cast(stages as json[]), 1) as item_number
) as each_item
),
final as (
    select

        client_id,
        pipeline_id,
        stage_id,
        stage_label,
        probability,
        coalesce(is_closed and probability = 1, false) as is_won,
        coalesce(is_closed and probability = 0, false) as is_lost,
        received_at
    from stages
    where stage_id is not null
)
select * from final;

create temp view stg_hubspot__merged_contacts as
with contacts as (
    select
        client_id,
        contact_id,
        received_at,
        '["' || replace(merged_contact_ids, ';', '","') || '"]' as merged_ids
    from base_hubspot__contacts
    where not is_rejected and merged_contact_ids is not null
),
merged as (
    select
        client_id,
        contact_id,
        received_at,
        trim(replace(cast(item as varchar), '"', '')) as merged_contact_id
    from contacts
    cross join lateral (
    select unnest(cast(merged_ids as json[])) as item, generate_subscripts(cast(merged_ids as json[]), 1) as item_number
) as each_item
),
ranked as (
    select
        *,
        row_number() over (
            partition by client_id, merged_contact_id order by received_at desc, contact_id desc
        ) as newest
    from merged
    where merged_contact_id <> '' and merged_contact_id <> contact_id
),
final as (
    select

        client_id,
        merged_contact_id,
        contact_id,
        received_at
    from ranked
    where newest = 1
)
select * from final;

create temp view stg_hubspot__deals as
with deals as (
    select * from base_hubspot__deals
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        deal_id,
        created_at,
        deal_name,
        pipeline_id,
        stage_id,
        cast(round(amount * 100) as bigint) as amount_cents,
        currency,
        coalesce(is_won, false) as is_won,
        coalesce(is_closed and not coalesce(is_won, false), false) as is_lost,
        lost_reason,
        first_source,
        owner_id,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at
    from deals
)
select * from final;

create temp view stg_hubspot__deal_stage_changes as
with deals as (
    select * from base_hubspot__deals
    where not is_rejected
),
steps as (
    select
        client_id,
        record_key as deal_key,
        deal_id,
        pipeline_id,
        received_at,
        nullif(json_extract_string(item, '$."value"'), '') as stage_id,
        (try_cast(nullif(json_extract_string(item, '$."timestamp"'), '') as timestamptz) at time zone 'UTC') as reached_at,
        nullif(json_extract_string(item, '$."sourceType"'), '') as source_type
    from deals
    cross join lateral (
    select unnest(cast(stage_history as json[])) as item, generate_subscripts(cast(stage_history as json[]), 1) as item_number
) as each_item
),
ranked as (
    select
        *,
        row_number() over (partition by deal_key, reached_at, stage_id order by source_type) as copy_number
    from steps
    where stage_id is not null and reached_at is not null
),
final as (
    select

        client_id,
        deal_key || ':' || cast(reached_at as varchar) || ':' || stage_id as stage_change_key,
        deal_key,
        deal_id,
        pipeline_id,
        stage_id,
        reached_at,
        received_at
    from ranked
    where copy_number = 1
)
select * from final;

create temp view stg_hubspot__deal_contacts as
with links as (
    select * from base_hubspot__deal_contacts
    where not is_rejected and not is_absent
),
ranked as (
    select
        client_id,
        record_key as deal_key,
        record_id as deal_id,
        received_at,
        nullif(json_extract_string(item, '$."toObjectId"'), '') as contact_id,
        row_number() over (
            partition by record_key, nullif(json_extract_string(item, '$."toObjectId"'), '') order by item_number
        ) as copy_number
    from links
    cross join lateral (
    select unnest(cast(contacts as json[])) as item, generate_subscripts(cast(contacts as json[]), 1) as item_number
) as each_item
),
final as (
    select

        client_id,
        deal_key,
        deal_id,
        contact_id,
        received_at
    from ranked
    where contact_id is not null and copy_number = 1
)
select * from final;

create temp view stg_hubspot__contacts as
with contacts as (
    select * from base_hubspot__contacts
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        contact_id,
        created_at,
        first_name,
        nullif(trim(concat_ws(' ', first_name, last_name)), '') as contact_name,
        email,
        mail(email) as email_normalized,
        phone,
        e164(phone) as phone_e164,
        mobile_phone,
        e164(mobile_phone) as mobile_phone_e164,
        lifecycle_stage,
        owner_id,
        first_source,
        coalesce(is_email_opted_out, false) as is_email_opted_out,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at
    from contacts
)
select * from final;

create temp view stg_forms__submissions as
with submissions as (
    select * from base_forms__submissions where not is_rejected
),
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
        phone,
        e164(phone) as phone_e164,
        email,
        mail(email) as email_normalized,
        message,
        service,
        nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(page_url, '([?&#])([^=&#]+=(%2B|[+])?1?([ .+-]|%20|[(]|%28)*[0-9]{3}([ .+)-]|%20|%29)*[0-9]{3}([ .+-]|%20)*[0-9]{4}(&|$))+', '\1', 'gi'), '[?&#](([^=&#]*(e-?mail|phone|mobile)[^=&#]*|tel)=[^&#]*|[^=&#]+=[^&#]*(@|%40)[^&#]*)', '', 'gi'), '[^/?&=#]*(@|%40)[^/?&=#]*', '', 'gi'), '^([^?&#]*)&', '\1?', 'gi'), '[?&]+$', '', 'gi'), '') as page_url,
        nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(referrer, '([?&#])([^=&#]+=(%2B|[+])?1?([ .+-]|%20|[(]|%28)*[0-9]{3}([ .+)-]|%20|%29)*[0-9]{3}([ .+-]|%20)*[0-9]{4}(&|$))+', '\1', 'gi'), '[?&#](([^=&#]*(e-?mail|phone|mobile)[^=&#]*|tel)=[^&#]*|[^=&#]+=[^&#]*(@|%40)[^&#]*)', '', 'gi'), '[^/?&=#]*(@|%40)[^/?&=#]*', '', 'gi'), '^([^?&#]*)&', '\1?', 'gi'), '[?&]+$', '', 'gi'), '') as referrer,
        utm_source,
        utm_medium,
        utm_campaign,
        gclid,
        gbraid,
        wbraid,
        msclkid,
        fbclid,
        case
            when lower(consent) in ('yes', 'y', 'true', 'on', '1', 'checked', 'agree', 'agreed') then 'yes'
            when lower(consent) like 'i agree%' or lower(consent) like 'i consent%' then 'yes'
            when lower(consent) in ('no', 'n', 'false', 'off', '0', 'unchecked') then 'no'
            else 'unknown'
        end as consent_to_text,
        consent_text,
        occurred_at,
        received_at
    from preceded
    where said_before_at is null or occurred_at >= said_before_at + interval '10' minute
)
select * from final;

create temp view stg_callrail__trackers as
with trackers as (
    select * from base_callrail__trackers
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        tracker_id,
        tracker_name,
        source_type,
        tracking_numbers,
        e164(destination_number) as destination_e164,
        created_at,
        received_at
    from trackers
)
select * from final;

create temp view stg_callrail__text_messages as
with conversations as (
    select
        base_callrail__text_messages.*,
        case when messages like '[%' then messages end as message_list
    from base_callrail__text_messages
    where not is_rejected
),
messages as (
    select
        conversations.client_id,
        conversations.record_key,
        conversations.conversation_id,
        conversations.customer_phone,
        conversations.tracking_number,
        conversations.received_at,
        conversations.via,
        conversations.is_absent,
        conversations.absent_since,
        each_item.item_number,
        nullif(json_extract_string(each_item.item, '$."direction"'), '') as raw_direction,
        nullif(json_extract_string(each_item.item, '$."created_at"'), '') as raw_created_at,
        nullif(json_extract_string(each_item.item, '$."content"'), '') as content,
        nullif(json_extract_string(each_item.item, '$."type"'), '') as message_type,
        nullif(json_extract_string(each_item.item, '$."media_urls"'), '') as media_urls
    from conversations
    cross join lateral (
    select unnest(cast(conversations.message_list as json[])) as item, generate_subscripts(cast(conversations.message_list as json[]), 1) as item_number
) as each_item
),
keyed as (
    select
        messages.*,
        md5(
            coalesce(raw_direction, '') || '|' || coalesce(raw_created_at, '') || '|' || coalesce(content, '')
        ) as fingerprint
    from messages
),
final as (
    select

        client_id,
        record_key || ':' || fingerprint || ':' || cast(
            row_number() over (partition by record_key, fingerprint order by item_number) as varchar
        ) as message_key,
        record_key as conversation_key,
        conversation_id,
        try_cast(raw_created_at as timestamptz) at time zone 'UTC' as sent_at,
        case raw_direction when 'incoming' then 'inbound' when 'outgoing' then 'outbound' else raw_direction end as direction,
        content,
        received_at
    from keyed
)
select * from final;

create temp view stg_callrail__form_submissions as
with forms as (
    select * from base_callrail__form_submissions
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        form_id,
        submitted_at,
        customer_name,
        e164(customer_phone) as phone_e164,
        mail(customer_email) as email_normalized,
        message,
        service,
        case
            when lower(text_consent) in ('yes', 'true', 'on', '1') then true
            when lower(text_consent) in ('no', 'false', 'off', '0') then false
        end as has_text_consent,
        form_name,
        form_url,
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
        occurred_at,
        received_at,
        is_absent as is_hidden
    from forms
)
select * from final;

create temp view stg_callrail__conversations as
with conversations as (
    select * from base_callrail__text_messages
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        conversation_id,
        tracker_id,
        customer_name,
        e164(customer_phone) as phone_e164,
        e164(tracking_number) as tracking_e164,
        last_message_at,
        source_name,
        received_at,
        is_absent as is_hidden
    from conversations
)
select * from final;

create temp view stg_callrail__calls as
with calls as (
    select * from base_callrail__calls
    where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        call_id,
        tracker_id,
        started_at,
        direction,
        duration_seconds is not null as is_finished,
        duration_seconds is not null and coalesce(is_answered, false) as is_answered,
        coalesce(is_voicemail, false) as is_voicemail,
        duration_seconds,
        customer_name,
        e164(customer_phone) as phone_e164,
        e164(tracking_number) as tracking_e164,
        mail(agent_email) as agent_email,
        case
            when lead_status in ('good_lead', 'previously_marked_good_lead') then 'qualified'
            when lead_status = 'not_a_lead' then 'not_a_lead'
            else 'not_scored'
        end as qualification,
        value_cents,
        tags,
        note,
        source,
        source_name,
        medium,
        campaign,
        occurred_at,
        received_at,
        is_absent as is_hidden
    from calls
)
select * from final;

create temp view stg_angi__leads as
with leads as (
    select * from base_angi__leads where not is_rejected
),
final as (
    select

        client_id,
        record_key,
        record_id,
        record_id as lead_id,
        request_group_id,
        occurred_at as created_at,
        coalesce(full_name, nullif(trim(concat_ws(' ', given_name, family_name)), '')) as full_name,
        coalesce(given_name, case when full_name like '%_ _%' and full_name not like '%,%' then split_part(full_name, ' ', 1) end)
            as given_name,
        phone,
        e164(phone) as phone_e164,
        case
            when phone is null then null
            when is_phone_masked then 'proxy'
            when is_phone_masked is null or coalesce(has_call_reporting, false) then 'unknown'
            else 'real'
        end as phone_kind,
        e164(secondary_phone) as secondary_phone_e164,
        case
            when secondary_phone is null then null
            when is_secondary_phone_masked then 'proxy'
            when is_secondary_phone_masked is null or coalesce(has_call_reporting, false) then 'unknown'
            else 'real'
        end as secondary_phone_kind,
        email,
        mail(email) as email_normalized,
        street,
        task,
        task_id,
        comments,
        match_type,
        case
            when appointment is not null or lower(contact_status) like 'new appt%' then 'appointment'
            when lower(match_type) in ('lead', 'market') then 'shared'
            when lower(match_type) in ('direct match', 'exact') then 'direct'
            else 'other'
        end as lead_class,
        lower(contact_status) like 'new appt%' and contact_status is not null as is_appointment,
        case
            when automated_contact_compliant then 'yes' when not automated_contact_compliant then 'no' else 'unknown'
        end as consent_to_automated_contact,
        consent_id,
        occurred_at,
        received_at
    from leads
)
select * from final;

-- events
create temp table events (event_id varchar, record_uid varchar, client_id varchar, provider varchar, stream varchar, record_id varchar, event_type varchar,
    occurred_at timestamp, received_at timestamp, direction varchar, contact_method varchar, actor varchar, channel varchar, source varchar, medium varchar, campaign varchar, value_cents bigint, currency varchar, duration_seconds bigint, service varchar, staff varchar, reference varchar, detail varchar, text varchar);
insert into events by name
with calls as (
    select
        *,
        coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(source)),
    replace(replace(lower(trim(case when lower(source) = 'offline' then coalesce(source_name, 'offline') else source end)), ' ', '_'), '-', '_')
) as marketing_channel,
        started_at + coalesce(duration_seconds, 0) * interval '1' second as ended_at
    from stg_callrail__calls
),
forms as (
    select *, coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(source)),
    replace(replace(lower(trim(case when lower(source) = 'offline' then coalesce(null, 'offline') else source end)), ' ', '_'), '-', '_')
) as marketing_channel
    from stg_callrail__form_submissions
),
tracker_sources as (
    select
        client_id, tracker_id,
        coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(source_type)),
    replace(replace(lower(trim(case when lower(source_type) = 'offline' then coalesce(tracker_name, 'offline') else source_type end)), ' ', '_'), '-', '_')
) as channel_of_type,
        coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(tracker_name)),
    replace(replace(lower(trim(case when lower(tracker_name) = 'offline' then coalesce(null, 'offline') else tracker_name end)), ' ', '_'), '-', '_')
) as channel_of_name,
        source_type
    from stg_callrail__trackers
),
messages as (
    select
        texts.*, texts.conversation_key as record_key,
        coalesce(
            coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(conversations.source_name)),
    replace(replace(lower(trim(case when lower(conversations.source_name) = 'offline' then coalesce(null, 'offline') else conversations.source_name end)), ' ', '_'), '-', '_')
),
            case when trackers.source_type in ('all', 'offline') then trackers.channel_of_name else trackers.channel_of_type end
        ) as marketing_channel
    from stg_callrail__text_messages as texts
    left join stg_callrail__conversations as conversations on texts.conversation_key = conversations.record_key
    left join tracker_sources as trackers
        on conversations.client_id = trackers.client_id and conversations.tracker_id = trackers.tracker_id
)
select
    id_of('callrail:calls', record_key, case
            when direction = 'outbound' and is_answered then 'call_outbound_answered'
            when direction = 'outbound' then 'call_outbound_unanswered'
            when not is_finished then 'call_started'
            when is_answered then 'call_answered'
            when is_voicemail then 'call_voicemail'
            when duration_seconds < 15 then 'call_abandoned'
            else 'call_missed'
        end, '') as event_id,
    'callrail:calls:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'calls' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case
            when direction = 'outbound' and is_answered then 'call_outbound_answered'
            when direction = 'outbound' then 'call_outbound_unanswered'
            when not is_finished then 'call_started'
            when is_answered then 'call_answered'
            when is_voicemail then 'call_voicemail'
            when duration_seconds < 15 then 'call_abandoned'
            else 'call_missed'
        end as event_type,
    cast(started_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    cast(direction as varchar) as direction,
    'call' as contact_method,
    cast(case when direction = 'outbound' then 'staff' else 'customer' end as varchar) as actor,
    cast(case when direction = 'inbound' then marketing_channel end as varchar) as channel,
    cast(source_name as varchar) as source,
    cast(medium as varchar) as medium,
    cast(campaign as varchar) as campaign,
    cast(value_cents as bigint) as value_cents,
    cast(case when value_cents is not null then 'USD' end as varchar) as currency,
    cast(duration_seconds as bigint) as duration_seconds,
    cast(agent_email as varchar) as staff,
    cast(call_id as varchar) as reference,
    cast(qualification as varchar) as detail
from calls
where case
            when direction = 'outbound' and is_answered then 'call_outbound_answered'
            when direction = 'outbound' then 'call_outbound_unanswered'
            when not is_finished then 'call_started'
            when is_answered then 'call_answered'
            when is_voicemail then 'call_voicemail'
            when duration_seconds < 15 then 'call_abandoned'
            else 'call_missed'
        end is not null
union all by name
select
    id_of('callrail:calls', record_key, 'job_booked', '') as event_id,
    'callrail:calls:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'calls' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'job_booked' as event_type,
    cast(ended_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(value_cents as bigint) as value_cents,
    cast(case when value_cents is not null then 'USD' end as varchar) as currency,
    cast(agent_email as varchar) as staff,
    cast(call_id as varchar) as reference,
    cast('The call is tagged Booked.' as varchar) as detail
from calls
where lower(tags) like '%"booked"%' and 'job_booked' is not null
union all by name
select
    id_of('callrail:calls', record_key, 'note_added', '') as event_id,
    'callrail:calls:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'calls' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'note_added' as event_type,
    cast(ended_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(agent_email as varchar) as staff,
    cast(call_id as varchar) as reference,
    cast(note as varchar) as text
from calls
where note is not null and 'note_added' is not null
union all by name
select
    id_of('callrail:form_submissions', record_key, case when lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%quote%' or lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%estimate%'
            then 'quote_requested' else 'form_submitted' end, '') as event_id,
    'callrail:form_submissions:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'form_submissions' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case when lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%quote%' or lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%estimate%'
            then 'quote_requested' else 'form_submitted' end as event_type,
    cast(submitted_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'form' as contact_method,
    'customer' as actor,
    cast(marketing_channel as varchar) as channel,
    cast(source as varchar) as source,
    cast(medium as varchar) as medium,
    cast(campaign as varchar) as campaign,
    cast(service as varchar) as service,
    cast(form_id as varchar) as reference,
    cast(qualification as varchar) as detail,
    cast(message as varchar) as text
from forms
where case when lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%quote%' or lower(coalesce(form_url, '') || coalesce(form_name, '')) like '%estimate%'
            then 'quote_requested' else 'form_submitted' end is not null
union all by name
select
    id_of('callrail:form_submissions', record_key, case when has_text_consent then 'consent_given' when not has_text_consent then 'consent_refused' end, '') as event_id,
    'callrail:form_submissions:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'form_submissions' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when has_text_consent then 'consent_given' when not has_text_consent then 'consent_refused' end as event_type,
    cast(submitted_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'text' as contact_method,
    'customer' as actor,
    cast(form_id as varchar) as reference,
    'form' as detail
from forms
where case when has_text_consent then 'consent_given' when not has_text_consent then 'consent_refused' end is not null
union all by name
select
    id_of('callrail:text_messages', record_key, case direction when 'inbound' then 'text_received' when 'outbound' then 'text_sent' end, message_key) as event_id,
    'callrail:text_messages:' || record_key as record_uid,
    client_id,
    'callrail' as provider,
    'text_messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case direction when 'inbound' then 'text_received' when 'outbound' then 'text_sent' end as event_type,
    cast(sent_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    cast(direction as varchar) as direction,
    'text' as contact_method,
    cast(case direction when 'inbound' then 'customer' else 'staff' end as varchar) as actor,
    cast(case when direction = 'inbound' then marketing_channel end as varchar) as channel,
    cast(conversation_id as varchar) as reference,
    cast(content as varchar) as text
from messages
where case direction when 'inbound' then 'text_received' when 'outbound' then 'text_sent' end is not null;

insert into events by name
with forms as (
    select
        *,
        case
            when gclid is not null or gbraid is not null or wbraid is not null or (utm_source = 'google' and lower(utm_medium) in ('cpc', 'ppc', 'paid'))
                then 'google_paid'
            when msclkid is not null then 'bing_paid'
            when fbclid is not null or lower(utm_source) in ('facebook', 'fb', 'ig', 'instagram') or referrer like '%facebook.%' then 'facebook'
            when utm_source is not null then coalesce(
    (select min(channels.channel) from marketing_channels as channels where channels.provider_source = lower(utm_source)),
    replace(replace(lower(trim(case when lower(utm_source) = 'offline' then coalesce(null, 'offline') else utm_source end)), ' ', '_'), '-', '_')
)
            when referrer like '%google.%' then 'google_organic'
            when referrer like '%bing.%' then 'bing_organic'
            when referrer is not null and referrer not like '%' || split_part(split_part(page_url, '/', 3), ':', 1) || '%' then 'referral'
            else 'direct'
        end as marketing_channel
    from stg_forms__submissions
)
select
    id_of('forms:submissions', record_key, case when lower(coalesce(page_url, '')) like '%quote%' or lower(coalesce(page_url, '')) like '%estimate%' then 'quote_requested' else 'form_submitted' end, '') as event_id,
    'forms:submissions:' || record_key as record_uid,
    client_id,
    'forms' as provider,
    'submissions' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case when lower(coalesce(page_url, '')) like '%quote%' or lower(coalesce(page_url, '')) like '%estimate%' then 'quote_requested' else 'form_submitted' end as event_type,
    cast(submitted_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'form' as contact_method,
    'customer' as actor,
    cast(marketing_channel as varchar) as channel,
    cast(utm_source as varchar) as source,
    cast(utm_medium as varchar) as medium,
    cast(utm_campaign as varchar) as campaign,
    cast(service as varchar) as service,
    cast(form_id as varchar) as reference,
    cast(message as varchar) as text
from forms
where case when lower(coalesce(page_url, '')) like '%quote%' or lower(coalesce(page_url, '')) like '%estimate%' then 'quote_requested' else 'form_submitted' end is not null
union all by name
select
    id_of('forms:submissions', record_key, case consent_to_text when 'yes' then 'consent_given' when 'no' then 'consent_refused' end, '') as event_id,
    'forms:submissions:' || record_key as record_uid,
    client_id,
    'forms' as provider,
    'submissions' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case consent_to_text when 'yes' then 'consent_given' when 'no' then 'consent_refused' end as event_type,
    cast(submitted_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'text' as contact_method,
    'customer' as actor,
    cast(form_id as varchar) as reference,
    'form' as detail,
    cast(consent_text as varchar) as text
from forms
where case consent_to_text when 'yes' then 'consent_given' when 'no' then 'consent_refused' end is not null;

insert into events by name
with touched_sids as (
    select distinct message_sid
    from stg_twilio__message_events
),
messages as (
    select
        *,
        direction = 'outbound' and exists (
            select 1 from booking_phrases as phrases where lower(body) like phrases.phrase_like
        ) as confirms_booking
    from stg_twilio__messages
),
callbacks as (
    select callbacks.*, coalesce(messages.occurred_at, callbacks.received_at) as counted_at
    from stg_twilio__message_events as callbacks
    left join stg_twilio__messages as messages
        on callbacks.client_id = messages.client_id and callbacks.message_sid = messages.message_sid
)
select
    id_of('twilio:messages', record_key, case direction when 'inbound' then 'text_received' else 'text_sent' end, '') as event_id,
    'twilio:messages:' || record_key as record_uid,
    client_id,
    'twilio' as provider,
    'messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case direction when 'inbound' then 'text_received' else 'text_sent' end as event_type,
    cast(occurred_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    cast(direction as varchar) as direction,
    'text' as contact_method,
    cast(case when direction = 'inbound' then 'customer' else 'automation' end as varchar) as actor,
    cast(message_sid as varchar) as reference,
    cast(status as varchar) as detail,
    cast(body as varchar) as text
from messages
where case direction when 'inbound' then 'text_received' else 'text_sent' end is not null
union all by name
select
    id_of('twilio:messages', record_key, case when is_opt_out then 'opted_out' when lifts_block then 'opted_in' end, '') as event_id,
    'twilio:messages:' || record_key as record_uid,
    client_id,
    'twilio' as provider,
    'messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_opt_out then 'opted_out' when lifts_block then 'opted_in' end as event_type,
    cast(occurred_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'text' as contact_method,
    'customer' as actor,
    cast(message_sid as varchar) as reference,
    'text' as detail
from messages
where case when is_opt_out then 'opted_out' when lifts_block then 'opted_in' end is not null
union all by name
select
    id_of('twilio:messages', record_key, 'job_booked', '') as event_id,
    'twilio:messages:' || record_key as record_uid,
    client_id,
    'twilio' as provider,
    'messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'job_booked' as event_type,
    cast(occurred_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'automation' as actor,
    cast(message_sid as varchar) as reference,
    cast('The booking was confirmed by text.' as varchar) as detail
from messages
where confirms_booking and 'job_booked' is not null
union all by name
select
    id_of('twilio:messages', record_key, 'text_failed', '') as event_id,
    'twilio:messages:' || record_key as record_uid,
    client_id,
    'twilio' as provider,
    'messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'text_failed' as event_type,
    cast(occurred_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    cast(direction as varchar) as direction,
    'text' as contact_method,
    'system' as actor,
    cast(message_sid as varchar) as reference,
    cast(failure_reason as varchar) as detail
from messages
where is_failed and 'text_failed' is not null
union all by name
select
    id_of('twilio:message_events', record_key, case when event_kind = 'inbound_message' then 'text_status_changed' when status in ('delivered', 'read') then 'text_delivered' else 'text_status_changed' end, '') as event_id,
    'twilio:message_events:' || record_key as record_uid,
    client_id,
    'twilio' as provider,
    'message_events' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case when event_kind = 'inbound_message' then 'text_status_changed' when status in ('delivered', 'read') then 'text_delivered' else 'text_status_changed' end as event_type,
    cast(counted_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'text' as contact_method,
    'system' as actor,
    cast(message_sid as varchar) as reference,
    cast(status as varchar) as detail
from callbacks
where case when event_kind = 'inbound_message' then 'text_status_changed' when status in ('delivered', 'read') then 'text_delivered' else 'text_status_changed' end is not null;

insert into events by name
with touched_leads as (
    select distinct client_id, lead_id
    from stg_thumbtack__lead_updates
),
leads as (
    select *
    from stg_thumbtack__leads
),
updates as (
    select * from stg_thumbtack__lead_updates
),
messages as (
    select * from stg_thumbtack__messages
),
reviews as (
    select * from stg_thumbtack__reviews
)
select
    id_of('thumbtack:leads', record_key, 'marketplace_lead_received', '') as event_id,
    'thumbtack:leads:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'leads' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'marketplace_lead_received' as event_type,
    cast(created_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'marketplace' as contact_method,
    'customer' as actor,
    'thumbtack' as channel,
    'Thumbtack' as source,
    'marketplace' as medium,
    cast(lead_class as varchar) as campaign,
    cast(category as varchar) as service,
    cast(lead_id as varchar) as reference,
    cast(charge_state as varchar) as detail,
    cast(description as varchar) as text
from leads

union all by name
select
    id_of('thumbtack:leads', record_key, 'job_booked', '') as event_id,
    'thumbtack:leads:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'leads' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'job_booked' as event_type,
    cast(coalesce(updated_at, created_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'customer' as actor,
    cast(lead_id as varchar) as reference,
    cast('Booked on Thumbtack.' as varchar) as detail
from leads
where booked_for is not null or status_normalized = 'booked' and 'job_booked' is not null
union all by name
select
    id_of('thumbtack:lead_updates', record_key, case charge_state when 'Charged' then 'lead_fee_charged' when 'Refunded' then 'lead_fee_credited' else 'lead_fee_changed' end, '') as event_id,
    'thumbtack:lead_updates:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'lead_updates' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case charge_state when 'Charged' then 'lead_fee_charged' when 'Refunded' then 'lead_fee_credited' else 'lead_fee_changed' end as event_type,
    cast(occurred_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'system' as actor,
    cast(lead_price_cents as bigint) as value_cents,
    'USD' as currency,
    cast(lead_id as varchar) as reference,
    cast(charge_state as varchar) as detail
from updates
where case charge_state when 'Charged' then 'lead_fee_charged' when 'Refunded' then 'lead_fee_credited' else 'lead_fee_changed' end is not null
union all by name
select
    id_of('thumbtack:messages', record_key, case direction when 'inbound' then 'marketplace_message_received' else 'marketplace_message_sent' end, '') as event_id,
    'thumbtack:messages:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'messages' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case direction when 'inbound' then 'marketplace_message_received' else 'marketplace_message_sent' end as event_type,
    cast(sent_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    cast(direction as varchar) as direction,
    'marketplace' as contact_method,
    cast(case direction when 'inbound' then 'customer' else 'staff' end as varchar) as actor,
    cast(case direction when 'inbound' then 'thumbtack' end as varchar) as channel,
    cast(lead_id as varchar) as reference,
    cast(text as varchar) as text
from messages
where case direction when 'inbound' then 'marketplace_message_received' else 'marketplace_message_sent' end is not null
union all by name
select
    id_of('thumbtack:reviews', record_key, 'review_posted', '') as event_id,
    'thumbtack:reviews:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'reviews' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'review_posted' as event_type,
    cast(created_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'review' as contact_method,
    'customer' as actor,
    cast(lead_id as varchar) as reference,
    cast(rating as varchar) as detail,
    cast(text as varchar) as text
from reviews

union all by name
select
    id_of('thumbtack:reviews', record_key, 'complaint_made', '') as event_id,
    'thumbtack:reviews:' || record_key as record_uid,
    client_id,
    'thumbtack' as provider,
    'reviews' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'complaint_made' as event_type,
    cast(created_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'review' as contact_method,
    'customer' as actor,
    cast(lead_id as varchar) as reference,
    cast(rating as varchar) as detail,
    cast(text as varchar) as text
from reviews
where rating <= 2 and 'complaint_made' is not null;

insert into events by name
with leads as (
    select * from stg_angi__leads
)
select
    id_of('angi:leads', record_key, 'marketplace_lead_received', '') as event_id,
    'angi:leads:' || record_key as record_uid,
    client_id,
    'angi' as provider,
    'leads' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'marketplace_lead_received' as event_type,
    cast(coalesce(created_at, occurred_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'marketplace' as contact_method,
    'customer' as actor,
    'angi' as channel,
    'Angi' as source,
    'marketplace' as medium,
    cast(lead_class as varchar) as campaign,
    cast(task as varchar) as service,
    cast(lead_id as varchar) as reference,
    cast(match_type as varchar) as detail,
    cast(comments as varchar) as text
from leads

union all by name
select
    id_of('angi:leads', record_key, 'job_booked', '') as event_id,
    'angi:leads:' || record_key as record_uid,
    client_id,
    'angi' as provider,
    'leads' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'job_booked' as event_type,
    cast(coalesce(created_at, occurred_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'customer' as actor,
    cast(lead_id as varchar) as reference,
    cast('Booked on Angi.' as varchar) as detail
from leads
where is_appointment and 'job_booked' is not null
union all by name
select
    id_of('angi:leads', record_key, case consent_to_automated_contact when 'yes' then 'consent_given' when 'no' then 'consent_refused' end, '') as event_id,
    'angi:leads:' || record_key as record_uid,
    client_id,
    'angi' as provider,
    'leads' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case consent_to_automated_contact when 'yes' then 'consent_given' when 'no' then 'consent_refused' end as event_type,
    cast(coalesce(created_at, occurred_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'text' as contact_method,
    'customer' as actor,
    cast(coalesce(consent_id, lead_id) as varchar) as reference,
    'Angi' as detail
from leads
where case consent_to_automated_contact when 'yes' then 'consent_given' when 'no' then 'consent_refused' end is not null;

insert into events by name
with contacts as (
    select * from stg_hubspot__contacts
),
renamed_stages as (
    select distinct client_id from stg_hubspot__pipelines
),
deals as (
    select * from stg_hubspot__deals
),
worded as (
    select
        stages.client_id, stages.pipeline_id, stages.stage_id, words.meaning,
        case when words.client_id = '*' then 0 else 10 end
            + case words.meaning when 'booked' then 4 when 'quoted' then 3 when 'qualified' then 2 when 'contacted' then 1 else 0 end as weight
    from stg_hubspot__pipeline_stages as stages
    inner join crm_stage_meanings as words
        on lower(stages.stage_label) like words.label_like and words.client_id in ('*', stages.client_id)
    where words.client_id <> '*' or words.meaning <> 'booked' or stages.probability is null or stages.probability >= 0.5
),
heaviest as (
    select
        client_id, pipeline_id, stage_id, meaning,
        row_number() over (partition by client_id, pipeline_id, stage_id order by weight desc, meaning) as place
    from worded
),
meanings as (
    select
        stages.client_id, stages.pipeline_id, stages.stage_id, stages.stage_label,
        case
            when stages.is_won then 'won'
            when stages.is_lost then 'lost'
            when heaviest.meaning is not null then heaviest.meaning
            when stages.probability >= 0.75 then 'booked'
            when stages.probability >= 0.4 then 'quoted'
            else 'new'
        end as meaning
    from stg_hubspot__pipeline_stages as stages
    left join heaviest
        on stages.client_id = heaviest.client_id and stages.pipeline_id = heaviest.pipeline_id
        and stages.stage_id = heaviest.stage_id and heaviest.place = 1
),
stage_changes as (
    select
        changes.client_id, changes.deal_key as record_key, changes.deal_id, changes.stage_id, changes.reached_at, changes.received_at, changes.stage_change_key,
        coalesce(meanings.meaning, 'new') as meaning, coalesce(meanings.stage_label, changes.stage_id) as stage_label,
        deals.amount_cents, deals.owner_id, deals.lost_reason
    from stg_hubspot__deal_stage_changes as changes
    left join meanings
        on changes.client_id = meanings.client_id and changes.pipeline_id = meanings.pipeline_id and changes.stage_id = meanings.stage_id
    left join stg_hubspot__deals as deals on changes.deal_key = deals.record_key
),
tasks as (
    select * from stg_hubspot__tasks
),
links as (
    select client_id, deal_key as record_key, min(received_at) as received_at, min(deal_id) as linked_id
    from stg_hubspot__deal_contacts
    group by client_id, deal_key
),
deal_times as (
    select links.*, coalesce(deals.created_at, links.received_at) as linked_at
    from links left join stg_hubspot__deals as deals on links.record_key = deals.record_key
),
task_links as (
    select links.client_id, links.task_key as record_key, min(links.received_at) as received_at, min(links.task_id) as linked_id,
        min(coalesce(tasks.created_at, links.received_at)) as linked_at
    from stg_hubspot__task_contacts as links
    left join stg_hubspot__tasks as tasks on links.task_key = tasks.record_key
    group by links.client_id, links.task_key
)
select
    id_of('hubspot:contacts', record_key, 'contact_created', '') as event_id,
    'hubspot:contacts:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'contacts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'contact_created' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(first_source as varchar) as source,
    cast(owner_id as varchar) as staff,
    cast(contact_id as varchar) as reference,
    cast(lifecycle_stage as varchar) as detail
from contacts

union all by name
select
    id_of('hubspot:contacts', record_key, 'contact_deleted', '') as event_id,
    'hubspot:contacts:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'contacts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'contact_deleted' as event_type,
    cast(coalesce(deleted_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(contact_id as varchar) as reference
from contacts
where is_deleted and 'contact_deleted' is not null
union all by name
select
    id_of('hubspot:contacts', record_key, 'opted_out', '') as event_id,
    'hubspot:contacts:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'contacts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'opted_out' as event_type,
    cast(coalesce(updated_at, created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'email' as contact_method,
    'customer' as actor,
    cast(contact_id as varchar) as reference,
    'email' as detail
from contacts
where is_email_opted_out and 'opted_out' is not null
union all by name
select
    id_of('hubspot:deals', record_key, 'crm_deal_opened', '') as event_id,
    'hubspot:deals:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'deals' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'crm_deal_opened' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(amount_cents as bigint) as value_cents,
    cast(case when amount_cents is not null then coalesce(currency, 'USD') end as varchar) as currency,
    cast(case when deal_name like '% - %' then split_part(deal_name, ' - ', 2) end as varchar) as service,
    cast(owner_id as varchar) as staff,
    cast(deal_id as varchar) as reference
from deals

union all by name
select
    id_of('hubspot:deals', record_key, 'crm_deal_deleted', '') as event_id,
    'hubspot:deals:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'deals' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'crm_deal_deleted' as event_type,
    cast(coalesce(deleted_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(deal_id as varchar) as reference
from deals
where is_deleted and 'crm_deal_deleted' is not null
union all by name
select
    id_of('hubspot:deals', record_key, case meaning when 'booked' then 'job_booked' when 'won' then 'job_completed' when 'lost' then 'job_lost' else 'crm_stage_changed' end, stage_change_key) as event_id,
    'hubspot:deals:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'deals' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case meaning when 'booked' then 'job_booked' when 'won' then 'job_completed' when 'lost' then 'job_lost' else 'crm_stage_changed' end as event_type,
    cast(reached_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(case when meaning in ('booked', 'won') then amount_cents end as bigint) as value_cents,
    cast(case when meaning in ('booked', 'won') and amount_cents is not null then 'USD' end as varchar) as currency,
    cast(owner_id as varchar) as staff,
    cast(deal_id as varchar) as reference,
    cast(case meaning when 'lost' then coalesce(lost_reason, 'no reason given') else meaning end as varchar) as detail
from stage_changes
where case meaning when 'booked' then 'job_booked' when 'won' then 'job_completed' when 'lost' then 'job_lost' else 'crm_stage_changed' end is not null
union all by name
select
    id_of('hubspot:deal_contacts', record_key, 'crm_record_linked', '') as event_id,
    'hubspot:deal_contacts:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'deal_contacts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'crm_record_linked' as event_type,
    cast(linked_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'system' as actor,
    cast(linked_id as varchar) as reference
from deal_times

union all by name
select
    id_of('hubspot:task_contacts', record_key, 'crm_record_linked', '') as event_id,
    'hubspot:task_contacts:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'task_contacts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'crm_record_linked' as event_type,
    cast(linked_at as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'system' as actor,
    cast(linked_id as varchar) as reference
from task_links

union all by name
select
    id_of('hubspot:tasks', record_key, 'task_created', '') as event_id,
    'hubspot:tasks:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'tasks' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'task_created' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(owner_id as varchar) as staff,
    cast(task_id as varchar) as reference,
    cast(lower(priority) as varchar) as detail,
    cast(subject as varchar) as text
from tasks

union all by name
select
    id_of('hubspot:tasks', record_key, case when is_deleted then 'task_deleted' when is_completed then 'task_completed' end, '') as event_id,
    'hubspot:tasks:' || record_key as record_uid,
    client_id,
    'hubspot' as provider,
    'tasks' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_deleted then 'task_deleted' when is_completed then 'task_completed' end as event_type,
    cast(coalesce(completed_at, deleted_at, updated_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(owner_id as varchar) as staff,
    cast(task_id as varchar) as reference
from tasks
where case when is_deleted then 'task_deleted' when is_completed then 'task_completed' end is not null;

insert into events by name
with customers as (
    select * from stg_quickbooks__customers
),
estimates as (
    select *, coalesce(cast(accepted_on as timestamp) + interval '17' hour, updated_at) as decided_at
    from stg_quickbooks__estimates
),
invoices as (
    select * from stg_quickbooks__invoices
),
payments as (
    select * from stg_quickbooks__payments
),
receipts as (
    select * from stg_quickbooks__sales_receipts
),
refunds as (
    select * from stg_quickbooks__refund_receipts
),
credits as (
    select * from stg_quickbooks__credit_memos
)
select
    id_of('quickbooks:customers', record_key, 'customer_created', '') as event_id,
    'quickbooks:customers:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'customers' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'customer_created' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(customer_id as varchar) as reference
from customers

union all by name
select
    id_of('quickbooks:estimates', record_key, case when is_deleted or is_voided then 'estimate_deleted' else 'estimate_created' end, '') as event_id,
    'quickbooks:estimates:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'estimates' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_deleted or is_voided then 'estimate_deleted' else 'estimate_created' end as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(total_cents as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(estimate_id as varchar) as reference,
    cast(status as varchar) as detail
from estimates
where case when is_deleted or is_voided then 'estimate_deleted' else 'estimate_created' end is not null
union all by name
select
    id_of('quickbooks:estimates', record_key, 'estimate_sent', '') as event_id,
    'quickbooks:estimates:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'estimates' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'estimate_sent' as event_type,
    cast(coalesce(sent_at, created_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'outbound' as direction,
    'email' as contact_method,
    'staff' as actor,
    cast(total_cents as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(estimate_id as varchar) as reference
from estimates
where not is_deleted and not is_voided and sent_at is not null and 'estimate_sent' is not null
union all by name
select
    id_of('quickbooks:estimates', record_key, case when status in ('accepted', 'closed') then 'estimate_accepted' when status = 'rejected' then 'estimate_declined' end, '') as event_id,
    'quickbooks:estimates:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'estimates' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
        case when status in ('accepted', 'closed') then 'estimate_accepted' when status = 'rejected' then 'estimate_declined' end as event_type,
    cast(coalesce(decided_at, created_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'customer' as actor,
    cast(total_cents as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(estimate_id as varchar) as reference
from estimates
where not is_deleted and not is_voided and
        case when status in ('accepted', 'closed') then 'estimate_accepted' when status = 'rejected' then 'estimate_declined' end is not null
union all by name
select
    id_of('quickbooks:invoices', record_key, 'invoice_issued', '') as event_id,
    'quickbooks:invoices:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'invoices' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'invoice_issued' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'outbound' as direction,
    'staff' as actor,
    cast(case when is_deleted or is_voided then 0 else total_cents end as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(invoice_id as varchar) as reference,
    cast(payment_state as varchar) as detail
from invoices

union all by name
select
    id_of('quickbooks:invoices', record_key, case when is_deleted then 'invoice_deleted' when is_voided then 'invoice_voided' end, '') as event_id,
    'quickbooks:invoices:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'invoices' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_deleted then 'invoice_deleted' when is_voided then 'invoice_voided' end as event_type,
    cast(coalesce(updated_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(invoice_id as varchar) as reference
from invoices
where case when is_deleted then 'invoice_deleted' when is_voided then 'invoice_voided' end is not null
union all by name
select
    id_of('quickbooks:payments', record_key, 'payment_received', '') as event_id,
    'quickbooks:payments:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'payments' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'payment_received' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'customer' as actor,
    cast(case when is_deleted or is_voided then 0 else total_cents end as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(payment_id as varchar) as reference
from payments

union all by name
select
    id_of('quickbooks:payments', record_key, 'payment_reversed', '') as event_id,
    'quickbooks:payments:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'payments' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'payment_reversed' as event_type,
    cast(coalesce(updated_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(payment_id as varchar) as reference
from payments
where is_deleted or is_voided and 'payment_reversed' is not null
union all by name
select
    id_of('quickbooks:sales_receipts', record_key, 'payment_received', '') as event_id,
    'quickbooks:sales_receipts:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'sales_receipts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'payment_received' as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'inbound' as direction,
    'customer' as actor,
    cast(case when is_deleted or is_voided then 0 else total_cents end as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(sales_receipt_id as varchar) as reference
from receipts

union all by name
select
    id_of('quickbooks:sales_receipts', record_key, 'payment_reversed', '') as event_id,
    'quickbooks:sales_receipts:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'sales_receipts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    'payment_reversed' as event_type,
    cast(coalesce(updated_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'staff' as actor,
    cast(sales_receipt_id as varchar) as reference
from receipts
where is_deleted or is_voided and 'payment_reversed' is not null
union all by name
select
    id_of('quickbooks:refund_receipts', record_key, case when is_deleted or is_voided then 'credit_deleted' else 'refund_issued' end, '') as event_id,
    'quickbooks:refund_receipts:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'refund_receipts' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_deleted or is_voided then 'credit_deleted' else 'refund_issued' end as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'outbound' as direction,
    'staff' as actor,
    cast(case when is_deleted or is_voided then 0 else -total_cents end as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(refund_receipt_id as varchar) as reference
from refunds
where case when is_deleted or is_voided then 'credit_deleted' else 'refund_issued' end is not null
union all by name
select
    id_of('quickbooks:credit_memos', record_key, case when is_deleted or is_voided then 'credit_deleted' else 'credit_issued' end, '') as event_id,
    'quickbooks:credit_memos:' || record_key as record_uid,
    client_id,
    'quickbooks' as provider,
    'credit_memos' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    case when is_deleted or is_voided then 'credit_deleted' else 'credit_issued' end as event_type,
    cast(coalesce(created_at, received_at) as timestamp) as occurred_at,
    cast(received_at as timestamp) as received_at,
    'outbound' as direction,
    'staff' as actor,
    cast(case when is_deleted or is_voided then 0 else -total_cents end as bigint) as value_cents,
    cast(currency as varchar) as currency,
    cast(credit_memo_id as varchar) as reference
from credits
where case when is_deleted or is_voided then 'credit_deleted' else 'credit_issued' end is not null;

-- whose record each is
create temp view known_records as
select 'callrail:calls:' || record_key as record_uid, first_known_at, batch_id from base_callrail__calls
union all
select 'callrail:companies:' || record_key as record_uid, first_known_at, batch_id from base_callrail__companies
union all
select 'callrail:form_submissions:' || record_key as record_uid, first_known_at, batch_id from base_callrail__form_submissions
union all
select 'callrail:text_messages:' || record_key as record_uid, first_known_at, batch_id from base_callrail__text_messages
union all
select 'callrail:trackers:' || record_key as record_uid, first_known_at, batch_id from base_callrail__trackers
union all
select 'hubspot:contacts:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__contacts
union all
select 'hubspot:deal_contacts:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__deal_contacts
union all
select 'hubspot:deals:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__deals
union all
select 'hubspot:owners:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__owners
union all
select 'hubspot:pipelines:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__pipelines
union all
select 'hubspot:task_contacts:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__task_contacts
union all
select 'hubspot:tasks:' || record_key as record_uid, first_known_at, batch_id from base_hubspot__tasks
union all
select 'quickbooks:credit_memos:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__credit_memos
union all
select 'quickbooks:customers:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__customers
union all
select 'quickbooks:estimates:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__estimates
union all
select 'quickbooks:invoices:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__invoices
union all
select 'quickbooks:payments:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__payments
union all
select 'quickbooks:refund_receipts:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__refund_receipts
union all
select 'quickbooks:sales_receipts:' || record_key as record_uid, first_known_at, batch_id from base_quickbooks__sales_receipts
union all
select 'thumbtack:lead_updates:' || record_key as record_uid, first_known_at, batch_id from base_thumbtack__lead_updates
union all
select 'thumbtack:leads:' || record_key as record_uid, first_known_at, batch_id from base_thumbtack__leads
union all
select 'thumbtack:messages:' || record_key as record_uid, first_known_at, batch_id from base_thumbtack__messages
union all
select 'thumbtack:reviews:' || record_key as record_uid, first_known_at, batch_id from base_thumbtack__reviews
union all
select 'angi:leads:' || record_key as record_uid, first_known_at, batch_id from base_angi__leads
union all
select 'twilio:message_events:' || record_key as record_uid, first_known_at, batch_id from base_twilio__message_events
union all
select 'twilio:messages:' || record_key as record_uid, first_known_at, batch_id from base_twilio__messages
union all
select 'twilio:phone_numbers:' || record_key as record_uid, first_known_at, batch_id from base_twilio__phone_numbers
union all
select 'forms:submissions:' || record_key as record_uid, first_known_at, batch_id from base_forms__submissions;

create temp table record_keys as
with calls as (
    select *, coalesce(is_hidden or lower(tags) like '%"spam"%', false) as is_spam_call, coalesce(direction = 'outbound', false) as is_outbound
    from stg_callrail__calls
),
callrail_forms as (
    select * from stg_callrail__form_submissions
),
conversations as (
    select * from stg_callrail__conversations
),
trackers as (
    select * from stg_callrail__trackers
),
tracker_numbers as (
    select trackers.*, e164(trim(replace(cast(item as varchar), '"', ''))) as tracking_e164
    from trackers
    cross join lateral (
    select unnest(cast(case when tracking_numbers like '[%' then tracking_numbers end as json[])) as item, generate_subscripts(cast(case when tracking_numbers like '[%' then tracking_numbers end as json[]), 1) as item_number
) as each_item
),
forms as (
    select * from stg_forms__submissions
),
contacts as (
    select * from stg_hubspot__contacts
),
merged_contacts as (
    select *, client_id || ':' || contact_id as record_key
    from stg_hubspot__merged_contacts
),
deals as (
    select *, case when deal_name like '% - %' then split_part(deal_name, ' - ', 1) end as name_on_deal,
        case when deal_name like '% - %' then split_part(deal_name, ' - ', 2) end as service_on_deal
    from stg_hubspot__deals
),
deal_contacts as (
    select *, deal_key as record_key from stg_hubspot__deal_contacts
),
tasks as (
    select * from stg_hubspot__tasks
),
task_contacts as (
    select *, task_key as record_key from stg_hubspot__task_contacts
),
customers as (
    select
        *,
        primary_phone is null and mobile_phone is null and alternate_phone is null and email_normalized is null and parent_id is null as has_no_way_to_reach,
        case when parent_id is not null and full_name like '%:%' then trim(split_part(full_name, ':', 1)) else display_name end as payer_name,
        case when parent_id is null and family_name is not null then given_name || ' ' || family_name end as person_name
    from stg_quickbooks__customers
),
jobs as (
    select record_key as job_key, trim(split_part(full_name, ':', 1)) as payer_name
    from stg_quickbooks__customers
    where parent_id is not null and full_name like '%:%'
),
estimates as (
    select estimates.*, coalesce(jobs.payer_name, trim(split_part(estimates.customer_name, ':', 1))) as payer_name
    from stg_quickbooks__estimates as estimates
    left join jobs on estimates.client_id || ':' || estimates.customer_id = jobs.job_key
),
invoices as (
    select invoices.*, coalesce(jobs.payer_name, trim(split_part(invoices.customer_name, ':', 1))) as payer_name
    from stg_quickbooks__invoices as invoices
    left join jobs on invoices.client_id || ':' || invoices.customer_id = jobs.job_key
),
payments as (
    select * from stg_quickbooks__payments
),
receipts as (
    select receipts.*, coalesce(jobs.payer_name, trim(split_part(receipts.customer_name, ':', 1))) as payer_name
    from stg_quickbooks__sales_receipts as receipts
    left join jobs on receipts.client_id || ':' || receipts.customer_id = jobs.job_key
),
refunds as (
    select * from stg_quickbooks__refund_receipts
),
credits as (
    select * from stg_quickbooks__credit_memos
),
thumbtack_leads as (
    select * from stg_thumbtack__leads
),
thumbtack_updates as (
    select * from stg_thumbtack__lead_updates
),
thumbtack_messages as (
    select * from stg_thumbtack__messages
),
thumbtack_reviews as (
    select * from stg_thumbtack__reviews
),
angi_leads as (
    select * from stg_angi__leads
),
texts as (
    select *, case
            when direction = 'outbound' and lower(split_part(trim(body), ' ', 1)) in ('hi', 'hello', 'hey', 'dear')
                then nullif(split_part(lower(split_part(split_part(replace(trim(body), '!', ','), ',', 1), ' ', 2)), ' ', 1), '')
        end as greeted_name, coalesce(direction = 'outbound', false) as is_outbound from stg_twilio__messages
),
text_events as (
    select callbacks.*, coalesce(messages.occurred_at, callbacks.received_at) as counted_at, messages.greeted_name, coalesce(messages.is_outbound, false) as is_outbound
    from stg_twilio__message_events as callbacks
    left join texts as messages
        on callbacks.client_id = messages.client_id and callbacks.message_sid = messages.message_sid
),
own_numbers as (
    select * from stg_twilio__phone_numbers
),
found as (
    select
        'callrail:calls:' || record_key as record_uid, client_id, 'callrail' as provider, 'calls' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, case
    when customer_name like '%,%' then nullif(split_part(trim(lower(split_part(customer_name, ',', 2))), ' ', 1), '')
    when customer_name <> upper(customer_name) and trim(customer_name) like '% %' and lower(customer_name) not like '%cell%' and lower(customer_name) not like '%call%'
        and lower(customer_name) not like '%phone%' and lower(customer_name) not like '%unknown%' then split_part(lower(trim(customer_name)), ' ', 1)
end as caller_name, cast(null as varchar) as greeted_name,
        cast(started_at as timestamp) as occurred_at, false as is_proxy, false as is_own, is_spam_call as is_spam, false as is_lease, is_outbound as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'callrail_call', 'value': cast(case when phone_e164 is null then call_id end as varchar)}
        ]) as key
    from calls
    union all
    select
        'callrail:form_submissions:' || record_key as record_uid, client_id, 'callrail' as provider, 'form_submissions' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(null as varchar), cast(customer_name as varchar)))), ' ', 1), '') as given_name, cast(customer_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(submitted_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'callrail_form', 'value': cast(case when phone_e164 is null and email_normalized is null then form_id end as varchar)}
        ]) as key
    from callrail_forms
    union all
    select
        'callrail:text_messages:' || record_key as record_uid, client_id, 'callrail' as provider, 'text_messages' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(last_message_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'callrail_conversation', 'value': cast(case when phone_e164 is null then conversation_id end as varchar)}
        ]) as key
    from conversations
    union all
    select
        'callrail:trackers:' || record_key as record_uid, client_id, 'callrail' as provider, 'trackers' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, true as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(destination_e164 as varchar)}
        ]) as key
    from trackers
    union all
    select
        'callrail:trackers:' || record_key as record_uid, client_id, 'callrail' as provider, 'trackers' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, true as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(tracking_e164 as varchar)}
        ]) as key
    from tracker_numbers
    union all
    select
        'forms:submissions:' || record_key as record_uid, client_id, 'forms' as provider, 'submissions' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(full_name as varchar)))), ' ', 1), '') as given_name, cast(full_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(submitted_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'form', 'value': cast(case when phone_e164 is null and email_normalized is null then record_id end as varchar)}
        ]) as key
    from forms
    union all
    select
        'hubspot:contacts:' || record_key as record_uid, client_id, 'hubspot' as provider, 'contacts' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(first_name as varchar), cast(contact_name as varchar)))), ' ', 1), '') as given_name, cast(contact_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_contact', 'value': cast(contact_id as varchar)},
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'phone', 'value': cast(mobile_phone_e164 as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'name', 'value': cast(case when contact_name like '% %' then lower(contact_name) end as varchar)}
        ]) as key
    from contacts
    union all
    select
        'hubspot:contacts:' || record_key as record_uid, client_id, 'hubspot' as provider, 'contacts' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(received_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_contact', 'value': cast(merged_contact_id as varchar)}
        ]) as key
    from merged_contacts
    union all
    select
        'hubspot:deals:' || record_key as record_uid, client_id, 'hubspot' as provider, 'deals' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(null as varchar), cast(name_on_deal as varchar)))), ' ', 1), '') as given_name, cast(name_on_deal as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_deal', 'value': cast(deal_id as varchar)},
        {'kind': 'name_amount', 'value': cast(case when trim(name_on_deal) like '% %' and amount_cents is not null then lower(trim(name_on_deal)) || '/' || lower(trim(cast(amount_cents as varchar))) end as varchar)},
        {'kind': 'name_service', 'value': cast(case when trim(name_on_deal) like '% %' and service_on_deal is not null then lower(trim(name_on_deal)) || '/' || lower(trim(cast(service_on_deal as varchar))) end as varchar)},
        {'kind': 'name', 'value': cast(case when name_on_deal like '% %' then lower(trim(name_on_deal)) end as varchar)}
        ]) as key
    from deals
    union all
    select
        'hubspot:deal_contacts:' || record_key as record_uid, client_id, 'hubspot' as provider, 'deal_contacts' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(received_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_deal', 'value': cast(deal_id as varchar)},
        {'kind': 'hubspot_contact', 'value': cast(contact_id as varchar)}
        ]) as key
    from deal_contacts
    union all
    select
        'hubspot:tasks:' || record_key as record_uid, client_id, 'hubspot' as provider, 'tasks' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_task', 'value': cast(task_id as varchar)}
        ]) as key
    from tasks
    union all
    select
        'hubspot:task_contacts:' || record_key as record_uid, client_id, 'hubspot' as provider, 'task_contacts' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(received_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'hubspot_task', 'value': cast(task_id as varchar)},
        {'kind': 'hubspot_contact', 'value': cast(contact_id as varchar)}
        ]) as key
    from task_contacts
    union all
    select
        'quickbooks:customers:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'customers' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(person_name as varchar)))), ' ', 1), '') as given_name, cast(person_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)},
        {'kind': 'quickbooks_customer', 'value': cast(parent_id as varchar)},
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'phone', 'value': cast(case when phone_e164 is null then e164(split_part(primary_phone, '/', 1)) end as varchar)},
        {'kind': 'phone', 'value': cast(case when phone_e164 is null then e164(split_part(primary_phone, '/', 2)) end as varchar)},
        {'kind': 'phone', 'value': cast(e164(split_part(mobile_phone, '/', 1)) as varchar)},
        {'kind': 'phone', 'value': cast(e164(split_part(alternate_phone, '/', 1)) as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'name_address', 'value': cast(case when trim(payer_name) like '% %' and street is not null then lower(trim(payer_name)) || '/' || lower(trim(cast(street as varchar))) end as varchar)},
        {'kind': 'name', 'value': cast(case when has_no_way_to_reach and full_name like '% %' then lower(full_name) end as varchar)}
        ]) as key
    from customers
    union all
    select
        'quickbooks:customers:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'customers' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(person_name as varchar)))), ' ', 1), '') as given_name, cast(person_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(null as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([{'kind': 'name', 'value': case when not has_no_way_to_reach then lower(person_name) end}]) as key
    from customers
    union all
    select
        'quickbooks:estimates:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'estimates' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)},
        {'kind': 'name_amount', 'value': cast(case when trim(payer_name) like '% %' and total_cents is not null then lower(trim(payer_name)) || '/' || lower(trim(cast(total_cents as varchar))) end as varchar)}
        ]) as key
    from estimates
    union all
    select
        'quickbooks:invoices:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'invoices' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'name_amount', 'value': cast(case when trim(payer_name) like '% %' and total_cents is not null then lower(trim(payer_name)) || '/' || lower(trim(cast(total_cents as varchar))) end as varchar)}
        ]) as key
    from invoices
    union all
    select
        'quickbooks:payments:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'payments' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)}
        ]) as key
    from payments
    union all
    select
        'quickbooks:sales_receipts:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'sales_receipts' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)},
        {'kind': 'name_amount', 'value': cast(case when trim(payer_name) like '% %' and total_cents is not null then lower(trim(payer_name)) || '/' || lower(trim(cast(total_cents as varchar))) end as varchar)}
        ]) as key
    from receipts
    union all
    select
        'quickbooks:refund_receipts:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'refund_receipts' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)}
        ]) as key
    from refunds
    union all
    select
        'quickbooks:credit_memos:' || record_key as record_uid, client_id, 'quickbooks' as provider, 'credit_memos' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'quickbooks_customer', 'value': cast(customer_id as varchar)}
        ]) as key
    from credits
    union all
    select
        'thumbtack:leads:' || record_key as record_uid, client_id, 'thumbtack' as provider, 'leads' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(full_name as varchar)))), ' ', 1), '') as given_name, cast(full_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, null::boolean as is_proxy, false as is_own, false as is_spam, true as is_lease, false as is_ours,
        unnest([
        {'kind': 'thumbtack_lead', 'value': cast(lead_id as varchar)},
        {'kind': 'thumbtack_customer', 'value': cast(customer_id as varchar)},
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'name_address', 'value': cast(case when trim(full_name) like '% %' and street is not null then lower(trim(full_name)) || '/' || lower(trim(cast(street as varchar))) end as varchar)},
        {'kind': 'name_service', 'value': cast(case when trim(full_name) like '% %' and category is not null then lower(trim(full_name)) || '/' || lower(trim(cast(category as varchar))) end as varchar)}
        ]) as key
    from thumbtack_leads
    union all
    select
        'thumbtack:lead_updates:' || record_key as record_uid, client_id, 'thumbtack' as provider, 'lead_updates' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(occurred_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'thumbtack_lead', 'value': cast(lead_id as varchar)}
        ]) as key
    from thumbtack_updates
    union all
    select
        'thumbtack:messages:' || record_key as record_uid, client_id, 'thumbtack' as provider, 'messages' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(sent_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'thumbtack_lead', 'value': cast(lead_id as varchar)},
        {'kind': 'thumbtack_customer', 'value': cast(customer_id as varchar)}
        ]) as key
    from thumbtack_messages
    union all
    select
        'thumbtack:reviews:' || record_key as record_uid, client_id, 'thumbtack' as provider, 'reviews' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'thumbtack_lead', 'value': cast(lead_id as varchar)}
        ]) as key
    from thumbtack_reviews
    union all
    select
        'angi:leads:' || record_key as record_uid, client_id, 'angi' as provider, 'leads' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(full_name as varchar)))), ' ', 1), '') as given_name, cast(full_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(coalesce(created_at, occurred_at, received_at) as timestamp) as occurred_at, coalesce(phone_kind <> 'real', false) as is_proxy, false as is_own, false as is_spam, true as is_lease, false as is_ours,
        unnest([
        {'kind': 'angi_request', 'value': cast(coalesce(request_group_id, lead_id) as varchar)},
        {'kind': 'angi_lead', 'value': cast(lead_id as varchar)},
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'email', 'value': cast(email_normalized as varchar)},
        {'kind': 'name_address', 'value': cast(case when trim(full_name) like '% %' and street is not null then lower(trim(full_name)) || '/' || lower(trim(cast(street as varchar))) end as varchar)},
        {'kind': 'name_service', 'value': cast(case when trim(full_name) like '% %' and split_part(task, ' - ', 1) is not null then lower(trim(full_name)) || '/' || lower(trim(cast(split_part(task, ' - ', 1) as varchar))) end as varchar)}
        ]) as key
    from angi_leads
    union all
    select
        'angi:leads:' || record_key as record_uid, client_id, 'angi' as provider, 'leads' as stream, record_key,
        nullif(split_part(lower(trim(coalesce(cast(given_name as varchar), cast(full_name as varchar)))), ' ', 1), '') as given_name, cast(full_name as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(coalesce(created_at, occurred_at, received_at) as timestamp) as occurred_at, coalesce(secondary_phone_kind <> 'real', false) as is_proxy, false as is_own, false as is_spam, true as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(secondary_phone_e164 as varchar)}
        ]) as key
    from angi_leads
    union all
    select
        'twilio:messages:' || record_key as record_uid, client_id, 'twilio' as provider, 'messages' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(greeted_name as varchar) as greeted_name,
        cast(occurred_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, is_outbound as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'twilio_message', 'value': cast(case when phone_e164 is null then message_sid end as varchar)}
        ]) as key
    from texts
    union all
    select
        'twilio:message_events:' || record_key as record_uid, client_id, 'twilio' as provider, 'message_events' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(greeted_name as varchar) as greeted_name,
        cast(counted_at as timestamp) as occurred_at, false as is_proxy, false as is_own, false as is_spam, false as is_lease, is_outbound as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)},
        {'kind': 'twilio_message', 'value': cast(case when phone_e164 is null then message_sid end as varchar)}
        ]) as key
    from text_events
    union all
    select
        'twilio:phone_numbers:' || record_key as record_uid, client_id, 'twilio' as provider, 'phone_numbers' as stream, record_key,
        cast(null as varchar) as given_name, cast(null as varchar) as full_name, cast(null as varchar) as caller_name, cast(null as varchar) as greeted_name,
        cast(created_at as timestamp) as occurred_at, false as is_proxy, true as is_own, false as is_spam, false as is_lease, false as is_ours,
        unnest([
        {'kind': 'phone', 'value': cast(phone_e164 as varchar)}
        ]) as key
    from own_numbers
)
select
    record_uid, client_id || '|' || key.kind || ':' || key.value as identity_key,
    any_value(client_id) as client_id, any_value(provider) as provider, any_value(stream) as stream, any_value(record_key) as record_key,
    any_value(key.kind) as key_kind, any_value(key.value) as key_value, min(given_name) as given_name, min(full_name) as full_name, min(caller_name) as caller_name, min(greeted_name) as greeted_name,
    min(occurred_at) as occurred_at,
    case when any_value(key.kind) <> 'phone' then false when bool_or(is_proxy) then true when count(is_proxy) = count(*) then false end as is_proxy, bool_or(is_own) as is_own, bool_or(is_spam) as is_spam, bool_or(is_lease) as is_lease, bool_or(is_ours) as is_ours
from found
where key.value is not null
group by all;

create temp table key_classes_of as
with held as (
    select * from record_keys
),
names as (
    select identity_key, given_name from held
    where given_name is not null and provider <> 'leadtrail'
    union
    select identity_key, caller_name from held
    where caller_name is not null
),
longer_names as (
    select distinct names.identity_key, names.given_name
    from names
    inner join names as shorter on names.identity_key = shorter.identity_key and names.given_name like shorter.given_name || '%'
    where names.given_name <> shorter.given_name
),
counted_names as (
    select names.identity_key, count(*) as names
    from names
    left join longer_names on names.identity_key = longer_names.identity_key and names.given_name = longer_names.given_name
    where longer_names.identity_key is null
    group by names.identity_key
),
showings as (
    select
        identity_key, is_lease, is_proxy, lower(trim(coalesce(full_name, given_name))) as name,
        not is_lease and provider <> 'leadtrail' and given_name is not null as is_written_down,
        stream not in ('contacts', 'customers') or occurred_at < min(occurred_at) filter (is_lease) over (partition by identity_key) as is_no_copy
    from held
    where key_kind = 'phone' and identity_key in (select identity_key from held where is_lease)
),
lends as (
    select
        identity_key,
        count(distinct name) filter (is_lease) as lent_to,
        bool_or(is_lease and is_proxy is null) and not bool_or(coalesce(is_lease and not is_proxy, false)) as is_nobodys_word,
        bool_or(is_written_down) as is_written_down,
        bool_or(coalesce(is_written_down and is_no_copy, false)) as is_known
    from showings
    group by identity_key
),
evidence as (
    select
        held.identity_key,
        min(held.client_id) as client_id,
        min(held.key_kind) as key_kind,
        min(held.key_value) as key_value,
        count(*) as records,
        max(case when held.is_own then 1 else 0 end) = 1 as is_own,
        max(case when held.is_proxy then 1 else 0 end) = 1 as is_proxy,
        max(case when held.is_spam then 1 else 0 end) = 1 as is_spam,
        max(case when held.stream = 'trackers' and held.is_own then 1 else 0 end) = 1 as is_tracker,
        count(distinct case when held.stream = 'contacts' then held.record_uid end) as contacts,
        count(distinct case when held.stream = 'deals' then held.record_uid end) as deals,
        count(distinct case when held.stream = 'customers' then held.record_uid end) as customers,
        coalesce(
            min(case when held.stream = 'contacts' then held.occurred_at end), min(case when held.stream = 'deals' then held.occurred_at end)
        ) as contact_at,
        min(case when held.stream = 'customers' then held.occurred_at end) as customer_at
    from held
    group by held.identity_key
),
seeded as (
    select
        evidence.identity_key,
        min(classes.class) as class,
        min(classes.why) as why
    from evidence
    inner join key_classes as classes
        on (classes.client_id = '*' or classes.client_id = evidence.client_id)
        and evidence.identity_key = evidence.client_id || '|' || classes.identity_key
    group by evidence.identity_key
),
judged as (
    select
        evidence.*,
        coalesce(counted_names.names, 0) as names,
        coalesce(lends.lent_to, 0) as lent_to,
        coalesce(lends.is_nobodys_word and not lends.is_written_down, false) as may_be_lent,
        coalesce(lends.is_nobodys_word and lends.is_written_down and not lends.is_known, false) as may_be_copied,
        coalesce(evidence.customers = 1 and ((evidence.contacts = 1 and evidence.deals <= 1) or (evidence.contacts = 0 and evidence.deals = 1))
            and abs(cast(floor(epoch(evidence.customer_at)) as bigint) - cast(floor(epoch(evidence.contact_at)) as bigint)) <= 30 * 86400, false) as is_name_of_one,
        seeded.class as seeded_class,
        seeded.why as seeded_why,
        evidence.key_kind = 'phone' and substr(evidence.key_value, 3, 3) in ('800', '833', '844', '855', '866', '877', '888') as is_toll_free
    from evidence
    left join counted_names on evidence.identity_key = counted_names.identity_key
    left join lends on evidence.identity_key = lends.identity_key
    left join seeded on evidence.identity_key = seeded.identity_key
),
final as (
    select
        identity_key,
        client_id,
        key_kind,
        key_value,
        records,
        names,
        case
            when seeded_class is not null then seeded_class
            when key_kind = 'name' and is_name_of_one then 'direct'
            when key_kind = 'name' then 'name_only'
            when key_kind not in ('phone', 'email') then 'direct'
            when is_tracker then 'tracking_number'
            when is_own then 'business_line'
            when is_toll_free then 'spam'
            when is_proxy or lent_to > 1 or may_be_lent then 'masked_marketplace'
            when is_spam and names = 0 then 'spam'
            when names > 6 then 'business_line'
            when names > 1 then 'household'
            else 'direct'
        end as key_class,
        may_be_copied,
        case
            when seeded_class is not null then 'Somebody entered it in key_classes: ' || coalesce(seeded_why, 'no reason given') || '.'
            when key_kind = 'name' and not is_name_of_one then 'A name alone proves nothing.'
            when key_kind = 'name' then 'One CRM contact or deal has this name, and one customer in the books without phone or email, entered within a month.'
            when key_kind not in ('phone', 'email') then 'The provider''s own id.'
            when is_tracker then 'One of the client''s tracking numbers.'
            when is_own then 'One of the client''s own lines.'
            when is_toll_free then 'A toll-free number is nobody''s own.'
            when is_proxy then 'The marketplace says that it lends this number.'
            when lent_to > 1 then 'A marketplace showed it for ' || cast(lent_to as varchar) || ' different customers: it lends this number.'
            when may_be_lent then 'A marketplace showed it, does not say whose it is, and nobody else wrote it down beside a name.'
            when is_spam and names = 0 then 'A call from it was marked as spam, and no form, contact or customer has it.'
            when names > 6 then 'It appears with ' || cast(names as varchar) || ' first names: an office or a front desk.'
            when names > 1 then 'It appears with ' || cast(names as varchar) || ' first names: people of one home.'
            else 'It appears with one name at most.'
        end as class_because
    from judged
)
select * from final;

create temp table clusters_edges as
with usable as (
    select held.record_uid, case when keys.key_class in ('business_line', 'tracking_number', 'name_only') then null else held.identity_key end as node
    from record_keys as held
    inner join key_classes_of as keys on held.identity_key = keys.identity_key
),
hubs as (
    select record_uid, coalesce(min(node), 'record:' || record_uid) as hub from usable group by record_uid
)
select distinct hubs.hub as a, coalesce(usable.node, hubs.hub) as b
from hubs
inner join usable on hubs.record_uid = usable.record_uid;
create temp table clusters_nodes as
select node, row_number() over (order by node) as number
from (select a as node from clusters_edges union select b from clusters_edges);
create temp table clusters_links as
select ends_a.number as u, ends_b.number as v
from clusters_edges as edges
inner join clusters_nodes as ends_a on edges.a = ends_a.node
inner join clusters_nodes as ends_b on edges.b = ends_b.node
where edges.a <> edges.b;
insert into clusters_links select v, u from clusters_links;
create temp table clusters as
with recursive labels(number, label) using key (number) as (
    select number, number from clusters_nodes
    union
    select links.v, min(news.label)
    from labels as news
    inner join clusters_links as links on news.number = links.u
    inner join recurring.labels as known on links.v = known.number and news.label < known.label
    group by links.v
)
select nodes.node, least_nodes.node as component
from labels
inner join clusters_nodes as nodes on labels.number = nodes.number
inner join clusters_nodes as least_nodes on labels.label = least_nodes.number;

create temp table nodes_of_records as
with members as (
    select node, component as cluster_id
    from clusters
),
held as (
    select
        held.record_uid, held.client_id, held.provider, held.stream, held.occurred_at, held.identity_key, held.given_name, held.greeted_name, held.full_name,
        held.is_lease, held.is_ours, members.cluster_id, keys.key_kind, keys.key_value, keys.key_class, keys.may_be_copied
    from record_keys as held
    inner join key_classes_of as keys on held.identity_key = keys.identity_key
    inner join members on held.identity_key = members.node
    where keys.key_class not in ('business_line', 'tracking_number', 'name_only')
),
names as (
    select distinct identity_key, given_name from held where key_class = 'household' and given_name is not null
),
spellings as (
    select names.identity_key, names.given_name, min(shorter.given_name) as name_on_key
    from names
    inner join names as shorter on names.identity_key = shorter.identity_key and names.given_name like shorter.given_name || '%'
    group by names.identity_key, names.given_name
),
leased as (
    select
        held.*,
        max(case when is_lease then cast(occurred_at as varchar) || '|' || coalesce(given_name, '') || '|' || record_uid end) over (
            partition by identity_key
            order by occurred_at, case when is_lease then 0 else 1 end, record_uid
            rows between unbounded preceding and current row
        ) as lease,
        max(case when not is_ours and provider <> 'leadtrail' and stream not in ('contacts', 'customers') then occurred_at end) over (
            partition by identity_key
            order by occurred_at, case when is_ours then 1 else 0 end, record_uid
            rows between unbounded preceding and current row
        ) as heard_at
    from held
    where key_class = 'masked_marketplace' or may_be_copied
),
lent as (
    select
        record_uid, identity_key,
        split_part(lease, '|', 2) as lent_to,
        substr(lease, length(split_part(lease, '|', 1)) + length(split_part(lease, '|', 2)) + 3) as lease_uid,
        given_name,
        cast(floor(epoch(occurred_at)) as bigint) - cast(floor(epoch(cast(split_part(lease, '|', 1) as timestamp))) as bigint) as seconds_after,
        cast(floor(epoch(occurred_at)) as bigint) - cast(floor(epoch(heard_at)) as bigint) as seconds_unheard
    from leased
),
namesakes as (
    select distinct cluster_id, full_name
    from (
        select cluster_id, lower(trim(full_name)) as full_name
        from held
        where stream in ('contacts', 'customers') and full_name is not null
        group by cluster_id, lower(trim(full_name)), stream
        having count(distinct record_uid) > 1
    )
),
spaced as (
    select
        held.*,
        case
            when cast(floor(epoch(occurred_at)) as bigint)
                - cast(floor(epoch(lag(occurred_at) over (partition by identity_key order by occurred_at, record_uid))) as bigint) <= 2 * 86400
                then 0
            else 1
        end as starts
    from held
    anti join namesakes on held.cluster_id = namesakes.cluster_id and split_part(held.key_value, '/', 1) = namesakes.full_name
    where key_kind = 'name_service'
),
meetings as (
    select
        spaced.*,
        sum(starts) over (partition by identity_key order by occurred_at, record_uid rows between unbounded preceding and current row) as meeting
    from spaced
),
met as (
    select identity_key, meeting
    from meetings
    group by identity_key, meeting
    having sum(case when is_lease then 1 else 0 end) = 1 and sum(case when is_lease then 0 else 1 end) = 1
),
same_service as (
    select meetings.record_uid, meetings.identity_key, meetings.meeting
    from meetings
    inner join met on meetings.identity_key = met.identity_key and meetings.meeting = met.meeting
),
ruled as (
    select
        held.*,
        case
            when held.key_class in ('household', 'direct') and held.may_be_copied and lent.lease_uid is null and held.given_name is null then 'copied_later'
            when held.key_class in ('household', 'direct') and held.may_be_copied and held.is_ours and coalesce(held.given_name, held.greeted_name) is null
                and (lent.seconds_unheard is null or lent.seconds_unheard > 60 * 86400) then 'copied_long_ago'
            when held.key_class = 'household' and spellings.name_on_key is not null then 'shared_with_name'
            when held.key_class = 'household' then 'shared_without_name'
            when held.key_class = 'masked_marketplace' and held.is_lease then 'lease'
            when held.key_class = 'masked_marketplace' and lent.lease_uid is null then 'lent_to_nobody'
            when held.key_class = 'masked_marketplace' and lent.seconds_after > 10 * 86400 then 'lent_long_ago'
            when held.key_class = 'masked_marketplace' and held.given_name is not null and lent.lent_to <> ''
                and not (held.given_name like lent.lent_to || '%' or lent.lent_to like held.given_name || '%') then 'lent_to_another'
            when held.key_class = 'masked_marketplace' then 'lent'
            when held.key_class = 'spam' then 'spam'
            when held.key_kind in ('phone', 'email') then 'own_' || held.key_kind
            when held.key_kind in ('name_address', 'name_amount', 'name') then held.key_kind
            when held.key_kind = 'name_service' and same_service.meeting is not null then 'name_service'
            when held.key_kind = 'name_service' then 'name_service_apart'
            else 'provider_id'
        end as rule,
        spellings.name_on_key,
        lent.lease_uid,
        same_service.meeting
    from held
    left join spellings on held.identity_key = spellings.identity_key and coalesce(held.given_name, held.greeted_name) = spellings.given_name
    left join lent on held.record_uid = lent.record_uid and held.identity_key = lent.identity_key
    left join same_service on held.record_uid = same_service.record_uid and held.identity_key = same_service.identity_key
),
told as (
    select
        record_uid,
        cluster_id,
        client_id,
        provider,
        stream,
        occurred_at,
        identity_key,
        key_kind,
        key_value,
        key_class,
        rule,
        case rule
            when 'shared_with_name' then identity_key || '~' || name_on_key
            when 'lease' then identity_key || '@' || record_uid
            when 'lent' then identity_key || '@' || lease_uid
            when 'own_phone' then identity_key
            when 'own_email' then identity_key
            when 'provider_id' then identity_key
            when 'name_address' then identity_key
            when 'name_amount' then identity_key
            when 'name' then identity_key
            when 'name_service' then identity_key || '#' || cast(meeting as varchar)
            when 'spam' then identity_key
            when 'decided' then identity_key
        end as node,
        case rule
            when 'own_phone' then 'The phone ' || key_value || ' is one person''s own.'
            when 'own_email' then 'The address ' || key_value || ' is one person''s own.'
            when 'provider_id' then provider || ' says so: ' || replace(key_kind, '_', ' ') || ' ' || key_value || '.'
            when 'name_address' then 'Same full name at the same street address: ' || key_value || '.'
            when 'name_amount' then 'Same full name and the same amount to the cent: ' || key_value || '.'
            when 'name' then 'The only contact and the only customer of this name, entered within a month; the customer has no phone or email: ' || key_value || '.'
            when 'name_service' then 'Same full name and service within two days: ' || key_value || '.'
            when 'name_service_apart' then 'Same full name and service as others, but not one of each at one time, or two contacts or customers have this name: ' || key_value || '.'
            when 'shared_with_name' then key_value || ' is shared; the first name "' || name_on_key || '" tells whose record it is.'
            when 'shared_without_name' then key_value || ' is shared and no name is given, so it does not tell by itself.'
            when 'lease' then 'The marketplace lent ' || key_value || ' to this lead.'
            when 'lent' then key_value || ' was lent to this marketplace lead at that time.'
            when 'lent_to_nobody' then key_value || ' is a marketplace''s number, lent to nobody we know at that time.'
            when 'lent_long_ago' then key_value || ' is a marketplace''s number; its last lead is too long ago.'
            when 'copied_later' then key_value || ' came later with a marketplace''s lead and may be its number: whose it was before, nobody wrote down.'
            when 'copied_long_ago' then key_value || ' came with a marketplace''s lead and may be its number: whom we called on it so long after, nobody wrote down.'
            when 'lent_to_another' then key_value || ' is a marketplace''s number, lent to somebody of another name at that time.'
            when 'spam' then key_value || ' is a nuisance caller.'
            when 'decided' then 'Somebody decided that these are one person.'
            when 'parted' then 'Somebody decided that these are two persons.'
            when 'set_aside' then key_value || ' does not count: it is shared by two whom somebody parted.'
        end as because
    from ruled
),
alone as (
    select
        record_uid, cluster_id, min(client_id) as client_id, min(provider) as provider, min(stream) as stream, min(occurred_at) as occurred_at
    from (
        select held.record_uid, members.cluster_id, held.client_id, held.provider, held.stream, held.occurred_at
        from record_keys as held
        inner join members on 'record:' || held.record_uid = members.node
    ) as lone
    group by record_uid, cluster_id
)
select * from told
union all
select
    record_uid, cluster_id, client_id, provider, stream, occurred_at, 'record:' || record_uid, 'record', record_uid, 'none', 'alone',
    cast(null as varchar), 'It names nobody.'
from alone;

create temp table persons_edges as
select distinct min(node) over (partition by record_uid) as a, node as b
from nodes_of_records
where node is not null;
create temp table persons_nodes as
select node, row_number() over (order by node) as number
from (select a as node from persons_edges union select b from persons_edges);
create temp table persons_links as
select ends_a.number as u, ends_b.number as v
from persons_edges as edges
inner join persons_nodes as ends_a on edges.a = ends_a.node
inner join persons_nodes as ends_b on edges.b = ends_b.node
where edges.a <> edges.b;
insert into persons_links select v, u from persons_links;
create temp table persons as
with recursive labels(number, label) using key (number) as (
    select number, number from persons_nodes
    union
    select links.v, min(news.label)
    from labels as news
    inner join persons_links as links on news.number = links.u
    inner join recurring.labels as known on links.v = known.number and news.label < known.label
    group by links.v
)
select nodes.node, least_nodes.node as component
from labels
inner join persons_nodes as nodes on labels.number = nodes.number
inner join persons_nodes as least_nodes on labels.label = least_nodes.number;

create temp table identities as
with nodes as (
    select * from nodes_of_records
    where provider <> 'leadtrail'
),
records as (
    select
        record_uid, min(cluster_id) as cluster_id, min(client_id) as client_id, min(provider) as provider, min(stream) as stream,
        min(occurred_at) as occurred_at, min(node) as hub,
        max(case when key_class = 'spam' then 1 else 0 end) as spam_keys,
        max(case when node is not null and key_class <> 'spam' then 1 else 0 end) as telling_keys
    from nodes
    group by record_uid
),
told as (
    select records.*, persons.component as person_node
    from records
    inner join persons as persons on records.hub = persons.node
),
untold as (
    select records.*, nodes.identity_key, nodes.key_value
    from records
    inner join nodes on records.record_uid = nodes.record_uid
    where records.hub is null and nodes.rule in ('shared_without_name', 'set_aside')
),
holders as (
    select distinct nodes.identity_key, told.person_node, told.cluster_id
    from nodes
    inner join told on nodes.record_uid = told.record_uid
    where nodes.rule in ('shared_with_name', 'set_aside')
),
distances as (
    select
        untold.record_uid, untold.identity_key, holders.person_node,
        min(abs(cast(floor(epoch(untold.occurred_at)) as bigint) - cast(floor(epoch(told.occurred_at)) as bigint))) as seconds_apart
    from untold
    inner join holders on untold.identity_key = holders.identity_key
    inner join told on holders.person_node = told.person_node and holders.cluster_id = told.cluster_id
    group by untold.record_uid, untold.identity_key, holders.person_node
),
ranked as (
    select
        *,
        row_number() over (partition by record_uid order by seconds_apart, person_node, identity_key) as place,
        lead(seconds_apart) over (partition by record_uid order by seconds_apart, person_node, identity_key) as next_seconds_apart
    from distances
),
nearest as (
    select *
    from ranked
    where place = 1
        and seconds_apart <= 14 * 86400
        and coalesce(
            next_seconds_apart > 3 * 86400 and next_seconds_apart > 3 * seconds_apart, true
        )
),
placed as (
    select
        records.record_uid,
        records.cluster_id,
        records.client_id,
        records.provider,
        records.stream,
        records.occurred_at,
        case
            when records.hub is not null then told.person_node
            when nearest.person_node is not null then nearest.person_node
            when untold_key.identity_key is not null then untold_key.identity_key || '~somebody on ' || cast(cast(records.occurred_at as date) as varchar)
            else 'record:' || records.record_uid
        end as person_node,
        case
            when records.hub is not null and records.telling_keys = 0 and records.spam_keys = 1 then 'spam'
            when records.hub is not null then 'told'
            when nearest.person_node is not null then 'nearest'
            when untold_key.identity_key is not null then 'somebody'
            else 'alone'
        end as placed_by,
        nearest.identity_key as nearest_key,
        nearest.seconds_apart
    from records
    left join told on records.record_uid = told.record_uid
    left join nearest on records.record_uid = nearest.record_uid
    left join (select record_uid, min(identity_key) as identity_key from untold group by record_uid) as untold_key
        on records.record_uid = untold_key.record_uid
),
reasons as (
    select record_uid, min(case when node is not null then because end) as because, min(because) as because_not
    from nodes
    group by record_uid
),
known as (
    select placed.*, records.first_known_at, records.batch_id
    from placed
    left join known_records as records on placed.record_uid = records.record_uid
),
named as (
    select
        known.*,
        first_value(record_uid) over (
            partition by cluster_id, person_node order by first_known_at, occurred_at, record_uid
            rows between unbounded preceding and unbounded following
        ) as first_record_uid
    from known
)
select
    named.record_uid,
    named.cluster_id,
    named.client_id,
    named.provider,
    named.stream,
    md5(coalesce(cast('person' as TEXT), '') || '|' || coalesce(cast(named.first_record_uid as TEXT), '')) as person_id,
    named.placed_by = 'spam' as is_spam,
    named.placed_by,
    case named.placed_by
        when 'nearest' then 'The ' || replace(substr(named.nearest_key, length(named.client_id) + 2), ':', ' ')
            || ' is shared and no name is given; only this person was in touch around that time ('
            || case
                when named.seconds_apart < 86400 then 'within a day'
                else cast(cast(round(named.seconds_apart / 86400.0) as bigint) as varchar) || ' days apart'
            end || ').'
        when 'somebody' then 'Somebody on a shared phone: nobody known, or more than one, was in touch around that time.'
        when 'alone' then reasons.because_not
        else reasons.because
    end as because,
    named.first_known_at,
    named.batch_id
from named
left join reasons on named.record_uid = reasons.record_uid;

-- the timeline
create table fct_lead_events as
with identity as (
    select * from identities
),
first_days as (
    select
        split_part(record_uid, ':', 1) as provider, split_part(record_uid, ':', 2) as stream, split_part(record_uid, ':', 3) as client_id,
        min(first_known_at) as first_read_at
    from known_records
    group by all
),
joined as (
    select
        events.*, identity.person_id, identity.cluster_id, identity.is_spam, identity.first_known_at, identity.batch_id,
        types.is_enquiry, types.is_minor,
        types.opens_lead and not coalesce(events.event_type in ('text_sent', 'email_sent') and events.actor = 'automation', false) as opens_lead,
        case
            when events.occurred_at < first_days.first_read_at
                and cast(floor(epoch(identity.first_known_at)) as bigint) - cast(floor(epoch(first_days.first_read_at)) as bigint) < 86400 then events.occurred_at
            else greatest(events.occurred_at, identity.first_known_at)
        end as known_at
    from events as events
    inner join identity on events.record_uid = identity.record_uid
    left join first_days
        on events.client_id = first_days.client_id and events.provider = first_days.provider and events.stream = first_days.stream
    inner join event_types as types on events.event_type = types.event_type
),
deciding as (
    select
        event_id, person_id, occurred_at, event_type, value_cents, first_known_at, opens_lead, is_enquiry,
        case
            when event_type = 'invoice_issued' or event_type = 'credit_issued' then value_cents
            when event_type = 'payment_received' and stream <> 'sales_receipts' then -value_cents
            else 0
        end as billed_cents
    from joined
),
owed as (
    select
        deciding.*,
        sum(billed_cents) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row) as owed_cents
    from deciding
),
marked as (
    select
        owed.*,
        case
            when event_type = 'job_lost' then occurred_at
            when event_type = 'payment_received' and value_cents > 0 and owed_cents <= 0 then occurred_at
        end as closes_at
    from owed
),
preceded as (
    select
        marked.*,
        max(case when opens_lead then occurred_at end) over before_this as last_sign_at,
        max(case when is_enquiry then occurred_at end) over before_this as last_enquiry_at,
        max(closes_at) over before_this as last_closed_at
    from marked
    window before_this as (partition by person_id order by occurred_at, event_id rows between unbounded preceding and 1 preceding)
),
after_silence as (
    select
        preceded.*,
        max(case
            when opens_lead and (
                last_sign_at is null
                or cast(floor(epoch(occurred_at)) as bigint) - cast(floor(epoch(last_sign_at)) as bigint) > 90 * 86400
            ) then occurred_at
        end) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row) as broke_silence_at
    from preceded
),
opened as (
    select
        after_silence.*,
        case
            when not opens_lead then 0
            when last_sign_at is null then 1
            when cast(floor(epoch(occurred_at)) as bigint) - cast(floor(epoch(last_sign_at)) as bigint) > 90 * 86400 then 1
            when is_enquiry
                and last_closed_at >= broke_silence_at
                and last_closed_at > coalesce(last_enquiry_at, cast('1970-01-01' as timestamp))
                and cast(floor(epoch(occurred_at)) as bigint) - cast(floor(epoch(last_closed_at)) as bigint) > 14 * 86400 then 1
            else 0
        end as opens
    from after_silence
),
episodes as (
    select
        opened.*,
        greatest(1, sum(opens) over (partition by person_id order by occurred_at, event_id rows between unbounded preceding and current row)) as episode
    from opened
),
named as (
    select
        episodes.*,
        first_value(event_id) over (
            partition by person_id, episode
            order by case when opens_lead then 0 else 1 end, first_known_at, occurred_at, event_id
            rows between unbounded preceding and unbounded following
        ) as first_event_id
    from episodes
),
numbered as (
    select
        event_id,
        first_event_id,
        episode,
        row_number() over (partition by person_id, episode order by occurred_at, event_id) as event_number,
        lag(occurred_at) over (partition by person_id, episode order by occurred_at, event_id) as previous_at
    from named
),
final as (
    select
        events.client_id,
        case when not events.is_spam then md5(coalesce(cast('lead' as TEXT), '') || '|' || coalesce(cast(numbered.first_event_id as TEXT), '')) end as lead_id,
        events.person_id,
        events.event_id,
        events.event_type,
        events.occurred_at,
        events.known_at,
        events.received_at,
        numbered.event_number,
        cast(floor(epoch(events.occurred_at)) as bigint) - cast(floor(epoch(numbered.previous_at)) as bigint) as seconds_since_last,
        events.direction,
        events.contact_method,
        events.actor,
        events.staff,
        events.channel,
        events.source,
        events.medium,
        events.campaign,
        events.service,
        events.value_cents,
        events.currency,
        events.duration_seconds,
        events.reference,
        events.detail,
        events.text,
        events.is_enquiry,
        events.is_minor,
        numbered.episode,
        events.provider,
        events.stream,
        events.record_id,
        events.batch_id,
        events.record_uid,
        events.cluster_id
    from joined as events
    inner join numbered on events.event_id = numbered.event_id
)
select * from final;

-- leads
create temp table open_hours as
with zones as (
    select distinct
        coalesce(hours.client_id, '*') as hours_of,
        clients.timezone
    from read_parquet('{directory}/clients.parquet') as clients
    left join (select distinct client_id from business_hours) as hours on clients.client_id = hours.client_id
),
days as (
    select cast(range as date) as day from range(date '2018-01-01', date '2036-12-31', interval 1 day)
),
hours as (
    select
        zones.hours_of, zones.timezone, days.day,
        case when holidays.day is null then business_hours.opens end as opens,
        case when holidays.day is null then business_hours.closes end as closes
    from zones
    cross join days
    left join business_hours as business_hours
        on zones.hours_of = business_hours.client_id and cast(extract(isodow from days.day) as integer) = business_hours.weekday
    left join (
        select client_id, cast(day as date) as day, min(name) as name from holidays group by 1, 2
    ) as holidays
        on days.day = holidays.day and (holidays.client_id = zones.hours_of or holidays.client_id = '*')
),
instants as (
    select
        hours_of, timezone, day,
        ((cast(cast(day as varchar) || ' ' || coalesce(opens, '00:00') || ':00' as timestamp) at time zone timezone) at time zone 'UTC') as opens_at,
        ((cast(cast(day as varchar) || ' ' || coalesce(closes, opens, '00:00') || ':00' as timestamp) at time zone timezone) at time zone 'UTC') as closes_at
    from hours
)
select
    hours_of || '|' || timezone || '|' || cast(day as varchar) as open_hours_key,
    hours_of,
    timezone,
    day,
    opens_at,
    closes_at,
    coalesce(sum(cast(floor(epoch(closes_at)) as bigint) - cast(floor(epoch(opens_at)) as bigint)) over (
        partition by hours_of, timezone order by day rows between unbounded preceding and 1 preceding
    ), 0) as open_seconds_before
from instants;

create table int_leads as
with events as (
    select * from fct_lead_events
    where lead_id is not null
),
clients as (
    select
        clients.client_id, clients.timezone, cast(nullif(clients.joined_on, '') as date) as joined_on,
        coalesce(hours.client_id, '*') as hours_of
    from read_parquet('{directory}/clients.parquet') as clients
    left join (select distinct client_id from business_hours) as hours on clients.client_id = hours.client_id
),
openings as (
    select
        lead_id,
        min(case when is_enquiry then occurred_at end) as enquired_at,
        min(case when not is_minor then occurred_at end) as first_sign_at,
        min(occurred_at) as first_event_at
    from events
    group by lead_id
),
enquiries as (
    select
        events.*,
        row_number() over (partition by events.lead_id order by events.occurred_at, events.event_id) as place,
        row_number() over (partition by events.lead_id order by events.occurred_at desc, events.event_id desc) as place_from_last
    from events
    where events.is_enquiry
),
first_enquiries as (
    select lead_id, event_id, event_type, contact_method, channel, source, campaign from enquiries where place = 1
),
last_enquiries as (
    select lead_id, channel from enquiries where place_from_last = 1
),
said as (
    select
        lead_id, 'service' as kind, cast(service as varchar) as word,
        cast(null as bigint) as cents, event_id, occurred_at
    from events where service is not null
    union all
    select
        lead_id, 'reason' as kind, cast(detail as varchar) as word,
        cast(null as bigint) as cents, event_id, occurred_at
    from events where event_type = 'job_lost'
    union all
    select
        lead_id, 'staff' as kind, cast(staff as varchar) as word,
        cast(null as bigint) as cents, event_id, occurred_at
    from events where staff is not null and provider = 'hubspot'
    union all
    select
        lead_id, 'deal' as kind, cast(null as varchar) as word,
        value_cents as cents, event_id, occurred_at
    from events where provider = 'hubspot' and value_cents is not null
    union all
    select
        lead_id, 'estimate' as kind, cast(null as varchar) as word,
        value_cents as cents, event_id, occurred_at
    from events where event_type in ('estimate_created', 'estimate_accepted')
    union all
    select
        lead_id, 'call_value' as kind, cast(null as varchar) as word,
        value_cents as cents, event_id, occurred_at
    from events where provider = 'callrail' and value_cents is not null
    union all
    select
        lead_id, 'qualification' as kind, cast(detail as varchar) as word,
        cast(null as bigint) as cents, event_id, occurred_at
    from events where provider = 'callrail' and detail in ('qualified', 'not_a_lead')
    union all
    select
        lead_id, 'consent' as kind, cast(event_type as varchar) as word,
        cast(null as bigint) as cents, event_id, occurred_at
    from events where event_type in ('consent_given', 'consent_refused', 'opted_out', 'opted_in') and contact_method = 'text'
),
ranked as (
    select
        said.*,
        row_number() over (
            partition by lead_id, kind
            order by case when kind = 'service' then occurred_at end, case when kind <> 'service' then occurred_at end desc, event_id
        ) as place
    from said
),
latest as (
    select
        lead_id,
        max(case when kind = 'service' then word end) as service,
        max(case when kind = 'reason' then word end) as lost_reason,
        max(case when kind = 'staff' then word end) as staff,
        max(case when kind = 'deal' then cents end) as deal_cents,
        max(case when kind = 'estimate' then cents end) as estimate_cents,
        max(case when kind = 'call_value' then cents end) as call_value_cents,
        max(case when kind = 'qualification' then word end) as qualification,
        max(case when kind = 'consent' then word end) as consent_event_type,
        max(case when kind = 'consent' then event_id end) as consent_event_id,
        max(case when kind = 'consent' then occurred_at end) as consent_at
    from ranked
    where place = 1
    group by lead_id
),
urgency as (
    select events.lead_id, min(case words.urgency when 'emergency' then 1 else 2 end) as urgency_rank
    from events
    inner join urgency_words as words on lower(coalesce(events.service, '') || ' ' || coalesce(events.text, '')) like words.word_like
    where events.is_enquiry
    group by events.lead_id
),
sums as (
    select
        events.lead_id,
        min(events.client_id) as client_id,
        min(events.person_id) as person_id,
        min(events.cluster_id) as cluster_id,
        min(coalesce(openings.enquired_at, openings.first_sign_at, openings.first_event_at)) as opened_at,
        max(case when openings.enquired_at is not null then 1 else 0 end) = 1 as has_enquiry,
        min(case when events.occurred_at >= openings.enquired_at and events.event_type in ('text_sent', 'email_sent') and events.actor = 'automation'
            then events.occurred_at end) as first_automatic_response_at,
        min(case when events.occurred_at >= openings.enquired_at and (
                events.event_type in ('call_answered', 'call_outbound_answered', 'call_outbound_unanswered', 'marketplace_message_sent')
                or (events.event_type in ('text_sent', 'email_sent') and events.actor = 'staff'))
            then events.occurred_at end) as first_human_response_at,
        min(case when events.event_type in ('call_answered', 'call_outbound_answered') and events.duration_seconds >= 60 then events.occurred_at
            when events.event_type in ('text_received', 'email_received', 'marketplace_message_received') and events.occurred_at > openings.enquired_at then events.occurred_at
        end) as two_way_at,
        min(case when events.event_type in ('estimate_created', 'estimate_sent') or (events.event_type = 'crm_stage_changed' and events.detail = 'quoted')
            then events.occurred_at end) as quoted_at,
        min(case
            when events.event_type in ('job_booked', 'job_completed', 'estimate_accepted') then events.occurred_at
            when events.event_type in ('invoice_issued', 'payment_received') and events.value_cents > 0 then events.occurred_at
        end) as booked_at,
        min(case
            when events.event_type = 'job_completed' then events.occurred_at
            when events.event_type = 'invoice_issued' and events.value_cents > 0 then events.occurred_at
            when events.event_type = 'payment_received' and events.stream = 'sales_receipts' and events.value_cents > 0 then events.occurred_at
        end) as completed_at,
        min(case when events.event_type = 'payment_received' and events.value_cents > 0 then events.occurred_at end) as first_paid_at,
        max(case when events.event_type in ('job_lost', 'estimate_declined') then events.occurred_at end) as lost_at,
        max(case when events.event_type = 'complaint_made' then events.occurred_at end) as complained_at,
        coalesce(sum(case when events.event_type = 'invoice_issued' then events.value_cents end), 0)
            + coalesce(sum(case when events.event_type = 'payment_received' and events.stream = 'sales_receipts' then events.value_cents end), 0) as invoiced_cents,
        coalesce(sum(case when events.event_type in ('payment_received', 'refund_issued') then events.value_cents end), 0) as revenue_cents,
        coalesce(sum(case when events.event_type in ('invoice_issued', 'credit_issued') then events.value_cents
            when events.event_type = 'payment_received' and events.stream <> 'sales_receipts' then -events.value_cents end), 0) as owed_cents,
        sum(case when events.is_enquiry then 1 else 0 end) as enquiries,
        sum(case when events.event_type in ('call_missed', 'call_voicemail', 'call_abandoned') then 1 else 0 end) as missed_calls,
        count(*) as events,
        max(case when not events.is_minor and not coalesce(events.event_type in ('text_sent', 'email_sent') and events.actor = 'automation', false)
            then events.occurred_at end) as last_touch_at,
        max(case when events.event_type = 'opted_out' and events.contact_method = 'text' then events.occurred_at end) as text_opted_out_at,
        max(case when events.event_type = 'opted_in' and events.contact_method = 'text' then events.occurred_at end) as text_opted_in_at,
        max(case when events.event_type = 'opted_out' and events.contact_method = 'email' then events.occurred_at end) as email_opted_out_at,
        max(case when events.event_type = 'opted_in' and events.contact_method = 'email' then events.occurred_at end) as email_opted_in_at
    from events
    inner join openings on events.lead_id = openings.lead_id
    group by events.lead_id
),
open_tasks as (
    select
        events.lead_id, tasks.task_id, tasks.subject, tasks.due_at, tasks.owner_id,
        row_number() over (partition by events.lead_id order by tasks.due_at, tasks.task_id) as place
    from events
    inner join stg_hubspot__tasks as tasks
        on events.record_uid = 'hubspot:tasks:' || tasks.record_key
    where events.event_type = 'task_created' and not tasks.is_completed and not tasks.is_deleted
),
timed as (
    select
        sums.*, clients.timezone, clients.joined_on,
        hours_opened.open_seconds_before is not null as has_hours,
        (hours_automatic.open_seconds_before + greatest(0, least(cast(floor(epoch(sums.first_automatic_response_at)) as bigint), cast(floor(epoch(hours_automatic.closes_at)) as bigint)) - cast(floor(epoch(hours_automatic.opens_at)) as bigint))) - (hours_opened.open_seconds_before + greatest(0, least(cast(floor(epoch(sums.opened_at)) as bigint), cast(floor(epoch(hours_opened.closes_at)) as bigint)) - cast(floor(epoch(hours_opened.opens_at)) as bigint))) as automatic_open_seconds,
        (hours_human.open_seconds_before + greatest(0, least(cast(floor(epoch(sums.first_human_response_at)) as bigint), cast(floor(epoch(hours_human.closes_at)) as bigint)) - cast(floor(epoch(hours_human.opens_at)) as bigint))) - (hours_opened.open_seconds_before + greatest(0, least(cast(floor(epoch(sums.opened_at)) as bigint), cast(floor(epoch(hours_opened.closes_at)) as bigint)) - cast(floor(epoch(hours_opened.opens_at)) as bigint))) as human_open_seconds,
        coalesce(sums.opened_at >= hours_opened.opens_at and sums.opened_at < hours_opened.closes_at, false) as opened_in_hours,
        ((sums.opened_at at time zone 'UTC') at time zone clients.timezone) as opened_local
    from sums
    inner join clients on sums.client_id = clients.client_id
    left join open_hours as hours_opened
        on hours_opened.open_hours_key
            = clients.hours_of || '|' || clients.timezone || '|' || cast(cast(((sums.opened_at at time zone 'UTC') at time zone clients.timezone) as date) as varchar)
    left join open_hours as hours_automatic
        on hours_automatic.open_hours_key
            = clients.hours_of || '|' || clients.timezone || '|' || cast(cast(((sums.first_automatic_response_at at time zone 'UTC') at time zone clients.timezone) as date) as varchar)
    left join open_hours as hours_human
        on hours_human.open_hours_key
            = clients.hours_of || '|' || clients.timezone || '|' || cast(cast(((sums.first_human_response_at at time zone 'UTC') at time zone clients.timezone) as date) as varchar)
),
final as (
    select
        timed.client_id,
        timed.lead_id,
        timed.person_id,
        timed.opened_at,
        cast(timed.opened_local as date) as opened_on,
        cast(date_trunc('month', timed.opened_local) as date) as opened_month,
        timed.opened_in_hours,
        timed.has_enquiry,
        timed.joined_on is not null and cast(timed.opened_local as date) >= timed.joined_on as is_after_joining,
        first_enquiries.event_id as first_enquiry_event_id,
        first_enquiries.contact_method as first_contact_method,
        coalesce(first_enquiries.channel, 'unknown') as channel,
        coalesce(last_enquiries.channel, first_enquiries.channel, 'unknown') as last_channel,
        first_enquiries.source,
        first_enquiries.campaign,
        latest.service,
        case urgency.urgency_rank when 1 then 'emergency' when 2 then 'soon' else 'normal' end as urgency,
        coalesce(latest.qualification, 'not_scored') as qualification,
        not (coalesce(latest.qualification, '') = 'not_a_lead' and timed.booked_at is null) as is_valid,
        cast(case
            when timed.invoiced_cents > 0 then timed.invoiced_cents
            when latest.estimate_cents is not null then latest.estimate_cents
            when latest.deal_cents is not null then latest.deal_cents
            else latest.call_value_cents
        end as bigint) as value_estimate_cents,
        case
            when timed.invoiced_cents > 0 then 'invoiced'
            when latest.estimate_cents is not null then 'estimate'
            when latest.deal_cents is not null then 'deal'
            when latest.call_value_cents is not null then 'call'
            else 'none'
        end as value_basis,
        case
            when timed.text_opted_out_at is not null and coalesce(timed.text_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.text_opted_out_at then 'opted_out'
            when latest.consent_event_type = 'consent_given' then 'express'
            when latest.consent_event_type = 'opted_in' then 'express'
            when latest.consent_event_type = 'consent_refused' then 'refused'
            when timed.has_enquiry then 'inquiry'
            else 'none'
        end as text_consent,
        coalesce(latest.consent_event_id, first_enquiries.event_id) as text_consent_event_id,
        coalesce(latest.consent_at, case when timed.has_enquiry then timed.opened_at end) as text_consent_at,
        timed.text_opted_out_at is not null and coalesce(timed.text_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.text_opted_out_at as is_text_opted_out,
        timed.email_opted_out_at is not null and coalesce(timed.email_opted_in_at, cast('1970-01-01' as timestamp)) <= timed.email_opted_out_at as is_email_opted_out,
        latest.staff as owner_id,
        timed.first_automatic_response_at,
        cast(floor(epoch(timed.first_automatic_response_at)) as bigint) - cast(floor(epoch(timed.opened_at)) as bigint) as automatic_response_seconds,
        case when timed.has_hours then timed.automatic_open_seconds end as automatic_response_open_seconds,
        timed.first_human_response_at,
        cast(floor(epoch(timed.first_human_response_at)) as bigint) - cast(floor(epoch(timed.opened_at)) as bigint) as human_response_seconds,
        case when timed.has_hours then timed.human_open_seconds end as human_response_open_seconds,
        timed.two_way_at,
        timed.quoted_at,
        timed.booked_at is not null as is_booked,
        timed.booked_at,
        timed.completed_at,
        timed.first_paid_at,
        case when timed.booked_at is null or timed.lost_at > timed.booked_at then timed.lost_at end as lost_at,
        case when timed.booked_at is null or timed.lost_at > timed.booked_at then latest.lost_reason end as lost_reason,
        timed.complained_at,
        cast(timed.invoiced_cents as bigint) as invoiced_cents,
        cast(timed.revenue_cents as bigint) as revenue_cents,
        cast(timed.owed_cents as bigint) as owed_cents,
        'USD' as currency,
        cast(timed.enquiries as bigint) as enquiries,
        cast(timed.missed_calls as bigint) as missed_calls,
        cast(timed.events as bigint) as events,
        timed.last_touch_at,
        open_tasks.task_id as next_task_id,
        open_tasks.subject as next_task,
        open_tasks.due_at as next_task_due_at,
        open_tasks.owner_id as next_task_owner_id,
        timed.cluster_id
    from timed
    left join first_enquiries on timed.lead_id = first_enquiries.lead_id
    left join last_enquiries on timed.lead_id = last_enquiries.lead_id
    left join latest on timed.lead_id = latest.lead_id
    left join urgency on timed.lead_id = urgency.lead_id
    left join open_tasks on timed.lead_id = open_tasks.lead_id and open_tasks.place = 1
)
select * from final;
