{# The few things that SQL engines spell differently: DuckDB is the default, others override by dispatch. Models use these and what
   every engine shares; a test refuses the rest. #}

{# Whole seconds since 1970. Subtract two of these; engines disagree on date differences. #}
{% macro epoch_seconds(timestamp) %}{{ return(adapter.dispatch('epoch_seconds')(timestamp)) }}{% endmacro %}
{% macro default__epoch_seconds(timestamp) %}cast(floor(epoch({{ timestamp }})) as bigint){% endmacro %}
{% macro postgres__epoch_seconds(timestamp) %}cast(floor(extract(epoch from {{ timestamp }})) as bigint){% endmacro %}
{% macro spark__epoch_seconds(timestamp) %}unix_seconds({{ timestamp }}){% endmacro %}

{# UTC timestamp -> the clock on the wall in a zone; and back. #}
{% macro wall_clock(timestamp, zone) %}{{ return(adapter.dispatch('wall_clock')(timestamp, zone)) }}{% endmacro %}
{% macro default__wall_clock(timestamp, zone) %}(({{ timestamp }} at time zone 'UTC') at time zone {{ zone }}){% endmacro %}
{% macro spark__wall_clock(timestamp, zone) %}from_utc_timestamp({{ timestamp }}, {{ zone }}){% endmacro %}
{% macro utc_of(wall_clock, zone) %}{{ return(adapter.dispatch('utc_of')(wall_clock, zone)) }}{% endmacro %}
{% macro default__utc_of(wall_clock, zone) %}(({{ wall_clock }} at time zone {{ zone }}) at time zone 'UTC'){% endmacro %}
{% macro spark__utc_of(wall_clock, zone) %}to_utc_timestamp({{ wall_clock }}, {{ zone }}){% endmacro %}

{# Text joined in an order. #}
{% macro text_list(expression, order_by, separator) %}{{ return(adapter.dispatch('text_list')(expression, order_by, separator)) }}{% endmacro %}
{% macro default__text_list(expression, order_by, separator) %}string_agg({{ expression }}, '{{ separator }}' order by {{ order_by }}){% endmacro %}
{% macro spark__text_list(expression, order_by, separator) %}array_join(transform(array_sort(collect_list(struct({{ order_by }}, {{ expression }} as item))), each -> each.item), '{{ separator }}'){% endmacro %}

{# Every match of a pattern cut out. Java knows no [:space:]. #}
{% macro without(expression, pattern) %}{{ return(adapter.dispatch('without')(expression, pattern)) }}{% endmacro %}
{% macro default__without(expression, pattern) %}regexp_replace({{ expression }}, '{{ pattern }}', '', 'g'){% endmacro %}
{% macro spark__without(expression, pattern) %}regexp_replace({{ expression }}, '{{ pattern.replace('[:space:]', '\\\\s') }}', ''){% endmacro %}

{# Every match of a pattern replaced, in capitals or not; `\1` is its first group. #}
{% macro with_replaced(expression, pattern, instead) %}{{ return(adapter.dispatch('with_replaced')(expression, pattern, instead)) }}{% endmacro %}
{% macro default__with_replaced(expression, pattern, instead) %}regexp_replace({{ expression }}, '{{ pattern }}', '{{ instead }}', 'gi'){% endmacro %}
{% macro spark__with_replaced(expression, pattern, instead) %}regexp_replace({{ expression }}, '(?i){{ pattern }}', '{{ instead.replace('\\', '$') }}'){% endmacro %}

{# An id out of several columns: md5 is lower-case hex everywhere. #}
{% macro id_of(columns) -%}
md5({%- for column in columns -%}coalesce(cast({{ column }} as {{ dbt.type_string() }}), ''){{ " || '|' || " if not loop.last }}{%- endfor -%})
{%- endmacro %}

{# The least text must be the least in bytes; only PostgreSQL's locale says otherwise. #}
{% macro in_bytes(expression) %}{{ return(adapter.dispatch('in_bytes')(expression)) }}{% endmacro %}
{% macro default__in_bytes(expression) %}{{ expression }}{% endmacro %}
{% macro postgres__in_bytes(expression) %}({{ expression }} collate "C"){% endmacro %}

{# Days from 2018 to 2037, one row each, in column `day`: engines agree on no way to count. #}
{% macro every_day() -%}
select cast('2018-01-01' as date) + cast(thousands.n * 1000 + hundreds.n * 100 + tens.n * 10 + ones.n as integer) as day
from
    {%- for place in ['thousands', 'hundreds', 'tens', 'ones'] %}
    ({% for n in range(8 if place == 'thousands' else 10) %}select {{ n }} as n{{ ' union all ' if not loop.last }}{% endfor %}) as {{ place }}{{ ',' if not loop.last }}
    {%- endfor %}
where thousands.n * 1000 + hundreds.n * 100 + tens.n * 10 + ones.n < 7305
{%- endmacro %}

{# 1 Monday ... 7 Sunday. #}
{% macro weekday(day) %}{{ return(adapter.dispatch('weekday')(day)) }}{% endmacro %}
{% macro default__weekday(day) %}cast(extract(isodow from {{ day }}) as integer){% endmacro %}
{% macro spark__weekday(day) %}(weekday({{ day }}) + 1){% endmacro %}

{# How often a whole number goes into another, both positive. #}
{% macro whole_parts(number, divisor) %}{{ return(adapter.dispatch('whole_parts')(number, divisor)) }}{% endmacro %}
{% macro default__whole_parts(number, divisor) %}(({{ number }}) // ({{ divisor }})){% endmacro %}
{% macro postgres__whole_parts(number, divisor) %}(({{ number }}) / ({{ divisor }})){% endmacro %}
{% macro spark__whole_parts(number, divisor) %}(({{ number }}) div ({{ divisor }})){% endmacro %}

{# Types that have no name in common; `bigint`, `integer`, `boolean`, `date`, `timestamp` and `decimal(p, s)` have. #}
{% macro text_type() %}{{ return(adapter.dispatch('text_type')()) }}{% endmacro %}
{% macro default__text_type() %}varchar{% endmacro %}
{% macro spark__text_type() %}string{% endmacro %}
{% macro double_type() %}{{ return(adapter.dispatch('double_type')()) }}{% endmacro %}
{% macro default__double_type() %}double{% endmacro %}
{% macro postgres__double_type() %}double precision{% endmacro %}
