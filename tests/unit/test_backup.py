"""A home restored from a backup on another machine is the home that was copied, or says what is missing."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from connectors.base import Record
from pipeline.backup import MANIFEST, BackupProblem, back_up, restore
from pipeline.landing import Batch, Landing, content_keys
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.schema import audit_log, publications, segments
from pipeline.store.sealed import Sealed, load_key
from pipeline.store.segments import note_segments
from pipeline.store.suppressions import suppress

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLIENTS = "clients: [{client_id: acme, timezone: UTC, owner: dana@agency.example, connections: {}}]\n"


def home(folder: Path, store_url: str = "") -> Settings:
    folder.mkdir()
    url = store_url or f"sqlite:///{folder / 'store.db'}"
    return Settings(folder, folder / "clients.yaml", store_url=url, environ={})


def land(office: Office, record_id: str) -> None:
    def commit(written, done):
        with office.engine.begin() as connection:
            note_segments(connection, written, NOW)

    landing = Landing(office.settings.landing, commit)
    records = [Record(record_id, json.dumps({"id": record_id}).encode(), occurred_at=NOW)]
    landing.add(
        [Batch("acme", "callrail", "calls", "pull", NOW, records, content_keys("acme", "callrail", "calls", records))]
    )
    landing.flush()


def landed(office: Office) -> dict[Path, bytes]:
    landing = office.settings.landing
    return {path.relative_to(landing): path.read_bytes() for path in landing.rglob("*.parquet")}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return lived_in(home(tmp_path / "old"))


def lived_in(settings: Settings) -> Office:
    """Somebody is not to be written to, a secret is sealed, records landed, and the audit log has come somewhere."""
    office = Office(settings)
    settings.clients_file.write_text(CLIENTS)
    Sealed(office.engine, load_key(settings.key, settings.home)).put("API", "sesame", NOW)
    for record_id in ("C1", "C2"):
        land(office, record_id)
    with office.engine.begin() as connection:
        suppress(connection, "acme", "+15125550123", "text", cause="keyword", evidence="event", now=NOW)
        audit.note(connection, "ann", "did", "it", {}, NOW)
    office.keep_audit_head(NOW)
    return office


def moved(old: Office, new: Settings) -> Settings:
    """Its key was kept apart, and is there first."""
    shutil.copyfile(old.settings.home / "store.key", new.home / "store.key")
    return new


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restored_home_is_the_one_that_was_copied(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url: Callable[[str], str] = request.getfixturevalue("postgres") if kind == "postgresql" else lambda _: ""
    office = lived_in(home(tmp_path / "old", url("old")))
    made = back_up(office, tmp_path / "backup", now=NOW)
    new = moved(office, home(tmp_path / "new", url("new")))
    assert restore(new, tmp_path / "backup") == made
    again = Office(new)
    assert again.audit() == (2, None)
    assert Sealed(again.engine, load_key("", new.home)).get("API") == "sesame"
    assert new.clients_file.read_text() == CLIENTS
    assert len(landed(office)) == 2
    assert landed(again) == landed(office)
    for table in (segments, audit_log, publications):
        with office.engine.connect() as one, again.engine.connect() as other:
            assert one.execute(select(table)).all() == other.execute(select(table)).all()
    with pytest.raises(BackupProblem, match="is in use"):
        restore(new, tmp_path / "backup")
    land(again, "C3")  # and it lives on
    for one in (office, again):
        one.engine.dispose()


def test_a_copy_made_while_others_write_is_of_one_moment(office: Office, tmp_path: Path) -> None:
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            with office.engine.begin() as connection:
                audit.note(connection, "ann", "busy", str(n), {}, NOW)
            n += 1

    writer = threading.Thread(target=busy)
    writer.start()
    try:
        made = [back_up(office, tmp_path / f"backup{n}", now=NOW) for n in range(3)]
    finally:
        stop.set()
        writer.join()
    assert made[0].rows["audit_log"] <= made[-1].rows["audit_log"]
    new = moved(office, home(tmp_path / "new"))
    assert restore(new, tmp_path / "backup2").rows == made[-1].rows


def test_a_backup_tells_nothing_of_the_key_and_without_it_says_which_is_missing(office: Office, tmp_path: Path) -> None:
    made = back_up(office, tmp_path / "backup", now=NOW)
    key = (office.settings.home / "store.key").read_bytes()
    copied = b"".join(path.read_bytes() for path in (tmp_path / "backup").rglob("*") if path.is_file())
    assert key not in copied
    assert b"sesame" not in copied
    new = home(tmp_path / "new")
    with pytest.raises(BackupProblem, match=f"needs the key with the id {made.key}, and there is no key here"):
        restore(new, tmp_path / "backup")
    with pytest.raises(BackupProblem, match=f"{made.key}; the one here has the id"):
        restore(replace(new, key="QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="), tmp_path / "backup")
    assert list(new.home.iterdir()) == []


def test_a_second_backup_brings_the_first_up_to_date_and_forgets_who_was_erased(office: Office, tmp_path: Path) -> None:
    back_up(office, tmp_path / "backup", now=NOW)
    [first, _] = sorted(office.settings.landing.rglob("*.parquet"))
    with office.engine.begin() as connection:
        name = str(first.relative_to(office.settings.landing))
        connection.execute(delete(segments).where(segments.c.name == name))
    first.unlink()
    land(office, "C3")
    made = back_up(office, tmp_path / "backup", now=NOW + timedelta(days=1))
    assert made.files == 2
    copied = {path.name for path in (tmp_path / "backup").rglob("*.parquet")}
    assert copied == {path.name for path in office.settings.landing.rglob("*.parquet")}
    restore(moved(office, home(tmp_path / "new")), tmp_path / "backup")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "cut off"),
        (lambda folder: next(folder.rglob("*.parquet")).unlink(), "is missing"),
        (lambda folder: next(folder.rglob("*.parquet")).write_bytes(b"PAR1"), "not what it was"),
        (lambda folder: _in_store(folder, "delete from suppressions"), "suppressions has 0 rows instead of 1"),
        (lambda folder: _in_store(folder, "update audit_log set actor = 'bob'"), "does not hold at row 1"),
        (lambda folder: _in_store(folder, "delete from audit_log"), "audit_log has 0 rows"),
    ],
    ids=["no manifest", "file gone", "file torn", "rows gone", "audit changed", "audit cut"],
)
def test_a_backup_that_is_not_whole_is_not_taken_for_one(
    office: Office, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    back_up(office, tmp_path / "backup", now=NOW)
    harm(tmp_path / "backup")
    with pytest.raises(BackupProblem, match=says):
        restore(moved(office, home(tmp_path / "new")), tmp_path / "backup")


def _in_store(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "store.db") as store:
        store.execute(statement)
    store.close()


def test_a_folder_of_something_else_is_not_written_to(office: Office, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(BackupProblem, match="no backup"):
        back_up(office, tmp_path / "photos", now=NOW)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
