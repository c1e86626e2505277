{{ config(meta={'dagster': {'ref': {'name': 'fct_marketplace_fees'}}}) }}
-- Sums of dollars and something else mean nothing: enter costs in the currency of the marketplace's fees.
select client_id, month, channel, count(distinct currency) as currencies
from (
    select client_id, cast(date_trunc('month', month) as date) as month, channel, currency from {{ ref('marketing_costs') }}
    union all
    select client_id, month, channel, currency from {{ ref('fct_marketplace_fees') }}
) as costs
group by client_id, month, channel
having count(distinct currency) > 1
