{{ config(materialized='table') }}
-- Credit by the data-driven model, for clients with enough leads to learn from. New leads change what was learnt, and with it the credit of
-- old conversions: so it is computed anew, beside the models that are rules.
with shown as (
    select distinct client_id from {{ ref('int_channel_shares') }}
),

conversions as (
    select conversions.*
    from {{ ref('int_conversions') }} as conversions
    inner join shown on conversions.client_id = shown.client_id
),

paths as (
    select lead_id, channel_set
    from {{ ref('int_touches') }}
    where touch_number = 1 and is_credited
),

shares as (
    select client_id, channel_set, channel, credit
    from {{ ref('int_channel_shares') }}
    where left_out = 'none' and credit > 0
),

touches as (
    select lead_id, channel, count(*) as touches
    from {{ ref('int_touches') }}
    where is_credited and client_id in (select client_id from shown)
    group by lead_id, channel
),

credits as (
    select
        conversions.*, coalesce(shares.channel, 'unattributed') as channel, coalesce(touches.touches, 0) as touches,
        coalesce(shares.credit, {{ all_credit() }}) as credit, {{ all_credit() }} as all_credit
    from conversions
    left join paths on conversions.lead_id = paths.lead_id
    left join shares on conversions.client_id = shares.client_id and paths.channel_set = shares.channel_set
    left join touches on conversions.lead_id = touches.lead_id and shares.channel = touches.channel
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
