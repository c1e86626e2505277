"""Angi (once HomeAdvisor): leads, pushed once; and the client's own CSV export, for what a push has lost.

    POST from Angi -> angi.leads          CSV by hand -> angi.imported_leads

Facts that shaped this:
- There is nothing to read: no list, no history, no status. A push that is not answered as Angi expects is lost after three
  retries, so whatever came through a right key is answered with success, even if we cannot read it (it is kept).
- "As Angi expects" differs by product: exactly `{"status":"success"}`, a body with `<success>…</success>`, or
  `{"message":"success"}`. Anything but 200 is a failure.
- No signature: proof is a key in `x-api-key`, a `crmKey` in the body, or a random last part of the URL. `crmKey` is a secret
  inside the payload: its value is overwritten in the bytes we keep, where alone a payload is not byte for byte.
- No time in the payload: a lead happened when it was received.
- Ids come as number or as text; both mean the same lead.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from connectors.base import (
    Accepted,
    Answer,
    Connector,
    Health,
    Page,
    Received,
    Record,
    Secret,
    SignatureError,
    Stream,
    WebhookRequest,
    body_key,
)
from connectors.csv_export import ExportFormat

UNSET = Secret("")
BROKEN = object()
CRM_KEY = re.compile(rb'("crmKey"\s*:\s*)("(?:[^"\\]|\\.)*"|[^\s,}\]"]+)', re.IGNORECASE)
BOM = b"\xef\xbb\xbf"
JSON_ANSWERS = {"json": b'{"status":"success"}', "ads": b'{"message":"success"}'}

EXPORT = ExportFormat(
    fields={
        "lead_id": ("lead number", "lead id", "lead oid", "lead", "id"),
        "name": ("customer name", "customer", "homeowner", "name", "contact"),
        "phone": ("phone number", "primary phone", "phone"),
        "email": ("email address", "email"),
        "created_at": ("date received", "lead date", "received", "created at", "date", "created"),
        "task": ("task name", "task", "service", "category", "job"),
        "fee": ("lead fee", "fee", "lead price", "price", "cost", "amount"),
        "credit": ("credit amount", "credit", "credited", "refund"),
    },
    stream="imported_leads",
)


@dataclass(frozen=True)
class AngiOptions:
    """`test_mode`: set-up is under way; nothing that comes is a lead, and Angi's test may come without a key.
    `call_reporting`: the client is in Angi's call-reporting program, so an unmasked phone may still be Angi's own."""

    api_key: Secret = UNSET
    body_key: Secret = UNSET
    path_token: Secret = UNSET
    sp_entity_ids: tuple[str, ...] = ()
    reply: Literal["json", "legacy", "ads"] = "json"
    test_mode: bool = False
    call_reporting: bool = False


class Angi(Connector):
    provider: ClassVar[str] = "angi"
    title: ClassVar[str] = "Angi"
    Options: ClassVar[type] = AngiOptions
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("leads", "Homeowners whom Angi sent to the business, what they want and what the lead cost.", "push"),
        Stream(
            "imported_leads", "Angi leads, fees and credits from the file that the client exported by hand.", "import"
        ),
    )

    def check(self) -> Health:
        if not self._proofs():
            return Health(
                False,
                "No key is configured, so every push is refused.",
                "Set api_key (or body_key, or path_token) and give the same one to Angi's integration team.",
            )
        if self.options.test_mode:
            return Health(
                True, "Test mode: pushes are answered and put aside, none becomes a lead. Switch it off to go live."
            )
        return Health(True, "Waiting for Angi's pushes; Angi offers nothing that could be asked.")

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        fields = _decoded(request.body)
        self._prove(request, fields)
        if fields is BROKEN:
            return Accepted("unreadable:" + body_key(request.body), Answer(400))
        shape, record_id = _identity(fields, request.received_at)
        key = f"{shape}:{record_id}" if shape == "ads" else f"{shape}:{record_id}:{_content_key(fields)}"
        return Accepted(key, self._answer(shape, record_id or body_key(request.body)[:12]))

    def kept(self, request: WebhookRequest) -> WebhookRequest:
        return super().kept(replace(request, body=_without_key(request.body)))

    def receive(self, request: WebhookRequest) -> Received:
        fields, payload = _decoded(request.body), self._payload(request.body)
        if fields is BROKEN:
            return Received(quarantine=[("the body is not JSON", payload)])
        if self.options.test_mode:
            return Received(quarantine=[("received in test mode, so not a lead", payload)])
        _, record_id = _identity(fields, request.received_at)
        if not record_id:
            return Received(quarantine=[("the body has no shape of an Angi lead", payload)])
        branch = _text(fields.get("spEntityId"))
        if self.options.sp_entity_ids and branch and branch not in map(str, self.options.sp_entity_ids):
            return Received(quarantine=[("it belongs to an Angi account that is not one of this client's", payload)])
        return Received(records=[("leads", Record(record_id, payload, occurred_at=request.sent_at))])

    def _payload(self, body: bytes) -> bytes:
        """The body; in the call-reporting program with a word of ours in front, since it does not say that its phones may
        be Angi's own."""
        kept = _without_key(body.removeprefix(BOM))
        if self.options.call_reporting and kept.lstrip().startswith(b"{"):
            return b'{"_call_reporting":true,' + kept.lstrip()[1:]
        return kept

    def _answer(self, shape: str, our_id: str) -> Answer:
        if self.options.reply == "legacy":
            return Answer(200, f"<success>{our_id}</success>".encode(), "text/html; charset=utf-8")
        kind = "ads" if shape == "ads" else self.options.reply
        return Answer(200, JSON_ANSWERS[kind], "application/json")

    def _proofs(self) -> list[Secret]:
        return [key for key in (self.options.api_key, self.options.body_key, self.options.path_token) if key]

    def _prove(self, request: WebhookRequest, fields: Any) -> None:
        """One configured key must be right, and none that is given may be wrong. In test mode none need be given."""
        in_body = _text(fields.get("crmKey")) if isinstance(fields, dict) else ""
        given = (
            (self.options.api_key, request.headers.get("x-api-key", "")),
            (self.options.body_key, in_body),
            (self.options.path_token, request.tail.strip("/")),
        )
        shown = [_same(value, key.reveal()) for key, value in given if key and value]
        if not all(shown):
            raise SignatureError("a key is wrong")
        if not shown and not (self.options.test_mode and self._proofs()):
            raise SignatureError("no key was given" if self._proofs() else "no key is configured")

    # ---- files ----

    def read_export(self, rows: Iterator[Mapping[str, str]], *, mapping: Mapping[str, str]) -> Iterator[Page]:
        return EXPORT.read(rows, mapping=mapping, connection=self.connection)


def _without_key(body: bytes) -> bytes:
    """The tenant's key comes with every lead; it is proof, not data."""
    return CRM_KEY.sub(rb'\1"***"', body)


def _decoded(body: bytes) -> Any:
    """The JSON, whatever Content-Type says; BROKEN if it is none."""
    try:
        return msgspec.json.decode(body.removeprefix(BOM))
    except (ValueError, RecursionError):
        return BROKEN


def _identity(fields: Any, received_at: datetime) -> tuple[str, str]:
    """Which product's shape it is, and the lead's id; ("unknown", "") if neither."""
    if not isinstance(fields, dict):
        return "unknown", ""
    if lead_oid := _text(fields.get("leadOid")):
        return "lead", lead_oid
    if "ALAccountId" in fields or "PostalAddress" in fields:
        # Angi Ads gives a lead no id: who asked, for what, on which day.
        parts = [_text(fields.get(name)) for name in ("ALAccountId", "PhoneNumber", "Email", "Description")]
        text = "\n".join([*parts, received_at.date().isoformat()])
        return "ads", "ads:" + hashlib.sha256(text.encode()).hexdigest()[:32]
    return "unknown", ""


def _content_key(fields: Any) -> str:
    """The same for the same content, whatever the order of its keys and however its numbers are written. A lead sent again
    with more in it is news, so the id alone is not enough."""
    return body_key(msgspec.json.encode(_as_text(fields), order="deterministic"))[:16]


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items() if item not in (None, "")}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value if isinstance(value, bool) else str(value)


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
