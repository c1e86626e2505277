-- A decision stands until a later one about the same two identifiers is made; `forget` takes it back.
with decisions as (
    select
        *,
        row_number() over (
            partition by client_id, least(key_a, key_b), greatest(key_a, key_b) order by decided_at desc, record_key desc
        ) as newest
    from {{ ref('base_leadtrail__identity_decisions') }}
    where rejected_because is null and not is_absent
),

final as (
    select
        client_id,
        record_key,
        decision_id,
        decision,
        key_a,
        key_b,
        decided_by,
        decided_at,
        why,
        newest = 1 and decision <> 'forget' as is_standing,
        received_at
    from decisions
)

select * from final
