{{ config(materialized='connected_components', replaces='parts') }}
-- Nodes that records tie together are one person. Only what tells whose a record is takes part.
with nodes as (
    select record_uid, cluster_id, node
    from {{ touched_rows(ref('int_record_nodes')) }} as touched
    where node is not null
),

hubs as (
    select record_uid, min({{ in_bytes('node') }}) as hub
    from nodes
    group by record_uid
)

select distinct hubs.hub as a, nodes.node as b, nodes.cluster_id as part
from nodes
inner join hubs on nodes.record_uid = hubs.record_uid
