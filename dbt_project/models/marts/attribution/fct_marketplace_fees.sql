-- What marketplaces charge for leads, as a ledger: the fee, what was given back, what is left. One lead can be known by webhook and by the
-- client's CSV export; the export is the later word on its fee, and what staff entered (seed lead_credits) on its credit.
with updates as (
    select
        client_id, lead_id,
        max(case when charge_state = 'Charged' then occurred_at end) as charged_at,
        max(case when charge_state = 'Refunded' then occurred_at end) as credited_at
    from {{ ref('stg_thumbtack__lead_updates') }}
    group by client_id, lead_id
),

pushed as (
    select
        leads.client_id, 'thumbtack' as channel, leads.record_key, leads.lead_id as lead_number, true as is_numbered, leads.created_at,
        leads.charge_state, leads.gross_cost_cents, updates.charged_at, updates.credited_at
    from {{ ref('stg_thumbtack__leads') }} as leads
    left join updates on leads.client_id = updates.client_id and leads.lead_id = updates.lead_id

    union all

    select client_id, 'angi', record_key, lead_id, sub_source <> 'angi_ads', created_at, 'Charged', gross_cost_cents, created_at, cast(null as timestamp)
    from {{ ref('stg_angi__leads') }}
),

imported as (
    select client_id, 'thumbtack' as channel, record_key, record_id, lead_id as lead_number, created_at, gross_cost_cents, credit_cents
    from {{ ref('stg_thumbtack__imported_leads') }}

    union all

    select client_id, 'angi', record_key, record_id, lead_id, created_at, gross_cost_cents, credit_cents
    from {{ ref('stg_angi__imported_leads') }}
),

-- whose lead it is, by the event the record became
leads as (
    select record_uid, min(lead_id) as lead_id
    from {{ ref('fct_lead_events') }}
    where event_type = 'marketplace_lead_received'
    group by record_uid
),

pushed_leads as (
    select pushed.*, leads.lead_id
    from pushed
    left join leads on leads.record_uid = pushed.channel || ':leads:' || pushed.record_key
),

imported_leads as (
    select imported.*, leads.lead_id
    from imported
    left join leads on leads.record_uid = imported.channel || ':imported_leads:' || imported.record_key
),

-- the same lead by number; where one side has none, by the same lead of ours within a day. Two joins: one on either would compare
-- every lead of a client with every other
alike as (
    select
        imported_leads.channel, imported_leads.record_key as imported_key, pushed_leads.record_key as pushed_key,
        imported_leads.created_at as imported_at, pushed_leads.created_at as pushed_at, 0 as likeness
    from imported_leads
    inner join pushed_leads
        on imported_leads.client_id = pushed_leads.client_id and imported_leads.channel = pushed_leads.channel
        and imported_leads.lead_number = pushed_leads.lead_number

    union all

    select
        imported_leads.channel, imported_leads.record_key, pushed_leads.record_key, imported_leads.created_at, pushed_leads.created_at, 1
    from imported_leads
    inner join pushed_leads
        on imported_leads.client_id = pushed_leads.client_id and imported_leads.channel = pushed_leads.channel
        and imported_leads.lead_id = pushed_leads.lead_id
    where (imported_leads.lead_number is null or not pushed_leads.is_numbered)
        and coalesce(imported_leads.lead_number <> pushed_leads.lead_number, true)
        and abs({{ epoch_seconds('imported_leads.created_at') }} - {{ epoch_seconds('pushed_leads.created_at') }}) <= 86400
),

pairs as (
    select
        channel, imported_key, pushed_key,
        row_number() over (partition by channel, imported_key order by likeness, pushed_at, pushed_key) as nth_pushed,
        row_number() over (partition by channel, pushed_key order by likeness, imported_at, imported_key) as nth_imported
    from alike
),

known as (
    select
        coalesce(pushed_leads.client_id, imported_leads.client_id) as client_id,
        coalesce(pushed_leads.channel, imported_leads.channel) as channel,
        coalesce(imported_leads.lead_number, pushed_leads.lead_number, imported_leads.record_id) as lead_number,
        coalesce(pushed_leads.lead_id, imported_leads.lead_id) as lead_id,
        coalesce(pushed_leads.created_at, imported_leads.created_at) as received_at,
        coalesce(imported_leads.gross_cost_cents, pushed_leads.gross_cost_cents) as fee_cents,
        imported_leads.credit_cents as imported_credit_cents,
        pushed_leads.charge_state, pushed_leads.charged_at, pushed_leads.credited_at,
        case
            when imported_leads.record_key is null then 'webhook' when pushed_leads.record_key is null then 'import' else 'webhook and import'
        end as known_by,
        case when pushed_leads.record_key is not null then pushed_leads.channel || ':leads:' || pushed_leads.record_key
            else imported_leads.channel || ':imported_leads:' || imported_leads.record_key end as record_uid
    from pushed_leads
    full outer join (
        select imported_leads.*, pairs.pushed_key
        from imported_leads
        left join pairs
            on imported_leads.channel = pairs.channel and imported_leads.record_key = pairs.imported_key and pairs.nth_pushed = 1 and pairs.nth_imported = 1
    ) as imported_leads
        on pushed_leads.channel = imported_leads.channel and pushed_leads.record_key = imported_leads.pushed_key
),

asked as (
    select
        client_id, channel, lead_number, min(asked_on) as asked_on, max(decided_on) as decided_on, max(reason) as reason,
        sum(case when state = 'granted' then credit_cents end) as granted_cents,
        max(case when state = 'asked' then 1 else 0 end) = 1 as is_open,
        max(case when state = 'refused' then 1 else 0 end) = 1 as is_refused
    from {{ ref('lead_credits') }}
    group by client_id, channel, lead_number
),

credited as (
    select
        known.*, asked.asked_on, asked.decided_on, asked.reason as credit_reason,
        coalesce(asked.is_open, false) as is_open,
        coalesce(asked.is_refused, false) as is_refused,
        -- never more than the fee
        least(coalesce(
            asked.granted_cents,
            case when known.charge_state = 'Refunded' then known.fee_cents end,
            known.imported_credit_cents,
            0
        ), known.fee_cents) as credit_cents
    from known
    left join asked on known.client_id = asked.client_id and known.channel = asked.channel and known.lead_number = asked.lead_number
),

stated as (
    select
        credited.*,
        case
            when credit_cents > 0 then 'credited'
            when is_open then 'disputed'
            when charge_state in ('Created', 'Pending') and known_by = 'webhook' then 'pending'
            when fee_cents is null then 'unknown'
            else 'charged'
        end as state
    from credited
)

select
    stated.client_id || '|' || stated.channel || '|' || stated.lead_number as fee_id,
    stated.client_id,
    stated.channel,
    stated.lead_number,
    stated.lead_id,
    stated.received_at,
    cast(date_trunc('month', {{ wall_clock('stated.received_at', 'clients.timezone') }}) as date) as month,
    stated.state,
    cast(stated.fee_cents as bigint) as fee_cents,
    cast(coalesce(stated.credit_cents, 0) as bigint) as credit_cents,
    cast(case when stated.state = 'pending' then 0 else stated.fee_cents - stated.credit_cents end as bigint) as net_cents,
    cast(case when stated.state = 'pending' then stated.fee_cents else 0 end as bigint) as pending_cents,
    'USD' as currency,
    stated.charged_at,
    stated.credited_at,
    stated.asked_on,
    stated.decided_on,
    stated.credit_reason,
    stated.is_refused,
    stated.known_by,
    stated.record_uid
from stated
inner join {{ source('leadtrail', 'clients') }} as clients on stated.client_id = clients.client_id
