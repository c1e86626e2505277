{# Reading JSON text. Paths are dotted keys, `a.b`; an element of an array is written `a[0]`. #}

{# All values a model needs, as one array, out of one parse of the payload (one call for each field costs six times as much). A
   payload that is not JSON has no values: its row is rejected for what is missing, and stops nobody else's. #}
{% macro json_values(payload, paths) %}{{ return(adapter.dispatch('json_values')(payload, paths)) }}{% endmacro %}
{% macro default__json_values(payload, paths) -%}
try(json_extract_string({{ payload }}, [{% for path in paths %}'{{ json_path(path) }}'{{ ', ' if not loop.last }}{% endfor %}]))
{%- endmacro %}
{# PostgreSQL 15 cannot ask whether text is JSON: there, landing has to see to it. #}
{% macro postgres__json_values(payload, paths) -%}
(select array[{% for path in paths %}document #>> '{{ json_path(path) }}'{{ ', ' if not loop.last }}{% endfor %}] from (select cast({{ payload }} as jsonb) as document offset 0) as parsed)
{%- endmacro %}
{# One parse for each value: from_json is faster, but gives no schema in which both `a` and `a.b` are text. #}
{% macro spark__json_values(payload, paths) -%}
array({% for path in paths %}get_json_object({{ payload }}, "{{ json_path(path) }}"){{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}

{# The nth of these values, from 1. #}
{% macro nth_value_of(array, n) %}{{ return(adapter.dispatch('nth_value_of')(array, n)) }}{% endmacro %}
{% macro default__nth_value_of(array, n) %}{{ array }}[{{ n }}]{% endmacro %}
{% macro spark__nth_value_of(array, n) %}element_at({{ array }}, {{ n }}){% endmacro %}

{# Text at a path inside a JSON value; null when missing. #}
{% macro json_text(value, path) %}{{ return(adapter.dispatch('json_text')(value, path)) }}{% endmacro %}
{% macro default__json_text(value, path) %}nullif(json_extract_string({{ value }}, '{{ json_path(path) }}'), ''){% endmacro %}
{% macro postgres__json_text(value, path) %}nullif(cast({{ value }} as jsonb) #>> '{{ json_path(path) }}', ''){% endmacro %}
{% macro spark__json_text(value, path) %}nullif(get_json_object({{ value }}, "{{ json_path(path) }}"), ''){% endmacro %}

{# One row for each element of a JSON array, in order: `item` is the element, `item_number` counts from 1. Straight after FROM. #}
{% macro json_each(column) %}{{ return(adapter.dispatch('json_each')(column)) }}{% endmacro %}
{% macro default__json_each(column) -%}
cross join lateral (
    select unnest(cast({{ column }} as json[])) as item, generate_subscripts(cast({{ column }} as json[]), 1) as item_number
) as each_item
{%- endmacro %}
{% macro postgres__json_each(column) -%}
cross join lateral jsonb_array_elements(cast({{ column }} as jsonb)) with ordinality as each_item (item, item_number)
{%- endmacro %}
{% macro spark__json_each(column) -%}
lateral view inline(transform(from_json({{ column }}, 'array<string>'), (item, place) -> struct(item, place + 1))) each_item as item, item_number
{%- endmacro %}

{# How an engine writes a path: $."a"."b"[0], {"a","b",0}, $['a']['b'][0]. #}
{% macro json_path(dotted) %}{{ return(adapter.dispatch('json_path')(dotted)) }}{% endmacro %}
{% macro default__json_path(dotted) -%}
${% for key in dotted.split('.') %}."{{ key.split('[')[0] }}"{% if '[' in key %}[{{ key.split('[')[1] }}{% endif %}{% endfor %}
{%- endmacro %}
{% macro postgres__json_path(dotted) -%}
{ {%- for key in dotted.split('.') %}"{{ key.split('[')[0] }}"{% if '[' in key %},{{ key.split('[')[1][:-1] }}{% endif %}{{ ',' if not loop.last }}{% endfor -%} }
{%- endmacro %}
{% macro spark__json_path(dotted) -%}
${% for key in dotted.split('.') %}['{{ key.split('[')[0] }}']{% if '[' in key %}[{{ key.split('[')[1] }}{% endif %}{% endfor %}
{%- endmacro %}
