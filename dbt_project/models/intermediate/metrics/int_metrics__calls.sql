{{ config(materialized='view') }}
-- Metrics of customers' calls, by the month of the call and the channel of the number called.
with clock as (
    select {{ as_of() }} as as_of
),

calls as (
    select
        calls.client_id, calls.month, calls.channel, calls.person_id, calls.is_human, calls.is_answered, calls.is_in_hours, calls.counted_as,
        calls.decided_by, calls.is_first_of_caller, calls.is_caller_booked, calls.is_first_missed,
        next_two_way_at is not null and {{ epoch_seconds('next_two_way_at') }} - {{ epoch_seconds('called_at') }} <= 86400 as is_recovered,
        {{ epoch_seconds('clock.as_of') }} - {{ epoch_seconds('called_at') }} > 86400 as is_past_a_day,
        booked_at >= called_at and {{ epoch_seconds('booked_at') }} - {{ epoch_seconds('called_at') }} <= 7 * 86400 as is_booked_within_week,
        {{ epoch_seconds('clock.as_of') }} - {{ epoch_seconds('called_at') }} > 7 * 86400 as is_past_a_week
    from {{ ref('int_calls') }} as calls
    cross join clock
)

{% set spam = {'spam': 'not is_human'} -%}
{% set left_out = {} -%}
{% for name, words in {'unanswered': 'unanswered', 'existing_customer': 'from existing customers', 'excused': 'excused', 'non_lead': 'not leads', 'spam': 'spam'}.items() -%}
{% do left_out.update({words: "counted_as = '" ~ name ~ "'"}) -%}
{% endfor -%}
select * from ({{ metric_rows('calls', {
    'missed_call_rate': {'counted': 'is_human', 'met': 'not is_answered', 'excluded': spam},
    'missed_call_rate_open_hours': {'counted': 'is_human and is_in_hours', 'met': 'not is_answered', 'excluded': {'spam': 'not is_human and is_in_hours'}},
    'missed_call_rate_closed': {'counted': 'is_human and not is_in_hours', 'met': 'not is_answered', 'excluded': {'spam': 'not is_human and not is_in_hours'}},
    'recovery_rate': {'counted': 'is_first_missed and (is_recovered or is_past_a_day)', 'met': 'is_recovered',
        'excluded': {'missed less than a day ago': 'is_first_missed and not is_recovered and not is_past_a_day'}},
    'recovery_booked_rate': {'counted': 'is_first_missed and (is_booked_within_week or is_past_a_week)', 'met': 'is_booked_within_week',
        'excluded': {'missed less than a week ago': 'is_first_missed and not coalesce(is_booked_within_week, false) and not is_past_a_week'}},
    'booking_rate_standard': {'counted': "counted_as in ('booked', 'unbooked')", 'met': "counted_as = 'booked'", 'excluded': left_out},
    'booking_rate_raw': {'counted': 'is_first_of_caller', 'met': 'is_caller_booked', 'excluded': spam},
    'exclusion_rate': {'counted': 'true', 'met': "counted_as not in ('booked', 'unbooked')"},
    'staff_exclusion_rate': {'counted': 'is_answered', 'met': "decided_by = 'staff'"},
}) }}) as rows_of_metrics
