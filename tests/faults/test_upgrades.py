"""A store of an older version with a queue that waits: it is upgraded as it is opened, and what waits goes out as it would have.

`queues/<migration>.json` holds rows of `outputs` as a store of that version has them; the newest has today's columns and today's
payloads, or a test asks for another file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, Table, create_engine, insert

from pipeline.store import engine as store
from pipeline.store.engine import stamp
from pipeline.store.schema import outputs
from tests.conftest import FakeClock, Served
from tests.follow_up_sandbox import CONTACT, House, house
from tests.follow_up_world import DAY, MAIL, MINUTE, NOW, TEXT

QUEUES = Path(__file__).parent / "queues"
TEMPLATES = {"hello": TEXT.version, "mail": MAIL.version}
VERSIONS = sorted(path.stem for path in QUEUES.glob("*.json"))


@pytest.fixture
def agency(tmp_path: Path, serve: Callable[..., Served], clock: FakeClock) -> Iterator[House]:
    made = house(tmp_path / "home", serve, clock)
    yield made
    made.served.providers["smtp"].close()


def queue_of(version: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((QUEUES / f"{version}.json").read_text())
    return rows


def as_it_was(path: Path, version: str) -> None:
    """A store of that version, with its queue."""
    path.unlink()
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    command.upgrade(config, version)
    table = Table("outputs", MetaData(), autoload_with=engine)
    times = {"created_at": NOW - MINUTE, "due_at": NOW - MINUTE, "status_at": NOW - MINUTE, "expires_at": NOW + DAY}
    now = {name: stamp(at) for name, at in times.items()} | {"next_attempt_at": stamp(NOW - MINUTE)}
    with engine.begin() as connection:
        for row in queue_of(version):
            words = {"template_version": TEMPLATES[row["template"]]} if row.get("template") else {}
            connection.execute(insert(table), {**row, **now, **words, "payload": json.dumps(row["payload"])})
    engine.dispose()


@pytest.mark.parametrize("version", VERSIONS)
def test_c12_what_an_older_version_queued_is_sent_after_the_upgrade_each_once(agency: House, version: str) -> None:
    as_it_was(agency.home.path / "store.db", version)
    agency.home.approve_templates()
    agency.home.enable("hello")
    agency.home.contact(crm_contact_id=CONTACT)
    agency.home.publish()
    agency.deliver()
    agency.clock.advance(60)
    agency.deliver()
    rows = agency.home.queued()
    assert {(row["channel"], row["status"], row["reason_code"]) for row in rows} == {
        (row["channel"], "delivered", "") for row in queue_of(version)
    }
    written = Counter(entry["kind"] for entry in agency.served.world.ledger)
    del written["property"]  # HubSpot's field for our key is made before the first task
    assert written.total() == sum(row["channel"] != "desk_task" for row in rows), written


def test_the_newest_kept_queue_is_as_queues_are_today(agency: House) -> None:
    """When columns or payloads change: keep the old file, and write a new one under the newest migration's name."""
    agency.home.step()
    agency.home.step("mail", channel="email", template="mail")
    agency.home.task()
    agency.home.publish()
    agency.emit()
    kept = {row["channel"]: row for row in queue_of(VERSIONS[-1])}
    for row in agency.home.queued():
        assert row["payload"].keys() == kept[row["channel"]]["payload"].keys()
    times = {"created_at", "due_at", "status_at", "expires_at", "next_attempt_at"}
    assert all(row.keys() | times == {column.name for column in outputs.c} for row in kept.values())
