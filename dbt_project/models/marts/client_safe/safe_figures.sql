-- What a client may be told of a week or a month. A figure speaks of at least k people, and so does whatever two or more figures tell when
-- they are subtracted. For that, days are cut where a week or a month begins, into pieces. A piece of k people is known. A week shows its
-- known pieces. A month shows all of itself if what is not known of it is k people too (or nothing); else its known pieces as well.
-- So all that is shown is made of whole pieces of k people each. docs/decisions/client-safe-figures.md has the proof, and the cost.
{%- set k = var('client_safe_k') %}
{%- set of_one = 'client_id, figure, currency' %}
with periods as (
    select client_id, kind, period_start, as_of from {{ ref('client_periods') }} where is_over
),

counted as (
    select
        client_id, figure, part, coalesce(currency, '') as currency, kind, period_start, week_start, month_start,
        value, people, people_new_in_month, people_of_no_part_before
    from {{ ref('period_figures') }}
    where figure <> 'response_time'
),

-- calls are told apart into answered and missed only where both are k people: one is the rest of the other
pieces as (
    select
        {{ of_one }}, week_start, month_start, part, value, people, people_new_in_month,
        case
            when part = 'all' then people >= {{ k }}
            else min(people) over (partition by {{ of_one }}, week_start, month_start) >= {{ k }}
                and count(*) over (partition by {{ of_one }}, week_start, month_start) = 3
        end as is_known
    from counted
    where kind = 'week_part' and (part = 'all' or figure = 'calls')
),

sums as (
    {% for kind in ['week', 'month'] %}
    select
        {{ of_one }}, '{{ kind }}' as kind, {{ kind }}_start as period_start, part,
        sum(case when is_known then value end) as known_value,
        greatest(max(case when is_known then people end), sum(case when is_known then people_new_in_month end)) as known_people,
        sum(case when is_known then 0 else 1 end) as unknown_pieces,
        sum(case when is_known then 0 else people_new_in_month end) as unknown_people
    from pieces
    group by {{ of_one }}, {{ kind }}_start, part
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

-- of each week and month: all of it, what is known of it, or nothing
decided as (
    select
        sums.*, counted.value, counted.people,
        case
            when counted.people < {{ k }} then 'few'
            when sums.unknown_pieces = 0 then 'all'
            when sums.kind = 'month' and min(case when sums.unknown_pieces > 0 then sums.unknown_people else {{ k }} end)
                over (partition by sums.client_id, sums.figure, sums.currency, sums.kind, sums.period_start, case when sums.part = 'all' then 1 else 0 end) >= {{ k }} then 'all'
            when sums.known_value is not null and sums.unknown_people < {{ k }} then 'known'
            else 'subtraction'
        end as is_told
    from sums
    inner join counted
        on sums.client_id = counted.client_id and sums.figure = counted.figure and sums.currency = counted.currency
        and sums.kind = counted.kind and sums.period_start = counted.period_start and sums.part = counted.part
),

told as (
    select
        client_id, kind, period_start, case when part = 'missed' then 'missed_calls' else figure end as figure, currency, is_told,
        case is_told when 'all' then value when 'known' then known_value end as value,
        case is_told when 'all' then people when 'known' then known_people end as k
    from decided
    where part in ('all', 'missed')
),

-- which figures a client has at all; who has them has them in every period, if only to hear that they are few
figures as (
    select distinct client_id, figure, currency from counted
    union
    select distinct client_id, 'missed_calls', currency from counted where figure = 'calls'
),

wholes as (
    select
        periods.client_id, periods.kind, periods.period_start, figures.figure, 'all' as part, figures.currency, told.value, told.k,
        coalesce(told.is_told, 'few') as is_told
    from periods
    inner join figures on periods.client_id = figures.client_id
    left join told
        on periods.client_id = told.client_id and periods.kind = told.kind and periods.period_start = told.period_start
        and figures.figure = told.figure and figures.currency = told.currency
),

-- a source that a visitor or a form made up is no name to show a client
own_words as (
    select distinct channel from {{ ref('marketing_channels') }}
),

-- of months that are told whole. Channels of too few people go into the rest, and if that is too few itself, the smallest other one with them
channels as (
    select
        counted.client_id, counted.period_start, counted.part, counted.value, counted.people, counted.people_of_no_part_before,
        counted.people >= {{ k }} and own_words.channel is not null as is_enough,
        row_number() over (
            partition by counted.client_id, counted.period_start
            order by case when counted.people >= {{ k }} and own_words.channel is not null then 0 else 1 end, counted.people, counted.part
        ) as place
    from counted
    inner join wholes
        on wholes.figure = 'leads' and wholes.kind = 'month' and wholes.is_told = 'all'
        and counted.client_id = wholes.client_id and counted.period_start = wholes.period_start
    left join own_words on counted.part = own_words.channel
    where counted.figure = 'leads' and counted.kind = 'month' and counted.part <> 'all'
),

leftovers as (
    select
        client_id, period_start,
        sum(case when not is_enough then 1 else 0 end) > 0
            and sum(case when not is_enough then people_of_no_part_before else 0 end) < {{ k }} as are_too_few
    from channels
    group by client_id, period_start
),

named_channels as (
    select
        channels.client_id, channels.period_start, channels.value, channels.people, channels.people_of_no_part_before,
        case when channels.is_enough and not (channels.place = 1 and leftovers.are_too_few) then channels.part else 'other' end as part
    from channels
    inner join leftovers on channels.client_id = leftovers.client_id and channels.period_start = leftovers.period_start
),

by_channel as (
    select
        client_id, 'month' as kind, period_start, 'leads_by_channel' as figure, part, '' as currency,
        sum(value) as value,
        greatest(max(people), sum(people_of_no_part_before)) as k,
        'all' as is_told
    from named_channels
    group by client_id, period_start, part
),

-- a median adds up to nothing; told to the minute, it is nobody's own time
waited as (
    select
        waits.client_id, waits.kind, waits.period_start, 'response_time' as figure, 'all' as part, '' as currency,
        cast(round(waits.value / 60.0) * 60 as bigint) as value,
        waits.people as k,
        case when waits.people >= {{ k }} then 'all' else 'few' end as is_told
    from {{ ref('period_figures') }} as waits
    inner join periods
        on waits.client_id = periods.client_id and waits.kind = periods.kind and waits.period_start = periods.period_start
    where waits.figure = 'response_time'
),

together as (
    select * from wholes
    union all
    select * from by_channel
    union all
    select * from waited
),

read_until as (
    select
        client_id,
        min(case when provider = 'callrail' then last_success_at end) as calls_until,
        min(case when provider = 'quickbooks' then last_success_at end) as books_until,
        min(case when provider <> 'search_console' then last_success_at end) as all_until
    from {{ ref('sync_health') }}
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
    case when together.figure in ('invoiced', 'revenue') then 'cents' when together.figure = 'response_time' then 'seconds' else 'count' end as unit,
    nullif(together.currency, '') as currency,
    cast(case when together.is_told in ('all', 'known') then together.value end as bigint) as value,
    cast(case when together.is_told in ('all', 'known') then together.k end as bigint) as k,
    together.is_told = 'known' as leaves_out_few,
    together.is_told not in ('all', 'known') as is_suppressed,
    case when together.is_told not in ('all', 'known') then together.is_told end as suppressed_because,
    coalesce(
        case
            when together.figure in ('calls', 'missed_calls') then read_until.calls_until
            when together.figure in ('invoiced', 'revenue') then read_until.books_until
            when together.figure in ('messages_sent', 'tasks_given') then periods.as_of
            else read_until.all_until
        end,
        periods.as_of
    ) as data_until
from together
inner join periods
    on together.client_id = periods.client_id and together.kind = periods.kind and together.period_start = periods.period_start
left join read_until on together.client_id = read_until.client_id
