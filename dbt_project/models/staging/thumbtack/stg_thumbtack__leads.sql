{# A lead's charge only moves forward (created, pending, charged, refunded), so of what is known the furthest counts, whatever
   order it came in: the older integration tells it apart from the lead, in lead_updates. #}
{% set charge_rank -%}
case charge_state when 'Created' then 1 when 'Pending' then 2 when 'Charged' then 3 when 'Refunded' then 4 else 0 end
{%- endset %}

with leads as (
    select *, {{ charge_rank }} as charge_rank from {{ ref('base_thumbtack__leads') }} where rejected_because is null
),

updates as (
    select *, {{ charge_rank }} as charge_rank from {{ ref('base_thumbtack__lead_updates') }} where rejected_because is null
),

ranked_updates as (
    select
        client_id, lead_id, charge_state, charge_rank, lead_price_cents, received_at,
        row_number() over (partition by client_id, lead_id order by charge_rank desc, received_at desc) as nth
    from updates
),

updated as (
    select
        leads.*,
        case
            when ranked_updates.charge_rank >= leads.charge_rank then ranked_updates.charge_state else leads.charge_state
        end as known_charge_state,
        case
            when ranked_updates.charge_rank >= leads.charge_rank
                then coalesce(ranked_updates.lead_price_cents, leads.lead_price_cents)
            else leads.lead_price_cents
        end as known_price_cents,
        {{ phone_e164('leads.phone') }} as phone_e164
    from leads
    left join ranked_updates
        on leads.client_id = ranked_updates.client_id
        and leads.lead_id = ranked_updates.lead_id
        and ranked_updates.nth = 1
),

-- Thumbtack masks phones and does not say which; a number that several customers have is one of its own
phones as (
    select client_id, phone_e164, count(distinct customer_id) as customers
    from updated
    where phone_e164 is not null
    group by client_id, phone_e164
),

final as (
    select
        updated.client_id,
        updated.record_key,
        updated.record_id,
        updated.lead_id,
        updated.request_id as request_group_id,
        updated.customer_id,
        updated.business_id,
        updated.business_name,
        coalesce(updated.created_at_iso, updated.created_at_epoch, updated.occurred_at) as created_at,
        updated.status,
        case
            when updated.status in ('Open', 'active') then 'open'
            when updated.status = 'Canceled' then 'canceled'
            when updated.status = 'Picked' then 'picked'
            else 'unknown'
        end as status_normalized,
        updated.known_charge_state as charge_state,
        updated.known_price_cents as gross_cost_cents,
        case when updated.known_charge_state = 'Refunded' then 0 else updated.known_price_cents end as cost_cents,
        updated.lead_type,
        case
            when updated.booked_for is not null
                or updated.lead_type in ('BOOKING', 'INSTANT_BOOK', 'INSTANT_CONSULT', 'SERVICE_CALL') then 'appointment'
            when updated.lead_type in ('CALL', 'PHONE_CONSULTATION') then 'call'
            else 'quote'
        end as lead_class,
        updated.category,
        updated.category_id,
        updated.description,
        updated.details,
        updated.price_text as estimate_text,
        {{ typed_value("split_part(updated.price_text, '/', 1)", 'money') }} as estimate_cents,
        nullif(trim(split_part(updated.price_text, '/', 2)), '') as estimate_per,
        coalesce(updated.full_name, nullif(trim(concat_ws(' ', updated.given_name, updated.family_name)), '')) as full_name,
        updated.given_name,
        updated.family_name,
        updated.phone,
        updated.phone_e164,
        case
            when updated.phone is null then null
            when phones.customers > 1 then 'proxy'
            else 'unknown'
        end as phone_kind,
        updated.street,
        updated.city,
        updated.state,
        updated.zip_code,
        updated.booked_for,
        updated.booked_for is not null and updated.booked_for_text like '%:%' as booked_has_time,
        updated.booked_minutes,
        updated.proposed_times,
        updated.schedule_text,
        updated.occurred_at,
        updated.updated_at,
        updated.received_at,
        updated.via
    from updated
    left join phones on updated.client_id = phones.client_id and updated.phone_e164 = phones.phone_e164
)

select * from final
