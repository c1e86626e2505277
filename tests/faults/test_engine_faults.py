"""What a whole sync does when a provider misbehaves: retries as told, stores no half page, resumes where it was, harms no other
client, and says in the connection's state what is the matter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

import pipeline.landing
from connectors.base import Secret
from connectors.http import Clock
from connectors.hubspot.kinds import Kind
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.store.connections import load_states
from tests.conftest import Stub
from tests.faults.homes import SMALL, Home, fail, served, wait_for, watched

MINUTES = timedelta(minutes=1)


@pytest.fixture(scope="module")
def town() -> Iterator[RunningSandbox]:
    running = start_sandbox(**SMALL)
    yield running
    running.stop()


@pytest.fixture
def sandbox(town: RunningSandbox) -> Iterator[RunningSandbox]:
    """The town without faults, at the present time."""
    town.world.set_now(datetime.now(UTC))
    yield town
    town.world.faults.clear()


@pytest.fixture
def home(sandbox: RunningSandbox, tmp_path: Path) -> Home:
    return Home(sandbox, tmp_path)


@pytest.fixture
def clients(town: RunningSandbox) -> tuple[str, str]:
    one, other = (client.client_id for client in town.town.clients)
    return one, other


def callrail_account(sandbox: RunningSandbox, client_id: str) -> str:
    """Part of every path of this client's CallRail calls."""
    return str(sandbox.providers["callrail"].book(client_id).account.id)


def all_of(sandbox: RunningSandbox, client_id: str, provider: str) -> set[tuple[str, str, str, str]]:
    return {key for key in served(sandbox, "pull") if key[:2] == (client_id, provider)}


# ---- A1 to A4: waiting, outages, slow and broken answers ----


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a1_retry_after_is_waited_for_as_told_and_other_clients_go_on(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], form: str
) -> None:
    one, other = (callrail_account(sandbox, client) for client in clients)
    home.clock = Clock()
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    told = "1" if form == "seconds" else format_datetime(until, usegmt=True)
    fail(sandbox, "429", provider="callrail", path=one, retry_after=told)
    with watched(sandbox) as calls:
        outcomes = home.sync("callrail")
    assert {outcome.state for outcome in outcomes.values()} == {"ok"}
    mine = [call for call in calls if one in call.path]
    [refused] = [i for i, call in enumerate(mine) if call.fault == "429"]
    waited = mine[refused + 1].at - mine[refused].at
    assert waited >= 1.0, "earlier than it was told"
    assert waited < 5.0
    if form == "date":
        assert datetime.now(UTC) > until
    during = [c for c in calls if other in c.path and mine[refused].at < c.at < mine[refused + 1].at]
    assert len(during) > 3, "the other client waited too"
    assert all_of(sandbox, clients[0], "callrail") <= set(home.landed())


def test_a2_an_outage_costs_few_calls_keeps_every_cursor_and_ends_by_itself(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str]
) -> None:
    one, other = clients
    home.sync("callrail", "hubspot")
    cursors = home.cursors()
    fail(sandbox, "500", provider="callrail", path=callrail_account(sandbox, one), times=None)
    sandbox.world.set_now(sandbox.world.now() + 15 * MINUTES)
    with watched(sandbox) as calls:
        outcomes = home.sync("callrail", "hubspot")
    assert outcomes[f"{one}/callrail"].state == "failing"
    assert {name for name, outcome in outcomes.items() if outcome.state == "ok"} == {
        f"{one}/hubspot", f"{other}/callrail", f"{other}/hubspot"
    }  # fmt: skip
    assert sum(call.fault == "500" for call in calls) <= 25, "five tries for each of five feeds"
    unmoved = {feed: entry for feed, entry in home.cursors().items() if feed[:2] == (one, "callrail")}
    assert unmoved == {feed: entry for feed, entry in cursors.items() if feed[:2] == (one, "callrail")}

    state = home.state(f"{one}/callrail")
    assert state.last_success_at is not None
    assert state.last_success_at < state.last_attempt_at
    assert "500" in state.reason
    sandbox.world.faults.clear()
    sandbox.world.set_now(sandbox.world.now() + 15 * MINUTES)
    assert home.sync("callrail")[f"{one}/callrail"].state == "ok"


class Hasty(Clock):
    """A clock on which every look costs five seconds: a slow answer becomes a very slow one."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return 5.0 * self._looks

    def sleep(self, seconds: float) -> None:
        pass


def test_a3_a_body_that_drips_is_cut_off_and_the_run_ends_as_one_to_repeat(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], stub: Stub
) -> None:
    stub.script = lambda *request: (200, {}, b'{"companies": [' + b" " * 400, 0.002)
    home.environ["LEADTRAIL_CALLRAIL_BASE_URL"] = stub.origin
    home.clock = Hasty()
    started = time.monotonic()
    outcome = home.sync("callrail", clients=clients[:1])[f"{clients[0]}/callrail"]
    assert outcome.state == "failing"
    assert "longer than 60 s" in outcome.reason
    assert time.monotonic() - started < 30
    assert home.cursors() == {}
    assert home.landed().total() == 0


@pytest.mark.parametrize("kind", ["reset", "truncated"])
def test_a4_of_a_broken_page_nothing_is_stored_and_the_next_run_begins_with_it(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = clients[0]
    monkeypatch.setattr(Kind, "page", 5)
    fail(sandbox, kind, provider="hubspot", path="/objects/contacts", after=2, times=5)
    outcome = home.sync("hubspot", clients=(one,))[f"{one}/hubspot"]
    assert outcome.state == "failing"
    assert outcome.landed["contacts"] == 10, "the pages before it are kept"
    assert home.landed_of(one, "hubspot", "contacts").total() == 10
    assert outcome.landed["deals"] > 10, "other feeds go on"

    sandbox.world.faults.clear()
    again = home.sync("hubspot", clients=(one,))[f"{one}/hubspot"]
    assert again.state == "ok"
    rows = home.landed_of(one, "hubspot", "contacts")
    assert set(rows) == {key for key in all_of(sandbox, one, "hubspot") if key[2] == "contacts"}
    assert set(rows.values()) == {1}, "the pages before it were not read again"


# ---- A11: the credential ends in mid-way ----


def test_a11_an_access_token_that_ends_on_page_four_is_renewed_once_and_page_four_asked_again(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.quickbooks.connector.PAGE", 5)
    tokens = sandbox.providers["quickbooks"].tokens
    fail(sandbox, "revoked_token", provider="quickbooks", path="/query", after=3)
    before = tokens.refreshes
    with watched(sandbox) as calls:
        outcome = home.sync("quickbooks", clients=clients[:1])[f"{clients[0]}/quickbooks"]
    assert outcome.state == "ok"
    assert tokens.refreshes - before == 2, "one to begin with, one after the refusal"
    queries = [call for call in calls if call.path.endswith("/query")]
    assert [call.fault for call in queries[:5]] == ["", "", "", "revoked_token", ""]
    rows = home.landed_of(clients[0], "quickbooks", "customers")
    assert set(rows) == {key for key in all_of(sandbox, clients[0], "quickbooks") if key[2] == "customers"}


def test_a11_a_key_revoked_on_page_three_needs_a_person_and_a_new_key_resumes_at_page_three(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, name = clients[0], f"{clients[0]}/hubspot"
    monkeypatch.setattr(Kind, "page", 5)
    provider = sandbox.providers["hubspot"]
    fail(sandbox, "revoked_token", provider="hubspot", path="/objects/contacts", after=2, times=None)
    outcome = home.sync("hubspot", clients=(one,))[name]
    assert outcome.state == "needs_person"
    assert home.state(name).fix
    assert outcome.landed["contacts"] == 10
    with watched(sandbox) as calls:
        sandbox.world.set_now(sandbox.world.now() + 15 * MINUTES)
        assert home.sync("hubspot", clients=(one,))[name].skipped, "what only a person can mend is not knocked at"
    assert calls == []

    # the person stores a new token: no waiting for the half hour to pass
    sandbox.world.faults.clear()
    client = sandbox.town.clients[0]
    provider._tokens["pat-na1-new"] = client
    secret = f"{one}_hubspot_access_token".upper().replace("-", "_")
    home_now = Home(sandbox, home.path, environ={secret: "pat-na1-new"})
    assert home_now.sync("hubspot", clients=(one,))[name].state == "ok"
    rows = home.landed_of(one, "hubspot", "contacts")
    assert set(rows) == {key for key in all_of(sandbox, one, "hubspot") if key[2] == "contacts"}
    assert set(rows.values()) == {1}, "pages one and two were not read again"


# ---- A16: one client's quota ----


def test_a16_a_used_up_quota_defers_one_client_and_leaves_the_others_fresh(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str]
) -> None:
    one, other = clients
    account = callrail_account(sandbox, one)
    fail(sandbox, "429", provider="callrail", path=account, times=None, retry_after="3600")
    with watched(sandbox) as calls:
        outcomes = home.sync("callrail", "hubspot")
        assert outcomes[f"{one}/callrail"].state == "deferred"
        assert sum(call.fault == "429" for call in calls) == 1, "an hour is not waited for, nor is it asked again"
        assert {o.state for name, o in outcomes.items() if name != f"{one}/callrail"} == {"ok"}
        first = home.state(f"{other}/callrail").last_success_at

        for _ in range(3):  # the schedule goes on
            sandbox.world.set_now(sandbox.world.now() + 15 * MINUTES)
            outcomes = home.sync("callrail")
            assert outcomes[f"{one}/callrail"].skipped
            assert outcomes[f"{other}/callrail"].state == "ok"
        assert sum(call.fault == "429" for call in calls) == 1
    state = home.state(f"{one}/callrail")
    assert state.state == "deferred"
    assert state.retry_at is not None
    fresh = home.state(f"{other}/callrail").last_success_at
    assert fresh is not None
    assert first is not None
    assert datetime.fromisoformat(fresh) - datetime.fromisoformat(first) >= 45 * MINUTES

    sandbox.world.faults.clear()
    sandbox.world.set_now(sandbox.world.now() + 16 * MINUTES)
    assert home.sync("callrail")[f"{one}/callrail"].state == "ok", "it resumes by itself when the hour is over"
    assert all_of(sandbox, one, "callrail") <= set(home.landed())


# ---- A17: another client's data ----


def test_a17_a_secret_pasted_from_another_client_stores_no_row_and_the_state_says_so(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str]
) -> None:
    one, other = sandbox.town.clients
    swapped = {}
    for name, key in {
        "callrail": "api_key", "hubspot": "access_token", "twilio": "auth_token", "quickbooks": "refresh_token"
    }.items():  # fmt: skip
        theirs = sandbox.providers[name].connection(other, "")[key]
        assert isinstance(theirs, Secret)
        swapped[f"{one.client_id}_{name}_{key}".upper().replace("-", "_")] = theirs.reveal()
    home.environ |= swapped
    outcomes = home.sync("callrail", "hubspot", "twilio", "quickbooks")
    for name in ("callrail", "hubspot", "twilio", "quickbooks"):
        state = home.state(f"{one.client_id}/{name}")
        assert state.state in ("needs_person", "failing"), name
        assert state.reason
        assert state.fix
        assert outcomes[f"{other.client_id}/{name}"].state == "ok", "the other client is untouched"
    assert home.landed_of(one.client_id).total() == 0


def test_a17_a_record_of_another_company_is_not_stored_and_named(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str]
) -> None:
    one, other = clients
    callrail = sandbox.providers["callrail"]
    foreign = callrail.book(other).account.company_id
    call = callrail.book(one).listed("calls")[1][-1]
    callrail.edit(one, "calls", call.id, company_id=foreign)
    try:
        outcomes = home.sync("callrail")
    finally:
        call.edits.clear()
    assert outcomes[f"{one}/callrail"].state == "failing"
    assert foreign in home.state(f"{one}/callrail").reason
    assert (one, "callrail", "calls", call.id) not in home.landed()
    assert home.landed_of(one, "callrail", "form_submissions").total() > 0, "feeds that are his are read"
    assert all_of(sandbox, other, "callrail") <= set(home.landed())


# ---- A18: a backfill beside the daily news ----


def test_a18_a_long_backfill_does_not_hold_up_another_clients_news(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one run: what the quick client brought is durable, and its state good, long before the slow one ends."""
    big, quick = clients
    home.clock = Clock()
    monkeypatch.setattr(pipeline.landing, "FLUSH_SECONDS", 0.2)
    fail(sandbox, "slow", provider="callrail", path=callrail_account(sandbox, big), times=None, seconds=0.2)
    backfill = threading.Thread(target=home.sync, args=("callrail",))
    started = time.monotonic()
    backfill.start()
    try:
        wait_for(lambda: (quick, "callrail") in load_states(home.engine))
        took = time.monotonic() - started
        assert home.state(f"{quick}/callrail").state == "ok"
        assert all_of(sandbox, quick, "callrail") <= set(home.landed())
        assert backfill.is_alive(), "the backfill was too quick to prove anything"
    finally:
        backfill.join()
    assert took < 0.7 * (time.monotonic() - started)
    assert all_of(sandbox, big, "callrail") <= set(home.landed())


def test_a18_a_sync_beside_a_backfill_takes_no_more_than_twice_as_long(
    home: Home, sandbox: RunningSandbox, clients: tuple[str, str]
) -> None:
    big, quick = clients
    home.clock = Clock()
    home.sync("hubspot", clients=(quick,))

    def live() -> float:
        started = time.monotonic()
        assert home.sync("hubspot", clients=(quick,))[f"{quick}/hubspot"].state == "ok"
        return time.monotonic() - started

    alone = min(live() for _ in range(3))
    fail(sandbox, "slow", provider="callrail", path=callrail_account(sandbox, big), times=None, seconds=0.2)
    backfill = threading.Thread(target=home.sync, args=("callrail",), kwargs={"clients": (big,)})
    backfill.start()
    try:
        beside = min(live() for _ in range(3))
        assert backfill.is_alive(), "the backfill was too quick to prove anything"
    finally:
        backfill.join()
    assert beside <= 2 * alone + 0.2
