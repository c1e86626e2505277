"""CallRail's webhooks: proof of origin, and which record an event is about.

They name no event type, come once or never, and have another shape and older ids than the API: an event is only a hint.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from connectors.base import Received, Said, Secret, SignatureError, WebhookRequest

# A call event before hang-up holds placeholders (answered=false, call_type=missed): fetching then would report a missed call.
BEFORE_HANGUP = {"pre_call", "answered_call", "call_routing_complete", "routing_complete", "outbound_pre_call"}
STREAM_OF_PREFIX = {"CAL": "calls", "FOR": "form_submissions", "SCI": "text_messages"}


def verify(request: WebhookRequest, signing_key: Secret, connection: str) -> None:
    """Base64 of HMAC-SHA1 over the raw body. Each company has a key of its own."""
    if not signing_key:
        raise SignatureError(f"{connection}: no signing_key is set, so no webhook can be trusted.")
    expected = base64.b64encode(hmac.digest(signing_key.reveal().encode(), request.body, "sha1"))
    if not hmac.compare_digest(expected, request.headers.get("signature", "").encode("latin-1", "replace")):
        raise SignatureError(f"{connection}: the webhook's signature does not match its body.")


def read_event(request: WebhookRequest, ours: Collection[str]) -> Received:
    """The record to fetch. `ours` are the connection's companies (none: any)."""
    if not BEFORE_HANGUP.isdisjoint(request.tail.lower().replace("-", "_").split("/")):
        return Received()
    event = _fields(request.body)
    record_id = event.get("resource_id") or event.get("id")
    stream = STREAM_OF_PREFIX.get(str(record_id)[:3], "")
    if stream == "text_messages":
        record_id = event.get("conversation_id") or event.get("thread_resource_id")
    if not stream or not re.fullmatch(r"[A-Za-z0-9_]+", str(record_id or "")):
        return Received(quarantine=[("the event names no record that the API knows (resource_id)", request.body)])
    company = event.get("company_resource_id") or event.get("company_id")
    if ours and isinstance(company, str) and company.startswith("COM") and company not in ours:
        return Received(quarantine=[("the event belongs to a company that is not this connection's", request.body)])
    return Received(refetch=[(stream, str(record_id))])


def said(request: WebhookRequest, ours: Collection[str]) -> tuple[Said, ...]:
    """The words of a text from a customer. A text to a customer has the same shape; it names the agent who sent it."""
    event = _fields(request.body)
    record_id, sender, words = (event.get(name) for name in ("resource_id", "source_number", "content"))
    if not all(isinstance(value, str) for value in (record_id, sender, words)) or not str(record_id).startswith("SCI"):
        return ()
    if "agent" in event or "sent" in re.split(r"[^a-z]+", request.tail.lower()):
        return ()
    company = event.get("company_resource_id") or event.get("company_id")
    if ours and isinstance(company, str) and company.startswith("COM") and company not in ours:
        return ()
    return (Said("text", f"callrail:text_messages:{record_id}", request.sent_at, str(sender), str(words)),)


def _fields(body: bytes) -> dict[str, Any]:
    """JSON as documented; form-encoded bodies have been seen too."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    return value if isinstance(value, dict) else {}
