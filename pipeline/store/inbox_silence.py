"""Connections that have stopped sending webhooks: silent for more than twice as long as they normally are.

A week has a shape: nobody calls at night. So time counts only in hours of the week (UTC) in which, or next to which, the
connection has sent something before; a night or a weekend that was always quiet adds nothing. The normal gap is as long as 99
of 100 gaps between one webhook and the next, counted that way. (With 95 of 100, chance alone would call each connection silent
about once a month, and nobody looks any more after the third time.)

Until a week has been seen, hours that have not come yet count for nothing, so a new connection is silent only in hours it knows.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select

from pipeline.store.engine import stamp
from pipeline.store.schema import inbox

HISTORY = timedelta(days=28)  # before the last webhook: a silence does not wear its own evidence away
FEWEST = 20  # webhooks in that time; of fewer nobody can say what is normal
SHORTEST_GAP = 600.0  # seconds: of a busy connection, ten minutes without one are no news
NORMAL = 0.99
TOO_LONG = 2.0

HOUR = timedelta(hours=1)
WEEK_HOURS = 168


@dataclass(frozen=True)
class Silence:
    """A connection that should have sent something by now. Its gaps count only hours in which it usually sends. `evidence` is in
    words, without personal data."""

    client_id: str
    provider: str
    last_received_at: datetime
    normal_gap_seconds: float
    evidence: str


def silent_connections(engine: Engine, *, now: datetime) -> list[Silence]:
    """Connections, by client and provider, that have been silent beyond twice their normal gap. Whether they are still configured
    is for the caller to know."""
    found = []
    for (client_id, provider), times in sorted(_received(engine, now).items()):
        silence = _silence(client_id, provider, times, now)
        if silence:
            found.append(silence)
    return found


def _received(engine: Engine, now: datetime) -> dict[tuple[str, str], list[datetime]]:
    """When webhooks came, to the minute, in the weeks up to each connection's last one."""
    owner = (inbox.c.client_id, inbox.c.provider)
    newest = select(*owner, func.max(inbox.c.received_at).label("last")).group_by(*owner)
    minute = func.substr(inbox.c.received_at, 1, 16)
    times: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    with engine.connect() as connection:
        for client_id, provider, last in connection.execute(newest).all():
            since = stamp(datetime.fromisoformat(last) - HISTORY)
            query = (
                select(func.max(inbox.c.received_at))
                .where(
                    inbox.c.client_id == client_id,
                    inbox.c.provider == provider,
                    inbox.c.received_at >= since,
                    inbox.c.received_at <= stamp(now),
                )
                .group_by(minute)
                .order_by(minute)
            )
            times[client_id, provider] = [datetime.fromisoformat(at) for (at,) in connection.execute(query)]
    return times


def _silence(client_id: str, provider: str, times: Sequence[datetime], now: datetime) -> Silence | None:
    if len(times) < FEWEST:
        return None
    awake = _hours_with_webhooks(times)
    gaps = sorted(_seconds_awake(one, other, awake) for one, other in itertools.pairwise(times))
    normal = max(gaps[math.ceil(NORMAL * len(gaps)) - 1], SHORTEST_GAP)
    silent = _seconds_awake(times[-1], now, awake)
    if silent <= TOO_LONG * normal:
        return None
    evidence = (
        f"No webhook for {_in_words(silent)} of the hours in which it usually sends some; 99 of 100 gaps are shorter than "
        f"{_in_words(normal)} (webhooks in {len(times)} different minutes of {HISTORY.days} days, the last at "
        f"{times[-1]:%Y-%m-%d %H:%M} UTC)."
    )
    return Silence(client_id, provider, times[-1], normal, evidence)


def _hours_with_webhooks(times: Sequence[datetime]) -> frozenset[int]:
    """Hours of the week with a webhook in them, or in the hour before or after."""
    seen = {_hour_of_week(at) for at in times}
    return frozenset((hour + beside) % WEEK_HOURS for hour in seen for beside in (-1, 0, 1))


def _seconds_awake(start: datetime, end: datetime, awake: frozenset[int]) -> float:
    weeks = max(0, int((end - start) / timedelta(weeks=1)))
    rest = start + weeks * timedelta(weeks=1)
    seconds = weeks * len(awake) * HOUR.total_seconds()
    return seconds + sum(spent for hour, spent in _hours(rest, end) if hour in awake)


def _hours(start: datetime, end: datetime) -> Iterator[tuple[int, float]]:
    """(hour of the week, seconds of it) from start to end."""
    while start < end:
        next_hour = start.replace(minute=0, second=0, microsecond=0) + HOUR
        yield _hour_of_week(start), (min(next_hour, end) - start).total_seconds()
        start = next_hour


def _hour_of_week(at: datetime) -> int:
    at = at.astimezone(UTC)
    return at.weekday() * 24 + at.hour


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
