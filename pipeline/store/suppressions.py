"""Who must not be written to: kept for each client and address, whatever channel it was said on, until they say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, select, text

from pipeline.store import audit
from pipeline.store.engine import put, stamp
from pipeline.store.schema import suppressions

Channel = Literal["text", "email", "any"]
Cause = Literal["keyword", "words", "provider", "complaint", "bounce", "person"]


def suppress(
    connection: Connection,
    client_id: str,
    address: str,
    channel: Channel,
    *,
    cause: Cause,
    evidence: str,
    now: datetime,
    since: datetime | None = None,
    in_review: bool = False,
) -> None:
    """Write to this address no more, in the caller's transaction. `since` is when they said it, if not just now. `in_review`: the
    words may mean it; until a person has looked, nothing is sent either. A standing suppression is never weakened to one in
    review."""
    if connection.dialect.name == "postgresql":  # whoever is about to send holds it shared (`about_to_send`)
        connection.execute(text("select pg_advisory_xact_lock(7413)"))
    known = _of(connection, client_id, address, channel)
    if known is not None and known["state"] == "standing":
        return
    row = {
        "client_id": client_id,
        "address": address,
        "channel": channel,
        "since": stamp(since or now),
        "cause": cause,
        "evidence": evidence,
        "state": "in_review" if in_review else "standing",
        "state_at": stamp(now),
    }
    put(connection, suppressions, [row])
    audit.note(connection, "leadtrail", "suppression.added", evidence, {"channel": channel, "cause": cause}, now)


def about_to_send(connection: Connection) -> None:
    """From here to the end of the caller's transaction no suppression is committed: what it reads of them stays true until it
    has said that it sends. (SQLite has one writer at a time anyway.)"""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock_shared(7413)"))


def lift(
    connection: Connection, client_id: str, address: str, channel: Channel, *, by: str, evidence: str, now: datetime
) -> bool:
    """They allow it again, or a person found that they never forbade it. False if nothing stood."""
    known = _of(connection, client_id, address, channel)
    if known is None or known["state"] == "lifted":
        return False
    put(connection, suppressions, [{**known, "state": "lifted", "state_at": stamp(now)}])
    audit.note(connection, by, "suppression.lifted", evidence, {"channel": channel}, now)
    return True


def standing(connection: Connection, client_id: str, address: str, channel: Channel) -> Mapping[str, Any] | None:
    """What forbids writing to this address on this channel: said for it, or for any channel; or waiting for a person's look."""
    query = select(suppressions).where(
        suppressions.c.client_id == client_id,
        suppressions.c.address == address,
        suppressions.c.channel.in_((channel, "any")),
        suppressions.c.state != "lifted",
    )
    return connection.execute(query.order_by(suppressions.c.state.desc(), suppressions.c.since)).mappings().first()


def _of(connection: Connection, client_id: str, address: str, channel: Channel) -> Mapping[str, Any] | None:
    where = (
        suppressions.c.client_id == client_id,
        suppressions.c.address == address,
        suppressions.c.channel == channel,
    )
    return connection.execute(select(suppressions).where(*where)).mappings().first()
