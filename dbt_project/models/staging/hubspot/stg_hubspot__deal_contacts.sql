-- HubSpot's answer "no contact is associated" is a record without contacts: it takes back earlier links.
with links as (
    select * from {{ ref('base_hubspot__deal_contacts') }}
    where rejected_because is null and not is_absent
),

ranked as (
    select
        client_id,
        record_key as deal_key,
        record_id as deal_id,
        received_at,
        {{ json_text('item', 'toObjectId') }} as contact_id,
        row_number() over (
            partition by record_key, {{ json_text('item', 'toObjectId') }} order by item_number
        ) as copy_number
    from links
    {{ json_each('contacts') }}
),

final as (
    select
        client_id,
        deal_key || ':' || contact_id as link_key,
        deal_key,
        deal_id,
        contact_id,
        received_at
    from ranked
    where contact_id is not null and copy_number = 1
)

select * from final
