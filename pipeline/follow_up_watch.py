"""What waits for the next follow-up run: webhooks, outputs whose time has come, steps that are due, holds whose cause is gone.
Asks the store and the published file, never a provider."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
from sqlalchemy import Engine, and_, func, or_, select

from pipeline.follow_up.detect import ended_holds
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.engine import stamp
from pipeline.store.schema import inbox, outputs

LATELY = timedelta(days=1)  # what has been due for longer is left to the schedule
MOST = 1_000
# these look again every minute until somebody has done something: the schedule is often enough for them
PUT_OFF = ("behind_urgent", "in_order")


@dataclass(frozen=True)
class Waiting:
    """How much waits. `mark` differs whenever something else does: work that could not be done is told from new work by it."""

    webhooks: int
    outputs: int
    steps: int
    holds: int
    mark: str

    def __bool__(self) -> bool:
        return bool(self.webhooks or self.outputs or self.steps or self.holds)

    def __str__(self) -> str:
        return f"{self.webhooks} webhooks, {self.outputs} outputs, {self.steps} steps and {self.holds} holds wait"


def what_waits(office: Office, *, now: datetime, steps: bool = True, holds: bool = True) -> Waiting:
    """Look once. Without `steps` and `holds` only the queue and the inbox are asked, which takes a millisecond."""
    webhooks, newest = _webhooks(office.engine)
    queued, last = _outputs(office.engine, now)
    due = _steps(office.settings, office.engine, now) if steps else []
    over = ended_holds(office, now=now) if holds else []
    seen = "|".join([str(webhooks), str(newest), str(queued), last, *due, *over])
    return Waiting(webhooks, queued, len(due), len(over), hashlib.sha256(seen.encode()).hexdigest()[:16])


def _webhooks(engine: Engine) -> tuple[int, int]:
    query = select(func.count(), func.coalesce(func.max(inbox.c.id), 0)).where(inbox.c.state == "stored")
    with engine.connect() as connection:
        count, newest = connection.execute(query).one()
    return count, newest


def _outputs(engine: Engine, now: datetime) -> tuple[int, str]:
    at = stamp(now)
    waits = and_(
        outputs.c.status.in_(("pending", "retrying", "unknown")),
        outputs.c.due_at <= at,
        outputs.c.next_attempt_at <= at,
        outputs.c.reason_code.not_in(PUT_OFF),
    )
    lost = and_(outputs.c.status == "leased", outputs.c.lease_until < at)
    query = select(func.count(), func.max(outputs.c.next_attempt_at), func.max(outputs.c.fence)).where(or_(waits, lost))
    with engine.connect() as connection:
        count, *last = connection.execute(query).one()
    return count, str(last)


def _steps(settings: Settings, engine: Engine, now: datetime) -> list[str]:
    """Keys of steps that came due lately and that the queue does not know."""
    query = (
        "select step_key, former_step_keys from follow_up.fct_follow_up_steps where state = 'due' "
        "and due_at between $since and $now order by due_at desc limit $most"
    )
    naive = now.replace(tzinfo=None)  # times in the warehouse are UTC
    try:
        with duckdb.connect(str(settings.analytics.resolve(strict=True)), read_only=True) as published:
            rows = published.execute(query, {"since": naive - LATELY, "now": naive, "most": MOST}).fetchall()
    except (OSError, duckdb.Error):
        return []  # nothing is published yet, or not this
    keys = {key for row in rows for key in (row[0], *filter(None, (row[1] or "").split(",")))}
    with engine.connect() as connection:
        asked = select(outputs.c.idempotency_key).where(outputs.c.idempotency_key.in_(sorted(keys)))
        known = set(connection.execute(asked).scalars())
    return sorted(key for key, former in rows if known.isdisjoint((key, *filter(None, (former or "").split(",")))))
