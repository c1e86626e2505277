"""Rotating sign-ins under fire: killed around storing a new token, two processes at once, and a token that is dead for good.

QuickBooks is the strictest: its refresh token changes with use. "grace" is the provider that lets the old one live for a day,
"strict" the one that does not.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from connectors.base import Secret
from connectors.http import Clock
from connectors.oauth import MemoryVault
from connectors.sandbox.run import RunningSandbox, start_sandbox
from connectors.thumbtack import Thumbtack, ThumbtackOptions
from pipeline.store.schema import leases
from pipeline.workshop import Workshop
from tests.conftest import Http, Stub
from tests.faults.homes import SMALL, Home, fail, served, watched

DOOMED = "tests/faults/doomed.py"
TOKEN = "/oauth2/v1/tokens/bearer"
QUARTER = timedelta(minutes=15)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    """A town of its own for each test: its token lines remember."""
    running = start_sandbox(**{**SMALL, "leads_per_month": 8}, providers=["quickbooks", "hubspot"])
    yield running
    running.stop()


@pytest.fixture
def one(sandbox: RunningSandbox) -> str:
    return sandbox.town.clients[0].client_id


@pytest.fixture
def home(sandbox: RunningSandbox, tmp_path: Path) -> Home:
    return Home(sandbox, tmp_path, clock=Clock())


def killed_at(home: Home, point: str, client: str) -> None:
    process = home.process(DOOMED, point, "1", "quickbooks", client)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said


def a_minute_passes(home: Home) -> None:
    """The dead process held the lock on the tokens; a minute later it counts as left."""
    with home.engine.begin() as connection:
        left = connection.execute(update(leases).values(expires_at="2000-01-01")).rowcount
    assert left >= 1, "the killed process held no lock"


def reconnected_by_a_person(home: Home, client_id: str) -> Home:
    """The home with a refresh token that the client has just authorised."""
    quickbooks = home.sandbox.providers["quickbooks"]
    [client] = [client for client in home.sandbox.town.clients if client.client_id == client_id]
    fresh = str(quickbooks.tokens.authorise(quickbooks.realm(client))["refresh_token"])
    secret = f"{client_id}_quickbooks_refresh_token".upper().replace("-", "_")
    return Home(home.sandbox, home.path, clock=home.clock, environ={secret: fresh})


@pytest.mark.parametrize(
    ("point", "rotation"),
    [("token received", "grace"), ("token saved", "grace"), ("token saved", "strict")],
)
def test_a12_killed_around_storing_a_rotated_token_the_next_run_works(
    home: Home, sandbox: RunningSandbox, one: str, point: str, rotation: str
) -> None:
    sandbox.providers["quickbooks"].tokens.rotation = rotation
    killed_at(home, point, one)
    a_minute_passes(home)
    assert {outcome.state for outcome in home.sync("quickbooks").values()} == {"ok"}
    assert {key for key in served(sandbox, "pull") if key[1] == "quickbooks"} <= set(home.landed())


def test_a12_a_new_token_lost_for_good_is_said_at_once_with_what_to_do(
    home: Home, sandbox: RunningSandbox, one: str
) -> None:
    """Strict rotation, and the process died between the answer and the disk: no program can mend this."""
    sandbox.providers["quickbooks"].tokens.rotation = "strict"
    killed_at(home, "token received", one)
    a_minute_passes(home)
    outcomes = home.sync()
    assert [name for name, outcome in outcomes.items() if outcome.state != "ok"] == [f"{one}/quickbooks"]
    state = home.state(f"{one}/quickbooks")
    assert state.state == "needs_person"
    assert "refresh token" in state.reason
    assert "authorise again" in state.fix


def test_a12_a_token_answer_that_is_cut_off_is_asked_for_again_at_once(stub: Stub, http: Http) -> None:
    """Thumbtack's old token dies a minute after the new one is made, so the next run would be too late."""
    whole = b'{"access_token": "new", "expires_in": 3600, "refresh_token": "next"}'
    stub.script = [(200, {}, whole[:30]), (200, {}, whole), (200, {}, b'{"userID": "1"}'), (200, {}, b'{"data": []}')]
    options = ThumbtackOptions(
        webhook_user="u", webhook_password=Secret("p"), client_id="c", client_secret=Secret("s"),
        refresh_token=Secret("first"), base_url=stub.origin, token_url=f"{stub.origin}/oauth2/token",
    )  # fmt: skip
    vault = MemoryVault()
    assert Thumbtack(options, connection="acme/thumbtack", http=http, vault=vault).check().ok
    assert vault.tokens is not None
    assert vault.tokens.refresh_token == "next"
    assert [path for _, path, _, _ in stub.requests][:2] == ["/oauth2/token"] * 2


def test_a13_two_processes_that_need_a_token_at_once_make_one_token_call(
    home: Home, sandbox: RunningSandbox, one: str
) -> None:
    sandbox.providers["quickbooks"].tokens.rotation = "strict"
    processes = [
        home.process("-m", "pipeline.cli", "sync", "--provider", "quickbooks", "--client", one) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sandbox.providers["quickbooks"].tokens.refreshes == 1


def test_a13_the_token_is_renewed_once_though_both_held_the_same_dead_one(
    home: Home, sandbox: RunningSandbox, one: str
) -> None:
    """Two workers, one connection, and an access token that has just been refused to both."""
    tokens = sandbox.providers["quickbooks"].tokens
    assert home.sync("quickbooks", clients=(one,))[f"{one}/quickbooks"].state == "ok"
    [config] = home.office.connections(client=one, provider="quickbooks")
    workers = [Workshop(home.settings, home.engine).connector(config)[0] for _ in range(2)]
    auths = [worker.company.account.auth for worker in workers]  # type: ignore[attr-defined]
    refused = [dict(auth.headers()) for auth in auths]
    before = tokens.refreshes
    assert [auth.renew(headers) for auth, headers in zip(auths, refused, strict=True)] == [True, True]
    assert tokens.refreshes - before == 1
    assert auths[0].headers() == auths[1].headers() != refused[0]


def test_a14_a_dead_grant_causes_no_storm_and_harms_nobody_else(home: Home, sandbox: RunningSandbox, one: str) -> None:
    other, name = sandbox.town.clients[1].client_id, f"{one}/quickbooks"
    home.clock = None  # the sandbox's
    sandbox.world.set_now(datetime.now(UTC))
    quickbooks = sandbox.providers["quickbooks"]
    assert {outcome.state for outcome in home.sync().values()} == {"ok"}
    quickbooks.tokens.revoke_realm(quickbooks.realm(sandbox.town.clients[0]))

    attempts, token_calls = 0, 0
    for _ in range(8):  # two hours of the quarter-hourly schedule
        sandbox.world.set_now(sandbox.world.now() + QUARTER)
        with watched(sandbox) as calls:
            outcomes = home.sync()
        attempts += not outcomes[name].skipped
        token_calls += sum(call.path.endswith(TOKEN) for call in calls)
        assert outcomes[name].state == "needs_person"
        assert {o.state for key, o in outcomes.items() if key != name} == {"ok"}
    assert attempts <= 4, "twice an hour, in case it was mended on the other side"
    # each attempt tries the stored token, the one before it and the configured one; the other client renews as it must
    assert token_calls <= 4 * 3 + 3
    state = home.state(name)
    assert "authorise again" in state.fix
    assert state.last_success_at is not None
    fresh = home.state(f"{other}/quickbooks").last_success_at
    assert fresh is not None
    assert datetime.fromisoformat(fresh) == sandbox.world.now()


def test_a14_a_new_secret_resumes_at_the_next_run(home: Home, sandbox: RunningSandbox, one: str) -> None:
    quickbooks, name = sandbox.providers["quickbooks"], f"{one}/quickbooks"
    realm = quickbooks.realm(sandbox.town.clients[0])
    assert home.sync("quickbooks")[name].state == "ok"
    quickbooks.tokens.revoke_realm(realm)
    assert home.sync("quickbooks")[name].state == "needs_person"
    assert home.sync("quickbooks")[name].skipped
    outcome = reconnected_by_a_person(home, one).sync("quickbooks")[name]
    assert outcome.state == "ok"
    assert not outcome.skipped


@pytest.mark.soak
@pytest.mark.parametrize("rotation", ["grace", "strict"])
def test_a12_a_hundred_kills_around_a_rotation_never_end_in_silence(
    home: Home, sandbox: RunningSandbox, one: str, rotation: str
) -> None:
    tokens, name = sandbox.providers["quickbooks"].tokens, f"{one}/quickbooks"
    tokens.rotation = rotation
    kills, reconnected = 0, 0
    for n in range(100):
        fail(sandbox, "revoked_token", provider="quickbooks", path="/v3/company")  # makes a rotation necessary
        process = home.process(DOOMED, ("token received", "token saved")[n % 2], "1", "quickbooks", one)
        process.communicate(timeout=120)
        kills += process.returncode == -signal.SIGKILL
        a_minute_passes(home)
        sandbox.world.faults.clear()
        fail(sandbox, "revoked_token", provider="quickbooks", path="/v3/company")
        outcome = home.sync("quickbooks", clients=(one,))[name]
        if outcome.state != "ok":
            assert (rotation, outcome.state) == ("strict", "needs_person")
            assert "authorise again" in home.state(name).fix
            home = reconnected_by_a_person(home, one)
            reconnected += 1
            assert home.sync("quickbooks", clients=(one,))[name].state == "ok"
    assert kills == 100
    assert reconnected == (50 if rotation == "strict" else 0)
