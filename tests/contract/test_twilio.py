"""Twilio: the connector against the sandbox and scripted answers, and staging over what it lands.

Cases of the provider page that belong to later layers are tested here by the fact this layer must supply for them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import duckdb
import pytest

from connectors.base import (
    ContractChanged,
    CredentialError,
    Page,
    ProviderDown,
    Record,
    Rejected,
    Secret,
    SignatureError,
    WebhookRequest,
)
from connectors.http import Http
from connectors.sandbox.facts import Client, Sms, Town
from connectors.sandbox.provider import Fault
from connectors.sandbox.twilio import SandboxTwilio
from connectors.sandbox.twilio.messages import STUCK
from connectors.twilio import Twilio, TwilioOptions
from connectors.twilio.account import pages
from connectors.twilio.signature import signature
from tests.conftest import NOW, FakeClock, Served, Stub
from tests.warehouse import Landed, staged

PERSON, OTHER, BUSINESS = "+14045550123", "+14045550124", "+14045550199"
DAY = timedelta(days=1)
SID = "AC" + "1" * 32
INBOUND_URL = "https://example.test/webhook/twilio/inbound"
STATUS_URL = "https://example.test/webhook/twilio/status"


def client(n: int = 1, sms_phone: str = BUSINESS) -> Client:
    return Client(
        n=n, client_id=f"client-{n}", name=f"Client {n}", trade="plumbing", timezone="America/New_York",
        city="Atlanta", state="GA", zip_codes=("30301",), area_code="404", domain=f"client{n}.example",
        office_phone="+14045550100", sms_phone=sms_phone, lines=(), staff=(), joined_at=NOW - 500 * DAY,
    )  # fmt: skip


def text(
    n: int, at: datetime, *, direction: str = "outbound-api", body: str = "Hi", of: str = "client-1", **more: Any
) -> Sms:
    walk = (
        [(at, "received")]
        if direction == "inbound"
        else [(at, "queued"), (at, "sent"), (at + timedelta(seconds=4), "delivered")]
    )
    fields = {"phone": PERSON, "statuses": walk, **more}
    return Sms(n, of, "person", "episode", at, fields["statuses"][-1][0], direction=direction, body=body, **fields)


def small_town(*texts: Sms, clients: Sequence[Client] = ()) -> Town:
    town = Town(seed=11, start=NOW - 450 * DAY, end=NOW, clients=list(clients) or [client()])
    town.sms = sorted(texts, key=lambda sms: sms.at)
    return town


@pytest.fixture
def sandbox(serve: Callable[..., Served], http: Http) -> Callable[..., tuple[SandboxTwilio, Twilio]]:
    """`sandbox(text(...), ...)`: the served town and client-1's connector to it, whose waits move the sandbox's clock too."""

    def start(*texts: Sms, clients: Sequence[Client] = (), **options: Any) -> tuple[SandboxTwilio, Twilio]:
        served = serve(small_town(*texts, clients=clients), SandboxTwilio, now=NOW)
        served.world._now = http.clock.now
        provider = served.providers["twilio"]
        assert isinstance(provider, SandboxTwilio)
        return provider, connect(provider, http, served.root("twilio"), **options)

    return start


def connect(provider: SandboxTwilio, http: Http, root: str, client_id: str = "client-1", **options: Any) -> Twilio:
    owner = provider.accounts[client_id].client
    known = {**provider.connection(owner, root), "base_url": root, **options}
    return Twilio(TwilioOptions(**known), connection=f"{client_id}/twilio", http=http)


def pull(
    twilio: Twilio, cursor: dict[str, Any] | None = None, *, now: datetime = NOW
) -> tuple[list[Record], dict[str, Any]]:
    """Everything one run lands, and the cursor it leaves (kept as JSON, as the engine does)."""
    records: list[Record] = []
    for page in twilio.pull("messages", cursor, now=now):
        records += page.records
        cursor = json.loads(json.dumps(page.cursor)) if page.cursor else cursor
    assert cursor is not None
    return records, cursor


def statuses(records: Iterable[Record]) -> dict[str, str]:
    return {record.record_id: json.loads(bytes(record.payload))["status"] for record in records}


def all_sids(provider: SandboxTwilio, client_id: str = "client-1") -> set[str]:
    return {sid for owner, stream, sid, _ in provider.records() if (owner, stream) == (client_id, "messages")}


# ---- reading ----


def test_case_01_pages_follow_the_given_link_word_for_word(stub: Stub, http: Http):
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    link = f"/2010-04-01/Accounts/{SID}/Messages.json?PageToken=PASM2&Page=1&PageSize=2&x=%2B1"
    stub.script = [
        (200, {}, json.dumps({"messages": [{"sid": "SM1"}, {"sid": "SM2"}], "next_page_uri": link}).encode()),
        (200, {}, json.dumps({"messages": [{"sid": "SM3"}], "next_page_uri": None}).encode()),
    ]
    found = [item.sid for page in pages(twilio.api, SID, "Messages", size=2) for _, item in page.items]

    assert found == ["SM1", "SM2", "SM3"]
    assert [path for _, path, _, _ in stub.requests] == [f"/2010-04-01/Accounts/{SID}/Messages.json?PageSize=2", link]


def test_case_02_a_message_arriving_between_pages_shifts_nothing(sandbox, http):
    provider, twilio = sandbox(*(text(n, NOW - timedelta(hours=n)) for n in range(1, 6)))
    before = all_sids(provider)
    seen = []
    for page in pages(twilio.api, twilio.options.account_sid, "Messages", size=2):
        seen += [item.sid for _, item in page.items]
        provider.inbound("client-1", OTHER, "Hello?")

    assert sorted(seen) == sorted(before)
    records, _ = pull(twilio)
    assert {record.record_id for record in records} == all_sids(provider)


@pytest.mark.parametrize(
    "link", ["https://evil.example/2010-04-01/x.json", "//evil.example/x.json", "@evil.example/x.json"]
)
def test_case_03_a_link_to_another_host_is_refused_and_nothing_lands(stub: Stub, http: Http, link: str):
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    stub.default = (200, {}, json.dumps({"messages": [resource("SM1")], "next_page_uri": link}).encode())

    with pytest.raises(ContractChanged, match="another host"):
        list(twilio.pull("messages", None, now=NOW))
    assert len(stub.requests) == 1


def test_case_04_a_queued_message_without_date_sent_is_found(sandbox):
    _provider, twilio = sandbox(text(1, NOW - 2 * DAY))
    sent = twilio.send(PERSON, "On our way", from_=BUSINESS)

    records, cursor = pull(twilio)
    queued = next(record for record in records if record.record_id == sent.sid)
    assert json.loads(bytes(queued.payload))["date_sent"] is None
    assert statuses(records)[sent.sid] == "queued"
    assert cursor["sent_to"] == (NOW - 2 * DAY).isoformat(), "a null date_sent must not move the cursor"
    assert sent.sid in cursor["open"]


def test_a_message_that_failed_before_it_was_sent_is_found_months_later(sandbox):
    old = text(
        1, NOW - 200 * DAY, statuses=[(NOW - 200 * DAY, "queued"), (NOW - 200 * DAY, "failed")], error_code=30001
    )
    _provider, twilio = sandbox(old, text(2, NOW - 100 * DAY), text(3, NOW - DAY))

    records, _ = pull(twilio)
    assert sorted(statuses(records).values()) == ["delivered", "delivered", "failed"]
    assert len(records) == 3, "each once"


def test_case_05_a_receipt_20_hours_later_is_seen_by_the_next_run(sandbox, clock: FakeClock):
    provider, twilio = sandbox()
    provider.fate(PERSON, STUCK)
    sent = twilio.send(PERSON, "Hi", from_=BUSINESS)
    clock.advance(10)
    records, cursor = pull(twilio, now=clock.now())
    assert statuses(records) == {sent.sid: "sent"}

    clock.advance(15 * 3600)
    provider.inbound("client-1", OTHER, "Hello")  # newer than the message in question, and on another day
    _, cursor = pull(twilio, cursor, now=clock.now())
    clock.advance(5 * 3600)
    provider.report(sent.sid, "delivered")
    records, cursor = pull(twilio, cursor, now=clock.now())
    assert statuses(records)[sent.sid] == "delivered"
    assert cursor["open"] == {}


def test_a_receipt_after_the_look_back_is_fetched_by_id_and_asked_once_a_day(sandbox, clock: FakeClock):
    provider, twilio = sandbox()
    provider.fate(PERSON, STUCK)
    stuck = twilio.send(PERSON, "Hi", from_=BUSINESS)
    clock.advance(60)
    _, cursor = pull(twilio, now=clock.now())
    for _ in range(3):  # a busy account: newer messages pull the look-back away from the stuck one
        clock.advance(86400 + 3600)
        provider.inbound("client-1", OTHER, "Hello")
        _, cursor = pull(twilio, cursor, now=clock.now())
    clock.advance(5 * 3600)
    provider.inbound("client-1", OTHER, "Hello")
    _, cursor = pull(twilio, cursor, now=clock.now())
    provider.report(stuck.sid, "delivered")

    clock.advance(9 * 3600)
    quiet, cursor = pull(twilio, cursor, now=clock.now())
    assert stuck.sid not in statuses(quiet), "out of the look-back, and rechecked less than a day ago"
    clock.advance(10 * 3600 + 60)
    records, cursor = pull(twilio, cursor, now=clock.now())
    assert statuses(records)[stuck.sid] == "delivered"
    assert stuck.sid not in cursor["open"]


def test_a_message_stuck_for_four_days_is_given_up(sandbox, clock: FakeClock):
    provider, twilio = sandbox()
    provider.fate(PERSON, STUCK)
    stuck = twilio.send(PERSON, "Hi", from_=BUSINESS)
    clock.advance(60)
    cursor: dict[str, Any] | None = None
    for _ in range(6):
        provider.inbound("client-1", OTHER, "Hello")
        _, cursor = pull(twilio, cursor, now=clock.now())
        clock.advance(86400)

    assert stuck.sid not in cursor["open"]
    calls = twilio.api.calls
    records, cursor = pull(twilio, cursor, now=clock.now())
    assert stuck.sid not in statuses(records)
    assert stuck.sid not in str(cursor)
    assert twilio.api.calls - calls < 10


def test_a_deleted_message_that_is_asked_for_comes_as_an_absence(sandbox):
    provider, twilio = sandbox(text(1, NOW - DAY))
    sid = next(iter(all_sids(provider)))
    twilio.api.request("DELETE", f"/2010-04-01/Accounts/{twilio.options.account_sid}/Messages/{sid}.json")

    (page,) = twilio.refetch("messages", [sid], now=NOW)
    assert [(record.record_id, record.absent) for record in page.records] == [(sid, True)]


def test_a_whole_history_is_read_once_and_a_second_run_rereads_only_the_look_back(sandbox):
    texts = [text(n, NOW - timedelta(hours=7 * n, minutes=3), phone=f"+1404555{n:04d}") for n in range(1, 1200)]
    provider, twilio = sandbox(*texts)
    records, cursor = pull(twilio)

    assert len(records) == len({record.record_id for record in records})
    assert {record.record_id for record in records} == all_sids(provider)
    calls = twilio.api.calls
    again, _ = pull(twilio, cursor)
    assert {record.occurred_at for record in again} <= {sms.at for sms in texts if sms.at >= NOW - 4 * DAY}
    assert twilio.api.calls - calls <= 5


@pytest.mark.parametrize("kinds", [["shifted_pages"], ["duplicate_pages"], ["duplicate_pages", "shifted_pages"]])
def test_pages_that_overlap_lose_nothing(sandbox, kinds: list[str]):
    provider, twilio = sandbox(*(text(n, NOW - timedelta(seconds=8 * n)) for n in range(1, 3500)))
    # the list without a filter has three pages where a fault can strike; then comes the list by day
    provider.world.faults.extend(Fault(kind, after=3 + n, times=1) for n, kind in enumerate(kinds))

    records, _ = pull(twilio)
    assert {record.record_id for record in records} == all_sids(provider)


def test_a_run_that_breaks_in_a_slice_goes_on_from_the_slice_before(sandbox):
    # one message, then 1,500 spread over seven days that fall into one slice: two pages, and the second fails
    first = NOW.replace(hour=0) - 60 * DAY
    burst = [text(n, first + 6.5 * DAY + n * timedelta(minutes=6)) for n in range(1, 1501)]
    provider, twilio = sandbox(text(0, first), *burst)
    provider.world.faults.append(Fault("500", path="Messages", after=6, times=5))
    landed: set[str] = set()
    cursor = None
    with contextlib.suppress(ProviderDown):
        for page in twilio.pull("messages", None, now=NOW):
            landed |= {record.record_id for record in page.records}
            cursor = page.cursor or cursor
    assert len(landed) == 1001
    assert cursor is not None
    assert cursor["sent_to"] == first.isoformat(), "the newest page of a slice says nothing of the older ones"

    rest, _ = pull(twilio, cursor)
    assert landed | {record.record_id for record in rest} == all_sids(provider)


def test_truncated_json_is_asked_again(sandbox):
    provider, twilio = sandbox(text(1, NOW - DAY))
    provider.world.faults.append(Fault("truncated", times=2))

    records, _ = pull(twilio)
    assert len(records) == 1


def test_a_list_without_end_is_stopped(stub: Stub, http: Http):
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    link = f"/2010-04-01/Accounts/{SID}/Messages.json?Page=1&PageToken=PA1"
    stub.default = (200, {}, json.dumps({"messages": [resource("SM1")], "next_page_uri": link}).encode())

    with pytest.raises(ContractChanged, match="end"):
        list(twilio.pull("messages", None, now=NOW))
    assert len(stub.requests) == 2


def test_an_empty_account_costs_one_request_a_run(sandbox):
    _provider, twilio = sandbox()
    records, cursor = pull(twilio)
    pull(twilio, cursor)

    assert records == []
    assert twilio.api.calls == 2


def test_payloads_are_landed_byte_for_byte(stub: Stub, http: Http):
    odd = '{ "sid":"SM1",  "status":"sent","price":-0.00790000, "body":"caf\\u00e9", "new_field":{"a":[1, 2]} }'
    stub.default = (200, {}, f'{{"messages":[{odd}],"next_page_uri":null}}'.encode())
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)

    records, _ = pull(twilio)
    assert [bytes(record.payload) for record in records] == [odd.encode()]


@pytest.mark.parametrize(
    "broken", ['{"sid":5,"status":"sent"}', '"just text"', '{"sid":"SM1","date_created":7,"to":[]}']
)
def test_a_record_we_cannot_read_is_landed_all_the_same(stub: Stub, http: Http, broken: str):
    stub.default = (200, {}, f'{{"messages":[{broken}],"next_page_uri":null}}'.encode())
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)

    records, _ = pull(twilio)
    assert [bytes(record.payload).decode() for record in records] == [broken]
    assert records[0].record_id in ("SM1", "sha256:" + hashlib.sha256(broken.encode()).hexdigest()[:32])


def test_case_27_a_window_older_than_399_days_is_clamped_with_a_warning(sandbox, caplog):
    _provider, twilio = sandbox(text(1, NOW - 420 * DAY), text(2, NOW - 398 * DAY), text(3, NOW - DAY))
    stale = {"sent_to": (NOW - 430 * DAY).isoformat(), "rechecked_at": None, "open": {}}

    with caplog.at_level(logging.WARNING):
        records, _ = pull(twilio, stale)
    assert {record.occurred_at for record in records} == {NOW - 398 * DAY, NOW - DAY}
    assert "no longer kept" in caplog.text
    with pytest.raises(Rejected, match="400"):  # the sandbox does refuse what is older
        twilio.api.get(
            f"/2010-04-01/Accounts/{twilio.options.account_sid}/Messages.json", dict, params={"DateSent>": "2024-12-01"}
        )


def test_case_28_a_reply_given_in_the_webhook_answer_is_listed_once_though_no_call_made_it(sandbox):
    provider, twilio = sandbox(text(1, NOW - DAY, direction="inbound"), text(2, NOW - DAY, direction="outbound-reply"))

    records, _ = pull(twilio)
    directions = [json.loads(bytes(record.payload))["direction"] for record in records]
    assert sorted(directions) == ["inbound", "outbound-reply"]
    assert provider.world.ledger == []


def test_phone_numbers_are_pulled_and_a_released_one_comes_as_an_absence(sandbox):
    _provider, twilio = sandbox()
    (page,) = twilio.pull("phone_numbers", {"sids": ["PNgone"]}, now=NOW)

    current, gone = page.records
    assert json.loads(bytes(current.payload))["phone_number"] == BUSINESS
    assert (gone.record_id, gone.absent) == ("PNgone", True)
    assert page.cursor == {"sids": [current.record_id]}


# ---- whose messages ----


def test_messages_of_other_numbers_in_a_shared_account_are_left_out_and_counted(stub: Stub, http: Http, caplog):
    theirs = "+14045550177"
    listed = [
        resource("SM1", **{"from": BUSINESS, "to": PERSON}),
        resource("SM2", direction="inbound", **{"from": PERSON, "to": BUSINESS}),
        resource("SM3", **{"from": theirs, "to": PERSON}),
        resource("SM4", direction="inbound", **{"from": BUSINESS, "to": theirs}),
        resource("SM5", **{"from": None, "to": PERSON, "messaging_service_sid": "MG1", "date_sent": None}),
        resource("SM6", **{"from": None, "to": PERSON, "messaging_service_sid": "MG2", "date_sent": None}),
    ]

    def script(method: str, path: str, *_: Any) -> tuple[int, dict[str, str], bytes]:
        if "IncomingPhoneNumbers" in path:
            numbers = [{"sid": "PN1", "phone_number": BUSINESS}, {"sid": "PN2", "phone_number": theirs}]
            return 200, {}, json.dumps({"incoming_phone_numbers": numbers}).encode()
        return 200, {}, json.dumps({"messages": listed, "next_page_uri": None}).encode()

    stub.script = script
    options = TwilioOptions(
        SID, Secret("t"), sms_numbers=(BUSINESS,), messaging_service_sid="MG1", base_url=stub.origin
    )
    twilio = Twilio(options, connection="a/twilio", http=http)
    with caplog.at_level(logging.INFO):
        records, _ = pull(twilio)

    assert {record.record_id for record in records} == {"SM1", "SM2", "SM5"}
    assert "left out" in caplog.text
    assert theirs not in caplog.text
    assert twilio.check().details["recent_messages_of_other_numbers"] == 3
    (numbers,) = twilio.pull("phone_numbers", None, now=NOW)
    assert [record.record_id for record in numbers.records] == ["PN1"]


def test_records_of_another_account_are_refused_and_nothing_lands(stub: Stub, http: Http):
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)
    foreign = resource("SM1", account_sid="AC" + "9" * 32)
    stub.default = (200, {}, json.dumps({"messages": [resource("SM0"), foreign], "next_page_uri": None}).encode())

    landed: list[Page] = []
    with pytest.raises(ContractChanged, match="another account"):
        landed.extend(twilio.pull("messages", None, now=NOW))
    assert landed == []


# ---- credentials and health ----


def test_case_25_a_refused_credential_is_not_retried_and_webhooks_still_verify(sandbox, clock: FakeClock):
    provider, twilio = sandbox(api_key_sid="SK" + "0" * 32, api_key_secret=Secret("wrong"))

    with pytest.raises(CredentialError) as refused:
        pull(twilio)
    assert twilio.api.calls == 1
    assert clock.slept == []
    assert "20003" in str(refused.value)
    health = twilio.check()
    assert not health.ok
    assert health.fix
    provider.inbound("client-1", PERSON, "Hello")
    (push,) = provider.pushes()
    assert twilio.accept(delivered(push)).answer.status == 200


def test_an_api_key_reads_what_the_account_token_reads(sandbox):
    provider, twilio = sandbox(text(1, NOW - DAY))
    account = provider.accounts["client-1"]
    with_key = connect(
        provider,
        twilio.http,
        twilio.options.base_url,
        api_key_sid=account.key_sid,
        api_key_secret=Secret(account.key_secret),
    )
    assert statuses(pull(with_key)[0]) == statuses(pull(twilio)[0])


def test_check_says_when_a_configured_number_is_not_in_the_account(sandbox):
    provider, twilio = sandbox()
    assert twilio.check().ok
    elsewhere = connect(provider, twilio.http, twilio.options.base_url, sms_numbers=(BUSINESS, "+14045550000", "24273"))

    health = elsewhere.check()
    assert not health.ok
    assert "1 of 3" in health.message


def test_another_clients_token_opens_nothing(sandbox):
    provider, twilio = sandbox(clients=[client(1), client(2, "+14045550198")])
    other = provider.accounts["client-2"]
    mixed = connect(provider, twilio.http, twilio.options.base_url, auth_token=Secret(other.auth_token))

    with pytest.raises(CredentialError):
        pull(mixed)
    with pytest.raises(Rejected, match="20404"):
        twilio.api.get(f"/2010-04-01/Accounts/{other.sid}/Messages.json", dict)


# ---- sending (what becomes of a message without an answer is in test_delivery_twilio.py) ----


@pytest.mark.parametrize(
    "answer", ["reset", (500, {}, b""), (200, {"content-length": "900"}, b'{"sid":"SM'), (201, {}, b'{"sid":"SM')]
)
def test_a_send_whose_outcome_is_unknown_is_made_once(stub: Stub, http: Http, answer: Any):
    stub.script = [answer]
    twilio = Twilio(TwilioOptions(SID, Secret("t"), base_url=stub.origin), connection="a/twilio", http=http)

    with pytest.raises(ProviderDown):
        twilio.send(PERSON, "Hi", from_=BUSINESS)
    assert len(stub.requests) == 1


def test_case_10_too_many_requests_twice_then_one_message_and_growing_waits(sandbox, clock: FakeClock):
    provider, twilio = sandbox()
    provider.world.faults.append(Fault("429", times=2))

    sent = twilio.send(PERSON, "Hi", from_=BUSINESS)
    assert [entry["body"]["sid"] for entry in provider.world.ledger] == [sent.sid]
    assert len(clock.slept) == 2
    assert clock.slept[0] < clock.slept[1]


def test_a_send_through_the_service_waits_for_its_sender(sandbox, clock: FakeClock):
    provider, twilio = sandbox()
    sent = twilio.send(
        PERSON, "Hi", from_="", status_callback="https://leadtrail.example/webhooks/client-1/twilio/status"
    )

    assert sent.status == "accepted"
    assert [json.loads(bytes(record.payload))["from"] for record in pull(twilio)[0]] == [None]
    clock.advance(10)
    assert statuses(pull(twilio, now=clock.now())[0]) == {sent.sid: "delivered"}
    posted = {delivered(push).body for push in provider.pushes()}
    assert len(posted) == 4, "accepted, sending, sent, delivered"


def test_a_refused_send_names_the_code_and_no_person(sandbox, caplog):
    caplog.set_level(logging.DEBUG)
    provider, twilio = sandbox()
    for to, code in (("+15005550001", "21211"), ("+15005550009", "21614"), ("+15005550004", "21610")):
        with pytest.raises(Rejected) as refused:
            twilio.send(to, "Private words", from_=BUSINESS)
        assert refused.value.code == code
        assert to[1:] not in str(refused.value)
    assert provider.world.ledger == []
    for hidden in ("5005550001", "Private words", twilio.options.auth_token.reveal()):
        assert hidden not in caplog.text


# ---- opt-out at the provider ----


def test_case_14_a_stop_blocks_the_person_for_this_client_and_no_other(sandbox):
    provider, twilio = sandbox(clients=[client(1), client(2, "+14045550198")])
    other = connect(provider, twilio.http, twilio.options.base_url, "client-2")
    provider.inbound("client-1", PERSON, " stop ")

    with pytest.raises(Rejected) as refused:
        twilio.send(PERSON, "Hi", from_=BUSINESS)
    assert refused.value.code == "21610"
    assert other.send(PERSON, "Hi", from_="+14045550198").status == "queued"


def test_case_15_start_lifts_the_providers_block(sandbox):
    provider, twilio = sandbox(
        text(1, NOW - 3 * DAY, direction="inbound", body="Stop", opt_out_type="STOP"),
        text(2, NOW - 2 * DAY, direction="inbound", body="Start it tomorrow"),
    )
    with pytest.raises(Rejected):
        twilio.send(PERSON, "Hi", from_=BUSINESS)
    provider.inbound("client-1", PERSON, "START")

    assert twilio.send(PERSON, "Hi", from_=BUSINESS).status == "queued"


# ---- webhooks ----

P = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
STOP_FORM = [
    ("MessageSid", "SM00000000000000000000000000000001"), ("AccountSid", "AC00000000000000000000000000000001"),
    ("From", "+14045550123"), ("To", "+14045550199"), ("Body", "STOP"), ("NumMedia", "0"), ("OptOutType", "STOP"),
]  # fmt: skip
STATUS_FORM = [
    ("AccountSid", "AC00000000000000000000000000000001"), ("From", "+14045550199"), ("To", "+14045550123"),
    ("MessageSid", "SM00000000000000000000000000000001"), ("SmsSid", "SM00000000000000000000000000000001"),
    ("MessageStatus", "undelivered"), ("SmsStatus", "undelivered"), ("ErrorCode", "30034"), ("ApiVersion", "2010-04-01"),
]  # fmt: skip
EMPTY_BODY = [(name, "" if name == "Body" else value) for name, value in STOP_FORM]
VECTORS = [
    ("https://mycompany.com/myapp.php?foo=1&bar=2", P, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ("https://mycompany.com:443/myapp.php?foo=1&bar=2", P, "kvajT1Ptam85bY51eRf/AJRuM3w="),
    ("http://mycompany.com:80/myapp.php?foo=1&bar=2", P, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    ("http://mycompany.com:1234/myapp.php?foo=1&bar=2", P, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    (
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")],
        "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
    ),
    (INBOUND_URL, STOP_FORM, "B/2c3zg4+5wRu2TIJMUISyW/hIE="),
    (INBOUND_URL, EMPTY_BODY, "Xi8M1qnieXdQF+/q2P6K0QniZwA="),
    (STATUS_URL, STATUS_FORM, "D/Ffypkq61caoZT4ysdtvMJjnRc="),
]
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON_URL = VECTORS[0][0] + "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
JSON_BODY, JSON_SIGNATURE = b'{"property": "value", "boolean": true}', "a9nBmqA0ju/hNViExpshrM61xv4="


def request(url: str, form: Sequence[tuple[str, str]], sign: str, *, at: datetime = NOW, **more: Any) -> WebhookRequest:
    return WebhookRequest(url, {**FORM, "x-twilio-signature": sign}, urlencode(form).encode(), at, **more)


def delivered(push: Any, url: str = "https://leadtrail.example/webhooks/client-1/twilio") -> WebhookRequest:
    """A push of the sandbox as the intake would get it."""
    return WebhookRequest(url + push.tail, push.sign(url + push.tail), push.body, push.at, tail=push.tail)


@pytest.fixture
def receiver(http: Http) -> Twilio:
    """A connector for webhooks alone: nothing listens at its base URL."""
    options = TwilioOptions("AC" + "0" * 31 + "1", Secret("12345"), base_url="http://127.0.0.1:9")
    return Twilio(options, connection="client-1/twilio", http=http)


@pytest.mark.parametrize(("url", "form", "sign"), VECTORS)
def test_case_16_each_vector_is_accepted_and_none_with_a_changed_parameter(receiver, url, form, sign):
    receiver.accept(request(url, form, sign))

    changed = [
        [*form[:-1], (form[-1][0], form[-1][1] + "x")],
        form[1:],
        [*form, ("Extra", "1")],
        [*form, ("Extra", "")],
    ]
    for other in changed:
        with pytest.raises(SignatureError):
            receiver.accept(request(url, other, sign))
    with pytest.raises(SignatureError):
        receiver.accept(request(url + "&x=1" if "?" in url else url + "?x=1", form, sign))
    with pytest.raises(SignatureError):
        receiver.accept(WebhookRequest(url, FORM, urlencode(form).encode(), NOW))
    wrong_token = Twilio(TwilioOptions(SID, Secret("12346")), connection="client-1/twilio", http=receiver.http)
    with pytest.raises(SignatureError):
        wrong_token.accept(request(url, form, sign))


def test_the_default_port_may_be_signed_or_not(receiver):
    with_port, without = VECTORS[1], VECTORS[0]

    receiver.accept(request(without[0], P, with_port[2]))
    receiver.accept(request(with_port[0], P, without[2]))
    with pytest.raises(SignatureError):
        receiver.accept(request("https://mycompany.com:8443/myapp.php?foo=1&bar=2", P, with_port[2]))


def test_case_17_an_empty_value_in_the_form_is_signed_and_kept(receiver):
    received = receiver.receive(request(INBOUND_URL, EMPTY_BODY, VECTORS[6][2]))

    receiver.accept(request(INBOUND_URL, EMPTY_BODY, VECTORS[6][2]))
    assert json.loads(received.records[0][1].payload)["Body"] == ""


def test_case_18_the_public_url_counts_and_not_the_one_behind_the_proxy(receiver):
    receiver.accept(request(INBOUND_URL, STOP_FORM, VECTORS[5][2]))
    with pytest.raises(SignatureError, match="public URL"):
        receiver.accept(request("http://10.0.0.7:8080/webhook/twilio/inbound", STOP_FORM, VECTORS[5][2]))


def test_case_19_a_json_body_is_bound_by_its_hash(receiver):
    headers = {"content-type": "application/json", "x-twilio-signature": JSON_SIGNATURE}
    receiver.accept(WebhookRequest(JSON_URL, headers, JSON_BODY, NOW))

    with pytest.raises(SignatureError, match="bodySHA256"):
        receiver.accept(WebhookRequest(JSON_URL, headers, JSON_BODY.replace(b"true", b"false"), NOW))
    url = "https://mycompany.com/x"
    unbound = {"content-type": "application/json", "x-twilio-signature": signature(url, [], "12345")}
    with pytest.raises(SignatureError, match="bodySHA256"):
        receiver.accept(WebhookRequest(url, unbound, JSON_BODY, NOW))


def test_case_20_a_fragment_in_the_url_is_not_signed(receiver):
    receiver.accept(request(INBOUND_URL + "#rc=2&rp=all", STOP_FORM, VECTORS[5][2]))


def test_case_21_an_inbound_text_is_answered_with_an_empty_response_at_once(receiver):
    accepted = receiver.accept(request(INBOUND_URL, STOP_FORM, VECTORS[5][2]))

    assert accepted.answer.status == 200
    assert accepted.answer.content_type == "text/xml"
    assert accepted.answer.body.endswith(b"<Response/>")
    assert receiver.api.calls == 0, "nothing but the request itself is needed, so nothing can make it wait"
    assert receiver.accept(request(STATUS_URL, STATUS_FORM, VECTORS[7][2])).answer.status == 204


def test_case_07_and_22_a_repeated_webhook_has_the_same_key_and_record(receiver):
    for url, form, sign in (VECTORS[5], VECTORS[7]):
        first, again = request(url, form, sign), request(url, form, sign, at=NOW + DAY)
        assert receiver.accept(first).dedupe_key == receiver.accept(again).dedupe_key
        (one,), (two,) = receiver.receive(first).records, receiver.receive(again).records
        assert one[1].record_id == two[1].record_id
        assert one[1].payload == two[1].payload
    stop, status = (receiver.accept(request(*VECTORS[i])).dedupe_key for i in (5, 7))
    assert stop != status


def test_an_event_is_landed_with_every_field_as_sent_and_an_answer_asks_for_its_message(receiver):
    form = [*STOP_FORM, ("NewField", "x"), ("MediaUrl", "a"), ("MediaUrl", "b")]
    received = receiver.receive(request(INBOUND_URL, form, ""))
    ((stream, record),) = received.records

    assert (stream, record.record_id) == ("message_events", STOP_FORM[0][1] + ":received")
    assert json.loads(record.payload) == {**dict(STOP_FORM), "NewField": "x", "MediaUrl": ["a", "b"]}
    assert received.refetch == [("messages", STOP_FORM[0][1])]
    status = receiver.receive(request(STATUS_URL, STATUS_FORM, ""))
    assert status.records[0][1].record_id == STATUS_FORM[3][1] + ":undelivered"
    assert not status.refetch


def test_a_webhook_by_get_is_read_from_its_query(receiver):
    url = f"{INBOUND_URL}?{urlencode(STOP_FORM)}"
    got = WebhookRequest(url, {"x-twilio-signature": signature(url, [], "12345")}, b"", NOW, method="GET")

    assert receiver.accept(got).dedupe_key == STOP_FORM[0][1] + ":received"
    assert json.loads(receiver.receive(got).records[0][1].payload) == dict(STOP_FORM)


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe\x00", b"Body=hello", b"{not json", b"MessageSid=" + b"x" * 9, b"&&==&="]
)
def test_a_webhook_that_makes_no_sense_is_kept_aside(receiver, body):
    received = receiver.receive(WebhookRequest(INBOUND_URL, FORM, body, NOW))

    assert not received.records
    assert len(received.quarantine) == 1


def test_a_webhook_of_another_account_or_number_is_kept_aside(receiver, http):
    foreign = [("AccountSid", "AC" + "9" * 32) if name == "AccountSid" else (name, value) for name, value in STOP_FORM]
    assert "another account" in receiver.receive(request(INBOUND_URL, foreign, "")).quarantine[0][0]

    options = TwilioOptions("AC" + "0" * 31 + "1", Secret("12345"), sms_numbers=("+14045550177",))
    shared = Twilio(options, connection="client-2/twilio", http=http)
    for form in (STOP_FORM, STATUS_FORM):
        received = shared.receive(request(INBOUND_URL, form, ""))
        assert not received.records
        assert not received.refetch
        assert "not this client's" in received.quarantine[0][0]


def test_every_push_of_the_town_is_accepted_and_tells_each_event_once(sandbox):
    texts = [
        text(n, NOW - timedelta(hours=n), direction="inbound" if n % 3 == 0 else "outbound-api") for n in range(1, 80)
    ]
    provider, twilio = sandbox(*texts)
    keys = []
    landed = set()
    for push in provider.pushes():
        asked = delivered(push)
        keys.append(twilio.accept(asked).dedupe_key)
        landed |= {record.record_id for _, record in twilio.receive(asked).records}

    assert landed == {sid for _, stream, sid, _ in provider.records() if stream == "message_events"}
    assert len(keys) > len(set(keys)), "some callbacks come twice"
    assert set(keys) == landed


# ---- the sandbox as others use it ----


def test_the_sandbox_keeps_its_keys_over_a_restart(serve, http):
    first = serve(small_town(text(1, NOW - DAY)), SandboxTwilio, now=NOW)
    again = serve(small_town(text(1, NOW - DAY)), SandboxTwilio, now=NOW)
    twilio = connect(first.providers["twilio"], http, again.root("twilio"))

    assert statuses(pull(twilio)[0]) == dict.fromkeys(all_sids(first.providers["twilio"]), "delivered")


def test_a_list_has_one_key_beside_the_paging_keys(sandbox):
    _provider, twilio = sandbox(*(text(n, NOW - timedelta(hours=n)) for n in range(1, 4)))
    paging = {
        "end", "first_page_uri", "next_page_uri", "page", "page_size", "previous_page_uri", "start", "uri",
    }  # fmt: skip
    account = f"/2010-04-01/Accounts/{twilio.options.account_sid}"
    for path, name in (
        (f"{account}/Messages.json", "messages"),
        (f"{account}/IncomingPhoneNumbers.json", "incoming_phone_numbers"),
        ("/2010-04-01/Accounts.json", "accounts"),
    ):
        answer = twilio.api.get(path, dict, params={"PageSize": 2})
        assert set(answer) - paging == {name}


def test_date_filters_work_encoded_and_bare_and_by_day(sandbox):
    _provider, twilio = sandbox(*(text(n, NOW - n * DAY) for n in range(1, 6)))
    path = f"/2010-04-01/Accounts/{twilio.options.account_sid}/Messages.json"

    def count(query: str) -> int:
        return len(twilio.api.get(f"{path}?{query}", dict)["messages"])

    assert count("DateSent%3E=2026-02-28") == 2
    assert count("DateSent>=2026-02-28T00:00:00Z") == 2
    assert count("DateSent%3C=2026-02-27T17:00:00Z") == 3
    assert count("DateSent=2026-02-27") == 1
    assert count("To=%2B14045550123&From=%2B14045550199") == 5
    assert count("To=%2B14045550124") == 0


def test_case_23_a_media_file_lies_on_another_host_where_the_key_does_not_go(sandbox):
    provider, twilio = sandbox()
    message = provider.inbound("client-1", PERSON, "", media=2)
    root = f"/2010-04-01/Accounts/{twilio.options.account_sid}/Messages/{message.sid}/Media"

    assert len(twilio.api.get(f"{root}.json", dict)["media_list"]) == 2
    with pytest.raises(Rejected, match="307"):
        twilio.api.request("GET", f"{root}/{message.media[0]}")


# ---- staging ----


def resource(sid: str, **fields: Any) -> dict[str, Any]:
    """A message as the API shows it (provider page, 3.1)."""
    when = format_datetime(NOW)
    return {
        "account_sid": SID, "api_version": "2010-04-01", "body": "Hi", "date_created": when, "date_sent": when,
        "date_updated": when, "direction": "outbound-api", "error_code": None, "error_message": None, "from": BUSINESS,
        "messaging_service_sid": None, "num_media": "0", "num_segments": "1", "price": None, "price_unit": "USD",
        "sid": sid, "status": "delivered", "to": PERSON, **fields,
    }  # fmt: skip


def listed(sid: str, *, client_id: str = "client-1", later: int = 0, **fields: Any) -> Landed:
    """A message as pulled, in a run `later` minutes after NOW; a later run lands in a later file."""
    at = NOW + timedelta(minutes=later)
    shown = resource(sid, **{"date_updated": format_datetime(at), **fields})
    record = Record(sid, json.dumps(shown).encode(), occurred_at=NOW, updated_at=at)
    return Landed(client_id, "twilio", "messages", record, "pull", at, segment=later)


def pushed(sid: str, status: str, *, client_id: str = "client-1", later: int = 0, **fields: str) -> Landed:
    """A webhook as the connector lands it."""
    at = NOW + timedelta(minutes=later)
    inbound = status == "received"
    form = {"AccountSid": SID, "MessageSid": sid, "SmsStatus": status, "From": BUSINESS, "To": PERSON}
    form |= {"From": PERSON, "To": BUSINESS} if inbound else {"MessageStatus": status}
    asked = WebhookRequest(INBOUND_URL, FORM, urlencode({**form, **fields}).encode(), at)
    http = Http()
    (((stream, record)),) = Twilio(TwilioOptions(SID, Secret("t")), connection="x", http=http).receive(asked).records
    http.close()
    return Landed(client_id, "twilio", stream, record, "webhook", at, segment=later)


STOP_TEXTS = ["STOP", " stop ", "\tStop\n", "REVOKE", "OptOut", "unsubscribe", "CANCEL", "END", "quit", "STOPALL"]
OTHER_TEXTS = ["OPT OUT", "please stop texting me", "Stop please", "Don't stop", "Yes please", ""]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    inbound = {"direction": "inbound", "status": "received", "from": PERSON, "to": BUSINESS}
    landed = [
        # case 6: out of order, the list last saw it sent
        listed("SM06", status="sent"),
        pushed("SM06", "delivered", later=1),
        pushed("SM06", "sent", later=2),
        # case 7: the same callback twice
        listed("SM07", status="sent"),
        pushed("SM07", "delivered", later=1),
        pushed("SM07", "delivered", later=3),
        # case 8: the callback came before the message was known; another is still unknown
        pushed("SM08", "delivered"),
        listed("SM08", status="queued", date_sent=None, later=2),
        pushed("SM08b", "sent"),
        # cases 11, 12: failures by callback and by list
        listed("SM11", status="sent"),
        pushed("SM11", "undelivered", later=1, ErrorCode="30034"),
        listed("SM12", status="undelivered", error_code=30006),
        # a callback that is behind the list does not bring its error along
        listed("SM12b", status="read"),
        pushed("SM12b", "failed", later=1, ErrorCode="30008"),
        # cases 13-15: words
        *(listed(f"SMstop{i}", body=body, **inbound) for i, body in enumerate(STOP_TEXTS)),
        *(listed(f"SMtext{i}", body=body, **inbound) for i, body in enumerate(OTHER_TEXTS)),
        listed("SM13out", body="STOP"),
        pushed("SM13hook", "received", Body="Please leave me alone", OptOutType="STOP"),
        listed("SM14y", client_id="client-2", body="Thanks", **inbound),
        listed("SM15", body="START", **inbound),
        # case 22: an inbound text that only its webhook told of, twice; and one that both told of
        pushed("SM22", "received", Body="Hello", NumMedia="0"),
        pushed("SM22", "received", Body="Hello", NumMedia="0", later=4),
        pushed("SM22b", "received", Body="I am here", OptOutType="HELP"),
        listed("SM22b", body="I am here", later=2, **inbound),
        # case 23: pictures
        pushed("SM23", "received", Body="", NumMedia="2", MediaUrl0="https://api.twilio.com/ME0", MediaUrl1="https://api.twilio.com/ME1"),
        listed("MM23", num_media="2", body="", **inbound),
        # case 24: mail dates
        listed("SM24", date_created="Fri, 24 May 2019 17:44:46 +0000", date_sent="Fri, 24 May 2019 19:44:50 +0200"),
        # case 26: redacted after it was known
        listed("SM26", body="My address is 12 Elm St", **inbound),
        listed("SM26", body="", later=5, **inbound),
        # case 28: an automatic reply
        listed("SM28", direction="outbound-reply"),
        listed("SM28", direction="outbound-reply", later=1),
        # price, unreadable values, deletion
        listed("SMprice", price="-0.00790", num_segments="3"),
        # every order in which the list and the callbacks may tell of one message, each as a client of its own
        *(
            listed("SM10", client_id=f"order-{client}", status="queued", later=place)
            if what == "listed"
            else pushed("SM10", what, client_id=f"order-{client}", later=place)
            for client, order in enumerate(permutations(("listed", "queued", "sent", "delivered")))
            for place, what in enumerate(order)
        ),
        listed("SMbad", num_segments="many", price="free"),
        listed("SMbroken", date_created="yesterday"),
        listed("SMgone"),
        Landed("client-1", "twilio", "messages", Record("SMgone", b'{"_observed":"absent"}', updated_at=NOW + DAY, absent=True),
               "observed", NOW + DAY, segment=9),
        Landed("client-1", "twilio", "phone_numbers", Record("PN1", json.dumps({"sid": "PN1", "phone_number": BUSINESS,
               "capabilities": {"sms": True, "voice": False}}).encode())),
    ]  # fmt: skip
    home: Path = tmp_path_factory.mktemp("twilio")
    connection = staged(home, landed, "staging.twilio")
    yield connection
    connection.close()


@pytest.fixture
def message(warehouse: duckdb.DuckDBPyConnection) -> Callable[[str], dict[str, Any]]:
    def one(sid: str) -> dict[str, Any]:
        found = warehouse.execute("select * from staging.stg_twilio__messages where message_sid = ?", [sid])
        names = [column[0] for column in found.description]
        (row,) = found.fetchall()  # exactly one row for each message
        return dict(zip(names, row, strict=True))

    return one


def test_case_06_callbacks_out_of_order_end_at_the_furthest_status(message):
    assert message("SM06")["status"] == "delivered"
    assert message("SM06")["is_delivered"]


def test_b10_callbacks_end_in_the_same_state_in_whatever_order_they_come(warehouse):
    ends = """select status, error_code, body, direction, phone_e164, is_delivered, count(*)
        from staging.stg_twilio__messages where message_sid = 'SM10' group by all"""
    assert warehouse.execute(ends).fetchall() == [("delivered", None, "Hi", "outbound", PERSON, True, 24)]


def test_case_07_the_same_callback_twice_is_one_event_row(warehouse):
    count = "select count(*) from staging.stg_twilio__message_events where message_sid = 'SM07'"
    assert warehouse.execute(count).fetchone() == (1,)


def test_case_08_a_callback_before_its_message_is_merged_when_the_message_comes(message, warehouse):
    assert message("SM08")["status"] == "delivered"
    waiting = warehouse.execute(
        "select status from staging.stg_twilio__message_events where message_sid = 'SM08b'"
    ).fetchall()
    assert waiting == [("sent",)]
    count = "select count(*) from staging.stg_twilio__messages where message_sid = 'SM08b'"
    assert warehouse.execute(count).fetchone() == (0,)


def test_case_11_an_unregistered_sender_is_the_clients_problem_and_says_nothing_of_the_lead(message):
    failed = message("SM11")
    assert (failed["status"], failed["error_code"]) == ("undelivered", 30034)
    assert failed["failure_reason"] == "client_configuration"


def test_case_12_a_landline_is_named_as_unable_to_take_texts(message):
    failed = message("SM12")
    assert failed["is_failed"]
    assert (failed["phone_e164"], failed["failure_reason"]) == (PERSON, "sms_incapable")


def test_an_overtaken_callback_leaves_no_error_behind(message):
    assert (message("SM12b")["status"], message("SM12b")["error_code"]) == ("read", None)


@pytest.mark.parametrize("i", range(len(STOP_TEXTS)))
def test_case_13_stop_words_alone_are_opt_outs(message, i):
    assert message(f"SMstop{i}")["is_opt_out"], STOP_TEXTS[i]


@pytest.mark.parametrize("i", range(len(OTHER_TEXTS)))
def test_case_13_free_words_are_left_to_the_classifier_with_their_text(message, i):
    """Opt-outs in free words are a later layer's; it needs the text, unflagged."""
    row = message(f"SMtext{i}")
    assert not row["is_opt_out"]
    assert not row["lifts_block"]
    assert (row["body"] or "") == OTHER_TEXTS[i]


def test_case_13_twilios_own_opt_out_counts_whatever_the_text_and_our_own_words_never(message, warehouse):
    assert message("SM13hook")["is_opt_out"]
    events = "select is_opt_out from staging.stg_twilio__message_events where message_sid = 'SM13hook'"
    assert warehouse.execute(events).fetchall() == [(True,)]
    assert not message("SM13out")["is_opt_out"]


def test_case_14_an_opt_out_names_person_and_client_so_that_it_can_hold_for_all_their_numbers(warehouse):
    """Suppression itself is a later layer's; it needs the person's number for each client."""
    rows = warehouse.execute(
        "select distinct client_id, phone_e164 from staging.stg_twilio__messages where is_opt_out"
    ).fetchall()
    assert rows == [("client-1", PERSON)]


def test_case_15_start_is_told_apart_from_consent_and_leaves_the_stop_in_place(message):
    """Whether consent is asked anew is a later layer's; it needs both facts."""
    assert message("SM15")["lifts_block"]
    assert not message("SM15")["is_opt_out"]
    assert message("SMstop0")["is_opt_out"]


def test_case_22_an_inbound_text_is_one_message_whoever_told_of_it(message):
    only_pushed, both = message("SM22"), message("SM22b")
    assert (only_pushed["direction"], only_pushed["body"], only_pushed["is_listed"]) == ("inbound", "Hello", False)
    assert (only_pushed["phone_e164"], only_pushed["client_phone_e164"]) == (PERSON, BUSINESS)
    assert only_pushed["received_at"] == NOW.replace(tzinfo=None)
    assert both["is_listed"]


def test_case_23_pictures_are_counted_in_both_ways_of_arrival(message):
    assert message("SM23")["media_count"] == message("MM23")["media_count"] == 2


def test_case_24_mail_dates_become_utc(message):
    assert message("SM24")["created_at"] == datetime(2019, 5, 24, 17, 44, 46)  # noqa: DTZ001
    assert message("SM24")["sent_at"] == message("SM24")["occurred_at"] == datetime(2019, 5, 24, 17, 44, 50)  # noqa: DTZ001


def test_case_24_the_envelope_has_them_in_utc_too(sandbox):
    _provider, twilio = sandbox(text(1, NOW - DAY))
    (record,) = pull(twilio)[0]
    assert record.occurred_at == NOW - DAY
    assert record.occurred_at.tzinfo is UTC


def test_case_26_a_redacted_text_is_gone_from_staging(message, warehouse):
    assert message("SM26")["body"] is None
    rows = warehouse.execute("select count(*) from staging.stg_twilio__messages where body like '%Elm St%'").fetchone()
    assert rows == (0,)


def test_case_28_an_automatic_reply_is_one_row_and_known_as_such(message):
    assert message("SM28")["is_automatic_reply"]
    assert message("SM28")["direction"] == "outbound"


def test_price_is_in_millionths_and_segments_are_numbers(message):
    assert (message("SMprice")["price_micros"], message("SMprice")["segment_count"]) == (-7900, 3)


def test_an_unreadable_value_is_dropped_by_name_and_an_unreadable_message_is_put_aside(message, warehouse):
    assert message("SMbad")["price_micros"] is None
    base = "select dropped_values, rejected_because from staging.base_twilio__messages where record_id = ?"
    dropped, rejected = warehouse.execute(base, ["SMbad"]).fetchone() or ("", "")
    assert "price_micros" in dropped
    assert "segment_count" in dropped
    assert rejected is None
    assert "created_at" in (warehouse.execute(base, ["SMbroken"]).fetchone() or ("", ""))[1]
    count = "select count(*) from staging.stg_twilio__messages where message_sid = 'SMbroken'"
    assert warehouse.execute(count).fetchone() == (0,)


def test_a_message_deleted_at_twilio_is_kept_and_marked(message):
    assert message("SMgone")["is_deleted"]
    assert not message("SM06")["is_deleted"]


def test_numbers_say_what_they_can_do(warehouse):
    query = "select phone_e164, can_text, can_call, is_released from staging.stg_twilio__phone_numbers"
    assert warehouse.execute(query).fetchall() == [(BUSINESS, True, False, False)]
