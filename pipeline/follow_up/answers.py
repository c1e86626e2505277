"""What came back to our outputs by way of providers: tasks done in the CRM, leads somebody spoke to, texts that never arrived.

It is read from the published timeline, so a text, a call or a finished task counts in whatever system it was seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from pipeline.follow_up.escalations import WAITING, take_up
from pipeline.follow_up.published import Published
from pipeline.follow_up.tasks import URGENT
from pipeline.store.engine import stamp
from pipeline.store.outputs import ended
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


def hear(connection: Connection, published: Published, now: datetime) -> tuple[list[str], list[Row]]:
    """Take up what somebody is on, and end what did not arrive, in the caller's transaction. Returns the ids taken up and the
    rows of texts that failed."""
    taken = [*_done_in_the_crm(connection, published, now), *_spoken_to(connection, published, now)]
    return taken, _texts_that_failed(connection, published, now)


def _done_in_the_crm(connection: Connection, published: Published, now: datetime) -> list[str]:
    rows = _open(connection, now, outputs.c.channel == "crm_task", outputs.c.provider_ref.is_not(None))
    done = published.events(
        "select client_id, reference, min(occurred_at) as said_at from timeline.fct_lead_events "
        "where event_type in ('task_completed', 'task_deleted') and reference in (select unnest($refs)) "
        "group by client_id, reference",
        refs=sorted({row["provider_ref"] for row in rows}),
    )
    known = {(one["client_id"], one["reference"]): one["said_at"] for one in done}
    return [
        taken
        for row in rows
        if (at := known.get((row["client_id"], row["provider_ref"]))) is not None
        for taken in take_up(connection, row["output_id"], now, because=f"Done in the CRM at {at:%Y-%m-%d %H:%M} UTC.")
    ]


def _spoken_to(connection: Connection, published: Published, now: datetime) -> list[str]:
    """Somebody of ours got in touch with the lead since the task was queued; or, for a message of ours, the lead answered."""
    waited_for = outputs.c.respond_by.is_not(None) | (outputs.c.priority == URGENT)
    rows = _open(connection, now, outputs.c.lead_id.is_not(None), waited_for)
    by_client: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_client[row["client_id"]].append(row)
    taken: list[str] = []
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
            queued = datetime.fromisoformat(row["created_at"])
            for sign in signs:
                counts = sign["is_ours"] or row["output_type"] == "message"
                if counts and sign["lead_id"] == current[row["lead_id"]] and sign["said_at"] > queued:
                    said = f"{sign['event_type'].replace('_', ' ').capitalize()} at {sign['said_at']:%Y-%m-%d %H:%M} UTC."
                    taken += take_up(connection, row["output_id"], now, because=said)
                    break
    return taken


def _texts_that_failed(connection: Connection, published: Published, now: datetime) -> list[Row]:
    """Twilio took them, and the carrier could not bring them."""
    sent = (
        outputs.c.channel == "text",
        outputs.c.status == "delivered",
        outputs.c.status_at > stamp(now - TEXTS_FAIL_WITHIN),
    )
    rows = [dict(row) for row in connection.execute(select(outputs).where(*sent)).mappings()]
    found = published.events(
        "select client_id, reference, min(detail) as why from timeline.fct_lead_events "
        "where event_type = 'text_failed' and reference in (select unnest($refs)) group by client_id, reference",
        refs=sorted({row["provider_ref"] for row in rows}),
    )
    why = {(one["client_id"], one["reference"]): one["why"] for one in found}
    failed: list[Row] = []
    for row in rows:
        key = (row["client_id"], row["provider_ref"])
        reason = f"The carrier did not bring it: {why.get(key) or 'no reason given'}."
        if key in why and ended(connection, row["output_id"], "delivered", "not_delivered", reason, now):
            failed.append({**row, "reason_code": "not_delivered", "reason": reason})
    return failed


def _open(connection: Connection, now: datetime, *more: Any) -> list[Row]:
    where = (
        outputs.c.acknowledged_at.is_(None),
        outputs.c.status.in_(WAITING),
        outputs.c.created_at > stamp(now - LOOK_BACK),
    )
    return [dict(row) for row in connection.execute(select(outputs).where(*where, *more)).mappings()]
