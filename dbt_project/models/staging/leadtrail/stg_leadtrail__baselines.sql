-- Figures stay the text they were frozen as beside the numbers: the hash is over the text, so no engine's rounding can break it.
select
    client_id,
    record_key,
    metric,
    month,
    cast(numerator as {{ double_type() }}) as numerator,
    cast(denominator as {{ double_type() }}) as denominator,
    cast(value as {{ double_type() }}) as value,
    metric || '|' || cast(month as {{ text_type() }}) || '|' || numerator || '|' || denominator || '|' || value || '|' || definition as frozen_figures,
    method,
    joined_on,
    frozen_at,
    as_of,
    baseline_hash,
    received_at
from {{ ref('base_leadtrail__baselines') }}
where rejected_because is null
