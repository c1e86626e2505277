{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], post_hook="{{ note_progress() }}") }}
-- Credit by the six models that are rules. Each rule gives whole weights to the credited touches of a lead; all conversions of a lead are
-- shared out the same way, so a refund takes back exactly where its payment gave. Where a lead has one channel, or none, there is nothing to
-- learn: the data-driven model's credit of such leads, most of them, is here too. (Whether a client is shown it, the mart decides.)
{%- set models = {
    'first': 'case when touch_number = 1 then 1 else 0 end',
    'last': 'case when touch_number = credited_touches then 1 else 0 end',
    'linear': '1',
    'position_based': 'case when credited_touches <= 2 then 1 when touch_number in (1, credited_touches) then 2 * (credited_touches - 2) else 1 end',
    'w_shaped': 'case when milestones > 0 then 3 * milestones * greatest(others_of_lead, 1) else 1 end',
    'time_decay': 'cast(round(100000000 * power(0.5, seconds_before_last / (' ~ var('attribution_half_life_days') ~ ' * 86400.0))) as bigint)',
} %}
{%- set with_data_driven = models.keys() | list + ['data_driven'] %}
with touches as (
    select
        int_touches.*,
        case when touch_number = 1 then 1 else 0 end
            + case when is_lead_created then 1 else 0 end
            + case when is_quote_sent then 1 else 0 end as milestones
    from {{ touched_rows(ref('int_touches')) }} as int_touches
    where is_credited
),

counted as (
    select touches.*, sum(case when milestones = 0 then 1 else 0 end) over (partition by lead_id) as others_of_lead
    from touches
),

weighed as (
    select
        lead_id, channel, count(*) as touches
        {%- for model, weight in models.items() %},
        sum({{ weight }}) as {{ model }}
        {%- endfor %},
        1 as data_driven
    from counted
    group by lead_id, channel
),

totalled as (
    select
        weighed.*
        {%- for model in with_data_driven %},
        sum({{ model }}) over (partition by lead_id) as {{ model }}_total
        {%- endfor %}
    from weighed
),

model_weights as (
    {%- for model in with_data_driven %}
    select lead_id, '{{ model }}' as model, channel, touches, {{ all_credit() }} as all_credit,
        cast({{ model }} as bigint) as weight, cast({{ model }}_total as bigint) as total
    from totalled
    {%- if model == 'data_driven' %}
    where data_driven_total = 1
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

lead_credit as (
    {{ shared_out('model_weights', ['lead_id', 'model', 'channel', 'touches', 'all_credit'], ['lead_id', 'model'], 'all_credit', 'weight', 'total') }}
),

conversions as (
    select * from {{ touched_rows(ref('int_conversions')) }} as touched
),

-- whose lead has no touch that could have brought it, or that has no lead at all, is unattributed: visible, never spread over the others
unattributed as (
    {%- for model in with_data_driven %}
    select '{{ model }}' as model, 'unattributed' as channel, 0 as touches, {{ all_credit() }} as part
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

credits as (
    select
        conversions.*, lead_credit.model, lead_credit.channel, lead_credit.touches, lead_credit.part as credit, {{ all_credit() }} as all_credit
    from conversions
    inner join lead_credit on conversions.lead_id = lead_credit.lead_id
    where lead_credit.part > 0

    union all

    select conversions.*, unattributed.model, unattributed.channel, unattributed.touches, unattributed.part, {{ all_credit() }}
    from conversions
    cross join unattributed
    where not exists (select 1 from weighed where weighed.lead_id = conversions.lead_id)
)

select
    conversion_id, client_id, lead_id, conversion_type, converted_at, converted_month, currency, model, channel, touches,
    credit, part as revenue_cents, cluster_id
from (
    {{ shared_out('credits', [
        'conversion_id', 'client_id', 'lead_id', 'conversion_type', 'converted_at', 'converted_month', 'currency', 'model', 'channel', 'touches',
        'credit', 'cluster_id',
    ], ['conversion_id', 'model'], 'revenue_cents', 'credit', 'all_credit') }}
) as shared
