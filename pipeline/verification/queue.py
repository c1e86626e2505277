"""Whether the queue moves: nothing due has been lying about, nothing is stuck, nothing is uncertain without an owner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select

from pipeline.doctor import Finding
from pipeline.office import Office
from pipeline.store.engine import stamp
from pipeline.store.schema import outputs

LATE = timedelta(minutes=15)


def queue(engine: Engine, *, now: datetime) -> Iterator[Finding]:
    late = select(func.count(), func.min(outputs.c.next_attempt_at)).where(
        outputs.c.status.in_(["pending", "retrying"]), outputs.c.next_attempt_at < stamp(now - LATE)
    )
    stuck = select(func.count()).where(
        outputs.c.status == "leased", outputs.c.lease_until.is_not(None), outputs.c.lease_until < stamp(now - LATE)
    )
    with engine.connect() as connection:
        waiting, since = connection.execute(late).one()
        held_up = connection.execute(stuck).scalar_one()
        by_status = select(outputs.c.status, func.count().label("held")).group_by(outputs.c.status)
        counts: dict[str, int] = {row.status: row.held for row in connection.execute(by_status)}
    if waiting or held_up:
        yield Finding(
            "problem", "queue", f"{waiting} outputs are due since {str(since)[:16]}, {held_up} were begun and left",
            "Is `leadtrail up` running, and its sensors on? `leadtrail deliver` works the queue by hand.",
        )  # fmt: skip
    else:
        said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "empty"
        yield Finding("ok", "queue", f"it moves: {said}")
    uncertain, failed = counts.get("unknown", 0), counts.get("failed", 0)
    if uncertain or failed:
        yield Finding(
            "warn", "queue", f"{uncertain} may have been sent and {failed} failed",
            "Each has an owner and a reason: `leadtrail outputs list`.",
        )  # fmt: skip


def sealed_log(office: Office) -> Iterator[Finding]:
    rows, broken = office.audit()
    if broken:
        yield Finding(
            "problem", "audit", f"row {broken.seq}: {broken.problem}", "Somebody changed the log. Keep the file."
        )
    else:
        yield Finding("ok", "audit", f"{rows} rows, the chain holds")
