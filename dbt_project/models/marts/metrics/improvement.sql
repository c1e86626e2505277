-- Is it better since joining? The same calendar months before and after are compared, so the season falls out; the month is the unit, so
-- whatever makes a whole month good or bad is in the interval. docs/decisions/metrics-improvement.md says why and what it can't see.
with definitions as (
    select * from {{ ref('metric_definitions') }} where is_compared
),

before_months as (
    select
        frozen.client_id, frozen.metric, frozen.month, frozen.denominator, frozen.value, frozen.baseline_hash, frozen.frozen_at, frozen.joined_on,
        cast(extract(month from frozen.month) as integer) as month_of_year,
        (frozen.numerator + 1) / (frozen.denominator + 2) as near_rate
    from {{ ref('stg_leadtrail__baselines') }} as frozen
    where frozen.denominator >= {{ var('comparable_count', 5) }}
),

joined as (
    select client_id, metric, min(joined_on) as joined_on, min(baseline_hash) as baseline_hash, min(frozen_at) as frozen_at
    from before_months
    group by client_id, metric
),

-- the month of joining is neither before nor after
after_months as (
    select
        metrics.client_id, metrics.metric, metrics.month, metrics.denominator, metrics.value,
        cast(extract(month from metrics.month) as integer) as month_of_year,
        (metrics.numerator + 1) / (metrics.denominator + 2) as near_rate
    from {{ ref('fct_metrics') }} as metrics
    inner join joined on metrics.client_id = joined.client_id and metrics.metric = joined.metric
    where metrics.channel = 'all' and metrics.is_comparable and metrics.value is not null
        and metrics.denominator >= {{ var('comparable_count', 5) }}
        and metrics.month >= joined.joined_on
),

-- two Augusts after joining are one comparison, not two: they share the August before
after_by_season as (
    select
        client_id, metric, month_of_year,
        avg(value) as value,
        sum(denominator) as counted,
        sum(near_rate * (1 - near_rate) / denominator) / (count(*) * count(*)) as sampling_variance
    from after_months
    group by client_id, metric, month_of_year
),

pairs as (
    select
        before_months.client_id, before_months.metric,
        before_months.value as before_value,
        after_by_season.value as after_value,
        after_by_season.value - before_months.value as difference,
        before_months.denominator as counted_before,
        after_by_season.counted as counted_after,
        before_months.near_rate * (1 - before_months.near_rate) / before_months.denominator + after_by_season.sampling_variance as sampling_variance
    from before_months
    inner join after_by_season
        on before_months.client_id = after_by_season.client_id and before_months.metric = after_by_season.metric
        and before_months.month_of_year = after_by_season.month_of_year
),

matched as (
    select
        client_id, metric,
        count(*) as months,
        avg(before_value) as before_value,
        avg(after_value) as after_value,
        avg(difference) as difference,
        sum(counted_before) as counted_before,
        sum(counted_after) as counted_after,
        stddev_samp(difference) / sqrt(count(*)) as error_by_months,
        sqrt(sum(sampling_variance)) / count(*) as error_by_counts
    from pairs
    group by client_id, metric
),

all_before as (
    select client_id, metric, count(*) as months, avg(value) as value, var_samp(value) / count(*) as variance
    from before_months group by client_id, metric
),

all_after as (
    select client_id, metric, count(*) as months, avg(value) as value, var_samp(value) / count(*) as variance
    from after_months group by client_id, metric
),

drifts as (
    select client_id, metric, sum(case when has_drifted then 1 else 0 end) as drifted_months from {{ ref('baselines') }} group by client_id, metric
),

measured as (
    select
        all_before.client_id, all_before.metric, definitions.unit, definitions.better, definitions.is_headline,
        all_before.months as baseline_months,
        coalesce(all_after.months, 0) as months_since,
        coalesce(matched.months, 0) as matched_months,
        matched.before_value, matched.after_value, matched.difference, matched.counted_before, matched.counted_after,
        -- months that happen to be alike can't make a rate more certain than its counts allow
        case when definitions.unit = 'rate' then greatest(matched.error_by_months, matched.error_by_counts) else matched.error_by_months end as error,
        quantiles.t_95,
        case when definitions.is_headline then quantiles.t_99 else quantiles.t_95 end as t_deciding,
        all_after.value - all_before.value as simple_difference,
        simple_quantiles.t_95 * sqrt(all_before.variance + all_after.variance) as simple_margin,
        joined.baseline_hash, joined.frozen_at, joined.joined_on,
        drifts.drifted_months
    from all_before
    inner join joined on all_before.client_id = joined.client_id and all_before.metric = joined.metric
    inner join definitions on all_before.metric = definitions.metric
    left join all_after on all_before.client_id = all_after.client_id and all_before.metric = all_after.metric
    left join matched on all_before.client_id = matched.client_id and all_before.metric = matched.metric
    left join {{ ref('t_quantiles') }} as quantiles on quantiles.degrees_of_freedom = matched.months - 1
    left join {{ ref('t_quantiles') }} as simple_quantiles on simple_quantiles.degrees_of_freedom = least(all_before.months, all_after.months, 31) - 1
    left join drifts on all_before.client_id = drifts.client_id and all_before.metric = drifts.metric
),

judged as (
    select
        measured.*,
        difference - t_95 * error as interval_low,
        difference + t_95 * error as interval_high,
        difference - t_deciding * error as deciding_low,
        difference + t_deciding * error as deciding_high,
        case
            when months_since = 0 then 'No full month has settled since joining.'
            when matched_months = 0 then 'No month since joining has its like before joining, so the season can not be told from a change.'
            when matched_months < {{ var('comparable_months', 4) }} then 'Fewer than {{ var("comparable_months", 4) }} months have their like before joining.'
            when least(counted_before, counted_after) < 30 then 'Fewer than 30 were counted before or since.'
        end as too_little_because
    from measured
)

select
    judged.client_id || '|' || judged.metric as improvement_key,
    judged.client_id,
    judged.metric,
    judged.unit,
    judged.better,
    judged.is_headline,
    judged.joined_on,
    cast(judged.baseline_months as bigint) as baseline_months,
    cast(judged.months_since as bigint) as months_since,
    cast(judged.matched_months as bigint) as matched_months,
    judged.before_value,
    judged.after_value,
    judged.difference,
    judged.interval_low,
    judged.interval_high,
    judged.deciding_low,
    judged.deciding_high,
    judged.counted_before,
    judged.counted_after,
    judged.simple_difference,
    judged.simple_difference - judged.simple_margin as simple_low,
    judged.simple_difference + judged.simple_margin as simple_high,
    case
        when judged.too_little_because is not null then 'too little data'
        when (judged.better = 'up' and judged.deciding_low > 0) or (judged.better = 'down' and judged.deciding_high < 0) then 'improved'
        when (judged.better = 'up' and judged.deciding_high < 0) or (judged.better = 'down' and judged.deciding_low > 0) then 'worse'
        else 'no clear change'
    end as verdict,
    judged.too_little_because as why_too_little,
    'observational' as label,
    cast(judged.drifted_months as bigint) as drifted_months,
    judged.baseline_hash,
    judged.frozen_at,
    clock.as_of
from judged
cross join (select {{ as_of() }} as as_of) as clock
