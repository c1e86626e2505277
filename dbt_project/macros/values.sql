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
{{ without(without('lower(' ~ column ~ ')', '(x|ext|#).*$'), '[^0-9]') }}
{%- endmacro %}

{# Lower-case, trimmed; null when it has no shape of an address. #}
{% macro email_normalized(column) -%}
case when trim({{ column }}) like '%_@_%._%' and trim({{ column }}) not like '% %' then lower(trim({{ column }})) end
{%- endmacro %}
