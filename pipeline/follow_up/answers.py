"""What came back to our outputs by way of providers: tasks done in the CRM, leads somebody spoke to, texts that never arrived.

It is read from the published timeline, so a text, a call or a finished task counts in whatever system it was seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, select

from pipeline.follow_up.escalations import WAITING, take_up
from pipeline.follow_up.published import Published
from pipeline.follow_up.tasks import URGENT
from pipeline.store.engine import stamp
from pipeline.store.outputs import carry_again, ended
from pipeline.store.schema import outputs

LOOK_BACK = timedelta(days=30)
TEXTS_FAIL_WITHIN = timedelta(days=5)  # carriers give up within days
SPOKEN = (
    "(event_type in ('call_answered', 'call_outbound_answered', 'call_outbound_unanswered', 'marketplace_message_sent', "
    "'job_booked', 'estimate_accepted', 'payment_received', 'job_lost', 'estimate_declined') "
    "or (event_type in ('text_sent', 'email_sent') and actor = 'staff'))"
)
REPLIED = "event_type in ('text_received', 'email_received', 'marketplace_message_received')"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Heard:
    """Outputs that somebody is on, and why we think so; tasks that were thrown away undone, and how that was seen; and texts that
    did not arrive, with the carrier's reason."""

    taken_up: Sequence[tuple[str, str]]
    thrown_away: Sequence[tuple[str, str]]
    failed: Sequence[tuple[Row, str]]


def hear(engine: Engine, published: Published, now: datetime) -> Heard:
    """What the timeline says of our outputs. Nothing is changed."""
    with engine.connect() as connection:
        in_crm = _open(connection, now, outputs.c.channel == "crm_task", outputs.c.provider_ref.is_not(None))
        waited_for = outputs.c.respond_by.is_not(None) | (outputs.c.priority == URGENT)
        about_leads = _open(connection, now, outputs.c.lead_id.is_not(None), waited_for)
        texts = _sent_texts(connection, now)
    urgent = [row for row in about_leads if row["priority"] == URGENT and row["status"] == "delivered"]
    done_in_crm, thrown_away = _ended_in_the_crm(published, in_crm, now)
    done = [
        *done_in_crm,
        *_spoken_to(published, about_leads),
        *_no_longer_asked_for(published, urgent, now),
    ]
    return Heard(done, thrown_away, _texts_that_failed(published, texts))


def heed(connection: Connection, heard: Heard, now: datetime) -> tuple[list[str], list[Row]]:
    """Put it in force, in the caller's transaction. Returns the ids taken up and the rows of texts that failed just now."""
    taken = [
        one for output_id, because in heard.taken_up for one in take_up(connection, output_id, now, because=because)
    ]
    # throwing it away tells nobody to call: it is on the desk until somebody says that it is done, and its escalations go on
    for output_id, because in heard.thrown_away:
        carry_again(connection, output_id, "desk_task", "deleted_in_crm", because, now)
    failed: list[Row] = []
    for row, reason in heard.failed:
        if ended(connection, row["output_id"], "delivered", "not_delivered", reason, now):
            failed.append({**row, "reason_code": "not_delivered", "reason": reason})
    return taken, failed


def _ended_in_the_crm(
    published: Published, rows: Sequence[Row], now: datetime
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What was done there, and what was thrown away undone while it was still true. The timeline calls both deleted where a task
    was first done and then thrown away; the CRM's own record tells them apart."""
    ends = published.events(
        "select events.client_id, events.reference, min(events.occurred_at) as said_at, "
        "max(events.event_type = 'task_completed' or coalesce(tasks.is_completed, false)) as is_done "
        "from timeline.fct_lead_events as events left join staging.stg_hubspot__tasks as tasks "
        "on events.client_id = tasks.client_id and events.reference = tasks.task_id "
        "where event_type in ('task_completed', 'task_deleted') and reference in (select unnest($refs)) "
        "group by events.client_id, events.reference",
        refs=sorted({row["provider_ref"] for row in rows}),
    )
    known = {(one["client_id"], one["reference"]): one for one in ends}
    done: list[tuple[str, str]] = []
    thrown_away: list[tuple[str, str]] = []
    for row in rows:
        end = known.get((row["client_id"], row["provider_ref"]))
        if end is None:
            continue
        at = f"in the CRM at {end['said_at']:%Y-%m-%d %H:%M} UTC."
        if end["is_done"]:
            done.append((row["output_id"], f"Done {at}"))
        elif datetime.fromisoformat(row["expires_at"]) > now:
            thrown_away.append((row["output_id"], f"Deleted {at} It was not done, so it is on the desk."))
    return done, thrown_away


def _spoken_to(published: Published, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Somebody of ours got in touch with the lead since the task was queued; or, for a message of ours, the lead answered."""
    by_client: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_client[row["client_id"]].append(row)
    found: list[tuple[str, str]] = []
    for client_id, ours in by_client.items():
        current = published.current_leads(client_id, [row["lead_id"] for row in ours])
        signs = published.events(
            f"select lead_id, event_type, occurred_at as said_at, {SPOKEN} as is_ours from timeline.fct_lead_events "  # noqa: S608
            "where client_id = $client and lead_id in (select unnest($leads)) and occurred_at > $since "
            f"and ({SPOKEN} or {REPLIED}) order by occurred_at, event_id",
            client=client_id,
            leads=sorted(set(current.values())),
            since=min(datetime.fromisoformat(row["created_at"]) for row in ours),
        )
        for row in ours:
            counting = (
                sign
                for sign in signs
                if sign["lead_id"] == current[row["lead_id"]]
                and sign["said_at"] > datetime.fromisoformat(row["created_at"])
                and (sign["is_ours"] or row["output_type"] == "message")
            )
            if (sign := next(counting, None)) is not None:
                what = sign["event_type"].replace("_", " ").capitalize()
                found.append((row["output_id"], f"{what} at {sign['said_at']:%Y-%m-%d %H:%M} UTC."))
    return found


def _no_longer_asked_for(published: Published, rows: Sequence[Row], now: datetime) -> list[tuple[str, str]]:
    """Urgent tasks that were given to somebody and stopped since by a sign their rule names: nothing waits for them any more."""
    steps = published.steps_of({row["idempotency_key"] for row in rows})
    over = {
        key: f"Event {step.stopped_by_event_id}: {(step.stop_reason or 'stopped').replace('_', ' ')}."
        for step in steps
        if step.stopped_at is not None and step.stopped_at <= now
        for key in step.keys
    }
    return [(row["output_id"], over[row["idempotency_key"]]) for row in rows if row["idempotency_key"] in over]


def _sent_texts(connection: Connection, now: datetime) -> list[Row]:
    sent = (
        outputs.c.channel == "text",
        outputs.c.status == "delivered",
        outputs.c.status_at > stamp(now - TEXTS_FAIL_WITHIN),
    )
    return [dict(row) for row in connection.execute(select(outputs).where(*sent)).mappings()]


def _texts_that_failed(published: Published, rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Twilio took them, and the carrier could not bring them."""
    found = published.events(
        "select client_id, reference, min(detail) as why from timeline.fct_lead_events "
        "where event_type = 'text_failed' and reference in (select unnest($refs)) group by client_id, reference",
        refs=sorted({row["provider_ref"] for row in rows}),
    )
    why = {(one["client_id"], one["reference"]): one["why"] for one in found}
    return [
        (row, f"The carrier did not bring it: {why[key] or 'no reason given'}.")
        for row in rows
        if (key := (row["client_id"], row["provider_ref"])) in why
    ]


def _open(connection: Connection, now: datetime, *more: Any) -> list[Row]:
    where = (
        outputs.c.acknowledged_at.is_(None),
        outputs.c.status.in_(WAITING),
        outputs.c.created_at > stamp(now - LOOK_BACK),
    )
    return [dict(row) for row in connection.execute(select(outputs).where(*where, *more)).mappings()]
