-- The answer to "which channel pays?", one model at a time.
select
    client_id || '|' || cast(converted_month as {{ text_type() }}) || '|' || channel || '|' || model || '|' || currency as channel_key,
    client_id,
    converted_month as month,
    channel,
    model,
    currency,
    cast(coalesce(sum(case when conversion_type = 'booking' then credit end), 0) as decimal(18, 6)) as booking_credit,
    cast(coalesce(sum(case when conversion_type <> 'booking' then credit end), 0) as decimal(18, 6)) as money_credit,
    cast(sum(revenue_cents) as bigint) as revenue_cents
from {{ ref('fct_attribution_credit') }}
group by client_id, converted_month, channel, model, currency
