"""The ledger of landing's segments: what was written when, and which files a compaction has replaced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from pipeline.landing import Segment
from pipeline.store.engine import stamp
from pipeline.store.schema import segments


def note_segments(connection: Connection, written: Sequence[Segment], now: datetime) -> None:
    """Record finished segments, in the transaction that commits the cursors of what they hold."""
    if written:
        connection.execute(insert(segments), [{**segment.__dict__, "created_at": stamp(now)} for segment in written])


def note_compaction(engine: Engine, written: Segment, replaced: Sequence[str], now: datetime) -> None:
    """`written` holds every row of `replaced`, whose files may go one compaction later."""
    with engine.begin() as connection:
        note_segments(connection, [written], now)
        connection.execute(
            update(segments)
            .where(segments.c.name.in_(replaced))
            .values(superseded_by=written.name, superseded_at=stamp(now))
        )


def live_segments(engine: Engine, provider: str, stream: str) -> list[tuple[str, int]]:
    """(name, bytes) of the stream's segments that no compaction has replaced, oldest first."""
    query = (
        select(segments.c.name, segments.c.bytes)
        .where(segments.c.provider == provider, segments.c.stream == stream, segments.c.superseded_by.is_(None))
        .order_by(segments.c.name)
    )
    with engine.connect() as connection:
        return [(row.name, row.bytes) for row in connection.execute(query)]


def superseded_segments(engine: Engine, before: datetime) -> list[str]:
    """Names of replaced segments whose files nobody has needed since `before`."""
    query = select(segments.c.name).where(segments.c.superseded_at < stamp(before)).order_by(segments.c.name)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def forget_segments(engine: Engine, names: Sequence[str]) -> None:
    with engine.begin() as connection:
        for start in range(0, len(names), 500):
            connection.execute(delete(segments).where(segments.c.name.in_(names[start : start + 500])))


def segment_streams(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(
            select(segments.c.provider, segments.c.stream).distinct().order_by("provider", "stream")
        )
        return [(row.provider, row.stream) for row in rows]
