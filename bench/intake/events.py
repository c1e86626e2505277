"""Signed webhooks as providers send them, ready for a socket; each carries its record, so that draining asks nobody."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from connectors.forms import sign as sign_form
from connectors.mail import sign as sign_mail
from connectors.twilio.signature import signature as sign_twilio

SECRET = "bench-secret-of-the-client"
ACCOUNT = "AC" + "1" * 32
FILLER = "Water is coming through the kitchen ceiling and we turned the main valve off. " * 12  # some 1 kB
# one mail in four says stop: each is a suppression in the same transaction
WORDS = ("Tuesday at nine is fine for us, thank you.", "How much would it be?", "STOP", "ok see you then")

CONNECTIONS = {
    "forms": "{secret: '${S}'}",
    "twilio": f"{{account_sid: {ACCOUNT}, auth_token: '${{S}}'}}",
    "thumbtack": "{webhook_user: leadtrail, webhook_password: '${S}'}",
    "angi": "{api_key: '${S}'}",
    "mail": "{secret: '${S}'}",
}


def clients_file(clients: int) -> str:
    connections = ", ".join(f"{name}: {options}" for name, options in CONNECTIONS.items())
    lines = [
        f"  - {{client_id: {client_name(n)}, timezone: America/Chicago, owner: d, connections: {{{connections}}}}}"
        for n in range(clients)
    ]
    return "clients:\n" + "\n".join(lines) + "\n"


def client_name(number: int) -> str:
    return f"client-{number:02}"


@dataclass(frozen=True)
class Sent:
    """A request on the wire, and the body by which it is found again in the inbox."""

    wire: bytes
    body: bytes


def requests(count: int, clients: int, port: int) -> Iterator[Sent]:
    for number in range(count):
        make = KINDS[number % len(KINDS)]
        client = client_name(number // len(KINDS) % clients)
        tail, headers, body = make(number, f"http://127.0.0.1:{port}/webhooks/{client}/")
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"POST /webhooks/{client}/{tail} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        wire = f"{start}{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        yield Sent(wire, body)


Made = tuple[str, Mapping[str, str], bytes]  # tail, headers, body


def _form(number: int, root: str) -> Made:
    fields = {"submission_id": f"s-{number}", "name": "Ann Oakes", "email": f"a{number}@example.com", "message": FILLER}
    body = json.dumps(fields).encode()
    signed = {"Content-Type": "application/json", "X-Leadtrail-Signature": sign_form(SECRET, body)}
    return "forms", signed, body


def _status(number: int, root: str) -> Made:
    sid = f"SM{number:032x}"
    form = {
        "AccountSid": ACCOUNT, "From": "+15125550100", "To": f"+1512{number % 10_000_000:07}", "MessageSid": sid,
        "SmsSid": sid, "MessageStatus": "delivered", "SmsStatus": "delivered", "ApiVersion": "2010-04-01",
    }  # fmt: skip
    signed = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": sign_twilio(root + "twilio/status", list(form.items()), SECRET),
    }
    return "twilio/status", signed, urlencode(form).encode()


def _thumbtack(number: int, root: str) -> Made:
    event = {
        "event": {"eventType": "NegotiationCreatedV4", "triggeredAt": "2026-03-02T17:00:00Z"},
        "data": {
            "negotiationID": str(number), "createdAt": "2026-03-02T17:00:00Z",
            "customer": {"customerID": str(number), "displayName": "Ann O."}, "request": {"description": FILLER},
        },
    }  # fmt: skip
    body = json.dumps(event).encode()
    login = base64.b64encode(f"leadtrail:{SECRET}".encode()).decode()
    return "thumbtack", {"Content-Type": "application/json", "Authorization": f"Basic {login}"}, body


def _angi(number: int, root: str) -> Made:
    lead = {"leadOid": str(number), "name": "Ann Oakes", "primaryPhone": "5125550123", "comments": FILLER, "fee": 20.5}
    body = json.dumps(lead).encode()
    return "angi", {"Content-Type": "application/json", "X-API-KEY": SECRET}, body


def _mail(number: int, root: str) -> Made:
    event = {
        "event_id": f"e-{number}", "event": "received", "at": "2026-03-02T17:00:00Z", "address": f"a{number}@example.com",
        "subject": "Re: your estimate", "text": WORDS[number // len(KINDS) % len(WORDS)] + "\n\n> " + FILLER,
    }  # fmt: skip
    body, stamp = json.dumps(event).encode(), str(int(time.time()))
    signed = {
        "Content-Type": "application/json",
        "X-Leadtrail-Timestamp": stamp,
        "X-Leadtrail-Signature": sign_mail(SECRET, stamp, body),
    }
    return "mail", signed, body


KINDS: tuple[Callable[[int, str], Made], ...] = (_form, _status, _form, _status, _thumbtack, _angi, _mail)
