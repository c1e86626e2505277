{{ config(materialized='incremental', incremental_strategy='touched_records', post_hook="{{ note_progress() }}") }}
with contacts as (
    select * from {{ ref('stg_hubspot__contacts') }} where {{ only_touched_records('hubspot', 'contacts') }}
),

-- a pipeline whose stages were changed gives all of its client's deals another reading
deals as (
    select * from {{ ref('stg_hubspot__deals') }}
    where {{ only_touched_records('hubspot', 'deals') }} {{ or_of_clients_touched('hubspot', 'pipelines', ref('stg_hubspot__pipelines')) }}
),

-- What the office calls a stage is its own. HubSpot's own won and lost flags go first, then words somebody entered for this client, then
-- usual words as far as the stage's probability bears them out ("Appointment scheduled" with 20 % books nothing), then the probability.
worded as (
    select
        stages.client_id, stages.pipeline_id, stages.stage_id, words.meaning,
        case when words.client_id = '*' then 0 else 10 end
            + case words.meaning when 'booked' then 4 when 'quoted' then 3 when 'qualified' then 2 when 'contacted' then 1 else 0 end as weight
    from {{ ref('stg_hubspot__pipeline_stages') }} as stages
    inner join {{ ref('crm_stage_meanings') }} as words
        on lower(stages.stage_label) like words.label_like and words.client_id in ('*', stages.client_id)
    where words.client_id <> '*' or words.meaning <> 'booked' or stages.probability is null or stages.probability >= 0.5
),

heaviest as (
    select
        client_id, pipeline_id, stage_id, meaning,
        row_number() over (partition by client_id, pipeline_id, stage_id order by weight desc, meaning) as place
    from worded
),

meanings as (
    select
        stages.client_id, stages.pipeline_id, stages.stage_id, stages.stage_label,
        case
            when stages.is_won then 'won'
            when stages.is_lost then 'lost'
            when heaviest.meaning is not null then heaviest.meaning
            when stages.probability >= 0.75 then 'booked'
            when stages.probability >= 0.4 then 'quoted'
            else 'new'
        end as meaning
    from {{ ref('stg_hubspot__pipeline_stages') }} as stages
    left join heaviest
        on stages.client_id = heaviest.client_id and stages.pipeline_id = heaviest.pipeline_id
        and stages.stage_id = heaviest.stage_id and heaviest.place = 1
),

stage_changes as (
    select
        changes.client_id, changes.deal_key as record_key, changes.deal_id, changes.stage_id, changes.reached_at, changes.received_at, changes.stage_change_key,
        coalesce(meanings.meaning, 'new') as meaning, coalesce(meanings.stage_label, changes.stage_id) as stage_label,
        deals.amount_cents, deals.owner_id, deals.lost_reason
    from {{ ref('stg_hubspot__deal_stage_changes') }} as changes
    left join meanings
        on changes.client_id = meanings.client_id and changes.pipeline_id = meanings.pipeline_id and changes.stage_id = meanings.stage_id
    left join {{ ref('stg_hubspot__deals') }} as deals on changes.deal_key = deals.record_key
    where {{ only_touched_records('hubspot', 'deals', 'changes.deal_key') }}
        {{ or_of_clients_touched('hubspot', 'pipelines', ref('stg_hubspot__pipelines'), 'changes.client_id') }}
),

tasks as (
    select * from {{ ref('stg_hubspot__tasks') }} where {{ only_touched_records('hubspot', 'tasks') }}
),

links as (
    select client_id, deal_key as record_key, min(received_at) as received_at, min(deal_id) as linked_id
    from {{ ref('stg_hubspot__deal_contacts') }}
    where {{ only_touched_records('hubspot', 'deal_contacts', 'deal_key') }} or {{ only_touched_records('hubspot', 'deals', 'deal_key') }}
    group by client_id, deal_key
),

deal_times as (
    select links.*, coalesce(deals.created_at, links.received_at) as linked_at
    from links left join {{ ref('stg_hubspot__deals') }} as deals on links.record_key = deals.record_key
),

task_links as (
    select links.client_id, links.task_key as record_key, min(links.received_at) as received_at, min(links.task_id) as linked_id,
        min(coalesce(tasks.created_at, links.received_at)) as linked_at
    from {{ ref('stg_hubspot__task_contacts') }} as links
    left join {{ ref('stg_hubspot__tasks') }} as tasks on links.task_key = tasks.record_key
    where {{ only_touched_records('hubspot', 'task_contacts', 'links.task_key') }} or {{ only_touched_records('hubspot', 'tasks', 'links.task_key') }}
    group by links.client_id, links.task_key
),

events as (
    {{ event_rows('hubspot', 'contacts', 'contacts', "'contact_created'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'source': 'first_source',
        'staff': 'owner_id', 'reference': 'contact_id', 'detail': 'lifecycle_stage',
    }) }}

    union all

    {{ event_rows('hubspot', 'contacts', 'contacts', "'contact_deleted'", {
        'occurred_at': 'coalesce(deleted_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'contact_id',
    }, 'is_deleted') }}

    union all

    {{ event_rows('hubspot', 'contacts', 'contacts', "'opted_out'", {
        'occurred_at': 'coalesce(updated_at, created_at, received_at)', 'received_at': 'received_at', 'direction': "'inbound'", 'contact_method': "'email'",
        'actor': "'customer'", 'reference': 'contact_id', 'detail': "'email'",
    }, 'is_email_opted_out') }}

    union all

    {{ event_rows('hubspot', 'deals', 'deals', "'crm_deal_opened'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'value_cents': 'amount_cents',
        'currency': "case when amount_cents is not null then coalesce(currency, 'USD') end", 'staff': 'owner_id', 'reference': 'deal_id',
        'service': "case when deal_name like '% - %' then split_part(deal_name, ' - ', 2) end",
    }) }}

    union all

    {{ event_rows('hubspot', 'deals', 'deals', "'crm_deal_deleted'", {
        'occurred_at': 'coalesce(deleted_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'reference': 'deal_id',
    }, 'is_deleted') }}

    union all

    {{ event_rows('hubspot', 'deals', 'stage_changes', "
        case meaning when 'booked' then 'job_booked' when 'won' then 'job_completed' when 'lost' then 'job_lost' else 'crm_stage_changed' end", {
        'occurred_at': 'reached_at', 'received_at': 'received_at', 'actor': "'staff'", 'staff': 'owner_id', 'reference': 'deal_id',
        'value_cents': "case when meaning in ('booked', 'won') then amount_cents end",
        'currency': "case when meaning in ('booked', 'won') and amount_cents is not null then 'USD' end",
        'detail': "case meaning when 'lost' then coalesce(lost_reason, 'no reason given') else meaning end",
    }, nth='stage_change_key') }}

    union all

    {{ event_rows('hubspot', 'deal_contacts', 'deal_times', "'crm_record_linked'", {
        'occurred_at': 'linked_at', 'received_at': 'received_at', 'actor': "'system'", 'reference': 'linked_id',
    }) }}

    union all

    {{ event_rows('hubspot', 'task_contacts', 'task_links', "'crm_record_linked'", {
        'occurred_at': 'linked_at', 'received_at': 'received_at', 'actor': "'system'", 'reference': 'linked_id',
    }) }}

    union all

    {{ event_rows('hubspot', 'tasks', 'tasks', "'task_created'", {
        'occurred_at': 'coalesce(created_at, received_at)', 'received_at': 'received_at', 'actor': "case when is_from_leadtrail then 'leadtrail' else 'staff' end",
        'staff': 'owner_id', 'reference': 'task_id', 'detail': 'lower(priority)', 'text': 'subject',
    }) }}

    union all

    {{ event_rows('hubspot', 'tasks', 'tasks', "case when is_deleted then 'task_deleted' when is_completed then 'task_completed' end", {
        'occurred_at': 'coalesce(completed_at, deleted_at, updated_at, received_at)', 'received_at': 'received_at', 'actor': "'staff'", 'staff': 'owner_id',
        'reference': 'task_id',
    }) }}
)

select * from events
