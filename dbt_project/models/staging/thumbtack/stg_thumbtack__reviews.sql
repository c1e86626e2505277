with reviews as (
    select * from {{ ref('base_thumbtack__reviews') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        review_id,
        lead_id,
        business_id,
        coalesce(created_at_iso, created_at_ms, occurred_at) as created_at,
        modified_at_ms as modified_at,
        rating,
        text,
        reviewer_name,
        occurred_at,
        updated_at,
        received_at,
        via
    from reviews
)

select * from final
