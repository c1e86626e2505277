"""Compaction: many small segments of a stream become few large ones, so that a tick every 15 minutes stays cheap to read.

It runs with the right to write the warehouse, so no build is reading. Every row of every version is kept, byte for byte. The
files replaced stay for a day (a reader may have listed them) and go with a later compaction. Staging reads the new file once
and finds nothing new in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine

from pipeline.landing import SCHEMA, write_segment
from pipeline.store.segments import (
    forget_segments,
    live_segments,
    note_compaction,
    segment_streams,
    superseded_segments,
)

SMALL = 16 * 1024 * 1024  # a segment below this is worth merging
ENOUGH = 8  # small segments of one stream before it pays
MOST_BYTES = 64 * 1024 * 1024  # of compressed input in one new segment: some 20 times that in memory
BY = ("client_id", "record_id", "received_at")
GRACE = timedelta(days=1)


@dataclass(frozen=True)
class Compacted:
    merged: int
    written: int
    deleted: int


def compact(
    landing: Path, engine: Engine, *, now: datetime, enough: int = ENOUGH, grace: timedelta = GRACE
) -> Compacted:
    """Merge small segments of every stream. The caller holds `sole_writer`."""
    deleted = _delete_replaced(landing, engine, now - grace)
    merged = written = 0
    for provider, stream in segment_streams(engine):
        small = [(name, size) for name, size in live_segments(engine, provider, stream) if size < SMALL]
        if len(small) < enough:
            continue
        for group in _groups(small):
            table = pa.concat_tables([pq.read_table(landing / name, schema=SCHEMA) for name in group])
            note_compaction(engine, write_segment(landing, provider, stream, _in_order(table)), group, now)
            merged, written = merged + len(group), written + 1
    return Compacted(merged, written, deleted)


def _in_order(table: pa.Table) -> pa.Table:
    """A client's rows together, a record's versions as they came."""
    table = table.unify_dictionaries().combine_chunks()
    # Arrow sorts no dictionary column together with others
    keys = pa.table({"client_id": table["client_id"].cast(pa.string()), **{n: table[n] for n in BY[1:]}})
    return table.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in BY]))


def _groups(small: list[tuple[str, int]]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for name, bytes_ in small:
        if groups[-1] and size + bytes_ > MOST_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += bytes_
    return [group for group in groups if len(group) > 1]


def _delete_replaced(landing: Path, engine: Engine, before: datetime) -> int:
    names = superseded_segments(engine, before)
    for name in names:
        (landing / name).unlink(missing_ok=True)
    forget_segments(engine, names)
    return len(names)
