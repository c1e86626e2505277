{{ config(materialized='connected_components', replaces='components') }}
-- Records that share any identifier, even one that does not prove anything, lie in one cluster. Who is who is then decided inside
-- each cluster alone, so news about one cluster never changes another.
{%- set everything = everything_touched('keys') %}
{%- set ties_nothing = "('business_line', 'tracking_number', 'name_only')" %}
with
{%- if not everything %}

touched_records as (
    select distinct record_uid
    from {{ ref('int_record_keys') }}
    where identity_key in (select touched from landing.touched_keys where build > {{ progress() }})
),

beside as (
    select distinct identity_key
    from {{ ref('int_record_keys') }}
    where record_uid in (select record_uid from touched_records)
),

-- every identifier that ties a record with a touched one to others, and the whole of the clusters these are in
neighbours as (
    select beside.identity_key
    from beside
    inner join {{ ref('int_keys') }} as keys on beside.identity_key = keys.identity_key
    where keys.key_class not in {{ ties_nothing }}
    union
    select touched from landing.touched_keys where build > {{ progress() }}
    union
    select 'record:' || record_uid from touched_records
),

reached as (
    select node as identity_key from {{ this }}
    where component in (select component from {{ this }} where node in (select identity_key from neighbours))
    union
    select identity_key from neighbours
),

reached_records as (
    select distinct record_uid
    from {{ ref('int_record_keys') }}
    where identity_key in (select identity_key from reached)
),
{%- endif %}

held as (
    select record_uid, client_id, identity_key
    from {{ ref('int_record_keys') }}
    {%- if not everything %}
    where record_uid in (select record_uid from reached_records)
    {%- endif %}
),

usable as (
    select held.record_uid, held.client_id, case when keys.key_class in {{ ties_nothing }} then null else held.identity_key end as node
    from held
    inner join {{ ref('int_keys') }} as keys on held.identity_key = keys.identity_key
),

hubs as (
    select record_uid, min(client_id) as client_id, coalesce(min({{ in_bytes('node') }}), 'record:' || record_uid) as hub
    from usable
    group by record_uid
),

edges as (
    select hubs.hub as a, usable.node as b, hubs.client_id as part
    from hubs
    inner join usable on hubs.record_uid = usable.record_uid
    where usable.node is not null
    union
    select hub, hub, client_id from hubs
    {%- if not everything %}
    union
    select identity_key, identity_key, null from reached
    {%- endif %}
)

select a, b, part from edges
