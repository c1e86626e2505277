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

union all
{%- endfor %}

select
    money.client_id,
    money.conversion_id,
    cast(null as {{ dbt.type_string() }}) as lead_id,
    models.model,
    'unattributed' as channel,
    cast(1 as decimal(7, 6)) as credit,
    money.revenue_cents,
    money.conversion_type,
    money.converted_at,
    money.converted_month,
    money.currency,
    cast(0 as bigint) as touches,
    cast(null as {{ dbt.type_string() }}) as cluster_id
from {{ ref('int_unowned_money') }} as money
inner join {{ ref('attribution_models') }} as models on money.client_id = models.client_id and models.is_shown
