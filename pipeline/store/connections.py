"""The state of every connection: does it work, since when, whose is it, and how does it resume."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from pipeline.store.engine import put, stamp
from pipeline.store.schema import connections

# ok: the last sync read everything. deferred: the provider asked us to wait; resumes by itself. failing: the provider is down or
# has changed; the next run tries again. needs_person: nothing will work until someone acts (see `fix`).
STATES = ("ok", "deferred", "failing", "needs_person")


@dataclass(frozen=True)
class ConnectionState:
    client_id: str
    provider: str
    state: str
    owner: str
    reason: str = ""
    fix: str = ""
    since: str = ""
    last_attempt_at: str = ""
    last_success_at: str | None = None
    retry_at: str | None = None
    records_last_run: int = 0
    options_print: str = ""


def load_states(engine: Engine) -> dict[tuple[str, str], ConnectionState]:
    with engine.connect() as connection:
        return _load(connection)


def _load(connection: Connection) -> dict[tuple[str, str], ConnectionState]:
    rows = connection.execute(select(connections)).mappings().all()
    return {(row["client_id"], row["provider"]): ConnectionState(**row) for row in rows}


def save_states(engine: Engine, states: list[ConnectionState], now: datetime) -> None:
    with engine.begin() as connection:
        save_states_in(connection, states, now)


def save_states_in(connection: Connection, states: list[ConnectionState], now: datetime) -> None:
    """Record the outcome of a run for its connections. `since` keeps the time the present state began."""
    if not states:
        return
    known = _load(connection)
    at = stamp(now)
    rows = []
    for new in states:
        old = known.get((new.client_id, new.provider))
        rows.append(
            {
                **new.__dict__,
                "since": old.since if old and old.state == new.state else at,
                "last_attempt_at": at,
                "last_success_at": at if new.state == "ok" else (old.last_success_at if old else None),
            }
        )
    put(connection, connections, rows)
