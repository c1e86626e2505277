-- The marts that the desk reads, column for column (a test compares them with a built warehouse).

create table timeline.dim_leads (client_id varchar, lead_id varchar, person_id varchar, stage varchar,
    opened_at timestamp, opened_on date, opened_month date, opened_in_hours boolean, is_after_joining boolean,
    has_enquiry boolean, first_contact_method varchar, channel varchar, last_channel varchar, source varchar,
    campaign varchar, service varchar, urgency varchar, qualification varchar, is_valid boolean,
    value_estimate_cents bigint, value_basis varchar, text_consent varchar, text_consent_event_id varchar,
    text_consent_at timestamp, is_text_opted_out boolean, is_email_opted_out boolean, opted_out_channels varchar,
    owner_id varchar, owner varchar, first_automatic_response_at timestamp, automatic_response_seconds bigint,
    automatic_response_open_seconds bigint, first_human_response_at timestamp, human_response_seconds bigint,
    human_response_open_seconds bigint, two_way_at timestamp, quoted_at timestamp, is_booked boolean,
    booked_at timestamp, completed_at timestamp, first_paid_at timestamp, lost_at timestamp, lost_reason varchar,
    complained_at timestamp, invoiced_cents bigint, revenue_cents bigint, owed_cents bigint, currency varchar,
    enquiries bigint, missed_calls bigint, events bigint, last_touch_at timestamp, next_action varchar,
    next_action_owner varchar, next_action_due_at timestamp, sources bigint, sources_ok bigint, as_of timestamp);

create table timeline.fct_lead_events (client_id varchar, lead_id varchar, person_id varchar, event_id varchar,
    event_type varchar, occurred_at timestamp, known_at timestamp, received_at timestamp, event_number bigint,
    seconds_since_last bigint, direction varchar, contact_method varchar, actor varchar, staff varchar,
    channel varchar, source varchar, medium varchar, campaign varchar, service varchar, value_cents bigint,
    currency varchar, duration_seconds bigint, reference varchar, detail varchar, text varchar, is_enquiry boolean,
    is_minor boolean, episode bigint, provider varchar, stream varchar, record_id varchar, batch_id varchar,
    record_uid varchar, cluster_id varchar);

create table timeline.lead_aliases (client_id varchar, alias_id varchar, lead_id varchar);

create table timeline.record_identity (client_id varchar, person_id varchar, provider varchar, stream varchar,
    record_id varchar, record_uid varchar, placed_by varchar, because varchar, first_known_at timestamp,
    batch_id varchar);

create table follow_up.follow_up_contacts (client_id varchar, lead_id varchar, person_id varchar, phone varchar,
    email varchar, given_name varchar, zip_code varchar, crm_contact_id varchar, crm_deal_id varchar,
    crm_owner_id varchar, owner_email varchar, service varchar, channel varchar, amount_cents bigint,
    currency varchar, opened_at timestamp, consent_kind varchar, consent_at timestamp, consent_source varchar,
    consent_event_id varchar, consent_refused_at timestamp, last_inquiry_at timestamp, last_purchase_at timestamp,
    last_call_at timestamp, last_text_at timestamp, last_email_at timestamp, last_form_at timestamp,
    email_bounced_at timestamp, quote_valid_until date, cluster_id varchar);

create table follow_up.fct_follow_up_steps (step_key varchar, former_step_keys varchar, client_id varchar,
    rule varchar, rule_version varchar, step_id varchar, step_number bigint, subject varchar, lead_id varchar,
    person_id varchar, trigger varchar, trigger_event_id varchar, triggered_at timestamp, known_at timestamp,
    due_at timestamp, expires_at timestamp, channel varchar, template varchar, template_version varchar,
    owner_role varchar, priority varchar, respond_within_seconds bigint, escalations varchar, visit_at timestamp,
    visit_on date, state varchar, waits_for_urgent boolean, stopped_by_event_id varchar, stop_reason varchar, stopped_at timestamp, why varchar,
    as_of timestamp);

create table attribution.attribution_by_channel (channel_key varchar, client_id varchar, month date, channel varchar,
    model varchar, currency varchar, booking_credit decimal(18,6), money_credit decimal(18,6), revenue_cents bigint);

create table attribution.attribution_range (range_key varchar, client_id varchar, period varchar, channel varchar,
    currency varchar, least_share_of_bookings decimal(9,6), most_share_of_bookings decimal(9,6),
    least_share_of_revenue decimal(18,6), most_share_of_revenue decimal(18,6), least_revenue_cents bigint,
    most_revenue_cents bigint, place_first bigint, place_last bigint, place_linear bigint,
    place_position_based bigint, place_w_shaped bigint, place_time_decay bigint, place_data_driven bigint,
    place_changes boolean, decision_changes boolean);

create table attribution.attribution_models (client_model varchar, client_id varchar, model varchar,
    is_shown boolean, paths bigint, booked_paths bigint, reason varchar);

create table attribution.cost_per_lead (cohort_key varchar, client_id varchar, month date, channel varchar,
    valid_leads bigint, booked_jobs bigint, currency varchar, fee_cents bigint, credit_cents bigint,
    pending_cents bigint, unknown_fees bigint, entered_cents bigint, cost_cents bigint, cost_per_lead_cents bigint,
    cost_per_booked_job_cents bigint, costs_in varchar);

create table metrics.fct_metrics (metric_key varchar, client_id varchar, month date, channel varchar, metric varchar,
    numerator double, denominator double, value double, unit varchar, better varchar, excluded bigint,
    exclusions varchar, k bigint, coverage double, as_of timestamp, is_comparable boolean);

create table metrics.metric_definitions (metric varchar, unit varchar, better varchar, fed_by varchar,
    settles_after_days integer, is_compared boolean, is_headline boolean, definition varchar, numerator_is varchar,
    denominator_is varchar);

create table metrics.improvement (improvement_key varchar, client_id varchar, metric varchar, unit varchar,
    better varchar, is_headline boolean, joined_on date, baseline_months bigint, months_since bigint,
    matched_months bigint, before_value double, after_value double, difference double, interval_low double,
    interval_high double, deciding_low double, deciding_high double, counted_before double, counted_after double,
    simple_difference double, simple_low double, simple_high double, verdict varchar, why_too_little varchar,
    label varchar, drifted_months bigint, baseline_hash varchar, frozen_at timestamp, as_of timestamp);

create table seeds.event_types (event_type varchar, family varchar, direction varchar, is_enquiry boolean,
    is_conversation boolean, is_minor boolean, opens_lead boolean, description varchar);

create table operations.source_coverage (client_id varchar, provider varchar, stream varchar, coverage_key varchar,
    records bigint, rejected_records bigint, absent_records bigint, first_occurred_at timestamp,
    last_occurred_at timestamp, last_received_at timestamp, read_until timestamp, last_day_records bigint,
    usual_day_records double, last_batch_records bigint, last_batch_rejected bigint);
