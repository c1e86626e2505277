"""Search Console: partitions, paging, lateness, quotas and sign-in, against the sandbox or a scripted server on a real socket.

Cases are numbered as in the provider's contract. Case 21 asks for Google's own Python client, which is not among our
dependencies: its calls are made here as it puts them on the wire.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.base import (
    ConfigError,
    ContractChanged,
    CredentialError,
    Cursor,
    Page,
    RateLimited,
    Rejected,
    Secret,
    TransientError,
)
from connectors.http import Http
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Fault, Request, World
from connectors.sandbox.search_console import SandboxSearchConsole
from connectors.sandbox.search_console.demand import Search
from connectors.sandbox.search_console.provider import LOAD, QPS
from connectors.sandbox.server import Sandbox
from connectors.search_console import SearchConsole
from connectors.search_console.property import QUOTA_PAUSE, Report
from tests.conftest import FakeClock, Served, Stub, _Server
from tests.warehouse import Landed, staged

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
TODAY = date(2026, 3, 2)  # in Pacific time, too
DAYS = 20
DOMAIN, PREFIX = "sc-domain:harbor.example", "https://www.harbor.example/"
OTHER = "sc-domain:summit.example"


def town() -> Town:
    def client(n: int, name: str, trade: str) -> Client:
        joined = NOW - timedelta(days=200)
        where = ("America/Chicago", "Austin", "TX", ("78704", "78745"), "512")
        return Client(n, name, name.title(), trade, *where, f"{name}.example", "", "", (), (), joined)

    return Town(7, NOW - timedelta(days=DAYS), NOW, [client(1, "harbor", "plumbing"), client(2, "summit", "roofing")])


def connection(sandbox: SandboxSearchConsole, root: str, http: Http, **options: Any) -> SearchConsole:
    given = {**sandbox.connection(sandbox.town.clients[0], root), "base_url": root, **options}
    given["site_urls"] = tuple(given["site_urls"])
    return SearchConsole(SearchConsole.Options(**given), connection="harbor/search_console", http=http)


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve(town(), SandboxSearchConsole, now=NOW)


@pytest.fixture
def sandbox(served: Served) -> SandboxSearchConsole:
    return served.providers["search_console"]  # type: ignore[return-value]


@pytest.fixture
def connect(served: Served, sandbox: SandboxSearchConsole, http: Http) -> Callable[..., SearchConsole]:
    return lambda **options: connection(sandbox, served.root("search_console"), http, **options)


@pytest.fixture
def overheard(stub: Stub, http: Http) -> tuple[Stub, SandboxSearchConsole, Callable[..., SearchConsole]]:
    """The sandbox behind a server that keeps every request."""
    world = World(7, now=lambda: NOW)
    sandbox = SandboxSearchConsole(town(), world)

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        raw, _, query = path.partition("?")
        reply = sandbox.handle(Request(method, raw, query, headers, body, stub.origin))
        return reply.status, dict(reply.headers), reply.body

    stub.script = answer
    return stub, sandbox, lambda **options: connection(sandbox, stub.origin, http, **options)


def pulled(connector: SearchConsole, cursor: Cursor | None = None, now: datetime = NOW) -> list[Page]:
    return list(connector.pull("performance", cursor, now=now))


def last_cursor(pages: list[Page]) -> Cursor:
    return next(page.cursor for page in reversed(pages) if page.cursor)


def payloads(pages: list[Page], stream: str = "") -> dict[str, dict[str, Any]]:
    return {r.record_id: json.loads(r.payload) for p in pages if p.stream.startswith(stream) for r in p.records}


def rows(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for response in payload["responses"] for row in response.get("rows", [])]


def asked(stub: Stub) -> list[dict[str, Any]]:
    return [json.loads(body) for method, path, _, body in stub.requests if path.endswith("/query")]


def searched(
    clicks: int = 1, impressions: int = 10, position: float = 3.0, withheld: bool = False, n: int = 0
) -> Search:
    return Search(f"query {n}", f"{PREFIX}page", "", "MOBILE", "usa", 9, impressions, clicks, position, withheld)


def bearer(served: Served, sandbox: SandboxSearchConsole) -> dict[str, str]:
    form = {"grant_type": "refresh_token", **sandbox.user_credentials()}
    token = httpx.post(f"{served.root('search_console')}/token", data=form).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def query(served: Served, sandbox: SandboxSearchConsole, **body: Any) -> httpx.Response:
    url = f"{served.root('search_console')}/webmasters/v3/sites/sc-domain%3Aharbor.example/searchAnalytics/query"
    dates = {"startDate": "2026-02-20", "endDate": "2026-02-20"}
    return httpx.post(url, json={**dates, **body}, headers=bearer(served, sandbox), params={"alt": "json"})


# ---- addresses and sign-in ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("site", "segment"),
    [(PREFIX, "https%3A%2F%2Fwww.harbor.example%2F"), (DOMAIN, "sc-domain%3Aharbor.example")],
)
def test_case_01_and_02_a_property_is_one_segment_encoded_once(overheard: Any, site: str, segment: str) -> None:
    stub, _, connect = overheard
    pages = pulled(connect(site_urls=[site], history_days=4))
    paths = {path for _, path, _, _ in stub.requests if path.startswith("/webmasters")}
    assert paths == {f"/webmasters/v3/sites/{segment}/searchAnalytics/query"}
    assert sum(len(rows(payload)) for payload in payloads(pages).values()) > 0


def test_case_03_the_assertion_is_signed_for_google_whatever_the_token_uri(overheard: Any) -> None:
    stub, sandbox, connect = overheard
    assert connect().check().ok
    form = dict(pair.split("=") for pair in stub.requests[0][3].decode().split("&"))
    assert stub.requests[0][1] == "/token"
    assert form["grant_type"] == "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    signed, _, signature = form["assertion"].rpartition(".")
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
    key = load_pem_private_key(sandbox.service_account(stub.origin)["private_key"].encode(), None)
    padded = base64.urlsafe_b64decode(signature + "==")
    key.public_key().verify(padded, signed.encode(), padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type]
    assert head == {"alg": "RS256", "typ": "JWT", "kid": sandbox.service_account("")["private_key_id"]}
    assert claims["aud"] == "https://oauth2.googleapis.com/token"
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["scope"] == "https://www.googleapis.com/auth/webmasters.readonly"


def test_case_04_a_token_refused_once_is_renewed_once_and_the_call_repeated(overheard: Any) -> None:
    stub, _, connect = overheard
    honest, refused = stub.script, []

    def script(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if len(asked(stub)) == 3 and not refused:
            refused.append(body)
            return 401, {}, b'{"error":{"code":401,"message":"Request had invalid authentication credentials."}}'
        return honest(method, path, headers, body)

    stub.script = script
    pages = pulled(connect(history_days=3))
    calls = [body for _, path, _, body in stub.requests if path.endswith("/query")]
    assert [path for _, path, _, _ in stub.requests].count("/token") == 2
    assert calls[2:4] == [refused[0]] * 2
    assert len(payloads(pages)) == 15


def test_case_05_a_dead_sign_in_stops_at_once_and_shows_no_secret(overheard: Any, caplog: Any) -> None:
    stub, sandbox, connect = overheard
    caplog.set_level(logging.DEBUG)
    sandbox.knobs.sign_in_refused = True
    connector = connect(site_urls=[DOMAIN, OTHER])
    with pytest.raises(CredentialError) as caught:
        pulled(connector)
    assert len(stub.requests) == 1  # no retry, and no second property
    health = connector.check()
    assert not health.ok
    assert "leadtrail check" in health.fix
    secret = sandbox.service_account("")["private_key"].splitlines()[3]
    told = str(caught.value) + health.message + health.fix + caplog.text
    assert "invalid_grant" in told
    assert secret not in told
    assert "assertion" not in told


def test_a_user_consent_signs_in_too_and_a_dead_one_says_to_authorise_again(connect: Any, sandbox: Any) -> None:
    user = {name: Secret(value) for name, value in sandbox.user_credentials().items()}
    token_url = connect().options.base_url + "/token"
    assert connect(service_account=Secret(""), token_url=token_url, **user).check().ok
    dead = connect(service_account=Secret(""), token_url=token_url, **{**user, "refresh_token": Secret("1//gone")})
    assert "Authorise again" in dead.check().fix


def test_an_unreadable_key_file_is_a_settings_mistake_that_quotes_nothing_of_it(connect: Any) -> None:
    for key in (
        "not json",
        '{"client_email": "robot@x.example", "private_key": "s3cret"}',
        '{"type": "authorized_user"}',
    ):
        health = connect(service_account=Secret(key)).check()
        assert not health.ok
        assert "service_account" in health.fix
        assert "s3cret" not in health.message + health.fix
    assert "no way to sign in" in connect(service_account=Secret("")).check().message


def test_a_restarted_sandbox_knows_the_key_and_the_tokens_it_issued(connect: Any, served: Served, sandbox: Any) -> None:
    held = bearer(served, sandbox)
    again = SandboxSearchConsole(town(), World(7, now=lambda: NOW))
    assert again.service_account("x") == sandbox.service_account("x")
    assert (
        again.handle(
            Request("GET", "/webmasters/v3/sites", "", {"authorization": held["Authorization"]}, b"", "")
        ).status
        == 200
    )
    forged = held["Authorization"][:-1] + ("0" if held["Authorization"][-1] != "0" else "1")
    assert again.handle(Request("GET", "/webmasters/v3/sites", "", {"authorization": forged}, b"", "")).status == 401


# ---- paging ------------------------------------------------------------------------------------------------


def test_case_06_paging_goes_on_to_the_first_page_without_rows(overheard: Any) -> None:
    stub, sandbox, connect = overheard
    sandbox.set_day(DOMAIN, TODAY - timedelta(days=1), [searched(n=n) for n in range(60_000)])
    sandbox.knobs.row_cap = 100_000
    pages = pulled(connect(history_days=1))
    starts = [call["startRow"] for call in asked(stub) if call["dimensions"] == ["query"]]
    assert starts == [0, 25_000, 50_000, 75_000]
    (payload,) = payloads(pages, "by_query").values()
    assert len({row["keys"][0] for row in rows(payload)}) == 60_000


def test_case_07_a_short_page_is_not_the_last(overheard: Any) -> None:
    _, sandbox, connect = overheard
    sandbox.set_day(DOMAIN, TODAY - timedelta(days=1), [searched(n=n) for n in range(30_000)])
    sandbox.knobs.short_pages = 10
    (payload,) = payloads(pulled(connect(history_days=1)), "by_query").values()
    assert [len(response.get("rows", [])) for response in payload["responses"]] == [24_990, 5_010, 0]


def test_case_09_a_reply_without_rows_is_zero_rows(overheard: Any) -> None:
    stub, _, connect = overheard
    honest, empty = stub.script, b'{"responseAggregationType":"byProperty"}'
    stub.script = lambda method, path, *rest: (
        (200, {}, empty) if path.endswith("query") else honest(method, path, *rest)
    )
    found = payloads(pulled(connect(history_days=2)))
    assert len(found) == 10
    assert all(rows(payload) == [] for payload in found.values())
    # without a word from Google, the last days are not yet zero
    assert not any(payload["final"] for payload in found.values())


def test_a_page_that_comes_for_ever_ends_as_a_changed_contract(overheard: Any) -> None:
    stub, _, connect = overheard
    honest, page = stub.script, b'{"rows":[{"keys":["2026-03-01"],"clicks":1,"impressions":2,"ctr":0.5,"position":1}]}'
    stub.script = lambda method, path, *rest: (200, {}, page) if path.endswith("query") else honest(method, path, *rest)
    with pytest.raises(ContractChanged, match="same page"):
        pulled(connect(history_days=1))
    assert len(asked(stub)) == 3


@pytest.mark.parametrize("row", [b'{"clicks":1}', b'{"keys":["tomorrow"]}', b'{"keys":"x"}', b"7"])
def test_rows_that_do_not_say_their_day_are_a_changed_contract(overheard: Any, row: bytes) -> None:
    stub, _, connect = overheard
    honest, page = stub.script, b'{"rows":[' + row + b"]}"
    stub.script = lambda method, path, *rest: (200, {}, page) if path.endswith("query") else honest(method, path, *rest)
    with pytest.raises(ContractChanged, match=DOMAIN):
        pulled(connect(history_days=1))


def test_googles_bytes_are_landed_as_they_came(stub: Stub, overheard: Any) -> None:
    _, _, connect = overheard
    honest, sent = stub.script, []

    def pretty(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        status, extra, content = honest(method, path, headers, body)
        if path.endswith("query"):
            content = json.dumps(json.loads(content), indent=1, ensure_ascii=True).encode()  # as Google prints it
            sent.append((json.loads(body)["dimensions"], content))
        return status, extra, content

    stub.script = pretty
    pages = pulled(connect(history_days=1))
    by_page = next(bytes(r.payload) for p in pages if p.stream == "by_page" for r in p.records)
    assert b",".join(content for dimensions, content in sent if dimensions == ["page"]) in by_page
    by_date = next(bytes(r.payload) for p in pages if p.stream == "by_date" for r in p.records)
    answer = next(content for dimensions, content in sent if dimensions == ["date"])
    assert answer[answer.index(b"[\n  {") + 4 : answer.index(b"\n ],")] in by_date


# ---- days --------------------------------------------------------------------------------------------------


def test_case_10_both_spellings_of_the_first_incomplete_date_mean_the_same(connect: Any, sandbox: Any) -> None:
    found = []
    for snake in (False, True):
        sandbox.knobs.snake_case_metadata = snake
        found.append({key: payload["final"] for key, payload in payloads(pulled(connect(history_days=6))).items()})
    assert found[0] == found[1]
    provisional = {key.rsplit("|")[-1] for key, final in found[0].items() if not final}
    assert provisional == {"2026-02-27", "2026-02-28", "2026-03-01"}


def test_case_12_the_last_day_asked_for_is_yesterday_in_pacific_time(overheard: Any) -> None:
    stub, _, connect = overheard
    now = datetime(2026, 2, 22, 3, 0, tzinfo=UTC)  # the 21st in California
    pages = pulled(connect(history_days=2), now=now)
    assert {payload["date"] for payload in payloads(pages).values()} == {"2026-02-19", "2026-02-20"}
    assert max(call["endDate"] for call in asked(stub)) == "2026-02-20"
    newest = next(r for p in pages for r in p.records if r.record_id.endswith("2026-02-20"))
    assert newest.occurred_at == datetime(2026, 2, 20, 8, 0, tzinfo=UTC)


def test_a_first_load_brings_every_partition_newest_first(connect: Any, sandbox: Any) -> None:
    pages = pulled(connect())
    got = [("harbor", page.stream, r.record_id, "") for page in pages for r in page.records]
    assert sorted(got) == sorted(record for record in sandbox.records() if record[0] == "harbor")
    days = [record_id.rsplit("|")[-1] for _, stream, record_id, _ in got if stream == "by_query"]
    assert days == sorted(days, reverse=True)
    assert last_cursor(pages) == {DOMAIN: {"final_through": "2026-02-26", "backfilled_to": "2026-02-10"}}


def test_a_first_load_cut_off_at_any_page_goes_on_where_it_was(connect: Any, sandbox: Any) -> None:
    whole = payloads(pulled(connect()))
    for cut in (3, 17, 29, 30, 61):
        stream = connect().pull("performance", None, now=NOW)
        seen = [next(stream) for _ in range(cut)]
        cursor = next((page.cursor for page in reversed(seen) if page.cursor), None)
        rest = pulled(connect(), cursor)
        assert {**payloads(seen), **payloads(rest)} == whole
        if cut > 60:  # days behind the look-back are not read twice
            assert len(payloads(rest)) < len(whole)


def test_a_later_sync_reads_the_look_back_and_the_new_days_only(connect: Any, served: Served) -> None:
    cursor = last_cursor(pulled(connect()))
    later = NOW + timedelta(days=3)
    served.world.set_now(later)
    pages = pulled(connect(), cursor, later)
    days = sorted({payload["date"] for payload in payloads(pages).values()})
    assert (days[0], days[-1]) == ("2026-02-21", "2026-03-04")  # five days before the last final one, to yesterday
    assert last_cursor(pages)[DOMAIN] == {"final_through": "2026-03-01", "backfilled_to": "2026-02-10"}


def test_after_a_long_pause_no_day_is_left_out(connect: Any, served: Served) -> None:
    cursor = last_cursor(pulled(connect(history_days=5)))
    later = NOW + timedelta(days=70)
    served.world.set_now(later)
    pages = pulled(connect(history_days=200), cursor, later)
    days = sorted({payload["date"] for payload in payloads(pages, "by_date").values()})
    assert len(days) == 200
    finals = [page.cursor[DOMAIN]["final_through"] for page in pages if page.cursor]
    assert finals == sorted(finals)  # the cursor never covers a day that was not yet yielded


def test_a_named_partition_can_be_read_again(connect: Any, sandbox: Any) -> None:
    day = TODAY - timedelta(days=9)
    sandbox.set_day(DOMAIN, day, [searched(clicks=4, n=1), searched(clicks=5, n=2)])  # Google corrected a final day
    pages = list(connect().refetch("by_query", [f"{DOMAIN}|query|{day}"], now=NOW))
    (payload,) = payloads(pages).values()
    assert [row["clicks"] for row in rows(payload)] == [5, 4]
    assert payload["final"]


# ---- refusals ----------------------------------------------------------------------------------------------


def test_case_15_a_used_up_rate_is_waited_for(connect: Any, sandbox: Any, clock: FakeClock) -> None:
    sandbox.knobs.fail_next = [(403, "quotaExceeded", QPS), (403, "userRateLimitExceeded", "User Rate Limit Exceeded")]
    assert len(payloads(pulled(connect(history_days=2)))) == 10
    assert clock.slept == [QUOTA_PAUSE, QUOTA_PAUSE]


def test_case_15_a_used_up_load_is_left_alone_for_a_quarter_of_an_hour(overheard: Any, clock: FakeClock) -> None:
    stub, sandbox, connect = overheard
    connector = connect()
    stream = connector.pull("performance", None, now=NOW)
    pages = [next(stream) for _ in range(40)]
    before = len(stub.requests)
    sandbox.knobs.fail_next = [(403, "quotaExceeded", LOAD)]
    with pytest.raises(RateLimited, match="load quota") as caught:
        pages.extend(stream)
    assert len(stub.requests) == before + 1
    assert caught.value.retry_at == clock.now() + timedelta(minutes=15)
    cursor = last_cursor(pages)
    whole = payloads(pulled(connect()))
    assert {**payloads(pages), **payloads(pulled(connector, cursor))} == whole


def test_case_15_a_forbidden_property_fails_at_once_by_name_and_the_others_go_on(overheard: Any) -> None:
    stub, sandbox, connect = overheard
    sandbox.knobs.permissions[OTHER] = "siteUnverifiedUser"
    pages: list[Page] = []
    with pytest.raises(CredentialError, match=OTHER) as caught:
        pages.extend(
            _each(connect(site_urls=[OTHER, DOMAIN], history_days=8).pull("performance", None, now=NOW), pages)
        )
    assert sum("summit" in path for _, path, _, _ in stub.requests) == 1
    assert "harbor.example" not in str(caught.value).replace("harbor/search_console", "")
    assert {payload["site_url"] for payload in payloads(pages).values()} == {DOMAIN}
    assert set(last_cursor(pages)) == {DOMAIN}


def _each(stream: Iterator[Page], into: list[Page]) -> Iterator[Page]:
    """Keep what came before an error."""
    for page in stream:
        into.append(page)
    return iter(())


def test_several_failing_properties_are_all_named_and_the_one_for_a_person_leads(connect: Any, sandbox: Any) -> None:
    sandbox.knobs.fail_next = [(403, "quotaExceeded", LOAD)]
    sandbox.knobs.permissions[OTHER] = ""
    with pytest.raises(ConfigError) as caught:
        pulled(connect(site_urls=[DOMAIN, OTHER]))
    assert DOMAIN in str(caught.value)
    assert OTHER in str(caught.value)
    assert not isinstance(caught.value, TransientError)


def test_a_switched_off_api_and_a_refused_request_say_what_to_do(connect: Any, sandbox: Any) -> None:
    sandbox.knobs.fail_next = [(403, "accessNotConfigured", "Google Search Console API has not been used in project 1")]
    with pytest.raises(CredentialError, match="Enable it"):
        pulled(connect())
    sandbox.knobs.fail_next = [(400, "invalidParameter", "no")]
    with pytest.raises(Rejected) as caught:
        pulled(connect())
    assert (caught.value.status, caught.value.code) == (400, "invalidParameter")


@pytest.mark.parametrize("kind", ["429", "500", "truncated", "reset"])
def test_passing_faults_lose_nothing(connect: Any, served: Served, kind: str) -> None:
    whole = payloads(pulled(connect(history_days=8)))
    served.world.faults.append(Fault(kind, path="searchAnalytics", times=3, after=5))
    assert payloads(pulled(connect(history_days=8))) == whole


def test_case_16_pages_counted_by_property_are_refused_here_and_there(served: Served, sandbox: Any) -> None:
    with pytest.raises(ValueError, match="by page"):
        Report("by_page", "page")
    assert query(served, sandbox, dimensions=["page"], aggregationType="byProperty").status_code == 400
    assert query(served, sandbox, dimensions=["page"], aggregationType="BY_PAGE").status_code == 200


def test_case_17_more_rows_than_allowed_are_refused(served: Served, sandbox: Any) -> None:
    assert query(served, sandbox, rowLimit=25_001).status_code == 400
    assert query(served, sandbox, rowLimit=25_000).status_code == 200


def test_case_18_unknown_keys_are_let_through(served: Served, sandbox: Any) -> None:
    plain = query(served, sandbox, dimensions=["date"])
    assert (
        query(served, sandbox, dimensions=["date"], search_types=["web"], **{"$parameters": {}}).json() == plain.json()
    )
    assert plain.json()["rows"]


# ---- check -------------------------------------------------------------------------------------------------


def test_case_20_only_the_unverified_property_is_reported(connect: Any, sandbox: Any) -> None:
    sandbox.knobs.permissions[OTHER] = "siteUnverifiedUser"
    health = connect(site_urls=[DOMAIN, OTHER]).check()
    assert not health.ok
    assert OTHER in health.message
    assert DOMAIN not in health.message
    assert "reports@" in health.fix  # whom to add


def test_a_property_in_another_form_is_recognised(connect: Any, sandbox: Any) -> None:
    for form in ("https://www.harbor.example", "http://harbor.example/", "harbor.example"):
        assert "did you mean sc-domain:harbor.example?" in connect(site_urls=[form]).check().message
    assert "did you mean" not in connect(site_urls=["sc-domain:elsewhere.example"]).check().message
    sandbox.knobs.permissions.update({site: "" for site in sandbox._clients})
    assert not connect().check().ok  # Google leaves `siteEntry` out


def test_case_21_googles_own_client_gets_the_rows_we_get(served: Served, sandbox: Any, connect: Any) -> None:
    headers = {**bearer(served, sandbox), "accept": "application/json"}
    roots = [
        served.root("search_console") + "/webmasters/v3",
        served.root("search_console"),
    ]  # v1, and v3 with a bare endpoint
    ours = rows(payloads(pulled(connect()), "by_query")[f"{DOMAIN}|query|2026-02-20"])
    for root in roots:
        sites = httpx.get(f"{root}/sites", params={"alt": "json"}, headers=headers).json()["siteEntry"]
        assert {"siteUrl": DOMAIN, "permissionLevel": "siteFullUser"} in sites
        body = {"startDate": "2026-02-20", "endDate": "2026-02-20", "dimensions": ["query"]}
        url = f"{root}/sites/sc-domain%3Aharbor.example/searchAnalytics/query"
        theirs = httpx.post(url, params={"alt": "json", "prettyPrint": "false"}, json=body, headers=headers).json()
        assert theirs["rows"] == ours
        assert theirs["responseAggregationType"] == "byProperty"


def test_the_sandbox_counts_as_google_does(served: Served, sandbox: Any) -> None:
    def total(*dimensions: str, figure: str = "impressions", **body: Any) -> float:
        answer = query(served, sandbox, dimensions=list(dimensions), rowLimit=25_000, **body).json()
        return sum(row[figure] for row in answer.get("rows", []))

    everything = total()
    assert total("date") == total("device") == total("country") == everything
    assert total("query") < everything  # rare queries are withheld
    assert total("page") > everything  # two pages in one result
    never = [{"filters": [{"dimension": "query", "operator": "notContains", "expression": "zebra"}]}]
    assert total("date", dimensionFilterGroups=never) == total("query")
    assert total("date", type="image") == 0
    assert query(served, sandbox, startDate="2021-04-01", endDate="2021-05-01").json() == {
        "responseAggregationType": "byProperty"
    }
    assert query(served, sandbox, startDate="2026-02-21").status_code == 400
    prefix = "https%3A%2F%2Fwww.harbor.example%2F/searchAnalytics/query"
    assert httpx.post(f"{served.root('search_console')}/webmasters/v3/sites/{prefix}", json={}).status_code == 401


# ---- the warehouse -----------------------------------------------------------------------------------------

LATE = TODAY - timedelta(days=2)  # provisional in the first sync, final in the second
MIXED = TODAY - timedelta(days=10)
SILENT = TODAY - timedelta(days=12)
NOT_YET = TODAY + timedelta(days=3)  # yesterday of the second sync
TWICE = TODAY - timedelta(days=8)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """Two syncs four days apart, the second one twice, of two clients; then one partition whose pages overlap."""
    world = World(7, now=lambda: NOW)
    sandbox = SandboxSearchConsole(town(), world)
    app = Sandbox([sandbox], world, origin="")
    server, http, landed = _Server(app), Http(clock=FakeClock(NOW)), []
    app.origin = server.origin
    root = f"{server.origin}/search_console"
    first = [searched(clicks=5, n=1), searched(clicks=1, n=2)]
    sandbox.set_day(DOMAIN, LATE, first)
    sandbox.set_day(DOMAIN, MIXED, [searched(40, 50, 2.0, n=1), searched(60, 80, 9.0, withheld=True, n=2)])
    sandbox.set_day(DOMAIN, SILENT, [])
    sandbox.set_day(DOMAIN, TODAY - timedelta(days=11), [searched(0, 1, 1.0, n=1), searched(0, 99, 11.0, n=2)])
    cursors: dict[str, Cursor | None] = {"harbor": None, "summit": None}
    for segment, now in enumerate((NOW, NOW + timedelta(days=4), NOW + timedelta(days=4, hours=1))):
        world.set_now(now)
        http.clock.time = now  # type: ignore[attr-defined]
        if segment == 1:
            sandbox.set_day(DOMAIN, LATE, [searched(clicks=3, n=1)])
            sandbox.set_day(DOMAIN, NOT_YET, [])
        for client in sandbox.town.clients:
            sites = list(sandbox.connection(client, root)["site_urls"])
            pages = pulled(connection(sandbox, root, http, site_urls=sites), cursors[client.client_id], now)
            cursors[client.client_id] = last_cursor(pages)
            landed += [
                Landed(client.client_id, "search_console", page.stream, record, received_at=now, segment=segment)
                for page in pages
                for record in page.records
            ]
    landed.append(_overlapping(landed))
    yield staged(tmp_path_factory.mktemp("home"), landed, "staging.search_console")
    server.stop()
    http.close()


def _overlapping(landed: list[Landed]) -> Landed:
    """The newest words on one partition: a row that moved to the second page while we were reading."""
    one = next(at for at in landed if at.record.record_id == f"{DOMAIN}|query|{TWICE}")
    row = {"impressions": 10, "ctr": 0.1, "position": 2}
    pages = [
        {"rows": [{"keys": ["furnace"], "clicks": 3, **row}, {"keys": ["boiler"], "clicks": 1, **row}]},
        {"rows": [{"keys": ["boiler"], "clicks": 2, **row}, {"keys": [24], "clicks": 1, **row}]},
        {"responseAggregationType": "byProperty"},
    ]
    payload = json.dumps({**json.loads(one.record.payload), "responses": pages}).encode()
    record = type(one.record)(one.record.record_id, payload, occurred_at=one.record.occurred_at)
    return dataclasses.replace(one, record=record, received_at=NOW + timedelta(days=5), segment=9)


def one_day(warehouse: duckdb.DuckDBPyConnection, model: str, columns: str, day: date) -> list[tuple[Any, ...]]:
    sql = f"""select {columns} from staging.stg_search_console__{model}
              where client_id = 'harbor' and searched_on = ? order by all"""
    return warehouse.execute(sql, [day]).fetchall()


def test_case_08_a_row_on_two_pages_is_one_row_and_the_later_page_counts(warehouse: Any) -> None:
    assert one_day(warehouse, "by_query", "query, clicks", TWICE) == [("24", 1), ("boiler", 2), ("furnace", 3)]


def test_case_11_final_figures_replace_provisional_ones_and_vanished_rows_vanish(warehouse: Any) -> None:
    assert one_day(warehouse, "by_query", "query, clicks, is_final", LATE) == [("query 1", 3, True)]
    assert one_day(warehouse, "by_date", "clicks, is_final", LATE) == [(3, True)]


def test_case_13_the_total_is_by_date_and_hidden_clicks_are_what_queries_lack(warehouse: Any) -> None:
    """The mart's rule needs both figures from here: 100 in all, of which 40 by named queries."""
    assert one_day(warehouse, "by_date", "clicks", MIXED) == [(100,)]
    assert one_day(warehouse, "by_query", "sum(clicks)", MIXED) == [(40,)]


def test_case_14_positions_can_be_combined_by_impressions(warehouse: Any) -> None:
    """Every row keeps the impressions its position is weighted by."""
    combined = "round(sum(average_position * impressions) / sum(impressions), 6)"
    assert one_day(warehouse, "by_query", combined, TODAY - timedelta(days=11)) == [(10.9,)]
    assert one_day(warehouse, "by_date", "round(average_position, 6)", TODAY - timedelta(days=11)) == [(10.9,)]


def test_case_19_a_silent_day_is_zero_once_final_and_unknown_before(warehouse: Any) -> None:
    assert one_day(warehouse, "by_date", "clicks, impressions, ctr, average_position, is_final", SILENT) == [
        (0, 0, None, None, True)
    ]
    assert one_day(warehouse, "by_date", "clicks", NOT_YET) == []
    landed = "select count(*) from staging.base_search_console__by_date where client_id = 'harbor' and searched_on = ?"
    assert warehouse.execute(landed, [NOT_YET]).fetchone() == (1,)


def test_every_model_has_every_day_of_both_clients_once(warehouse: Any) -> None:
    for model in ("by_date", "by_page", "by_query", "by_device", "by_country"):
        key, silent = ("record_key", 0) if model == "by_date" else ("row_key", 1)
        sql = f"""
            select client_id, count(distinct searched_on), count(*) - count(distinct {key}), count(*) filter (clicks is null)
            from staging.stg_search_console__{model} group by client_id order by client_id"""
        found = warehouse.execute(sql).fetchall()
        assert found == [("harbor", DAYS + 3 - silent, 0, 0), ("summit", DAYS + 4, 0, 0)]
