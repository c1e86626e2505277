"""Webhooks as they came: stored once, answered only after that, drained to landing later, and emptied when they are old."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from connectors.base import WebhookRequest
from pipeline.store.engine import stamp
from pipeline.store.schema import inbox, quarantine


@dataclass(frozen=True)
class Event:
    """A verified webhook on its way into the inbox; `request` is what its connector lets be kept."""

    client_id: str
    provider: str
    dedupe_key: str
    request: WebhookRequest


@dataclass(frozen=True)
class Stored:
    """An event waiting to be drained."""

    id: int
    client_id: str
    provider: str
    request: WebhookRequest


# what else a new event changes, in the transaction that stores it
Also = Callable[[Connection], None]


def store_events(engine: Engine, events: Sequence[Event], also: Mapping[int, Also] | None = None) -> None:
    """Store events durably, in one transaction. An event that is there already counts one receipt more, nothing else. `also`
    tells, by an event's place, what follows from it if it is new."""
    also = also or {}
    statement = _upsert(engine.dialect.name)
    plain = [_row(event) for place, event in enumerate(events) if place not in also]
    with engine.begin() as connection:
        if plain:
            connection.execute(statement, plain)
        for place, follows in sorted(also.items()):
            if connection.execute(statement.returning(inbox.c.receipts), _row(events[place])).scalar_one() == 1:
                follows(connection)


@cache
def _upsert(dialect: str) -> Any:
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(inbox)
    return statement.on_conflict_do_update(
        index_elements=["client_id", "provider", "dedupe_key"],
        set_={"receipts": inbox.c.receipts + 1, "last_receipt_at": statement.excluded.last_receipt_at},
    )


def _row(event: Event) -> dict[str, object]:
    request, at = event.request, stamp(event.request.received_at)
    return {
        "client_id": event.client_id,
        "provider": event.provider,
        "dedupe_key": _storable(event.dedupe_key),
        "method": request.method,
        "url": request.url,
        "tail": request.tail,
        "headers": json.dumps(dict(request.headers)),
        "body": request.body,
        "received_at": at,
        "receipts": 1,
        "last_receipt_at": at,
        "state": "stored",
        "state_at": at,
    }


def _storable(key: str) -> str:
    """Keys are made of what was sent: PostgreSQL indexes no very long text, and stores no NUL."""
    return key if len(key) <= 300 and "\x00" not in key else hashlib.sha256(key.encode()).hexdigest()


# built once: every connection asks in every sync, and building it takes longer than running it
_PENDING = (
    select(inbox)
    .where(
        inbox.c.client_id == bindparam("of_client"),
        inbox.c.provider == bindparam("of_provider"),
        inbox.c.state == "stored",
        inbox.c.id > bindparam("after"),
    )
    .order_by(inbox.c.id)
    .limit(bindparam("most"))
)


def pending(engine: Engine, client_id: str, provider: str, *, limit: int, after: int = 0) -> list[Stored]:
    """The oldest events of a connection that wait to be drained."""
    wanted = {"of_client": client_id, "of_provider": provider, "after": after, "most": limit}
    with engine.connect() as connection:
        rows = connection.execute(_PENDING, wanted).all()
    return [
        Stored(
            row.id,
            row.client_id,
            row.provider,
            WebhookRequest(
                url=row.url,
                headers=json.loads(row.headers),
                body=row.body,
                received_at=datetime.fromisoformat(row.received_at),
                method=row.method,
                tail=row.tail,
            ),
        )
        for row in rows
    ]


def waiting(engine: Engine) -> Mapping[tuple[str, str], int]:
    """How many events wait, for each (client, provider)."""
    query = (
        select(inbox.c.client_id, inbox.c.provider, func.count().label("waiting"))
        .where(inbox.c.state == "stored")
        .group_by(inbox.c.client_id, inbox.c.provider)
    )
    with engine.connect() as connection:
        return {(row.client_id, row.provider): row.waiting for row in connection.execute(query)}


def mark_drained(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """In the transaction that makes the events' records durable."""
    for start in range(0, len(ids), 500):
        connection.execute(
            update(inbox).where(inbox.c.id.in_(ids[start : start + 500])).values(state="drained", state_at=stamp(now))
        )


def mark_quarantined(
    connection: Connection, event: Stored, problems: Sequence[tuple[str, bytes]], now: datetime
) -> None:
    """Keep what could not be understood, with the reason; the event stays and can be read again."""
    connection.execute(update(inbox).where(inbox.c.id == event.id).values(state="quarantined", state_at=stamp(now)))
    connection.execute(
        insert(quarantine),
        [
            {
                "inbox_id": event.id,
                "client_id": event.client_id,
                "provider": event.provider,
                "reason": reason,
                "payload": payload,
                "quarantined_at": stamp(now),
            }
            for reason, payload in problems
        ],
    )
