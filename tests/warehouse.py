"""Land given records in a temporary home and build a selection of models over them: for tests of staging and beyond."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from connectors.base import Record
from pipeline.directory import write_directory
from pipeline.landing import Batch, Landing, content_keys
from pipeline.settings import Settings
from pipeline.warehouse import build
from tests.conftest import NOW


@dataclass(frozen=True)
class Landed:
    """One record as it is to be landed. `segment` numbers files: records of a higher number arrive in a later file."""

    client_id: str
    provider: str
    stream: str
    record: Record
    via: str = "pull"
    received_at: datetime = NOW
    segment: int = 0


def land(home: Path, landed: Sequence[Landed]) -> None:
    """Write the records to landing as a sync would, without a store."""
    landing = Landing(home / "landing", commit=lambda segments, done: None)
    by_segment: dict[int, list[Landed]] = defaultdict(list)
    for one in landed:
        by_segment[one.segment].append(one)
    for number in sorted(by_segment):
        for one in by_segment[number]:
            keys = content_keys(one.client_id, one.provider, one.stream, [one.record])
            landing.add([Batch(one.client_id, one.provider, one.stream, one.via, one.received_at, [one.record], keys)])
        landing.flush()


def staged(home: Path, landed: Sequence[Landed], select: str) -> duckdb.DuckDBPyConnection:
    """Land, build the selection (dbt syntax, e.g. "staging.callrail"), and open the warehouse for reading."""
    land(home, landed)
    if not (home / "directory").exists():  # tests of the models may look at clients even where a test's home has none
        write_directory(home / "directory", [], {})
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home)})
    build(settings, select=[select])
    return duckdb.connect(str(settings.warehouse), read_only=True)
