"""Follow-up in Dagster: what a run shows and leaves out, what starts one, and what a failed one leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert, select, update

import pipeline.automation
import pipeline.run_failures
from connectors.base import WebhookRequest
from pipeline.build_record import BuildRecord, Failure, save
from pipeline.checks import URGENT_FIRST, urgent_overtaken
from pipeline.follow_up.detect import detect_holds
from pipeline.follow_up_watch import what_waits
from pipeline.run_failures import take_in_runs
from pipeline.store.connections import ConnectionState, save_states
from pipeline.store.engine import stamp
from pipeline.store.holds import open_holds
from pipeline.store.inbox import Event, store_events
from pipeline.store.incidents import open_incidents
from pipeline.store.schema import inbox, incidents, outputs
from tests.follow_up_world import DAY, HOUR, MINUTE, RIDGE, FollowUp, follow_up

AFTER_NEWS = ["steps_due", "tasks", "deliveries", "outcomes"]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: datetime) -> FollowUp:
    """A home without connections: its tasks go to the desk. One lead's task is due."""
    world = follow_up(tmp_path)
    world.write_clients(connections="{}")
    for name, value in {"LEADTRAIL_HOME": str(tmp_path), **world.environ}.items():
        monkeypatch.setenv(name, value)
    world.event(
        "call_unanswered", at=now - MINUTE, event_id="event-1", provider="callrail", stream="calls", record_id="CAL1"
    )
    due(world, "task-1", now)
    world.publish()
    save(world.settings, BuildRecord(1, stamp(now)))
    return world


def due(world: FollowUp, key: str, now: datetime, **given: Any) -> None:
    times = {"triggered_at": now - MINUTE, "known_at": now - MINUTE, "due_at": now - MINUTE, "expires_at": now + DAY}
    world.task(key, **{**times, "channel": "desk_task", **given})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as one:
        yield one


@pytest.fixture
def follow(instance: dg.DagsterInstance) -> Callable[..., dg.ExecuteInProcessResult]:
    """The job after its first step, which builds: that one is tried end to end."""
    from pipeline.definitions import defs

    def run(**how: Any) -> dg.ExecuteInProcessResult:
        keys = [dg.AssetKey(["follow_up", name]) for name in AFTER_NEWS]
        job = defs.resolve_job_def("follow_up_now")
        return job.execute_in_process(instance=instance, asset_selection=keys, **how)

    return run


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    made = next(
        one for one in result.asset_materializations_for_node(f"follow_up__{asset}") if one.asset_key.path[-1] == asset
    )
    return {name: value.value for name, value in made.metadata.items()}


# ---- what a run does and shows ----


def test_a_due_task_is_queued_delivered_and_landed_and_one_click_from_its_lead_and_its_raw_record(
    home: FollowUp, follow: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    result = follow()
    assert result.success
    assert home.one("task-1")["status"] == "delivered"
    steps, tasks, deliveries = (shown(result, name) for name in ("steps_due", "tasks", "deliveries"))
    assert steps["due"] == 1
    counts = [record.data for record in tasks["by client, rule and priority"].records]
    assert counts == [{"client_id": RIDGE, "rule": "hello", "priority": 1, "queued": 1}]
    newest = tasks["newest tasks"]
    assert f"[timeline](https://hooks.example/leads/{RIDGE}/lead-1)" in newest
    assert "`callrail/calls/CAL1`" in newest
    became = [record.data for record in deliveries["by client, status and reason"].records]
    assert [(row["channel"], row["status"], row["outputs"]) for row in became] == [("desk_task", "delivered", 1)]
    assert shown(result, "outcomes")["landed"] == 1
    assert shown(follow(), "tasks")["queued"] == 0, "emitting again queues nothing twice"


def test_nothing_that_a_run_shows_or_logs_names_a_person(
    home: FollowUp, follow: Callable[..., dg.ExecuteInProcessResult], instance: dg.DagsterInstance
) -> None:
    result = follow()
    told = "".join(str(entry) for entry in instance.all_logs(result.run_id))
    for personal in ("Ana", "+15125550142", "5550142", "ana@home.example"):
        assert personal not in told


def test_clients_whose_figures_failed_a_test_are_named_and_left_out_and_the_others_go_on(
    home: FollowUp, follow: Callable[..., dg.ExecuteInProcessResult], now: datetime
) -> None:
    due(home, "task-2", now, client_id="other", lead_id=None)
    home.publish()
    save(home.settings, BuildRecord(2, stamp(now), (failure(RIDGE),)))
    result = follow()
    assert result.success
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "models_tested"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["clients_left_out"].value == [RIDGE]
    assert [row["idempotency_key"] for row in home.queued()] == ["task-2"]
    assert list(shown(result, "tasks")["clients left out"]) == [RIDGE]


def test_if_it_may_be_anybodys_figures_nothing_is_emitted_or_sent(
    home: FollowUp, follow: Callable[..., dg.ExecuteInProcessResult], now: datetime
) -> None:
    save(home.settings, BuildRecord(2, stamp(now), (failure(None),)))
    result = follow(raise_on_error=False)
    assert not result.success
    assert home.queued() == []
    assert [event.step_key for event in result.get_step_skipped_events()] == []
    assert not result.asset_materializations_for_node("follow_up__tasks")


def failure(client: str | None) -> Failure:
    return Failure("test.x", "no_lead_twice", "test", "dim_leads", 1, (client,) if client else None, "Got 1 result")


def test_a_home_where_nothing_is_published_yet_is_no_failure_but_for_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follow: Callable[..., dg.ExecuteInProcessResult], now: datetime
) -> None:
    world = follow_up(tmp_path)
    world.write_clients(connections="{}")
    for name, value in {"LEADTRAIL_HOME": str(tmp_path), **world.environ}.items():
        monkeypatch.setenv(name, value)
    save(world.settings, BuildRecord(1, stamp(now)))
    assert follow().success


@pytest.mark.parametrize(
    ("urgent", "overtaken"),
    [
        ({"status": "delivered"}, True),
        ({"status": "pending"}, True),
        ({"status": "delivered", "acknowledged_at": -10}, False),
        ({"status": "delivered", "acknowledged_at": 10}, True),
        ({"status": "expired", "status_at": -10}, False),
        ({"status": "expired", "status_at": 10}, True),
        ({"status": "delivered", "expires_at": -10}, False),
        ({"status": "delivered", "lead_id": "another"}, False),
        ({"status": "delivered", "priority": 1}, False),
        ({"status": "delivered", "created_at": 10}, False),
    ],
)
def test_a_message_of_a_sequence_sent_while_an_urgent_task_was_open_is_found(
    home: FollowUp, now: datetime, urgent: dict[str, Any], overtaken: bool
) -> None:
    """Minutes are from when the message was sent."""
    when = {name: stamp(now + urgent.pop(name) * MINUTE) for name in [*urgent] if name.endswith("_at")}
    put(home, "urgent", now, channel="crm_task", **{"priority": 0, "created_at": stamp(now - HOUR), **urgent, **when})
    put(home, "sent", now, channel="text", priority=3, status="delivered", first_sent_at=stamp(now))
    assert bool(urgent_overtaken(home.engine, since=now - DAY)) is overtaken


def test_the_check_of_deliveries_asks_for_that(
    home: FollowUp, follow: Callable[..., dg.ExecuteInProcessResult], now: datetime
) -> None:
    put(home, "urgent", now, channel="crm_task", priority=0, status="delivered", created_at=stamp(now - HOUR))
    put(home, "sent", now, channel="text", priority=3, status="delivered", first_sent_at=stamp(now))
    (check,) = [one for one in follow().get_asset_check_evaluations() if one.check_name == URGENT_FIRST]
    assert not check.passed


def put(world: FollowUp, key: str, now: datetime, **given: Any) -> None:
    """A row of the queue, as it may stand."""
    row = {
        "output_id": key, "idempotency_key": key, "output_type": "task", "client_id": RIDGE, "lead_id": "lead-1",
        "owner": "a@b.example", "source": "hello@1 + event-1", "recipient": "", "payload": "{}", "created_at": stamp(now),
        "due_at": stamp(now), "expires_at": stamp(now + DAY), "status_at": stamp(now), "reason_code": "", "reason": "",
        "recovery_rule": "", "attempts": 0, "next_attempt_at": stamp(now), "fence": 0,
    }  # fmt: skip
    with world.engine.begin() as connection:
        connection.execute(insert(outputs), row | given)


# ---- what starts a run ----


@pytest.fixture
def quiet(home: FollowUp, monkeypatch: pytest.MonkeyPatch) -> FollowUp:
    """Nothing waits, and a tick looks once."""
    home.rows["follow_up.fct_follow_up_steps"].clear()
    home.publish()
    monkeypatch.setattr(pipeline.automation, "LOOK_SECONDS", 0)
    return home


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorExecutionData:
    from pipeline.definitions import defs

    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return defs.resolve_sensor_def("follow_up_sensor").evaluate_tick(context)


def webhook(world: FollowUp, key: str) -> None:
    request = WebhookRequest("https://hooks.example/webhooks/ridgeline/forms", {}, b"{}", datetime.now(UTC))
    store_events(world.engine, [Event(RIDGE, "forms", key, request)])


def test_nothing_that_waits_starts_no_run(quiet: FollowUp, instance: dg.DagsterInstance) -> None:
    assert tick(instance).skip_message


def test_a_waiting_webhook_starts_one_run_and_is_tried_again_later_if_it_still_waits(
    quiet: FollowUp, instance: dg.DagsterInstance
) -> None:
    webhook(quiet, "first")
    woken = tick(instance)
    (asked,) = woken.run_requests or []
    assert asked.tags["leadtrail/waiting"] == "1 webhooks, 0 outputs, 0 steps and 0 holds wait"
    assert tick(instance, woken.cursor).skip_message, "the run has left it there: not again and again"
    cursor = json.loads(woken.cursor or "")
    later = tick(instance, json.dumps({**cursor, "at": cursor["at"] - 15}))
    (again,) = later.run_requests or []
    assert again.run_key != asked.run_key, "Dagster starts no second run for the same key"
    assert json.loads(later.cursor or "")["attempt"] == 1

    webhook(quiet, "second")
    assert tick(instance, woken.cursor).run_requests, "a new one does not wait"


def test_while_a_run_is_at_work_no_other_is_started(quiet: FollowUp, instance: dg.DagsterInstance) -> None:
    webhook(quiet, "first")
    job = dg.GraphDefinition(pipeline.automation.FOLLOW_UP).to_job()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(instance).skip_message
    instance.report_run_failed(run)
    assert tick(instance).run_requests


def test_a_step_that_came_due_starts_a_run_until_the_queue_has_it(quiet: FollowUp, now: datetime) -> None:
    due(quiet, "now", now)
    due(quiet, "soon", now, due_at=now + HOUR)
    due(quiet, "stopped", now, state="stopped")
    quiet.publish()
    waiting = what_waits(quiet.office, now=now)
    assert waiting.steps == 1
    put(quiet, "now", now, channel="desk_task", priority=1, status="delivered")
    assert not what_waits(quiet.office, now=now)
    assert what_waits(quiet.office, now=now + HOUR).steps == 1
    due(quiet, "other", now, former_step_keys="was,now")
    quiet.publish()
    assert not what_waits(quiet.office, now=now), "it was emitted before its lead was merged"


@pytest.mark.parametrize(
    ("row", "waits"),
    [
        ({"status": "pending"}, True),
        ({"status": "retrying"}, True),
        ({"status": "unknown"}, True),
        ({"status": "pending", "next_attempt_at": 10}, False),
        ({"status": "pending", "due_at": 10}, False),
        ({"status": "pending", "reason_code": "behind_urgent"}, False),
        ({"status": "leased", "lease_until": 10}, False),
        ({"status": "leased", "lease_until": -10}, True),
        ({"status": "held"}, False),
        ({"status": "delivered"}, False),
    ],
)
def test_an_output_whose_time_has_come_starts_a_run(
    quiet: FollowUp, now: datetime, row: dict[str, Any], waits: bool
) -> None:
    when = {name: stamp(now + value * MINUTE) for name, value in row.items() if isinstance(value, int)}
    put(quiet, "one", now, channel="text", priority=2, **{**row, **when})
    assert bool(what_waits(quiet.office, now=now, steps=False)) is waits


def test_a_hold_whose_cause_is_gone_starts_a_run_that_ends_it_although_nothing_else_happens(
    quiet: FollowUp, instance: dg.DagsterInstance, now: datetime, follow: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    quiet.write_clients(connections='{hubspot: {access_token: "${T}"}}')
    refused = ConnectionState(RIDGE, "hubspot", "needs_person", "dana", reason="The token was revoked.")
    save_states(quiet.engine, [refused], now - HOUR)
    assert detect_holds(quiet.office, now=now - HOUR).opened == [f"{RIDGE}|hubspot|credential"]
    assert tick(instance).skip_message, "the token is still revoked"

    save_states(quiet.engine, [replace(refused, state="ok", last_success_at=stamp(now))], now)
    save(quiet.settings, BuildRecord(2, stamp(now - MINUTE), (), "analytics-2.duckdb", stamp(now - MINUTE), True))
    assert tick(instance).skip_message, "it was read, but what people read does not know what came"

    save(quiet.settings, BuildRecord(3, stamp(now), (), "analytics-3.duckdb", stamp(now + MINUTE), True))
    woken = tick(instance)
    (asked,) = woken.run_requests or []
    assert asked.tags["leadtrail/waiting"] == "0 webhooks, 0 outputs, 0 steps and 1 holds wait"
    assert follow().success
    with quiet.engine.connect() as connection:
        assert open_holds(connection) == []
    assert tick(instance, woken.cursor).skip_message


def test_a_backlog_is_looked_at_in_milliseconds(quiet: FollowUp, now: datetime) -> None:
    """A tick has twenty seconds; a sensor that is slower than that is cut off by Dagster, again and again."""
    request = WebhookRequest("https://hooks.example/webhooks/ridgeline/forms", {}, b"{}" * 500, now)
    store_events(quiet.engine, [Event(RIDGE, "forms", str(number), request) for number in range(5_000)])
    for number in range(2_000):
        due(quiet, f"step-{number}", now)
    quiet.publish()
    began = datetime.now(UTC)
    waiting = what_waits(quiet.office, now=now)
    assert datetime.now(UTC) - began < timedelta(seconds=5)
    assert waiting.webhooks == 5_000
    with quiet.engine.begin() as connection:
        connection.execute(update(inbox).values(state="drained"))
    assert what_waits(quiet.office, now=now).webhooks == 0


# ---- what failed runs leave behind ----


@pytest.fixture
def failing(instance: dg.DagsterInstance) -> Callable[[str, str], None]:
    @dg.op
    def breaks(context) -> None:  # type: ignore[no-untyped-def]  # (Dagster reads annotations, and these are text here)
        kind = context.run.tags["kind"]
        if kind:
            raise {"OSError": OSError, "ValueError": ValueError}[kind]("somebody's number is +15125550142")

    @dg.graph
    def graph() -> None:
        breaks()

    def run(job: str, kind: str) -> None:
        made = graph.to_job(name=job)
        made.execute_in_process(instance=instance, raise_on_error=False, tags={"kind": kind})

    return run


def test_failed_runs_are_one_incident_for_each_cause_with_owner_and_what_to_do_until_the_job_succeeds(
    home: FollowUp, instance: dg.DagsterInstance, failing: Callable[[str, str], None], now: datetime
) -> None:
    for job, kind in (("sync_callrail", "OSError"), ("sync_callrail", "OSError"), ("sync_callrail", "ValueError")):
        failing(job, kind)
    failing("build_news", "OSError")
    taken, cursor = take_in_runs(instance, home.engine, None, now=now)
    assert taken.failed == 4
    with home.engine.connect() as connection:
        found = {one["open_key"]: one for one in open_incidents(connection)}
    assert {key: one["symptoms"] for key, one in found.items()} == {
        "|run:sync_callrail:breaks:OSError": 2,
        "|run:sync_callrail:breaks:ValueError": 1,
        "|run:build_news:breaks:OSError": 1,
    }
    assert all(one["owner"] and one["recovery_rule"] for one in found.values())
    assert "5550142" not in str(found), "errors may quote people"

    for _ in range(3):
        again, cursor = take_in_runs(instance, home.engine, cursor, now=now)
        assert (again.failed, again.succeeded) == (0, 0), "each run is taken in once"

    failing("sync_callrail", "")
    taken, cursor = take_in_runs(instance, home.engine, cursor, now=now)
    assert taken.succeeded == 1
    with home.engine.connect() as connection:
        assert [one["open_key"] for one in open_incidents(connection)] == ["|run:build_news:breaks:OSError"]
        resolved = connection.execute(select(incidents.c.resolved_by).where(incidents.c.resolved_by.is_not(None)))
        assert len(resolved.all()) == 2


def test_a_storm_of_failed_runs_is_taken_in_over_a_few_ticks_and_none_is_left_out(
    home: FollowUp, instance: dg.DagsterInstance, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.run_failures, "A_TICK", 20)
    job = dg.GraphDefinition("sync_callrail").to_job()
    for _ in range(70):
        instance.report_run_failed(instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED))
    cursor, seen = None, 0
    for _ in range(8):
        taken, cursor = take_in_runs(instance, home.engine, cursor, now=now)
        seen += taken.failed
    assert seen == 70
    with home.engine.connect() as connection:
        (one,) = open_incidents(connection)
    assert one["symptoms"] == 70
