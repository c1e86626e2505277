{{ config(materialized='view') }}
-- Who gets the credit, by every model that can be shown. Per conversion and model, credit sums to 1 and revenue to the conversion's, exactly.
{%- for relation in ['int_rule_credit', 'int_data_driven_credit'] %}
select
    client_id,
    conversion_id,
    lead_id,
    model,
    channel,
    cast(credit / cast({{ all_credit() }} as decimal(8, 0)) as decimal(7, 6)) as credit,
    revenue_cents,
    conversion_type,
    converted_at,
    converted_month,
    currency,
    cast(touches as bigint) as touches,
    cluster_id
from {{ ref(relation) }}
{%- if relation == 'int_rule_credit' %}
where model <> 'data_driven' or client_id in (select client_id from {{ ref('attribution_models') }} where model = 'data_driven' and is_shown)
{%- endif %}
{{ 'union all' if not loop.last }}
{%- endfor %}
