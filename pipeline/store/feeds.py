"""How far each feed has been read. A cursor is only ever written together with the segments that hold its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, bindparam, select, update

from connectors.base import Cursor, Record
from pipeline.store.engine import add, stamp
from pipeline.store.schema import feeds

KEEP = timedelta(days=40)  # longer than any connector's look-back window
MOST = 50_000
FEW = 2_000  # a feed with fewer records remembers them all: the small sets that are read in full each time
ABSENT = b"absent"
UNDATED = 1_000_000  # a day far ahead: records without a time are few, and kept


class Seen:
    """The content last landed of each record that a look-back window may serve again: {stream/record: (key, day)}.

    Forgetting is harmless (the record lands again and staging ignores it); remembering wrongly is not. So an entry is always the
    *last* landed content (A -> B -> A lands three times), and is only made once that content is durable.
    """

    def __init__(self, packed: bytes = b"") -> None:
        self._entries: dict[str, tuple[bytes, int]] = (
            msgspec.msgpack.decode(packed, type=dict[str, tuple[bytes, int]]) if packed else {}
        )

    def last(self, stream: str, record: Record) -> bytes | None:
        entry = self._entries.get(f"{stream}/{record.record_id}")
        return entry[0] if entry else None

    def landed(self, stream: str, record: Record, key: bytes, now: datetime) -> None:
        at = record.updated_at or record.occurred_at
        name = f"{stream}/{record.record_id}"
        if at is not None and len(self._entries) >= FEW and now - at >= KEEP:
            self._entries.pop(name, None)
            return
        day = int(at.timestamp()) // 86_400 if at else UNDATED
        self._entries[name] = (ABSENT if record.absent else key[:8], day)

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._entries.pop(name, None)

    def pack(self, now: datetime) -> bytes:
        kept = self._entries
        if len(kept) > FEW:
            oldest = int((now - KEEP).timestamp()) // 86_400
            kept = {name: entry for name, entry in kept.items() if entry[1] >= oldest}
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

    def moved(self, cursor: Cursor | None) -> None:
        """The cursor is committed. Not sooner: a commit that failed is tried again."""
        self.version, self.cursor = self.version + 1, cursor


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


def commit_feed(
    connection: Connection, state: FeedState, cursor: Cursor | None, touched: Iterable[str], now: datetime
) -> bool:
    """Save a cursor and what has been seen. If another process has moved this feed meanwhile its cursor stands (all it covers
    has landed), and it only forgets the content of the records we `touched` ("stream/record").

    True: once the transaction is through, the state must be told (`FeedState.moved`)."""
    values = {"cursor": msgspec.json.encode(cursor).decode(), "seen": state.seen.pack(now)}
    if _save(connection, state, state.version, values, now):
        return True
    row = connection.execute(select(feeds).where(*_is(state)).with_for_update()).one()
    theirs = Seen(row.seen)
    theirs.forget(touched)
    _save(connection, state, row.version, {"cursor": row.cursor, "seen": theirs.pack(now)}, now)
    return False


def _save(connection: Connection, state: FeedState, version: int, values: Mapping[str, object], now: datetime) -> bool:
    values = {**values, "version": version + 1, "committed_at": stamp(now)}
    if version:
        which = {
            "of_client": state.client_id,
            "of_provider": state.provider,
            "of_feed": state.feed,
            "of_version": version,
        }
        return connection.execute(_MOVE, {**which, **values}).rowcount == 1
    names = {"client_id": state.client_id, "provider": state.provider, "feed": state.feed}
    return add(connection, feeds, {**names, **values})


# built once: a tick moves thousands of feeds, and building the statement takes seven times as long as running it
_MOVE = (
    update(feeds)
    .where(
        feeds.c.client_id == bindparam("of_client"),
        feeds.c.provider == bindparam("of_provider"),
        feeds.c.feed == bindparam("of_feed"),
        feeds.c.version == bindparam("of_version"),
    )
    .values({name: bindparam(name) for name in ("cursor", "seen", "version", "committed_at")})
)


def _is(state: FeedState) -> tuple[ColumnElement[bool], ...]:
    return (feeds.c.client_id == state.client_id, feeds.c.provider == state.provider, feeds.c.feed == state.feed)
