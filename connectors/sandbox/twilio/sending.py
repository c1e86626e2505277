"""Sending: what is refused at once, and how an accepted message will walk."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

from connectors.sandbox.provider import Request
from connectors.sandbox.twilio.accounts import Account
from connectors.sandbox.twilio.messages import REFUSED, STUCK, Message, live_walk, magic_fate
from connectors.sandbox.twilio.refusals import Refusal


def create(
    request: Request, account: Account, *, number: int, now: datetime, fates: dict[str, int], secret: str
) -> Message:
    form = dict(request.form)
    media = [value for name, value in request.form if name == "MediaUrl"]
    _validate(account, form, media)
    service = form.get("MessagingServiceSid") or None
    start = datetime.fromisoformat(form["SendAt"]) if form.get("ScheduleType") == "fixed" else None
    fate = fates.get(form["To"], magic_fate(form["To"]))
    first = "scheduled" if start else "accepted" if service else "queued"
    return Message(
        sid=("MM" if media else "SM") + secret,
        account_sid=account.sid,
        direction="outbound-api",
        sender=form.get("From") or account.client.sms_phone,
        to=form["To"],
        body=form.get("Body", ""),
        created=now,
        walk=live_walk(now, first, fate, start),
        seq=number,
        error_code=fate if fate and fate != STUCK else None,
        service=service,
        media=[f"ME{number:04d}{i:02d}{secret[6:]}" for i in range(len(media))],
        live=True,
        callback=form.get("StatusCallback", ""),
    )


def _validate(account: Account, form: dict[str, str], media: list[str]) -> None:
    to, service = form.get("To", ""), form.get("MessagingServiceSid", "")
    callback = form.get("StatusCallback", "")
    host = urlsplit(callback).hostname or ""
    checks = (
        (not to, 21604),
        (not form.get("From") and not service, 21603),
        (not (form.get("Body") or media or form.get("ContentSid")), 21602),
        (len(form.get("Body", "")) > 1600, 21617),
        (to in REFUSED, REFUSED.get(to, 0)),
        (not re.fullmatch(r"\+[1-9]\d{6,14}", to), 21211),
        (form.get("From", account.client.sms_phone) != account.client.sms_phone, 21606),
        (bool(service) and service != account.service, 20404),
        (form.get("ScheduleType") == "fixed" and not (service and form.get("SendAt")), 35118),
        (bool(callback) and (not host or "_" in host), 21609),
        (to in account.mailbox.blocked, 21610),
    )
    for wrong, code in checks:
        if wrong:
            raise Refusal(code)
