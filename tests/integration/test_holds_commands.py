"""`leadtrail holds` and `leadtrail incidents` as a person uses them, and what doctor and dbt are told of the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner, Result

from connectors.oauth import Tokens
from pipeline import cli, holds_commands
from pipeline.doctor import examine
from pipeline.follow_up.incidents import failure_incident
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.connections import ConnectionState, save_states
from pipeline.store.holds import open_holds
from pipeline.store.outputs import Output, Ruling, claim, enqueue
from pipeline.store.tokens import StoredVault

NOW = datetime.now(UTC)
CLIENTS = """
clients:
  - client_id: ridgeline
    timezone: America/Chicago
    owner: dana@agency.example
    connections:
      hubspot: {access_token: "${K}"}
      twilio: {account_sid: AC1, auth_token: "${K}", sms_numbers: ["+15125550100"]}
      quickbooks: {client_id: c, client_secret: "${K}", refresh_token: "${K}", realm_id: "1"}
"""
Run = Callable[..., Result]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    (tmp_path / "clients.yaml").write_text(CLIENTS)
    return Office(Settings.from_env({"LEADTRAIL_HOME": str(tmp_path), "K": "secret"}))


@pytest.fixture
def leadtrail(office: Office, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(holds_commands.out, "width", 200)

    def run(*args: str) -> Result:
        return CliRunner().invoke(cli.app, args, env={"LEADTRAIL_HOME": str(office.settings.home), "K": "secret"})

    return run


def held_texts(office: Office) -> None:
    def text(number: int, expires: timedelta) -> Output:
        return Output(
            f"t{number}", "message", "ridgeline", "lead", "text", 3, "dana", "rule", "+15125550142", {"body": "hello"},
            NOW - timedelta(hours=3), NOW - timedelta(hours=3) + expires, "Tried again.", rule="no-response",
        )  # fmt: skip

    with office.engine.begin() as connection:
        enqueue(connection, [text(1, timedelta(hours=1)), text(2, timedelta(days=1))], NOW)
    claim(office.engine, lambda *_: Ruling("refuse", "on_hold", "on hold", status="held"), now=NOW)


def test_a_hold_is_found_shown_with_what_its_end_comes_to_and_ended(office: Office, leadtrail: Run) -> None:
    assert "Nothing is on hold." in leadtrail("holds", "list").output
    save_states(
        office.engine, [ConnectionState("ridgeline", "twilio", "needs_person", "dana", reason="Twilio says 401.")], NOW
    )
    assert "on hold: ridgeline, twilio, credential" in leadtrail("holds", "detect").output
    held_texts(office)
    [listed] = json.loads(leadtrail("holds", "list", "--json").output)
    assert (listed["scope"], listed["holds_back"], listed["evidence"]) == ("twilio", 2, "Twilio says 401.")
    shown = leadtrail("holds", "show", listed["hold_id"][:6]).output
    for words in (
        "Reconnect as the evidence says",
        "2 text of no-response",
        "1 go back",
        "1 are no longer true",
        "dana@agency.example",
    ):
        assert words in shown, shown
    assert "+1512" not in shown
    ended = leadtrail("holds", "clear", listed["hold_id"][:6], "--by", "dana", "--why", "New token.")
    assert "1 outputs go back to be judged again, 1 went on dana@agency.example's list" in ended.output
    assert "nothing was done" in leadtrail("holds", "clear", listed["hold_id"], "--by", "lee", "--why", "x").output
    assert "New token." in leadtrail("holds", "show", listed["hold_id"]).output
    unknown = leadtrail("holds", "show", "nothing")
    assert unknown.exit_code == 1


def test_what_a_person_puts_on_hold(office: Office, leadtrail: Run) -> None:
    opened = (
        "holds",
        "open",
        "--client",
        "ridgeline",
        "--scope",
        "text",
        "--by",
        "dana",
        "--why",
        "The words are wrong.",
    )
    assert leadtrail(*opened).exit_code == 0
    assert leadtrail(*opened).exit_code == 1
    wrong = leadtrail("holds", "open", "--client", "ridgeline", "--scope", "pigeon", "--by", "dana", "--why", "x")
    assert "--scope is one of all, crm_note" in str(wrong.exception)
    with office.engine.connect() as connection:
        [hold] = open_holds(connection)
    assert (hold["opened_by"], hold["owner"]) == ("dana", "dana@agency.example")


def test_incidents_are_listed_and_resolved(office: Office, leadtrail: Run) -> None:
    assert "No incident is open." in leadtrail("incidents", "list").output
    with office.engine.begin() as connection:
        failure_incident(connection, run_id="r1", job="refresh", error_class="OSError", owner="dana", now=NOW)
    [one] = json.loads(leadtrail("incidents", "list", "--json").output)
    assert "refresh fails (OSError), 1 symptoms" in leadtrail("incidents", "list").output
    assert "Resolved." in leadtrail("incidents", "resolve", one["incident_id"][:6], "--by", "dana").output
    assert "by dana" in leadtrail("incidents", "resolve", one["incident_id"], "--by", "lee").output


def sign_in(office: Office, ends: timedelta) -> None:
    vault = StoredVault(office.engine, office.workshop.sealed, "ridgeline/quickbooks", lambda: NOW)
    vault.save(Tokens("a", NOW, "r", reconnect_by=NOW + ends))


def test_doctor_says_what_is_on_hold_what_is_to_be_mended_and_which_sign_in_ends(
    office: Office, leadtrail: Run
) -> None:
    def told() -> dict[str, str]:
        return {
            one.what: f"{one.level}: {one.found} {one.fix}" for one in examine(office.settings, now=NOW) if one.found
        }

    assert told()["holds"].startswith("ok: nothing is on hold")
    sign_in(office, timedelta(days=8))
    assert "sign-in" not in told()["ridgeline/quickbooks"]
    sign_in(office, timedelta(days=6))
    assert "the sign-in ends on" in told()["ridgeline/quickbooks"]
    leadtrail(
        "holds", "open", "--client", "ridgeline", "--scope", "text", "--by", "dana", "--why", "The words are wrong."
    )
    with office.engine.begin() as connection:
        failure_incident(connection, run_id="r1", job="refresh", error_class="OSError", owner="dana", now=NOW)
    assert "problem: ridgeline: text since" in told()["on hold"]
    assert "refresh fails (OSError)" in told()["incident"], "and the hold's own incident is not told twice"
    assert "holds" not in told()


def test_dbt_is_told_of_every_hold_and_of_connections_that_need_care(office: Office, leadtrail: Run) -> None:
    sign_in(office, timedelta(days=90))
    save_states(
        office.engine,
        [ConnectionState("ridgeline", "hubspot", "needs_person", "dana", reason="HubSpot says 401.")],
        NOW,
    )
    leadtrail("holds", "detect")
    leadtrail("holds", "open", "--client", "ridgeline", "--scope", "text", "--by", "dana", "--why", "Odd.")
    [first, _] = json.loads(leadtrail("holds", "list", "--json").output)
    leadtrail("holds", "clear", first["hold_id"], "--by", "dana", "--why", "x")
    office.write_directory()
    folder = office.settings.home / "directory"
    holds = duckdb.sql(
        f"select scope, cause, cleared_at is null, left_over from '{folder}/holds.parquet' order by opened_at"
    ).fetchall()
    assert holds == [("hubspot", "credential", False, 0), ("text", "delivery", True, None)]
    warnings = duckdb.sql(
        f"select provider, kind, what_happened, since from '{folder}/connection_warnings.parquet' order by kind"
    ).fetchall()
    assert [one[:2] for one in warnings] == [("hubspot", "credential"), ("quickbooks", "token_ends")]
    assert "HubSpot says 401. Reconnect as the evidence says" in warnings[0][2]
    assert datetime.fromisoformat(warnings[1][3]) == NOW + timedelta(days=83), "a week before it ends"
