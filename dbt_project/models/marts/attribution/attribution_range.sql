-- How much the answer depends on the model. If the order of channels is the same in all of them, the choice of a model decides nothing.
{%- set models = ['first', 'last', 'linear', 'position_based', 'w_shaped', 'time_decay', 'data_driven'] %}
with credited as (
    select client_id, 'all' as period, channel, model, currency, booking_credit, revenue_cents
    from {{ ref('attribution_by_channel') }}

    union all

    select client_id, substr(cast(month as {{ text_type() }}), 1, 7), channel, model, currency, booking_credit, revenue_cents
    from {{ ref('attribution_by_channel') }}
),

summed as (
    select client_id, period, currency, channel, model, sum(booking_credit) as booking_credit, sum(revenue_cents) as revenue_cents
    from credited
    group by client_id, period, currency, channel, model
),

-- a channel that a model gives nothing has a share of 0 there, and the last place
every_one as (
    select channels.client_id, channels.period, channels.currency, channels.channel, shown.model
    from (select distinct client_id, period, currency, channel from summed) as channels
    inner join (select distinct client_id, period, currency, model from summed) as shown
        on channels.client_id = shown.client_id and channels.period = shown.period and channels.currency = shown.currency
),

filled as (
    select every_one.*, coalesce(summed.booking_credit, 0) as booking_credit, coalesce(summed.revenue_cents, 0) as revenue_cents
    from every_one
    left join summed
        on every_one.client_id = summed.client_id and every_one.period = summed.period and every_one.currency = summed.currency
        and every_one.channel = summed.channel and every_one.model = summed.model
),

ranked as (
    select
        filled.*,
        cast(booking_credit as {{ double_type() }})
            / nullif(cast(sum(booking_credit) over (partition by client_id, period, currency, model) as {{ double_type() }}), 0) as share_of_bookings,
        -- of a total of nothing, or of more refunded than paid, nobody has a share
        case when sum(revenue_cents) over (partition by client_id, period, currency, model) > 0
            then cast(revenue_cents as {{ double_type() }})
                / cast(sum(revenue_cents) over (partition by client_id, period, currency, model) as {{ double_type() }}) end as share_of_revenue,
        -- nobody can put money into "unattributed": it has no place
        case when channel <> 'unattributed' then rank() over (
            partition by client_id, period, currency, model, case when channel = 'unattributed' then 1 else 0 end order by revenue_cents desc
        ) end as place
    from filled
),

ranges as (
    select
        client_id, period, currency, channel,
        min(share_of_bookings) as least_share_of_bookings,
        max(share_of_bookings) as most_share_of_bookings,
        min(share_of_revenue) as least_share_of_revenue,
        max(share_of_revenue) as most_share_of_revenue,
        min(revenue_cents) as least_revenue_cents,
        max(revenue_cents) as most_revenue_cents,
        {%- for model in models %}
        max(case when model = '{{ model }}' then place end) as place_{{ model }},
        {%- endfor %}
        coalesce(min(place) <> max(place), false) as place_changes
    from ranked
    group by client_id, period, currency, channel
)

select
    client_id || '|' || period || '|' || channel || '|' || currency as range_key,
    client_id,
    period,
    channel,
    currency,
    cast(least_share_of_bookings as decimal(9, 6)) as least_share_of_bookings,
    cast(most_share_of_bookings as decimal(9, 6)) as most_share_of_bookings,
    cast(least_share_of_revenue as decimal(18, 6)) as least_share_of_revenue,
    cast(most_share_of_revenue as decimal(18, 6)) as most_share_of_revenue,
    cast(least_revenue_cents as bigint) as least_revenue_cents,
    cast(most_revenue_cents as bigint) as most_revenue_cents,
    {%- for model in models %}
    cast(place_{{ model }} as bigint) as place_{{ model }},
    {%- endfor %}
    place_changes,
    max(case when place_changes then 1 else 0 end) over (partition by client_id, period, currency) = 1 as decision_changes
from ranges
