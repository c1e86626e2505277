"""HubSpot's webhooks: a JSON array of at most 100 events, signed over method, URL, body and time.

An event only says that something changed: order is not guaranteed and values may be old by the time we look, so the object is
read again. `eventId` is not unique by itself, and a repeated delivery differs in `attemptNumber`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from connectors.base import Received, Secret, SignatureError, WebhookRequest, body_key

OLDEST, NEWEST = 300.0, -60.0  # HubSpot says 300 s; its own helper forgets the other side

# The escapes HubSpot decodes before it signs. Its SDK decodes none: either may be right, so both are tried.
_DECODED = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

_STREAMS = {"contact": "contacts", "deal": "deals", "0-1": "contacts", "0-3": "deals", "0-27": "tasks"}
_HINTS = {"creation", "propertyChange", "deletion", "restore"}


def verify(request: WebhookRequest, secret: Secret) -> None:
    """The v3 signature. The older ones prove no time, so a recorded delivery could be replayed: they are not taken."""
    if not secret:
        raise SignatureError("no client_secret is set for this HubSpot connection")
    given = request.headers.get("x-hubspot-signature-v3", "").encode()
    stamp = request.headers.get("x-hubspot-request-timestamp", "")
    if not given or not re.fullmatch("[0-9]{1,16}", stamp):
        raise SignatureError("no v3 signature")
    age = request.received_at.timestamp() - int(stamp) / 1000
    if not NEWEST <= age <= OLDEST:
        raise SignatureError(f"signed {age:.0f} s before it arrived")
    urls = {request.url, _DECODED.sub(lambda found: unquote(found[0]), request.url)}
    wanted = [signature(secret, request.method, url, request.body, stamp).encode() for url in urls]
    if not any([hmac.compare_digest(given, one) for one in wanted]):
        raise SignatureError("the v3 signature does not match")


def signature(secret: Secret, method: str, url: str, body: bytes, stamp: str) -> str:
    signed = method.encode() + url.encode() + body + stamp.encode()
    return base64.b64encode(hmac.new(secret.reveal().encode(), signed, hashlib.sha256).digest()).decode()


def dedupe_key(body: bytes) -> str:
    """The same for every attempt to deliver these events."""
    events = _events(body)
    if not events or not all(isinstance(event, dict) for event in events):
        return body_key(body)
    names = ("subscriptionId", "eventId", "objectId", "occurredAt", "propertyName", "propertyValue")
    keys = sorted(msgspec.json.encode([event.get(name) for name in names]) for event in events)
    return hashlib.sha256(b"\n".join(keys)).hexdigest()


def read_events(body: bytes, portal_id: str) -> Received:
    """What to read again. An event of another account or an unknown kind is kept aside; the others of its batch count."""
    events = _events(body)
    if events is None:
        return Received(quarantine=[("not a JSON array of events", body)])
    refetch: dict[tuple[str, str], None] = {}
    quarantine: list[tuple[str, bytes]] = []
    for event in events:
        payload = msgspec.json.encode(event)
        if not isinstance(event, dict):
            quarantine.append(("not an event", payload))
        elif portal_id and str(event.get("portalId")) != portal_id:
            quarantine.append((f"belongs to HubSpot account {event.get('portalId')}, not to {portal_id}", payload))
        else:
            hints, problem = _meaning(event)
            refetch.update(dict.fromkeys(hints))
            if problem:
                quarantine.append((problem, payload))
    return Received(refetch=list(refetch), quarantine=quarantine)


def _meaning(event: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """(what to read again, why a person must look or "")."""
    thing, _, change = str(event.get("subscriptionType", "")).partition(".")
    thing = str(event.get("objectTypeId", "")) if thing == "object" else thing
    if change == "associationChange":
        return _link_change(event)
    stream, unknown = _STREAMS.get(thing), f"unknown subscription type {event.get('subscriptionType')!r}"
    if stream is None:
        return [], unknown
    if change == "merge":
        merged = event.get("mergedObjectIds")
        ids = [
            event.get("primaryObjectId"),
            event.get("newObjectId"),
            *(merged if isinstance(merged, Sequence) else ()),
        ]
        return [(stream, str(one)) for one in dict.fromkeys(ids) if one], ""
    if "objectId" not in event:
        return [], f"{event.get('subscriptionType')} without an objectId"
    hint = (stream, str(event["objectId"]))
    if change == "privacyDeletion":
        return [hint], f"privacy deletion: erase what we hold of {stream} {hint[1]} with `leadtrail erase`"
    return ([hint], "") if change in _HINTS else ([], unknown)


def _link_change(event: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
    """HubSpot reports a link from both of its ends. Links we do not follow (a contact's company) change nothing for us."""
    ends = {
        "DEAL_TO_CONTACT": ("deal_contacts", "fromObjectId"),
        "CONTACT_TO_DEAL": ("deal_contacts", "toObjectId"),
        "TASK_TO_CONTACT": ("task_contacts", "fromObjectId"),
        "CONTACT_TO_TASK": ("task_contacts", "toObjectId"),
    }
    stream, end = ends.get(str(event.get("associationType")), ("", ""))
    return ([(stream, str(event[end]))], "") if stream and end in event else ([], "")


def _events(body: bytes) -> list[Any] | None:
    try:
        return msgspec.json.decode(body, type=list[Any])
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None
