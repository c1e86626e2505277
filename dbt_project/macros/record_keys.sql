{# Identifiers of the records of one stream, one row each, as `client|kind:value`.
   keys: {kind: expression}; `given` and `full` are names as typed by somebody who knew, `screen` is what the phone network showed;
   `greeted` whom a text of ours is for; `at` says when.
   Flags: `is_proxy` (the marketplace lends this phone; null when it does not say), `is_own` (the client's own line), `is_spam`,
   `lends` (a marketplace showed this phone for its lead), `is_ours` (a call or text of the client's to somebody). #}
{% macro record_keys(provider, stream, relation, keys, at, given='null', full='null', is_proxy='false', is_own='false', is_spam='false', lends='false', screen='null', greeted='null', is_ours='false') %}
{%- for kind, expression in keys.items() %}
select
    '{{ provider }}:{{ stream }}:' || record_key as record_uid,
    client_id,
    '{{ provider }}' as provider,
    '{{ stream }}' as stream,
    record_key,
    client_id || '|{{ kind.split('.')[0] }}:' || {{ expression }} as identity_key,
    '{{ kind.split('.')[0] }}' as key_kind,
    {{ expression }} as key_value,
    {{ given_name(given, full) }} as given_name,
    cast({{ full if full != 'null' else given }} as {{ text_type() }}) as full_name,
    {{ caller_name(screen) }} as caller_name,
    cast({{ greeted }} as {{ text_type() }}) as greeted_name,
    cast({{ at }} as timestamp) as occurred_at,
    {{ is_proxy if kind.startswith('phone') else 'false' }} as is_proxy,
    {{ is_own }} as is_own,
    {{ is_spam }} as is_spam,
    {{ lends }} as is_lease,
    {{ is_ours }} as is_ours
from {{ relation }}
where {{ expression }} is not null
{{ 'union all' if not loop.last }}
{%- endfor %}
{% endmacro %}

{# The first name in lower case: what a form, a CRM and the books agree on if they agree on anything. #}
{% macro given_name(given, full) -%}
{%- if given == 'null' and full == 'null' -%}cast(null as {{ text_type() }})
{%- else -%}
nullif(split_part(lower(trim(coalesce(cast({{ given }} as {{ text_type() }}), cast({{ full }} as {{ text_type() }})))), ' ', 1), '')
{%- endif -%}
{%- endmacro %}

{# The first name in what a caller's screen showed, where it shows a person: "Ana Lopez" or "LOPEZ,ANA", not "BOISE ID" or "WIRELESS CALLER". #}
{% macro caller_name(screen) -%}
{%- if screen == 'null' -%}cast(null as {{ text_type() }})
{%- else -%}
case
    when {{ screen }} like '%,%' then nullif(split_part(trim(lower(split_part({{ screen }}, ',', 2))), ' ', 1), '')
    when {{ screen }} <> upper({{ screen }}) and trim({{ screen }}) like '% %' and lower({{ screen }}) not like '%cell%' and lower({{ screen }}) not like '%call%'
        and lower({{ screen }}) not like '%phone%' and lower({{ screen }}) not like '%unknown%' then split_part(lower(trim({{ screen }})), ' ', 1)
end
{%- endif -%}
{%- endmacro %}

{# Whom a text of ours (columns `direction`, `body`) greets by first name: "Hi Ana, …". Of "Hi there, …" it gives a word that is nobody's name. #}
{% macro greeted_name() -%}
case
    when direction = 'outbound' and lower(split_part(trim(body), ' ', 1)) in ('hi', 'hello', 'hey', 'dear')
        then nullif(split_part(lower(split_part(split_part(replace(trim(body), '!', ','), ',', 1), ' ', 2)), ' ', 1), '')
end
{%- endmacro %}

{# Two names for the same thing on two systems: full name and street, or full name and amount to the cent. Null unless both are there
   and the name has two parts. #}
{% macro name_and(name, other) -%}
case when trim({{ name }}) like '% %' and {{ other }} is not null then lower(trim({{ name }})) || '/' || lower(trim(cast({{ other }} as {{ text_type() }}))) end
{%- endmacro %}

{# The nth phone number in a free text like "h (279) 555-4451 / c (916) 555-6986". #}
{% macro phone_in_text(text, nth) -%}
{{ phone_e164("split_part(" ~ text ~ ", '/', " ~ nth ~ ")") }}
{%- endmacro %}
