{# Text -> a value of the kind a model asks for; null when it cannot be read. #}
{% macro typed_value(raw, type) -%}
  {%- if type in ('text', 'json') -%}{{ raw }}
  {%- elif type == 'integer' -%}{{ cast_or_null(raw, 'bigint') }}
  {%- elif type == 'double' -%}{{ cast_or_null(raw, double_type()) }}
  {%- elif type == 'boolean' -%}{{ cast_or_null(raw, 'boolean') }}
  {%- elif type == 'timestamp' -%}{{ utc_timestamp(raw) }}
  {%- elif type == 'timestamp_ms' -%}{{ timestamp_of_epoch(raw, 1000) }}
  {%- elif type == 'timestamp_s' -%}{{ timestamp_of_epoch(raw, 1000000) }}
  {%- elif type == 'rfc2822' -%}{{ timestamp_of_mail(raw) }}
  {%- elif type == 'date' -%}{{ cast_or_null(raw, 'date') }}
  {%- elif type == 'micros' -%}cast(round({{ cast_or_null(raw, 'decimal(18, 6)') }} * 1000000) as bigint)
  {%- elif type == 'money' -%}cast(round({{ cast_or_null("replace(replace(replace(" ~ raw ~ ", '$', ''), ',', ''), ' ', '')", 'decimal(18, 4)') }} * 100) as bigint)
  {%- else -%}{{ exceptions.raise_compiler_error("typed_value: unknown type '" ~ type ~ "'") }}
  {%- endif -%}
{%- endmacro %}

{# PostgreSQL 15 has no cast that may fail, so the shape is looked at first: an impossible day or a number too long still stops it.
   Spark casts only whole numbers to whole numbers, where the others round. #}
{% macro cast_or_null(text, type) %}{{ return(adapter.dispatch('cast_or_null')(text, type)) }}{% endmacro %}
{% macro default__cast_or_null(text, type) %}try_cast({{ text }} as {{ type }}){% endmacro %}
{% macro postgres__cast_or_null(text, type) -%}
{%- if type == 'boolean' -%}case when lower({{ text }}) in ('true', 't', 'yes', 'y', '1') then true when lower({{ text }}) in ('false', 'f', 'no', 'n', '0') then false end
{%- elif type == 'date' -%}case when {{ text }} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' then cast({{ text }} as date) end
{%- else -%}case when {{ text }} ~ '^ *[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)? *$' then cast(cast({{ text }} as numeric) as {{ type }}) end
{%- endif -%}
{%- endmacro %}
{% macro spark__cast_or_null(text, type) -%}
{%- if type == 'bigint' -%}cast(round(try_cast({{ text }} as decimal(38, 9))) as bigint){%- else -%}try_cast({{ text }} as {{ type }}){%- endif -%}
{%- endmacro %}

{# ISO text with an offset -> UTC timestamp. Spark would also read "yesterday". #}
{% macro utc_timestamp(text) %}{{ return(adapter.dispatch('utc_timestamp')(text)) }}{% endmacro %}
{% macro default__utc_timestamp(text) %}(try_cast({{ text }} as timestamptz) at time zone 'UTC'){% endmacro %}
{% macro postgres__utc_timestamp(text) %}(case when {{ text }} ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' then cast({{ text }} as timestamptz) end at time zone 'UTC'){% endmacro %}
{% macro spark__utc_timestamp(text) %}case when {{ text }} like '____-__-__%' then try_cast({{ text }} as timestamp) end{% endmacro %}

{# A count since 1970 -> UTC timestamp; `micros` is how many microseconds one of it is. #}
{% macro timestamp_of_epoch(text, micros) %}{{ return(adapter.dispatch('timestamp_of_epoch')(text, micros)) }}{% endmacro %}
{% macro default__timestamp_of_epoch(text, micros) %}make_timestamp({{ cast_or_null(text, 'bigint') }} * {{ micros }}){% endmacro %}
{% macro postgres__timestamp_of_epoch(text, micros) %}(cast('1970-01-01' as timestamp) + {{ cast_or_null(text, 'bigint') }} * {{ micros }} * interval '0.000001' second){% endmacro %}
{% macro spark__timestamp_of_epoch(text, micros) %}timestamp_micros({{ cast_or_null(text, 'bigint') }} * {{ micros }}){% endmacro %}

{# "Tue, 31 Mar 2026 18:05:09 +0000" -> UTC timestamp. Spark reads no names of weekdays. #}
{% macro timestamp_of_mail(text) %}{{ return(adapter.dispatch('timestamp_of_mail')(text)) }}{% endmacro %}
{% macro default__timestamp_of_mail(text) %}try_strptime({{ text }}, '%a, %d %b %Y %H:%M:%S %z') at time zone 'UTC'{% endmacro %}
{% macro postgres__timestamp_of_mail(text) %}(case when {{ text }} ~ '^[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [+-][0-9]{4}$' then cast({{ text }} as timestamptz) end at time zone 'UTC'){% endmacro %}
{% macro spark__timestamp_of_mail(text) %}try_to_timestamp(substr({{ text }}, 6), 'd MMM yyyy HH:mm:ss xx'){% endmacro %}

{# Blank counts as missing, because providers mix "", null and no key. DuckDB trims every kind of space, the others must be told of the
   one that web pages use; and there, only text that needs it is trimmed: trimming all of it takes four times as long as looking. #}
{% macro blank_to_null(text) %}{{ return(adapter.dispatch('blank_to_null')(text)) }}{% endmacro %}
{% macro default__blank_to_null(text) -%}
case when {{ text }} = '' or {{ text }} like ' %' or {{ text }} like '% ' or starts_with({{ text }}, chr(160)) or ends_with({{ text }}, chr(160)) then nullif(trim({{ text }}), '') else {{ text }} end
{%- endmacro %}
{% macro postgres__blank_to_null(text) %}nullif(trim(both ' ' || chr(160) from {{ text }}), ''){% endmacro %}
{% macro spark__blank_to_null(text) %}nullif(trim(both ' ' || chr(160) from {{ text }}), ''){% endmacro %}
