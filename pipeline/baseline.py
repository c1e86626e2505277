"""The baseline: how a client did before joining, frozen once and landed like any record, so that a rebuild finds it again.

SQL says what is due (`int_baselines_due`); this lands it, with a hash over the method and every figure. What the data say
of those months later is drift: `metrics.baselines` shows it and `metrics.improvement` does not take it in.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from datetime import datetime

import duckdb
from sqlalchemy import Engine

from connectors.base import Record
from pipeline.own_records import land_records
from pipeline.settings import Settings
from pipeline.warehouse import build

METHOD = "monthly values of the same calendar months, before and after joining, compared in pairs (1)"
_DUE = (
    "select client_id, metric, month::varchar, numerator::varchar, denominator::varchar, value::varchar, definition, "
    "joined_on::varchar, as_of from intermediate.int_baselines_due order by client_id, metric, month"
)


def settle_baselines(settings: Settings, engine: Engine, *, now: datetime) -> int:
    """Freeze the baselines that are due, and build what reads them. Returns for how many clients; call it before publishing."""
    frozen = freeze_baselines(settings, engine, now=now)
    if frozen:
        build(settings)
    return frozen


def freeze_baselines(settings: Settings, engine: Engine, *, now: datetime) -> int:
    """Land the baselines that are due. Returns for how many clients."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(_DUE).fetchall()
    by_client: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for client_id, *figures in rows:
        by_client[client_id].append(tuple(figures))
    frozen = [(client_id, "leadtrail", "baselines", _records(rows, now=now)) for client_id, rows in by_client.items()]
    land_records(settings.landing, engine, frozen, via="pull", now=now)
    return len(by_client)


def baseline_hash(lines: list[str]) -> str:
    """md5 because every SQL engine has it: a data test computes it again from what is staged."""
    return hashlib.md5(";".join([METHOD, *sorted(lines)]).encode(), usedforsecurity=False).hexdigest()


def _records(rows: list[tuple[str, ...]], *, now: datetime) -> list[Record]:
    digest = baseline_hash(["|".join(row[:6]) for row in rows])
    names = ("metric", "month", "numerator", "denominator", "value", "definition", "joined_on")
    records = []
    for *figures, as_of in rows:
        payload = dict(zip(names, figures, strict=True))
        payload |= {"method": METHOD, "baseline_hash": digest}
        payload |= {"frozen_at": now.isoformat(), "as_of": f"{as_of.isoformat()}Z"}  # type: ignore[attr-defined]
        records.append(
            Record(
                f"{payload['metric']}:{payload['month']}", json.dumps(payload).encode(), occurred_at=now, updated_at=now
            )
        )
    return records
