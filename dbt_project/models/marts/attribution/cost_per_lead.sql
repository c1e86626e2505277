-- What a lead and a booked job cost: costs of a month over the leads that came in it, and over those of them that booked, whenever they did.
-- Only costs we know are in, and `costs_in` says which; where none is known there is no cost per lead, not a cost of zero.
with leads as (
    select
        client_id, opened_month as month, case when channel = 'unknown' then 'unattributed' else channel end as channel,
        count(*) as valid_leads,
        sum(case when is_booked then 1 else 0 end) as booked_jobs
    from {{ ref('int_leads') }}
    where has_enquiry and is_valid
    group by 1, 2, 3
),

fees as (
    select
        client_id, month, channel, min(currency) as currency,
        sum(fee_cents) as fee_cents, sum(credit_cents) as credit_cents, sum(net_cents) as net_cents, sum(pending_cents) as pending_cents,
        sum(case when fee_cents is null then 1 else 0 end) as unknown_fees
    from {{ ref('fct_marketplace_fees') }}
    where month is not null
    group by client_id, month, channel
),

entered as (
    select
        client_id, cast(date_trunc('month', month) as date) as month, channel, min(currency) as currency, sum(cost_cents) as cost_cents
    from {{ ref('marketing_costs') }}
    group by 1, 2, 3
),

cohorts as (
    select client_id, month, channel from leads
    union
    select client_id, month, channel from fees
    union
    select client_id, month, channel from entered
),

summed as (
    select
        cohorts.client_id, cohorts.month, cohorts.channel,
        coalesce(entered.currency, fees.currency) as currency,
        coalesce(leads.valid_leads, 0) as valid_leads,
        coalesce(leads.booked_jobs, 0) as booked_jobs,
        fees.fee_cents, fees.credit_cents, fees.net_cents, fees.pending_cents, coalesce(fees.unknown_fees, 0) as unknown_fees,
        entered.cost_cents as entered_cents,
        case when fees.net_cents is not null or entered.cost_cents is not null
            then coalesce(fees.net_cents, 0) + coalesce(entered.cost_cents, 0) end as cost_cents,
        case
            when fees.net_cents is not null and entered.cost_cents is not null then 'marketplace fees less credits, entered costs'
            when fees.net_cents is not null then 'marketplace fees less credits'
            when entered.cost_cents is not null then 'entered costs'
            else 'none known'
        end as costs_in
    from cohorts
    left join leads on cohorts.client_id = leads.client_id and cohorts.month = leads.month and cohorts.channel = leads.channel
    left join fees on cohorts.client_id = fees.client_id and cohorts.month = fees.month and cohorts.channel = fees.channel
    left join entered on cohorts.client_id = entered.client_id and cohorts.month = entered.month and cohorts.channel = entered.channel
)

select
    client_id || '|' || cast(month as {{ text_type() }}) || '|' || channel as cohort_key,
    client_id,
    month,
    channel,
    cast(valid_leads as bigint) as valid_leads,
    cast(booked_jobs as bigint) as booked_jobs,
    currency,
    cast(fee_cents as bigint) as fee_cents,
    cast(credit_cents as bigint) as credit_cents,
    cast(pending_cents as bigint) as pending_cents,
    cast(unknown_fees as bigint) as unknown_fees,
    cast(entered_cents as bigint) as entered_cents,
    cast(cost_cents as bigint) as cost_cents,
    cast(round(cast(cost_cents as decimal(18, 2)) / nullif(valid_leads, 0)) as bigint) as cost_per_lead_cents,
    cast(round(cast(cost_cents as decimal(18, 2)) / nullif(booked_jobs, 0)) as bigint) as cost_per_booked_job_cents,
    costs_in
from summed
