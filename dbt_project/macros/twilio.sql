{# How far a message has come. Callbacks arrive in any order: the higher rank is the later truth, and a status never goes down. #}
{% macro twilio_status_rank(status) -%}
case
    when {{ status }} in ('accepted', 'scheduled') then 0
    when {{ status }} in ('queued', 'receiving') then 1
    when {{ status }} = 'sending' then 2
    when {{ status }} = 'sent' then 3
    when {{ status }} = 'partially_delivered' then 4
    when {{ status }} in ('delivered', 'undelivered', 'failed', 'canceled', 'received') then 5
    when {{ status }} = 'read' then 6
    else -1
end
{%- endmacro %}

{# What a failure means for whom: the person's number, the person's will, or the client's own registration. #}
{% macro twilio_failure_reason(error_code) -%}
case
    when {{ error_code }} is null then null
    when {{ error_code }} in (21211, 30005) then 'invalid_number'
    when {{ error_code }} in (21614, 30006) then 'sms_incapable'
    when {{ error_code }} = 21610 then 'opted_out'
    when {{ error_code }} = 30004 then 'blocked'
    when {{ error_code }} = 30007 then 'filtered_as_spam'
    when {{ error_code }} in (30003, 30008) then 'unreachable'
    when {{ error_code }} in (21611, 30001) then 'queue_full'
    when {{ error_code }} in (21408, 21606, 21608, 30002, 30032, 30034) then 'client_configuration'
    else 'other'
end
{%- endmacro %}

{# The kind of command an inbound text is: a whole message of one of Twilio's words (REVOKE and OPTOUT since 14 May 2025).
   Opt-outs in free words are a person's or a classifier's to find. #}
{% macro twilio_keyword(body) -%}
case
    when {{ one_word(body) }} in ('STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'REVOKE', 'OPTOUT') then 'STOP'
    when {{ one_word(body) }} in ('START', 'YES', 'UNSTOP') then 'START'
    when {{ one_word(body) }} in ('HELP', 'INFO') then 'HELP'
end
{%- endmacro %}

{% macro one_word(text) -%}
upper({{ without(text, '^[[:space:]]+|[[:space:]]+$') }})
{%- endmacro %}
