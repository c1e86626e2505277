{{ config(meta={'dagster': {'ref': {'name': 'fct_attribution_credit'}}}) }}
-- Per conversion and model: credit is exactly 1, and revenue exactly the conversion's. A model that the client is not shown has no rows: that
-- is not a failure. A conversion that a shown model leaves out, or counts twice, is one.
-- This runs in every build over all credit. Most conversions go whole to one channel, so only shared ones are summed by model; `given` counts
-- how often each model gave a conversion, whole or in parts, two digits for each model.
{%- set given -%}
case model
    {%- for model in ['first', 'last', 'linear', 'position_based', 'w_shaped', 'time_decay', 'data_driven'] %} when '{{ model }}' then {{ 100 ** loop.index0 }}{% endfor %}
end
{%- endset %}
with shared as (
    select conversion_id, model, sum(credit) as credit, sum(revenue_cents) as revenue_cents
    from {{ ref('fct_attribution_credit') }}
    where credit < 1
    group by conversion_id, model
),

in_parts as (
    select
        conversion_id, sum({{ given }}) as given, min(credit) as least_credit, max(credit) as most_credit,
        min(revenue_cents) as least_cents, max(revenue_cents) as most_cents
    from shared
    group by conversion_id
),

whole as (
    select conversion_id, sum({{ given }}) as given, min(revenue_cents) as least_cents, max(revenue_cents) as most_cents
    from {{ ref('fct_attribution_credit') }}
    where credit = 1
    group by conversion_id
),

conversions as (
    select conversion_id, client_id, revenue_cents from {{ ref('int_conversions') }}
    union all
    select conversion_id, client_id, revenue_cents from {{ ref('int_unowned_money') }}
),

shown as (
    select client_id, sum({{ given }}) as given from {{ ref('attribution_models') }} where is_shown group by client_id
)

select conversions.conversion_id, shown.given as should_be_given, whole.given as given_whole, in_parts.given as given_in_parts
from conversions
inner join shown on conversions.client_id = shown.client_id
left join whole on conversions.conversion_id = whole.conversion_id
left join in_parts on conversions.conversion_id = in_parts.conversion_id
where coalesce(whole.given, 0) + coalesce(in_parts.given, 0) <> shown.given
    or in_parts.least_credit <> 1 or in_parts.most_credit <> 1
    or whole.least_cents <> conversions.revenue_cents or whole.most_cents <> conversions.revenue_cents
    or in_parts.least_cents <> conversions.revenue_cents or in_parts.most_cents <> conversions.revenue_cents
