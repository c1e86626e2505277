-- A record here is kept and re-readable: it is rejected (out of staging) or one of its values was unreadable and left empty.
{% for base in base_models() %}
select
    client_id,
    '{{ provider_of(base) }}' as provider,
    '{{ stream_of(base) }}' as stream,
    record_id,
    '{{ provider_of(base) }}:{{ stream_of(base) }}:' || record_key as quarantine_key,
    case when rejected_because is not null then 'rejected' else 'value dropped' end as disposition,
    coalesce(rejected_because, dropped_values) as reason,
    received_at,
    via,
    idempotency_key
from {{ ref(base) }}
where rejected_because is not null or dropped_values is not null
{{ 'union all' if not loop.last }}
{% endfor %}
