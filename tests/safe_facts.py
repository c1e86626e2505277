"""Facts as a test needs them, and a client-safe file with given rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.client_safe.document import SourceState
from pipeline.client_safe.facts import Facts, Improvement, Period, _improvement, _told

UNTIL = datetime(2026, 11, 3, 6)  # noqa: DTZ001  (as DuckDB gives it)
UNITS = {"invoiced": "cents", "revenue": "cents", "response_time": "seconds"}


def row(
    name: str, value: int | None, *, client: str = "acme", kind: str = "month", start: str = "2026-10-01", **more: Any
) -> dict[str, Any]:
    """A row of safe_figures."""
    part, currency = more.pop("part", "all"), "USD" if UNITS.get(name) == "cents" else None
    few = value is None
    named = [client, kind, start, name, *([part] if part != "all" else []), *([currency] if currency else [])]
    return {
        "figure_id": "|".join(named),
        "client_id": client,
        "kind": kind,
        "period_start": start,
        "figure": name,
        "part": part,
        "unit": UNITS.get(name, "count"),
        "currency": currency,
        "value": value,
        "k": None if few else 12,
        "leaves_out_few": False,
        "is_suppressed": few,
        "suppressed_because": "few" if few else None,
        "data_until": UNTIL,
        **more,
    }


def improved(metric: str = "missed_call_rate", verdict: str = "improved") -> Improvement:
    return _improvement(
        {
            "figure_id": f"acme|improvement|{metric}",
            "metric": metric,
            "unit": "rate",
            "better": "down",
            "is_headline": True,
            "verdict": verdict,
            "matched_months": 7,
            "before_value": 0.31,
            "after_value": 0.12,
            "difference_low": -0.26,
            "difference_high": -0.11,
            "k": 90,
            "is_suppressed": False,
            "data_until": UNTIL,
        }
    )


def facts(
    rows: Sequence[dict[str, Any]] | None = None,
    *,
    kind: str = "month",
    start: str = "2026-10-01",
    end: str = "2026-11-01",
    **changes: Any,
) -> Facts:
    rows = OCTOBER if rows is None else rows
    made = Facts(
        period=Period("acme", kind, start, end),  # type: ignore[arg-type]
        told=tuple(_told(one, start) for one in rows),
        before=(_told(row("leads", 55, start="2026-09-01"), start),),
        improvements=(improved(),) if kind == "month" else (),
        sources=(SourceState("CallRail", "complete", "2026-11-03T06:00+00:00", "Everything is in."),),
        query_hash="q",
        snapshot_hash="s",
    )
    return replace(made, **changes)


OCTOBER = [
    row("calls", 50, leaves_out_few=True),
    row("missed_calls", 13),
    row("leads", 81),
    row("leads_by_channel", 57, part="google_paid"),
    row("leads_by_channel", 24, part="other"),
    row("booked_jobs", 48),
    row("invoiced", 5_200_000),
    row("revenue", 4_315_084),
    row("response_time", 480),
    row("messages_sent", 31),
    row("tasks_given", None),
]


def write_client_safe(path: Path, rows: Sequence[dict[str, Any]], periods: Sequence[tuple[str, str, str, str]]) -> None:
    """client_safe.duckdb with these rows, and nothing of improvement or sources."""
    file = path.with_name(
        "published.duckdb"
    )  # the pointer is never opened by its own name: DuckDB would take it for the schema
    file.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(file)
    with duckdb.connect(str(file)) as connection:
        connection.execute("""
            create schema client_safe;
            create table client_safe.safe_periods (client_id varchar, kind varchar, period_start date, period_end date);
            create table client_safe.safe_figures (figure_id varchar, client_id varchar, kind varchar, period_start date,
                figure varchar, part varchar, unit varchar, currency varchar, value bigint, k bigint, leaves_out_few boolean,
                is_suppressed boolean, suppressed_because varchar, data_until timestamp);
            create table client_safe.safe_improvement (figure_id varchar, client_id varchar, metric varchar, unit varchar,
                better varchar, is_headline boolean, verdict varchar, label varchar, joined_on date, matched_months bigint,
                before_value double, after_value double, difference_low double, difference_high double, k bigint,
                is_suppressed boolean, data_until timestamp);
            create table client_safe.safe_sources (source_key varchar, client_id varchar, provider varchar, state varchar,
                data_until timestamp);
        """)
        connection.executemany(
            "insert into client_safe.safe_periods values (?, ?, ?, ?)", [list(one) for one in periods]
        )
        connection.executemany(
            f"insert into client_safe.safe_figures values ({', '.join('?' * 14)})", [list(one.values()) for one in rows]
        )
