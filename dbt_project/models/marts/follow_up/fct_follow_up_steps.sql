-- What each rule asks for, of whom and when: one row per trigger, rule version and step. The same statement says what is due now and, given
-- other rules, what they would have asked for in the past (`leadtrail replay`): nothing in it is known before its known_at, and no
-- clock is read. What is due at a moment is what has state `due` and due_at before it.
with rules as (
    select
        *,
        {{ utc_timestamp('enabled_from') }} as enabled_from_at,
        {{ utc_timestamp('enabled_until') }} as enabled_until_at
    from {{ source('leadtrail', 'follow_up_rules') }}
),

clients as (
    select client_id, timezone, cast(nullif(joined_on, '') as date) as joined_on from {{ source('leadtrail', 'clients') }}
),

news as (
    select max(received_at) as last_known_at from {{ ref('fct_lead_events') }}
),

-- Mondays at nine on the client's clock, when its summary is to be written; as far ahead as the next one
mondays as (
    select
        clients.client_id, days.day,
        {{ utc_of("cast(cast(days.day as " ~ text_type() ~ ") || ' 09:00:00' as timestamp)", 'clients.timezone') }} as at_nine
    from clients
    cross join ({{ every_day() }}) as days
    cross join news
    where {{ weekday('days.day') }} = 1
        and days.day between cast(news.last_known_at as date) - 400 and cast(news.last_known_at as date) + 8
        and (clients.joined_on is null or days.day >= clients.joined_on)
),

-- what we asked for, with the lead it belongs to today
ours as (
    select outputs.*, events.lead_id, events.person_id
    from {{ ref('stg_leadtrail__outputs') }} as outputs
    left join {{ ref('fct_lead_events') }} as events
        on outputs.client_id = events.client_id and outputs.trigger_event_id = events.event_id
),

-- what becomes of our tasks: nobody took one up in time, and nobody else is asked by its own step; a complaint was made good
of_outputs as (
    select
        ours.client_id, 'task_stale' as trigger_kind, {{ id_of(["'task_stale'", 'ours.output_id']) }} as trigger_event_id, ours.lead_id, ours.person_id,
        ours.respond_by as happened_at, 'Nobody took up a task of ' || replace(ours.rule, '-', ' ') || '.' as what_happened
    from ours
    inner join {{ source('leadtrail', 'follow_up_rule_steps') }} as steps
        on ours.client_id = steps.client_id and ours.rule = steps.rule and ours.rule_version = steps.rule_version and ours.step_id = steps.step_id
    where ours.output_type = 'task' and ours.status = 'delivered' and ours.rule <> 'stale-task' and steps.escalations = '[]'
        and ours.respond_by is not null and (ours.acknowledged_at is null or ours.acknowledged_at > ours.respond_by)
    union all
    select
        client_id, 'complaint_resolved', {{ id_of(["'complaint_resolved'", 'output_id']) }}, lead_id, person_id, acknowledged_at,
        'The manager has seen to the complaint.'
    from ours
    where rule = 'bad-experience' and step_id = 'manager' and acknowledged_at is not null and lead_id is not null
),

-- what happens to a client, not to a lead
of_clients as (
    select client_id, 'summary_due' as trigger_kind, {{ id_of(["'summary_due'", 'client_id', 'day']) }} as trigger_event_id, at_nine as happened_at,
        'A new week: the summary of the last one is to be written.' as what_happened
    from mondays
    union all
    select client_id, 'client_joined', {{ id_of(["'client_joined'", 'client_id', 'joined_on']) }},
        {{ utc_of("cast(cast(joined_on as " ~ text_type() ~ ") || ' 09:00:00' as timestamp)", 'timezone') }},
        'The client joined the agency.'
    from clients
    where joined_on is not null
    union all
    select client_id, 'connection_warning', {{ id_of(["'connection_warning'", 'client_id', 'warning_id']) }}, {{ utc_timestamp('since') }}, what_happened
    from {{ source('leadtrail', 'connection_warnings') }}
    union all
    -- the list of what is too late to send is made when a hold ends; its step here has the same key, so it comes once
    select client_id, 'hold_cleared', hold_id, {{ utc_timestamp('cleared_at') }},
        evidence || ' ' || cast(left_over as {{ text_type() }}) || ' outputs waited until they were no longer true.'
    from {{ source('leadtrail', 'holds') }}
    where left_over > 0
),

triggers as (
    select
        client_id, trigger_kind, trigger_event_id, event_type, lead_id, person_id, triggered_at, known_at, counts_from, stops_after, in_hours, is_after_joining,
        urgency, channel, value_cents, is_repeat_customer, caller_day, timezone, visit_at, visit_on, cast(null as {{ text_type() }}) as what_happened
    from {{ ref('follow_up_triggers') }}
    union all
    select
        of_clients.client_id, trigger_kind, trigger_event_id, cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), cast(null as {{ text_type() }}), happened_at, happened_at,
        happened_at, happened_at, true, true, 'normal', cast(null as {{ text_type() }}), cast(null as bigint), false, cast(null as {{ text_type() }}), clients.timezone, cast(null as timestamp), cast(null as date), what_happened
    from of_clients
    inner join clients on of_clients.client_id = clients.client_id
    union all
    select
        of_outputs.client_id, trigger_kind, trigger_event_id, cast(null as {{ text_type() }}), lead_id, person_id, happened_at, happened_at,
        happened_at, happened_at, true, true, 'normal', cast(null as {{ text_type() }}), cast(null as bigint), false, cast(null as {{ text_type() }}), clients.timezone, cast(null as timestamp), cast(null as date), what_happened
    from of_outputs
    inner join clients on of_outputs.client_id = clients.client_id
),

-- where a lead is, for rules that are for some states only: its ZIP says so, else the area code of its phone, as far as they are known today
clues as (
    {%- for length in (5, 4, 3) %}
    select lead_id, {{ loop.index }} as place, 'zip' as kind, substr(zip_code, 1, {{ length }}) as prefix from {{ ref('follow_up_contacts') }} where zip_code is not null
    union all
    {%- endfor %}
    select lead_id, 4, 'area_code', substr(phone, 3, 3) from {{ ref('follow_up_contacts') }} where phone like '+1%'
),

states as (
    select clues.lead_id, places.state, row_number() over (partition by clues.lead_id order by clues.place) as place
    from clues
    inner join {{ source('leadtrail', 'us_places') }} as places on clues.kind = places.kind and clues.prefix = places.prefix
    where exists (select 1 from rules where rules.states <> '')
),

-- a trigger belongs to the version that was enabled when it became known, and stays with it
matched as (
    select
        triggers.*,
        rules.rule, rules.rule_version, rules.stops_on,
        case rules.once_per
            when 'event' then triggers.trigger_event_id
            when 'caller_day' then coalesce(triggers.caller_day, triggers.trigger_event_id)
            when 'client' then triggers.client_id
            else coalesce(triggers.lead_id, triggers.trigger_event_id)
        end as subject
    from rules
    inner join triggers
        on rules.client_id = triggers.client_id and rules.trigger = triggers.trigger_kind
        and triggers.known_at >= rules.enabled_from_at
        and (rules.enabled_until_at is null or triggers.known_at < rules.enabled_until_at)
    left join states on triggers.lead_id = states.lead_id and states.place = 1
    where (rules.urgencies = '' or rules.urgencies like '%|' || triggers.urgency || '|%')
        and (rules.channels = '' or rules.channels like '%|' || coalesce(triggers.channel, 'unknown') || '|%')
        and (rules.min_value_cents is null or triggers.value_cents >= rules.min_value_cents)
        and (rules.repeat_customer is null or triggers.is_repeat_customer = rules.repeat_customer)
        and (rules.in_hours is null or triggers.in_hours = rules.in_hours)
        and (not rules.after_joining or triggers.is_after_joining)
        -- one whose state nobody knows is none of theirs
        and (rules.states = '' or rules.states like '%|' || states.state || '|%')
),

-- a lead, an event, a caller's day or a client goes through a rule once, whatever happens again and whichever version is enabled by then
ranked as (
    select
        *,
        row_number() over (partition by client_id, rule, subject order by known_at, triggered_at, trigger_event_id) as place
    from matched
),

planned as (
    select
        ranked.*,
        steps.step_id, steps.step_number, steps.channel as step_channel, steps.template, steps.template_version, steps.owner_role, steps.priority,
        steps.respond_within_seconds, steps.escalations,
        {{ id_of(['ranked.client_id', 'ranked.rule', 'ranked.subject', 'steps.step_id']) }} as step_key,
        greatest(ranked.counts_from + cast(steps.after_seconds as integer) * interval '1' second, ranked.known_at) as asked_at,
        ranked.counts_from + cast(steps.after_seconds + steps.expires_after_seconds as integer) * interval '1' second as expires_at
    from ranked
    inner join {{ source('leadtrail', 'follow_up_rule_steps') }} as steps
        on ranked.client_id = steps.client_id and ranked.rule = steps.rule and ranked.rule_version = steps.rule_version
    where ranked.place = 1
),

-- signs that somebody is on it, or that it is over, in whatever system they were seen
signs as (
    {%- set kinds = {
        'reply': "event_type in ('text_received', 'email_received', 'marketplace_message_received', 'call_answered')",
        'booked': "event_type in ('job_booked', 'estimate_accepted', 'job_completed')",
        'paid': "event_type = 'payment_received' and value_cents > 0",
        'lost': "event_type in ('job_lost', 'estimate_declined')",
        'opt_out': "event_type = 'opted_out'",
        'human_takeover': "event_type in ('call_outbound_answered', 'call_outbound_unanswered', 'marketplace_message_sent', 'task_completed')
            or (event_type in ('text_sent', 'email_sent') and actor = 'staff')",
        'wrong_number': "event_type = 'text_received' and lower(text) like '%wrong number%'",
    } %}
    {%- for kind, condition in kinds.items() %}
    select person_id, '{{ kind }}' as sign, event_id, occurred_at, known_at
    from {{ ref('fct_lead_events') }}
    where person_id in (select person_id from planned) and ({{ condition }})
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

stops as (
    select
        planned.step_key, signs.sign, signs.event_id, signs.known_at,
        row_number() over (partition by planned.step_key order by signs.known_at, signs.occurred_at, signs.event_id, signs.sign) as place
    from planned
    inner join signs on planned.person_id = signs.person_id
    where signs.occurred_at > planned.stops_after
        and signs.event_id <> planned.trigger_event_id
        and planned.stops_on like '%|' || signs.sign || '|%'
),

first_stops as (
    select step_key, sign, event_id, known_at from stops where place = 1
),

stopped as (
    select
        planned.*,
        first_stops.sign as stop_reason, first_stops.event_id as stopped_by_event_id, first_stops.known_at as stopped_at,
        coalesce(first_stops.known_at <= planned.asked_at, false) as is_stopped
    from planned
    left join first_stops on planned.step_key = first_stops.step_key
),

-- while an urgent task is open, nothing of a sequence may go to that lead: from when it is asked for until somebody is on it, or it is too late
urgent as (
    select client_id, lead_id, step_key, asked_at as open_from, least(expires_at, coalesce(stopped_at, expires_at)) as open_until
    from stopped
    where priority = 'urgent' and lead_id is not null and not is_stopped and asked_at < expires_at
),

behind as (
    select stopped.step_key, max(urgent.open_until) as free_at
    from stopped
    inner join urgent on stopped.client_id = urgent.client_id and stopped.lead_id = urgent.lead_id
    where stopped.priority = 'nurture' and stopped.asked_at >= urgent.open_from and stopped.asked_at < urgent.open_until
    group by stopped.step_key
),

timed as (
    select
        stopped.*,
        greatest(stopped.asked_at, coalesce(behind.free_at, stopped.asked_at)) as due_at,
        behind.free_at is not null as waits_for_urgent
    from stopped
    left join behind on stopped.step_key = behind.step_key
),

-- the keys of what was asked for under the ids that a lead had before it turned out to be this one
former as (
    select client_id, lead_id, rule, step_id, {{ text_list('former_key', 'former_key', ',') }} as former_step_keys
    from (
        select distinct client_id, lead_id, rule, step_id, {{ id_of(['client_id', 'rule', 'lead_id_then', 'step_id']) }} as former_key
        from ours
        where lead_id_then <> lead_id
    ) as keys
    group by client_id, lead_id, rule, step_id
),

final as (
    select
        timed.step_key,
        coalesce(former.former_step_keys, '') as former_step_keys,
        timed.client_id,
        timed.rule,
        timed.rule_version,
        timed.step_id,
        cast(timed.step_number as bigint) as step_number,
        timed.subject,
        timed.lead_id,
        timed.person_id,
        timed.trigger_kind as trigger,
        timed.trigger_event_id,
        timed.triggered_at,
        timed.known_at,
        timed.due_at,
        timed.expires_at,
        timed.step_channel as channel,
        timed.template,
        timed.template_version,
        timed.owner_role,
        timed.priority,
        cast(timed.respond_within_seconds as bigint) as respond_within_seconds,
        timed.escalations,
        timed.visit_at,
        timed.visit_on,
        case
            when timed.stopped_at <= timed.due_at then 'stopped'
            when timed.due_at >= timed.expires_at then 'expired'
            else 'due'
        end as state,
        timed.waits_for_urgent,
        timed.stopped_by_event_id,
        timed.stop_reason,
        timed.stopped_at,
        coalesce(timed.what_happened, types.description) || ' (' || substr(cast({{ wall_clock('timed.triggered_at', 'timed.timezone') }} as {{ text_type() }}), 1, 16) || ')' as why,
        news.last_known_at as as_of
    from timed
    cross join news
    left join {{ ref('event_types') }} as types on timed.event_type = types.event_type
    left join former
        on timed.client_id = former.client_id and timed.subject = former.lead_id and timed.rule = former.rule and timed.step_id = former.step_id
)

select * from final
