"""What Twilio posts: inbound messages to `/inbound`, statuses to `/status`, signed with the account's token for the URL.

Every 11th message's last status comes twice, and every 7th message's last two come in the wrong order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from connectors.sandbox.facts import Client
from connectors.sandbox.provider import Push
from connectors.sandbox.twilio.messages import Message


@dataclass(frozen=True)
class Signer:
    """Signs a form body for whatever URL it is sent to."""

    auth_token: str
    token_of: Callable[[str], str]

    def headers(self, url: str, body: bytes, event: str) -> Mapping[str, str]:
        signed = url.split("#")[0]
        for name, value in sorted(set(parse_qsl(body.decode(), keep_blank_values=True))):
            signed += name + value
        mac = hmac.new(self.auth_token.encode(), signed.encode(), hashlib.sha1).digest()
        return {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "user-agent": "TwilioProxy/1.1",
            "x-twilio-signature": base64.b64encode(mac).decode(),
            "i-twilio-idempotency-token": self.token_of(event),
        }


def pushes(client: Client, message: Message, signer: Signer, now: datetime) -> Iterator[Push]:
    if message.direction == "inbound":
        body = urlencode(inbound_form(client, message)).encode()
        yield _push(client, message.created, body, signer, f"{message.sid}:received", "/inbound")
        return
    steps = message.steps(now)
    for i, (at, status) in enumerate(steps):
        last = i == len(steps) - 1
        if message.seq % 7 == 0 and last and i > 0:
            at = steps[i - 1][0] - timedelta(milliseconds=1)
        body = urlencode(status_form(message, status)).encode()
        for _ in range(2 if last and message.seq % 11 == 0 else 1):
            yield _push(client, at, body, signer, f"{message.sid}:{status}", "/status")


def _push(client: Client, at: datetime, body: bytes, signer: Signer, event: str, tail: str) -> Push:
    return Push(client.client_id, at, body, lambda url: signer.headers(url, body, event), tail)


def inbound_form(client: Client, message: Message) -> dict[str, str]:
    place = {"City": client.city.upper(), "State": client.state, "Zip": client.zip_codes[0], "Country": "US"}
    form = {f"{side}{name}": value for side in ("To", "From") for name, value in place.items()}
    form |= {name: message.sid for name in ("MessageSid", "SmsSid", "SmsMessageSid")}
    form |= {
        "AccountSid": message.account_sid,
        "From": message.sender or "",
        "To": message.to,
        "Body": message.body,
        "NumMedia": str(len(message.media)),
        "NumSegments": "1",
        "SmsStatus": "received",
        "ApiVersion": "2010-04-01",
    }
    for i, media_sid in enumerate(message.media):
        root = f"https://api.twilio.com/2010-04-01/Accounts/{message.account_sid}/Messages/{message.sid}"
        form |= {f"MediaContentType{i}": "image/jpeg", f"MediaUrl{i}": f"{root}/Media/{media_sid}"}
    if message.service:
        form["MessagingServiceSid"] = message.service
    if message.opt_out_type:
        form["OptOutType"] = message.opt_out_type
    return form


def status_form(message: Message, status: str) -> dict[str, str]:
    form = {
        "AccountSid": message.account_sid,
        "From": message.sender or "",
        "To": message.to,
        "MessageSid": message.sid,
        "SmsSid": message.sid,
        "MessageStatus": status,
        "SmsStatus": status,
        "ApiVersion": "2010-04-01",
    }
    if status in ("failed", "undelivered") and message.error_code:
        form["ErrorCode"] = str(message.error_code)
    if status in ("delivered", "undelivered"):
        form["RawDlrDoneDate"] = f"{message.walk[-1][0]:%y%m%d%H%M}"
    if message.service:
        form["MessagingServiceSid"] = message.service
    return form
