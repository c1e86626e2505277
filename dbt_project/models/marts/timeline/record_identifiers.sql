{{ config(materialized='view') }}
select
    held.client_id,
    held.record_uid,
    held.key_kind || ':' || held.key_value as identifier,
    keys.key_class,
    keys.class_because,
    keys.records
from {{ ref('int_record_keys') }} as held
inner join {{ ref('int_keys') }} as keys on held.identity_key = keys.identity_key
