"""Work that is paused because something is uncertain: why, whose it is, how it resumes. One mechanism for all six causes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.schema import holds

Cause = Literal["credential", "webhook", "import", "delivery", "privacy", "compliance"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
EVERYTHING = "all"


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


def open_hold(connection: Connection, hold: Hold, now: datetime, *, actor: str = "leadtrail") -> bool:
    """Open a hold, in the caller's transaction. False if this cause already holds this scope: the first evidence stands."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    row = {
        "hold_id": uuid.uuid4().hex,
        "open_key": hold.open_key,
        **{name: getattr(hold, name) for name in ("client_id", "scope", "cause", "evidence", "owner", "recovery_rule")},
        "opened_at": stamp(now),
    }
    statement = dialect.insert(holds).on_conflict_do_nothing(index_elements=["open_key"]).returning(holds.c.hold_id)
    opened = connection.execute(statement, row).first() is not None
    if opened:
        audit.note(connection, actor, "hold.opened", hold.open_key, {"evidence": hold.evidence}, now)
    return opened


def clear_hold(connection: Connection, open_key: str, now: datetime, *, by: str, note: str) -> bool:
    """End a hold, in the caller's transaction. What it held is judged again when it is next claimed: nothing is sent because it
    waited."""
    values = {"open_key": None, "cleared_at": stamp(now), "cleared_by": by, "note": note}
    cleared = connection.execute(update(holds).where(holds.c.open_key == open_key).values(**values)).rowcount == 1
    if cleared:
        audit.note(connection, by, "hold.cleared", open_key, {"note": note}, now)
    return cleared


def open_holds(connection: Connection, client_id: str = "") -> list[Mapping[str, Any]]:
    """Holds that stand, oldest first."""
    query = select(holds).where(holds.c.open_key.is_not(None)).order_by(holds.c.opened_at, holds.c.hold_id)
    if client_id:
        query = query.where(holds.c.client_id == client_id)
    return list(connection.execute(query).mappings().all())


def holding(connection: Connection, client_id: str, scopes: Sequence[str]) -> Mapping[str, Any] | None:
    """The oldest hold that stands in the way of work of this client in any of these scopes."""
    query = (
        select(holds)
        .where(
            holds.c.open_key.is_not(None),
            holds.c.client_id == client_id,
            holds.c.scope.in_([*scopes, EVERYTHING]),
        )
        .order_by(holds.c.opened_at, holds.c.hold_id)
        .limit(1)
    )
    return connection.execute(query).mappings().first()
