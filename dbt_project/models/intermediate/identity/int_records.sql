{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
-- depends_on: {{ ref('int_events') }} (adapters touch more records; a log that grows between reading and deleting would lose rows)
-- Where each record came from, whatever it is: the last step back to what its provider sent.
{% for base in base_models() if not base.startswith('base_search_console') %}
{%- set provider, stream = provider_of(base), stream_of(base) %}
select
    '{{ provider }}:{{ stream }}:' || record_key as record_uid,
    client_id,
    '{{ provider }}' as provider,
    '{{ stream }}' as stream,
    record_id,
    first_known_at,
    batch_id,
    via
from {{ ref(base) }}
where {{ only_touched_records(provider, stream) }}
{{ 'union all' if not loop.last }}
{% endfor %}
