{# The instant up to which everything is known: when the last news came in, or var('as_of'). As in dim_leads. #}
{% macro as_of() -%}
(select coalesce(cast(nullif('{{ var("as_of", "") }}', '') as timestamp), max(received_at)) from {{ ref('fct_lead_events') }})
{%- endmacro %}

{# Metrics of one family: one row per client, month, channel and metric, out of a relation with one row per lead (call, quote, text) that
   has client_id, month, channel, person_id and the columns the conditions name. Every row counts in its channel and in `all`.

   metrics: {name: {counted: condition, and then
       met: condition                      rate: met and counted / counted
       numerator, denominator: expressions whose sums over the counted rows are divided; or
       measure: expression, at: 0.5        that percentile of it over the counted rows which have it; the others are left out
     excluded: {what: condition}}}         rows that are not counted, and why
   `k` is how many people are behind the counted rows. #}
{% macro metric_rows(relation, metrics) %}
-- people are told apart only where one has several rows: telling all apart would cost more than everything else
with repeats as (
    select client_id, month, person_id from {{ relation }} group by client_id, month, person_id having count(*) > 1
),

twice as (
    {%- for channel in ['channel', "'all'"] %}
    select {{ relation }}.*, {{ channel }} as in_channel, repeats.person_id as repeated_person_id
    from {{ relation }}
    left join repeats
        on {{ relation }}.person_id = repeats.person_id and {{ relation }}.month = repeats.month and {{ relation }}.client_id = repeats.client_id
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

sums as (
    select
        client_id, month, in_channel
        {%- for name, metric in metrics.items() %}
        {%- set counted = '(' ~ metric.counted ~ ')' %},
        {%- if metric.met is defined %}
        cast(sum(case when {{ counted }} and ({{ metric.met }}) then 1 else 0 end) as {{ double_type() }}) as {{ name }}__numerator,
        cast(sum(case when {{ counted }} then 1 else 0 end) as {{ double_type() }}) as {{ name }}__denominator,
        {%- elif metric.measure is defined %}
        cast(sum(case when {{ counted }} and ({{ metric.measure }}) is not null then 1 else 0 end) as {{ double_type() }}) as {{ name }}__numerator,
        cast(sum(case when {{ counted }} then 1 else 0 end) as {{ double_type() }}) as {{ name }}__denominator,
        percentile_cont({{ metric.at }}) within group (order by case when {{ counted }} then {{ metric.measure }} end) as {{ name }}__value,
        {%- else %}
        cast(coalesce(sum(case when {{ counted }} then {{ metric.numerator }} end), 0) as {{ double_type() }}) as {{ name }}__numerator,
        cast(coalesce(sum(case when {{ counted }} then {{ metric.denominator }} end), 0) as {{ double_type() }}) as {{ name }}__denominator,
        {%- endif %}
        sum(case when {{ counted }} and repeated_person_id is null then 1 else 0 end)
            + count(distinct case when {{ counted }} then repeated_person_id end) as {{ name }}__k
        {%- for condition in metric.get('excluded', {}).values() %},
        sum(case when {{ condition }} then 1 else 0 end) as {{ name }}__excluded_{{ loop.index }}
        {%- endfor %}
        {%- endfor %}
    from twice
    group by client_id, month, in_channel
)
{% for name, metric in metrics.items() %}
{%- set excluded = metric.get('excluded', {}) %}
select
    client_id, month, in_channel as channel, '{{ name }}' as metric,
    {{ name }}__numerator as numerator,
    {{ name }}__denominator as denominator,
    {% if metric.measure is defined %}cast({{ name }}__value as {{ double_type() }}){% else %}{{ name }}__numerator / nullif({{ name }}__denominator, 0){% endif %} as value,
    cast({% for what in excluded %}{{ name }}__excluded_{{ loop.index }}{{ ' + ' if not loop.last }}{% else %}0{% endfor %} as bigint) as excluded,
    {%- if excluded %}
    nullif(concat_ws('; ',
        {%- for what in excluded %}
        case when {{ name }}__excluded_{{ loop.index }} > 0 then cast({{ name }}__excluded_{{ loop.index }} as {{ text_type() }}) || ' {{ what }}' end{{ ',' if not loop.last }}
        {%- endfor %}
    ), '') as exclusions,
    {%- else %}
    cast(null as {{ text_type() }}) as exclusions,
    {%- endif %}
    cast({{ name }}__k as bigint) as k
from sums
where {{ name }}__denominator > 0{% for what in excluded %} or {{ name }}__excluded_{{ loop.index }} > 0{% endfor %}
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}
