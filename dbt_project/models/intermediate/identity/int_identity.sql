{{ config(
    materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true,
    post_hook=["{{ touch_moved_first_days() }}", "{{ note_progress() }}"]
) }}
-- Whose each record is, and why.
with nodes as (
    select * from {{ touched_rows(ref('int_record_nodes')) }} as touched
    where stream <> 'identity_decisions'
),

records as (
    select
        record_uid, min(cluster_id) as cluster_id, min(client_id) as client_id, min(provider) as provider, min(stream) as stream,
        min(occurred_at) as occurred_at, min({{ in_bytes('node') }}) as hub,
        max(case when key_class = 'spam' then 1 else 0 end) as spam_keys,
        max(case when node is not null and key_class <> 'spam' then 1 else 0 end) as telling_keys
    from nodes
    group by record_uid
),

told as (
    select records.*, persons.component as person_node
    from records
    inner join {{ ref('int_persons') }} as persons on records.hub = persons.node
),

-- a call on a shared phone says no name: it goes to the one of that phone who was in touch around that time, if no other was
untold as (
    select records.*, nodes.identity_key, nodes.key_value
    from records
    inner join nodes on records.record_uid = nodes.record_uid
    where records.hub is null and nodes.rule in ('shared_without_name', 'set_aside')
),

holders as (
    select distinct nodes.identity_key, told.person_node, told.cluster_id
    from nodes
    inner join told on nodes.record_uid = told.record_uid
    where nodes.rule in ('shared_with_name', 'set_aside')
),

distances as (
    select
        untold.record_uid, untold.identity_key, holders.person_node,
        min(abs({{ epoch_seconds('untold.occurred_at') }} - {{ epoch_seconds('told.occurred_at') }})) as seconds_apart
    from untold
    inner join holders on untold.identity_key = holders.identity_key
    inner join told on holders.person_node = told.person_node and holders.cluster_id = told.cluster_id
    where told.provider <> 'leadtrail'  -- that we wrote to somebody does not say that they called
    group by untold.record_uid, untold.identity_key, holders.person_node
),

ranked as (
    select
        *,
        row_number() over (partition by record_uid order by seconds_apart, person_node, identity_key) as place,
        lead(seconds_apart) over (partition by record_uid order by seconds_apart, person_node, identity_key) as next_seconds_apart
    from distances
),

nearest as (
    select *
    from ranked
    where place = 1
        and seconds_apart <= {{ var('same_household_days') }} * 86400
        and coalesce(
            next_seconds_apart > {{ var('other_household_days') }} * 86400 and next_seconds_apart > 3 * seconds_apart, true
        )
),

placed as (
    select
        records.record_uid,
        records.cluster_id,
        records.client_id,
        records.provider,
        records.stream,
        records.occurred_at,
        case
            when records.hub is not null then told.person_node
            when nearest.person_node is not null then nearest.person_node
            when untold_key.identity_key is not null then untold_key.identity_key || '~somebody on ' || cast(cast(records.occurred_at as date) as {{ text_type() }})
            else 'record:' || records.record_uid
        end as person_node,
        case
            when records.hub is not null and records.telling_keys = 0 and records.spam_keys = 1 then 'spam'
            when records.hub is not null then 'told'
            when nearest.person_node is not null then 'nearest'
            when untold_key.identity_key is not null then 'somebody'
            else 'alone'
        end as placed_by,
        nearest.identity_key as nearest_key,
        nearest.seconds_apart
    from records
    left join told on records.record_uid = told.record_uid
    left join nearest on records.record_uid = nearest.record_uid
    left join (select record_uid, min(identity_key) as identity_key from untold group by record_uid) as untold_key
        on records.record_uid = untold_key.record_uid
),

reasons as (
    select record_uid, min(case when node is not null then because end) as because, min(because) as because_not
    from nodes
    group by record_uid
),

known as (
    select placed.*, records.first_known_at, records.batch_id
    from placed
    left join {{ ref('int_records') }} as records on placed.record_uid = records.record_uid
),

-- a person is called after the record that was known first, so the id stays when more is learnt
named as (
    select
        known.*,
        first_value(record_uid) over (
            partition by cluster_id, person_node
            order by case when provider = 'leadtrail' then 1 else 0 end, first_known_at, occurred_at, record_uid
            rows between unbounded preceding and unbounded following
        ) as first_record_uid,
        max(case when provider <> 'leadtrail' then 1 else 0 end) over (partition by cluster_id, person_node) = 1 as is_somebody
    from known
)

select
    named.record_uid,
    named.cluster_id,
    named.client_id,
    named.provider,
    named.stream,
    {{ id_of(["'person'", 'named.first_record_uid']) }} as person_id,
    named.placed_by = 'spam' as is_spam,
    named.placed_by,
    case named.placed_by
        when 'nearest' then 'The ' || replace(substr(named.nearest_key, length(named.client_id) + 2), ':', ' ')
            || ' is shared and no name is given; only this person was in touch around that time ('
            || case
                when named.seconds_apart < 86400 then 'within a day'
                else cast(cast(round(named.seconds_apart / 86400.0) as bigint) as {{ text_type() }}) || ' days apart'
            end || ').'
        when 'somebody' then 'Somebody on a shared phone: nobody known, or more than one, was in touch around that time.'
        when 'alone' then reasons.because_not
        else reasons.because
    end as because,
    named.first_known_at,
    named.batch_id
from named
left join reasons on named.record_uid = reasons.record_uid
-- what we did for somebody makes nobody of its own
where named.is_somebody
