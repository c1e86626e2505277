{{ config(materialized='table') }}
-- When each local day begins and ends, as UTC instants. The local day of an instant is then a join by its UTC day and at most one step:
-- asking the engine for the wall clock of every row costs ten times as much.
select
    zones.timezone,
    days.day,
    {{ utc_of('cast(days.day as timestamp)', 'zones.timezone') }} as starts_at,
    {{ utc_of("cast(days.day + 1 as timestamp)", 'zones.timezone') }} as ends_at
from (select distinct timezone from {{ source('leadtrail', 'clients') }}) as zones
cross join ({{ every_day() }}) as days
