{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}") }}
-- What each identifier on a record says about whose record it is: the node it hangs the record on, and why in plain words.
-- A null node means: this identifier alone does not tell.
with members as (
    select node, component as cluster_id
    from {{ ref('int_clusters') }}
    where {{ only_touched('clusters', 'component') }}
),

held as (
    select
        held.record_uid, held.client_id, held.provider, held.stream, held.occurred_at, held.identity_key, held.given_name, held.greeted_name, held.full_name,
        held.is_lease, held.is_ours, members.cluster_id, keys.key_kind, keys.key_value, keys.key_class, keys.may_be_copied
    from {{ ref('int_record_keys') }} as held
    inner join {{ ref('int_keys') }} as keys on held.identity_key = keys.identity_key
    inner join members on held.identity_key = members.node
    where keys.key_class not in ('business_line', 'tracking_number', 'name_only')
),

-- the shortest first name a longer one begins with stands for both
names as (
    select distinct identity_key, given_name from held where key_class = 'household' and given_name is not null
),

spellings as (
    select names.identity_key, names.given_name, min(shorter.given_name) as name_on_key
    from names
    inner join names as shorter on names.identity_key = shorter.identity_key and names.given_name like shorter.given_name || '%'
    group by names.identity_key, names.given_name
),

-- a marketplace's number belongs to whoever it was last lent to; the text sorts by time, so its maximum is the latest lease
leased as (
    select
        held.*,
        max(case when is_lease then cast(occurred_at as {{ text_type() }}) || '|' || coalesce(given_name, '') || '|' || record_uid end) over (
            partition by identity_key
            order by occurred_at, case when is_lease then 0 else 1 end, record_uid
            rows between unbounded preceding and current row
        ) as lease,
        max(case when not is_ours and provider <> 'leadtrail' and stream not in ('contacts', 'customers') then occurred_at end) over (
            partition by identity_key
            order by occurred_at, case when is_ours then 1 else 0 end, record_uid
            rows between unbounded preceding and current row
        ) as heard_at
    from held
    where key_class = 'masked_marketplace' or may_be_copied
),

lent as (
    select
        record_uid, identity_key,
        split_part(lease, '|', 2) as lent_to,
        substr(lease, length(split_part(lease, '|', 1)) + length(split_part(lease, '|', 2)) + 3) as lease_uid,
        given_name,
        {{ epoch_seconds('occurred_at') }} - {{ epoch_seconds("cast(split_part(lease, '|', 1) as timestamp)") }} as seconds_after,
        {{ epoch_seconds('occurred_at') }} - {{ epoch_seconds('heard_at') }} as seconds_unheard
    from leased
),

-- names that two contacts of the CRM or two customers in the books have: what goes by such a name may be the one's or the other's
namesakes as (
    select distinct cluster_id, full_name
    from (
        select cluster_id, lower(trim(full_name)) as full_name
        from held
        where stream in ('contacts', 'customers') and full_name is not null
        group by cluster_id, lower(trim(full_name)), stream
        having count(distinct record_uid) > 1
    ) as of_one_system
),

-- a marketplace lead and a deal of the same name and service, entered within two days of each other, and nothing else like them around
spaced as (
    select
        held.*,
        case
            when {{ epoch_seconds('occurred_at') }}
                - {{ epoch_seconds('lag(occurred_at) over (partition by identity_key order by occurred_at, record_uid)') }} <= {{ var('same_service_days') }} * 86400
                then 0
            else 1
        end as starts
    from held
    left join namesakes on held.cluster_id = namesakes.cluster_id and split_part(held.key_value, '/', 1) = namesakes.full_name
    where held.key_kind = 'name_service' and namesakes.full_name is null
),

meetings as (
    select
        spaced.*,
        sum(starts) over (partition by identity_key order by occurred_at, record_uid rows between unbounded preceding and current row) as meeting
    from spaced
),

met as (
    select identity_key, meeting
    from meetings
    group by identity_key, meeting
    having sum(case when is_lease then 1 else 0 end) = 1 and sum(case when is_lease then 0 else 1 end) = 1
),

same_service as (
    select meetings.record_uid, meetings.identity_key, meetings.meeting
    from meetings
    inner join met on meetings.identity_key = met.identity_key and meetings.meeting = met.meeting
),

-- what people decided: two identifiers are one person's, or two persons'
decisions as (
    select
        decisions.client_id || '|' || decisions.key_a as key_a,
        decisions.client_id || '|' || decisions.key_b as key_b,
        decisions.decision,
        'leadtrail:identity_decisions:' || decisions.record_key as record_uid
    from {{ ref('stg_leadtrail__identity_decisions') }} as decisions
    where decisions.is_standing
),

parted as (
    select distinct decisions.key_a, decisions.key_b, members.cluster_id
    from decisions
    inner join members on decisions.key_a = members.node
    where decisions.decision = 'part'
),

-- what both sides hold is what joined them; if nothing is, they were joined through others, and no phone or email in the cluster counts
shared as (
    select distinct parted.key_a, parted.key_b, parted.cluster_id, on_a.identity_key
    from parted
    inner join held as with_a on parted.key_a = with_a.identity_key
    inner join held as on_a on with_a.record_uid = on_a.record_uid
    inner join held as on_b on on_a.identity_key = on_b.identity_key
    inner join held as with_b on on_b.record_uid = with_b.record_uid and parted.key_b = with_b.identity_key
    where on_a.key_kind in ('phone', 'email', 'name_address', 'name_amount', 'name_service', 'name')
        and on_a.identity_key not in (parted.key_a, parted.key_b)
        and with_a.provider <> 'leadtrail' and with_b.provider <> 'leadtrail'
),

set_aside as (
    select identity_key from shared
    union
    select held.identity_key
    from held
    inner join parted on held.cluster_id = parted.cluster_id
    left join shared on parted.key_a = shared.key_a and parted.key_b = shared.key_b
    where shared.identity_key is null
        and held.key_kind in ('phone', 'email', 'name_address', 'name_amount', 'name_service', 'name')
        and held.identity_key not in (parted.key_a, parted.key_b)
),

ruled as (
    select
        held.*,
        case
            when held.stream = 'identity_decisions' then case when decisions.decision = 'link' then 'decided' else 'parted' end
            when set_aside.identity_key is not null then 'set_aside'
            when held.key_class in ('household', 'direct') and held.may_be_copied and lent.lease_uid is null and held.given_name is null then 'copied_later'
            when held.key_class in ('household', 'direct') and held.may_be_copied and held.is_ours and coalesce(held.given_name, held.greeted_name) is null
                and (lent.seconds_unheard is null or lent.seconds_unheard > {{ var('copied_days') }} * 86400) then 'copied_long_ago'
            when held.key_class = 'household' and spellings.name_on_key is not null then 'shared_with_name'
            when held.key_class = 'household' then 'shared_without_name'
            when held.key_class = 'masked_marketplace' and held.is_lease then 'lease'
            when held.key_class = 'masked_marketplace' and lent.lease_uid is null then 'lent_to_nobody'
            when held.key_class = 'masked_marketplace' and lent.seconds_after > {{ var('lease_days') }} * 86400 then 'lent_long_ago'
            when held.key_class = 'masked_marketplace' and held.given_name is not null and lent.lent_to <> ''
                and not (held.given_name like lent.lent_to || '%' or lent.lent_to like held.given_name || '%') then 'lent_to_another'
            when held.key_class = 'masked_marketplace' then 'lent'
            when held.key_class = 'spam' then 'spam'
            when held.key_kind in ('phone', 'email') then 'own_' || held.key_kind
            when held.key_kind in ('name_address', 'name_amount', 'name') then held.key_kind
            when held.key_kind = 'name_service' and same_service.meeting is not null then 'name_service'
            when held.key_kind = 'name_service' then 'name_service_apart'
            else 'provider_id'
        end as rule,
        spellings.name_on_key,
        lent.lease_uid,
        same_service.meeting
    from held
    left join spellings on held.identity_key = spellings.identity_key and coalesce(held.given_name, held.greeted_name) = spellings.given_name
    left join lent on held.record_uid = lent.record_uid and held.identity_key = lent.identity_key
    left join same_service on held.record_uid = same_service.record_uid and held.identity_key = same_service.identity_key
    left join set_aside on held.identity_key = set_aside.identity_key
    left join decisions on held.record_uid = decisions.record_uid
),

told as (
    select
        record_uid,
        cluster_id,
        client_id,
        provider,
        stream,
        occurred_at,
        identity_key,
        key_kind,
        key_value,
        key_class,
        rule,
        case rule
            when 'shared_with_name' then identity_key || '~' || name_on_key
            when 'lease' then identity_key || '@' || record_uid
            when 'lent' then identity_key || '@' || lease_uid
            when 'own_phone' then identity_key
            when 'own_email' then identity_key
            when 'provider_id' then identity_key
            when 'name_address' then identity_key
            when 'name_amount' then identity_key
            when 'name' then identity_key
            when 'name_service' then identity_key || '#' || cast(meeting as {{ text_type() }})
            when 'spam' then identity_key
            when 'decided' then identity_key
        end as node,
        case rule
            when 'own_phone' then 'The phone ' || key_value || ' is one person''s own.'
            when 'own_email' then 'The address ' || key_value || ' is one person''s own.'
            when 'provider_id' then provider || ' says so: ' || replace(key_kind, '_', ' ') || ' ' || key_value || '.'
            when 'name_address' then 'Same full name at the same street address: ' || key_value || '.'
            when 'name_amount' then 'Same full name and the same amount to the cent: ' || key_value || '.'
            when 'name' then 'The only contact and the only customer of this name, entered within a month; the customer has no phone or email: ' || key_value || '.'
            when 'name_service' then 'Same full name and service within two days: ' || key_value || '.'
            when 'name_service_apart' then 'Same full name and service as others, but not one of each at one time, or two contacts or customers have this name: ' || key_value || '.'
            when 'shared_with_name' then key_value || ' is shared; the first name "' || name_on_key || '" tells whose record it is.'
            when 'shared_without_name' then key_value || ' is shared and no name is given, so it does not tell by itself.'
            when 'lease' then 'The marketplace lent ' || key_value || ' to this lead.'
            when 'lent' then key_value || ' was lent to this marketplace lead at that time.'
            when 'lent_to_nobody' then key_value || ' is a marketplace''s number, lent to nobody we know at that time.'
            when 'lent_long_ago' then key_value || ' is a marketplace''s number; its last lead is too long ago.'
            when 'copied_later' then key_value || ' came later with a marketplace''s lead and may be its number: whose it was before, nobody wrote down.'
            when 'copied_long_ago' then key_value || ' came with a marketplace''s lead and may be its number: whom we called on it so long after, nobody wrote down.'
            when 'lent_to_another' then key_value || ' is a marketplace''s number, lent to somebody of another name at that time.'
            when 'spam' then key_value || ' is a nuisance caller.'
            when 'decided' then 'Somebody decided that these are one person.'
            when 'parted' then 'Somebody decided that these are two persons.'
            when 'set_aside' then key_value || ' does not count: it is shared by two whom somebody parted.'
        end as because
    from ruled
),

-- records that hold no usable identifier stand alone
alone as (
    select
        record_uid, cluster_id, min(client_id) as client_id, min(provider) as provider, min(stream) as stream, min(occurred_at) as occurred_at
    from (
        select held.record_uid, members.cluster_id, held.client_id, held.provider, held.stream, held.occurred_at
        from {{ ref('int_record_keys') }} as held
        inner join members on 'record:' || held.record_uid = members.node
    ) as lone
    group by record_uid, cluster_id
)

select * from told
union all
select
    record_uid, cluster_id, client_id, provider, stream, occurred_at, 'record:' || record_uid, 'record', record_uid, 'none', 'alone',
    cast(null as {{ text_type() }}), 'It names nobody.'
from alone
