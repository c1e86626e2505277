"""What became of e-mails, and what people answered: told by the mail service, through a small relay.

    POST, one signed event -> mail.events

Mail services differ in everything (SendGrid an array under ECDSA, Mailgun a form, Postmark no signature, a mailbox nothing but
IMAP), so there is one format here, and what speaks to the service translates:

    X-Leadtrail-Timestamp: 1772470800
    X-Leadtrail-Signature: sha256=<hex HMAC-SHA256 of "1772470800." and the raw body, under the secret>

    {"event_id": "sg-14c5d75ce93", "event": "received", "at": "2026-03-02T17:00:00Z", "address": "ann@example.com",
     "message_id": "<a1@example.com>", "in_reply_to": "<b2@client.example>", "subject": "Re: …", "text": "Tuesday is fine."}

- `address` is always the customer's: who wrote, or whom the mail was for. One event in a request, so that each is acknowledged,
  and known again, by itself. `event_id` is the same for every try.
- The time is signed: an event older than a day or from the future is refused. Retries are signed anew, or come within a day.
- Out-of-office replies are no answers. Whoever relays says so (`automatic`), from `Auto-Submitted` and the like.
- A mail that could only be delayed (`soft`) has not come back.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

import msgspec

from connectors.base import (
    Accepted,
    Connector,
    Health,
    Received,
    Record,
    Said,
    Secret,
    SignatureError,
    Stream,
    WebhookRequest,
    body_key,
)

OLDEST, NEWEST = 86_400.0, -300.0  # seconds
TIMESTAMP, SIGNATURE = "x-leadtrail-timestamp", "x-leadtrail-signature"

TOLD: dict[str, Literal["stop", "start", "complaint", "bounce"]] = {
    "unsubscribed": "stop",
    "resubscribed": "start",
    "complained": "complaint",
    "bounced": "bounce",
}


@dataclass(frozen=True)
class MailOptions:
    secret: Secret


class MailEvent(msgspec.Struct):
    event_id: str
    event: Literal["received", "sent", "bounced", "complained", "unsubscribed", "resubscribed"]
    at: datetime
    address: str
    text: str = ""
    soft: bool = False
    automatic: bool = False


class Mail(Connector):
    provider: ClassVar[str] = "mail"
    title: ClassVar[str] = "E-mail events"
    Options: ClassVar[type] = MailOptions
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("events", "Answers by e-mail, bounces, complaints and unsubscribes.", "push"),
    )

    options: MailOptions

    def check(self) -> Health:
        return Health(True, "Waiting for e-mail events.")

    def accept(self, request: WebhookRequest) -> Accepted:
        self._prove(request)
        event = read(request.body)
        if isinstance(event, str):
            return Accepted("unreadable:" + body_key(request.body))
        return Accepted("event:" + event.event_id, said=_said(event))

    def receive(self, request: WebhookRequest) -> Received:
        event = read(request.body)
        if isinstance(event, str):
            return Received(quarantine=[(event, request.body)])
        return Received(records=[("events", Record(event.event_id, request.body, occurred_at=event.at))])

    def _prove(self, request: WebhookRequest) -> None:
        stamp, given = (request.headers.get(name, "") for name in (TIMESTAMP, SIGNATURE))
        if not re.fullmatch("[0-9]{1,12}", stamp):
            raise SignatureError("no timestamp")
        if not NEWEST <= request.received_at.timestamp() - int(stamp) <= OLDEST:
            raise SignatureError("signed too long ago, or in the future")
        if not hmac.compare_digest(given.encode(), sign(self.options.secret.reveal(), stamp, request.body).encode()):
            raise SignatureError("the signature is missing or wrong")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """What belongs into X-Leadtrail-Signature."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def unsubscribed(event_id: str, address: str, at: datetime) -> bytes:
    """The event of somebody who followed the link under a mail: we are told first, and tell it like a mail service would."""
    when = at.astimezone(UTC).isoformat()
    return msgspec.json.encode({"event_id": event_id, "event": "unsubscribed", "at": when, "address": address})


def read(body: bytes) -> MailEvent | str:
    """The event, or why it is none."""
    try:
        event = msgspec.json.decode(body, type=MailEvent)
    except (ValueError, RecursionError) as problem:  # msgspec.DecodeError is a ValueError
        where = re.search(r"`\$\.?(\w*)`", str(problem))
        return f"not an e-mail event{f' ({where[1]})' if where and where[1] else ''}"
    if not 1 <= len(event.event_id) <= 200 or "\0" in event.event_id:
        return "not an e-mail event (event_id)"
    if event.at.tzinfo is None:
        return "not an e-mail event (at has no time zone)"
    if "@" not in event.address:
        return "not an e-mail event (address)"
    return event


def _said(event: MailEvent) -> tuple[Said, ...]:
    about, at = f"mail:events:{event.event_id}", event.at
    if event.event == "received" and not event.automatic:
        return (Said("email", about, at, event.address, event.text),)
    if event.event in TOLD and not (event.event == "bounced" and event.soft):
        return (Said("email", about, at, event.address, told=TOLD[event.event]),)
    return ()
