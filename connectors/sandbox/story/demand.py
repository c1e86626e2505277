"""When people want something: seasons, weather, weekdays, hours; and what they want then."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import accumulate
from random import Random

from connectors.sandbox.story.diary import Diary
from connectors.sandbox.story.trades import SERVICES, Service

WEEKDAYS = (1.25, 1.10, 1.05, 1.00, 0.98, 0.62, 0.38)
URGENCIES = ("emergency", "soon", "planned")
# by local hour: emergencies come at any time and most in the evening, the rest when offices are open
URGENT_HOURS = (6, 4, 3, 3, 4, 8, 18, 30, 40, 42, 40, 36, 34, 34, 36, 40, 46, 55, 60, 55, 45, 32, 20, 10)
CALM_HOURS = (1, 0, 0, 0, 0, 2, 10, 40, 85, 100, 100, 90, 70, 80, 88, 85, 75, 55, 38, 30, 25, 16, 8, 3)
WEATHER_BOOST = 7.0


def openings(diary: Diary, count: int) -> Iterator[tuple[datetime, Service, str]]:
    """(when, what, urgency) of each episode, in order of time."""
    rng, services = diary.rng, SERVICES[diary.client.trade]
    days = _days(diary)
    wanted = [[_demand(diary, service, day) for service in services] for day in days]
    weights = list(accumulate(sum(row) * WEEKDAYS[day.weekday()] for row, day in zip(wanted, days, strict=True)))
    mixes = [list(accumulate(row)) for row in wanted]
    urgent, calm = list(accumulate(URGENT_HOURS)), list(accumulate(CALM_HOURS))
    drawn: list[tuple[datetime, int, Service, str]] = []
    while len(drawn) < count:
        where = bisect(weights, rng.random() * weights[-1])
        service = services[bisect(mixes[where], rng.random() * mixes[where][-1])]
        urgency = rng.choices(URGENCIES, service.urgency)[0]
        hours = urgent if urgency == "emergency" else calm
        at = _moment(diary, days[where], bisect(hours, rng.random() * hours[-1]))
        if diary.start <= at < diary.end:
            drawn.append((at, len(drawn), service, urgency))
    for at, _, service, urgency in sorted(drawn, key=lambda one: one[:2]):
        yield at, service, urgency


def nuisances(diary: Diary, count: int) -> list[datetime]:
    """When robots and salesmen call: office hours, any day."""
    days, hours = _days(diary), list(accumulate(CALM_HOURS))
    times: list[datetime] = []
    while len(times) < count:
        at = _moment(diary, diary.pick(days), bisect(hours, diary.rng.random() * hours[-1]))
        if diary.start <= at < diary.end:
            times.append(at)
    return sorted(times)


def _days(diary: Diary) -> list[date]:
    first, last = diary.start.astimezone(diary.zone).date(), diary.end.astimezone(diary.zone).date()
    return [first + timedelta(days=k) for k in range((last - first).days + 1)]


def _moment(diary: Diary, day: date, hour: int) -> datetime:
    second = diary.rng.randrange(3600)
    return datetime.combine(day, time(hour, second // 60, second % 60), diary.zone).astimezone(UTC)


def _demand(diary: Diary, service: Service, day: date) -> float:
    boost = WEATHER_BOOST if service.weather and day in _weather(diary, service.weather, day.year) else 1.0
    return service.share * service.season[day.month - 1] * boost


def _weather(diary: Diary, kind: str, year: int) -> frozenset[date]:
    metro = diary.metro
    return spells(metro.city, kind, year) if (metro.freezes if kind == "freeze" else metro.storms) else frozenset()


@cache
def spells(city: str, kind: str, year: int) -> frozenset[date]:
    """Days of a freeze, or in the wake of a storm: the same for every firm of a city."""
    rng = Random(f"weather:{city}:{kind}:{year}")
    months, length = ((1, 1, 2, 12), 6) if kind == "freeze" else ((3, 4, 5, 6, 7, 8, 9), 11)
    firsts = [date(year, rng.choice(months), rng.randint(1, 28)) for _ in range(2 if kind == "freeze" else 4)]
    return frozenset(first + timedelta(days=k) for first in firsts for k in range(length))
