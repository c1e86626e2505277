"""A task that nobody takes up goes to the next person, once each, until somebody does.

An escalation is an output of its own; its key is the first task's and its number. Taking up any of them takes up all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from pipeline.clients import ClientConfig
from pipeline.follow_up.published import Contact, Published
from pipeline.follow_up.tasks import for_crm, owner_of, task_channel
from pipeline.store.engine import stamp
from pipeline.store.outputs import Output, acknowledge, cancel, enqueue, note
from pipeline.store.schema import outputs

WAITING = ("pending", "leased", "retrying", "unknown", "delivered", "held")  # somebody may still take it up
LOOK_BACK = timedelta(days=30)  # what nobody took up for this long is not escalated any more
ROLES = {"owner": "lead_owner", "backup": "backup", "agency": "agency"}
MARK = "|escalation-"


def take_up(connection: Connection, output_id: str, now: datetime, *, because: str = "") -> list[str]:
    """Somebody is on it: the task, its escalations, and what it is itself an escalation of. In the caller's transaction.
    Returns the ids that were open."""
    key = connection.execute(select(outputs.c.idempotency_key).where(outputs.c.output_id == output_id)).scalar()
    if key is None:
        return []
    first = str(key).split(MARK)[0]
    family = select(outputs).where(
        (outputs.c.idempotency_key == first) | outputs.c.idempotency_key.startswith(first + MARK, autoescape=True)
    )
    taken = []
    for row in connection.execute(family.order_by(outputs.c.created_at)).mappings().all():
        if acknowledge(connection, row["output_id"], now, because=because):
            taken.append(row["output_id"])
        if row["output_id"] != output_id and MARK in row["idempotency_key"]:
            cancel(connection, row["output_id"], "taken_up", "Somebody has taken it up.", now)
    return taken


def unanswered(connection: Connection, now: datetime) -> list[Mapping[str, Any]]:
    """What should have been answered by now."""
    late = (
        outputs.c.respond_by <= stamp(now),
        outputs.c.acknowledged_at.is_(None),
        outputs.c.status.in_(WAITING),
        outputs.c.created_at > stamp(now - LOOK_BACK),
    )
    query = select(outputs).where(*late).order_by(outputs.c.respond_by)
    return [dict(row) for row in connection.execute(query).mappings()]


def escalate(
    connection: Connection, clients: Mapping[str, ClientConfig], published: Published, now: datetime
) -> list[str]:
    """Queue the escalations that are due, in the caller's transaction. Returns the new ids."""
    added = []
    for row in unanswered(connection, now):
        client, payload = clients.get(row["client_id"]), json.loads(row["payload"])
        due = _due(row, payload, now)
        if client is None or not due:
            continue
        contact = published.contact(row["client_id"], row["lead_id"]) if row["lead_id"] else None
        wanted = [_escalation(row, payload, client, contact, number, to, now) for number, to in due]
        added += enqueue(connection, wanted, now)
        values = {"escalated": row["escalated"] + len(due)}
        connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**values))
        note(connection, row, "escalated", "", f"to {', '.join(to for _, to in due)}", now)
    return added


def _due(row: Mapping[str, Any], payload: Mapping[str, Any], now: datetime) -> Sequence[tuple[int, str]]:
    """(number, to) of the escalations whose time has come and that were not made yet. Waiting counts from when it was queued."""
    queued = datetime.fromisoformat(row["created_at"])
    steps = payload.get("escalations") or []
    ready = [
        (number, str(one["to"]))
        for number, one in enumerate(steps, 1)
        if now >= queued + timedelta(seconds=max(one["after_seconds"], payload.get("respond_within") or 0))
    ]
    return [one for one in ready if one[0] > row["escalated"]]


def _escalation(
    row: Mapping[str, Any],
    payload: Mapping[str, Any],
    client: ClientConfig,
    contact: Contact | None,
    number: int,
    to: str,
    now: datetime,
) -> Output:
    role, is_message = ROLES[to], row["output_type"] == "message"
    channel = task_channel(client) if row["lead_id"] else "desk_task"
    name = (contact.given_name if contact else "") or "the lead"
    said = (
        f"{name} has not answered our message of {row['created_at'][:16].replace('T', ' ')} UTC. Call them."
        if is_message
        else f"Nobody took this up since {row['created_at'][:16].replace('T', ' ')} UTC; it was given to {row['owner']}."
    )
    call = [f"Call {contact.phone}"] if is_message and contact and contact.phone else []
    before = [] if is_message else [payload.get("body", "")]
    subject = f"Call {name}: no answer to our message" if is_message else f"Not taken up: {payload.get('subject', '')}"
    return Output(
        idempotency_key=f"{row['idempotency_key']}{MARK}{number}",
        output_type="task",
        client_id=row["client_id"],
        lead_id=row["lead_id"],
        channel=channel,
        priority=min(row["priority"], 1),
        owner=owner_of(client, role, contact),
        source=f"escalation {number} of {row['output_id']}",
        recipient=(contact.crm_contact_id or "") if contact and channel == "crm_task" else "",
        payload={
            "subject": subject,
            "body": "\n\n".join([said, *before, *call]).strip(),
            "message_class": "internal",
            "given_name": payload.get("given_name", ""),
            **(for_crm(client, role, contact) if channel == "crm_task" else {}),
        },
        due_at=now,
        expires_at=now + timedelta(days=2),
        recovery_rule="Take it up; the first task is then taken up too.",
        rule=row["rule"],
        rule_version=row["rule_version"],
        step_id=row["step_id"],
        trigger_event_id=row["trigger_event_id"],
    )
