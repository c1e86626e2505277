{{ config(materialized='view') }}
-- What leads and booked jobs cost, by the month the leads came. In `all` are the channels whose costs are known: dividing by leads of the
-- others too would make every lead look cheaper than it was.
with costs as (
    select client_id, month, case when channel = 'unattributed' then 'unknown' else channel end as channel, cost_cents, valid_leads, booked_jobs
    from {{ ref('cost_per_lead') }}
),

leads as (
    select leads.client_id, costs.month, costs.channel, leads.person_id
    from {{ ref('int_leads') }} as leads
    inner join costs on leads.client_id = costs.client_id and leads.opened_month = costs.month and leads.channel = costs.channel
    where leads.has_enquiry and leads.is_valid and costs.cost_cents is not null
),

people as (
    select client_id, month, channel, count(distinct person_id) as k from leads group by client_id, month, channel
    union all
    select client_id, month, 'all', count(distinct person_id) from leads group by client_id, month
),

sums as (
    select client_id, month, channel, cost_cents as cents, valid_leads, booked_jobs, 0 as leads_without_cost
    from costs
    where cost_cents is not null

    union all

    select
        client_id, month, 'all',
        sum(cost_cents),
        sum(case when cost_cents is not null then valid_leads else 0 end),
        sum(case when cost_cents is not null then booked_jobs else 0 end),
        sum(case when cost_cents is null then valid_leads else 0 end)
    from costs
    group by client_id, month
    having sum(cost_cents) is not null
)

{% for metric, counted in {'cost_per_lead': 'valid_leads', 'cost_per_booked_job': 'booked_jobs'}.items() %}
select
    sums.client_id, sums.month, sums.channel, '{{ metric }}' as metric,
    cast(sums.cents as {{ double_type() }}) as numerator,
    cast(sums.{{ counted }} as {{ double_type() }}) as denominator,
    cast(sums.cents as {{ double_type() }}) / nullif(sums.{{ counted }}, 0) as value,
    cast(sums.leads_without_cost as bigint) as excluded,
    case when sums.leads_without_cost > 0 then cast(sums.leads_without_cost as {{ text_type() }}) || ' leads of channels whose cost is not known' end as exclusions,
    cast(coalesce(people.k, 0) as bigint) as k
from sums
left join people on sums.client_id = people.client_id and sums.month = people.month and sums.channel = people.channel
{{ 'union all' if not loop.last }}
{% endfor %}
