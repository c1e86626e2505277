-- HubSpot names what was merged into a contact as "512;513" on the one that stays.
with contacts as (
    select
        client_id,
        contact_id,
        received_at,
        '["' || replace(merged_contact_ids, ';', '","') || '"]' as merged_ids
    from {{ ref('base_hubspot__contacts') }}
    where rejected_because is null and merged_contact_ids is not null
),

merged as (
    select
        client_id,
        contact_id,
        received_at,
        trim(replace(cast(item as {{ text_type() }}), '"', '')) as merged_contact_id
    from contacts
    {{ json_each('merged_ids') }}
),

-- a contact merged twice in a row is named by both who took it in; both lead to the same person
ranked as (
    select
        *,
        row_number() over (
            partition by client_id, merged_contact_id order by received_at desc, contact_id desc
        ) as newest
    from merged
    where merged_contact_id <> '' and merged_contact_id <> contact_id
),

final as (
    select
        client_id,
        client_id || ':' || merged_contact_id as merged_contact_key,
        merged_contact_id,
        contact_id,
        received_at
    from ranked
    where newest = 1
)

select * from final
