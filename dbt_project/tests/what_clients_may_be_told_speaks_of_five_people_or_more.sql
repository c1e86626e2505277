{{ config(tags=['privacy'], meta={'dagster': {'ref': {'name': 'safe_figures'}}}) }}
-- A figure that is left out (is_suppressed) is not a failure; one that is left out and still there is. That none can be worked out by
-- subtraction is tested on made-up clients, where it is known who is behind each figure.
select client_id, figure_id
from {{ ref('safe_figures') }}
where (not is_suppressed and (value is null or coalesce(k, 0) < {{ var('client_safe_k') }}))
    or (is_suppressed and (value is not null or k is not null or leaves_out_few))

union all

-- a channel's name comes from a seed, not from what a visitor's link said
select figures.client_id, figures.figure_id
from {{ ref('safe_figures') }} as figures
left join {{ ref('marketing_channels') }} as channels on figures.part = channels.channel
where figures.part not in ('all', 'other') and channels.channel is null
