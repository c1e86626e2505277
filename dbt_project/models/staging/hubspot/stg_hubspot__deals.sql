with deals as (
    select * from {{ ref('base_hubspot__deals') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        deal_id,
        created_at,
        deal_name,
        pipeline_id,
        stage_id,
        cast(round(amount * 100) as bigint) as amount_cents,
        currency,
        coalesce(is_closed, false) as is_closed,
        coalesce(is_won, false) as is_won,
        coalesce(is_closed and not coalesce(is_won, false), false) as is_lost,
        close_at,
        lost_reason,
        won_reason,
        first_source,
        owner_id,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at,
        via
    from deals
)

select * from final
