{{ config(materialized='table') }}
-- What each channel of a set of channels adds, learnt from the client's own leads: its Shapley value in the set, where a set is worth the
-- share of its leads that booked. Learnt once from all leads and once without each of 32 groups of leads, which tells how sure it is.
-- docs/decisions/attribution-data-driven.md says what is counted and why.
{%- set groups = [] -%}
{%- for digit in '0123456789abcdef' -%}{%- do groups.extend([digit ~ '-', digit ~ '+']) -%}{%- endfor -%}
{%- set most = 5 -%}
{%- set factorials = [1, 1, 2, 6, 24, 120] %}
with touches as (
    select client_id, lead_id, touch_number, channel, channel_set, is_booked
    from {{ ref('int_touches') }}
    where is_credited
),

paths as (
    select
        client_id, channel_set,
        substr(lead_id, 1, 1) || case when substr(lead_id, 2, 1) < '8' then '-' else '+' end as lead_group,
        count(*) as leads,
        sum(case when is_booked then 1 else 0 end) as booked
    from touches
    where touch_number = 1
    group by 1, 2, 3
),

shown as (
    select client_id
    from paths
    group by client_id
    having sum(leads) >= {{ var('data_driven_min_paths') }} and sum(booked) >= {{ var('data_driven_min_booked') }}
),

left_out as (
    select 'none' as left_out
    {%- for name in groups %} union all select '{{ name }}'{% endfor %}
),

sets as (
    select paths.client_id, paths.channel_set, sum(paths.leads) as leads, sum(paths.booked) as booked
    from paths
    inner join shown on paths.client_id = shown.client_id
    group by paths.client_id, paths.channel_set
),

counts as (
    select
        sets.client_id, left_out.left_out, sets.channel_set,
        sets.leads - coalesce(paths.leads, 0) as leads,
        sets.booked - coalesce(paths.booked, 0) as booked
    from sets
    cross join left_out
    left join paths
        on sets.client_id = paths.client_id and sets.channel_set = paths.channel_set and left_out.left_out = paths.lead_group
),

averages as (
    select client_id, left_out, sum(booked) * 1.0 / sum(leads) as booking_rate
    from counts
    group by client_id, left_out
),

-- channels of each set that any lead went through, numbered
members as (
    select
        client_id, channel_set, channel,
        row_number() over (partition by client_id, channel_set order by channel) as place,
        count(*) over (partition by client_id, channel_set) as size
    from (select distinct client_id, channel_set, channel from touches) as channels
    where client_id in (select client_id from shown)
),

bits as (
    {%- for place in range(1, most + 1) %}
    select {{ place }} as place, {{ 2 ** (place - 1) }} as bit {{ 'union all' if not loop.last }}
    {%- endfor %}
),

masks as (
    {%- for mask in range(1, 2 ** most) %}
    select {{ mask }} as mask {{ 'union all' if not loop.last }}
    {%- endfor %}
),

subsets as (
    select
        members.client_id, members.channel_set, members.size, masks.mask, count(*) as subset_size,
        {{ text_list('members.channel', 'members.channel', ' + ') }} as subset
    from members
    inner join bits on members.place = bits.place
    inner join masks on (masks.mask & bits.bit) > 0
    where members.size between 2 and {{ most }}
        and masks.mask < case members.size {% for size in range(2, most + 1) %}when {{ size }} then {{ 2 ** size }} {% endfor %}end
    group by members.client_id, members.channel_set, members.size, masks.mask
),

-- in whole billionths, so that sums come out the same in any order
subset_rates as (
    select
        subsets.client_id, averages.left_out, subsets.channel_set, subsets.size, subsets.mask, subsets.subset_size,
        cast(round(1000000000 * (
            (coalesce(counts.booked, 0) + {{ var('data_driven_prior_leads') }} * averages.booking_rate)
            / (coalesce(counts.leads, 0) + {{ var('data_driven_prior_leads') }})
        )) as bigint) as booking_rate
    from subsets
    inner join averages on subsets.client_id = averages.client_id
    left join counts
        on subsets.client_id = counts.client_id and subsets.subset = counts.channel_set and averages.left_out = counts.left_out
),

-- how many orders of a set's channels each subset stands for: with the channel as the last to join, or just before it joins
orders as (
    {%- for size in range(2, most + 1) %}
    {%- for subset_size in range(1, size + 1) %}
    select {{ size }} as size, {{ subset_size }} as subset_size, true as is_in, {{ factorials[subset_size - 1] * factorials[size - subset_size] }} as orders
    union all
    select {{ size }}, {{ subset_size }}, false, {{ -factorials[subset_size] * factorials[size - subset_size - 1] if subset_size < size else 0 }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

shapley as (
    select
        subset_rates.client_id, subset_rates.left_out, subset_rates.channel_set, members.channel,
        sum(subset_rates.booking_rate * orders.orders) as value
    from subset_rates
    inner join members on subset_rates.client_id = members.client_id and subset_rates.channel_set = members.channel_set
    inner join bits on members.place = bits.place
    inner join orders
        on subset_rates.size = orders.size and subset_rates.subset_size = orders.subset_size
        and ((subset_rates.mask & bits.bit) > 0) = orders.is_in
    group by subset_rates.client_id, subset_rates.left_out, subset_rates.channel_set, members.channel
),

-- a channel that takes bookings away gets nothing; one alone gets all; sets too large to learn from are shared equally
weights as (
    select
        members.client_id, averages.left_out, members.channel_set, members.channel,
        cast(coalesce(greatest(shapley.value, 0), 1) as bigint) as weight
    from members
    inner join averages on members.client_id = averages.client_id
    left join shapley
        on members.client_id = shapley.client_id and members.channel_set = shapley.channel_set and members.channel = shapley.channel
        and averages.left_out = shapley.left_out
),

totalled as (
    select
        weights.client_id, weights.left_out, weights.channel_set, weights.channel, weights.weight,
        cast(sum(weights.weight) over (partition by weights.client_id, weights.left_out, weights.channel_set) as bigint) as total,
        {{ all_credit() }} as all_credit, coalesce(counts.leads, 0) as leads, coalesce(counts.booked, 0) as booked
    from weights
    left join counts
        on weights.client_id = counts.client_id and weights.channel_set = counts.channel_set and weights.left_out = counts.left_out
)

select client_id, left_out, channel_set, channel, leads, booked, part as credit
from (
    {{ shared_out('totalled', ['client_id', 'left_out', 'channel_set', 'channel', 'leads', 'booked'],
        ['client_id', 'left_out', 'channel_set'], 'all_credit', 'weight', 'total') }}
) as shared
