-- What the data-driven model says of bookings that had touches, and how sure it is: computed again without each of 32 groups of leads
-- (a jackknife), the spread gives the interval.
with shares as (
    select
        client_id, left_out, channel,
        sum(booked * credit) * 1.0 / {{ all_credit() }} as booked,
        sum(booked * credit) as weight
    from {{ ref('int_channel_shares') }}
    group by client_id, left_out, channel
),

shared as (
    select
        shares.*,
        cast(weight as {{ double_type() }}) / nullif(sum(weight) over (partition by client_id, left_out), 0) as share
    from shares
),

spread as (
    select
        client_id, channel,
        max(case when left_out = 'none' then booked end) as booked,
        max(case when left_out = 'none' then share end) as share,
        sqrt(31.0 * var_pop(case when left_out <> 'none' then share end)) as standard_error
    from shared
    group by client_id, channel
)

-- 2.04: 95 % of Student's t with 31 degrees of freedom
select
    client_id || '|' || channel as client_channel,
    client_id,
    channel,
    cast(booked as decimal(18, 6)) as booking_credit,
    cast(share as decimal(9, 6)) as share_of_bookings,
    cast(greatest(share - 2.04 * standard_error, 0) as decimal(9, 6)) as share_low,
    cast(least(share + 2.04 * standard_error, 1) as decimal(9, 6)) as share_high
from spread
