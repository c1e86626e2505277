{{ config(materialized='view') }}
-- Metrics of enquiries, by the month and channel in which each lead opened. Whoever staff say is not a lead is excluded, and counted.
{% set invalid = {'not a lead': 'not is_valid'} -%}
{% set metrics = {} -%}
{% for who in ['any', 'human'] -%}{% for clock in ['', '_open'] -%}{% for name, at in {'median': 0.5, 'p90': 0.9}.items() -%}
{% set seconds = who ~ '_response' ~ clock ~ '_seconds' -%}
{% do metrics.update({'speed_to_lead_' ~ who ~ ('_open_hours' if clock else '') ~ '_' ~ name: {
    'counted': 'is_valid', 'measure': seconds, 'at': at,
    'excluded': {'not a lead': 'not is_valid', 'not answered so far': 'is_valid and ' ~ seconds ~ ' is null'},
}}) -%}
{% endfor %}{% endfor %}{% endfor -%}
{% for clock in ['', '_open'] -%}
{% set within, still_open = 'is_within_sla' ~ ('_open_hours' if clock else ''), 'is_still_open' ~ ('_in_hours' if clock else '') -%}
{% do metrics.update({'response_within_sla' ~ ('_open_hours' if clock else ''): {
    'counted': 'is_valid and not ' ~ still_open, 'met': within,
    'excluded': {'not a lead': 'not is_valid', 'still within the time': 'is_valid and ' ~ still_open},
}}) -%}
{% endfor -%}
{% do metrics.update({
    'answered_by_human_rate': {'counted': 'is_valid', 'met': 'is_answered', 'excluded': invalid},
    'contact_rate': {'counted': 'is_valid', 'met': 'is_contacted', 'excluded': invalid},
    'lead_booking_rate': {'counted': 'is_valid', 'met': 'is_booked', 'excluded': invalid},
    'job_conversion': {'counted': 'is_completed', 'met': 'invoiced_cents > 0'},
    'lost_reason_coverage': {'counted': "stage = 'lost' and is_marked_lost", 'met': "lost_reason <> 'no reason given'",
        'excluded': {'silent, and nobody said lost': "stage = 'lost' and not is_marked_lost"}},
    'resolved_source_coverage': {'counted': 'true', 'met': "channel <> 'unknown'"},
    'next_action_coverage': {'counted': "stage not in ('won', 'lost')", 'met': 'has_next_action'},
    'reviews_per_job': {'counted': 'is_review_due', 'met': 'is_reviewed', 'excluded': {'completed less than 14 days ago': 'is_completed and not is_review_due'}},
}) -%}
with leads as (
    select * from {{ ref('int_lead_waits') }}
)

select * from ({{ metric_rows('leads', metrics) }}) as rows_of_metrics
