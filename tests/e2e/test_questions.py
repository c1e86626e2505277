"""The questions of docs/questions.md, asked of a built home just as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from tests.e2e.conftest import ROOT, Home

PAGE = (ROOT / "docs" / "questions.md").read_text()
QUESTIONS = dict(re.findall(r"^## (.+?)\n.*?```sql\n(.+?)```", PAGE, re.S | re.M))


@pytest.fixture(scope="module")
def warehouse(built_home: Home) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str((built_home.path / "analytics.duckdb").resolve()), read_only=True)


def ask(warehouse: duckdb.DuckDBPyConnection, question: str, **instead: str) -> list[dict[str, object]]:
    query = QUESTIONS[question]
    for example, value in instead.items():
        example = example.replace("_", "-")
        assert example in query or "+15125550142" in query
        query = query.replace("+15125550142" if example == "phone" else example, value)
    found = warehouse.execute(query)
    names = [column[0] for column in found.description or []]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def one(warehouse: duckdb.DuckDBPyConnection, query: str) -> tuple[object, ...]:
    row = warehouse.execute(query).fetchone()
    assert row is not None
    return row


def test_the_page_asks_the_four_questions() -> None:
    assert list(QUESTIONS) == [
        "What happened to this phone number?",
        "Which channel pays?",
        "Who waited too long, and why?",
        "What did Angi really cost?",
    ]


def test_what_happened_to_a_phone_number(warehouse: duckdb.DuckDBPyConnection) -> None:
    phone, person = one(
        warehouse,
        "select max(substr(identifier, 7)), person_id from timeline.record_identifiers inner join timeline.record_identity "
        "using (record_uid) where identifier like 'phone:+1%' and key_class = 'direct' and records > 3 "
        "group by person_id having count(distinct identifier) = 1 order by count(*) desc, 2 limit 1",
    )
    rows = ask(warehouse, "What happened to this phone number?", phone=str(phone))
    (events,) = one(
        warehouse, f"select count(*) from timeline.fct_lead_events where person_id = '{person}' and not is_minor"
    )
    assert len(rows) == events
    assert all(row["record_id"] and row["because"] for row in rows)
    assert [row["occurred_at"] for row in rows] == sorted(row["occurred_at"] for row in rows)  # type: ignore[type-var]


def test_which_channel_pays(warehouse: duckdb.DuckDBPyConnection) -> None:
    (client,) = one(warehouse, "select min(client_id) from timeline.dim_leads")
    rows = ask(warehouse, "Which channel pays?", ridgeline_plumbing=str(client))
    assert {"direct", "google_paid"} & {row["channel"] for row in rows}
    assert len({row["channel"] for row in rows}) == len(rows), "one row for each channel"
    assert all(row["at_least"] <= row["at_most"] for row in rows)  # type: ignore[operator]


def test_who_waited_too_long_and_why(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = ask(warehouse, "Who waited too long, and why?")
    assert rows
    assert all(row["why"] for row in rows)
    (late,) = one(
        warehouse,
        "select count(*) from timeline.dim_leads where has_enquiry and is_valid and human_response_seconds > 3600",
    )
    assert len(rows) >= late  # type: ignore[operator]


def test_what_angi_really_cost(warehouse: duckdb.DuckDBPyConnection) -> None:
    (client, fees) = one(
        warehouse,
        "select client_id, sum(fee_cents) from attribution.fct_marketplace_fees where channel = 'angi' "
        "group by 1 order by 2 desc limit 1",
    )
    rows = ask(warehouse, "What did Angi really cost?", ridgeline_plumbing=str(client))
    assert sum(float(str(row["fees"])) for row in rows) == pytest.approx(float(str(fees)) / 100)
    assert Path(ROOT / "README.md").read_text().count("docs/questions.md") == 1
