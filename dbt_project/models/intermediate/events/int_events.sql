{{ config(materialized='view') }}
{% for provider in ['callrail', 'forms', 'twilio', 'mail', 'thumbtack', 'angi', 'hubspot', 'quickbooks', 'leadtrail'] %}
select * from {{ ref('int_events__' ~ provider) }}
{{ 'union all' if not loop.last }}
{%- endfor %}
