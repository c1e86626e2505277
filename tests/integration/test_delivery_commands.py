"""The commands of follow-up as a person types them: what they did, what to do next, and an exit code that tells."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from pipeline import cli
from pipeline.store.schema import audit_log
from tests.conftest import Served
from tests.follow_up_sandbox import CONTACT, House, house
from tests.follow_up_world import HOUR, PHONE, RIDGE

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def agency(tmp_path: Path, serve: Callable[..., Served]) -> House:
    made = house(tmp_path / "home", serve, None)
    made.home.publish()
    return made


@pytest.fixture
def run(agency: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in {**agency.home.environ, "LEADTRAIL_HOME": str(agency.home.path)}.items():
        monkeypatch.setenv(name, value)

    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["leadtrail", *words])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


def task_due(agency: House, key: str = "task-1") -> None:
    now = datetime.now(UTC)
    agency.home.task(key, trigger_event_id=f"event of {key}", due_at=now, expires_at=now + HOUR, triggered_at=now)
    agency.home.publish()


def test_a_day_with_the_queue(agency: House, run: Run) -> None:
    task_due(agency)
    assert run("emit", "--dry-run") == (
        0,
        "ridgeline  hello  owner  1\n1 would be queued, 0 came too late, 0 taken back, 0 escalated, 0 taken up.\n",
    )
    _, said = run("emit", "--json")
    assert json.loads(said)["queued"] == [{"client_id": RIDGE, "rule": "hello", "priority": "owner", "outputs": 1}]
    assert "0 queued" in run("emit")[1]
    assert run("deliver") == (0, "1 delivered; 1 outcomes landed.\n")
    _, said = run("outputs", "list", "--client", RIDGE, "--json")
    (row,) = json.loads(said)
    assert (row["status"], PHONE in said) == ("delivered", False)
    _, said = run("outputs", "show", row["output_id"][:8])
    assert "Call back Ana" in said
    assert "queued" in said
    assert "delivered" in said
    assert run("outputs", "ack", row["output_id"][:8], "--by", "dana")[1] == f"{row['output_id'][:12]} is taken up.\n"
    assert "was taken up before" in run("outputs", "ack", row["output_id"][:8])[1]
    assert run("audit", "verify")[0] == 0


def test_mistakes_are_told_and_exit_with_one(agency: House, run: Run) -> None:
    code, said = run("outputs", "show", "zz")
    assert (code, "leadtrail outputs list" in said) == (1, True)
    code, said = run("outputs", "list", "--status", "lost")
    assert (code, "there are pending, leased" in said) == (1, True)
    agency.home.settings.analytics.unlink()
    code, said = run("emit")
    assert (code, "leadtrail build" in said) == (1, True)


def test_an_audit_log_that_was_tampered_with_is_found_and_the_row_named(agency: House, run: Run) -> None:
    with agency.home.engine.begin() as connection:
        connection.execute(update(audit_log).where(audit_log.c.seq == 2).values(actor="nobody"))
    code, said = run("audit", "verify")
    assert code == 1
    assert "Row 2 of the audit log does not hold" in said


def test_a_handoff_is_planned_shown_delivered_and_taken_back_where_nobody_changed_it_since(
    agency: House, run: Run
) -> None:
    portal = agency.hubspot.portal(RIDGE)
    _, said = run("handoff", "plan", CONTACT, "city=Austin", "zip=78701", "--client", RIDGE, "--by", "dana")
    output_id = said.split()[2].rstrip(".")
    assert "'Austin'" in run("handoff", "diff", output_id)[1]
    assert agency.ledger("contact.update") == []
    assert run("handoff", "rollback", output_id)[0] == 1
    assert run("deliver")[1].startswith("1 delivered")
    values = portal.values(portal.get("contacts", int(CONTACT)))  # type: ignore[arg-type]
    assert (values["city"], values["zip"]) == ("Austin", "78701")
    portal.edit("contacts", int(CONTACT), {"zip": "78799"})
    _, said = run("handoff", "rollback", output_id, "--by", "dana")
    assert "restored: city" in said
    assert "changed since: left: zip" in said
    assert portal.values(portal.get("contacts", int(CONTACT))).get("zip") == "78799"  # type: ignore[arg-type]


def test_an_opt_out_said_by_telephone_is_recorded_and_lifted_again(agency: House, run: Run) -> None:
    assert run("opt-outs", "confirm", PHONE, "--client", RIDGE, "--by", "dana")[0] == 0
    assert PHONE in run("opt-outs", "list")[1]
    assert run("opt-outs", "lift", PHONE, "--client", RIDGE, "--why", "they wrote")[0] == 0
    assert run("opt-outs", "list")[1] == "0 addresses.\n"


def test_before_the_first_task_the_crm_is_given_the_property_that_makes_a_second_one_impossible_once(
    agency: House, run: Run
) -> None:
    assert agency.ledger("property") == []
    task_due(agency)
    run("emit")
    run("deliver")
    (task,) = agency.ledger("task")
    assert len(task["properties"]["leadtrail_key"]) == 32
    assert len(agency.ledger("property")) == 2, "of tasks and of notes"
    with agency.home.engine.connect() as connection:
        (noted,) = connection.execute(select(audit_log).where(audit_log.c.action == "crm.prepared")).mappings()
    assert (noted["subject"], noted["actor"]) == (f"{RIDGE}/hubspot", "leadtrail")

    task_due(agency, "another")
    run("emit")
    run("deliver")
    assert len(agency.ledger("task")) == 2
    code, said = run("outputs", "prepare", "--client", RIDGE)
    assert code == 0
    assert "ridgeline/hubspot: Tasks and notes are made under the unique property" in said
    assert len(agency.ledger("property")) == 2


def test_a_crm_that_allows_no_such_property_is_asked_once_and_its_tasks_are_made_all_the_same(
    agency: House, run: Run
) -> None:
    agency.hubspot.refuse_unique_tasks = True
    for key in ("one", "two"):
        task_due(agency, key)
        run("emit")
        run("deliver")
    assert len(agency.ledger("task")) == 2
    assert [one["object"] for one in agency.ledger("property")] == ["notes"]
