-- Better or worse than before joining, as `improvement` judges it. Where that has too little to go by, no figure is shown.
with judged as (
    select
        improvement.*,
        verdict <> 'too little data' and least(counted_before, counted_after) >= {{ var('client_safe_k') }} as is_shown
    from {{ ref('improvement') }} as improvement
)

select
    client_id || '|improvement|' || metric as figure_id,
    client_id,
    metric,
    unit,
    better,
    is_headline,
    verdict,
    label,
    joined_on,
    case when is_shown then matched_months end as matched_months,
    case when is_shown then before_value end as before_value,
    case when is_shown then after_value end as after_value,
    -- the interval that decided the verdict
    case when is_shown then deciding_low end as difference_low,
    case when is_shown then deciding_high end as difference_high,
    cast(case when is_shown then least(counted_before, counted_after) end as bigint) as k,
    not is_shown as is_suppressed,
    as_of as data_until
from judged
