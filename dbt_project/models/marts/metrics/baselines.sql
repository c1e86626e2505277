-- The frozen figures beside what the data say of those months today. The difference is drift: shown, never taken in.
with clients as (
    select client_id, cast(nullif(joined_on, '') as date) as joined_on from {{ source('leadtrail', 'clients') }}
),

today as (
    select client_id, metric, month, numerator, denominator, value from {{ ref('fct_metrics') }} where channel = 'all'
)

select
    frozen.client_id || '|' || cast(frozen.month as {{ text_type() }}) || '|' || frozen.metric as baseline_key,
    frozen.client_id,
    frozen.metric,
    frozen.month,
    frozen.numerator,
    frozen.denominator,
    frozen.value,
    frozen.method,
    frozen.joined_on,
    frozen.frozen_at,
    frozen.as_of as frozen_as_of,
    frozen.baseline_hash,
    today.numerator as numerator_today,
    today.denominator as denominator_today,
    today.value as value_today,
    today.value - frozen.value as drift,
    coalesce(today.numerator, -1) <> frozen.numerator or coalesce(today.denominator, -1) <> frozen.denominator
        or coalesce(abs(today.value - frozen.value) > 0.000000001, true) as has_drifted,
    coalesce(clients.joined_on <> frozen.joined_on, true) as is_cut_elsewhere
from {{ ref('stg_leadtrail__baselines') }} as frozen
left join today on frozen.client_id = today.client_id and frozen.metric = today.metric and frozen.month = today.month
left join clients on frozen.client_id = clients.client_id
