"""CallRail's contract: paging, windows, absences, webhooks, and what staging makes of its records."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import duckdb
import httpx
import pytest

from connectors.base import (
    ConfigError,
    ContractChanged,
    CredentialError,
    Cursor,
    Page,
    ProviderDown,
    RateLimited,
    Record,
    Secret,
    SignatureError,
    WebhookRequest,
    absent,
)
from connectors.callrail import CallRail, CallRailOptions
from connectors.http import Http
from connectors.sandbox.callrail import SandboxCallRail
from connectors.sandbox.facts import Call, Client, Fact, FormFill, Line, TextThread, Town
from connectors.sandbox.provider import Fault
from tests.conftest import NOW, FakeClock, Served, Stub
from tests.warehouse import Landed, staged

VECTOR = (Path(__file__).parent / "callrail_webhook_vector.json").read_bytes()
VECTOR_KEY, VECTOR_SIGNATURE = "072e77e426f92738a72fe23c4d1953b4", "UZAHbUdfm3GqL7qzilGozGzWV64="
ACCOUNT, COMPANY_A, COMPANY_B = "ACC" + "0" * 32, "COM" + "a" * 32, "COM" + "b" * 32
LINE = Line(1, "Google Ads", "google_paid", "+14045550199", NOW - timedelta(days=400))
RIDGELINE = Client(
    n=1,
    client_id="ridgeline",
    name="Ridgeline Plumbing",
    trade="plumbing",
    timezone="America/New_York",
    city="Decatur",
    state="GA",
    zip_codes=("30030",),
    area_code="404",
    domain="ridgeline.example",
    office_phone="+14045550110",
    sms_phone="+14045550111",
    lines=(LINE,),
    staff=(),
    joined_at=NOW - timedelta(days=300),
)

Serve = Callable[..., Served]


def a_call(n: int, at: datetime, **changes: Any) -> Call:
    fact = Call(
        n=n,
        client_id="ridgeline",
        person_id=f"p{n}",
        episode_id=f"e{n}",
        at=at,
        changed_at=at,
        direction="inbound",
        line=LINE,
        phone=f"+1404555{n % 10000:04d}",
        caller_name="Ana Ruiz",
        answered=True,
        voicemail=False,
        seconds=182,
        prior_calls=0,
        staff_email="",
        spam=False,
        lead_status="",
        tags=(),
        value_cents=None,
        note="",
        service="Drain cleaning",
    )
    return replace(fact, **changes)


def a_form(n: int, at: datetime, **changes: Any) -> FormFill:
    fact = FormFill(
        n=n,
        client_id="ridgeline",
        person_id=f"p{n}",
        episode_id=f"e{n}",
        at=at,
        changed_at=at,
        via="callrail",
        name="Ana Ruiz",
        phone="(404) 555-0123",
        email="Ana@Mail.example",
        message="Sink is leaking",
        service="Drain cleaning",
        page="/contact",
        channel="google_paid",
        consent_to_text=True,
    )
    return replace(fact, **changes)


def a_thread(n: int, messages: list[tuple[datetime, str, str]]) -> TextThread:
    first, last = messages[0][0], messages[-1][0]
    return TextThread(n, "ridgeline", f"p{n}", f"e{n}", first, last, LINE, f"+1404555{n:04d}", "Ana Ruiz", messages)


def a_town(*facts: Fact) -> Town:
    town = Town(seed=5, start=NOW - timedelta(days=700), end=NOW, clients=[RIDGELINE])
    for fact in facts:
        {Call: town.calls, FormFill: town.forms, TextThread: town.threads}[type(fact)].append(fact)  # type: ignore[index]
    return town


def connect(served: Served, http: Http, **changes: Any) -> CallRail:
    root = served.root("callrail")
    options = {**served.providers["callrail"].connection(RIDGELINE, root), "base_url": root, **changes}
    return CallRail(CallRailOptions(**options), connection="ridgeline/callrail", http=http)


def to_stub(stub: Stub, http: Http, **changes: Any) -> CallRail:
    options = {"account_id": ACCOUNT, "api_key": Secret("key"), "base_url": stub.origin, **changes}
    return CallRail(CallRailOptions(**options), connection="ridgeline/callrail", http=http)


def drain(pages: Iterator[Page], cursor: Cursor | None = None) -> tuple[list[Record], Cursor | None, Exception | None]:
    """All records, the last cursor, and the error it ended with: what the engine keeps of a pull."""
    records: list[Record] = []
    try:
        for page in pages:
            records.extend(page.records)
            cursor = page.cursor or cursor
    except Exception as error:
        return records, cursor, error
    return records, cursor, None


def ids(records: list[Record]) -> list[str]:
    return [record.record_id for record in records]


def sandbox(served: Served) -> SandboxCallRail:
    provider = served.providers["callrail"]
    assert isinstance(provider, SandboxCallRail)
    return provider


def answer(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps(value).encode()


def companies_answer(*companies: str) -> tuple[int, dict[str, str], bytes]:
    return answer({"total_pages": 1, "companies": [{"id": company, "status": "active"} for company in companies]})


def plain_call(n: int, at: datetime = NOW - timedelta(hours=1), **fields: Any) -> dict[str, Any]:
    times = {"start_time": at.isoformat(), "created_at": at.isoformat()}
    return {"id": f"CAL{n:032d}", "direction": "inbound", "answered": True, "duration": 60, **times, **fields}


def recent_cursor(connector: CallRail, feed: str) -> Cursor | None:
    """The cursor of a feed that was read a moment ago and had nothing: the next pull reads seven days in one window."""
    _, cursor, error = drain(connector.pull(feed, None, now=NOW))
    assert error is None
    return cursor


# ---- paging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feed", ["calls", "form_submissions"])
def test_case_01_251_records_come_in_two_requests(serve: Serve, http: Http, feed: str) -> None:
    served = serve(a_town(), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    cursor = recent_cursor(connector, feed)
    make = a_call if feed == "calls" else a_form
    for n in range(251):
        sandbox(served).add(feed, make(n, NOW - timedelta(minutes=n)))
    before = connector.api.calls
    records, _, error = drain(connector.pull(feed, cursor, now=NOW))
    assert error is None
    assert len(set(ids(records))) == len(records) == 251
    assert connector.api.calls - before == 2, "two pages; the companies were looked up by the first feed of the run"
    before = connector.api.calls
    drain(connector.pull(feed, cursor, now=NOW + timedelta(minutes=15)))
    assert connector.api.calls - before == 3, "the next run looks at the companies again"


def test_case_02_a_call_between_pages_repeats_one_record_and_loses_none(serve: Serve, http: Http) -> None:
    served = serve(a_town(*(a_call(n, NOW - timedelta(minutes=n)) for n in range(251))), SandboxCallRail, now=NOW)
    served.world.faults.append(Fault("shifted_pages", provider="callrail", path="calls"))
    records, _, _ = drain(connect(served, http).pull("calls", None, now=NOW))
    assert len(records) == 252
    assert len(set(ids(records))) == 251


def test_case_02b_a_page_that_comes_twice_loses_nothing(serve: Serve, http: Http) -> None:
    served = serve(a_town(*(a_form(n, NOW - timedelta(minutes=n)) for n in range(600))), SandboxCallRail, now=NOW)
    served.world.faults.append(Fault("duplicate_pages", provider="callrail", path="form"))
    records, _, error = drain(connect(served, http).pull("form_submissions", None, now=NOW))
    assert error is None
    assert len(set(ids(records))) == 600


def test_case_03_no_further_request_when_there_is_no_next_page(stub: Stub, http: Http) -> None:
    def script(method: str, path: str, *_: Any) -> Any:
        if "companies" in path:
            return companies_answer(COMPANY_A)
        return answer({"calls": [], "has_next_page": False, "next_page": stub.origin + "/v3/a/x/calls.json?offset=1"})

    stub.script = script
    assert drain(to_stub(stub, http).pull("calls", None, now=NOW))[2] is None
    assert not any("offset=1" in path for _, path, _, _ in stub.requests)


def test_case_04_a_next_page_on_another_host_is_never_called(stub: Stub, http: Http) -> None:
    elsewhere = stub.origin.replace("127.0.0.1", "localhost")  # the same socket, so that following it would be seen

    def script(method: str, path: str, *_: Any) -> Any:
        if "companies" in path:
            return companies_answer(COMPANY_A)
        return answer({"calls": [plain_call(1)], "has_next_page": True, "next_page": elsewhere + "/v3/stolen.json"})

    stub.script = script
    _, cursor, error = drain(to_stub(stub, http).pull("calls", None, now=NOW))
    assert isinstance(error, ContractChanged)
    assert "another host" in str(error)
    assert cursor is None
    assert not any("stolen" in path for _, path, _, _ in stub.requests)


@pytest.mark.parametrize("last", [17, 0])
def test_case_05_without_totals_a_short_or_empty_page_ends_the_list(stub: Stub, http: Http, last: int) -> None:
    def script(method: str, path: str, *_: Any) -> Any:
        if "companies" in path:
            return companies_answer(COMPANY_A)
        query = parse_qs(urlsplit(path).query)
        if not query["end_date"][0].startswith("2026-03-02"):
            return answer({"form_submissions": []})
        page = int(query.get("page", ["1"])[0])
        count = 250 if page == 1 else last
        forms = [{"id": f"FOR{page:02d}{n:030d}", "submitted_at": "2026-03-02T12:00:00.000Z"} for n in range(count)]
        return answer({"form_submissions": forms})

    stub.script = script
    records, _, error = drain(to_stub(stub, http).pull("form_submissions", None, now=NOW))
    assert error is None
    assert len(set(ids(records))) == 250 + last
    assert not any("page=3" in path for _, path, _, _ in stub.requests)


def test_a_list_that_never_moves_on_is_stopped(stub: Stub, http: Http) -> None:
    forms = [{"id": f"FOR{n:032d}", "submitted_at": "2026-03-02T12:00:00.000Z"} for n in range(250)]
    stub.script = lambda method, path, *_: (
        companies_answer(COMPANY_A) if "companies" in path else answer({"form_submissions": forms})
    )
    _, cursor, error = drain(to_stub(stub, http).pull("form_submissions", None, now=NOW))
    assert isinstance(error, ContractChanged)
    assert cursor is None


def test_every_record_of_the_town_is_read(serve: Serve, http: Http) -> None:
    calls = [a_call(n, NOW - timedelta(days=7 * n, hours=1)) for n in range(95)]
    forms = [a_form(n, NOW - timedelta(days=20 * n)) for n in range(30)]
    threads = [a_thread(n, [(NOW - timedelta(days=9 * n), "incoming", "hi")]) for n in range(60)]
    served = serve(a_town(*calls, *forms, *threads), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    got = {feed: set(ids(drain(connector.pull(feed, None, now=NOW))[0])) for feed in connector.feeds()}
    truth: dict[str, set[str]] = {feed: set() for feed in got}
    for _, stream, record_id, _ in sandbox(served).records():
        truth[stream].add(record_id)
    assert got == truth
    assert all(truth.values())


# ---- windows and edits -------------------------------------------------------------------------------------


def test_case_06_a_tag_set_five_days_later_is_found(serve: Serve, http: Http) -> None:
    served = serve(a_town(a_call(1, NOW - timedelta(hours=2))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    first, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    sandbox(served).edit("ridgeline", "calls", first[0].record_id, tags=["Booked"])
    again, _, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(days=5)))
    assert json.loads(bytes(again[0].payload))["tags"] == ["Booked"]
    assert again[0].record_id == first[0].record_id


def test_edits_of_the_last_35_days_are_found_once_a_day(serve: Serve, http: Http) -> None:
    served = serve(
        a_town(a_call(1, NOW - timedelta(days=30)), a_call(2, NOW - timedelta(hours=1))), SandboxCallRail, now=NOW
    )
    connector = connect(served, http)
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    same_day, cursor, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(hours=1)), cursor)
    next_day, cursor, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(hours=8)), cursor)
    after, _, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(hours=9)))
    assert [len(set(ids(read))) for read in (same_day, next_day, after)] == [1, 2, 1]


def test_case_07_an_identical_reread_has_identical_bytes(serve: Serve, http: Http) -> None:
    served = serve(a_town(a_call(1, NOW - timedelta(hours=2))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    first, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    again, _, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(minutes=15)))
    assert [bytes(r.payload) for r in again] == [bytes(r.payload) for r in first]


def test_case_08_spam_is_noted_as_absent_at_the_second_look(serve: Serve, http: Http) -> None:
    served = serve(a_town(*(a_call(n, NOW - timedelta(hours=n + 1)) for n in range(3))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    first, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    spam = first[0].record_id
    sandbox(served).mark_spam("ridgeline", spam)
    once, cursor, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(minutes=15)), cursor)
    twice, cursor, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(minutes=30)), cursor)
    later, _, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(minutes=45)))
    assert [[r.record_id for r in read if r.absent] for read in (once, twice, later)] == [[], [spam], []]
    refetched = [r for page in connector.refetch("calls", [spam], now=NOW) for r in page.records]
    assert refetched == [absent(spam, NOW)]


def test_a_list_that_comes_back_short_hides_nothing(stub: Stub, http: Http) -> None:
    """An empty answer for half an hour must not hide a week of calls: each of them still answers by itself."""
    hour = timedelta(hours=1)
    calls = {plain_call(n)["id"]: plain_call(n) for n in range(5)}
    empty = False

    def script(method: str, path: str, *_: Any) -> Any:
        if "companies" in path:
            return companies_answer(COMPANY_A)
        if "/calls/" in path:
            return answer(calls[urlsplit(path).path.split("/")[-1].removesuffix(".json")])
        recent = parse_qs(urlsplit(path).query)["end_date"][0] >= "2026-03-02"
        return answer({"calls": list(calls.values()) if recent and not empty else [], "has_next_page": False})

    stub.script = script
    connector = to_stub(stub, http)
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    empty = True
    for run in range(1, 4):
        records, cursor, error = drain(connector.pull("calls", cursor, now=NOW + run * hour), cursor)
        assert error is None
        assert not any(record.absent for record in records)


def test_case_09_reading_stays_inside_the_retention_and_a_refusal_is_clear(serve: Serve, http: Http) -> None:
    served = serve(a_town(), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW - timedelta(days=26 * 31)))
    assert drain(connector.pull("calls", cursor, now=NOW))[2] is None, "a cursor from 26 months ago is clamped"
    served.world.set_now(NOW + timedelta(days=62))  # as if the account kept two months less
    records, cursor, error = drain(connector.pull("calls", None, now=NOW))
    assert isinstance(error, ConfigError)
    assert "retention limit" in str(error)
    assert (records, cursor) == ([], None)


def test_case_10_a_bad_id_is_refused_before_any_request(stub: Stub, http: Http) -> None:
    for bad in ({"company_ids": ("155920786",)}, {"account_id": COMPANY_A}, {"company_ids": ("COM../x",)}):
        connector = to_stub(stub, http, **bad)
        assert isinstance(drain(connector.pull("calls", None, now=NOW))[2], ConfigError)
        assert not connector.check().ok
    assert stub.requests == []


def test_calls_of_another_company_are_never_taken(stub: Stub, http: Http) -> None:
    """CallRail ignores a filter it does not understand and returns everything."""

    def script(method: str, path: str, *_: Any) -> Any:
        if "companies" in path:
            return companies_answer(COMPANY_A, COMPANY_B)
        return answer({"calls": [plain_call(1, company_id=COMPANY_B)], "has_next_page": False})

    stub.script = script
    connector = to_stub(stub, http, company_ids=(COMPANY_A,))
    records, cursor, error = drain(connector.pull("calls", None, now=NOW))
    assert (records, cursor) == ([], None)
    assert isinstance(error, ContractChanged)
    assert COMPANY_B in str(error)


def test_a_changed_list_of_fields_reads_everything_again(serve: Serve, http: Http) -> None:
    served = serve(a_town(a_call(1, NOW - timedelta(days=300))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    assert cursor is not None
    assert drain(connector.pull("calls", cursor, now=NOW))[0] == []
    assert len(drain(connector.pull("calls", {**cursor, "fields": "older"}, now=NOW))[0]) == 1


# ---- conversations -----------------------------------------------------------------------------------------


def test_a_conversation_comes_with_its_whole_thread_and_again_only_when_it_changed(serve: Serve, http: Http) -> None:
    start = NOW - timedelta(hours=5)
    thread = a_thread(1, [(start + timedelta(minutes=n), "incoming", f"message {n}") for n in range(6)])
    served = serve(a_town(thread), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    first, cursor, _ = drain(connector.pull("text_messages", None, now=NOW))
    assert len(json.loads(bytes(first[0].payload))["recent_messages"]) == 6
    again, cursor, _ = drain(connector.pull("text_messages", cursor, now=NOW + timedelta(minutes=15)), cursor)
    assert again == []
    sandbox(served).add_message("ridgeline", first[0].record_id, NOW + timedelta(minutes=20), "outgoing", "On my way")
    changed, _, _ = drain(connector.pull("text_messages", cursor, now=NOW + timedelta(minutes=30)))
    assert b"On my way" in bytes(changed[0].payload)


def test_a_first_load_of_conversations_goes_on_where_it_stopped(serve: Serve, http: Http) -> None:
    threads = [a_thread(n, [(NOW - timedelta(days=n), "incoming", "hi")]) for n in range(120)]
    served = serve(a_town(*threads), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    served.world.faults.append(Fault("500", path="text-messages/", after=70, times=None))
    first, cursor, error = drain(connector.pull("text_messages", None, now=NOW))
    assert isinstance(error, ProviderDown)
    served.world.faults.clear()
    rest, _, error = drain(connector.pull("text_messages", cursor, now=NOW + timedelta(minutes=15)))
    assert error is None
    assert len(first) == 50
    assert not set(ids(first)) & set(ids(rest))
    assert len(set(ids(first)) | set(ids(rest))) == 120


# ---- failures ----------------------------------------------------------------------------------------------


def test_case_16_polling_restores_the_calls_of_a_webhook_outage(serve: Serve, http: Http) -> None:
    """The metric of missed webhooks needs to know how a call came: see `via` in the staging tests below."""
    served = serve(a_town(a_call(1, NOW - timedelta(hours=3))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    missed = [sandbox(served).add("calls", a_call(n, NOW + timedelta(minutes=n))) for n in range(2, 120, 10)]
    records, _, _ = drain(connector.pull("calls", cursor, now=NOW + timedelta(hours=2)))
    assert set(missed) <= set(ids(records))


def test_case_17_a_429_without_retry_after_backs_off_and_loses_nothing(
    serve: Serve, http: Http, clock: FakeClock
) -> None:
    calls = [a_call(n, NOW - timedelta(minutes=n)) for n in range(300)]
    served = serve(a_town(*calls), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    served.world.faults.append(Fault("429", path="calls", after=9, times=None))  # the second page of the last window
    _, cursor, error = drain(connector.pull("calls", None, now=NOW))
    assert isinstance(error, RateLimited)
    assert error.retry_at is not None
    assert len(clock.slept) >= 3
    assert cursor is not None
    (state,) = cursor["companies"].values()
    assert state["read_to"] < int(NOW.timestamp()), "the cursor does not pass the page that failed"
    served.world.faults.clear()
    records, _, error = drain(connector.pull("calls", cursor, now=NOW))
    assert error is None
    assert len(set(ids(records))) == 300


def test_case_18_a_failing_company_leaves_the_others_committed(stub: Stub, http: Http) -> None:
    recent = f"{NOW:%Y-%m-%d}"

    def script(method: str, path: str, *_: Any) -> Any:
        if "companies.json" in path:
            return companies_answer(COMPANY_A, COMPANY_B)
        query = parse_qs(urlsplit(path).query)
        company, page = query["company_id"][0], int(query.get("offset", ["0"])[0])
        if not query["end_date"][0].startswith(recent):
            return answer({"calls": [], "has_next_page": False})
        if company == COMPANY_B and page == 2:
            return answer({"error": "down"}, 503)
        link = (
            stub.origin
            + urlsplit(path).path
            + "?"
            + urlencode({k: v[0] for k, v in query.items()} | {"offset": page + 1})
        )
        number = page + (100 if company == COMPANY_B else 0)
        return answer({"calls": [plain_call(number, company_id=company)], "has_next_page": page < 3, "next_page": link})

    stub.script = script
    connector = to_stub(stub, http)
    _, cursor, error = drain(connector.pull("calls", None, now=NOW))
    assert isinstance(error, ProviderDown)
    assert COMPANY_B in str(error)
    assert COMPANY_A not in str(error)
    assert cursor is not None
    done = cursor["companies"]
    assert done[COMPANY_A]["read_to"] == int(NOW.timestamp())
    assert len(done[COMPANY_A]["seen"]) == 4
    assert done[COMPANY_B]["read_to"] < int((NOW - timedelta(days=1)).timestamp()), (
        "only the windows before the failed one"
    )


def test_case_19_a_401_is_not_retried_and_asks_for_a_person(stub: Stub, http: Http) -> None:
    stub.script = lambda *_: answer({"error": "HTTP Token: Access denied."}, 401)
    connector = to_stub(stub, http)
    assert isinstance(drain(connector.pull("calls", None, now=NOW))[2], CredentialError)
    assert len(stub.requests) == 1
    health = connector.check()
    assert not health.ok
    assert health.fix


@pytest.mark.parametrize("pinned", [True, False])
def test_case_20_a_lost_company_is_reported_and_not_read_as_no_calls(serve: Serve, http: Http, pinned: bool) -> None:
    served = serve(a_town(a_call(1, NOW - timedelta(hours=3))), SandboxCallRail, now=NOW)
    connector = connect(served, http) if pinned else connect(served, http, company_ids=())
    _, cursor, _ = drain(connector.pull("calls", None, now=NOW))
    sandbox(served).hide_company("ridgeline")
    records, after, error = drain(connector.pull("calls", cursor, now=NOW + timedelta(hours=1)), cursor)
    assert isinstance(error, CredentialError)
    assert sandbox(served).book("ridgeline").account.company_id in str(error)
    assert (records, after) == ([], cursor)
    assert not connector.check().ok


def test_case_25_a_post_that_is_cut_off_is_not_repeated(stub: Stub, http: Http) -> None:
    stub.script = lambda *_: "reset"
    with pytest.raises(ProviderDown, match="unknown whether"):
        to_stub(stub, http).api.request("POST", f"/v3/a/{ACCOUNT}/text-messages.json", content=b"{}")
    assert len(stub.requests) == 1


def test_check_says_what_is_wrong(serve: Serve, http: Http) -> None:
    served = serve(a_town(), SandboxCallRail, now=NOW)
    assert connect(served, http).check().ok
    wrong_account = connect(served, http, account_id=ACCOUNT).check()
    assert not wrong_account.ok
    assert "account" in wrong_account.message
    missing = connect(served, http, company_ids=(COMPANY_B,)).check()
    assert not missing.ok
    assert COMPANY_B in missing.message


def test_a_403_on_one_record_does_not_stop_the_others(stub: Stub, http: Http) -> None:
    stub.script = lambda method, path, *_: (
        answer({"error": "You do not have permission"}, 403) if "CAL1" in path else answer(plain_call(2))
    )
    records, _, error = drain(to_stub(stub, http).refetch("calls", ["CAL1", plain_call(2)["id"]], now=NOW))
    assert len(records) == 1
    assert isinstance(error, CredentialError)
    assert "CAL1" in str(error)


# ---- webhooks ----------------------------------------------------------------------------------------------


def webhook(body: bytes, signature: str = "", *, key: str = "", tail: str = "/post_call") -> WebhookRequest:
    signature = signature or base64.b64encode(hmac.digest(key.encode(), body, "sha1")).decode()
    return WebhookRequest("https://hooks.example/x", {"signature": signature}, body, NOW, tail=tail)


def keyed(stub: Stub, http: Http, key: str = VECTOR_KEY, **changes: Any) -> CallRail:
    return to_stub(stub, http, signing_key=Secret(key), **changes)


def test_case_13_only_an_untouched_body_of_this_company_is_accepted(stub: Stub, http: Http) -> None:
    connector = keyed(stub, http)
    assert len(VECTOR) == 2279
    assert connector.accept(webhook(VECTOR, VECTOR_SIGNATURE)).answer.status == 200
    body = (
        b'{"resource_id":"CAL0123456789abcdef0123456789abcdef","call_type":"abandoned","duration":"7","tags":[],'
        b'"timestamp":"2026-01-05T10:00:00.000-05:00"}'
    )
    other = keyed(stub, http, "test-signing-key")
    other.accept(webhook(body, "pW6C8bCUjC4Azxd9mSHwD5GD9aU="))
    for connector_, request in (
        (connector, webhook(VECTOR.replace(b'"13"', b'"14"'), VECTOR_SIGNATURE)),
        (other, webhook(VECTOR, VECTOR_SIGNATURE)),
        (other, webhook(body + b"\n", "pW6C8bCUjC4Azxd9mSHwD5GD9aU=")),
        (connector, webhook(VECTOR, "ünsigned")),
        (to_stub(stub, http), webhook(VECTOR, key="")),
    ):
        with pytest.raises(SignatureError):
            connector_.accept(request)


def test_case_14_a_body_written_anew_by_a_proxy_is_refused(stub: Stub, http: Http) -> None:
    again = json.dumps(json.loads(VECTOR)).encode()
    assert json.loads(again) == json.loads(VECTOR)
    with pytest.raises(SignatureError):
        keyed(stub, http).accept(webhook(again, VECTOR_SIGNATURE))


def test_case_15_a_second_delivery_has_the_same_key_and_an_edit_another(stub: Stub, http: Http) -> None:
    connector = keyed(stub, http)
    first, again = (connector.accept(webhook(VECTOR, VECTOR_SIGNATURE)).dedupe_key for _ in range(2))
    edited = json.dumps({**json.loads(VECTOR), "changes": {"tags": ["Booked"]}}).encode()
    assert first == again
    assert connector.accept(webhook(edited, key=VECTOR_KEY, tail="/call_modified")).dedupe_key != first


def test_every_event_of_the_town_names_what_to_fetch(serve: Serve, http: Http) -> None:
    thread = a_thread(3, [(NOW, "incoming", "hi"), (NOW + timedelta(minutes=1), "outgoing", "hello")])
    served = serve(a_town(a_call(1, NOW), a_form(2, NOW), thread), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    hints = []
    for push in sandbox(served).pushes():
        request = WebhookRequest("", dict(push.sign("")), push.body, NOW, tail=push.tail)
        connector.accept(request)
        hints += connector.receive(request).refetch
    book = sandbox(served).book("ridgeline").streams
    assert set(hints) == {(stream, record_id) for stream, items in book.items() for record_id in items}
    for stream, record_id in set(hints):
        records = [r for page in connector.refetch(stream, [record_id], now=NOW) for r in page.records]
        assert ids(records) == [record_id]
        assert not records[0].absent


def test_refetched_calls_have_the_bytes_of_the_pull(serve: Serve, http: Http) -> None:
    """So that a webhook before a poll, or after it, is one version."""
    served = serve(a_town(a_call(1, NOW - timedelta(hours=1))), SandboxCallRail, now=NOW)
    connector = connect(served, http)
    pulled, _, _ = drain(connector.pull("calls", None, now=NOW))
    fetched, _, _ = drain(connector.refetch("calls", ids(pulled), now=NOW))
    assert bytes(pulled[0].payload) == bytes(fetched[0].payload)


def test_events_that_cannot_be_placed_are_kept_aside(stub: Stub, http: Http) -> None:
    connector = keyed(stub, http, company_ids=(COMPANY_A,))
    old_ids_only = connector.receive(webhook(VECTOR, VECTOR_SIGNATURE))
    foreign = json.dumps({"resource_id": "CAL1", "company_resource_id": COMPANY_B}).encode()
    bad_id = b'{"resource_id": "CAL../../users"}'
    for body in (VECTOR, foreign, bad_id, b"[]", b"", b"<html>", b'{"resource_id": 7}'):
        received = connector.receive(webhook(body, "x"))
        assert len(received.quarantine) == 1
        assert received.quarantine[0][1] == body
        assert not received.refetch
    assert "resource_id" in old_ids_only.quarantine[0][0]


def test_form_encoded_events_are_understood_and_events_before_hangup_fetch_nothing(stub: Stub, http: Http) -> None:
    connector = keyed(stub, http)
    assert connector.receive(webhook(b"resource_id=CAL1&answered=true", "x")).refetch == [("calls", "CAL1")]
    before = connector.receive(webhook(b'{"resource_id": "CAL1"}', "x", tail="/pre-call"))
    assert not before.refetch
    assert not before.quarantine


# ---- the sandbox, as other people's clients meet it --------------------------------------------------------


def test_the_sandbox_takes_both_forms_of_token_and_pages_by_link(serve: Serve) -> None:
    served = serve(a_town(*(a_call(n, NOW - timedelta(minutes=n)) for n in range(5))), SandboxCallRail, now=NOW)
    account = sandbox(served).book("ridgeline").account
    url = f"{served.root('callrail')}/v3/a/{account.id}/calls.json?per_page=2&fields=tags&start_date=2026-03-01T00:00:00%2B0000"
    for header in (f'Token token="{account.api_key}"', f"Token token={account.api_key}"):
        seen, link = [], url
        while link:
            reply = httpx.get(link + "&start_date=2026-03-01", headers={"Authorization": header})
            page = reply.json()
            seen += [call["id"] for call in page["calls"]]
            link = reply.links.get("next", {}).get("url", "")
        assert len(set(seen)) == 5 == page["total_records"]
        assert set(page["calls"][0]) >= {"duration", "tags"}
        assert "gclid" not in page["calls"][0]
    assert httpx.get(url, headers={"Authorization": "Token token=wrong"}).status_code == 401
    assert httpx.patch(url, headers={"Authorization": header}).status_code == 405


def test_the_sandbox_accepts_edits_and_remembers_them(serve: Serve) -> None:
    served = serve(a_town(a_call(1, NOW, tags=("New",))), SandboxCallRail, now=NOW)
    account = sandbox(served).book("ridgeline").account
    call_id = account.record_id("calls", 1)
    url = f"{served.root('callrail')}/v3/a/{account.id}/calls/{call_id}.json"
    with httpx.Client(headers={"Authorization": f"Token token={account.api_key}"}) as client:
        assert client.put(url, json={"append_tags": ["Booked"]}).status_code == 200
        assert client.get(url, params={"fields": "tags"}).json()["tags"] == ["New", "Booked"]
        assert client.put(url, json={"value": "10"}).status_code == 500
        assert client.put(url, json={"spam": True}).status_code == 200
        assert client.get(url).status_code == 404
    assert [entry["body"]["id"] for entry in served.world.ledger] == [call_id, call_id]


# ---- staging -----------------------------------------------------------------------------------------------


def landed(stream: str, payload: dict[str, Any], minutes: int = 0, **changes: Any) -> Landed:
    record = Record(str(payload["id"]), json.dumps(payload).encode(), NOW)
    return Landed("ridgeline", "callrail", stream, record, received_at=NOW + timedelta(minutes=minutes), **changes)


def gone(stream: str, record_id: str, minutes: int, segment: int = 0) -> Landed:
    at = NOW + timedelta(minutes=minutes)
    return Landed(
        "ridgeline", "callrail", stream, absent(record_id, at), via="observed", received_at=at, segment=segment
    )


def a_form_payload(n: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"FOR{n}",
        "submitted_at": "2026-01-05T07:46:28.000Z",
        "company_id": COMPANY_A,
        "form_data": {},
        **fields,
    }


TWIN = {
    "direction": "incoming",
    "content": "Hello?",
    "created_at": "2026-01-05T10:00:00Z",
    "type": "sms",
    "media_urls": [],
}
CONVERSATION = {
    "id": "KZaGR",
    "company_id": COMPANY_A,
    "customer_phone_number": "+14045550123",
    "last_message_at": "2026-01-05T10:00:00Z",
    "recent_messages": [TWIN, TWIN, {**TWIN, "direction": "outgoing", "content": "We are on it"}],
}
OLD_COMPANY = {"id": 155920786, "name": "Acme", "status": "active", "created_at": "2018-01-01T00:00:00.000Z"}
FIXTURES = [
    landed("calls", plain_call(2)),
    landed("calls", plain_call(2), 5, via="webhook"),
    landed("calls", plain_call(6, tags=[])),
    landed("calls", plain_call(6, tags=["Booked"], value="450.0"), 10),
    landed("calls", plain_call(7)),
    landed("calls", plain_call(7), 90),
    landed("calls", plain_call(8)),
    gone("calls", plain_call(8)["id"], 30),
    landed("calls", plain_call(9)),
    gone("calls", plain_call(9)["id"], 30),
    landed("calls", plain_call(9), 60),
    landed("calls", plain_call(111, recording_duration="27")),
    landed("calls", plain_call(112, recording_duration=27)),
    landed("calls", plain_call(113, recording_duration="")),
    landed("calls", plain_call(114, recording_duration=None)),
    landed("calls", plain_call(121, duration="13")),
    landed("calls", plain_call(122, duration=13)),
    landed("calls", plain_call(16), via="webhook"),
    landed("calls", plain_call(24, source="direct", gclid="abc")),
    landed("calls", plain_call(26, brand_new_field={"deep": [1]})),
    landed("calls", plain_call(27, duration=None, answered=False)),
    landed("calls", plain_call(28, answered=False, voicemail=True, customer_phone_number="anonymous")),
    landed("calls", plain_call(29, start_time="soon")),
    landed("form_submissions", a_form_payload(21, person_id="anonymous")),
    landed("form_submissions", a_form_payload(22, person_id="PER1", form_data={"Your Email": " Ana@Mail.example "})),
    landed("text_messages", CONVERSATION),
    landed("text_messages", {**CONVERSATION, "id": "empty", "recent_messages": None}),
    landed("companies", OLD_COMPANY),
    landed("companies", {**OLD_COMPANY, "id": COMPANY_A}, 10),
    landed("companies", {**OLD_COMPANY, "id": COMPANY_B, "name": "Other"}),
    landed("trackers", {"id": "TRK1", "name": "Van", "source": {"type": "offline"}, "company": {"id": COMPANY_A}}),
]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = staged(tmp_path_factory.mktemp("callrail"), FIXTURES, "staging.callrail")
    yield connection
    connection.close()


def call_row(warehouse: duckdb.DuckDBPyConnection, n: int, columns: str) -> Any:
    query = f"select {columns} from staging.stg_callrail__calls where call_id = ?"
    rows = warehouse.execute(query, [plain_call(n)["id"]]).fetchall()
    assert len(rows) == 1, f"one row of call {n}"
    return rows[0] if len(rows[0]) > 1 else rows[0][0]


def test_case_02_and_15_a_record_that_comes_twice_is_one_row(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 2, "via") == "pull"


def test_case_06_the_late_tag_is_in_the_row(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 6, "tags, value_cents") == ('["Booked"]', 45000)


def test_case_07_an_identical_reread_is_no_new_version(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 7, "received_at") == NOW.replace(tzinfo=None)


def test_case_08_spam_is_hidden_and_kept(warehouse: duckdb.DuckDBPyConnection) -> None:
    hidden_since = NOW.replace(tzinfo=None) + timedelta(minutes=30)
    assert call_row(warehouse, 8, "is_hidden, hidden_since, duration_seconds") == (True, hidden_since, 60)
    assert call_row(warehouse, 7, "is_hidden") is False


def test_a_call_taken_back_from_spam_is_shown_again(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 9, "is_hidden, hidden_since") == (False, None)


def test_case_11_recording_durations_in_every_form_are_read(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert [call_row(warehouse, n, "recording_seconds") for n in (111, 112, 113, 114)] == [27, 27, None, None]


def test_case_12_duration_as_text_and_as_number_is_the_same(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert [call_row(warehouse, n, "duration_seconds") for n in (121, 122)] == [13, 13]


def test_case_16_how_a_call_came_is_known(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert [call_row(warehouse, n, "via") for n in (7, 16)] == ["pull", "webhook"]


def test_case_21_an_anonymous_form_names_no_person(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "select person_id, email_normalized from staging.stg_callrail__form_submissions order by form_id"
    ).fetchall()
    assert rows == [(None, None), ("PER1", "ana@mail.example")]


def test_case_22_two_equal_texts_of_one_second_are_both_kept(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "select direction, content, count(*), count(distinct message_key) from staging.stg_callrail__text_messages "
        "group by direction, content order by direction"
    ).fetchall()
    assert rows == [("inbound", "Hello?", 2, 2), ("outbound", "We are on it", 1, 1)]


def test_case_23_a_company_under_its_old_and_new_id_is_one(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "select company_id, legacy_company_id from staging.stg_callrail__companies order by company_id"
    ).fetchall()
    assert rows == [(COMPANY_A, "155920786"), (COMPANY_B, None)]


def test_case_24_a_direct_call_keeps_its_click_id(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Which of the two an attribution model uses is that model's to say."""
    assert call_row(warehouse, 24, "source, gclid") == ("direct", "abc")


def test_case_26_an_unknown_field_does_not_stop_the_row(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 26, "duration_seconds") == 60


def test_case_26_an_unknown_field_is_kept_byte_for_byte(stub: Stub, http: Http) -> None:
    raw = json.dumps(plain_call(26, brand_new_field={"deep": [1.50]})).encode()
    stub.script = lambda method, path, *_: (
        companies_answer(COMPANY_A)
        if "companies" in path
        else (200, {}, b'{"has_next_page":false,"calls":[' + (raw if f"{NOW:%Y-%m-%d}" in path else b"") + b"]}")
    )
    records, _, _ = drain(to_stub(stub, http).pull("calls", None, now=NOW))
    assert [bytes(record.payload) for record in records] == [raw]


def test_a_record_that_breaks_a_type_is_landed_and_put_aside(stub: Stub, http: Http, warehouse: Any) -> None:
    odd = [plain_call(29, start_time="soon"), "not an object", {"no": "id"}]
    stub.script = lambda method, path, *_: (
        companies_answer(COMPANY_A)
        if "companies" in path
        else answer({"has_next_page": False, "calls": odd if f"{NOW:%Y-%m-%d}" in path else []})
    )
    records, _, error = drain(to_stub(stub, http).pull("calls", None, now=NOW))
    assert error is None
    assert [record.record_id[:7] for record in records] == ["CAL0000", "sha256:", "sha256:"]
    assert [record.occurred_at for record in records] == [None, None, None]
    reasons = warehouse.execute(
        "select rejected_because from staging.base_callrail__calls where rejected_because is not null"
    )
    assert reasons.fetchall() == [("started_at is not a time with its offset",)]


def test_a_call_in_progress_is_not_missed_and_a_voicemail_is(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert call_row(warehouse, 27, "is_finished, is_missed, is_answered") == (False, False, False)
    assert call_row(warehouse, 28, "is_missed, is_voicemail, phone_e164") == (True, True, None)


def test_an_offline_tracker_is_marked(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute("select tracker_id, is_offline, company_id from staging.stg_callrail__trackers").fetchall()
    assert rows == [("TRK1", True, COMPANY_A)]


def test_times_are_utc_whatever_offset_callrail_writes(stub: Stub, http: Http) -> None:
    call = plain_call(1, start_time="2026-03-02T11:27:48.119-05:00")
    stub.script = lambda *_: answer(call)
    records, _, _ = drain(to_stub(stub, http).refetch("calls", [call["id"]], now=NOW))
    assert records[0].occurred_at == datetime(2026, 3, 2, 16, 27, 48, 119000, UTC)
