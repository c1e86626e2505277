"""`leadtrail verify` sees what is wrong and says what to do; what is well it calls well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, update

from pipeline.doctor import Finding
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.schema import audit_log, outputs
from pipeline.verification.addresses import Addresses
from pipeline.verification.queue import queue, sealed_log
from pipeline.verification.verify import last_verification, verify

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def an_output(**changes: object) -> dict[str, object]:
    row = {column.name: "" for column in outputs.c} | {
        "output_id": "o1", "idempotency_key": "k1", "priority": 1, "attempts": 0, "fence": 0, "escalated": 0,
        "status": "pending", "next_attempt_at": stamp(NOW - timedelta(minutes=5)), "lease_until": None, "sending_since": None,
    }  # fmt: skip
    return row | changes


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_what_is_due_and_lies_about_is_a_problem(engine: Engine) -> None:
    assert levels(list(queue(engine, now=NOW))) == ["ok"]
    with engine.begin() as connection:
        connection.execute(insert(outputs), an_output())
    assert levels(list(queue(engine, now=NOW))) == ["ok"], "five minutes are no delay"
    [late] = queue(engine, now=NOW + timedelta(minutes=20))
    assert (late.level, "1 outputs are due" in late.found, bool(late.fix)) == ("problem", True, True)


@pytest.mark.parametrize(("status", "level"), [("unknown", "warn"), ("failed", "warn"), ("delivered", None)])
def test_what_is_uncertain_is_told(engine: Engine, status: str, level: str | None) -> None:
    with engine.begin() as connection:
        connection.execute(insert(outputs), an_output(status=status))
    assert levels(list(queue(engine, now=NOW))) == ["ok", *([level] if level else [])]


def test_what_was_begun_and_left_is_a_problem(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(outputs), an_output(status="leased", lease_until=stamp(NOW - timedelta(hours=1))))
    assert levels(list(queue(engine, now=NOW))) == ["problem"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    (tmp_path / "clients.yaml").write_text(
        "clients:\n  - client_id: acme\n    name: Acme\n    timezone: America/Chicago\n    owner: ann@agency.example\n"
        "    connections:\n      forms:\n        signing_key: ${ACME_FORMS_KEY}\n"
    )
    return Office(Settings.from_env({"LEADTRAIL_HOME": str(tmp_path), "ACME_FORMS_KEY": "k" * 32}))


def test_a_changed_log_is_a_problem_and_names_its_row(office: Office) -> None:
    for n in range(3):
        with office.engine.begin() as connection:
            audit.note(connection, "ann", "did", f"thing {n}", {}, NOW)
    assert levels(list(sealed_log(office))) == ["ok"]
    with office.engine.begin() as connection:
        connection.execute(update(audit_log).where(audit_log.c.seq == 2).values(actor="ben"))
    [broken] = sealed_log(office)
    assert (broken.level, broken.found[:5]) == ("problem", "row 2")


def test_a_house_in_which_nothing_runs_is_not_verified_and_that_is_kept_with_its_owner(office: Office) -> None:
    made = verify(office, owner="ann", now=NOW)
    assert not made.ok
    assert made.findings[0].fix == "Run `leadtrail up`."
    kept = last_verification(office.engine)
    assert kept is not None
    assert (kept["verification_id"], kept["owner"], kept["ok"], kept["at"]) == (
        made.verification_id, "ann", 0, stamp(NOW)
    )  # fmt: skip


def test_services_that_do_not_answer_are_each_a_line(office: Office) -> None:
    nowhere = "http://127.0.0.1:9"
    Addresses(intake=nowhere, desk=nowhere, portal=nowhere, dagster=nowhere).write(office.settings.home)
    made = verify(office, owner="ann", now=NOW)
    dead = {finding.what for finding in made.findings if finding.level == "problem"}
    assert {"desk", "portal", "webhooks", "observability"} <= dead
    assert all(
        finding.fix for finding in made.findings if finding.level == "problem" and finding.what in ("desk", "portal")
    )
