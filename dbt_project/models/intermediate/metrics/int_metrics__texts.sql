{{ config(materialized='view') }}
-- Metrics of texts the client's own number sent, by the month of sending and the channel of the lead they went to.
with opt_outs as (
    select person_id, occurred_at
    from {{ ref('fct_lead_events') }}
    where event_type = 'opted_out' and contact_method = 'text'
),

sent as (
    select client_id, lead_id, person_id, event_id, occurred_at, coalesce(detail, '') as status
    from {{ ref('fct_lead_events') }}
    where event_type = 'text_sent' and provider = 'twilio'
),

-- the last text that arrived in the week before an opt-out is the one that was answered with it
provoked as (
    select event_id, 1 as is_last
    from (
        select
            sent.event_id,
            row_number() over (partition by opt_outs.person_id, opt_outs.occurred_at order by sent.occurred_at desc, sent.event_id) as place
        from opt_outs
        inner join sent
            on opt_outs.person_id = sent.person_id and sent.status in ('delivered', 'read')
            and sent.occurred_at <= opt_outs.occurred_at
            and {{ epoch_seconds('opt_outs.occurred_at') }} - {{ epoch_seconds('sent.occurred_at') }} <= 7 * 86400
    ) as ranked
    where place = 1
    group by event_id
),

texts as (
    select
        sent.client_id, sent.person_id,
        cast(date_trunc('month', {{ local_day('sent.occurred_at', 'zone_days') }}) as date) as month,
        coalesce(leads.channel, 'unknown') as channel,
        sent.status in ('delivered', 'read') as is_delivered,
        sent.status in ('delivered', 'read', 'undelivered', 'failed') as is_final,
        provoked.is_last is not null as is_answered_with_stop
    from sent
    inner join {{ source('leadtrail', 'clients') }} as clients on sent.client_id = clients.client_id
    left join {{ ref('int_zone_days') }} as zone_days
        on clients.timezone = zone_days.timezone and cast(sent.occurred_at as date) = zone_days.day
    left join {{ ref('int_leads') }} as leads on sent.lead_id = leads.lead_id
    left join provoked on sent.event_id = provoked.event_id
)

select * from ({{ metric_rows('texts', {
    'delivery_rate': {'counted': 'is_final', 'met': 'is_delivered', 'excluded': {'not known to have arrived or failed': 'not is_final'}},
    'opt_out_rate': {'counted': 'is_delivered', 'met': 'is_answered_with_stop'},
}) }}) as rows_of_metrics
