"""A stranger's first hour: one command makes a working agency, and doing anything twice changes nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import duckdb

from pipeline.settings import Settings
from pipeline.warehouse import run_dbt
from tests.e2e.conftest import RUN, Home


def staging_rows(home: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every published staging model, sorted."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'staging' order by 1"
        ).fetchall()
        return {
            name: connection.execute(f'select * from staging."{name}" order by all').fetchall() for (name,) in tables
        }


MARTS = ("timeline", "attribution", "metrics", "follow_up", "operations", "client_safe")


def hashes_of_marts(home: Path) -> dict[str, str]:
    """Every published mart, as a hash of its rows in order."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in (select unnest(?))",
            [MARTS],
        ).fetchall()
        return {
            f"{schema}.{name}": hashlib.sha256(
                repr(connection.execute(f'select * from {schema}."{name}" order by all').fetchall()).encode()
            ).hexdigest()
            for schema, name in tables
        }


def two_callers(home: Path) -> tuple[str, str, str]:
    """A client, and two of its leads' phones."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as connection:
        [row] = connection.execute(
            "select client_id, min(identifier), max(identifier) from timeline.record_identifiers "
            "where identifier like 'phone:%' and key_class = 'direct' group by client_id order by client_id limit 1"
        ).fetchall()
        return row


def test_one_command_brings_every_source_in_and_says_what_came(built_home: Home) -> None:
    rows = staging_rows(built_home.path)
    for provider in ("callrail", "hubspot", "search_console", "quickbooks", "thumbtack", "angi", "twilio", "forms"):
        assert provider in built_home.said
        assert any(rows[name] for name in rows if name.startswith(f"stg_{provider}__")), provider
    assert "checks passed" in built_home.said
    assert "make ui" in built_home.said


def test_a_second_run_adds_nothing_but_what_somebody_decided_and_a_rebuild_gives_identical_rows(
    built_home: Home,
) -> None:
    before, marts_before = staging_rows(built_home.path), hashes_of_marts(built_home.path)
    client, one, other = two_callers(built_home.path)
    told = built_home.leadtrail("identity", "link", one, other, "--client", client, "--by", "dana", "--why", "a couple")
    assert told.returncode == 0, told.stdout + told.stderr
    again = built_home.leadtrail(*RUN, timeout=600)
    assert again.returncode == 0, again.stdout + again.stderr
    after, marts = staging_rows(built_home.path), hashes_of_marts(built_home.path)
    changed = {name.split("_", 1)[1] for name in after if after[name] != before[name]}
    assert changed == {"leadtrail__identity_decisions"}
    assert {"timeline.dim_leads", "timeline.fct_lead_events"} <= {
        name for name in marts if marts[name] != marts_before[name]
    }

    rebuilt = built_home.leadtrail("rebuild", timeout=600)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert staging_rows(built_home.path) == after
    same = hashes_of_marts(built_home.path)
    assert [name for name in marts.keys() | same.keys() if marts.get(name) != same.get(name)] == []


def test_the_rules_in_sql_hold_on_their_hand_worked_examples(built_home: Home) -> None:
    outcome = run_dbt(
        Settings.from_env({"LEADTRAIL_HOME": str(built_home.path)}), ["test", "--select", "test_type:unit"]
    )
    assert outcome.success, [(node.node.name, node.message) for node in outcome.result or ()]
    assert len(outcome.result) >= 8


def test_every_run_is_there_to_see_in_dagster(built_home: Home) -> None:
    with sqlite3.connect(built_home.path / "dagster" / "history" / "runs.db") as runs:
        seen = dict(runs.execute("select pipeline_name, min(status) from runs group by 1"))
    assert seen["build_warehouse"] == "SUCCESS"
    assert seen["sync_callrail"] == "SUCCESS"


def test_another_town_is_refused_in_the_same_home(built_home: Home) -> None:
    other = built_home.leadtrail("run", "--seed", "12", "--clients", "2", "--months", "2", "--leads-per-month", "20")
    assert other.returncode == 1
    assert "SEED=11" in other.stderr


def test_doctor_finds_no_problem_in_a_new_home(built_home: Home) -> None:
    done = built_home.leadtrail("doctor", "--json")
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["level"] == "problem"] == []
    assert done.returncode == 0
    assert {"store", "warehouse", "landing", "published"} <= {finding["what"] for finding in findings}


def test_without_its_sandbox_a_sync_fails_with_a_reason_for_each_connection_and_asks_no_real_provider(
    built_home: Home,
) -> None:
    done = built_home.leadtrail("sync", "--provider", "callrail")
    assert done.returncode == 1
    assert "the connection failed" in done.stderr
    assert "127.0.0.1" in (built_home.path / "clients.yaml").read_text()
