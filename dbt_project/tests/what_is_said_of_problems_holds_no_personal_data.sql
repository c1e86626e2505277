{{ config(tags=['privacy'], meta={'dagster': {'ref': {'name': 'sync_health'}}}) }}
-- People who may not see a client's raw records see these: a reason names the field, never what stood in it. (A service account's
-- address in a connection's reason is nobody's.)
{%- set email = '[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+[.][A-Za-z]+' %}
{%- set phone = '[+]1[0-9]{10}|[(][2-9][0-9]{2}[)] ?[0-9]{3}[ -][0-9]{4}' %}
select client_id, 'quarantine' as said_in, count(*) as problems
from {{ ref('quarantine') }}
where reason <> {{ without('reason', email) }} or reason <> {{ without('reason', phone) }}
group by client_id
union all
select client_id, 'sync_health', count(*)
from {{ ref('sync_health') }}
where reason <> {{ without('reason', phone) }} or fix <> {{ without('fix', phone) }}
group by client_id
