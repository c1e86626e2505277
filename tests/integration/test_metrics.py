"""Metrics over landed calls: what staff say of a call, clocks that change, and a baseline that nothing moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connectors.base import Record
from pipeline.baseline import freeze_baselines
from pipeline.clients import ClientConfig
from pipeline.directory import write_directory
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.warehouse import BuildFailed, build, drop_warehouse
from tests.warehouse import Landed, land

KNOWN = datetime(2026, 4, 5, 12, tzinfo=UTC)
JOINED = "2026-02-10"
SELECT = ["+improvement", "+booking_exclusions", "+int_baselines_due"]
TABLES = ("metrics.fct_metrics", "metrics.booking_exclusions", "metrics.baselines", "metrics.improvement")


def call(n: int, at: datetime, phone: int, *, known: datetime = KNOWN, segment: int = 0, **changes: Any) -> Landed:
    payload = {
        "id": f"CAL{n}",
        "start_time": at.isoformat(),
        "direction": "inbound",
        "answered": True,
        "voicemail": False,
        "duration": 120,
        "customer_phone_number": f"+1718555{phone:04d}",
        "tracking_phone_number": "+17185559999",
        "agent_email": "sam@ridge.example",
        "source": "google_paid",
        "tags": [],
        **changes,
    }
    record = Record(f"CAL{n}", json.dumps(payload).encode(), occurred_at=at)
    return Landed("ridge", "callrail", "calls", record, received_at=known, segment=segment)


def history() -> list[Landed]:
    """Ten callers a month from December to March: one in three booked, one in five missed. And a few that tell about clocks."""
    calls = []
    for month in range(4):
        first = datetime(2025 + (month > 0), 12 if month == 0 else month, 1, 15, tzinfo=UTC)
        for n in range(10):
            number = month * 10 + n
            missed = {"answered": False, "duration": 30} if n % 5 == 4 else {}
            booked = {"tags": ["Booked"]} if n % 3 == 0 else {}
            calls.append(call(number, first + timedelta(days=2 * n), number, **missed, **booked))
    friday, monday = datetime(2026, 3, 6, 22, tzinfo=UTC), datetime(2026, 3, 9, 12, 20, tzinfo=UTC)
    night = datetime(2026, 3, 11, 3, 50, tzinfo=UTC)
    back = {"direction": "outbound", "duration": 90}
    return [
        *calls,
        call(101, friday, 101, answered=False, duration=30),
        call(102, monday, 101, **back),
        call(103, night, 103, answered=False, duration=30),
        call(104, night + timedelta(minutes=15), 103, **back),
        call(105, datetime(2026, 4, 1, 3, 30, tzinfo=UTC), 105),  # 31 March 23:30 in New York
    ]


@dataclass
class Home:
    settings: Settings
    read: duckdb.DuckDBPyConnection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.read.execute(query).fetchall()

    def metric(self, name: str, month: str) -> tuple[Any, ...]:
        found = self.rows(
            "select numerator, denominator, value, exclusions from metrics.fct_metrics "
            f"where metric = '{name}' and month = '{month}' and channel = 'all'"
        )
        return found[0]

    def again(self) -> None:
        self.read.close()
        build(self.settings, select=SELECT)
        self.read = duckdb.connect(str(self.settings.warehouse), read_only=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("DBT_INDIRECT_SELECTION", "buildable")  # no tests that need models outside of the selection
    settings = Settings.from_env({"LEADTRAIL_HOME": str(folder)})
    client = ClientConfig("ridge", "Ridge", "America/New_York", "dana@agency.example", joined_on=JOINED, connections=())
    write_directory(folder / "directory", [client], {})
    land(folder, history())
    build(settings, select=SELECT)
    made = Home(settings, duckdb.connect(str(settings.warehouse), read_only=True))
    yield made
    made.read.close()
    patch.undo()


def test_a_wait_over_the_weekend_in_which_clocks_change_counts_open_hours_only(home: Home) -> None:
    waits = home.rows(
        "select human_response_seconds, human_response_open_seconds from intermediate.int_lead_waits "
        "inner join intermediate.int_calls using (lead_id) where called_at in ('2026-03-06 22:00', '2026-03-11 03:50') "
        "order by called_at"
    )
    # Friday 17:00 to Monday 08:20: half an hour of Friday, five hours of Saturday, twenty minutes of Monday; and 23:50 to 00:05
    assert waits == [(62 * 3600 + 20 * 60, 1800 + 5 * 3600 + 1200), (900, 0)]


def test_a_call_of_the_last_evening_belongs_to_the_clients_month(home: Home) -> None:
    assert home.rows("select month::varchar from intermediate.int_calls where called_at >= '2026-04-01'") == [
        ("2026-03-01",)
    ]


def test_the_median_is_of_the_leads_that_were_answered_and_says_who_was_not(home: Home) -> None:
    answered, valid, median, exclusions = home.metric("speed_to_lead_human_median", "2026-01-01")
    assert (answered, valid, median, exclusions) == (8, 10, 0, "2 not answered so far")


def test_all_calls_are_in_the_standard_rate_or_in_the_ledger(home: Home) -> None:
    calls = home.rows("select count(*) from intermediate.int_calls")[0][0]
    counted = home.rows(
        "select sum(denominator) from metrics.fct_metrics where metric = 'booking_rate_standard' and channel = 'all'"
    )
    assert calls == counted[0][0] + home.rows("select count(*) from metrics.booking_exclusions")[0][0]


def test_a_reclassified_call_moves_the_standard_rate_not_the_raw_one_and_the_baseline_stays(home: Home) -> None:
    settings = home.settings
    home.read.close()
    engine = open_store(settings.store_url)
    assert freeze_baselines(settings, engine, now=KNOWN) == 1
    home.again()
    assert freeze_baselines(settings, engine, now=KNOWN) == 0  # once and for all
    frozen = home.rows(
        "select metric, month, numerator, denominator, value, baseline_hash from metrics.baselines order by all"
    )
    assert {str(row[1]) for row in frozen} == {"2025-12-01", "2026-01-01"}  # the month of joining is neither
    assert home.rows("select count(*) from metrics.baselines where has_drifted") == [(0,)]
    standard, raw = home.metric("booking_rate_standard", "2026-01-01"), home.metric("booking_rate_raw", "2026-01-01")

    # an agent says, weeks later, that an unbooked caller of January was no lead
    later = KNOWN + timedelta(days=1)
    called = datetime(2026, 1, 3, 15, tzinfo=UTC)
    changed = call(11, called, 11, known=later, segment=1, lead_status="not_a_lead")
    home.read.close()
    land(settings.home, [changed])
    home.again()
    now_standard = home.metric("booking_rate_standard", "2026-01-01")
    assert now_standard[:2] == (standard[0], standard[1] - 1)
    assert now_standard[2] > standard[2]
    assert home.metric("booking_rate_raw", "2026-01-01") == raw
    ledger = home.rows(
        "select agent, called_at, known_since, reason, record_id from metrics.booking_exclusions where decided_by = 'staff'"
    )
    assert ledger == [
        ("sam@ridge.example", called.replace(tzinfo=None), later.replace(tzinfo=None), "scored as not a lead", "CAL11")
    ]

    # the frozen figures are as they were; what changed is drift
    assert (
        home.rows(
            "select metric, month, numerator, denominator, value, baseline_hash from metrics.baselines order by all"
        )
        == frozen
    )
    drifted = {row[0] for row in home.rows("select distinct metric from metrics.baselines where has_drifted")}
    assert "booking_rate_standard" in drifted
    assert "booking_rate_raw" not in drifted

    # and landing alone brings back the same rows
    before = {table: home.rows(f"select * from {table} order by all") for table in TABLES}
    home.read.close()
    drop_warehouse(settings)
    home.again()
    for table, rows in before.items():
        assert rows, table
        assert home.rows(f"select * from {table} order by all") == rows, table


def test_a_frozen_figure_that_was_written_over_stops_the_build(home: Home) -> None:
    payload = json.loads(
        home.rows("select to_json(b) from staging.base_leadtrail__baselines b where metric = 'contact_rate' limit 1")[
            0
        ][0]
    )
    names = (
        "metric",
        "month",
        "denominator",
        "definition",
        "method",
        "joined_on",
        "frozen_at",
        "as_of",
        "baseline_hash",
    )
    forged = {name: payload[name] for name in names} | {"numerator": "1.0", "value": "0.1"}
    forged |= {name: payload[name].replace(" ", "T") + "Z" for name in ("frozen_at", "as_of")}
    record = Record(payload["record_id"], json.dumps(forged).encode(), updated_at=KNOWN + timedelta(days=9))
    home.read.close()
    land(
        home.settings.home,
        [Landed("ridge", "leadtrail", "baselines", record, received_at=KNOWN + timedelta(days=9), segment=2)],
    )
    with pytest.raises(BuildFailed, match="assert_a_frozen_baseline_is_what_was_frozen"):
        build(home.settings, select=["base_leadtrail__baselines", "stg_leadtrail__baselines"])
