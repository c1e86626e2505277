-- Stages are known by their id: labels are each business's own and get renamed.
with pipelines as (
    select * from {{ ref('base_hubspot__pipelines') }}
    where rejected_because is null
),

stages as (
    select
        client_id,
        record_key as pipeline_key,
        pipeline_id,
        received_at,
        {{ json_text('item', 'id') }} as stage_id,
        {{ json_text('item', 'label') }} as stage_label,
        {{ typed_value(json_text('item', 'displayOrder'), 'integer') }} as display_order,
        {{ typed_value(json_text('item', 'metadata.isClosed'), 'boolean') }} as is_closed,
        {{ typed_value(json_text('item', 'metadata.probability'), 'double') }} as probability,
        {{ typed_value(json_text('item', 'archived'), 'boolean') }} as is_archived
    from pipelines
    {{ json_each('stages') }}
),

final as (
    select
        client_id,
        pipeline_key || ':' || stage_id as stage_key,
        pipeline_id,
        stage_id,
        stage_label,
        display_order,
        probability,
        coalesce(is_closed, false) as is_closed,
        coalesce(is_closed and probability = 1, false) as is_won,
        coalesce(is_closed and probability = 0, false) as is_lost,
        coalesce(is_archived, false) as is_archived,
        received_at
    from stages
    where stage_id is not null
)

select * from final
