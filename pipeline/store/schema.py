"""The operational store: what must survive a crash and is not a provider's record. One schema for SQLite and PostgreSQL.

Times are ISO-8601 UTC text: they sort, and read the same in both engines.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

feeds = Table(
    "feeds",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("provider", String, primary_key=True),
    Column("feed", String, primary_key=True),
    Column("cursor", Text, nullable=False),  # JSON; only its connector reads it
    Column("seen", LargeBinary, nullable=False),  # content of recently landed records, to skip unchanged re-reads
    Column("version", Integer, nullable=False),
    Column("committed_at", String, nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("provider", String, primary_key=True),
    Column("state", String, nullable=False),  # see pipeline.store.connections.STATES
    Column("reason", Text, nullable=False),
    Column("fix", Text, nullable=False),
    Column("owner", String, nullable=False),
    Column("since", String, nullable=False),
    Column("last_attempt_at", String, nullable=False),
    Column("last_success_at", String),
    Column("retry_at", String),
    Column("records_last_run", Integer, nullable=False),
    Column("options_print", String, nullable=False),  # changes when a person changes the connection's settings
)

segments = Table(
    "segments",
    metadata,
    Column("name", String, primary_key=True),  # provider/stream/file, under landing/
    Column("provider", String, nullable=False),
    Column("stream", String, nullable=False),
    Column("records", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("superseded_by", String),
    Column("superseded_at", String),
)
Index("segments_of_stream", segments.c.provider, segments.c.stream)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("client_id", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("dedupe_key", String, nullable=False),
    Column("method", String, nullable=False),
    Column("url", Text, nullable=False),
    Column("tail", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON; credentials are left out
    Column("body", LargeBinary, nullable=False),
    Column("received_at", String, nullable=False),
    Column("receipts", Integer, nullable=False),
    Column("last_receipt_at", String, nullable=False),
    Column("state", String, nullable=False),  # stored | drained | quarantined
    Column("state_at", String, nullable=False),
    UniqueConstraint("client_id", "provider", "dedupe_key", name="inbox_once"),
)
Index("inbox_pending", inbox.c.state, inbox.c.provider, inbox.c.client_id)
Index("inbox_received", inbox.c.client_id, inbox.c.provider, inbox.c.received_at)

quarantine = Table(
    "inbox_quarantine",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("inbox_id", Integer, nullable=False),
    Column("client_id", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("quarantined_at", String, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_at", String, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires_at", String, nullable=False),
)

# Everything Leadtrail emits: tasks, messages, CRM handoffs, drafts, publications. The unique key is the dedupe: the same
# cause and step can be asked for any number of times.
outputs = Table(
    "outputs",
    metadata,
    Column("output_id", String, primary_key=True),
    Column("idempotency_key", String, nullable=False),
    Column("output_type", String, nullable=False),  # task | message | handoff | draft | publication
    Column("client_id", String, nullable=False),
    Column("lead_id", String),
    Column("channel", String, nullable=False),  # crm_task | crm_note | crm_update | text | email | desk_task
    Column("priority", Integer, nullable=False),  # 0 urgent, 1 owner tasks, 2 answers, 3 everything else
    Column("owner", String, nullable=False),
    Column("source", Text, nullable=False),  # rule@version + event_id: what caused it
    Column("rule", String, nullable=False, server_default=""),
    Column("rule_version", String, nullable=False, server_default=""),
    Column("step_id", String, nullable=False, server_default=""),
    Column("trigger_event_id", String),
    Column("template", String, nullable=False, server_default=""),
    Column("template_version", String, nullable=False, server_default=""),
    Column("recipient", String, nullable=False),  # E.164, address or provider id; "" for a desk task
    Column("payload", Text, nullable=False),  # JSON: what to say, as rendered and approved
    Column("created_at", String, nullable=False),
    Column("due_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("status", String, nullable=False),  # see pipeline.store.outputs.STATUSES
    Column("status_at", String, nullable=False),
    Column("reason_code", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recovery_rule", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", String, nullable=False),
    Column("fence", Integer, nullable=False),  # grows with each claim: who holds an older one has lost it
    Column("lease_until", String),
    Column("sending_since", String),  # set just before the provider is called: from here on it may have been sent
    Column("provider_ref", String),
    Column("first_sent_at", String),  # when the provider was first called: asking for it begins there
    Column("respond_by", String),  # by when somebody must have taken it up; then its next escalation is due
    Column("escalated", Integer, nullable=False, server_default="0"),  # escalations so far
    Column("acknowledged_at", String),  # when its owner took a task up
    UniqueConstraint("idempotency_key", name="outputs_once"),
)
Index("outputs_due", outputs.c.status, outputs.c.next_attempt_at)
Index("outputs_of_lead", outputs.c.client_id, outputs.c.lead_id)

# What happened to each output, in order: claims, refusals, sends, answers. Never changed.
output_log = Table(
    "output_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("output_id", String, nullable=False),
    Column("at", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column(
        "what", String, nullable=False
    ),  # queued | waiting | refused | sending | delivered | retrying | failed | unknown | ...
    Column("code", String, nullable=False),
    Column("detail", Text, nullable=False),
)
Index("output_log_of_output", output_log.c.output_id)

# Why work is paused: one row for each client, scope and cause, open until it is cleared.
holds = Table(
    "holds",
    metadata,
    Column("hold_id", String, primary_key=True),
    Column("open_key", String),  # client|scope|cause while it is open, so that one cause opens one hold
    Column("client_id", String, nullable=False),
    Column("scope", String, nullable=False),  # a channel, a provider, or "all"
    Column("cause", String, nullable=False),  # credential | webhook | import | delivery | privacy | compliance
    Column("evidence", Text, nullable=False),
    Column("owner", String, nullable=False),
    Column("recovery_rule", Text, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("opened_by", String, nullable=False, server_default="leadtrail"),  # or a person: then only a person ends it
    Column("clearable_at", String),  # since when its cause is gone
    Column("clearable_because", Text),
    Column("cleared_at", String),
    Column("cleared_by", String),
    Column("note", Text),
    Column("released", Integer),  # how much of what it held was let go, and how much was no longer true by then
    Column("left_over", Integer),
    UniqueConstraint("open_key", name="holds_open_once"),
)

# Somebody does not want to be written to: by any word, on any channel, until they say otherwise.
suppressions = Table(
    "suppressions",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("address", String, primary_key=True),  # E.164 or email, normalized
    Column("channel", String, primary_key=True),  # text | email | any
    Column("since", String, nullable=False),
    Column("cause", String, nullable=False),  # keyword | words | provider | complaint | bounce | person
    Column("evidence", Text, nullable=False),  # the event or record that says so
    Column("state", String, nullable=False),  # standing | in_review | lifted
    Column("state_at", String, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    Column("incident_id", String, primary_key=True),
    Column("open_key", String),  # one cause, one incident, however many symptoms
    Column("client_id", String, nullable=False),  # "" for the whole house
    Column("title", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("owner", String, nullable=False),
    Column("recovery_rule", Text, nullable=False),
    Column("symptoms", Integer, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("last_seen_at", String, nullable=False),
    Column("resolved_at", String),
    Column("resolved_by", String),
    UniqueConstraint("open_key", name="incidents_open_once"),
)

# Who did what, each row sealed with the one before it.
audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),
)

# What rules and templates say, by version (a hash of their content). client_id "" is the house's own.
rule_versions = Table(
    "rule_versions",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("rule", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("content", Text, nullable=False),  # JSON of the checked rule
    Column("added_at", String, nullable=False),
    Column("added_by", String, nullable=False),
)

# Who changed the state of a version and when: only ever added to; the last row of a version is its state.
rule_states = Table(
    "rule_states",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("client_id", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("version", String, nullable=False),
    Column("state", String, nullable=False),  # draft | replayed | enabled | paused | retired
    Column("at", String, nullable=False),
    Column("by", String, nullable=False),
    Column("note", Text, nullable=False),
)
Index("rule_states_of_rule", rule_states.c.client_id, rule_states.c.rule)

template_versions = Table(
    "template_versions",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("template", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("content", Text, nullable=False),  # JSON of the checked template
    Column("added_at", String, nullable=False),
    Column("added_by", String, nullable=False),
)

template_states = Table(
    "template_states",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("client_id", String, nullable=False),
    Column("template", String, nullable=False),
    Column("version", String, nullable=False),
    Column("state", String, nullable=False),  # draft | approved | withdrawn
    Column("at", String, nullable=False),
    Column("by", String, nullable=False),
    Column("note", Text, nullable=False),
)
Index("template_states_of_template", template_states.c.client_id, template_states.c.template)

# What a rule version would have done: it cannot be enabled before somebody could see this.
rule_replays = Table(
    "rule_replays",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("client_id", String, nullable=False),
    Column("rule", String, nullable=False),
    Column("version", String, nullable=False),
    Column("replayed_at", String, nullable=False),
    Column("by", String, nullable=False),
    Column("from_at", String, nullable=False),
    Column("to_at", String, nullable=False),
    Column("summary", Text, nullable=False),  # JSON of counts; no personal data
)
