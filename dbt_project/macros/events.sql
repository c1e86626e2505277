{# The columns every adapter of normalized events ends with, in order. An adapter gives those it knows; the rest are null.
   `columns` maps names to expressions over `relation`; `where` limits it. event_id is made of the record, the type and `nth`
   (what tells two events of one type on one record apart). #}
{% macro event_rows(provider, stream, relation, event_type, columns, where='true', nth="''") %}
{%- set text = text_type() -%}
{%- set types = {
    'occurred_at': 'timestamp', 'received_at': 'timestamp', 'direction': text, 'contact_method': text, 'actor': text,
    'channel': text, 'source': text, 'medium': text, 'campaign': text, 'value_cents': 'bigint', 'currency': text,
    'duration_seconds': 'bigint', 'service': text, 'staff': text, 'reference': text, 'detail': text, 'text': text,
} %}
select
    {{ id_of(["'" ~ provider ~ ":" ~ stream ~ "'", 'record_key', event_type, nth]) }} as event_id,
    '{{ provider }}:{{ stream }}:' || record_key as record_uid,
    client_id,
    '{{ provider }}' as provider,
    '{{ stream }}' as stream,
    substr(record_key, length(client_id) + 2) as record_id,
    {{ event_type }} as event_type
    {%- for name, type in types.items() %},
    cast({{ columns.get(name, 'null') }} as {{ type }}) as {{ name }}
    {%- endfor %}
from {{ relation }}
where {{ where }} and {{ event_type }} is not null
{% endmacro %}

{# Marketing channel of what a provider calls a source. A source nobody has named in the seed keeps its own name, so nothing is lost
   in "other"; an offline number (a van, a postcard) is the channel its tracker is called by. #}
{% macro channel_of(source, source_name='null') -%}
coalesce(
    (select min(channels.channel) from {{ ref('marketing_channels') }} as channels where channels.provider_source = lower({{ source }})),
    {{ slug("case when lower(" ~ source ~ ") = 'offline' then coalesce(" ~ source_name ~ ", 'offline') else " ~ source ~ " end") }}
)
{%- endmacro %}

{% macro slug(text) -%}
replace(replace(lower(trim({{ text }})), ' ', '_'), '-', '_')
{%- endmacro %}

{# A message that a machine sends: no sign that anybody wants anything. `of` is the relation's name with its dot. #}
{% macro sent_by_machine(of='') -%}
coalesce({{ of }}event_type in ('text_sent', 'email_sent') and {{ of }}actor = 'automation', false)
{%- endmacro %}
