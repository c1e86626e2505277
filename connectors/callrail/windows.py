"""Which stretch of time a run reads again, and what it means when a record it knew is not in there any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

RETENTION = timedelta(
    days=750
)  # CallRail serves 25 months (758 days at least) and refuses a range that reaches further back
LOOKBACK = timedelta(days=7)
DEEP = timedelta(days=35)
SLICE = timedelta(days=91)  # a first load is committed slice by slice
EDGE = timedelta(days=1)  # bare days may be read in another zone, so the oldest day of a window proves no absence


def window_start(state: Mapping[str, Any] | None, now: datetime) -> datetime:
    """Where this run starts to read a company. `until` is the newest record seen, so a record that comes late is inside the
    look-back however late we run; `read_to` keeps a quiet company from being read from its last call, years ago."""
    oldest = now - RETENTION
    if state is None:
        return oldest
    until, read_to = _moment(state["until"]), _moment(state["read_to"])
    start = max(until, read_to - DEEP + LOOKBACK) - LOOKBACK
    if deep_is_due(state, now):
        start = min(start, now - DEEP)
    return max(start, oldest)


def deep_is_due(state: Mapping[str, Any], now: datetime) -> bool:
    return bool(state["deep"] != now.date().isoformat())


def slices(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        yield start, min(start + SLICE, end)
        start += SLICE


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def wire(moment: datetime) -> str:
    """Full time with offset: how CallRail reads a bare day is not documented."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def note_absences(
    seen: Mapping[str, Sequence[int]], found: Mapping[str, int], window: tuple[datetime, datetime], keep_from: datetime
) -> tuple[dict[str, list[int]], list[str]]:
    """Ids of the last weeks with their count of consecutive absences, and those absent for at least the second time."""
    start, end = int((window[0] + EDGE).timestamp()), int(window[1].timestamp())
    floor = int(keep_from.timestamp())
    kept = {record_id: [at, 0] for record_id, at in found.items() if at >= floor}
    vanished = []
    for record_id, (at, misses) in seen.items():
        if record_id in found or at < floor:
            continue
        misses += start <= at <= end
        kept[record_id] = [at, misses]
        if misses >= 2:
            vanished.append(record_id)
    return kept, vanished
