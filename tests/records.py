"""Small provider records for tests of what is built from staging, each as its provider would send it."""

from __future__ import annotations

import json
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from connectors.base import Record
from tests.warehouse import Landed


def _landed(
    client: str, provider: str, stream: str, record_id: str, payload: dict[str, Any], at: datetime, **more: Any
) -> Landed:
    updated_at = more.pop("updated_at", at)
    record = Record(record_id, json.dumps(payload).encode(), occurred_at=at, updated_at=updated_at)
    return Landed(client, provider, stream, record, received_at=more.pop("received_at", updated_at), **more)


def call(
    client: str, call_id: str, at: datetime, phone: str, *, name: str = "", answered: bool = True, **more: Any
) -> Landed:
    extra = more.pop("payload", {})
    payload = {
        "id": call_id,
        "start_time": at.isoformat(),
        "direction": "inbound",
        "answered": answered,
        "duration": 90 if answered else 20,
        "voicemail": False,
        "customer_phone_number": phone,
        "customer_name": name,
        "source": "google_organic",
        "source_name": "Google Organic",
        "tags": [],
        **extra,
    }
    return _landed(client, "callrail", "calls", call_id, payload, at, **more)


def form(
    client: str, form_id: str, at: datetime, *, name: str = "", phone: str = "", email: str = "", **more: Any
) -> Landed:
    payload = {
        "id": form_id,
        "submitted_at": at.isoformat(),
        "customer_name": name,
        "customer_phone_number": phone,
        "source": "direct",
        "form_data": {"email": email, "message": more.pop("message", "Please call")},
        "form_name": "Contact",
    }
    return _landed(client, "callrail", "form_submissions", form_id, payload, at, **more)


def tracker(client: str, tracker_id: str, at: datetime, number: str, **more: Any) -> Landed:
    payload = {
        "id": tracker_id,
        "name": "Google Organic",
        "tracking_numbers": [number],
        "source": {"type": "all"},
        "status": "active",
    }
    return _landed(client, "callrail", "trackers", tracker_id, payload, at, **more)


def contact(
    client: str,
    contact_id: str,
    at: datetime,
    *,
    first: str = "",
    last: str = "",
    phone: str = "",
    email: str = "",
    **more: Any,
) -> Landed:
    properties = {
        "createdate": at.isoformat(),
        "firstname": first,
        "lastname": last,
        "phone": phone,
        "email": email,
        **more.pop("properties", {}),
    }
    payload = {"id": contact_id, "createdAt": at.isoformat(), "properties": properties, "archived": False}
    return _landed(client, "hubspot", "contacts", contact_id, payload, at, **more)


def deal(client: str, deal_id: str, at: datetime, name: str, **more: Any) -> Landed:
    properties = {"createdate": at.isoformat(), "dealname": name}
    payload = {"id": deal_id, "createdAt": at.isoformat(), "properties": properties, "archived": False}
    return _landed(client, "hubspot", "deals", deal_id, payload, at, **more)


def deal_contact(client: str, deal_id: str, contact_id: str, at: datetime, **more: Any) -> Landed:
    payload = {"from": {"id": deal_id}, "to": [{"toObjectId": int(contact_id), "associationTypes": []}]}
    return _landed(client, "hubspot", "deal_contacts", deal_id, payload, at, **more)


def thumbtack_lead(
    client: str, lead_id: str, at: datetime, *, name: str, phone: str, customer: str = "", **more: Any
) -> Landed:
    payload = {
        "negotiationID": lead_id,
        "createdAt": at.isoformat(),
        "chargeState": "Charged",
        "leadPrice": "$25.00",
        "customer": {"customerID": customer or f"customer-{lead_id}", "name": name, "phone": phone},
        "request": {
            "category": {"name": more.pop("category", "Roof repair")},
            "description": "Help",
            **({"booking": {"start": booked, "duration": 120}} if (booked := more.pop("booked_for", "")) else {}),
        },
        "business": {"businessID": "1"},
    }
    return _landed(client, "thumbtack", "leads", lead_id, payload, at, **more)


def angi_lead(
    client: str,
    lead_id: str,
    at: datetime,
    *,
    name: str,
    phone: str,
    masked: bool = False,
    email: str = "",
    **more: Any,
) -> Landed:
    given, _, family = name.partition(" ")
    payload = {
        "leadOid": lead_id,
        "srOid": f"sr-{lead_id}",
        "name": name,
        "firstName": given,
        "lastName": family,
        "primaryPhone": phone,
        "primaryPhoneDetails": {"maskedNumber": masked},
        "email": email,
        "taskName": "Roof repair - Install",
        "fee": "30.00",
        "address": more.pop("street", ""),
    }
    return _landed(client, "angi", "leads", lead_id, payload, at, **more)


def decision(client: str, decision_id: str, at: datetime, what: str, key_a: str, key_b: str, **more: Any) -> Landed:
    payload = {
        "decision_id": decision_id,
        "decision": what,
        "key_a": key_a,
        "key_b": key_b,
        "decided_by": "ana@agency.example",
        "decided_at": at.isoformat(),
        "why": "They called and said so.",
    }
    return _landed(client, "leadtrail", "identity_decisions", decision_id, payload, at, **more)


def output(client: str, output_id: str, at: datetime, identifier: str, given_name: str, **more: Any) -> Landed:
    """A task of ours about somebody, done."""
    payload = {
        "output_id": output_id,
        "output_type": "task",
        "channel": "crm_task",
        "status": "delivered",
        **dict.fromkeys(("status_at", "created_at", "due_at", "expires_at"), at.isoformat()),
        "priority": 1,
        "owner": "dana",
        "provider": "hubspot",
        "identifier": identifier,
        "given_name": given_name,
    }
    return _landed(client, "leadtrail", "outputs", output_id, payload, at, **more)


def customer(client: str, customer_id: str, at: datetime, name: str, *, phone: str = "", **more: Any) -> Landed:
    given, family = name.split()
    payload = {
        "Id": customer_id,
        "DisplayName": name,
        "FullyQualifiedName": name,
        "GivenName": given,
        "FamilyName": family,
        **({"PrimaryPhone": {"FreeFormNumber": phone}} if phone else {}),
        "MetaData": {"CreateTime": at.isoformat()},
    }
    return _landed(client, "quickbooks", "customers", customer_id, payload, at, **more)


def text(client: str, sid: str, at: datetime, to: str, body: str, **more: Any) -> Landed:
    payload = {
        "sid": sid,
        "direction": "outbound-api",
        "to": to,
        "from": "+15125550000",
        "body": body,
        "status": "delivered",
    }
    return _landed(client, "twilio", "messages", sid, payload | {"date_created": format_datetime(at)}, at, **more)
