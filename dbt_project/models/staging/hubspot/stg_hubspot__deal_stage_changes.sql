-- The only source that says when a stage was reached. HubSpot gives no order that can be relied on; the times give it.
with deals as (
    select * from {{ ref('base_hubspot__deals') }}
    where rejected_because is null
),

steps as (
    select
        client_id,
        record_key as deal_key,
        deal_id,
        pipeline_id,
        received_at,
        {{ json_text('item', 'value') }} as stage_id,
        {{ utc_timestamp(json_text('item', 'timestamp')) }} as reached_at,
        {{ json_text('item', 'sourceType') }} as source_type
    from deals
    {{ json_each('stage_history') }}
),

ranked as (
    select
        *,
        row_number() over (partition by deal_key, reached_at, stage_id order by source_type) as copy_number
    from steps
    where stage_id is not null and reached_at is not null
),

final as (
    select
        client_id,
        deal_key || ':' || cast(reached_at as {{ text_type() }}) || ':' || stage_id as stage_change_key,
        deal_key,
        deal_id,
        pipeline_id,
        stage_id,
        reached_at,
        row_number() over (partition by deal_key order by reached_at, stage_id) as step_number,
        source_type,
        received_at
    from ranked
    where copy_number = 1
)

select * from final
