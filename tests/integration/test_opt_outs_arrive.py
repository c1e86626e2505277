"""An opt-out is in force when its sender has our answer, whichever way it comes; and links under mails end them."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import event, select

from connectors.base import Connector, Secret
from connectors.callrail import CallRail, CallRailOptions
from connectors.http import Http
from connectors.mail import Mail, MailOptions
from connectors.mail import sign as sign_mail
from connectors.twilio import Twilio, TwilioOptions
from connectors.twilio.signature import signature
from pipeline.follow_up.unsubscribe import Tokens, unsubscribe_url
from pipeline.settings import Settings
from pipeline.store.inbox import pending
from pipeline.store.schema import suppressions
from tests.intakes import Desk, desks

SID = "AC" + "1" * 32
OURS, PHONE = "+15125550100", "+15125550123"
Connectors = dict[tuple[str, str], Connector]


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with desks(tmp_path) as start:
        yield start


@pytest.fixture
def connectors() -> Iterator[Connectors]:
    http = Http()
    yield {
        ("ridgeline", "twilio"): Twilio(
            TwilioOptions(SID, Secret("token"), sms_numbers=(OURS,)), connection="ridgeline/twilio", http=http
        ),
        ("ridgeline", "callrail"): CallRail(
            CallRailOptions("ACC1", Secret("key"), ("COM1",), Secret("signs")),
            connection="ridgeline/callrail",
            http=http,
        ),
        ("ridgeline", "mail"): Mail(MailOptions(Secret("relay")), connection="ridgeline/mail", http=http),
    }
    http.close()


def by_twilio(desk: Desk, **form: str) -> httpx.Response:
    url = desk.url("ridgeline", "twilio", "/inbound")
    sent = {"AccountSid": SID, "MessageSid": "SM1", "From": PHONE, "To": OURS, **form}
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": signature(url, list(sent.items()), "token"),
    }
    return httpx.post(url, content=urlencode(sent), headers=headers)


def by_callrail(desk: Desk, **fields: str) -> httpx.Response:
    text = {"resource_id": "SCI1", "source_number": PHONE, "destination_number": OURS, "company_resource_id": "COM1"}
    body = json.dumps({**text, **fields}).encode()
    proof = base64.b64encode(hmac.digest(b"signs", body, "sha1")).decode()
    return httpx.post(desk.url("ridgeline", "callrail", "/text-message"), content=body, headers={"signature": proof})


def by_mail(desk: Desk, **fields: Any) -> httpx.Response:
    told = {"event_id": "e-1", "at": "2026-03-02T17:00:00Z", "address": "Ann@Example.com", **fields}
    body, stamp = json.dumps(told).encode(), str(int(time.time()))
    proof = {"x-leadtrail-timestamp": stamp, "x-leadtrail-signature": sign_mail("relay", stamp, body)}
    return httpx.post(desk.url("ridgeline", "mail"), content=body, headers=proof)


def in_force(desk: Desk) -> dict[tuple[str, str, str], str]:
    with desk.engine.connect() as connection:
        rows = connection.execute(select(suppressions)).all()
    return {(row.client_id, row.address, row.channel): row.state for row in rows}


WAYS: Mapping[str, tuple[Callable[[Desk], httpx.Response], str, str]] = {
    "a text": (lambda desk: by_twilio(desk, Body="Stop", SmsStatus="received"), "text", "standing"),
    "a text in free words": (lambda desk: by_twilio(desk, Body="dont text me again"), "text", "in_review"),
    "Twilio took it as STOP": (lambda desk: by_twilio(desk, Body="ARRET", OptOutType="STOP"), "text", "standing"),
    "Twilio refused a text to them": (
        lambda desk: by_twilio(desk, MessageStatus="failed", ErrorCode="21610", From=OURS, To=PHONE),
        "text",
        "standing",
    ),
    "a text to CallRail's number": (lambda desk: by_callrail(desk, content="STOP"), "text", "standing"),
    "an answer by mail": (lambda desk: by_mail(desk, event="received", text="unsubscribe"), "email", "standing"),
    "the mail program's button": (lambda desk: by_mail(desk, event="unsubscribed"), "email", "standing"),
    "the spam button": (lambda desk: by_mail(desk, event="complained"), "email", "standing"),
    "a mailbox that is gone": (lambda desk: by_mail(desk, event="bounced", code="5.1.1"), "email", "standing"),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_in_force_when_it_is_acknowledged(desk_of: Callable[..., Desk], connectors: Connectors, way: str) -> None:
    desk = desk_of(connectors)
    send, channel, state = WAYS[way]
    assert send(desk).status_code in (200, 204)
    address = PHONE if channel == "text" else "ann@example.com"
    assert in_force(desk) == {("ridgeline", address, channel): state}
    assert len(desk.rows()) == 1


@pytest.mark.parametrize(
    "send",
    [
        lambda desk: by_twilio(desk, Body="Tuesday is fine", SmsStatus="received"),
        lambda desk: by_twilio(desk, MessageStatus="delivered", From=OURS, To=PHONE),
        lambda desk: by_twilio(desk, Body="STOP", To="+15125559999"),
        lambda desk: by_twilio(desk, Body="STOP", AccountSid="AC" + "2" * 32),
        lambda desk: by_callrail(desk, content="Reply STOP to unsubscribe", agent="Dana"),
        lambda desk: by_callrail(desk, content="STOP", company_resource_id="COM2"),
        lambda desk: by_callrail(desk, content="STOP", resource_id="CAL1"),
        lambda desk: by_mail(desk, event="bounced", soft=True),
    ],
    ids=[
        "no stop",
        "a callback",
        "another number",
        "another account",
        "our own text",
        "another company",
        "a call",
        "full",
    ],
)
def test_what_is_no_opt_out_of_this_client_is_stored_and_stops_nobody(
    desk_of: Callable[..., Desk], connectors: Connectors, send: Callable[[Desk], httpx.Response]
) -> None:
    desk = desk_of(connectors)
    assert send(desk).status_code in (200, 204)
    assert (in_force(desk), len(desk.rows())) == ({}, 1)


# ---- the link under a mail ----


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.from_env(
        {"LEADTRAIL_HOME": str(tmp_path / "home"), "LEADTRAIL_PUBLIC_URL": "https://hooks.agency.example"}
    )


def link(desk: Desk, home: Settings, email: str = "ann@example.com") -> str:
    return desk.origin + unsubscribe_url(home, "ridgeline", email).removeprefix("https://hooks.agency.example")


ANN = ("ridgeline", "ann@example.com", "email")


def test_looking_at_the_link_asks_and_changes_nothing_and_its_button_ends_the_mails(
    desk_of: Callable[..., Desk], connectors: Connectors, home: Settings
) -> None:
    desk = desk_of(connectors, tokens=Tokens(home))
    page = httpx.get(link(desk, home))
    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert "ann@example.com" not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert in_force(desk) == {}
    assert httpx.post(link(desk, home), data={}).status_code == 200
    assert in_force(desk) == {ANN: "standing"}


def test_one_click_of_a_mail_program_ends_the_mails_and_is_an_event_on_the_timeline(
    desk_of: Callable[..., Desk], connectors: Connectors, home: Settings
) -> None:
    """RFC 8058: a POST with this body, without cookies, that follows no redirect."""
    desk = desk_of(connectors, tokens=Tokens(home))
    for _ in range(3):
        answer = httpx.post(link(desk, home), data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    assert in_force(desk) == {ANN: "standing"}
    stored = desk.rows()
    assert {(row["client_id"], row["provider"]) for row in stored} == {("ridgeline", "mail")}
    assert len(stored) <= 2, "tries within a minute are one event"
    assert b"/u/" in stored[0]["url"].encode()
    assert link(desk, home).rpartition("/")[2] not in str([dict(row) for row in stored]), "the link itself is not kept"
    mail = connectors["ridgeline", "mail"]
    [one, *_] = pending(desk.engine, "ridgeline", "mail", limit=5)
    [(stream, record)] = mail.receive(one.request).records
    assert (stream, json.loads(bytes(record.payload))["event"]) == ("events", "unsubscribed")


def test_without_an_email_connection_the_link_works_as_well(desk_of: Callable[..., Desk], home: Settings) -> None:
    def broken(client: str, provider: str) -> list[Connector]:
        raise RuntimeError("the clients file is broken")

    for connectors in ({}, broken):
        desk = desk_of(connectors, tokens=Tokens(home))
        assert httpx.post(link(desk, home)).status_code == 200
        assert in_force(desk) == {ANN: "standing"}
        assert desk.rows() == []


def test_who_resubscribed_and_follows_the_link_again_is_unsubscribed_again(
    desk_of: Callable[..., Desk], home: Settings
) -> None:
    desk = desk_of({}, tokens=Tokens(home))
    httpx.post(link(desk, home))
    with desk.engine.begin() as connection:
        connection.execute(suppressions.update().values(state="lifted"))
    httpx.post(link(desk, home))
    assert in_force(desk) == {ANN: "standing"}


def test_a_link_that_is_not_ours_is_a_page_that_does_not_exist(
    desk_of: Callable[..., Desk], connectors: Connectors, home: Settings, tmp_path: Path
) -> None:
    desk = desk_of(connectors, tokens=Tokens(home))
    other = Settings.from_env({"LEADTRAIL_HOME": str(tmp_path / "other")})
    forged = [Tokens(other).make("ridgeline", "ann@example.com"), "x", "x" * 5000, "%00", "é"]
    for token in forged:
        for method in ("GET", "POST"):
            answer = httpx.request(method, f"{desk.origin}/u/{token}")
            assert answer.status_code in (404, 414), (token, method)
    assert (in_force(desk), desk.rows()) == ({}, [])


@pytest.mark.parametrize("connected", [True, False])
def test_if_it_cannot_be_stored_the_page_says_so(
    desk_of: Callable[..., Desk], connectors: Connectors, home: Settings, connected: bool
) -> None:
    desk = desk_of(connectors if connected else {}, tokens=Tokens(home))

    def refuse(_: Any, __: Any, statement: str, *more: Any) -> None:
        if "INSERT INTO suppressions" in statement:
            raise RuntimeError("no")

    event.listen(desk.engine, "before_cursor_execute", refuse)
    answer = httpx.post(link(desk, home))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert (in_force(desk), desk.rows()) == ({}, [])
    event.remove(desk.engine, "before_cursor_execute", refuse)
    assert httpx.post(link(desk, home)).status_code == 200
    assert in_force(desk) == {ANN: "standing"}
