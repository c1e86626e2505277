with leads as (
    select * from {{ ref('base_angi__imported_leads') }} where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        record_id,
        lead_id,
        created_at,
        full_name,
        phone,
        {{ phone_e164('phone') }} as phone_e164,
        email,
        {{ email_normalized('email') }} as email_normalized,
        task,
        fee_cents as gross_cost_cents,
        abs(credit_cents) as credit_cents,
        greatest(fee_cents - abs(coalesce(credit_cents, 0)), 0) as cost_cents,
        columns_json,
        'import' as source_quality,
        received_at,
        via
    from leads
)

select * from final
