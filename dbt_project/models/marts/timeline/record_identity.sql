{{ config(materialized='view') }}
select
    identity.client_id,
    identity.person_id,
    identity.provider,
    identity.stream,
    records.record_id,
    identity.record_uid,
    identity.placed_by,
    identity.because,
    identity.first_known_at,
    identity.batch_id
from {{ ref('int_identity') }} as identity
inner join {{ ref('int_records') }} as records on identity.record_uid = records.record_uid
