{# Small readings that several providers share. #}

{# Phone text -> E.164 for the US and Canada; null when it is not ten digits (with or without a leading 1). Extensions after
   x, ext or # are cut off first. #}
{% macro phone_e164(column) -%}
case
    when length({{ digits_of(column) }}) = 10 then '+1' || {{ digits_of(column) }}
    when length({{ digits_of(column) }}) = 11 and {{ digits_of(column) }} like '1%' then '+' || {{ digits_of(column) }}
end
{%- endmacro %}

{% macro digits_of(column) -%}
regexp_replace(regexp_replace(lower({{ column }}), '(x|ext|#).*$', ''), '[^0-9]', '', 'g')
{%- endmacro %}

{# Lower-case, trimmed; null when it has no shape of an address. #}
{% macro email_normalized(column) -%}
case when trim({{ column }}) like '%_@_%._%' and trim({{ column }}) not like '% %' then lower(trim({{ column }})) end
{%- endmacro %}

{# One row for each element of a JSON array, in order: `item` is the element, `item_number` counts from 1. Straight after FROM. #}
{% macro json_each(column) -%}
cross join lateral (
    select unnest(cast({{ column }} as json[])) as item, generate_subscripts(cast({{ column }} as json[]), 1) as item_number
) as each_item
{%- endmacro %}

{# Text at dotted keys inside a JSON value; null when missing. #}
{% macro json_text(value, path) -%}
nullif(json_extract_string({{ value }}, '{{ json_path(path) }}'), '')
{%- endmacro %}

{# ISO text with an offset -> UTC timestamp; null when unreadable. #}
{% macro utc_timestamp(column) -%}
(try_cast({{ column }} as timestamptz) at time zone 'UTC')
{%- endmacro %}
