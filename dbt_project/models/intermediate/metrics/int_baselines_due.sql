{{ config(materialized='view') }}
-- What is to be frozen now: the last 12 full months before joining, of each client who joined at least 30 days ago and has no baseline.
with clients as (
    select client_id, cast(nullif(joined_on, '') as date) as joined_on
    from {{ source('leadtrail', 'clients') }}
),

final as (
    select
        metrics.client_id, metrics.metric, metrics.month, metrics.numerator, metrics.denominator, metrics.value,
        definitions.definition, clients.joined_on, metrics.as_of
    from {{ ref('fct_metrics') }} as metrics
    inner join {{ ref('metric_definitions') }} as definitions on metrics.metric = definitions.metric and definitions.is_compared
    inner join clients on metrics.client_id = clients.client_id
    left join (select distinct client_id from {{ ref('stg_leadtrail__baselines') }}) as frozen on metrics.client_id = frozen.client_id
    where metrics.channel = 'all'
        and metrics.is_comparable
        and metrics.value is not null
        and metrics.month < cast(date_trunc('month', clients.joined_on) as date)
        and metrics.month >= cast(date_trunc('month', clients.joined_on) - interval '12' month as date)
        and metrics.as_of >= cast(clients.joined_on as timestamp) + interval '30' day
        and frozen.client_id is null
)

select * from final
