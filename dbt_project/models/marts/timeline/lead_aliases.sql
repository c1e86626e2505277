{{ config(materialized='view') }}
-- Every id a lead can ever have had, and the lead it is now. A lead is called after one of its events; if that event comes to lie in
-- another lead (two were merged, or parted), the old id still leads there.
select
    client_id,
    {{ id_of(["'lead'", 'event_id']) }} as alias_id,
    lead_id
from {{ ref('fct_lead_events') }}
where lead_id is not null
