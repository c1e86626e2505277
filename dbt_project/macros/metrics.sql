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
{%- set measured = metrics.items() | selectattr('1.measure', 'defined') | list %}
with sums_of_channels as (
    select
        client_id, month, channel as in_channel
        {%- for name, metric in metrics.items() %}
        {%- set counted = '(' ~ metric.counted ~ ')' %},
        {%- if metric.met is defined %}
        sum(case when {{ counted }} and ({{ metric.met }}) then 1 else 0 end) as {{ name }}__numerator,
        sum(case when {{ counted }} then 1 else 0 end) as {{ name }}__denominator,
        {%- elif metric.measure is defined %}
        sum(case when {{ counted }} and ({{ metric.measure }}) is not null then 1 else 0 end) as {{ name }}__numerator,
        sum(case when {{ counted }} then 1 else 0 end) as {{ name }}__denominator,
        {%- else %}
        coalesce(sum(case when {{ counted }} then {{ metric.numerator }} end), 0) as {{ name }}__numerator,
        coalesce(sum(case when {{ counted }} then {{ metric.denominator }} end), 0) as {{ name }}__denominator,
        {%- endif %}
        sum(case when {{ counted }} then 1 else 0 end) as {{ name }}__rows
        {%- for condition in metric.get('excluded', {}).values() %},
        sum(case when {{ condition }} then 1 else 0 end) as {{ name }}__excluded_{{ loop.index }}
        {%- endfor %}
        {%- endfor %}
    from {{ relation }}
    group by client_id, month, channel
),

-- people are told apart only where one has several rows: telling all apart would cost more than everything else
repeats as (
    select client_id, month, person_id from {{ relation }} group by client_id, month, person_id having count(*) > 1
),

repeated as (
    select {{ relation }}.*
    from {{ relation }}
    inner join repeats
        on {{ relation }}.person_id = repeats.person_id and {{ relation }}.month = repeats.month and {{ relation }}.client_id = repeats.client_id
),

too_many as (
    {%- for channel in ['channel', "'all'"] %}
    select
        client_id, month, {{ channel }} as in_channel
        {%- for name, metric in metrics.items() %}
        {%- set counted = '(' ~ metric.counted ~ ')' %},
        sum(case when {{ counted }} then 1 else 0 end) - count(distinct case when {{ counted }} then person_id end) as {{ name }}__too_many
        {%- endfor %}
    from repeated
    group by 1, 2, 3
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

{%- if measured %}

-- a percentile of all is none of its channels'
percentiles as (
    {%- for channel in ['channel', "'all'"] %}
    select
        client_id, month, {{ channel }} as in_channel
        {%- for name, metric in measured %},
        percentile_cont({{ metric.at }}) within group (order by case when {{ metric.counted }} then {{ metric.measure }} end) as {{ name }}__value
        {%- endfor %}
    from {{ relation }}
    group by 1, 2, 3
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),
{%- endif %}

sums as (
    select * from sums_of_channels

    union all

    select
        client_id, month, 'all'
        {%- for name, metric in metrics.items() %},
        sum({{ name }}__numerator), sum({{ name }}__denominator), sum({{ name }}__rows)
        {%- for _ in metric.get('excluded', {}) %}, sum({{ name }}__excluded_{{ loop.index }}){% endfor %}
        {%- endfor %}
    from sums_of_channels
    group by client_id, month
),

summed as (
    select
        sums.*
        {%- for name in metrics %}, coalesce(too_many.{{ name }}__too_many, 0) as {{ name }}__too_many{% endfor %}
        {%- for name, _ in measured %}, percentiles.{{ name }}__value{% endfor %}
    from sums
    left join too_many on sums.client_id = too_many.client_id and sums.month = too_many.month and sums.in_channel = too_many.in_channel
    {%- if measured %}
    inner join percentiles on sums.client_id = percentiles.client_id and sums.month = percentiles.month and sums.in_channel = percentiles.in_channel
    {%- endif %}
)
{% for name, metric in metrics.items() %}
{%- set excluded = metric.get('excluded', {}) %}
select
    client_id, month, in_channel as channel, '{{ name }}' as metric,
    cast({{ name }}__numerator as {{ double_type() }}) as numerator,
    cast({{ name }}__denominator as {{ double_type() }}) as denominator,
    {% if metric.measure is defined %}cast({{ name }}__value as {{ double_type() }}){% else %}cast({{ name }}__numerator as {{ double_type() }}) / nullif({{ name }}__denominator, 0){% endif %} as value,
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
    cast({{ name }}__rows - {{ name }}__too_many as bigint) as k
from summed
where {{ name }}__denominator > 0{% for what in excluded %} or {{ name }}__excluded_{{ loop.index }} > 0{% endfor %}
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}
