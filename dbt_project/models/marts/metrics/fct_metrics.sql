-- Every metric, as counted: what was counted, of how many, who was left out and why, how much we see, and when this was true.
with rows_of_metrics as (
    {% for family in ['leads', 'calls', 'quotes', 'texts', 'costs'] %}
    select * from {{ ref('int_metrics__' ~ family) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

clock as (
    select {{ as_of() }} as as_of
),

final as (
    select
        rows_of_metrics.client_id || '|' || cast(rows_of_metrics.month as {{ text_type() }}) || '|' || rows_of_metrics.channel || '|' || rows_of_metrics.metric as metric_key,
        rows_of_metrics.client_id,
        rows_of_metrics.month,
        rows_of_metrics.channel,
        rows_of_metrics.metric,
        rows_of_metrics.numerator,
        rows_of_metrics.denominator,
        rows_of_metrics.value,
        definitions.unit,
        definitions.better,
        rows_of_metrics.excluded,
        rows_of_metrics.exclusions,
        rows_of_metrics.k,
        days.coverage,
        clock.as_of,
        -- the whole month is seen, and has been over long enough for late answers and bookings to be in
        coalesce(days.is_full_month, false)
            and clock.as_of >= cast(rows_of_metrics.month as timestamp) + interval '1' month + definitions.settles_after_days * interval '1' day as is_comparable
    from rows_of_metrics
    cross join clock
    inner join {{ ref('metric_definitions') }} as definitions on rows_of_metrics.metric = definitions.metric
    left join {{ ref('provider_days') }} as days
        on rows_of_metrics.client_id = days.client_id and definitions.fed_by = days.provider and rows_of_metrics.month = days.month
)

select * from final
