"""Webhooks as HubSpot sends them: batches of at most 100 events, signed for the URL they go to."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from connectors.sandbox.hubspot.portal import Facts, Portal
from connectors.sandbox.hubspot.rendering import contact_id, deal_id
from connectors.sandbox.provider import Push, World

BATCH = 100
APP_ID = 5_400_321
SUBSCRIPTIONS = {
    "contact.creation": 2_000_001,
    "contact.propertyChange": 2_000_002,
    "contact.deletion": 2_000_003,
    "contact.merge": 2_000_004,
    "deal.creation": 2_000_005,
    "deal.propertyChange": 2_000_006,
    "deal.deletion": 2_000_007,
}
Event = dict[str, Any]


def event(portal: Portal, kind: str, number: int, at: datetime, **more: Any) -> Event:
    """One event. `kind` is a subscription type; what belongs to it only comes in `more`."""
    made: Event = {
        "subscriptionId": SUBSCRIPTIONS.get(kind, 2_009_999),
        "portalId": portal.portal_id,
        "appId": APP_ID,
        "occurredAt": round(at.timestamp() * 1000),
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": number,
        "changeSource": "CRM_UI",
        **more,
    }
    mark = hashlib.sha256(msgspec.json.encode(made)).digest()
    return {"eventId": int.from_bytes(mark[:4], "big"), **made}


def history(portal: Portal, facts: Facts) -> list[Event]:
    """Every event of the client's history, in order."""
    events: list[Event] = []
    for contact in facts.contacts:
        number = contact_id(contact.n)
        events.append(event(portal, "contact.creation", number, contact.at, changeFlag="NEW"))
        if contact.lifecycle != "lead":
            change = {"propertyName": "lifecyclestage", "propertyValue": contact.lifecycle}
            events.append(event(portal, "contact.propertyChange", number, contact.changed_at, **change))
        if contact.merged_into:
            primary = contact_id(contact.merged_into)
            merge = {
                "primaryObjectId": primary,
                "mergedObjectIds": [number],
                "newObjectId": primary,
                "numberOfPropertiesMoved": 3,
            }
            events.append(event(portal, "contact.merge", primary, contact.changed_at, **merge))
        elif contact.archived:
            events.append(event(portal, "contact.deletion", number, contact.changed_at, changeFlag="DELETED"))
    for deal in facts.deals:
        number = deal_id(deal.n)
        events.append(event(portal, "deal.creation", number, deal.at, changeFlag="NEW"))
        for at, stage in deal.stages[1:]:
            change = {"propertyName": "dealstage", "propertyValue": portal.stage_id(stage)}
            events.append(event(portal, "deal.propertyChange", number, at, **change))
        if deal.archived:
            events.append(event(portal, "deal.deletion", number, deal.changed_at, changeFlag="DELETED"))
    return sorted(events, key=lambda one: one["occurredAt"])


def pushes(portal: Portal, facts: Facts, secret: str, world: World) -> Iterator[Push]:
    events = history(portal, facts)
    for start in range(0, len(events), BATCH):
        some = events[start : start + BATCH]
        yield push(portal, some, secret, world)


def push(portal: Portal, events: list[Event], secret: str, world: World) -> Push:
    """One delivery. It is signed when it is sent: HubSpot's receivers refuse what was signed minutes ago."""
    body = msgspec.json.encode(events)
    at = datetime.fromtimestamp(events[-1]["occurredAt"] / 1000, world.now().tzinfo)
    return Push(portal.client.client_id, at, body, lambda url: signed(secret, "POST", url, body, world.now()))


def signed(secret: str, method: str, url: str, body: bytes, at: datetime) -> Mapping[str, str]:
    """The headers of a delivery: HubSpot sends the v3 signature beside the older one."""
    stamp = str(round(at.timestamp() * 1000))
    return {
        "content-type": "application/json",
        "x-hubspot-signature-version": "v1",
        "x-hubspot-signature": signature_v1(secret, body),
        "x-hubspot-request-timestamp": stamp,
        "x-hubspot-signature-v3": signature_v3(secret, method, url, body, stamp),
    }


def signature_v1(secret: str, body: bytes) -> str:
    return hashlib.sha256(secret.encode() + body).hexdigest()


def signature_v2(secret: str, method: str, url: str, body: bytes) -> str:
    return hashlib.sha256(secret.encode() + method.encode() + url.encode() + body).hexdigest()


def signature_v3(secret: str, method: str, url: str, body: bytes, stamp: str) -> str:
    signed_text = method.encode() + url.encode() + body + stamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), signed_text, hashlib.sha256).digest()).decode()
