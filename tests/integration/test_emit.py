"""Emission: what is due is queued once, whatever runs twice or at once; and what is not queued has a reason."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipeline.build_record import BuildRecord, Failure, save
from pipeline.follow_up.emit import emit
from pipeline.follow_up.escalations import take_up
from pipeline.follow_up.published import NotPublished
from pipeline.follow_up.template_file import Template
from pipeline.store.incidents import open_incidents
from pipeline.store.outputs import begin_sending, claim, delivered
from pipeline.store.schema import suppressions
from pipeline.store.suppressions import lift, suppress
from tests.follow_up_world import DAY, EMAIL, HOUR, MINUTE, NOW, PHONE, RIDGE, SECOND, TEXT, FollowUp, follow_up


@pytest.fixture
def world(tmp_path: Path) -> FollowUp:
    return follow_up(tmp_path / "home")


def allow(*_: Any) -> Any:
    from pipeline.store.outputs import Ruling

    return Ruling("allow")


def sent(world: FollowUp, key: str, ref: str, now: Any = NOW) -> None:
    """As if it had been delivered."""
    for one in claim(world.engine, allow, now=now):
        if one.row["idempotency_key"] == key:
            assert begin_sending(world.engine, one, allow, now)
            assert delivered(world.engine, one, ref, now)
            return
    raise AssertionError(f"{key} was not to be had")


def acknowledged(world: FollowUp, key: str) -> bool:
    return world.one(key)["acknowledged_at"] is not None


# ---- once ----


def test_a_due_step_is_queued_once_with_its_words_however_often_it_is_emitted(world: FollowUp) -> None:
    world.step()
    world.publish()
    first, second = emit(world.office, now=NOW), emit(world.office, now=NOW + MINUTE)
    assert (first.queued.total(), second.queued.total()) == (1, 0)
    row = world.one()
    assert (row["recipient"], row["channel"], row["priority"], row["status"]) == (PHONE, "text", 2, "pending")
    assert row["payload"]["body"] == "Hi Ana, this is Ridgeline Plumbing. Reply STOP to opt out."
    assert (row["template"], row["template_version"], row["rule"]) == ("hello", TEXT.version, "hello")


@pytest.mark.parametrize(
    ("desk", "said"),
    [("", "Lead lead-1"), ("https://desk.example/", "https://desk.example/leads/ridgeline/lead-1")],
)
def test_a_task_says_where_its_lead_is_on_the_desk_if_the_desk_has_an_address(
    tmp_path: Path, desk: str, said: str
) -> None:
    world = follow_up(tmp_path / "home", LEADTRAIL_DESK_URL=desk)
    link = Template("link", "crm_task", "internal", "Call back", "{{ timeline_link }}")
    world.approve_templates(link)
    world.task(template="link", template_version=link.version)
    world.publish()
    emit(world.office, now=NOW)
    assert world.one("task-1")["payload"]["body"] == f"{said}\n\nCall {PHONE}"


def test_ten_emissions_at_once_queue_each_step_once(world: FollowUp) -> None:
    for number in range(20):
        world.step(f"step-{number}")
    world.publish()
    _ = world.engine
    start = threading.Barrier(10)

    def go(_: int) -> int:
        start.wait()
        return emit(world.office, now=NOW).queued.total()

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(go, range(10))) == 20
    assert len(world.queued()) == 20


def test_a_clock_that_jumps_back_an_hour_emits_nothing_again(world: FollowUp) -> None:
    world.step()
    world.publish()
    emit(world.office, now=NOW)
    assert emit(world.office, now=NOW - HOUR).queued.total() == 0
    assert emit(world.office, now=NOW + SECOND).queued.total() == 0


def test_what_is_not_due_yet_or_was_stopped_in_time_is_not_queued(world: FollowUp) -> None:
    world.step("later", due_at=NOW + SECOND)
    world.step("stopped", state="stopped", stopped_at=NOW - MINUTE, stop_reason="reply")
    world.publish()
    assert emit(world.office, now=NOW).queued.total() == 0
    assert world.queued() == []
    emit(world.office, now=NOW + SECOND)
    assert [row["idempotency_key"] for row in world.queued()] == ["later"]


def test_leads_that_were_merged_do_not_get_a_step_again_under_their_new_key(world: FollowUp) -> None:
    world.step("old-key")
    world.publish()
    emit(world.office, now=NOW)
    world.rows["follow_up.fct_follow_up_steps"].clear()
    world.step("new-key", former_step_keys="x,old-key")
    world.publish()
    assert emit(world.office, now=NOW + MINUTE).queued.total() == 0


def test_of_two_leads_that_become_one_only_one_message_goes(world: FollowUp) -> None:
    world.contact("lead-2")
    world.step("a")
    world.step("b", lead_id="lead-2")
    world.publish()
    emit(world.office, now=NOW)
    world.rows["follow_up.fct_follow_up_steps"].pop("b")
    world.step("a", former_step_keys="b")
    world.alias("lead-2", "lead-1")
    world.publish()
    assert emit(world.office, now=NOW + MINUTE).cancelled == 1
    assert sorted(row["status"] for row in world.queued()) == ["cancelled", "pending"]


def test_nothing_can_be_emitted_before_anything_is_published(world: FollowUp) -> None:
    with pytest.raises(NotPublished, match="leadtrail build"):
        emit(world.office, now=NOW)


def test_a_dry_run_says_what_would_be_queued_and_queues_nothing(world: FollowUp) -> None:
    world.step()
    world.publish()
    assert emit(world.office, now=NOW, dry_run=True).queued.total() == 1
    assert world.queued() == []


# ---- a reason for everything else ----


def test_a_step_that_came_too_late_is_kept_as_expired_and_on_its_owners_list(world: FollowUp) -> None:
    world.step("late", due_at=NOW - 5 * HOUR, expires_at=NOW - HOUR)
    world.step("known late", state="expired", due_at=NOW - HOUR, expires_at=NOW - HOUR)
    world.publish()
    emission = emit(world.office, now=NOW)
    assert emission.ended == {"expired": 2}
    assert {row["status"] for row in world.queued("late")} == {"expired"}
    (triage,) = world.queued("too-late")
    assert (triage["channel"], triage["owner"]) == ("desk_task", "dana@agency.example")
    assert "2 of hello" in triage["payload"]["body"]


def test_what_was_stopped_after_it_was_due_but_before_it_was_queued_is_not_sent_and_says_why(world: FollowUp) -> None:
    world.step(due_at=NOW - MINUTE, stopped_at=NOW - SECOND, stop_reason="reply", stopped_by_event_id="e9")
    world.publish()
    emit(world.office, now=NOW)
    assert (world.one()["status"], world.one()["reason_code"]) == ("cancelled", "reply")


def test_a_late_reply_takes_back_what_is_queued_but_not_what_is_being_sent(world: FollowUp) -> None:
    world.step("queued")
    world.step("sending", due_at=NOW - SECOND)
    world.publish()
    emit(world.office, now=NOW)
    (leased,) = claim(world.engine, allow, now=NOW, limit=1)
    assert begin_sending(world.engine, leased, allow, NOW)
    for key in ("queued", "sending"):
        world.step(key, stopped_at=NOW + SECOND, stop_reason="reply", stopped_by_event_id="e9")
    world.publish()
    assert emit(world.office, now=NOW + MINUTE).cancelled == 1
    assert (world.one("queued")["status"], world.one("sending")["status"]) == ("cancelled", "leased")
    assert "e9" in world.one("queued")["reason"]


def test_a_paused_rule_emits_nothing_until_it_goes_on(world: FollowUp) -> None:
    world.step()
    world.publish()
    world.enable("hello", "paused", at=NOW - HOUR)
    emission = emit(world.office, now=NOW)
    assert (emission.queued.total(), emission.paused) == (0, {(RIDGE, "hello")})
    world.enable("hello", "enabled", at=NOW)
    assert emit(world.office, now=NOW + MINUTE).queued.total() == 1


@pytest.mark.parametrize(("before", "queued"), [("enabled", 1), ("paused", 0)])
def test_leads_in_flight_finish_on_a_retired_version_unless_it_was_paused_first(
    world: FollowUp, before: str, queued: int
) -> None:
    world.step()
    world.publish()
    world.enable("hello", before, at=NOW - HOUR)
    world.enable("hello", "retired", at=NOW - MINUTE)
    assert emit(world.office, now=NOW).queued.total() == queued


def test_clients_whose_figures_failed_a_test_wait_and_are_named_the_others_go_on(world: FollowUp) -> None:
    world.step("mine")
    world.step("theirs", client_id="other", lead_id=None, channel="desk_task", template="call-back")
    world.publish()
    failure = Failure("test.x", "unique_lead_id", "test", "dim_leads", 3, ("other",), "Got 3 results")
    save(world.settings, BuildRecord(3, "", (failure,)))
    emission = emit(world.office, now=NOW)
    assert [row["idempotency_key"] for row in world.queued()] == ["mine"]
    assert "unique_lead_id" in emission.left_out["other"]
    save(world.settings, BuildRecord(4, ""))
    emit(world.office, now=NOW)
    assert len(world.queued()) == 2


def test_a_failure_that_may_be_anybodys_stops_everybody(world: FollowUp) -> None:
    world.step()
    world.publish()
    save(world.settings, BuildRecord(3, "", (Failure("m", "int_leads", "model", "int_leads", None, None, "boom"),)))
    assert set(emit(world.office, now=NOW).left_out) == {RIDGE, "other"}
    assert world.queued() == []


def test_a_rule_that_would_emit_a_flood_stops_and_asks_a_person(world: FollowUp) -> None:
    world.write_clients(most=5)
    for number in range(6):
        world.step(f"step-{number}")
    world.step("fine", rule="small")
    world.publish()
    emission = emit(world.office, now=NOW)
    assert emission.too_many == {(RIDGE, "hello"): 6}
    assert [row["idempotency_key"] for row in world.queued()] == ["fine"]
    with world.engine.connect() as connection:
        (incident,) = open_incidents(connection)
    assert "6 outputs" in incident["title"]
    assert emit(world.office, now=NOW, allow={(RIDGE, "hello")}).queued.total() == 6
    with world.engine.connect() as connection:
        assert open_incidents(connection) == []


def test_a_step_without_an_approved_template_fails_and_says_so(world: FollowUp) -> None:
    world.step(template_version="")
    world.publish()
    emit(world.office, now=NOW)
    assert (world.one()["status"], world.one()["reason_code"]) == ("failed", "template_not_approved")


def test_a_task_goes_to_the_crm_if_there_is_one_and_else_to_the_desk(world: FollowUp) -> None:
    world.contact(crm_contact_id="501", crm_owner_id="77", owner_email="rep@ridge.example")
    world.task("crm")
    world.task("marketplace", channel="marketplace", template="call-back")
    world.task("agency", owner_role="agency")
    world.publish()
    emit(world.office, now=NOW)
    row = world.one("crm")
    assert (row["channel"], row["recipient"], row["owner"]) == ("crm_task", "501", "rep@ridge.example")
    assert row["payload"]["owner_id"] == "77"
    assert row["payload"]["body"].endswith(f"Call {PHONE}")
    assert world.one("marketplace")["channel"] == "crm_task"
    assert (world.one("agency")["owner"], world.one("agency")["payload"].get("owner_id")) == (
        "boss@agency.example",
        None,
    )
    world.write_clients(connections="{}")
    world.task("desk")
    world.publish()
    emit(world.office, now=NOW)
    assert world.one("desk")["channel"] == "desk_task"


def test_who_was_told_how_to_opt_out_lately_is_not_told_in_every_text(world: FollowUp) -> None:
    world.step()
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "step-1", "SM1")
    world.step("next", due_at=NOW + DAY, expires_at=NOW + 2 * DAY)
    world.publish()
    emit(world.office, now=NOW + DAY)
    assert world.one("next")["payload"]["body"] == "Hi Ana, this is Ridgeline Plumbing."


# ---- escalations ----

LADDER = [{"after_seconds": 900, "to": "backup"}, {"after_seconds": 3600, "to": "agency"}]


def escalations(world: FollowUp) -> list[str]:
    return [row["owner"] for row in world.queued("task-1|escalation")]


def test_a_task_nobody_takes_up_goes_to_the_next_person_once_each(world: FollowUp) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    for after, owners in ((14, []), (15, ["lee@ridge.example"]), (16, ["lee@ridge.example"])):
        emit(world.office, now=NOW + after * MINUTE)
        assert escalations(world) == owners
    for _ in range(2):
        emit(world.office, now=NOW + HOUR)
        assert escalations(world) == ["lee@ridge.example", "boss@agency.example"]


def test_escalations_at_once_are_made_once(world: FollowUp) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: emit(world.office, now=NOW + 2 * HOUR), range(6)))
    assert escalations(world) == ["lee@ridge.example", "boss@agency.example"]


def test_a_task_that_was_taken_up_is_not_escalated_and_its_escalations_are_taken_back(world: FollowUp) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    emit(world.office, now=NOW + 15 * MINUTE)
    (backup,) = world.queued("task-1|escalation")
    with world.engine.begin() as connection:
        assert len(take_up(connection, backup["output_id"], NOW + 20 * MINUTE)) == 2
    emit(world.office, now=NOW + HOUR)
    assert escalations(world) == ["lee@ridge.example"]
    assert acknowledged(world, "task-1")


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        ({"event_type": "task_completed", "reference": "crm-9", "lead_id": None}, True),
        ({"event_type": "task_completed", "reference": "crm-8"}, False),
        ({"event_type": "call_outbound_answered"}, True),
        ({"event_type": "text_sent", "actor": "staff"}, True),
        ({"event_type": "text_sent", "actor": "automation"}, False),
        ({"event_type": "text_received"}, False),
        ({"event_type": "call_outbound_answered", "at": NOW - HOUR}, False),
        ({"event_type": "call_outbound_answered", "lead_id": "lead-9"}, False),
    ],
)
def test_what_shows_that_somebody_is_on_it_counts_in_whatever_system_it_was_seen(
    world: FollowUp, event: dict[str, Any], counts: bool
) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "task-1", "crm-9")
    world.event(**{"at": NOW + 10 * MINUTE, **event})
    world.publish()
    emit(world.office, now=NOW + 15 * MINUTE)
    assert acknowledged(world, "task-1") == counts
    assert escalations(world) == ([] if counts else ["lee@ridge.example"])


def test_a_task_thrown_away_in_the_crm_undone_is_on_the_desk_and_still_escalates(world: FollowUp) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "task-1", "crm-9")
    world.event("task_deleted", reference="crm-9", at=NOW + 5 * MINUTE)
    world.publish()
    for minutes in (6, 7):
        emit(world.office, now=NOW + minutes * MINUTE)
    task = world.one("task-1")
    assert (task["channel"], task["status"], task["reason_code"]) == ("desk_task", "pending", "deleted_in_crm")
    assert not acknowledged(world, "task-1")
    assert world.told("task-1").count("moved") == 1
    emit(world.office, now=NOW + 15 * MINUTE)
    assert escalations(world) == ["lee@ridge.example"]


def test_a_task_that_was_done_before_it_was_thrown_away_is_done(world: FollowUp) -> None:
    world.task(escalate=LADDER)
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "task-1", "crm-9")
    world.event("task_deleted", reference="crm-9", at=NOW + 5 * MINUTE)
    done = {"client_id": RIDGE, "task_id": "crm-9", "is_completed": True}
    world.rows["staging.stg_hubspot__tasks"]["crm-9"] = done
    world.publish()
    emit(world.office, now=NOW + 15 * MINUTE)
    assert acknowledged(world, "task-1")
    assert escalations(world) == []


def test_an_urgent_task_that_its_rule_no_longer_asks_for_is_over_and_nothing_waits_for_it(world: FollowUp) -> None:
    urgent = {"priority": "urgent", "escalate": LADDER}
    world.task(**urgent)
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "task-1", "crm-9")
    world.task(**urgent, stopped_at=NOW + 5 * MINUTE, stop_reason="wrong_number", stopped_by_event_id="said-1")
    world.publish()
    emit(world.office, now=NOW + 4 * MINUTE)
    assert not acknowledged(world, "task-1")
    emit(world.office, now=NOW + 15 * MINUTE)
    assert acknowledged(world, "task-1")
    assert escalations(world) == []


def test_a_text_nobody_answers_becomes_a_task_and_one_they_answer_does_not(world: FollowUp) -> None:
    world.contact("lead-2", phone="+15125550143")
    for key, lead in (("task-1", "lead-1"), ("task-2", "lead-2")):
        escalate = {"respond_within_seconds": 900, "escalations": json.dumps([{"after_seconds": 900, "to": "owner"}])}
        world.step(key, lead_id=lead, **escalate)
    world.event("text_received", lead_id="lead-2", at=NOW + 5 * MINUTE, text="yes please")
    world.publish()
    emit(world.office, now=NOW)
    emit(world.office, now=NOW + 15 * MINUTE)
    (task,) = [row for row in world.queued() if "|escalation" in row["idempotency_key"]]
    assert task["lead_id"] == "lead-1"
    assert task["payload"]["subject"] == "Call Ana: no answer to our message"


# ---- texts that did not arrive ----


def test_a_text_the_carrier_did_not_bring_is_failed_and_somebody_is_asked_to_call_once(world: FollowUp) -> None:
    world.step()
    world.publish()
    emit(world.office, now=NOW)
    sent(world, "step-1", "SM1")
    world.event("text_failed", reference="SM1", detail="unreachable", at=NOW + MINUTE)
    world.publish()
    for minutes in (5, 6):
        emit(world.office, now=NOW + minutes * MINUTE)
    assert (world.one()["status"], world.one()["reason_code"]) == ("failed", "not_delivered")
    assert len(world.queued("refused")) == 1


# ---- opt-outs ----


def suppressed(world: FollowUp) -> dict[tuple[str, str], str]:
    with world.engine.connect() as connection:
        rows = connection.execute(select(suppressions)).all()
    return {(row.address, row.channel): row.state for row in rows}


def test_an_opt_out_of_any_system_is_in_force_before_the_next_emission_and_stays_once(world: FollowUp) -> None:
    world.event("opted_out", contact_method="text", identifier="phone:+15125550199")
    world.event("opted_out", contact_method="email")  # on a record without an address: the lead's own
    world.publish()
    assert emit(world.office, now=NOW + MINUTE).opt_outs == 2
    assert suppressed(world) == {("+15125550199", "text"): "standing", (EMAIL, "email"): "standing"}
    assert emit(world.office, now=NOW + HOUR).opt_outs == 0


def test_an_opt_in_lifts_what_came_before_it_and_nothing_else(world: FollowUp) -> None:
    world.event("opted_out", contact_method="text", at=NOW)
    world.publish()
    emit(world.office, now=NOW)
    world.event("opted_in", contact_method="text", at=NOW + HOUR)
    world.publish()
    emit(world.office, now=NOW + 2 * HOUR)
    assert suppressed(world) == {(PHONE, "text"): "lifted"}
    world.event("opted_out", contact_method="text", at=NOW + 3 * HOUR)
    world.publish()
    emit(world.office, now=NOW + 4 * HOUR)
    assert suppressed(world) == {(PHONE, "text"): "standing"}


def test_what_a_person_lifted_is_not_put_back_by_the_same_old_event(world: FollowUp) -> None:
    world.event("opted_out", contact_method="text", at=NOW)
    world.publish()
    emit(world.office, now=NOW)
    with world.engine.begin() as connection:
        lift(connection, RIDGE, PHONE, "text", by="dana", evidence="they called", now=NOW + HOUR)
    emit(world.office, now=NOW + 2 * HOUR)
    assert suppressed(world) == {(PHONE, "text"): "lifted"}


def test_words_that_may_mean_stop_pause_the_person_and_ask_their_owner_once(world: FollowUp) -> None:
    world.event("text_received", text="please stop texting me about this ok", identifier=f"phone:{PHONE}")
    world.event("text_received", text="STOP", identifier="phone:+15125550177")
    world.event("text_received", text="yes, tomorrow is fine", identifier="phone:+15125550178")
    world.publish()
    for _ in range(2):
        emit(world.office, now=NOW + MINUTE)
    assert suppressed(world) == {(PHONE, "text"): "in_review", ("+15125550177", "text"): "standing"}
    (task,) = world.queued("in-review")
    assert task["lead_id"] == "lead-1"
    assert PHONE not in json.dumps({**task, "payload": ""})
    with world.engine.begin() as connection:  # a person has read it: it meant the reminders, not us
        lift(connection, RIDGE, PHONE, "text", by="dana", evidence="read", now=NOW + HOUR)
    emit(world.office, now=NOW + 2 * HOUR)
    assert suppressed(world)[PHONE, "text"] == "lifted"


def test_what_the_intake_put_under_review_is_asked_about_too(world: FollowUp) -> None:
    world.publish()
    with world.engine.begin() as connection:
        suppress(connection, RIDGE, PHONE, "text", cause="words", evidence="SM1", now=NOW, in_review=True)
    emit(world.office, now=NOW + MINUTE)
    assert len(world.queued("in-review")) == 1
