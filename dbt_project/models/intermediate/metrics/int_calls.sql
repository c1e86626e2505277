{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}") }}
-- What became of each customer's call, and whether it counts as a chance to book. What staff say of a call moves it between `booked`,
-- `unbooked` and the exclusions; it can't take the caller out of `is_first_of_caller`, on which the raw booking rate stands.
with clients as (
    select clients.client_id, clients.timezone, coalesce(hours.client_id, '*') as hours_of
    from {{ source('leadtrail', 'clients') }} as clients
    left join (select distinct client_id from {{ ref('business_hours') }}) as hours on clients.client_id = hours.client_id
),

events as (
    select
        client_id, event_id, event_type, lead_id, person_id, occurred_at, received_at, channel, staff, duration_seconds, detail,
        record_uid, cluster_id
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where contact_method = 'call' and event_type in ('call_answered', 'call_missed', 'call_voicemail', 'call_abandoned')
),

two_ways as (
    select person_id, occurred_at
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where contact_method = 'call' and duration_seconds >= 60 and event_type in ('call_answered', 'call_outbound_answered')

    union all

    select person_id, occurred_at
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where event_type in ('text_received', 'email_received', 'marketplace_message_received')
),

-- only who was missed waits for contact
followed as (
    select missed.event_id, min(two_ways.occurred_at) as next_two_way_at
    from events as missed
    inner join two_ways on missed.person_id = two_ways.person_id and two_ways.occurred_at > missed.occurred_at
    where missed.event_type <> 'call_answered'
    group by missed.event_id
),

tags as (
    select 'callrail:calls:' || record_key as record_uid, client_id, lower(tags) as tags
    from {{ ref('stg_callrail__calls') }}
    where direction = 'inbound' and tags is not null and tags <> '[]'
),

tag_meanings as (
    select client_id, tags, excluded_as, reason
    from (
        select
            told.client_id, told.tags, words.excluded_as, words.reason,
            row_number() over (partition by told.client_id, told.tags order by words.client_id desc, words.excluded_as, words.reason) as place
        from (select distinct client_id, tags from tags) as told
        inner join {{ ref('call_exclusions') }} as words
            on told.tags like words.tag_like and words.client_id in ('*', told.client_id)
    ) as ranked
    where place = 1
),

calls as (
    select
        events.*,
        clients.hours_of, clients.timezone,
        {{ local_day('events.occurred_at', 'zone_days') }} as called_on,
        events.event_type = 'call_answered' as is_answered,
        -- a minute's talk was with a human, whatever the call is called afterwards
        events.lead_id is not null or (events.event_type = 'call_answered' and events.duration_seconds >= 60) as is_human,
        tag_meanings.excluded_as as tagged_as, tag_meanings.reason as tag_reason,
        leads.booked_at, leads.channel as lead_channel,
        followed.next_two_way_at
    from events
    inner join clients on events.client_id = clients.client_id
    left join {{ ref('int_zone_days') }} as zone_days
        on clients.timezone = zone_days.timezone and cast(events.occurred_at as date) = zone_days.day
    left join tags on events.record_uid = tags.record_uid
    left join tag_meanings on tags.client_id = tag_meanings.client_id and tags.tags = tag_meanings.tags
    left join {{ ref('int_leads') }} as leads on events.lead_id = leads.lead_id
    left join followed on events.event_id = followed.event_id
),

placed as (
    select
        calls.*,
        cast(date_trunc('month', called_on) as date) as month,
        -- who called first: by the second, ties by id (seconds have ten digits until 2286)
        {{ in_bytes("cast(" ~ epoch_seconds('occurred_at') ~ " as " ~ text_type() ~ ") || event_id") }} as place,
        case
            when not is_human then 'spam'
            when not is_answered then 'unanswered'
            when tagged_as is not null then tagged_as
            when detail = 'not_a_lead' then 'non_lead'
            when booked_at < occurred_at then 'existing_customer'
            when booked_at is not null then 'booked'
            else 'unbooked'
        end as counted_as
    from calls
),

callers as (
    select
        person_id, month,
        min(case when is_human then place end) as first_place,
        min(case when is_human and not is_answered then place end) as first_missed_place,
        count(booked_at) as bookings
    from placed
    group by person_id, month
),

final as (
    select
        placed.event_id,
        placed.client_id,
        placed.month,
        coalesce(placed.channel, placed.lead_channel, 'unknown') as channel,
        placed.lead_id,
        placed.person_id,
        placed.occurred_at as called_at,
        coalesce(placed.occurred_at >= hours.opens_at and placed.occurred_at < hours.closes_at, false) as is_in_hours,
        placed.event_type,
        placed.is_answered,
        placed.is_human,
        placed.duration_seconds,
        placed.staff as agent,
        placed.counted_as,
        case placed.counted_as
            when 'spam' then coalesce(placed.tag_reason, 'CallRail or its user removed it as spam')
            when 'unanswered' then 'nobody answered'
            when 'existing_customer' then 'the work was booked before this call'
            when 'booked' then null
            when 'unbooked' then null
            else coalesce(placed.tag_reason, 'scored as not a lead')
        end as reason,
        case
            when placed.counted_as in ('booked', 'unbooked') then null
            when placed.counted_as in ('unanswered', 'existing_customer') then 'rule'
            when placed.counted_as = 'spam' and placed.tagged_as is null then 'provider'
            else 'staff'
        end as decided_by,
        coalesce(placed.place = callers.first_place, false) as is_first_of_caller,
        callers.bookings > 0 as is_caller_booked,
        coalesce(placed.place = callers.first_missed_place, false) as is_first_missed,
        placed.next_two_way_at,
        placed.booked_at,
        placed.received_at,
        placed.cluster_id
    from placed
    inner join callers on placed.person_id = callers.person_id and placed.month = callers.month
    left join {{ ref('int_open_hours') }} as hours
        on hours.open_hours_key = placed.hours_of || '|' || placed.timezone || '|' || cast(placed.called_on as {{ text_type() }})
)

select * from final
