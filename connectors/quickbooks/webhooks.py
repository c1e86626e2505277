"""QuickBooks' webhooks: hints that a record changed, in the old envelope and in CloudEvents.

One Intuit app has one webhook address and one verifier token for all its companies, so a notification may name a
company that is not ours: it is kept aside and goes nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from connectors.base import Accepted, Received, Secret, SignatureError, WebhookRequest, body_key
from connectors.quickbooks.wire import ENTITIES

_STREAMS = {entity.lower(): stream for stream, entity in ENTITIES.items()}


class _Entity(msgspec.Struct):
    name: str
    id: str
    operation: str = ""
    lastUpdated: str = ""
    deletedId: str = ""


class _Changes(msgspec.Struct):
    entities: list[msgspec.Raw]


class _Notification(msgspec.Struct):
    realmId: str
    dataChangeEvent: _Changes


class _Old(msgspec.Struct):
    eventNotifications: list[msgspec.Raw]


class _CloudEvent(msgspec.Struct):
    type: str
    intuitentityid: str
    intuitaccountid: str
    time: str = ""


@dataclass(frozen=True)
class Change:
    """One record that changed. `raw` is the notification that says so, with its realm."""

    realm: str
    entity: str
    record_id: str
    operation: str
    at: str
    raw: bytes
    merged_id: str = ""

    def key(self) -> str:
        # both envelopes of one event have this in common: times to the second, the first letters of the operation
        return ":".join((self.realm, self.entity, self.record_id, self.operation[:4].lower(), self.at[:19]))


def signed(request: WebhookRequest, verifier: Secret) -> bool:
    digest = hmac.new(verifier.reveal().encode(), request.body, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), request.headers.get("intuit-signature", "").encode())


def accept(request: WebhookRequest, verifier: Secret, connection: str) -> Accepted:
    if not verifier or not signed(request, verifier):
        raise SignatureError(
            f"{connection}: the webhook's intuit-signature does not fit its body and our verifier token."
        )
    try:
        parts = list(_parts(request.body))
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return Accepted(body_key(request.body))
    keys = sorted({part.key() if isinstance(part, Change) else body_key(part) for part in parts})
    return Accepted(body_key("\n".join(keys).encode()) if keys else body_key(request.body))


def receive(request: WebhookRequest, realm: str) -> Received:
    try:
        parts = list(_parts(request.body))
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return Received(quarantine=[("not a QuickBooks notification", request.body)])
    refetch: dict[tuple[str, str], None] = {}
    quarantine: dict[tuple[str, bytes], None] = {}
    for part in parts:
        if not isinstance(part, Change):
            quarantine["a notification of unknown shape", part] = None
        elif part.realm != realm:
            quarantine["about another company than this connection's", part.raw] = None
        elif part.entity not in _STREAMS:
            quarantine[f"about a kind of record that is not read: {part.entity}", part.raw] = None
        else:
            for record_id in filter(None, (part.record_id, part.merged_id)):
                refetch[_STREAMS[part.entity], record_id] = None
    return Received(refetch=list(refetch), quarantine=list(quarantine))


def _parts(body: bytes) -> Iterator[Change | bytes]:
    """The changes a body tells of; parts that cannot be read come as they are. Raises ValueError or RecursionError."""
    if body.lstrip().startswith(b"["):
        for raw in msgspec.json.decode(body, type=list[msgspec.Raw]):
            yield _cloud_event(raw)
        return
    for raw in msgspec.json.decode(body, type=_Old).eventNotifications:
        try:
            notification = msgspec.json.decode(raw, type=_Notification)
        except msgspec.ValidationError:
            yield bytes(raw)
            continue
        for entity in notification.dataChangeEvent.entities:
            yield _old_entity(notification.realmId, entity, bytes(raw))


def _old_entity(realm: str, raw: msgspec.Raw, notification: bytes) -> Change | bytes:
    try:
        one = msgspec.json.decode(raw, type=_Entity)
    except msgspec.ValidationError:
        return notification
    return Change(realm, one.name.lower(), one.id, one.operation, one.lastUpdated, notification, one.deletedId)


def _cloud_event(raw: msgspec.Raw) -> Change | bytes:
    try:
        event = msgspec.json.decode(raw, type=_CloudEvent)
        _, entity, operation, _ = event.type.split(".")  # qbo.invoice.updated.v1
    except ValueError:  # msgspec.ValidationError is one
        return bytes(raw)
    return Change(event.intuitaccountid, entity, event.intuitentityid, operation, event.time, bytes(raw))
