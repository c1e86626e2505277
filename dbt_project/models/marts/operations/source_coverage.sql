{% for base in base_models() %}
select
    client_id,
    '{{ provider_of(base) }}' as provider,
    '{{ stream_of(base) }}' as stream,
    client_id || ':{{ provider_of(base) }}:{{ stream_of(base) }}' as coverage_key,
    count(*) as records,
    count(*) filter (where rejected_because is not null) as rejected_records,
    count(*) filter (where is_absent) as absent_records,
    min(occurred_at) as first_occurred_at,
    max(occurred_at) as last_occurred_at,
    max(received_at) as last_received_at
from {{ ref(base) }}
group by client_id
{{ 'union all' if not loop.last }}
{% endfor %}
