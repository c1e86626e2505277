"""The bodies Thumbtack pushes: v4 envelopes, and the older integration's lead, message, update and review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.base import Record, body_key


@dataclass(frozen=True)
class Event:
    """What a body is. An empty `stream`: not understood, for the reason in `problem`. `key` tells events apart for ever."""

    stream: str = ""
    record_id: str = ""
    key: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""
    happened_at: datetime | None = None
    changed_at: datetime | None = None
    problem: str = ""


class _Envelope(msgspec.Struct):
    event: dict[str, Any]
    data: msgspec.Raw


def read(body: bytes) -> Event:
    """Raises ValueError if the body is not a JSON object."""
    fields = json_object(body)
    if "event" in fields or "data" in fields:
        try:
            envelope = msgspec.json.decode(body, type=_Envelope)
            return _read_v4(envelope.event, bytes(envelope.data))
        except ValueError:
            return Event(problem="the envelope has a shape this connector does not know")
    return _read_legacy(fields, body)


def _read_v4(event: Mapping[str, Any], payload: bytes) -> Event:
    fields = json_object(payload)
    kind, triggered_at = text_of(event.get("eventType")), instant(event.get("triggeredAt"))
    lead_id, message_id = text_of(fields.get("negotiationID")), text_of(fields.get("messageID"))
    review_id = text_of(fields.get("reviewID"))
    if kind.startswith("MessageCreated") and message_id:
        sent_at = instant(fields.get("sentAt"))
        return Event("messages", message_id, f"message:{message_id}", fields, payload, sent_at, triggered_at or sent_at)
    if kind.startswith("ReviewCreated") and review_id:
        made_at = instant(fields.get("createTime") or fields.get("createdAt"))
        key = f"review:{review_id}:{text_of(fields.get('modifyTime'))}"
        return Event("reviews", review_id, key, fields, payload, made_at, triggered_at or made_at)
    if kind.startswith("Negotiation") and lead_id and ("customer" in fields or "request" in fields):
        # Status and charge are part of the key: should a lead be announced again with news, that is another event.
        state = ":".join(text_of(fields.get(name)) for name in ("status", "chargeState", "leadPrice"))
        made_at = instant(fields.get("createdAt") or fields.get("createTime"))
        key = f"lead:v4:{lead_id}:{state}"
        return Event("leads", lead_id, key, fields, payload, made_at, triggered_at or made_at)
    return Event(problem=f"an event type this connector does not read ({kind[:60] or 'none given'})")


def _read_legacy(fields: Mapping[str, Any], body: bytes) -> Event:
    lead_id, message, review = text_of(fields.get("leadID")), fields.get("message"), fields.get("review")
    state = f"{text_of(fields.get('chargeState'))}:{text_of(fields.get('leadPrice'))}"
    if isinstance(review, dict) and text_of(review.get("reviewID")):
        review_id, changed = text_of(review["reviewID"]), text_of(review.get("modifyTime"))
        made_at = instant(review.get("createTime"))
        return Event(
            "reviews", review_id, f"review:{review_id}:{changed}", fields, body, made_at, instant(changed) or made_at
        )
    if isinstance(message, dict) and text_of(message.get("messageID")):
        message_id, sent_at = text_of(message["messageID"]), instant(message.get("createTimestamp"))
        return Event("messages", message_id, f"message:{message_id}", fields, body, sent_at, sent_at)
    if lead_id and ("customer" in fields or "request" in fields):
        made_at = instant(fields.get("createTimestamp"))
        return Event("leads", lead_id, f"lead:v1:{lead_id}:{state}", fields, body, made_at, made_at)
    if lead_id and ("chargeState" in fields or "leadPrice" in fields):
        return Event("lead_updates", f"{lead_id}:{state}", f"lead_update:{lead_id}:{state}", fields, body)
    return Event(problem="a body of no known shape")


def is_test(fields: Mapping[str, Any]) -> bool:
    """Thumbtack's test button sends a believable lead of "Test Customer" to "Test Business for Webhooks". Its phone,
    1234567890, is no sign by itself: the documentation's real examples have it as well."""
    customer, business = fields.get("customer"), fields.get("business")
    names: list[str] = []
    if isinstance(customer, dict):
        names = [text_of(customer.get("name")), text_of(customer.get("displayName"))]
        names.append(f"{text_of(customer.get('firstName'))} {text_of(customer.get('lastName'))}")
    if isinstance(business, dict):
        names += [text_of(business.get("name")), text_of(business.get("displayName"))]
    return any(name in ("Test Customer", "Test Business for Webhooks") for name in names)


def business_of(fields: Mapping[str, Any]) -> str:
    for holder in (fields.get("business"), fields.get("review"), fields):
        if isinstance(holder, dict) and text_of(holder.get("businessID")):
            return text_of(holder["businessID"])
    return ""


def message_record(payload: bytes) -> Record:
    fields = json_object(payload)
    sent_at = instant(fields.get("sentAt"))
    record_id = text_of(fields.get("messageID")) or f"sha256:{body_key(payload)[:32]}"
    return Record(record_id, payload, occurred_at=sent_at, updated_at=sent_at)


# ---- values ----


def json_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def text_of(value: Any) -> str:
    """Ids are int64, written as text; a number that slipped through is exact in Python too."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def instant(value: Any) -> datetime | None:
    """ISO 8601 (no offset: UTC), or an epoch as text: seconds in leads and messages, milliseconds in reviews."""
    text = text_of(value)
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text) / (1000 if len(text) > 11 else 1), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
