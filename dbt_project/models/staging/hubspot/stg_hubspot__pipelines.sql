with pipelines as (
    select * from {{ ref('base_hubspot__pipelines') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        pipeline_id,
        label as pipeline_label,
        display_order,
        coalesce(is_archived, false) or is_absent as is_archived,
        updated_at,
        received_at
    from pipelines
)

select * from final
