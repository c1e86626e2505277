"""Landing what we say ourselves (decisions, baselines, outcomes) as records, so that a rebuild finds them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from connectors.base import Record
from pipeline.landing import Batch, Filter, Landing, Segment, content_keys
from pipeline.store.segments import note_segments

Landed = tuple[str, str, str, Sequence[Record]]  # client, provider, stream, records


def land_records(
    root: Path,
    engine: Engine,
    landed: Iterable[Landed],
    *,
    via: str,
    now: datetime,
    done: Callable[[Connection], None] | None = None,
    door: Callable[[], AbstractContextManager[Filter]] | None = None,
) -> int:
    """Land records durably and return how many. `done` is called in the transaction that makes the last of them count: what it
    writes is true if and only if all have landed. `door`: for records that are not our own."""

    def commit(segments: list[Segment], dones: list[object]) -> None:
        with engine.begin() as connection:
            note_segments(connection, segments, now)
            if dones and done:
                done(connection)

    landing, count = Landing(root, commit=commit, door=door), 0
    for client_id, provider, stream, records in landed:
        keys = content_keys(client_id, provider, stream, records)
        landing.add([Batch(client_id, provider, stream, via, now, records, keys)])
        count += len(records)
    landing.add([], done=done)
    landing.flush()
    return count
