{# The local day of a UTC instant, out of the row of int_zone_days for its zone and UTC day. #}
{% macro local_day(instant, zone_day) -%}
cast({{ zone_day }}.day + case when {{ instant }} < {{ zone_day }}.starts_at then -1 when {{ instant }} >= {{ zone_day }}.ends_at then 1 else 0 end as date)
{%- endmacro %}
