"""Outputs that a hold holds back: let go later, ended, or turned into tasks for the desk. Only such as surely were not sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from pipeline.store.engine import stamp
from pipeline.store.outputs import note
from pipeline.store.schema import outputs

Row = Mapping[str, Any]

ON_HOLD = "on_hold"  # reason codes: of what is held,
NOT_APPROVED = "texting_not_approved"  # of what the gate held before there was a hold,
RELEASED = "released"  # of what was let go,
MOVED = "to_the_desk"  # of what was moved


def held_outputs(connection: Connection, client_id: str) -> list[Row]:
    """Everything of a client that is held back by some hold, most urgent first, then what lapses first."""
    held = (outputs.c.status == "held", outputs.c.reason_code.in_((ON_HOLD, NOT_APPROVED)))
    return _rows(connection, outputs.c.client_id == client_id, *held)


def waiting_tasks(connection: Connection, client_id: str) -> list[Row]:
    """Tasks on their way to the CRM that have surely not got there."""
    on_hold = and_(outputs.c.status == "held", outputs.c.reason_code == ON_HOLD)  # not what something else holds
    waiting = or_(outputs.c.status.in_(("pending", "retrying")), on_hold)
    return _rows(connection, outputs.c.client_id == client_id, outputs.c.channel == "crm_task", waiting)


def let_go(connection: Connection, row: Row, at: datetime, reason: str, now: datetime) -> None:
    """Back into the queue, to be judged again at `at`."""
    values = {"status": "pending", "next_attempt_at": stamp(at), "reason_code": RELEASED, "reason": reason}
    _change(connection, row, values, "released", now)


def lapse(connection: Connection, row: Row, reason: str, now: datetime) -> None:
    """It is no longer true: it is not sent."""
    _change(connection, row, {"status": "expired", "reason_code": ON_HOLD, "reason": reason}, "expired", now)


def move(connection: Connection, row: Row, channel: str, reason: str, now: datetime) -> None:
    """Another way, at once."""
    values = {"channel": channel, "status": "pending", "next_attempt_at": stamp(now)}
    _change(connection, row, {**values, "reason_code": MOVED, "reason": reason}, "moved", now)


def last_slot(connection: Connection, client_id: str) -> datetime | None:
    """When the last of what an earlier release let go is due."""
    query = select(func.max(outputs.c.next_attempt_at)).where(
        outputs.c.client_id == client_id, outputs.c.status == "pending", outputs.c.reason_code == RELEASED
    )
    last: str | None = connection.execute(query).scalar()
    return datetime.fromisoformat(last) if last else None


def _rows(connection: Connection, *where: ColumnElement[bool]) -> list[Row]:
    order = (outputs.c.priority, outputs.c.expires_at, outputs.c.output_id)
    query = select(outputs).where(*where).order_by(*order).with_for_update()
    return list(connection.execute(query).mappings().all())


def _change(connection: Connection, row: Row, values: dict[str, Any], what: str, now: datetime) -> None:
    changed = {**values, "status_at": stamp(now), "lease_until": None}
    connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**changed))
    note(connection, row, what, values["reason_code"], values["reason"], now)
