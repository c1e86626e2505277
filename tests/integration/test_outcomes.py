"""What we did comes back as events on the lead's timeline: landed once for each change, placed, and never taken for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.directory import write_directory
from pipeline.follow_up.deliver import deliver
from pipeline.follow_up.emit import emit
from pipeline.follow_up.escalations import take_up
from pipeline.follow_up.outcomes import land_outcomes
from pipeline.store.outputs import Output, begin_sending, cancel, claim, delivered, enqueue
from pipeline.warehouse import build
from tests.conftest import Served
from tests.follow_up_sandbox import House, house
from tests.follow_up_world import EMAIL, HOUR, MINUTE, NOW, PHONE, RIDGE, FollowUp, follow_up
from tests.integration.test_emit import allow
from tests.records import call
from tests.warehouse import land


@pytest.fixture
def world(tmp_path: Path) -> FollowUp:
    return follow_up(tmp_path / "home")


def landed(world: FollowUp) -> list[dict[str, object]]:
    tables = [pq.read_table(path) for path in sorted(world.settings.landing.glob("leadtrail/outputs/*.parquet"))]
    return [json.loads(payload) for table in tables for payload in table["payload"].to_pylist()]


def deliver_all(world: FollowUp, ref: str = "SM1") -> None:
    for one in claim(world.engine, allow, now=NOW):
        assert begin_sending(world.engine, one, allow, NOW)
        assert delivered(world.engine, one, ref, NOW)


def test_each_change_lands_once_and_what_did_not_change_does_not(world: FollowUp) -> None:
    world.step()
    world.publish()
    emit(world.office, now=NOW)
    assert land_outcomes(world.office, now=NOW) == 1
    assert land_outcomes(world.office, now=NOW + MINUTE) == 0
    deliver_all(world)
    assert land_outcomes(world.office, now=NOW + 2 * MINUTE) == 1
    assert land_outcomes(world.office, now=NOW + HOUR) == 0
    assert [one["status"] for one in landed(world)] == ["pending", "delivered"]
    assert landed(world)[1]["provider_ref"] == "SM1"


def test_no_words_and_one_identifier_are_landed(world: FollowUp) -> None:
    world.contact("lead-2", crm_contact_id="501")
    world.step("step-1")
    world.task("task-1", lead_id="lead-2")
    world.task("task-2", lead_id=None, trigger_event_id="event-9")
    world.publish()
    emit(world.office, now=NOW)
    land_outcomes(world.office, now=NOW)
    found = {str(one["channel"]) + str(one["lead_id"]): one for one in landed(world)}
    assert found["textlead-1"]["identifier"] == f"phone:{PHONE}"
    assert found["textlead-1"]["given_name"] == "Ana"
    assert found["crm_tasklead-2"]["identifier"] == "hubspot_contact:501"
    assert found["crm_taskNone"]["identifier"] == ""
    said = json.dumps(landed(world))
    assert "this is Ridgeline" not in said
    assert EMAIL not in said


def test_a_row_that_was_committed_late_is_not_missed(world: FollowUp) -> None:
    """Another process's row may become visible after a newer one was landed."""
    world.step("newer")
    world.publish()
    emit(world.office, now=NOW)
    land_outcomes(world.office, now=NOW)
    with world.engine.begin() as connection:
        late = Output(
            "late", "task", RIDGE, None, "desk_task", 1, "dana", "test", "", {"subject": "x", "body": "y"}, NOW, NOW + HOUR, ""
        )  # fmt: skip
        enqueue(connection, [late], NOW - 5 * MINUTE)
    assert land_outcomes(world.office, now=NOW + MINUTE) == 1


def test_what_we_did_is_on_the_timeline_of_the_lead_it_was_for_and_makes_no_lead_of_its_own(world: FollowUp) -> None:
    """Through real dbt: the same phone as a call; a message, a task that was taken up, one that was cancelled, and two that
    nobody can be told for."""
    world.contact("lead-9", phone="+15125550999")
    world.step("text")
    world.task("task", channel="desk_task")
    world.task("cancelled", channel="desk_task", due_at=NOW)
    world.task("nobody", channel="desk_task", lead_id=None)
    world.step("a stranger's", lead_id="lead-9")
    world.publish()
    emit(world.office, now=NOW)
    cancelled, task = world.one("cancelled")["output_id"], world.one("task")["output_id"]
    with world.engine.begin() as connection:
        cancel(connection, cancelled, "reply", "They replied.", NOW)
    deliver_all(world)
    with world.engine.begin() as connection:
        take_up(connection, task, NOW + 5 * MINUTE)
    land_outcomes(world.office, now=NOW + 10 * MINUTE)
    land(world.path, [call(RIDGE, "call-1", NOW - HOUR, PHONE, name="Ana Ruiz", answered=False)])
    write_directory(world.path / "directory", world.office.clients(), {})
    build(world.settings, select=["+fct_lead_events", "+dim_leads"])
    with duckdb.connect(str(world.settings.warehouse), read_only=True) as connection:
        events = connection.execute(
            "select event_type, actor, direction, detail, reference from timeline.fct_lead_events "
            "order by occurred_at, event_type, detail"
        ).fetchall()
        people = connection.execute(
            "select count(distinct person_id), count(distinct lead_id) from timeline.dim_leads"
        ).fetchall()
    assert [event[:2] for event in events] == [
        ("call_missed", "customer"),
        ("leadtrail_message", "leadtrail"),
        ("leadtrail_outcome", "leadtrail"),
        ("leadtrail_task", "leadtrail"),
        ("leadtrail_outcome", "leadtrail"),
    ]
    assert events[1] == ("leadtrail_message", "leadtrail", "outbound", "hello", "SM1")
    assert [event[3] for event in events[2:]] == ["cancelled: reply", "hello", "taken up"]
    assert people == [(1, 1)]


def test_our_own_task_in_the_crm_is_not_a_persons(tmp_path: Path, serve: Callable[..., Served]) -> None:
    """It comes back by sync, with the marker that says whose it is; that somebody completed it is a person's doing."""
    agency: House = house(tmp_path / "home", serve, None)
    agency.home.rows["follow_up.fct_follow_up_steps"].clear()
    now = datetime.now(UTC)
    agency.home.task(due_at=now, expires_at=now + HOUR, triggered_at=now)
    agency.home.publish()
    emit(agency.home.office, now=now)
    deliver(agency.home.office)
    (task,) = agency.ledger("task")
    agency.hubspot.portal(RIDGE).edit("tasks", int(task["id"]), {"hs_task_status": "COMPLETED"})
    agency.home.office.sync(now=datetime.now(UTC), provider="hubspot")
    write_directory(agency.home.path / "directory", agency.home.office.clients(), {})
    build(agency.home.settings, select=["+int_events"])
    with duckdb.connect(str(agency.home.settings.warehouse), read_only=True) as connection:
        found = connection.execute(
            "select event_type, actor from intermediate.int_events where stream = 'tasks' order by event_type"
        ).fetchall()
    assert found == [("task_completed", "staff"), ("task_created", "leadtrail")]
    agency.served.providers["smtp"].close()
