{{ config(materialized='incremental', incremental_strategy='touched', touched=['keys', 'identity_key'], post_hook="{{ note_progress() }}") }}
-- What each identifier is worth. Only a direct one joins records by itself; every other class needs something more, or joins nothing.
with held as (
    select * from {{ ref('int_record_keys') }}
    where {{ only_touched('keys', 'identity_key') }}
),

names as (
    select identity_key, given_name from held
    where given_name is not null and provider <> 'leadtrail'
    union
    select identity_key, caller_name from held
    where caller_name is not null
),

-- "Tim" and "Timothy" are one name: a name counts unless a shorter one that it begins with is there too
longer_names as (
    select distinct names.identity_key, names.given_name
    from names
    inner join names as shorter on names.identity_key = shorter.identity_key and names.given_name like shorter.given_name || '%'
    where names.given_name <> shorter.given_name
),

counted_names as (
    select names.identity_key, count(*) as names
    from names
    left join longer_names on names.identity_key = longer_names.identity_key and names.given_name = longer_names.given_name
    where longer_names.identity_key is null
    group by names.identity_key
),

-- marketplace leads that showed one number under different names: the marketplace lends it. One that does not say whose its numbers are may
-- lend it though we saw it once: it is the customer's own if a marketplace says so, or somebody else wrote it down beside a name. Was that in
-- the CRM or the books after the lead came, they may have copied it: then it says nothing of who called before.
showings as (
    select
        identity_key, is_lease, is_proxy,
        lower(trim(coalesce(full_name, given_name))) as name,
        not is_lease and provider <> 'leadtrail' and given_name is not null as is_written_down,
        stream not in ('contacts', 'customers') or occurred_at < min(case when is_lease then occurred_at end) over (partition by identity_key) as is_no_copy
    from held
    where key_kind = 'phone' and identity_key in (select identity_key from held where is_lease)
),

lends as (
    select
        identity_key,
        count(distinct case when is_lease then name end) as lent_to,
        max(case when is_lease and is_proxy is null then 1 else 0 end) = 1 and max(case when is_lease and not is_proxy then 1 else 0 end) = 0 as is_nobodys_word,
        max(case when is_written_down then 1 else 0 end) = 1 as is_written_down,
        max(case when is_written_down and is_no_copy then 1 else 0 end) = 1 as is_known
    from showings
    group by identity_key
),

evidence as (
    select
        held.identity_key,
        min(held.client_id) as client_id,
        min(held.key_kind) as key_kind,
        min(held.key_value) as key_value,
        count(*) as records,
        max(case when held.is_own then 1 else 0 end) = 1 as is_own,
        max(case when held.is_proxy then 1 else 0 end) = 1 as is_proxy,
        max(case when held.is_spam then 1 else 0 end) = 1 as is_spam,
        max(case when held.stream = 'trackers' and held.is_own then 1 else 0 end) = 1 as is_tracker,
        count(distinct case when held.stream = 'contacts' then held.record_uid end) as contacts,
        count(distinct case when held.stream = 'deals' then held.record_uid end) as deals,
        count(distinct case when held.stream = 'customers' then held.record_uid end) as customers,
        coalesce(
            min(case when held.stream = 'contacts' then held.occurred_at end), min(case when held.stream = 'deals' then held.occurred_at end)
        ) as contact_at,
        min(case when held.stream = 'customers' then held.occurred_at end) as customer_at
    from held
    group by held.identity_key
),

seeded as (
    select
        evidence.identity_key,
        min(classes.class) as class,
        min(classes.why) as why
    from evidence
    inner join {{ ref('key_classes') }} as classes
        on (classes.client_id = '*' or classes.client_id = evidence.client_id)
        and evidence.identity_key = evidence.client_id || '|' || classes.identity_key
    group by evidence.identity_key
),

judged as (
    select
        evidence.*,
        coalesce(counted_names.names, 0) as names,
        coalesce(lends.lent_to, 0) as lent_to,
        coalesce(lends.is_nobodys_word and not lends.is_written_down, false) as may_be_lent,
        coalesce(lends.is_nobodys_word and lends.is_written_down and not lends.is_known, false) as may_be_copied,
        -- a name alone proves nothing, unless one contact of one deal (or one deal, if its contact is half named) and one customer without phone
        -- or email have it, entered about one time
        coalesce(evidence.customers = 1 and ((evidence.contacts = 1 and evidence.deals <= 1) or (evidence.contacts = 0 and evidence.deals = 1))
            and abs({{ epoch_seconds('evidence.customer_at') }} - {{ epoch_seconds('evidence.contact_at') }}) <= {{ var('same_name_days') }} * 86400, false) as is_name_of_one,
        seeded.class as seeded_class,
        seeded.why as seeded_why,
        evidence.key_kind = 'phone' and substr(evidence.key_value, 3, 3) in ('800', '833', '844', '855', '866', '877', '888') as is_toll_free
    from evidence
    left join counted_names on evidence.identity_key = counted_names.identity_key
    left join lends on evidence.identity_key = lends.identity_key
    left join seeded on evidence.identity_key = seeded.identity_key
),

final as (
    select
        identity_key,
        client_id,
        key_kind,
        key_value,
        records,
        names,
        case
            when seeded_class is not null then seeded_class
            when key_kind = 'name' and is_name_of_one then 'direct'
            when key_kind = 'name' then 'name_only'
            when key_kind not in ('phone', 'email') then 'direct'
            when is_tracker then 'tracking_number'
            when is_own then 'business_line'
            when is_toll_free then 'spam'
            when is_proxy or lent_to > 1 or may_be_lent then 'masked_marketplace'
            when is_spam and names = 0 then 'spam'
            when names > {{ var('shared_by_many') }} then 'business_line'
            when names > 1 then 'household'
            else 'direct'
        end as key_class,
        may_be_copied,
        case
            when seeded_class is not null then 'Somebody entered it in key_classes: ' || coalesce(seeded_why, 'no reason given') || '.'
            when key_kind = 'name' and not is_name_of_one then 'A name alone proves nothing.'
            when key_kind = 'name' then 'One CRM contact or deal has this name, and one customer in the books without phone or email, entered within a month.'
            when key_kind not in ('phone', 'email') then 'The provider''s own id.'
            when is_tracker then 'One of the client''s tracking numbers.'
            when is_own then 'One of the client''s own lines.'
            when is_toll_free then 'A toll-free number is nobody''s own.'
            when is_proxy then 'The marketplace says that it lends this number.'
            when lent_to > 1 then 'A marketplace showed it for ' || cast(lent_to as {{ text_type() }}) || ' different customers: it lends this number.'
            when may_be_lent then 'A marketplace showed it, does not say whose it is, and nobody else wrote it down beside a name.'
            when is_spam and names = 0 then 'A call from it was marked as spam, and no form, contact or customer has it.'
            when names > {{ var('shared_by_many') }} then 'It appears with ' || cast(names as {{ text_type() }}) || ' first names: an office or a front desk.'
            when names > 1 then 'It appears with ' || cast(names as {{ text_type() }}) || ' first names: people of one home.'
            else 'It appears with one name at most.'
        end as class_because
    from judged
)

select * from final
