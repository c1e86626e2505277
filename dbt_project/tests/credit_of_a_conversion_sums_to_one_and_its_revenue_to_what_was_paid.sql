-- Per conversion and model: credit is exactly 1, revenue exactly the conversion's, no channel twice. A model that is not shown has no rows;
-- that is not a failure. A conversion that a shown model leaves out is one.
with credited as (
    select conversion_id, model, sum(credit) as credit, sum(revenue_cents) as revenue_cents, count(*) - count(distinct channel) as repeated
    from {{ ref('fct_attribution_credit') }}
    group by conversion_id, model
),

models as (
    select client_id, model from {{ ref('attribution_models') }} where is_shown
)

select conversions.conversion_id, models.model, credited.credit, credited.revenue_cents, conversions.revenue_cents as converted_cents
from {{ ref('int_conversions') }} as conversions
inner join models on conversions.client_id = models.client_id
left join credited on conversions.conversion_id = credited.conversion_id and models.model = credited.model
where coalesce(credited.credit, 0) <> 1 or credited.revenue_cents <> conversions.revenue_cents or credited.repeated <> 0
