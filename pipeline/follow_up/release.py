"""Ending a hold: each output that waited is judged again, and nothing is sent because it waited.

What is no longer true goes on one list for the owner. The rest goes back into the queue, most urgent first and thinly spread;
at its turn the gate judges it like anything new: opt-outs, replies, hours, and other holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, update

from pipeline.follow_up.holding import holds_back
from pipeline.follow_up.tasks import URGENT
from pipeline.store.held import NOT_APPROVED, held_outputs, lapse, last_slot, let_go
from pipeline.store.holds import clear_hold, open_holds
from pipeline.store.outputs import Output, enqueue
from pipeline.store.schema import holds

Row = Mapping[str, Any]

PER_HOUR = 30  # of one client, whatever was held: people who get ten messages after an outage leave
SLOT = timedelta(hours=1) / PER_HOUR
TRIAGE_RULE, TRIAGE_STEP, TRIAGE_TEMPLATE = "after-an-outage", "triage", "triage-list"
OWNER_WITHIN = timedelta(hours=1)
LIST_STANDS = timedelta(days=7)


@dataclass(frozen=True)
class Plan:
    """What ending a hold comes to: what goes back into the queue and when, and what is no longer true by then."""

    go: tuple[tuple[Row, datetime], ...]
    left_over: tuple[Row, ...]

    @property
    def until(self) -> datetime | None:
        return self.go[-1][1] if self.go else None


def plan_release(connection: Connection, hold: Row, now: datetime) -> Plan:
    """What ending this hold now would come to. Changes nothing. What another hold holds back too stays where it is."""
    others = [one for one in open_holds(connection, hold["client_id"]) if one["hold_id"] != hold["hold_id"]]
    free = [
        row
        for row in held_outputs(connection, hold["client_id"])
        if (row["reason_code"] != NOT_APPROVED or hold["cause"] == "compliance")
        and not any(holds_back(one, channel=row["channel"], priority=row["priority"]) for one in others)
    ]
    slots = _slots(max(now, last_slot(connection, hold["client_id"]) or now))
    at, go, too_late = next(slots), [], []
    for row in free:
        if datetime.fromisoformat(row["expires_at"]) <= at:
            too_late.append(row)
        else:
            go.append((row, at))
            at = next(slots)
    return Plan(tuple(go), tuple(too_late))


def release(connection: Connection, hold: Row, now: datetime, *, by: str, note: str) -> Plan | None:
    """End a hold in the caller's transaction, and let go of what it held. None: somebody else has ended it."""
    plan = plan_release(connection, hold, now)
    if not clear_hold(connection, f"{hold['client_id']}|{hold['scope']}|{hold['cause']}", now, by=by, note=note):
        return None
    for row in plan.left_over:
        lapse(connection, row, "It waited for a hold to end and is no longer true.", now)
    for row, at in plan.go:
        let_go(
            connection, row, at, f"The hold has ended ({hold['scope']}, {hold['cause']}); judged again in turn.", now
        )
    counts = {"released": len(plan.go), "left_over": len(plan.left_over)}
    connection.execute(update(holds).where(holds.c.hold_id == hold["hold_id"]).values(**counts))
    if plan.left_over:
        enqueue(connection, [_triage_list(hold, plan, now)], now)
    return plan


def _slots(start: datetime) -> Iterator[datetime]:
    while True:
        start += SLOT
        yield start


def triage_key(client_id: str, hold_id: str) -> str:
    """As dbt makes the key of a step: of client, rule, subject and step."""
    key = "|".join((client_id, TRIAGE_RULE, hold_id, TRIAGE_STEP))
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


def _triage_list(hold: Row, plan: Plan, now: datetime) -> Output:
    """One task for the owner. Its key is the one that the step of the rule for cleared holds has: asked for twice, it comes
    once; and it comes too where nobody enabled that rule."""
    return Output(
        idempotency_key=triage_key(hold["client_id"], hold["hold_id"]),
        output_type="task",
        client_id=hold["client_id"],
        lead_id=None,
        channel="desk_task",
        priority=URGENT,
        owner=hold["owner"],
        source=f"hold {hold['hold_id']}",
        recipient="",
        payload={
            "subject": f"Sort out what waited: {len(plan.left_over)} too late to send",
            "body": _in_words(hold, plan),
            "message_class": "internal",
            "respond_within": int(OWNER_WITHIN.total_seconds()),
            "escalations": [{"after_seconds": int(OWNER_WITHIN.total_seconds()), "to": "agency"}],
            "hold_id": hold["hold_id"],
            "released": len(plan.go),
            "left_over": [
                {name: row[name] for name in ("output_id", "lead_id", "channel", "rule", "template", "expires_at")}
                for row in plan.left_over
            ],
        },
        due_at=now,
        expires_at=now + LIST_STANDS,
        recovery_rule="Decide for each whether to write or call yourself, then take the task up.",
        rule=TRIAGE_RULE,
        step_id=TRIAGE_STEP,
        trigger_event_id=hold["hold_id"],
        template=TRIAGE_TEMPLATE,
        respond_by=now + OWNER_WITHIN,
    )


def _in_words(hold: Row, plan: Plan) -> str:
    kinds = Counter(f"{row['channel'].replace('_', ' ')} of {row['rule'] or 'no rule'}" for row in plan.left_over)
    lines = [f"- {count} {kind}" for kind, count in sorted(kinds.items())]
    goes = (
        f"{len(plan.go)} others are sent by {plan.until:%Y-%m-%d %H:%M} UTC, if they are still right."
        if plan.go
        else ""
    )
    return "\n".join(
        [
            f"Work was on hold from {hold['opened_at'][:16]} UTC: {hold['evidence']}",
            f"{len(plan.left_over)} outputs were no longer true when it ended and are not sent:",
            *lines,
            *([goes] if goes else []),
        ]
    )


def held_by(connection: Connection, hold: Row) -> Sequence[Row]:
    """Outputs that this hold (perhaps with others) holds back now."""
    rows = held_outputs(connection, hold["client_id"])
    return [row for row in rows if holds_back(hold, channel=row["channel"], priority=row["priority"])]
