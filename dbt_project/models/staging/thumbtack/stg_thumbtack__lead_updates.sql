with updates as (
    select * from {{ ref('base_thumbtack__lead_updates') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        lead_id,
        charge_state,
        lead_price_cents,
        case when charge_state = 'Refunded' then 0 else lead_price_cents end as cost_cents,
        occurred_at,
        received_at,
        via
    from updates
)

select * from final
