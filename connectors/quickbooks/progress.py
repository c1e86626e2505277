"""How far a company has been read: the cursor of the `changes` feed.

QuickBooks tells of deletes only in change data capture, and only for 30 days. So the cursor remembers which ids the
company had: a complete listing then shows which of them are gone. The ids are packed, some three bytes each.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connectors.base import Cursor

GAP = timedelta(days=29)  # change data capture looks back 30 days
COUNT_EVERY = timedelta(days=7)


class Ids:
    """A set of record ids that is unpacked when first asked and packed again only when it changed. It keeps their order:
    neighbours share leading digits, which is what makes them small."""

    def __init__(self, packed: str = "") -> None:
        self._packed: str | None = packed
        self._unpacked: dict[str, None] | None = None

    @property
    def _ids(self) -> dict[str, None]:
        if self._unpacked is None:
            text = zlib.decompress(b64decode(self._packed)).decode() if self._packed else ""
            self._unpacked = dict.fromkeys(text.split("\n")) if text else {}
        return self._unpacked

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, record_ids: Iterable[str]) -> None:
        before = len(self._ids)
        self._ids.update(dict.fromkeys(record_ids))
        if len(self._ids) != before:
            self._packed = None

    def discard(self, record_id: str) -> None:
        if record_id in self._ids:
            del self._ids[record_id]
            self._packed = None

    def packed(self) -> str:
        if self._packed is None:
            # level 1: a cursor is packed with every page of a first load
            self._packed = b64encode(zlib.compress("\n".join(self._ids).encode(), 1)).decode() if self._ids else ""
        return self._packed


@dataclass
class Listing:
    """A complete listing under way: rows changed at or after `after` are still to come, from `position` on."""

    after: datetime | None = None
    position: int = 1
    ids: Ids = field(default_factory=Ids)


@dataclass
class Table:
    """One entity: the ids the company had when last seen, and the listing under way, if any."""

    known: Ids = field(default_factory=Ids)
    listing: Listing | None = field(default_factory=Listing)

    def list_again(self) -> None:
        if self.listing:
            self.known.add(self.listing.ids)
        self.listing = Listing()


@dataclass
class Progress:
    """`since` is what change data capture has covered, on QuickBooks' clock. `calls` are those of `month`."""

    tables: dict[str, Table]
    since: datetime | None = None
    polled_at: datetime | None = None
    counted_at: datetime | None = None
    month: str = ""
    calls: int = 0

    @classmethod
    def read(cls, cursor: Cursor | None, entities: Iterable[str]) -> Progress:
        kept = cursor or {}
        return cls(
            tables={entity: _table(kept.get("entities", {}).get(entity)) for entity in entities},
            since=_instant(kept.get("since")),
            polled_at=_instant(kept.get("polled_at")),
            counted_at=_instant(kept.get("counted_at")),
            month=kept.get("month", ""),
            calls=kept.get("calls", 0),
        )

    def cursor(self) -> Cursor:
        return {
            "since": _text(self.since),
            "polled_at": _text(self.polled_at),
            "counted_at": _text(self.counted_at),
            "month": self.month,
            "calls": self.calls,
            "entities": {entity: _kept(table) for entity, table in self.tables.items()},
        }

    def start_over_after_gap(self, now: datetime) -> None:
        """List everything again if deletes may have been missed. What was known stays known, to be compared."""
        if self.since and now - self.since > GAP:
            self.since = None
            for table in self.tables.values():
                table.list_again()

    def count_is_due(self, now: datetime) -> bool:
        return self.counted_at is None or now - self.counted_at >= COUNT_EVERY


def _table(kept: Cursor | None) -> Table:
    if kept is None:
        return Table()
    listing = kept.get("listing")
    return Table(
        Ids(kept["ids"]),
        Listing(_instant(listing["after"]), listing["position"], Ids(listing["ids"])) if listing else None,
    )


def _kept(table: Table) -> Cursor:
    listing = table.listing
    return {
        "ids": table.known.packed(),
        "listing": listing
        and {"after": _text(listing.after), "position": listing.position, "ids": listing.ids.packed()},
    }


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
