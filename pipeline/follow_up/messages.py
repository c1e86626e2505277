"""From a queued output to what its provider is handed. The key is the output's id: the same for ever, and not personal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.base import Connector
from connectors.delivery import Change, ContactUpdate, EmailMessage, Note, OwnerTask, TextMessage
from pipeline.clients import ClientConfig
from pipeline.settings import Settings

Row = Mapping[str, Any]
Deliverable = OwnerTask | Note | TextMessage | EmailMessage | ContactUpdate
URGENCY = ("HIGH", "MEDIUM", "LOW", "LOW")


def message_of(
    row: Row, payload: Mapping[str, Any], *, connector: Connector, client: ClientConfig, settings: Settings
) -> Deliverable:
    """What is handed over for this row of `outputs`."""
    key = row["output_id"]
    match row["channel"]:
        case "text":
            return TextMessage(
                key,
                to=row["recipient"],
                body=payload["body"],
                sender=_sender(connector),
                status_callback=_callback(settings, row["client_id"]),
            )
        case "email":
            return EmailMessage(
                key,
                to=row["recipient"],
                subject=payload["subject"],
                text=payload["body"],
                sender_name=client.follow_up.business_name or client.name,
                unsubscribe_url=payload.get("unsubscribe_url", ""),
                postal_address=client.follow_up.postal_address,
            )
        case "crm_note":
            return Note(
                key,
                at=datetime.fromisoformat(row["due_at"]),
                body=payload["body"],
                contact_id=payload.get("contact_id", ""),
                deal_id=payload.get("deal_id", ""),
            )
        case "crm_update":
            return update_of(row, payload)
        case "crm_task":
            return OwnerTask(
                key,
                due_at=datetime.fromisoformat(row["respond_by"] or row["due_at"]),
                subject=payload["subject"],
                body=payload["body"],
                owner_email=payload.get("owner_email", ""),
                owner_id=payload.get("owner_id", ""),
                kind="CALL" if "\nCall +" in payload["body"] else "TODO",
                priority=URGENCY[row["priority"]],  # type: ignore[arg-type]
                contact_id=payload.get("contact_id", ""),
                deal_id=payload.get("deal_id", ""),
            )
    raise ValueError(f"nothing carries {row['channel']}")


def update_of(row: Row, payload: Mapping[str, Any]) -> ContactUpdate:
    """A handoff's plan, which is its before-image."""
    changes = tuple(Change(one["field"], one["before"], one["after"]) for one in payload["changes"])
    return ContactUpdate(row["output_id"], payload["contact_id"], changes)


def _sender(connector: Connector) -> str:
    """The number texts come from; "" where the client's messaging service chooses."""
    options = connector.options
    numbers = getattr(options, "sms_numbers", ())
    return "" if getattr(options, "messaging_service_sid", "") or not numbers else str(numbers[0])


def _callback(settings: Settings, client_id: str) -> str:
    return f"{settings.public_url}/webhooks/{client_id}/twilio/status" if settings.public_url else ""
