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

# ---- what clients see, and who may say so ----

# One version of what a client may come to read about one period. Its words and figures never change: an edit is a new version.
summaries = Table(
    "summaries",
    metadata,
    Column("summary_id", String, primary_key=True),
    Column("idempotency_key", String, nullable=False),  # what it was made of: the same facts make no second draft
    Column("client_id", String, nullable=False),
    Column("kind", String, nullable=False),  # week | month
    Column("period_start", String, nullable=False),  # day, on the client's clock
    Column("period_end", String, nullable=False),  # the day after its last
    Column("version", Integer, nullable=False),  # of this client and period: 1, 2, ...
    Column("content", Text, nullable=False),  # JSON, see pipeline.client_safe.document
    Column("figures", Text, nullable=False),  # JSON, likewise
    Column("sources", Text, nullable=False),  # JSON: each source's state and "data until"
    Column("query_hash", String, nullable=False),  # of the models the figures were read from
    Column("snapshot_hash", String, nullable=False),  # of the rows they were read from
    Column("template_version", String, nullable=False),
    Column("redaction_version", String, nullable=False),
    Column("bound_hash", String, nullable=False),  # over all of the above: what an approval approves
    Column("made_by", String, nullable=False),  # rule | ai | person
    Column("author", String, nullable=False),  # may not approve it
    Column("based_on", String),  # the version that was edited
    Column(
        "findings", Text, nullable=False
    ),  # JSON: what blocks it (a wrong figure, personal data left), by finding id
    Column("created_at", String, nullable=False),
    Column("expires_at", String, nullable=False),  # unreviewed by then it is expired; never approved
    Column("owner", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("status", String, nullable=False),  # see pipeline.store.summaries.STATUSES
    Column("status_at", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recovery_rule", Text, nullable=False),
    Column("publish_at", String),  # approved: when it can no longer be undone
    UniqueConstraint("idempotency_key", name="summaries_once"),
)
Index("summaries_of_client", summaries.c.client_id, summaries.c.kind, summaries.c.period_start)
Index("summaries_in", summaries.c.status)

# Who decided what about a version, in order. Only ever added to.
summary_log = Table(
    "summary_log",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("summary_id", String, nullable=False),
    Column("client_id", String, nullable=False),
    Column("at", String, nullable=False),
    Column("who", String, nullable=False),
    Column(
        "what", String, nullable=False
    ),  # drafted | blocked | cleared | commented | edited | approved | undone | rejected | ...
    Column("reason", Text, nullable=False),
    Column("bound_hash", String, nullable=False),  # what they had before them
)
Index("summary_log_of_summary", summary_log.c.summary_id)

# What clients read, and nothing else of ours. One row per publication; its words stay as they were approved.
publications = Table(
    "publications",
    metadata,
    Column("publication_id", String, primary_key=True),
    Column("client_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("period_start", String, nullable=False),
    Column("period_end", String, nullable=False),
    Column("standing", String),  # client|kind|period_start while it is the one that is shown
    Column("summary_id", String, nullable=False),
    Column("bound_hash", String, nullable=False),
    Column("content", Text, nullable=False),  # JSON: the approved words and figures
    Column("sources", Text, nullable=False),
    Column("approved_by", String, nullable=False),
    Column("published_at", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("source", Text, nullable=False),
    Column("status", String, nullable=False),  # published | in_re_review | revoked | replaced
    Column("status_at", String, nullable=False),
    Column("reason", Text, nullable=False),  # in words a client may read
    Column("recovery_rule", Text, nullable=False),
    UniqueConstraint("standing", name="publications_standing_once"),
)
Index("publications_of_client", publications.c.client_id, publications.c.status)

publication_views = Table(
    "publication_views",
    metadata,
    Column("publication_id", String, primary_key=True),
    Column("account_id", String, primary_key=True),
    Column("client_id", String, nullable=False),
    Column("first_at", String, nullable=False),
    Column("last_at", String, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String, primary_key=True),
    Column("email", String, nullable=False),  # lower case
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),  # admin | client_success | analyst | client
    Column(
        "clients", Text, nullable=False
    ),  # JSON: ids of the clients they may see, or ["*"]; of role client exactly one
    Column("password_hash", String),  # argon2; null: signs in elsewhere, or by link
    Column("created_at", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("disabled_at", String),
    UniqueConstraint("email", name="accounts_email_once"),
)

# Who is signed in. The token itself is only in their browser.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String, primary_key=True),
    Column("realm", String, nullable=False),  # desk | portal
    Column("account_id", String, nullable=False),
    Column("csrf", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("last_seen_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
)
Index("sessions_of_account", sessions.c.account_id)

# Links that sign a client in, once.
login_links = Table(
    "login_links",
    metadata,
    Column("token_hash", String, primary_key=True),
    Column("account_id", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("used_at", String),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String, nullable=False),
    Column("realm", String, nullable=False),
    Column("account", String, nullable=False),  # keyed hash of what was typed
    Column("address", String, nullable=False),  # keyed hash of where it came from
    Column("outcome", String, nullable=False),  # ok | wrong | throttled
)
Index("login_attempts_by_account", login_attempts.c.account, login_attempts.c.at)
Index("login_attempts_by_address", login_attempts.c.address, login_attempts.c.at)

# What `leadtrail verify` saw.
verifications = Table(
    "verifications",
    metadata,
    Column("verification_id", String, primary_key=True),
    Column("at", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("ok", Integer, nullable=False),
    Column("checks", Text, nullable=False),  # JSON: name, state, what was seen, what to do
    Column("took_seconds", Integer, nullable=False),
)

# Who was erased: a keyed hash of each identifier, so that nothing of them comes in again.
erasures = Table(
    "erasures",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("identifier_hash", String, primary_key=True),
    Column("erased_at", String, nullable=False),
    Column("erased_by", String, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON of counts; no personal data
)

# How the permit to text stands, as the provider last said (10DLC).
registrations = Table(
    "registrations",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("provider", String, primary_key=True),
    Column("state", String, nullable=False),  # connectors.base.Registration
    Column("said", String, nullable=False),  # in the provider's own word
    Column("since", String, nullable=False),  # when it first said so
    Column("asked_at", String, nullable=False),
    Column("answered_at", String),
)

# What a model said of a call, for staff. Never read for a client's draft.
call_summaries = Table(
    "call_summaries",
    metadata,
    Column("client_id", String, primary_key=True),
    Column("event_id", String, primary_key=True),  # the call
    Column("lead_id", String, nullable=False),
    Column("person_id", String, nullable=False),
    Column("words", Text, nullable=False),  # JSON, see pipeline.client_safe.call_summaries; says what a person said
    Column("model", String, nullable=False),
    Column("made_at", String, nullable=False),
)
Index("call_summaries_of_lead", call_summaries.c.client_id, call_summaries.c.lead_id)
