"""A person who asks to be forgotten: nothing of them is left in the home, and everybody else is as before."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import update

from pipeline.crash_points import ERASURE_POINTS
from pipeline.office import Office
from pipeline.privacy.subject import Subject, find
from pipeline.settings import Settings
from pipeline.store import audit, schema
from pipeline.store.holds import Hold, open_hold
from tests.canaries import Canaries
from tests.canary_town import spelled
from tests.e2e.conftest import LEADTRAIL, ROOT, Home, leadtrail


def somebody(home: Path) -> tuple[str, str]:
    """A client, and the person of theirs whom most systems know."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        [row] = analytics.execute(
            "select client_id, person_id from timeline.record_identity group by 1, 2 order by count(distinct provider) desc, "
            "count(*) desc, 1, 2 limit 1"
        ).fetchall()
        return row


def words_of(subject: Subject) -> Canaries:
    values = {one.partition(":")[2] for one in subject.addresses}
    return Canaries({*values, *spelled(values), *subject.names})


def others(home: Path, client: str, person: str) -> dict[str, list[tuple[object, ...]]]:
    """Everybody else's timeline."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        return {
            table: analytics.execute(
                f"select {columns} from timeline.{table} where client_id <> ? or person_id <> ? order by all",
                [client, person],
            ).fetchall()
            for table, columns in {
                "fct_lead_events": "client_id, lead_id, event_id, event_type, occurred_at, value_cents",
                "record_identity": "client_id, person_id, record_uid",
                "dim_leads": "client_id, lead_id, person_id, stage, revenue_cents",
            }.items()
        }


def settings_of(home: Path) -> Settings:
    return Settings.from_env({"LEADTRAIL_HOME": str(home)})


def subject_of(home: Path, client: str, person: str) -> Subject:
    office = Office(settings_of(home))
    try:
        return find(office.settings, office.engine, client, person)
    finally:
        office.engine.dispose()


def copied(built_home: Home, to: Path) -> Path:
    return Path(shutil.copytree(built_home.path, to / "home", symlinks=True))


def spoken_of(home: Path, client: str, subject: Subject) -> None:
    """Staff wrote of them, decided something about them, and a run of Dagster failed over them."""
    phone, email = (min(one for one in subject.addresses if one.startswith(kind)) for kind in ("phone", "email"))
    text = f"{max(subject.names, key=len).title()} rang from {phone[6:]}, or {email.partition(':')[2]}"
    office, now = Office(settings_of(home)), datetime.now(UTC)
    with office.engine.begin() as connection:
        open_hold(connection, Hold(client, "text", "compliance", text, "dana", "look at it"), now)
        ours = schema.summary_log.c.client_id == client
        connection.execute(update(schema.summary_log).where(ours).values(reason=text))
        audit.note(connection, "dana", "hold.opened", "h1", {"why": text}, now)
    office.engine.dispose()
    with sqlite3.connect(home / "dagster" / "history" / "runs" / "index.db") as runs:
        said = "json_set(event, '$.user_message', ?)"
        changed = runs.execute(f"update event_logs set event = {said} where id % 5 = 0", [f"KeyError: '{text}'"])
        assert changed.rowcount > 0
    runs.close()


def test_an_erased_person_is_nowhere_in_the_home_and_nobody_else_has_changed(built_home: Home, tmp_path: Path) -> None:
    home = copied(built_home, tmp_path)
    client, person = somebody(home)
    subject = subject_of(home, client, person)
    words, before = words_of(subject), others(home, client, person)
    spoken_of(home, client, subject)
    found = {name.split("/")[0] for name in words.in_folder(home)}
    assert found >= {"landing", "warehouse.duckdb", "published", "dagster", "store.db"}
    phone = next(one.partition(":")[2] for one in sorted(subject.addresses) if one.startswith("phone:"))
    with sqlite3.connect(home / "store.db") as store:  # they had said stop
        row = (client, phone, "text", "2026-01-01T00:00:00.000000+00:00", "keyword", "event", "standing", "2026-01-01")
        store.execute("insert into suppressions values (?, ?, ?, ?, ?, ?, ?, ?)", row)

    # by address, as they ask for it: dbt would note the command
    done = leadtrail(home, "erase", phone, "--client", client, "--by", "dana", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dict(words.in_folder(home)) == {}
    assert words.in_bytes((done.stdout + done.stderr).encode()) == set()
    assert others(home, client, person) == before
    with sqlite3.connect(home / "store.db") as store:
        kept = "select state from suppressions where client_id = ? and address like 'erased:%'"
        assert store.execute(kept, [client]).fetchall() == [("standing",)]
        actions = [action for (action,) in store.execute("select action from audit_log order by seq")]
    assert [one for one in actions if one != "audit.blotted"][-2:] == ["person.erasure_begun", "person.erased"]
    assert actions.count("audit.blotted") == 2  # of the hold, and of why it was opened
    with sqlite3.connect(home / "dagster" / "history" / "runs" / "index.db") as runs:
        said = runs.execute("select json_extract(event, '$.user_message') from event_logs where id % 5 = 0").fetchall()
    assert all(text.startswith("KeyError: 'x") for (text,) in said)
    assert leadtrail(home, "audit", "verify").returncode == 0

    nobody = leadtrail(home, "erase", "+15005550006", "--client", client, "--by", "dana")
    assert nobody.returncode == 1
    assert "Nothing was changed" in nobody.stderr


@pytest.mark.soak
@pytest.mark.parametrize("point", ERASURE_POINTS)
def test_an_erasure_killed_at_any_point_is_finished_by_the_next(built_home: Home, tmp_path: Path, point: str) -> None:
    home = copied(built_home, tmp_path)
    client, person = somebody(home)
    subject = subject_of(home, client, person)
    words, before = words_of(subject), others(home, client, person)
    phone = next(one.partition(":")[2] for one in sorted(subject.addresses) if one.startswith("phone:"))
    command = ["erase", phone, "--client", client, "--by", "dana"]
    environment = {**os.environ, "LEADTRAIL_HOME": str(home), "CRASH_AT": point}
    killed = subprocess.run([*LEADTRAIL, *command], cwd=ROOT, env=environment, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL
    done = leadtrail(home, *command, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dict(words.in_folder(home)) == {}
    assert others(home, client, person) == before


@pytest.mark.soak
def test_people_of_a_town_unheard_of_for_long_go_whole_and_nobody_else_has_changed(
    built_home: Home, tmp_path: Path
) -> None:
    home, now = copied(built_home, tmp_path), datetime.now(UTC)
    days = 1 if now.day > 10 else now.day + 1  # people go by whole months
    month = (now - timedelta(days=days)).replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        kept = "select client_id, person_id from timeline.fct_lead_events group by all having max(occurred_at) >= ? order by all"
        heard_of = analytics.execute(kept, [month]).fetchall()
        everybody = analytics.execute(
            "select count(distinct (client_id, person_id)) from timeline.record_identity"
        ).fetchone()
    assert 0 < len(heard_of) < everybody[0]
    environment = {**os.environ, "LEADTRAIL_HOME": str(home), "LEADTRAIL_KEEP_DAYS": f"people={days}"}

    def retention(*options: str) -> str:
        command = [*LEADTRAIL, "retention", *options]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before, files = of_people(home, heard_of), {path.name for path in (home / "landing").rglob("*.parquet")}
    would = retention("--dry-run")
    assert "Would delete" in would
    assert {path.name for path in (home / "landing").rglob("*.parquet")} == files
    count = re.search(r"people ([\d,]+)", would)
    assert count is not None
    assert count[0] in retention()
    assert of_people(home, heard_of) == before
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        left = (
            "select distinct client_id, person_id from timeline.record_identity "
            "where stream not in ('trackers', 'phone_numbers')"
        )
        assert {*analytics.execute(left).fetchall()} <= {*heard_of}
    assert "people 0" in retention()


def of_people(home: Path, people: list[tuple[str, str]]) -> list[tuple[object, ...]]:
    """What happened to them, and when; attribution is of those who are left."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        analytics.execute("create temp table heard_of (client_id varchar, person_id varchar)")
        analytics.executemany("insert into heard_of values (?, ?)", people)
        return analytics.execute(
            "select client_id, person_id, event_id, event_type, occurred_at, value_cents from timeline.fct_lead_events "
            "inner join heard_of using (client_id, person_id) order by all"
        ).fetchall()
