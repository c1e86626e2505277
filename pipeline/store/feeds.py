"""How far each feed has been read. A cursor is only ever written together with the segments that hold its records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from connectors.base import Cursor, Record
from pipeline.store.engine import stamp
from pipeline.store.schema import feeds

KEEP = timedelta(days=40)  # longer than any connector's look-back window
MOST = 50_000
ABSENT = b"absent"


class Seen:
    """The content last landed of each record that a look-back window may serve again: {stream/record: (key, day)}.

    Forgetting is harmless (the record lands again and staging ignores it); remembering wrongly is not, so an entry is always
    the *last* landed content: A -> B -> A lands three times.
    """

    def __init__(self, packed: bytes = b"") -> None:
        self._entries: dict[str, tuple[bytes, int]] = (
            msgspec.msgpack.decode(packed, type=dict[str, tuple[bytes, int]]) if packed else {}
        )
        self.changed = False

    def last(self, stream: str, record: Record) -> bytes | None:
        entry = self._entries.get(f"{stream}/{record.record_id}")
        return entry[0] if entry else None

    def landed(self, stream: str, record: Record, key: bytes, now: datetime) -> None:
        at = record.updated_at or record.occurred_at
        if at is None or now - at < KEEP:
            day = int((at or now).timestamp()) // 86_400 if at else 1_000_000  # undated records are few: kept
            self._entries[f"{stream}/{record.record_id}"] = (ABSENT if record.absent else key[:8], day)
            self.changed = True
        else:
            self.changed |= self._entries.pop(f"{stream}/{record.record_id}", None) is not None

    def pack(self, now: datetime) -> bytes:
        oldest = int((now - KEEP).timestamp()) // 86_400
        kept = {name: entry for name, entry in self._entries.items() if entry[1] >= oldest}
        if len(kept) > MOST:
            kept = dict(sorted(kept.items(), key=lambda item: item[1][1])[-MOST:])
        return msgspec.msgpack.encode(kept)


@dataclass
class FeedState:
    """A feed as it was read, and as it will be committed."""

    client_id: str
    provider: str
    feed: str
    cursor: Cursor | None = None
    seen: Seen = field(default_factory=Seen)
    version: int = 0


def load_feeds(engine: Engine, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str, str], FeedState]:
    """Every stored feed of the given (client, provider) connections."""
    wanted = set(keys)
    with engine.connect() as connection:
        rows = connection.execute(select(feeds).where(feeds.c.provider.in_({provider for _, provider in wanted}))).all()
    return {
        (row.client_id, row.provider, row.feed): FeedState(
            row.client_id, row.provider, row.feed, msgspec.json.decode(row.cursor), Seen(row.seen), row.version
        )
        for row in rows
        if (row.client_id, row.provider) in wanted
    }


def commit_feed(connection: Connection, state: FeedState, cursor: Cursor, now: datetime) -> None:
    """Save a cursor, unless another process has moved this feed meanwhile: then its cursor stands (all it covers has
    landed), and what we landed too is harmless."""
    values = {
        "cursor": msgspec.json.encode(cursor).decode(),
        "seen": state.seen.pack(now),
        "version": state.version + 1,
        "committed_at": stamp(now),
    }
    key = (feeds.c.client_id == state.client_id, feeds.c.provider == state.provider, feeds.c.feed == state.feed)
    if state.version == 0:
        if connection.execute(select(feeds.c.version).where(*key)).first() is not None:
            return
        names = {"client_id": state.client_id, "provider": state.provider, "feed": state.feed}
        connection.execute(insert(feeds).values(**names, **values))
    else:
        moved = connection.execute(update(feeds).where(*key, feeds.c.version == state.version).values(**values))
        if moved.rowcount == 0:
            return
    state.version += 1
