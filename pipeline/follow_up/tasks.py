"""Tasks for people of ours: in the CRM where the lead is there, else on the desk. Every task has an owner."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pipeline.clients import ClientConfig
from pipeline.follow_up.published import NOBODY, Contact
from pipeline.store.outputs import Output

URGENT, OWNER, ANSWER, NURTURE = 0, 1, 2, 3
PRIORITIES = {"urgent": URGENT, "owner": OWNER, "answer": ANSWER, "nurture": NURTURE}
TASK_CHANNELS = ("crm_task", "desk_task")
STANDS = timedelta(days=7)


def connected(client: ClientConfig, provider: str) -> bool:
    return any(one.provider == provider for one in client.connections)


def task_channel(client: ClientConfig, wanted: str = "crm_task") -> str:
    """Tasks are done where the client works; without a CRM, on the desk."""
    return "crm_task" if wanted != "desk_task" and connected(client, "hubspot") else "desk_task"


def owner_of(client: ClientConfig, role: str, contact: Contact | None) -> str:
    """The address of whoever has that role for this lead."""
    lead_owner = (contact.owner_email or "") if contact else ""
    return client.follow_up.owner(role, client_owner=client.owner, lead_owner=lead_owner)


def for_crm(client: ClientConfig, role: str, contact: Contact | None) -> dict[str, Any]:
    """What a task in the CRM hangs on, and whose it is there. A lead's owner is named by the CRM's own id. If neither the CRM nor
    the client says whose a lead is, its task is nobody's there, where the client's people see it: the agency's are not in it."""
    who = contact or NOBODY
    owner_id = who.crm_owner_id if role == "lead_owner" else ""
    nobodys = role == "lead_owner" and not (who.owner_email or client.follow_up.lead_owner)
    owner_email = "" if owner_id or nobodys else owner_of(client, role, contact)
    about = {
        "contact_id": who.crm_contact_id,
        "deal_id": who.crm_deal_id,
        "owner_id": owner_id,
        "owner_email": owner_email,
    }
    return {name: value for name, value in about.items() if value}


def owner_task(
    client: ClientConfig,
    *,
    key: str,
    subject: str,
    body: str,
    source: str,
    now: datetime,
    lead_id: str | None = None,
    contact: Contact | None = None,
    role: str = "lead_owner",
    priority: int = OWNER,
    stands: timedelta = STANDS,
    recovery_rule: str = "Do it or decide that it is not needed, then take the task up.",
    **more: Any,
) -> Output:
    """A task that Leadtrail itself asks for, not a rule's step. `key` says what it is about: asked for twice, it comes once."""
    channel = task_channel(client) if lead_id else "desk_task"
    return Output(
        idempotency_key=key,
        output_type="task",
        client_id=client.client_id,
        lead_id=lead_id,
        channel=channel,
        priority=priority,
        owner=owner_of(client, role, contact),
        source=source,
        recipient=(contact.crm_contact_id or "") if contact else "",
        payload={
            "subject": subject,
            "body": body,
            "message_class": "internal",
            **(for_crm(client, role, contact) if channel == "crm_task" else {}),
        },
        due_at=now,
        expires_at=now + stands,
        recovery_rule=recovery_rule,
        **more,
    )
