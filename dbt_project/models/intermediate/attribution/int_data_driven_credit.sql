{{ config(materialized='table') }}
-- Credit by the data-driven model, of leads with several channels, for clients with enough leads to learn from. New leads change what was
-- learnt, and with it the credit of old conversions: so it is computed anew, beside the models that are rules.
with shares as (
    select client_id, channel_set, channel, credit
    from {{ ref('int_channel_shares') }}
    where left_out = 'none' and credit > 0 and channel <> channel_set
),

paths as (
    select client_id, lead_id, channel_set, channel, count(*) as touches
    from {{ ref('int_touches') }}
    where is_credited and channel <> channel_set
    group by client_id, lead_id, channel_set, channel
),

credits as (
    select conversions.*, shares.channel, paths.touches, shares.credit, {{ all_credit() }} as all_credit
    from shares
    inner join paths on shares.client_id = paths.client_id and shares.channel_set = paths.channel_set and shares.channel = paths.channel
    inner join {{ ref('int_conversions') }} as conversions on paths.lead_id = conversions.lead_id
)

select
    conversion_id, client_id, lead_id, conversion_type, converted_at, converted_month, currency, 'data_driven' as model, channel, touches,
    credit, part as revenue_cents, cluster_id
from (
    {{ shared_out('credits', [
        'conversion_id', 'client_id', 'lead_id', 'conversion_type', 'converted_at', 'converted_month', 'currency', 'channel', 'touches', 'credit',
        'cluster_id',
    ], ['conversion_id'], 'revenue_cents', 'credit', 'all_credit') }}
) as shared
