"""Lists that move while they are read, and lists that never end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import Connector, ContractChanged, Secret
from connectors.callrail import CallRail, CallRailOptions
from connectors.http import Http
from connectors.hubspot import HubSpot, HubSpotOptions
from connectors.hubspot.kinds import Kind
from connectors.oauth import MemoryVault, Tokens
from connectors.quickbooks import QuickBooks, QuickBooksOptions
from connectors.sandbox.callrail import SandboxCallRail
from connectors.sandbox.hubspot import SandboxHubSpot
from connectors.sandbox.provider import Request, SandboxProvider, World
from connectors.sandbox.quickbooks import SandboxQuickBooks
from connectors.sandbox.town import make_town
from connectors.search_console import SearchConsole, SearchConsoleOptions
from connectors.twilio import Twilio, TwilioOptions
from tests.conftest import FakeClock, Stub

END = datetime(2026, 3, 1, tzinfo=UTC)
TOWN = make_town(3, clients=1, months=1, leads_per_month=12, end=END)
CLIENT = TOWN.clients[0]
PATIENCE = 60  # requests
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Moving(httpx.BaseTransport):
    """A provider without a socket (a thousand runs must take seconds), on which something happens before its nth request."""

    def __init__(self, provider: SandboxProvider, clock: FakeClock) -> None:
        self.provider, self.clock = provider, clock
        self.happens: dict[int, list[Callable[[], None]]] = {}
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.clock.advance(1)  # every answer takes a second, so that edits have times of their own
        for event in self.happens.pop(self.requests, []):
            event()
        self.requests += 1
        reply = self.provider.handle(
            Request(
                method=request.method,
                path=request.url.raw_path.decode().split("?")[0],
                query=request.url.query.decode(),
                headers={key.lower(): value for key, value in request.headers.items()},
                body=request.read(),
                root="http://town",
            )
        )
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


@dataclass
class Reader:
    """A connector over a moving list, and what it has brought so far."""

    transport: Moving
    connector: Connector
    feed: str
    cursor: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.got: dict[str, bytes] = {}

    def run(self) -> None:
        """One pull, as the engine does it: everything landed, the last cursor kept."""
        for page in self.connector.pull(self.feed, self.cursor, now=self.transport.clock.now()):
            self.got |= {f"{page.stream}/{record.record_id}": bytes(record.payload) for record in page.records}
            self.cursor = page.cursor or self.cursor

    def runs_later(self, *pauses: timedelta) -> None:
        for pause in pauses:
            self.transport.clock.advance(pause.total_seconds())
            self.run()


def moving(sandbox: type[SandboxProvider], connector: type[Connector], feed: str) -> tuple[Any, Reader]:
    clock = FakeClock(END + 12 * 60 * MINUTE)
    provider = sandbox(TOWN, World(TOWN.seed, now=clock.now))
    transport = Moving(provider, clock)
    told = provider.connection(CLIENT, "http://town")
    options = connector.Options(**told, base_url="http://town")
    if connector is QuickBooks:
        options = replace(options, token_url="http://town/oauth2/v1/tokens/bearer")
    http = Http(clock=clock, transport=transport)
    return provider, Reader(transport, connector(options, connection="acme/x", http=http), feed)


# what happens, before which request, and to which of the records
HAPPENINGS = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(["edit", "add", "remove"]), st.integers(0, 99)), max_size=8
)
FEW_SECONDS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW_SECONDS
@given(happenings=HAPPENINGS)
def test_a8_quickbooks_rows_that_move_to_the_end_while_listed_are_all_there_after_the_next_run(
    happenings: list[tuple[int, str, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.quickbooks.connector.PAGE", 3)
        provider, reader = moving(SandboxQuickBooks, QuickBooks, "changes")
        shelf = provider.books(CLIENT.client_id).shelves["Customer"]

        def happen(what: str, which: int) -> None:
            rows = [key for key, row in shelf.rows.items() if not row.deleted]
            if what == "add":
                provider.add(CLIENT.client_id, "Customer", {"DisplayName": f"New {which}"})
            elif what == "edit" and rows:
                provider.mutate(CLIENT.client_id, "Customer", rows[which % len(rows)], Notes=f"note {which}")
            elif rows:
                provider.delete(CLIENT.client_id, "Customer", rows[which % len(rows)])

        for before, what, which in happenings:
            reader.transport.happens.setdefault(before, []).append(lambda what=what, which=which: happen(what, which))
        reader.run()
        reader.transport.happens.clear()
        reader.runs_later(60 * MINUTE)
        rows = {f"customers/{key}": row.body for key, row in shelf.rows.items() if not row.deleted}
        assert {key: reader.got.get(key) for key in rows} == rows, "every row, in its newest version"
        for key, row in shelf.rows.items():
            if row.deleted and f"customers/{key}" in reader.got:
                assert b'"Deleted"' in reader.got[f"customers/{key}"] or b"_observed" in reader.got[f"customers/{key}"]


@FEW_SECONDS
@given(happenings=HAPPENINGS, later=HAPPENINGS)
def test_a8_hubspot_contacts_that_move_while_listed_or_searched_are_all_there_after_the_next_run(
    happenings: list[tuple[int, str, int]], later: list[tuple[int, str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kind, "page", 3)
        patch.setattr("connectors.hubspot.objects.SEARCH_PAGE", 2)
        provider, reader = moving(SandboxHubSpot, HubSpot, "contacts")
        portal = provider.portal(CLIENT.client_id)

        def happen(what: str, which: int) -> None:
            ids = portal.ids("contacts")
            if what == "add":
                portal.add("contacts", {"firstname": f"New {which}"})
            elif what == "edit" and ids:
                portal.edit("contacts", ids[which % len(ids)], {"city": f"City {which}"})
            elif ids:
                portal.archive("contacts", ids[which % len(ids)])

        for round_ in (happenings, later):
            start = reader.transport.requests
            for before, what, which in round_:
                reader.transport.happens.setdefault(start + before, []).append(
                    lambda what=what, which=which: happen(what, which)
                )
            reader.run()
            reader.transport.happens.clear()
            reader.runs_later(15 * MINUTE)
            for one in portal.ids("contacts"):
                assert f"contacts/{one}" in reader.got, "lost"
                city = json.loads(reader.got[f"contacts/{one}"])["properties"].get("city")
                assert city == portal.values(portal.get("contacts", one)).get("city"), "an edit was lost"
        # deletions change no modified date: they are looked for once a week
        reader.runs_later(8 * DAY)
        gone = {f"contacts/{one}" for one in portal.ids("contacts", archived=True)} & set(reader.got)
        assert all(json.loads(reader.got[key])["archived"] for key in gone)


@FEW_SECONDS
@given(happenings=HAPPENINGS)
def test_a8_callrail_calls_that_push_each_other_down_the_list_are_all_there_after_the_next_run(
    happenings: list[tuple[int, str, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.callrail.connector.PER_PAGE", 3)
        provider, reader = moving(SandboxCallRail, CallRail, "calls")
        book = provider.book(CLIENT.client_id)
        fact = book.listed("calls")[1][0].fact
        new = iter(range(90_000, 91_000))
        # a call taken off an old page is only missed for a day: removals are of the last week's calls
        recent = [item.id for item in book.listed("calls")[1] if item.at > END - 6 * DAY]

        def happen(what: str, which: int) -> None:
            if what == "add":
                provider.add("calls", replace(fact, n=next(new), at=reader.transport.clock.now()))
            elif what == "edit" or not recent:
                item = book.listed("calls")[1][which % len(book.listed("calls")[1])]
                provider.edit(CLIENT.client_id, "calls", item.id, note=f"note {which}")
            else:
                provider.mark_spam(CLIENT.client_id, recent[which % len(recent)])

        for before, what, which in happenings:
            reader.transport.happens.setdefault(before, []).append(lambda what=what, which=which: happen(what, which))
        reader.run()
        reader.transport.happens.clear()
        reader.runs_later(15 * MINUTE, DAY, DAY)
        listed = book.listed("calls")[1]
        assert {f"calls/{item.id}" for item in listed} - set(reader.got) == set()
        for item in listed:
            if "note" in item.edits:
                assert json.loads(reader.got[f"calls/{item.id}"])["note"] == item.edits["note"], "an edit was lost"
        spam = {f"calls/{item.id}" for item in book.streams["calls"].values() if item.spam} & set(reader.got)
        assert all(b"_observed" in reader.got[key] for key in spam), "a call marked as spam is noted as absent"


# ---- A9: lists without end ----


def page(key: str, items: list[Any], **more: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({key: items, **more}).encode()


COMPANY = {"id": "COM1", "status": "active", "name": "Acme"}
CALL = {"id": "CAL1", "company_id": "COM1", "start_time": "2026-02-27T10:00:00Z"}
SECRET = Secret("s")


def callrail(stub: Stub, http: Http, answer: Callable[[int], dict[str, Any]]) -> Connector:
    def script(method: str, path: str, *rest: Any) -> Any:
        if "companies" in path:
            return page("companies", [COMPANY], page=1, per_page=250, total_pages=1, total_records=1)
        told = answer(len(stub.requests))
        return page("calls", told.pop("items"), has_next_page=True, per_page=250, **told)

    stub.script = script
    options = CallRailOptions(account_id="ACC1", api_key=SECRET, company_ids=("COM1",), base_url=stub.origin)
    return CallRail(options, connection="acme/callrail", http=http)


def hubspot(stub: Stub, http: Http, answer: Callable[[int], dict[str, Any]]) -> Connector:
    def script(method: str, path: str, *rest: Any) -> Any:
        if "account-info" in path:
            return 200, {}, b'{"portalId": 1, "timeZone": "UTC"}'
        if "/properties/" in path:
            return page("results", [{"name": name} for name in KINDS_PROPERTIES])
        told = answer(len(stub.requests))
        return page("results", told["items"], paging={"next": {"after": told["after"]}})

    stub.script = script
    options = HubSpotOptions(access_token=SECRET, base_url=stub.origin)
    return HubSpot(options, connection="acme/hubspot", http=http)


KINDS_PROPERTIES = ("hs_object_id", "createdate", "lastmodifieddate", "firstname", "lastname", "email", "phone")
CONTACT = {"id": "1", "properties": {}, "createdAt": "2026-02-01T00:00:00Z", "updatedAt": "2026-02-01T00:00:00Z"}


def twilio(stub: Stub, http: Http, answer: Callable[[int], dict[str, Any]]) -> Connector:
    def script(method: str, path: str, *rest: Any) -> Any:
        told = answer(len(stub.requests))
        return page("messages", told["items"], next_page_uri=told["next"])

    stub.script = script
    options = TwilioOptions(account_sid="AC1", auth_token=SECRET, base_url=stub.origin)
    return Twilio(options, connection="acme/twilio", http=http)


def quickbooks(stub: Stub, http: Http, answer: Callable[[int], dict[str, Any]]) -> Connector:
    def script(method: str, path: str, *rest: Any) -> Any:
        rows = answer(len(stub.requests))["items"]
        entity = path.split("FROM+")[-1].split("%20")[0].split("+")[0] if "FROM+" in path else "Customer"
        return 200, {}, json.dumps({"QueryResponse": {entity: rows}, "time": "2026-03-01T00:00:00Z"}).encode()

    stub.script = script
    tokens = Tokens("access", http.clock.now() + 30 * DAY, "refresh")
    options = QuickBooksOptions(
        realm_id="1", client_id="c", client_secret=SECRET, refresh_token=SECRET,
        base_url=stub.origin, token_url=stub.origin + "/token",
    )  # fmt: skip
    connector = QuickBooks(options, connection="acme/quickbooks", http=http, vault=MemoryVault())
    seed = connector.company.account.auth._seed  # type: ignore[attr-defined]
    connector.company.account.auth._vault.save(replace(tokens, seed=seed))  # type: ignore[attr-defined]
    return connector


def search_console(stub: Stub, http: Http, answer: Callable[[int], dict[str, Any]]) -> Connector:
    def script(method: str, path: str, *rest: Any) -> Any:
        if path == "/token":
            return 200, {}, b'{"access_token": "a", "expires_in": 3600}'
        return page("rows", answer(len(stub.requests))["items"], responseAggregationType="byProperty")

    stub.script = script
    options = SearchConsoleOptions(
        site_urls=("sc-domain:acme.example",), client_id=SECRET, client_secret=SECRET, refresh_token=SECRET,
        base_url=stub.origin, token_url=stub.origin + "/token", history_days=10,
    )  # fmt: skip
    return SearchConsole(options, connection="acme/search_console", http=http)


MESSAGE = {"sid": "SM1", "account_sid": "AC1", "status": "delivered", "date_created": "Fri, 27 Feb 2026 10:00:00 +0000"}
ROW = {"keys": ["2026-02-20"], "clicks": 1, "impressions": 2, "ctr": 0.5, "position": 3.0}
CUSTOMERS = [
    {"Id": str(n), "MetaData": {"LastUpdatedTime": f"2026-02-{1 + n % 27:02d}T00:00:00Z"}} for n in range(1000)
]
CALLS = "/v3/a/ACC1/calls.json?offset="
MESSAGES = "/2010-04-01/Accounts/AC1/Messages.json?Page="

ENDLESS: dict[str, tuple[Callable[..., Connector], str, Callable[[int], dict[str, Any]]]] = {
    "callrail: the next page is the same": (callrail, "calls", lambda n: {"items": [CALL], "next_page": CALLS + "1"}),
    "callrail: new links to the same page": (callrail, "calls", lambda n: {"items": [CALL], "next_page": f"{CALLS}{n}"}),
    "callrail: empty pages with a next one": (callrail, "calls", lambda n: {"items": [], "next_page": f"{CALLS}{n}"}),
    "hubspot: the next page is the same": (hubspot, "contacts", lambda n: {"items": [CONTACT], "after": "7"}),
    "hubspot: two pages that name each other": (hubspot, "contacts", lambda n: {"items": [CONTACT], "after": str(n % 2)}),
    "hubspot: empty pages with a next one": (hubspot, "contacts", lambda n: {"items": [], "after": str(n)}),
    "hubspot: owners that name the same page": (hubspot, "owners", lambda n: {"items": [{"id": "1"}], "after": "7"}),
    "twilio: the next page is the same": (twilio, "messages", lambda n: {"items": [MESSAGE], "next": MESSAGES + "1"}),
    "twilio: empty pages with a next one": (twilio, "messages", lambda n: {"items": [], "next": f"{MESSAGES}{n}"}),
    "quickbooks: always the same full page": (quickbooks, "changes", lambda n: {"items": CUSTOMERS}),
    "search console: the same rows for ever": (search_console, "performance", lambda n: {"items": [ROW]}),
    "search console: new rows for ever": (search_console, "performance", lambda n: {"items": [{**ROW, "clicks": n}]}),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDLESS)
def test_a9_a_list_without_end_is_stopped_and_named(case: str, stub: Stub) -> None:
    make, feed, answer = ENDLESS[case]
    connector = make(stub, Http(clock=FakeClock(END)), answer)
    endless = stub.script
    stub.script = lambda *request: endless(*request) if len(stub.requests) <= PATIENCE else (404, {}, b"enough")
    with pytest.raises(ContractChanged) as stopped:
        list(connector.pull(feed, None, now=END))
    assert stopped.value.fix
    assert len(stub.requests) <= PATIENCE


def test_a9_contacts_of_a_deal_without_end_are_stopped_too(stub: Stub) -> None:
    connector = hubspot(stub, Http(clock=FakeClock(END)), lambda n: {"items": [], "after": ""})
    link = {"from": {"id": "9"}, "to": [{"toObjectId": 1}], "paging": {"next": {"after": "1"}}}
    others = stub.script
    stub.script = lambda method, path, *rest: (
        page("results", [link]) if "/associations/" in path else others(method, path, *rest)
    )
    with pytest.raises(ContractChanged, match="does not come to an end"):
        list(connector.refetch("deal_contacts", ["9"], now=END))
    assert len(stub.requests) < 10
