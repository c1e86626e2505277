"""The legal holidays on which some states forbid solicitation (`data/holidays.csv`), worked out for any year.

Kept wide on purpose: a row with `*` counts in every state that closes on holidays, and a fixed date that falls on a weekend
also closes the Friday before or the Monday after, whether or not that state moves it.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from pipeline.follow_up.zones import rows

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def is_state_holiday(state: str, day: date) -> bool:
    # New Year's Day on a Saturday is observed in the year before
    return day in _holidays(state, day.year) or day in _holidays(state, day.year + 1)


@cache
def _holidays(state: str, year: int) -> frozenset[date]:
    days: set[date] = set()
    for row in rows("holidays.csv"):
        if row["state"] in (state, "*"):
            day = _day(row["rule"], year)
            days.add(day)
            if day.weekday() >= 5 and row["rule"][0].isdigit():
                days.add(day + timedelta(days=-1 if day.weekday() == 5 else 1))
    return frozenset(days)


def _day(rule: str, year: int) -> date:
    """`12-25`, `nov thu 4`, `may mon last`, `nov mon 1 +1` (the day after) or `easter -2`."""
    if rule[0].isdigit():
        return date.fromisoformat(f"{year}-{rule}")
    first, *rest = rule.split()
    if first == "easter":
        return _easter(year) + timedelta(days=int(rest[0]))
    month, weekday, which = _MONTHS.index(first) + 1, _WEEKDAYS.index(rest[0]), rest[1]
    after = timedelta(days=int(rest[2])) if len(rest) > 2 else timedelta(0)
    if which == "last":
        last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        return last - timedelta(days=(last.weekday() - weekday) % 7) + after
    start = date(year, month, 1)
    return start + timedelta(days=(weekday - start.weekday()) % 7 + 7 * (int(which) - 1)) + after


def _easter(year: int) -> date:
    """Western Easter, by the anonymous Gregorian method."""
    a, b, c = year % 19, year // 100, year % 100
    g = (8 * b + 13) // 25
    h = (19 * a + b - b // 4 - g + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)
