"""Outputs that were sent while nobody knows whether they arrived: asked for when their provider can tell, never sent blindly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from pipeline.store.engine import stamp
from pipeline.store.outputs import note
from pipeline.store.schema import outputs


def to_be_asked_for(engine: Engine, now: datetime, *, limit: int = 100) -> list[Mapping[str, Any]]:
    """Outputs that may or may not have arrived, and whose provider may be asked by now."""
    due = (outputs.c.status == "unknown", outputs.c.next_attempt_at <= stamp(now))
    query = select(outputs).where(*due).order_by(outputs.c.priority, outputs.c.next_attempt_at).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def ask_later(engine: Engine, output_id: str, code: str, reason: str, ask_at: datetime, now: datetime) -> None:
    """The provider could not tell yet whether it has an output."""
    values = {"next_attempt_at": stamp(ask_at), "reason_code": code, "reason": reason}
    with engine.begin() as connection:
        _settle(connection, output_id, values, "asked for", reason, now)


def resolve_unknown(engine: Engine, output_id: str, found: str | None, actor: str, now: datetime) -> bool:
    """What asking the provider (or a person) brought: `found` is its reference there, or None if it surely is not there; then
    it goes back into the queue."""
    values: dict[str, Any] = {"status_at": stamp(now), "lease_until": None, "sending_since": None}
    if found is not None:
        values |= {"status": "delivered", "provider_ref": found, "reason_code": "", "reason": "Found at the provider."}
    else:
        values |= {"status": "retrying", "next_attempt_at": stamp(now)}
        values |= {"reason_code": "not_there", "reason": "The provider does not have it."}
    with engine.begin() as connection:
        return _settle(connection, output_id, values, values["status"], f"{values['reason']} ({actor})", now)


def _settle(
    connection: Connection, output_id: str, values: Mapping[str, Any], what: str, detail: str, now: datetime
) -> bool:
    """Change it if it still is unknown, and write that down."""
    where = (outputs.c.output_id == output_id, outputs.c.status == "unknown")
    row = connection.execute(select(outputs).where(*where).with_for_update()).mappings().first()
    if row is None:
        return False
    connection.execute(update(outputs).where(outputs.c.output_id == output_id).values(**values))
    note(connection, {**row}, what, str(values["reason_code"]), detail, now)
    return True
