-- Company ids were numbers until 2025-04-28 and are COM… since: the same company may have landed under both. Name and
-- moment of creation say so; the COM… row stays and keeps the old number as an alias.
with companies as (
    select * from {{ ref('base_callrail__companies') }}
    where rejected_because is null
),

numbered as (
    select
        companies.*,
        row_number() over (
            partition by client_id, company_name, coalesce(cast(created_at as {{ text_type() }}), company_id)
            order by case when company_id like 'COM%' then 0 else 1 end, record_key
        ) as place,
        max(case when company_id not like 'COM%' then company_id end) over (
            partition by client_id, company_name, coalesce(cast(created_at as {{ text_type() }}), company_id)
        ) as legacy_company_id
    from companies
),

final as (
    select
        client_id,
        record_key,
        case when company_id like 'COM%' then company_id end as company_id,
        legacy_company_id,
        company_name,
        status,
        status = 'active' as is_active,
        time_zone,
        created_at,
        disabled_at,
        received_at,
        via
    from numbered
    where place = 1
)

select * from final
