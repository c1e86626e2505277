"""E-mail events: one signed event at a time, what each means for the timeline, and what it says about being written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.base import Record, Said, Secret, SignatureError, WebhookRequest
from connectors.http import Http
from connectors.mail import Mail, MailOptions, sign
from tests.conftest import NOW
from tests.warehouse import Landed, staged

ANSWER = {
    "event_id": "e-1",
    "event": "received",
    "at": "2026-03-02T16:59:00Z",
    "address": "Ann@Example.com",
    "message_id": "<a1@example.com>",
    "in_reply_to": "<b2@client.example>",
    "subject": "Re: your estimate",
    "text": "Tuesday is fine.",
}


def posted(
    event: Mapping[str, Any] | bytes, *, signed_at: datetime = NOW, secret: str = "s3cret", at: datetime = NOW
) -> WebhookRequest:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    stamp = str(int(signed_at.timestamp()))
    headers = {
        "content-type": "application/json",
        "x-leadtrail-timestamp": stamp,
        "x-leadtrail-signature": sign(secret, stamp, body),
    }
    return WebhookRequest("https://hooks.example/webhooks/ridgeline/mail", headers, body, at)


@pytest.fixture
def mail(http: Http) -> Mail:
    return Mail(MailOptions(secret=Secret("s3cret")), connection="ridgeline/mail", http=http)


def test_the_signature_is_what_the_documentation_says() -> None:
    """Computed with OpenSSL: printf '1772470800.{"a":1}' | openssl dgst -sha256 -hmac s3cret"""
    wanted = "sha256=0b3a33aaadd3714839e0ac821e7e0d74bd806a1d792973483edab50ed393607c"
    assert sign("s3cret", "1772470800", b'{"a":1}') == wanted


def test_a_signed_event_is_taken_and_any_changed_byte_or_time_refused(mail: Mail) -> None:
    good = posted(ANSWER)
    assert mail.accept(good).answer.status == 200
    for bad in (
        replace(good, body=good.body.replace(b"Tuesday", b"tuesday")),
        replace(good, headers={**good.headers, "x-leadtrail-timestamp": str(int(NOW.timestamp()) + 1)}),
        replace(good, headers={**good.headers, "x-leadtrail-timestamp": "soon"}),
        replace(good, headers={"content-type": "application/json"}),
        posted(ANSWER, secret="another"),
    ):
        with pytest.raises(SignatureError):
            mail.accept(bad)


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (timedelta(hours=23), True),
        (timedelta(minutes=-4), True),
        (timedelta(hours=25), False),
        (timedelta(minutes=-6), False),
    ],
)
def test_an_event_recorded_long_ago_cannot_be_played_again(mail: Mail, age: timedelta, taken: bool) -> None:
    request = posted(ANSWER, signed_at=NOW - age)
    if taken:
        mail.accept(request)
    else:
        with pytest.raises(SignatureError):
            mail.accept(request)


def test_every_try_of_an_event_has_one_key(mail: Mail) -> None:
    once = mail.accept(posted(ANSWER))
    again = mail.accept(posted({**ANSWER, "retry": 2}, signed_at=NOW + timedelta(hours=1), at=NOW + timedelta(hours=1)))
    other = mail.accept(posted({**ANSWER, "event_id": "e-2"}))
    assert once.dedupe_key == again.dedupe_key != other.dedupe_key


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"event_id": "e-9", "event": kind, "at": "2026-03-02T16:00:00+00:00", "address": "ann@example.com", **more}


@pytest.mark.parametrize(
    ("sent", "words", "told"),
    [
        (event("received", text="Please stop"), "Please stop", ""),
        (event("unsubscribed"), "", "stop"),
        (event("complained"), "", "complaint"),
        (event("bounced", code="5.1.1"), "", "bounce"),
        (event("resubscribed"), "", "start"),
    ],
)
def test_what_somebody_says_about_being_written_to_is_passed_on(
    mail: Mail, sent: dict[str, Any], words: str, told: Any
) -> None:
    at = datetime(2026, 3, 2, 16, tzinfo=UTC)
    assert mail.accept(posted(sent)).said == (
        Said("email", "mail:events:e-9", at, "ann@example.com", words=words, told=told),
    )


@pytest.mark.parametrize(
    "sent",
    [event("sent"), event("bounced", soft=True), event("received", text="stop", automatic=True)],
    ids=["our own mail", "only delayed", "out of office"],
)
def test_other_events_say_nothing_about_it(mail: Mail, sent: dict[str, Any]) -> None:
    assert mail.accept(posted(sent)).said == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not an e-mail event"),
        (b"[]", "not an e-mail event"),
        (json.dumps(event("opened")).encode(), "not an e-mail event (event)"),
        (json.dumps({**ANSWER, "event_id": ""}).encode(), "not an e-mail event (event_id)"),
        (json.dumps({**ANSWER, "at": "2026-03-02T16:59:00"}).encode(), "not an e-mail event (at has no time zone)"),
        (json.dumps({**ANSWER, "at": "yesterday"}).encode(), "not an e-mail event (at)"),
        (json.dumps({**ANSWER, "address": "Ann"}).encode(), "not an e-mail event (address)"),
        (json.dumps({**ANSWER, "address": None}).encode(), "not an e-mail event (address)"),
        (b"[" * 100_000, "not an e-mail event"),
    ],
)
def test_what_is_no_event_is_stored_and_kept_aside_with_the_reason(mail: Mail, body: bytes, reason: str) -> None:
    accepted = mail.accept(posted(body))
    assert (accepted.answer.status, accepted.said) == (200, ())
    assert mail.receive(posted(body)).quarantine == [(reason, body)]


def test_events_become_answers_bounces_and_opt_outs_on_the_timeline(mail: Mail, tmp_path: Path) -> None:
    told = [
        ANSWER,
        {**event("received", text="STOP"), "event_id": "e-2"},
        {**event("received", text="Out until Monday", automatic=True), "event_id": "e-3"},
        {**event("bounced", code="5.1.1"), "event_id": "e-4"},
        {**event("bounced", code="4.2.2", soft=True), "event_id": "e-5"},
        {**event("unsubscribed"), "event_id": "e-6"},
        {**event("complained"), "event_id": "e-7"},
        {**event("resubscribed"), "event_id": "e-8"},
        {**event("sent", subject="Your estimate"), "event_id": "e-9"},
    ]
    landed = []
    for one in told:
        [(stream, record)] = mail.receive(posted(one)).records
        assert isinstance(record, Record)
        landed.append(Landed("ridgeline", "mail", stream, record, via="webhook"))
    with staged(tmp_path, landed, "+int_events__mail") as warehouse:
        events = warehouse.execute(
            "select record_id, event_type, actor, direction, text from intermediate.int_events__mail order by 1, 2"
        ).fetchall()
        addresses = warehouse.execute("select distinct email_normalized from staging.stg_mail__events").fetchall()
    assert events == [
        ("e-1", "email_received", "customer", "inbound", "Tuesday is fine."),
        ("e-2", "email_received", "customer", "inbound", "STOP"),
        ("e-2", "opted_out", "customer", "inbound", None),
        ("e-4", "email_bounced", "system", "outbound", None),
        ("e-6", "opted_out", "customer", "inbound", None),
        ("e-7", "opted_out", "customer", "inbound", None),
        ("e-8", "opted_in", "customer", "inbound", None),
        ("e-9", "email_sent", "staff", "outbound", None),
    ]
    assert addresses == [("ann@example.com",)]
