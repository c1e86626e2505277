-- Jobs and sub-customers are customers with a parent: money hangs on them, contact data on the parent. The parent's id is kept
-- for identity to follow; QuickBooks allows four levels.
with customers as (
    select
        base_quickbooks__customers.*,
        coalesce(provider_status = 'Deleted', false) or is_absent as is_deleted,
        trim(split_part(replace(email, ';', ','), ',', 1)) as first_email
    from {{ ref('base_quickbooks__customers') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        customer_id,
        parent_id,
        client_id || ':' || parent_id as parent_key,
        display_name,
        full_name,
        given_name,
        family_name,
        company_name,
        is_active,
        coalesce(is_job, false) as is_job,
        coalesce(is_project, false) as is_project,
        coalesce(level, 0) as level,
        balance_cents,
        primary_phone,
        mobile_phone,
        alternate_phone,
        coalesce(
            {{ phone_e164('primary_phone') }},
            {{ phone_e164('mobile_phone') }},
            {{ phone_e164('alternate_phone') }}
        ) as phone_e164,
        email,
        {{ email_normalized('first_email') }} as email_normalized,
        street,
        city,
        state,
        postal_code,
        customer_type_id,
        notes,
        change_number,
        is_deleted,
        created_at,
        updated_at,
        received_at,
        via
    from customers
)

select * from final
