{{ config(materialized='view') }}
-- Leads as of now. Now is when the last news came in, or var('as_of'): never the clock of whoever builds.
with clock as (
    select coalesce(cast(nullif('{{ var("as_of", "") }}', '') as timestamp), max(received_at)) as as_of from {{ ref('fct_lead_events') }}
),

sources as (
    select
        client_id,
        count(*) as sources,
        cast(sum(case when state in ('ok', 'deferred') then 1 else 0 end) as bigint) as sources_ok
    from {{ ref('sync_health') }}
    group by client_id
),

owners as (
    select client_id, owner_id, owner_name from {{ ref('stg_hubspot__owners') }}
),

staged as (
    select
        leads.*,
        clock.as_of,
        case
            when leads.revenue_cents > 0 and leads.owed_cents <= 0 then 'won'
            when leads.completed_at is not null then 'completed'
            when leads.lost_at is not null then 'lost'
            when leads.is_booked then 'booked'
            when {{ epoch_seconds('clock.as_of') }} - {{ epoch_seconds('leads.last_touch_at') }} > {{ var('silence_days') }} * 86400 then 'lost'
            when leads.quoted_at is not null then 'quoted'
            when leads.two_way_at is not null or leads.first_human_response_at is not null then 'contacted'
            else 'new'
        end as stage
    from {{ ref('int_leads') }} as leads
    cross join clock
),

final as (
    select
        staged.client_id,
        staged.lead_id,
        staged.person_id,
        staged.stage,
        staged.opened_at,
        staged.opened_on,
        staged.opened_month,
        staged.opened_in_hours,
        staged.is_after_joining,
        staged.has_enquiry,
        staged.first_contact_method,
        staged.channel,
        staged.last_channel,
        staged.source,
        staged.campaign,
        staged.service,
        staged.urgency,
        staged.qualification,
        staged.is_valid,
        staged.value_estimate_cents,
        staged.value_basis,
        staged.text_consent,
        staged.text_consent_event_id,
        staged.text_consent_at,
        staged.is_text_opted_out,
        staged.is_email_opted_out,
        coalesce(nullif(
            case when staged.is_text_opted_out then 'text' else '' end
            || case when staged.is_text_opted_out and staged.is_email_opted_out then ', ' else '' end
            || case when staged.is_email_opted_out then 'email' else '' end, ''
        ), 'none') as opted_out_channels,
        staged.owner_id,
        coalesce(owners.owner_name, clients.owner) as owner,
        staged.first_automatic_response_at,
        staged.automatic_response_seconds,
        staged.automatic_response_open_seconds,
        staged.first_human_response_at,
        staged.human_response_seconds,
        staged.human_response_open_seconds,
        staged.two_way_at,
        staged.quoted_at,
        staged.is_booked,
        staged.booked_at,
        staged.completed_at,
        staged.first_paid_at,
        staged.lost_at,
        case
            when staged.stage <> 'lost' then null
            when staged.lost_at is null then 'silent for {{ var("silence_days") }} days'
            else coalesce(staged.lost_reason, 'no reason given')
        end as lost_reason,
        staged.complained_at,
        staged.invoiced_cents,
        staged.revenue_cents,
        staged.owed_cents,
        staged.currency,
        staged.enquiries,
        staged.missed_calls,
        staged.events,
        staged.last_touch_at,
        case when staged.stage <> 'lost' then coalesce(staged.next_task, next_actions.action) end as next_action,
        case when staged.stage <> 'lost' then coalesce(task_owners.owner_name, owners.owner_name, clients.owner) end as next_action_owner,
        case when staged.stage <> 'lost' then coalesce(
            staged.next_task_due_at,
            case staged.stage
                when 'new' then staged.opened_at
                when 'quoted' then staged.quoted_at
                when 'booked' then staged.booked_at
                when 'completed' then staged.completed_at
                else staged.last_touch_at
            end + cast(next_actions.hours * 3600 as integer) * interval '1' second
        ) end as next_action_due_at,
        sources.sources,
        sources.sources_ok,
        staged.as_of
    from staged
    inner join {{ source('leadtrail', 'clients') }} as clients on staged.client_id = clients.client_id
    left join owners on staged.client_id = owners.client_id and staged.owner_id = owners.owner_id
    left join owners as task_owners on staged.client_id = task_owners.client_id and staged.next_task_owner_id = task_owners.owner_id
    left join {{ ref('next_actions') }} as next_actions on staged.stage = next_actions.stage
    left join sources on staged.client_id = sources.client_id
)

select * from final
