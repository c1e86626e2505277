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
