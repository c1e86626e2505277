"""A text is sent at most once, and what became of it is found out; Twilio has no idempotency key to help."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from connectors.base import ConnectorError, CredentialError, ProviderDown, RateLimited, Secret, TransientError
from connectors.delivery import Receipt, TextMessage, Unconfirmable, Unconfirmed, Undeliverable
from connectors.http import Http
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Fault
from connectors.sandbox.twilio import SandboxTwilio
from connectors.twilio import Twilio, TwilioOptions
from connectors.twilio.deliver import TwilioDeliverer, fingerprint
from tests.conftest import NOW, FakeClock, Served, Stub

PERSON, OTHER, BUSINESS = "+14045550123", "+14045550124", "+14045550199"
SID = "AC" + "1" * 32
CALLBACK = "https://leadtrail.example/webhooks/client-1/twilio/status"
TEXT = TextMessage("k1", PERSON, "Hi Ana, we missed your call.", sender=BUSINESS, status_callback=CALLBACK)
QUICK = 0.5  # seconds our client waits for an answer that will not come


@dataclass
class House:
    served: Served
    sandbox: SandboxTwilio
    http: Http
    clock: FakeClock

    def deliverer(self, **options: Any) -> TwilioDeliverer:
        """As a process that has just started has it."""
        (client,) = self.served.town.clients
        given = {**self.sandbox.connection(client, ""), "base_url": self.served.root("twilio"), **options}
        return Twilio(TwilioOptions(**given), connection="client-1/twilio", http=self.http).deliverer()

    def ledger(self) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.served.world.ledger]

    def strike(self, kind: str, **more: Any) -> None:
        if kind in ("slow", "timeout", "timeout_after_commit"):
            self.http.client.timeout = httpx.Timeout(QUICK)
        self.served.world.faults.append(Fault(kind, "twilio", "Messages", **{"seconds": 2 * QUICK, **more}))  # type: ignore[arg-type]


@pytest.fixture
def house(serve: Callable[..., Served], http: Http, clock: FakeClock) -> House:
    client = Client(
        n=1, client_id="client-1", name="Client 1", trade="plumbing", timezone="America/New_York", city="Atlanta",
        state="GA", zip_codes=("30301",), area_code="404", domain="client1.example", office_phone="+14045550100",
        sms_phone=BUSINESS, lines=(), staff=(), joined_at=NOW - timedelta(days=500),
    )  # fmt: skip
    served = serve(Town(seed=11, start=NOW - timedelta(days=450), end=NOW, clients=[client]), SandboxTwilio)
    served.world._now = clock.now
    sandbox = served.providers["twilio"]
    assert isinstance(sandbox, SandboxTwilio)
    return House(served, sandbox, http, clock)


def as_the_queue_does(house: House, message: TextMessage) -> Receipt:
    """Each try by a new process. Sent again only when Twilio surely does not have it."""
    for _ in range(5):
        try:
            return house.deliverer().deliver(message)
        except Unconfirmed as open_question:
            house.clock.time = max(house.clock.time, open_question.ask_at)
            if found := house.deliverer().find(message, since=open_question.sent_at):
                return found
        except TransientError:
            house.clock.advance(60)
    raise AssertionError("it was never delivered")


# ---- at most once, and found ----


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "fault", ["timeout", "timeout_after_commit", "lost_answer", "500", "500_after_commit", "reset"]
)
def test_a_text_is_sent_exactly_once_whatever_becomes_of_the_answer(house: House, fault: str, times: int) -> None:
    house.strike(fault, times=times)
    receipt = as_the_queue_does(house, TEXT)
    assert [sent["sid"] for sent in house.ledger()] == [receipt.provider_ref]


@pytest.mark.parametrize(
    "fault", ["timeout", "timeout_after_commit", "lost_answer", "500", "500_after_commit", "reset"]
)
def test_a_text_without_an_answer_is_an_open_question_and_is_not_repeated(house: House, fault: str) -> None:
    house.strike(fault)
    with pytest.raises(Unconfirmed) as unknown:
        house.deliverer().deliver(TEXT)
    assert not isinstance(unknown.value, TransientError), "what retries everything transient must not retry this"
    assert (unknown.value.key, unknown.value.sent_at) == ("k1", NOW)
    assert unknown.value.ask_at > NOW
    assert len(house.ledger()) <= 1
    assert house.clock.slept == []


def test_a_text_that_is_taken_late_is_found_and_not_sent_again(house: House) -> None:
    house.strike("slow")
    with pytest.raises(Unconfirmed):
        house.deliverer().deliver(TEXT)
    with pytest.raises(Unconfirmed):
        house.deliverer().find(TEXT, since=NOW)
    time.sleep(3 * QUICK)
    found = house.deliverer().find(TEXT, since=NOW)
    assert found
    assert [sent["sid"] for sent in house.ledger()] == [found.provider_ref]


def test_a_process_killed_between_sending_and_recording_finds_its_text_again(house: House) -> None:
    lost = house.deliverer().deliver(TEXT)
    house.clock.advance(60)
    found = house.deliverer().find(TEXT, since=NOW)
    assert found
    assert (found.provider_ref, found.state) == (lost.provider_ref, "delivered")


def test_not_there_is_said_only_after_a_send_under_way_would_have_settled(house: House) -> None:
    deliverer = house.deliverer()
    with pytest.raises(Unconfirmed) as early:
        deliverer.find(TEXT, since=NOW)
    house.clock.time = early.value.ask_at
    assert deliverer.find(TEXT, since=NOW) is None


def test_find_takes_no_other_message_for_ours(house: House) -> None:
    """Not one before the try, not one to somebody else, not other words, not one that came in."""
    deliverer = house.deliverer()
    deliverer.deliver(TEXT)
    house.clock.advance(600)
    since = house.clock.now()
    house.sandbox.inbound("client-1", PERSON, TEXT.body)
    deliverer.deliver(replace(TEXT, to=OTHER))
    deliverer.deliver(replace(TEXT, body="Something else"))
    house.clock.advance(600)
    assert deliverer.find(TEXT, since=since) is None


def test_find_reads_on_until_it_is_past_the_first_try(house: House) -> None:
    deliverer = house.deliverer()
    first = deliverer.deliver(TEXT)
    for n in range(130):  # more than a page of other texts to the same number
        deliverer.twilio.send(PERSON, f"Number {n}", from_=BUSINESS)
    found = deliverer.find(TEXT, since=NOW)
    assert found
    assert found.provider_ref == first.provider_ref


def test_a_text_through_the_service_is_found_before_it_has_a_sender(house: House) -> None:
    message = replace(TEXT, sender="")
    house.strike("lost_answer")
    with pytest.raises(Unconfirmed):
        house.deliverer().deliver(message)
    found = house.deliverer().find(message, since=NOW)
    assert found
    assert found.facts["status"] == "accepted"


def test_smart_encoding_does_not_hide_our_text() -> None:
    assert fingerprint("We’re “on our way” – 5 minutes… ") == fingerprint('We\'re "on our way" - 5 minutes...')
    assert fingerprint("We're on our way") != fingerprint("We're not on our way")


def resource(sid: str, at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "sid": sid, "account_sid": SID, "status": "sent", "direction": "outbound-api", "from": BUSINESS, "to": PERSON,
        "body": TEXT.body, "date_created": format_datetime(at), "date_sent": None, **more,
    }  # fmt: skip


def test_an_account_that_keeps_no_texts_cannot_tell(stub: Stub, http: Http) -> None:
    """Content retention off: the list shows a message and no words."""
    listed = {"messages": [resource("SM1", NOW, body="")], "next_page_uri": None}
    stub.default = (200, {}, json.dumps(listed).encode())
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    with pytest.raises(Unconfirmable, match="keeps no text"):
        twilio.deliverer().find(TEXT, since=NOW)


@pytest.mark.parametrize(
    "answer", [(200, {"content-length": "900"}, b'{"sid":"SM'), (201, {}, b'{"sid":"SM'), (201, {}, b"<html>")]
)
def test_an_answer_that_cannot_be_read_is_an_open_question(stub: Stub, http: Http, answer: Any) -> None:
    stub.script = [answer]
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    with pytest.raises(Unconfirmed):
        twilio.deliverer().deliver(TEXT)
    assert len(stub.requests) == 1


def test_a_host_that_cannot_be_reached_has_surely_sent_nothing(http: Http) -> None:
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url="http://127.0.0.1:1"), connection="a/twilio", http=http)
    with pytest.raises(ProviderDown) as down:
        twilio.deliverer().deliver(TEXT)
    assert not down.value.maybe_done


def test_too_many_requests_is_waited_for_as_told_and_sent_once(house: House) -> None:
    house.strike("429", retry_after=11)
    house.deliverer().deliver(TEXT)
    assert house.clock.slept == [11.0]
    assert len(house.ledger()) == 1


def test_a_longer_wait_than_a_delivery_may_take_is_handed_back_with_its_time(house: House) -> None:
    house.strike("429", retry_after=900)
    with pytest.raises(RateLimited) as limited:
        house.deliverer().deliver(TEXT)
    assert limited.value.retry_at == NOW + timedelta(seconds=900)
    assert house.ledger() == []


# ---- what is sent ----


@pytest.mark.parametrize("message", [TEXT, replace(TEXT, sender="", status_callback="")])
def test_a_preview_shows_field_by_field_what_is_then_sent(house: House, message: TextMessage) -> None:
    diff = house.deliverer().preview(message)
    assert house.ledger() == []
    house.deliverer().deliver(message)
    sent = {name: value for name, value in house.ledger()[0].items() if name not in ("sid", "client_id")}
    sent.pop("From") if not message.sender else None  # the service chose it
    assert {change.field: change.after for change in diff.changes} == sent


# ---- what is refused ----


@pytest.mark.parametrize(
    ("to", "code", "reason"),
    [
        ("+15005550001", "21211", "bad_address"),
        ("+15005550009", "21614", "bad_address"),
        ("+15005550004", "21610", "opted_out"),
        ("+15005550002", "21612", "sender"),
    ],
)
def test_a_refusal_says_whose_problem_it_is(house: House, to: str, code: str, reason: str) -> None:
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(replace(TEXT, to=to))
    assert (refused.value.code, refused.value.reason) == (code, reason)
    assert house.ledger() == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [(30003, "unreachable"), (30004, "blocked"), (30005, "bad_address"), (30006, "bad_address"), (30007, "filtered"),
     (30008, "unreachable"), (30034, "sender")],
)  # fmt: skip
def test_a_text_that_failed_on_its_way_is_found_as_failed_with_its_reason(house: House, code: int, reason: str) -> None:
    house.sandbox.fate(PERSON, code)
    house.strike("lost_answer")
    with pytest.raises(Unconfirmed):
        house.deliverer().deliver(TEXT)
    house.clock.advance(60)
    with pytest.raises(Undeliverable) as failed:
        house.deliverer().find(TEXT, since=NOW)
    assert (failed.value.code, failed.value.reason) == (str(code), reason)


def test_who_has_said_stop_is_refused_and_nothing_is_sent(house: House) -> None:
    house.sandbox.inbound("client-1", PERSON, "Stop")
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(TEXT)
    assert refused.value.reason == "opted_out"
    assert house.ledger() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"to": "4045550123"}, "bad_address"), ({"to": "+1404\n5550123"}, "bad_address"), ({"body": " "}, "content"),
     ({"body": "x" * 1601}, "content")],
)  # fmt: skip
def test_what_can_only_be_refused_is_not_even_sent(stub: Stub, http: Http, change: Any, reason: str) -> None:
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    with pytest.raises(Undeliverable) as refused:
        twilio.deliverer().deliver(replace(TEXT, **change))
    assert refused.value.reason == reason
    assert stub.requests == []


def test_a_full_queue_at_twilio_is_for_later_and_no_open_question(stub: Stub, http: Http) -> None:
    stub.script = [(400, {}, b'{"code":21611,"message":"queue full","status":400}')]
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    with pytest.raises(RateLimited):
        twilio.deliverer().deliver(TEXT)


def test_a_revoked_token_sends_nothing_and_says_so(house: House) -> None:
    with pytest.raises(CredentialError):
        house.deliverer(auth_token=Secret("wrong")).deliver(TEXT)
    assert house.ledger() == []


def test_no_secret_and_nothing_personal_is_logged_or_printed(house: House, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(TEXT), repr(house.deliverer().preview(TEXT))]
    house.strike("500_after_commit")
    house.strike("429", after=1)
    for message in (TEXT, replace(TEXT, to="+15005550004"), replace(TEXT, to="nonsense")):
        try:
            said.append(repr(as_the_queue_does(house, message)))
        except ConnectorError as error:
            said.append(f"{error} {error!r}")
    token = house.deliverer().twilio.options.auth_token.reveal()
    for hidden in ("Ana", "4045550123", "5005550004", token):
        assert hidden not in caplog.text + "".join(said), hidden
