"""Work that is paused because something is uncertain: why, whose it is, how it resumes. One mechanism for all six causes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.schema import holds

Cause = Literal["credential", "webhook", "import", "delivery", "privacy", "compliance"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
EVERYTHING = "all"
LEADTRAIL = "leadtrail"  # the opener of what nobody opened by hand

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Hold:
    """`scope` is a channel ("text"), a provider ("hubspot") or EVERYTHING. `evidence`: what was seen, no personal data."""

    client_id: str
    scope: str
    cause: Cause
    evidence: str
    owner: str
    recovery_rule: str

    @property
    def open_key(self) -> str:
        return f"{self.client_id}|{self.scope}|{self.cause}"


def open_hold(connection: Connection, hold: Hold, now: datetime, *, actor: str = LEADTRAIL) -> bool:
    """Open a hold, in the caller's transaction. False if this cause already holds this scope: the first evidence stands."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = {
        "hold_id": uuid.uuid4().hex,
        "open_key": hold.open_key,
        **{name: getattr(hold, name) for name in ("client_id", "scope", "cause", "evidence", "owner", "recovery_rule")},
        "opened_at": stamp(now),
        "opened_by": actor,
    }
    statement = dialect.insert(holds).on_conflict_do_nothing(index_elements=["open_key"]).returning(holds.c.hold_id)
    opened = connection.execute(statement, row).first() is not None
    if opened:
        audit.note(connection, actor, "hold.opened", hold.open_key, {"evidence": hold.evidence}, now)
    return opened


def propose_end(connection: Connection, open_key: str, because: str | None, now: datetime) -> bool:
    """Note that the cause is gone (or, with None, that it is back). Nothing is let go by this. True if it is news."""
    values = {"clearable_at": stamp(now) if because else None, "clearable_because": because}
    known = holds.c.clearable_at.is_(None) if because else holds.c.clearable_at.is_not(None)
    return connection.execute(update(holds).where(holds.c.open_key == open_key, known).values(**values)).rowcount == 1


def clear_hold(connection: Connection, open_key: str, now: datetime, *, by: str, note: str) -> bool:
    """End a hold, in the caller's transaction. What it held stays held until it is released (`follow_up.release`)."""
    values = {"open_key": None, "cleared_at": stamp(now), "cleared_by": by, "note": note}
    cleared = connection.execute(update(holds).where(holds.c.open_key == open_key).values(**values)).rowcount == 1
    if cleared:
        audit.note(connection, by, "hold.cleared", open_key, {"note": note}, now)
    return cleared


def open_holds(connection: Connection, client_id: str = "") -> list[Row]:
    """Holds that stand, oldest first."""
    query = select(holds).where(holds.c.open_key.is_not(None)).order_by(holds.c.opened_at, holds.c.hold_id)
    if client_id:
        query = query.where(holds.c.client_id == client_id)
    return list(connection.execute(query).mappings().all())


def all_holds(connection: Connection, client_id: str = "") -> list[Row]:
    """Every hold there ever was, oldest first."""
    query = select(holds).order_by(holds.c.opened_at, holds.c.hold_id)
    if client_id:
        query = query.where(holds.c.client_id == client_id)
    return list(connection.execute(query).mappings().all())


def find_hold(connection: Connection, hold_id: str) -> list[Row]:
    """Holds whose id begins like this."""
    query = select(holds).where(holds.c.hold_id.startswith(hold_id, autoescape=True))
    return list(connection.execute(query.order_by(holds.c.opened_at)).mappings().all())


def last_cleared(connection: Connection) -> dict[str, str]:
    """When each client|scope|cause was last cleared: what was seen before that has been dealt with."""
    query = select(holds.c.client_id, holds.c.scope, holds.c.cause, func.max(holds.c.cleared_at).label("at"))
    rows = connection.execute(query.where(holds.c.cleared_at.is_not(None)).group_by("client_id", "scope", "cause"))
    return {f"{row.client_id}|{row.scope}|{row.cause}": row.at for row in rows}
