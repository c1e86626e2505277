{{ config(materialized='connected_components', replaces='parts') }}
-- Nodes that records tie together are one person. Only what tells whose a record is takes part.
with nodes as (
    select record_uid, cluster_id, node
    from {{ ref('int_record_nodes') }}
    where node is not null
        and {{ 'true' if component_everything() else 'cluster_id in (select touched from landing.touched_clusters where build > ' ~ component_progress() ~ ')' }}
),

hubs as (
    select record_uid, min({{ in_bytes('node') }}) as hub
    from nodes
    group by record_uid
)

select distinct hubs.hub as a, nodes.node as b, nodes.cluster_id as part
from nodes
inner join hubs on nodes.record_uid = hubs.record_uid
