"""Killed while emitting, delivering and landing: what was due is delivered once, and what nobody can know is never repeated.

Every death is a SIGKILL, at each named point and at random. The oracle is the sandbox's ledger of the writes that it accepted.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors.http import Clock
from pipeline.crash_points import POINTS
from tests.conftest import Served
from tests.faults.homes import ROOT
from tests.follow_up_sandbox import CONTACT, House, house
from tests.follow_up_world import HOUR, MAIL, NOW

BETWEEN = timedelta(minutes=20)  # longer than the longest lease
LEADS = 2


class Moving(Clock):
    """Real time that began at NOW, and can be put forward; the sandbox keeps it too."""

    def __init__(self) -> None:
        self.ahead, self._began = timedelta(), time.monotonic()

    def now(self) -> datetime:
        return NOW + self.ahead + timedelta(seconds=time.monotonic() - self._began)


@dataclass
class Life:
    """A home that lives on after each death."""

    agency: House
    clock: Moving
    process: subprocess.Popen[str]

    def live(self, *, crash_at: str = "", die_after: float | None = None) -> int:
        """One emission and delivery; its exit code (-9: it was killed)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"now": self.clock.now().isoformat(), "crash_at": crash_at, "die_after": die_after}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["code"] in (0, -9), answer["said"]
        self.clock.ahead += BETWEEN
        return int(answer["code"])

    def settle(self) -> None:
        for _ in range(3):
            assert self.live() == 0

    def sent(self) -> Counter[tuple[str, str]]:
        """What the providers took, by kind and to whom."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self.agency.served.world.ledger:
            body: dict[str, Any] = entry["body"]
            to = {"message": "To", "email": "to"}.get(entry["kind"])
            if to:
                found[entry["kind"], str(body[to])] += 1
            elif entry["kind"] == "task":
                found["task", body["properties"]["hs_task_body"].rpartition("fk:")[2]] += 1
        return found

    def outcomes(self) -> dict[str, str]:
        """The last landed status of each output."""
        last: dict[str, str] = {}
        for path in sorted(self.agency.home.settings.landing.glob("leadtrail/outputs/*.parquet")):
            for payload in pq.read_table(path)["payload"].to_pylist():
                said = json.loads(payload)
                last[said["output_id"]] = said["status"]
        return last


@pytest.fixture
def life(tmp_path: Path, serve: Callable[..., Served]) -> Iterator[Life]:
    clock = Moving()
    agency = house(tmp_path / "home", serve, clock)  # type: ignore[arg-type]
    for number in range(LEADS):
        lead = f"lead-{number}"
        agency.home.contact(
            lead, phone=f"+151255502{number:02d}", email=f"p{number}@home.example", crm_contact_id=CONTACT
        )
        stands = {"lead_id": lead, "expires_at": NOW + 9 * HOUR}
        agency.home.step(f"text-{number}", **stands)
        agency.home.step(f"mail-{number}", **stands, channel="email", template="mail", template_version=MAIL.version)
        agency.home.task(f"task-{number}", **stands)
        agency.home.task(f"desk-{number}", **stands, channel="desk_task")
    # the CRM will not take this one: nobody there has its owner's address
    agency.home.contact("lead-x", phone="+15125550299", crm_contact_id=CONTACT, owner_email="gone@ridge.example")
    agency.home.task("refused by the CRM", lead_id="lead-x", expires_at=NOW + 9 * HOUR)
    agency.home.publish()
    environ = {**os.environ, **agency.home.settings.environ, "PYTHONPATH": str(ROOT)}
    environ["LEADTRAIL_HOME"] = str(agency.home.path)
    process = subprocess.Popen(
        [sys.executable, "tests/faults/doomed_delivery.py"],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ,
    )  # fmt: skip
    yield Life(agency, clock, process)
    process.stdin.close()  # type: ignore[union-attr]
    process.wait(timeout=10)
    agency.served.providers["smtp"].close()


def check(life: Life, *, mails_nobody_knows_of: int) -> None:
    """Everything once; only a mail may be left to a person, and even then it was sent at most once."""
    sent, rows = life.sent(), {row["idempotency_key"]: row for row in life.agency.home.queued()}
    moved = rows.pop("refused by the CRM")
    assert (moved["channel"], moved["status"]) == ("desk_task", "delivered")
    ours = {key: row for key, row in rows.items() if not key.startswith("refused")}
    assert len(ours) == 4 * LEADS
    assert set(sent.values()) == {1}, sent
    kinds = Counter(kind for kind, _ in sent)
    known = Counter(row["status"] for key, row in ours.items() if not key.startswith("mail"))
    assert known == {"delivered": 3 * LEADS}
    assert kinds["message"] == LEADS
    assert {f"task-{n}" for n in range(LEADS)} == {
        key for key, row in ours.items() if ("task", row["output_id"]) in sent
    }
    mails = Counter(row["status"] for key, row in ours.items() if key.startswith("mail"))
    assert set(mails) <= {"delivered", "unknown"}
    assert mails["unknown"] <= mails_nobody_knows_of
    assert mails["delivered"] <= kinds["email"] <= LEADS
    landed = life.outcomes()
    assert {landed[row["output_id"]] == row["status"] for row in ours.values()} == {True}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point_again_and_again_everything_is_delivered_once(life: Life, point: str) -> None:
    deaths = 0
    for passed in (1, 1, 2):
        deaths += life.live(crash_at=f"{point}#{passed}") == -9
    assert deaths >= 1, f"nothing passes {point!r}"
    life.settle()
    check(life, mails_nobody_knows_of=deaths if point.startswith("deliver: ") else 0)


def deaths_at_random(life: Life, lives: int, seed: int) -> int:
    chance, deaths = random.Random(seed), 0
    for _ in range(lives):
        deaths += life.live(die_after=chance.random() * 0.6) == -9
    return deaths


def test_killed_at_random_everything_is_delivered_once(life: Life) -> None:
    deaths = deaths_at_random(life, 6, seed=3)
    assert deaths >= 2, "too fast to be killed: make the lives shorter"
    life.settle()
    check(life, mails_nobody_knows_of=deaths)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(12))
def test_killed_at_random_many_times_everything_is_delivered_once(life: Life, seed: int) -> None:
    deaths = deaths_at_random(life, 15, seed=100 + seed)
    life.settle()
    check(life, mails_nobody_knows_of=deaths)
