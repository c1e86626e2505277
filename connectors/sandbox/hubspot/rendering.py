"""Facts of the town as HubSpot ids, times and properties."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.sandbox.facts import Contact, CrmTask, Deal

if TYPE_CHECKING:
    from connectors.sandbox.hubspot.portal import Portal

Properties = dict[str, str | None]


def contact_id(n: int) -> int:
    return 51 + 50 * n


def deal_id(n: int) -> int:
    return 5_000_000_000 + 137 * n


def task_id(n: int) -> int:
    return 9_000_000_000 + 61 * n


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _contact(fact: Contact, portal: Portal) -> Properties:
    return {
        "firstname": fact.given or None,
        "lastname": fact.family or None,
        "email": fact.email.lower() or None,
        "phone": fact.phone or None,
        "lifecyclestage": fact.lifecycle or None,
        "hs_lead_status": fact.lead_status or None,
        "hubspot_owner_id": portal.owner_id(fact.owner),
        "hs_email_optout": "true" if fact.email_optout else None,
        "hs_analytics_source": fact.source or None,
        "hs_latest_source": fact.source or None,
        "hs_object_source_label": "CRM_UI",
    }


def _deal(fact: Deal, portal: Portal) -> Properties:
    at, stage = fact.stages[-1] if fact.stages else (fact.at, "new")
    return {
        "dealname": fact.name,
        "dealstage": portal.stage_id(stage),
        "pipeline": "default",
        "amount": _amount(fact.amount_cents),
        "closedate": iso(ms(at)) if stage in ("won", "lost") else None,
        "closed_lost_reason": fact.lost_reason or None,
        "deal_currency_code": "USD",
        "hubspot_owner_id": portal.owner_id(fact.owner),
        "hs_object_source_label": "CRM_UI",
    }


def _task(fact: CrmTask, portal: Portal) -> Properties:
    return {
        "hs_timestamp": iso(ms(fact.due_at)),
        "hs_task_subject": fact.subject,
        "hs_task_status": "COMPLETED" if fact.done else "NOT_STARTED",
        "hs_task_priority": fact.priority,
        "hs_task_type": fact.kind,
        "hs_task_completion_date": iso(ms(fact.changed_at)) if fact.done else None,
        "hubspot_owner_id": portal.owner_id(fact.owner),
        "hs_object_source_label": "CRM_UI",
    }


FROM_FACT: dict[str, Callable[[Any, Portal], Properties]] = {"contacts": _contact, "deals": _deal, "tasks": _task}


def _amount(cents: int | None) -> str | None:
    """450.5, 1200: HubSpot drops what says nothing."""
    return None if cents is None else f"{cents / 100:.2f}".rstrip("0").rstrip(".")
