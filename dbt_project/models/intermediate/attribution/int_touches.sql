{{ config(materialized='incremental', incremental_strategy='touched', touched=['clusters', 'cluster_id'], hands_on=true, post_hook="{{ note_progress() }}") }}
-- The touches of each lead, in order. Enquiries on one channel that follow each other closely are one touch: a caller who rings three
-- times, or a conversation, was brought by the channel once. Touches after the booking brought nothing: they are kept, not credited.
with events as (
    select client_id, lead_id, cluster_id, event_id, event_type, occurred_at, channel, contact_method, is_enquiry
    from {{ touched_rows(ref('fct_lead_events')) }} as touched
    where lead_id is not null
        and ((is_enquiry and channel is not null) or event_type = 'crm_deal_opened')
),

leads as (
    select lead_id, is_booked, booked_at, quoted_at
    from {{ touched_rows(ref('int_leads')) }} as touched
),

deals as (
    select lead_id, min(occurred_at) as deal_opened_at from events where event_type = 'crm_deal_opened' group by lead_id
),

enquiries as (
    select
        events.*,
        lag(occurred_at) over (partition by lead_id, channel order by occurred_at, event_id) as last_enquiry_at
    from events
    where is_enquiry and channel is not null
),

touches as (
    select
        enquiries.client_id, enquiries.lead_id, enquiries.cluster_id, enquiries.event_id, enquiries.occurred_at, enquiries.channel,
        enquiries.contact_method, leads.is_booked, leads.quoted_at, deals.deal_opened_at,
        leads.booked_at is null or enquiries.occurred_at <= leads.booked_at as is_credited,
        row_number() over (partition by enquiries.lead_id order by enquiries.occurred_at, enquiries.event_id) as touch_number
    from enquiries
    inner join leads on enquiries.lead_id = leads.lead_id
    left join deals on enquiries.lead_id = deals.lead_id
    where enquiries.last_enquiry_at is null
        or {{ epoch_seconds('enquiries.occurred_at') }} - {{ epoch_seconds('enquiries.last_enquiry_at') }} > {{ var('touch_session_hours') }} * 3600
),

-- a milestone belongs to the touch that it followed
paths as (
    select
        lead_id,
        count(*) as credited_touches,
        max(occurred_at) as last_credited_at,
        max(case when occurred_at <= deal_opened_at then touch_number end) as lead_created_touch,
        max(case when occurred_at <= quoted_at then touch_number end) as quote_sent_touch
    from touches
    where is_credited
    group by lead_id
),

channel_sets as (
    select lead_id, {{ text_list('channel', 'channel', ' + ') }} as channel_set
    from (select distinct lead_id, channel from touches where is_credited) as channels
    group by lead_id
),

final as (
    select
        touches.event_id as touch_id,
        touches.client_id,
        touches.lead_id,
        touches.touch_number,
        touches.occurred_at as touched_at,
        touches.channel,
        touches.contact_method,
        touches.is_credited,
        touches.is_credited and touches.touch_number = paths.lead_created_touch as is_lead_created,
        touches.is_credited and touches.touch_number = paths.quote_sent_touch as is_quote_sent,
        coalesce(paths.credited_touches, 0) as credited_touches,
        case when touches.is_credited
            then {{ epoch_seconds('paths.last_credited_at') }} - {{ epoch_seconds('touches.occurred_at') }} end as seconds_before_last,
        channel_sets.channel_set,
        touches.is_booked,
        touches.cluster_id
    from touches
    left join paths on touches.lead_id = paths.lead_id
    left join channel_sets on touches.lead_id = channel_sets.lead_id
)

select
    touch_id, client_id, lead_id, touch_number, touched_at, channel, contact_method, is_credited,
    coalesce(is_lead_created, false) as is_lead_created, coalesce(is_quote_sent, false) as is_quote_sent,
    credited_touches, seconds_before_last, channel_set, is_booked, cluster_id
from final
