"""What was not sent and why, where a person must do something about it: one task for each cause, not for each message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from pipeline.clients import ClientConfig
from pipeline.follow_up.published import Published
from pipeline.follow_up.tasks import owner_task
from pipeline.store.engine import stamp
from pipeline.store.outputs import enqueue
from pipeline.store.schema import outputs

# whose cause is the client's, whoever the message was for; the others are about the person
OF_THE_CLIENT = frozenset(
    {
        "template_not_approved",
        "template_changed",
        "texting_not_approved",
        "not_connected",
        "business_not_named",
        "opt_out_not_named",
        "address_missing",
        "unsubscribe_missing",
        "no_sending_hours",
        "filtered",
        "sender",
        "content",
    }
)
# the hold has its owner, what came too late has its list, and these tasks must not breed more of themselves
NO_TASK = frozenset({"on_hold", "expired", "expires_before_allowed"})
ASKED_LATELY = timedelta(days=30)


def ask_owner(
    connection: Connection,
    published: Published,
    client: ClientConfig,
    row: Mapping[str, Any],
    code: str,
    reason: str,
    action: str,
    now: datetime,
) -> bool:
    """Ask a person to act on a refusal, in the caller's transaction, unless they are being asked already. True if it is new."""
    if code in NO_TASK or row["source"].startswith("refused "):
        return False
    is_clients = code in OF_THE_CLIENT
    lead_id = None if is_clients else row["lead_id"]
    about = f"refused {code} {lead_id or client.client_id}"
    asked = (
        outputs.c.client_id == client.client_id,
        outputs.c.source == about,
        outputs.c.acknowledged_at.is_(None),
        outputs.c.created_at > stamp(now - ASKED_LATELY),
    )
    if connection.execute(select(outputs.c.output_id).where(*asked).limit(1)).first():
        return False
    contact = published.contact(client.client_id, lead_id) if lead_id else None
    what = {"text": "A text", "email": "A mail"}.get(row["channel"], "A task")
    task = owner_task(
        client,
        key=f"refused|{code}|{row['output_id']}",
        subject=f"{action.rstrip('.')} ({what.lower()} was not sent)",
        body=f"{what} of {row['rule'] or 'Leadtrail'} was not sent: {reason}\n\n{action}",
        source=about,
        now=now,
        lead_id=lead_id,
        contact=contact,
        role="client_owner" if is_clients else "lead_owner",
    )
    return bool(enqueue(connection, [task], now))
