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
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select

from pipeline.store.engine import stamp
from pipeline.store.schema import inbox

HISTORY = timedelta(days=28)  # before the last webhook: a silence does not wear its own evidence away
FEWEST = 20  # webhooks in that time, ten minutes apart; of fewer nobody can say what is normal
SHORTEST_GAP = 600.0  # seconds: of a busy connection, twenty minutes without one are no news
NORMAL = 0.99
TOO_LONG = 2.0

HOUR = 3600  # seconds
WEEK = 168  # hours


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
    """When webhooks came, the last of each ten minutes, in the weeks up to each connection's last one."""
    owner = (inbox.c.client_id, inbox.c.provider)
    newest = select(*owner, func.max(inbox.c.received_at).label("last")).group_by(*owner)
    ten_minutes = func.substr(inbox.c.received_at, 1, 15)
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
                .group_by(ten_minutes)
                .order_by(ten_minutes)
            )
            times[client_id, provider] = [datetime.fromisoformat(at) for (at,) in connection.execute(query)]
    return times


def _silence(client_id: str, provider: str, times: Sequence[datetime], now: datetime) -> Silence | None:
    if len(times) < FEWEST:
        return None
    clock = _AwakeClock(times)
    readings = [clock.at(time) for time in times]
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(readings))
    normal = max(gaps[math.ceil(NORMAL * len(gaps)) - 1], SHORTEST_GAP)
    silent = clock.at(now) - readings[-1]
    if silent <= TOO_LONG * normal:
        return None
    evidence = (
        f"No webhook for {_in_words(silent)} of the hours in which it usually sends some; 99 of 100 gaps are shorter than "
        f"{_in_words(normal)} (counted from {len(times)} webhooks of {HISTORY.days} days, ten minutes apart; the last came at "
        f"{times[-1]:%Y-%m-%d %H:%M} UTC)."
    )
    return Silence(client_id, provider, times[-1], normal, evidence)


class _AwakeClock:
    """Seconds that run only in hours of the week with a webhook in them, or in the hour before or after."""

    def __init__(self, times: Sequence[datetime]) -> None:
        seen = {int(time.timestamp() // HOUR) % WEEK for time in times}
        awake = {(hour + beside) % WEEK for hour in seen for beside in (-1, 0, 1)}
        self._rate = [1 if hour in awake else 0 for hour in range(WEEK)]
        self._before = list(itertools.accumulate(self._rate, initial=0))  # hours awake since the week began

    def at(self, time: datetime) -> float:
        hours, seconds = divmod(time.timestamp(), HOUR)
        weeks, hour = divmod(int(hours), WEEK)
        return (weeks * self._before[WEEK] + self._before[hour]) * HOUR + self._rate[hour] * seconds


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
