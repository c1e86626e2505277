"""What is queued and no longer asked for is taken back before it is sent: it was stopped since, or its lead became another's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select

from pipeline.follow_up.published import Published
from pipeline.store.outputs import cancel
from pipeline.store.schema import outputs

UNSENT = ("pending", "retrying", "held", "leased")
NOT_GONE = ("pending", "retrying", "held", "leased", "unknown", "delivered")


def take_back(connection: Connection, published: Published, now: datetime) -> int:
    """Take back what is queued and no longer asked for: it was stopped since, or the lead was merged with one that has it."""
    columns = (outputs.c.output_id, outputs.c.idempotency_key, outputs.c.status, outputs.c.created_at)
    open_rows = connection.execute(select(*columns).where(outputs.c.status.in_(UNSENT), outputs.c.rule != "")).all()
    steps = {key: step for step in published.steps_of({row.idempotency_key for row in open_rows}) for key in step.keys}
    count = 0
    siblings = _not_gone(connection, {key for step in steps.values() if step.former_step_keys for key in step.keys})
    for row in open_rows:
        step = steps.get(row.idempotency_key)
        if step is None:
            continue
        if step.stopped_at is not None and step.stopped_at <= now:
            reason = f"Event {step.stopped_by_event_id}: {(step.stop_reason or 'stopped').replace('_', ' ')}."
            count += cancel(connection, row.output_id, step.stop_reason or "stopped", reason, now)
            continue
        same = [siblings[key] for key in step.keys if key in siblings]
        if len(same) > 1 and min(same)[-1] != row.output_id:
            count += cancel(
                connection, row.output_id, "merged", "The lead is one with another that has this already.", now
            )
    return count


def _not_gone(connection: Connection, keys: Collection[str]) -> dict[str, tuple[bool, str, str]]:
    """Of these keys, those whose output may yet be sent or has been: those sent first, then the oldest."""
    where = (outputs.c.idempotency_key.in_(sorted(keys)), outputs.c.status.in_(NOT_GONE))
    rows = connection.execute(select(outputs).where(*where)).all() if keys else ()
    return {row.idempotency_key: (row.status in UNSENT, row.created_at, row.output_id) for row in rows}
