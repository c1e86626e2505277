{# Every base model, one line for each stream. A test compares this list with the models that exist. #}
{% macro base_models() %}
  {{ return([
    'base_callrail__calls',
    'base_callrail__companies',
    'base_callrail__form_submissions',
    'base_callrail__text_messages',
    'base_callrail__trackers',
    'base_hubspot__contacts',
    'base_hubspot__deal_contacts',
    'base_hubspot__deals',
    'base_hubspot__owners',
    'base_hubspot__pipelines',
    'base_hubspot__task_contacts',
    'base_hubspot__tasks',
    'base_search_console__by_country',
    'base_search_console__by_date',
    'base_search_console__by_device',
    'base_search_console__by_page',
    'base_search_console__by_query',
    'base_quickbooks__credit_memos',
    'base_quickbooks__customers',
    'base_quickbooks__estimates',
    'base_quickbooks__invoices',
    'base_quickbooks__payments',
    'base_quickbooks__refund_receipts',
    'base_quickbooks__sales_receipts',
    'base_thumbtack__imported_leads',
    'base_thumbtack__lead_updates',
    'base_thumbtack__leads',
    'base_thumbtack__messages',
    'base_thumbtack__reviews',
    'base_angi__imported_leads',
    'base_angi__leads',
    'base_twilio__message_events',
    'base_twilio__messages',
    'base_twilio__phone_numbers',
    'base_forms__submissions',
    'base_mail__events',
    'base_leadtrail__baselines',
    'base_leadtrail__identity_decisions',
    'base_leadtrail__outputs',
  ]) }}
{% endmacro %}

{# base_<provider>__<stream> #}
{% macro provider_of(base) %}{{ return(base.removeprefix('base_').split('__')[0]) }}{% endmacro %}
{% macro stream_of(base) %}{{ return(base.split('__')[1]) }}{% endmacro %}
