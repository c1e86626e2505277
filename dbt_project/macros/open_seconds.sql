{# Open seconds up to an instant, out of the row of int_open_hours for its local day. Null when either is missing. #}
{% macro open_seconds_at(instant, hours) -%}
({{ hours }}.open_seconds_before + greatest(0, least({{ epoch_seconds(instant) }}, {{ epoch_seconds(hours ~ '.closes_at') }}) - {{ epoch_seconds(hours ~ '.opens_at') }}))
{%- endmacro %}
