with tasks as (
    select * from {{ ref('base_hubspot__tasks') }}
    where rejected_because is null
),

final as (
    select
        client_id,
        record_key,
        task_id,
        created_at,
        due_at,
        subject,
        body,
        status,
        coalesce(status = 'COMPLETED', false) as is_completed,
        case when status = 'COMPLETED' then completed_at end as completed_at,
        nullif(priority, 'NONE') as priority,
        task_type,
        owner_id,
        coalesce(body like '%fk:%', false) as is_from_leadtrail,
        coalesce(is_archived, false) or is_absent as is_deleted,
        coalesce(archived_at, absent_since) as deleted_at,
        updated_at,
        received_at,
        via
    from tasks
)

select * from final
