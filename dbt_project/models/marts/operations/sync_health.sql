with connections as (
    select * from {{ source('leadtrail', 'connections') }}
),

clients as (
    select * from {{ source('leadtrail', 'clients') }}
),

final as (
    select
        connections.client_id,
        clients.name as client_name,
        connections.provider,
        connections.state,
        nullif(connections.reason, '') as reason,
        nullif(connections.fix, '') as fix,
        connections.owner,
        {{ utc_timestamp('connections.since') }} as since_at,
        {{ utc_timestamp('connections.last_attempt_at') }} as last_attempt_at,
        {{ utc_timestamp('connections.last_success_at') }} as last_success_at,
        {{ utc_timestamp('connections.retry_at') }} as retry_at,
        connections.records_last_run
    from connections
    inner join clients on connections.client_id = clients.client_id
)

select * from final
