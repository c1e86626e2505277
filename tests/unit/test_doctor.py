"""Doctor: every problem is found, named for whom it concerns, and comes with what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import text

from connectors.base import WebhookRequest
from pipeline.doctor import Finding, examine
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState, save_states
from pipeline.store.engine import open_store

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
CLIENTS = """
clients:
  - client_id: ridgeline
    timezone: America/Chicago
    owner: dana@agency.example
    connections:
      forms: {secret: "${FORM_SECRET}"}
      callrail: {account_id: ACC1, api_key: "${CALLRAIL_KEY}"}
"""


class House:
    """A home, and what doctor finds in it: {what: findings}."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            "LEADTRAIL_HOME": str(folder / "home"),
            "LEADTRAIL_CLIENTS_FILE": str(folder / "clients.yaml"),
            "FORM_SECRET": "canary-form",
            "CALLRAIL_KEY": "canary-key",
        }
        (folder / "clients.yaml").write_text(CLIENTS)

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.environ)

    @property
    def office(self) -> Office:
        return Office(self.settings)

    def find(self) -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {}
        for finding in examine(self.settings, now=NOW):
            assert "canary" not in repr(finding)
            assert finding.level == "ok" or finding.fix or " " in finding.found
            found.setdefault(finding.what, []).append(finding)
        return found

    def one(self, what: str) -> Finding:
        (finding,) = self.find()[what]
        return finding

    def synced(self, provider: str, state: str = "ok", ago: timedelta = timedelta(minutes=5), **more: str) -> None:
        states = [ConnectionState("ridgeline", provider, state, "dana@agency.example", **more)]
        save_states(self.office.engine, states, NOW - ago)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_new_home_has_no_problem_but_says_what_is_still_to_do(house: House) -> None:
    found = house.find()
    assert {what for what, findings in found.items() for finding in findings if finding.level == "problem"} <= {"disk"}
    assert "Python 3." in found["versions"][0].found
    assert [(one.level, one.found, one.fix) for one in found["ridgeline/forms"]] == [
        ("warn", "never synced", "Run `leadtrail sync`.")
    ]
    assert (house.one("warehouse").level, house.one("warehouse").fix) == ("warn", "Run `leadtrail build`.")
    assert "openssl rand -base64 32" in house.one("key").fix


def test_a_missing_or_broken_clients_file(house: House) -> None:
    house.settings.clients_file.write_text(CLIENTS + "  - {}\n")
    assert "client number 2 has no client_id" in house.one("connections").found
    house.settings.clients_file.unlink()
    missing = house.one("connections")
    assert missing.level == "problem"
    assert f"no clients file at {house.settings.clients_file}" in missing.found
    assert "leadtrail clients init" in missing.found


def test_a_missing_secret_is_its_connections_problem_and_has_an_owner(house: House) -> None:
    del house.environ["CALLRAIL_KEY"]
    finding = house.one("ridgeline/callrail")
    assert finding.level == "problem"
    assert "`leadtrail secrets set CALLRAIL_KEY`" in finding.found
    assert "dana@agency.example" in finding.fix
    assert house.one("ridgeline/forms").found == "never synced"


def test_connections_that_work_are_late_wait_or_need_a_person(house: House) -> None:
    house.synced("forms")
    assert (house.one("ridgeline/forms").level, house.one("ridgeline/forms").found) == ("ok", "last read 5 min ago")
    house.synced("forms", ago=timedelta(hours=27))
    assert (house.one("ridgeline/forms").level, house.one("ridgeline/forms").found) == ("warn", "last read 27 h ago")
    house.synced("callrail", "needs_person", reason="CallRail refuses the key.", fix="Make a new one.")
    finding = house.one("ridgeline/callrail")
    assert finding.level == "problem"
    assert "needs_person since 2026-03-02T16:55: CallRail refuses the key." in finding.found
    assert finding.fix == "Make a new one. Whose: dana@agency.example."
    for state in ("deferred", "failing"):
        house.synced("callrail", state, reason="It is down.", fix="Wait.")
        assert house.one("ridgeline/callrail").level == "warn"


def receive(house: House, ago: timedelta) -> None:
    request = WebhookRequest("https://h", {}, b"{}", NOW - ago)
    inbox.store_events(house.office.engine, [inbox.Event("ridgeline", "forms", f"{ago}", request)])


def test_webhooks_that_wait_too_long_and_those_put_aside(house: House) -> None:
    receive(house, timedelta(minutes=1))
    assert (house.one("inbox").level, house.one("inbox").found) == ("ok", "1 webhooks wait")
    receive(house, timedelta(minutes=20))
    waiting = house.one("inbox")
    assert (waiting.level, waiting.fix) == ("problem", "Run `leadtrail sync`.")
    assert "2 webhooks wait, the oldest since 2026-03-02T16:40" in waiting.found
    engine = house.office.engine
    for one in inbox.pending(engine, "ridgeline", "forms", limit=5):
        with engine.begin() as connection:
            inbox.mark_quarantined(connection, one, [("odd", b"{}")], NOW)
    levels = {finding.level: finding.found for finding in house.find()["inbox"]}
    assert levels["ok"] == "0 webhooks wait"
    assert "2 webhooks could not be read and are kept aside" in levels["warn"]


@contextmanager
def other_process(code: str, *args: str) -> Iterator[int]:
    """Its id, once it has done what it should and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", code + "\nprint('ready', flush=True); input()", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_warehouse_that_another_tool_holds_open_names_its_process(house: House) -> None:
    house.settings.home.mkdir(parents=True)
    duckdb.connect(str(house.settings.warehouse)).close()
    assert house.one("warehouse").level == "ok"
    with other_process("import duckdb, sys; held = duckdb.connect(sys.argv[1])", str(house.settings.warehouse)) as pid:
        finding = house.one("warehouse")
    assert finding.level == "problem"
    assert f"PID {pid}" in finding.found
    assert "Close the tool" in finding.fix


def test_a_build_at_work_is_named_and_no_problem(house: House) -> None:
    code = """
import sys
from pipeline.settings import Settings
from pipeline.warehouse import sole_writer
held = sole_writer(Settings.from_env({"LEADTRAIL_HOME": sys.argv[1]})); held.__enter__()
"""
    with other_process(code, str(house.settings.home)) as pid:
        finding = house.one("warehouse")
    assert (finding.level, finding.found) == ("warn", f"a build is running (process {pid})")
    assert house.one("warehouse").found == "not built yet", "the lock of a dead process does not count"


def test_a_file_that_is_no_warehouse_is_a_problem_with_a_way_out(house: House) -> None:
    house.settings.home.mkdir(parents=True)
    house.settings.warehouse.write_bytes(b"not a database" * 1000)
    assert house.one("warehouse").level == "problem"
    assert "leadtrail rebuild" in house.one("warehouse").fix


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda engine: text("update alembic_version set version_num = '9999'"), "made by a newer Leadtrail"),
        (lambda engine: text("drop table connections"), "could not be looked at: OperationalError"),
    ],
)
def test_a_damaged_store_is_a_finding_and_no_crash(house: House, damage: Callable[..., object], told: str) -> None:
    engine = open_store(house.settings.store_url)
    with engine.begin() as connection:
        connection.execute(damage(engine))
    engine.dispose()
    found = house.find()
    problems = [finding.found for findings in found.values() for finding in findings if finding.level == "problem"]
    assert any(told in problem for problem in problems), problems
    assert found["versions"]
    assert found["warehouse"]


def test_a_key_that_does_not_fit_the_stored_secrets(house: House) -> None:
    del house.environ["FORM_SECRET"]
    house.office.workshop.sealed.put("FORM_SECRET", "canary", NOW)
    assert house.one("ridgeline/forms").found == "never synced"
    house.environ["LEADTRAIL_KEY"] = "A" * 43 + "="
    assert "does not open with this key. Set LEADTRAIL_KEY" in house.one("ridgeline/forms").found
    house.environ["LEADTRAIL_KEY"] = "canary-but-no-key"
    assert "LEADTRAIL_KEY must be 32 bytes in base64" in house.one("ridgeline/callrail").found


def test_providers_that_are_pointed_elsewhere_are_told(house: House) -> None:
    assert "base URLs" not in house.find()
    house.environ["LEADTRAIL_CALLRAIL_BASE_URL"] = "http://127.0.0.1:1"
    assert "LEADTRAIL_CALLRAIL_BASE_URL" in house.one("base URLs").found


def test_landing_is_counted_and_leftovers_of_a_crash_are_harmless(house: House) -> None:
    folder = house.settings.landing / "callrail" / "calls"
    folder.mkdir(parents=True)
    (folder / "1.parquet").write_bytes(b"x" * 1024**2)
    (folder / "2.tmp").write_bytes(b"x")
    assert (house.one("landing").level, house.one("landing").found) == (
        "ok",
        "1 files, 1.0 MB; 1 unfinished from a crash (harmless)",
    )
