-- What a client may be told of a week or a month. A figure speaks of at least k people, and so does whatever two or more of these figures
-- tell when they are subtracted: for that there must be a way to cut each client's days so that every figure shown is made of whole
-- pieces, and every piece is k people. The pieces are the shown weeks (those that lie in two months, in two pieces) and, in
-- each month, the rest of it. docs/decisions/client-safe-figures.md has the proof, and what it costs.
{%- set k = var('client_safe_k') %}
{%- set of_one = 'client_id, figure, currency' %}
with periods as (
    select client_id, kind, period_start, as_of from {{ ref('client_periods') }} where is_over
),

counted as (
    select client_id, figure, part, coalesce(currency, '') as currency, kind, period_start, week_start, month_start, value, people, people_new_in_month, people_of_no_part_before
    from {{ ref('period_figures') }}
    where figure <> 'response_time'
),

week_parts as (
    select * from counted where kind = 'week_part'
),

-- a week is a piece, or two: each of them k people. Split further (answered and missed) it is shown only if every split piece is, too
weeks as (
    select
        {{ of_one }}, week_start,
        min(case when part = 'all' then people end) >= {{ k }} as is_whole_shown,
        figure = 'calls' and min(people) >= {{ k }} and count(distinct part) = 3 as are_parts_shown
    from week_parts
    group by {{ of_one }}, week_start
),

-- what of a month no week has shown is a piece as well; of channels weeks show nothing
rests as (
    select
        week_parts.client_id, week_parts.figure, week_parts.currency, week_parts.part, week_parts.month_start,
        sum(week_parts.people_new_in_month) as people
    from week_parts
    inner join weeks
        on week_parts.client_id = weeks.client_id and week_parts.figure = weeks.figure
        and week_parts.currency = weeks.currency and week_parts.week_start = weeks.week_start
    where not case when week_parts.part = 'all' then weeks.is_whole_shown else weeks.are_parts_shown end
    group by week_parts.client_id, week_parts.figure, week_parts.currency, week_parts.part, week_parts.month_start
),

months as (
    select
        counted.*,
        counted.people >= {{ k }} and coalesce(rests.people, {{ k }}) >= {{ k }} as is_enough
    from counted
    left join rests
        on counted.client_id = rests.client_id and counted.figure = rests.figure
        and counted.currency = rests.currency and counted.part = rests.part and counted.month_start = rests.month_start
    where counted.kind = 'month'
),

shown_periods as (
    select {{ of_one }}, 'week' as kind, week_start as period_start, is_whole_shown, are_parts_shown from weeks

    union all

    select
        {{ of_one }}, 'month', month_start,
        min(case when part = 'all' then case when is_enough then 1 else 0 end end) = 1,
        figure = 'calls' and min(case when is_enough then 1 else 0 end) = 1 and count(distinct part) = 3
    from months
    group by {{ of_one }}, month_start
),

-- channels of too few people go into the rest, and if that is too few itself, the smallest of the others with them
channels as (
    select
        months.client_id, months.month_start, months.currency, months.part, months.value, months.people, months.people_of_no_part_before,
        months.people >= {{ k }} as is_enough,
        row_number() over (
            partition by months.client_id, months.month_start
            order by case when months.people >= {{ k }} then 0 else 1 end, months.people, months.part
        ) as place
    from months
    inner join shown_periods as shown
        on shown.kind = 'month' and months.client_id = shown.client_id and months.figure = shown.figure
        and months.currency = shown.currency and months.month_start = shown.period_start and shown.is_whole_shown
    where months.figure = 'leads' and months.part <> 'all'
),

leftovers as (
    select
        client_id, month_start,
        sum(case when not is_enough then 1 else 0 end) > 0
            and sum(case when not is_enough then people_of_no_part_before else 0 end) < {{ k }} as are_too_few
    from channels
    group by client_id, month_start
),

named_channels as (
    select
        channels.client_id, channels.month_start, channels.currency, channels.value, channels.people, channels.people_of_no_part_before,
        case when channels.is_enough and not (channels.place = 1 and leftovers.are_too_few) then channels.part else 'other' end as part
    from channels
    inner join leftovers on channels.client_id = leftovers.client_id and channels.month_start = leftovers.month_start
),

by_channel as (
    select
        client_id, 'month' as kind, month_start as period_start, 'leads_by_channel' as figure, part, currency,
        sum(value) as value,
        -- one who came by two small channels is one: those who can be told apart for certain
        case when count(*) = 1 then max(people) else greatest(max(people), sum(people_of_no_part_before)) end as people,
        true as is_shown
    from named_channels
    group by client_id, month_start, part, currency
),

-- which figures a client has at all; one that has them has them in every period, if only to say that they are few
known as (
    select distinct {{ of_one }} from counted
),

wholes as (
    select
        periods.client_id, periods.kind, periods.period_start, known.figure, 'all' as part, known.currency, counted.value,
        coalesce(counted.people, 0) as people,
        coalesce(shown.is_whole_shown, false) as is_shown
    from periods
    inner join known on periods.client_id = known.client_id
    left join counted
        on counted.part = 'all' and periods.client_id = counted.client_id and periods.kind = counted.kind
        and periods.period_start = counted.period_start and known.figure = counted.figure and known.currency = counted.currency
    left join shown_periods as shown
        on periods.client_id = shown.client_id and periods.kind = shown.kind and periods.period_start = shown.period_start
        and known.figure = shown.figure and known.currency = shown.currency
),

missed as (
    select
        wholes.client_id, wholes.kind, wholes.period_start, 'missed_calls' as figure, 'all' as part, wholes.currency, counted.value,
        coalesce(counted.people, 0) as people,
        coalesce(shown.are_parts_shown, false) as is_shown
    from wholes
    left join counted
        on counted.figure = 'calls' and counted.part = 'missed' and wholes.client_id = counted.client_id
        and wholes.kind = counted.kind and wholes.period_start = counted.period_start
    left join shown_periods as shown
        on shown.figure = 'calls' and wholes.client_id = shown.client_id
        and wholes.kind = shown.kind and wholes.period_start = shown.period_start
    where wholes.figure = 'calls'
),

-- a median adds up to nothing; told to the minute, it is nobody's own time
waited as (
    select
        waits.client_id, waits.kind, waits.period_start, 'response_time' as figure, 'all' as part, '' as currency,
        cast(round(waits.value / 60.0) * 60 as bigint) as value,
        waits.people,
        waits.people >= {{ k }} as is_shown
    from {{ ref('period_figures') }} as waits
    inner join periods
        on waits.client_id = periods.client_id and waits.kind = periods.kind and waits.period_start = periods.period_start
    where waits.figure = 'response_time'
),

together as (
    select * from wholes
    union all
    select * from missed
    union all
    select by_channel.* from by_channel
    inner join periods
        on by_channel.client_id = periods.client_id and by_channel.kind = periods.kind and by_channel.period_start = periods.period_start
    where exists (select 1 from by_channel as named where named.client_id = by_channel.client_id and named.period_start = by_channel.period_start and named.part <> 'other')
    union all
    select * from waited
),

sources as (
    select client_id, provider, last_success_at from {{ ref('sync_health') }} where last_success_at is not null
),

read_until as (
    select
        client_id,
        min(case when provider = 'callrail' then last_success_at end) as calls_until,
        min(case when provider = 'quickbooks' then last_success_at end) as books_until,
        min(case when provider <> 'search_console' then last_success_at end) as all_until
    from sources
    group by client_id
)

select
    together.client_id || '|' || together.kind || '|' || cast(together.period_start as {{ text_type() }}) || '|' || together.figure
        || case when together.part <> 'all' then '|' || together.part else '' end
        || case when together.currency <> '' then '|' || together.currency else '' end as figure_id,
    together.client_id,
    together.kind,
    together.period_start,
    together.figure,
    together.part,
    case together.figure when 'revenue' then 'cents' when 'response_time' then 'seconds' else 'count' end as unit,
    nullif(together.currency, '') as currency,
    cast(case when together.is_shown then together.value end as bigint) as value,
    cast(case when together.is_shown then together.people end as bigint) as k,
    not together.is_shown as is_suppressed,
    case when together.is_shown then null when together.people < {{ k }} then 'few' else 'subtraction' end as suppressed_because,
    coalesce(
        case
            when together.figure in ('calls', 'missed_calls') then read_until.calls_until
            when together.figure = 'revenue' then read_until.books_until
            when together.figure in ('messages_sent', 'tasks_given') then periods.as_of
            else read_until.all_until
        end,
        periods.as_of
    ) as data_until
from together
inner join periods
    on together.client_id = periods.client_id and together.kind = periods.kind and together.period_start = periods.period_start
left join read_until on together.client_id = read_until.client_id
