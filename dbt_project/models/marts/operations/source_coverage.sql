-- Up to when a source was read is what its connection says: after that nothing can be missing. A usual day is the mean of the same 24
-- hours one to eight weeks before (nights, weekdays and time zones stay out of it), once a month of it is known.
with connections as (
    select client_id, provider, {{ utc_timestamp('last_success_at') }} as read_until
    from {{ source('leadtrail', 'connections') }}
),

{% set days_back = "floor((" ~ epoch_seconds('connections.read_until') ~ " - " ~ epoch_seconds('records.occurred_at') ~ ") / 86400.0)" %}
counted as (
    {% for base in base_models() %}
    select
        records.client_id,
        '{{ provider_of(base) }}' as provider,
        '{{ stream_of(base) }}' as stream,
        records.client_id || ':{{ provider_of(base) }}:{{ stream_of(base) }}' as coverage_key,
        count(*) as records,
        count(*) filter (where records.rejected_because is not null) as rejected_records,
        count(*) filter (where records.is_absent) as absent_records,
        min(records.occurred_at) as first_occurred_at,
        max(records.occurred_at) as last_occurred_at,
        max(records.received_at) as last_received_at,
        max(connections.read_until) as read_until,
        count(*) filter (where {{ days_back }} = 0) as last_day_records,
        count(*) filter (where {{ days_back }} in (7, 14, 21, 28, 35, 42, 49, 56)) as same_day_records,
        count(*) filter (where records.received_at > newest.at - interval '1' day) as last_batch_records,
        count(*) filter (where records.received_at > newest.at - interval '1' day and records.rejected_because is not null) as last_batch_rejected
    from {{ ref(base) }} as records
    inner join (select client_id, max(received_at) as at from {{ ref(base) }} group by client_id) as newest
        on records.client_id = newest.client_id
    left join connections on records.client_id = connections.client_id and connections.provider = '{{ provider_of(base) }}'
    group by records.client_id
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select
        client_id, provider, stream, coverage_key, records, rejected_records, absent_records,
        first_occurred_at, last_occurred_at, last_received_at, read_until, last_day_records,
        case
            when {{ epoch_seconds('read_until') }} - {{ epoch_seconds('first_occurred_at') }} >= 28 * 86400
                then same_day_records / least(floor(({{ epoch_seconds('read_until') }} - {{ epoch_seconds('first_occurred_at') }}) / (7 * 86400.0)), 8)
        end as usual_day_records,
        last_batch_records,
        last_batch_rejected
    from counted
)

select * from final
