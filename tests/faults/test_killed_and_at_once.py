"""Sync killed by SIGKILL, and two syncs of one home at once: nothing lost, nothing torn, no cursor ahead of its records."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from connectors.http import Clock
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.store.schema import segments
from tests.faults.homes import SMALL, Home, served, wait_for, watched

DOOMED = "tests/faults/doomed.py"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(**SMALL)
    yield running
    running.stop()


def kill_after(home: Home, requests: int) -> bool:
    """Start a sync and kill it once the providers have had so many requests; False if it ended before."""
    with watched(home.sandbox) as calls:
        process = home.process(DOOMED, "-", "0")
        wait_for(lambda: len(calls) >= requests or process.poll() is not None, 120)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode == -signal.SIGKILL


def die_at(home: Home, point: str, time_: int, provider: str = "") -> None:
    process = home.process(DOOMED, point, str(time_), provider)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said


def complete(home: Home) -> None:
    """A clean sync, and then the oracle: everything that can be pulled has landed, and the ledger knows only real files."""
    for name, outcome in home.sync().items():
        assert outcome.state == "ok", (name, outcome.reason)
    landed = home.landed()
    assert served(home.sandbox, "pull") - set(landed) == set()
    files = {str(path.relative_to(home.settings.landing)) for path in home.segments()}
    with home.engine.connect() as connection:
        noted = dict(tuple(row) for row in connection.execute(select(segments.c.name, segments.c.sha256)))
    assert set(noted) <= files


def test_killed_at_random_a_sync_loses_nothing(sandbox: RunningSandbox, tmp_path: Path) -> None:
    home, dice = Home(sandbox, tmp_path, clock=Clock()), random.Random(7)
    kills = [kill_after(home, dice.randint(1, 150)) for _ in range(6)]
    assert sum(kills) >= 4, "the syncs ended before they could be killed"
    complete(home)
    records = home.landed()
    assert records.total() < 3 * len(records), "work that was committed is not done again after each kill"


@pytest.mark.parametrize(("point", "time_"), [("segment", 1), ("segment", 5), ("commit", 3), ("page", 40)])
def test_killed_at_the_worst_moments_a_sync_loses_nothing(
    sandbox: RunningSandbox, tmp_path: Path, point: str, time_: int
) -> None:
    home = Home(sandbox, tmp_path, clock=Clock())
    die_at(home, point, time_)
    assert served(sandbox, "pull") - set(home.landed()), "it had read everything before it died"
    complete(home)


@pytest.mark.soak
def test_two_hundred_kills_lose_nothing(sandbox: RunningSandbox, tmp_path: Path) -> None:
    dice = random.Random(11)
    for n in range(20):
        home = Home(sandbox, tmp_path / str(n), clock=Clock())
        for _ in range(10):
            kill_after(home, dice.randint(1, 200))
        complete(home)


# ---- two at once ----


def test_two_syncs_of_one_home_at_once_both_succeed_and_lose_nothing(sandbox: RunningSandbox, tmp_path: Path) -> None:
    home = Home(sandbox, tmp_path, clock=Clock())
    before: dict[tuple[str, str, str], tuple[int, str]] = {}
    for _ in range(2):  # first a new home, then a known one
        processes = [home.process("-m", "pipeline.cli", "sync") for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
        after = home.cursors()
        assert set(before) <= set(after)
        for feed, (version, cursor) in before.items():
            assert after[feed][0] >= version
            assert reached(feed[1], after[feed][1]) >= reached(feed[1], cursor), feed
        before = after
    assert not list(tmp_path.rglob("*.duckdb")), "a sync has no business with the warehouse"
    complete(home)
    assert sum(outcome.landed.total() for outcome in home.sync().values()) == 0, "then nothing is news any more"


def reached(provider: str, cursor: str) -> list[Any]:
    """How far a cursor says that its feed was read, in terms that only grow."""
    value = msgspec.json.decode(cursor) or {}
    if provider == "callrail":
        return [
            [company, state["read_to"], state["until"]] for company, state in sorted(value.get("companies", {}).items())
        ]
    if provider == "search_console":
        return [[site, state["final_through"]] for site, state in sorted(value.items())]
    if provider == "quickbooks":
        return [_instant(value["since"])]
    return [_instant(value[name]) for name in ("until", "read_at", "sent_to") if value.get(name)]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_pull_that_overlaps_another_never_moves_a_cursor_back(sandbox: RunningSandbox, tmp_path: Path) -> None:
    """The slow one began first and ends last: what it knows is old by then."""
    client = sandbox.town.clients[0].client_id
    slow, fast = Home(sandbox, tmp_path, clock=Clock()), Home(sandbox, tmp_path, clock=Clock())
    assert fast.sync("hubspot", clients=(client,))[f"{client}/hubspot"].state == "ok"
    with watched(sandbox) as calls:
        process = slow.process("-c", SLOW_SYNC, client, str(tmp_path / "go on"))
        while not any("account-info" in call.path for call in calls):
            time.sleep(0.01)
        assert fast.sync("hubspot", clients=(client,))[f"{client}/hubspot"].state == "ok"
        newer = fast.cursors()
        (tmp_path / "go on").touch()
        assert process.wait(timeout=60) == 0, process.communicate()
    assert {feed: reached("hubspot", cursor) for feed, (_, cursor) in slow.cursors().items()} == {
        feed: reached("hubspot", cursor) for feed, (_, cursor) in newer.items()
    }
    complete(fast)


# a sync that has read everything, and commits it only when it is told to
SLOW_SYNC = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from pipeline.landing import Landing
from pipeline.office import Office

flush = Landing.flush

def late(self):
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    flush(self)

Landing.flush = late
outcomes = Office.from_env().sync(now=datetime.now(UTC), client=sys.argv[1], provider="hubspot")
sys.exit(outcomes[0].state != "ok")
"""
