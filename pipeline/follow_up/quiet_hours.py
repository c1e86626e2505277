"""When a message may reach a person: the law of every place they may be, our own narrower default, and the client's hours.

State hours are data (`data/state_hours.csv`), each row with the day it took effect; a state without a row has the federal
hours. Every moment is compared as wall-clock time in the zone it concerns, so a day with 23 or 25 hours needs no case of its
own. Hour limits hold for every class of message. Days on which a state forbids solicitation stop promotional messages only:
a reply to someone who called on a Sunday is not a solicitation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from pipeline.follow_up.holidays import is_state_holiday
from pipeline.follow_up.zones import Whereabouts, rows

MessageClass = Literal["promotional", "informational", "conversational"]
Intervals = tuple[tuple[time, time], ...]  # half-open wall-clock intervals of one day

GRACE_AT_MOST = timedelta(minutes=30)
_LOOK_AHEAD_DAYS = 14  # the longest closed stretch of any state is under a week; beyond that a person must look
_FEDERAL = "US"
_ALL_DAY: Intervals = ((time.min, time.max),)


@dataclass(frozen=True)
class Week:
    """Intervals for Monday to Sunday. An empty day is closed."""

    days: tuple[Intervals, Intervals, Intervals, Intervals, Intervals, Intervals, Intervals]

    def __post_init__(self) -> None:
        for intervals in self.days:
            in_order = all(earlier[1] <= later[0] for earlier, later in pairwise(intervals))
            if not in_order or any(start >= end for start, end in intervals):
                raise ValueError("intervals of a day must be in order, not overlap, and end after they start")

    @classmethod
    def every_day(cls, *intervals: tuple[time, time]) -> Week:
        return cls((intervals,) * 7)


@dataclass(frozen=True)
class ClientHours:
    """What a client asks for, on top of the law: it can only narrow.

    `weeks` are office hours for a class of message, on the client's own clock, and `holidays` stop promotional messages.
    `promotional` is our default narrower than the law, on the recipient's clock. `grace` lets a reply to someone who wrote
    or called that recently go out of hours; it is off unless set and never covers promotional messages.
    """

    zone: str = "America/New_York"
    weeks: Mapping[MessageClass, Week] = field(default_factory=dict)
    holidays: frozenset[date] = frozenset()
    promotional: tuple[time, time] = (time(8), time(20))
    grace: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)
        if not timedelta(0) <= self.grace <= GRACE_AT_MOST:
            raise ValueError("grace is between 0 and 30 minutes")
        if self.promotional[0] >= self.promotional[1]:
            raise ValueError("promotional hours must end after they start")


@dataclass(frozen=True)
class Window:
    """Whether a message may go now; if not, from when, or None if no moment of the next two weeks is allowed."""

    allowed: bool
    next_allowed_at: datetime | None
    reason: str


def window(
    whereabouts: Whereabouts,
    message_class: MessageClass,
    now: datetime,
    *,
    client: ClientHours,
    last_inquiry_at: datetime | None = None,
) -> Window:
    """May this class of message reach this person now? All their possible places and the client must allow it."""
    if now.tzinfo is None:
        raise ValueError("now must carry a time zone")
    now = now.astimezone(UTC)
    refusal = why_closed(whereabouts, message_class, now, client)
    if refusal is None:
        return Window(True, now, "within the hours of every place this person may be")
    if message_class != "promotional" and _within_grace(now, client, last_inquiry_at):
        return Window(True, now, "a reply within the grace period after this person got in touch")
    return Window(False, _next_allowed(whereabouts, message_class, now, client), refusal)


def _within_grace(now: datetime, client: ClientHours, last_inquiry_at: datetime | None) -> bool:
    return last_inquiry_at is not None and timedelta(0) <= now - last_inquiry_at < client.grace


def why_closed(whereabouts: Whereabouts, message_class: MessageClass, now: datetime, client: ClientHours) -> str | None:
    """Why not now, by the first place that forbids it; None if nobody does."""
    local_times = {zone: now.astimezone(ZoneInfo(zone)) for zone in whereabouts.zones}
    for place in sorted(whereabouts.places):
        local = local_times[place.zone]
        if not _contains(_legal_intervals(place.state, message_class, client.promotional, local.date()), local):
            return f"it is {local:%a %H:%M} in {place.zone}, outside the hours of {place.state} for {message_class} messages"
    local = now.astimezone(ZoneInfo(client.zone))
    if not _contains(_client_intervals(client, message_class, local.date()), local):
        return f"it is {local:%a %d %b %H:%M} at the client, outside its hours for {message_class} messages"
    return None


def _contains(intervals: Intervals, local: datetime) -> bool:
    return any(start <= local.time() < end for start, end in intervals)


def _next_allowed(
    whereabouts: Whereabouts, message_class: MessageClass, now: datetime, client: ClientHours
) -> datetime | None:
    """The first moment everyone allows. It is always the start of somebody's interval, so only those are tried."""
    starts: set[datetime] = set()
    for place in whereabouts.places:
        starts |= _starts(place.zone, now, partial(_legal_intervals, place.state, message_class, client.promotional))
    starts |= _starts(client.zone, now, partial(_client_intervals, client, message_class))
    later = sorted(start for start in starts if start > now)
    return next((start for start in later if why_closed(whereabouts, message_class, start, client) is None), None)


def _starts(zone: str, now: datetime, intervals_on: Callable[[date], Intervals]) -> set[datetime]:
    local_zone = ZoneInfo(zone)
    today = now.astimezone(local_zone).date()
    days = (today + timedelta(days=ahead) for ahead in range(_LOOK_AHEAD_DAYS + 1))
    return {datetime.combine(day, start, local_zone).astimezone(UTC) for day in days for start, _ in intervals_on(day)}


def _client_intervals(client: ClientHours, message_class: MessageClass, day: date) -> Intervals:
    if message_class == "promotional" and day in client.holidays:
        return ()
    week = client.weeks.get(message_class)
    return week.days[day.weekday()] if week else _ALL_DAY


@lru_cache(maxsize=8192)
def _legal_intervals(state: str, message_class: MessageClass, promotional: tuple[time, time], day: date) -> Intervals:
    """What the federal hours, the state's row in force that day and our default for promotional messages leave."""
    in_force = [row for row in (_row_on(_FEDERAL, day), _row_on(state, day)) if row]
    if message_class == "promotional" and any(row.closed_on(day) for row in in_force):
        return ()
    limits = [row.hours(day) for row in in_force]
    if message_class == "promotional":
        limits.append(promotional)
    start, end = max(start for start, _ in limits), min(end for _, end in limits)
    return ((start, end),) if start < end else ()


@dataclass(frozen=True)
class _StateHours:
    state: str
    effective_on: date
    weekdays: tuple[time, time]
    saturday: tuple[time, time]
    sunday: tuple[time, time]
    promotional_closed: frozenset[str]

    def hours(self, day: date) -> tuple[time, time]:
        return {5: self.saturday, 6: self.sunday}.get(day.weekday(), self.weekdays)

    def closed_on(self, day: date) -> bool:
        weekend = {5: "saturday", 6: "sunday"}.get(day.weekday())
        return weekend in self.promotional_closed or (
            "holidays" in self.promotional_closed and is_state_holiday(self.state, day)
        )


def _row_on(state: str, day: date) -> _StateHours | None:
    """The row in force that day: rows are kept by state, newest first."""
    return next((row for row in _state_hours().get(state, ()) if row.effective_on <= day), None)


@cache
def _state_hours() -> dict[str, list[_StateHours]]:
    table: dict[str, list[_StateHours]] = {}
    for row in rows("state_hours.csv"):
        table.setdefault(row["state"], []).append(
            _StateHours(
                state=row["state"],
                # no date: in force since before we looked
                effective_on=date.fromisoformat(row["effective_on"]) if row["effective_on"] else date.min,
                weekdays=_hours(row["weekdays"]),
                saturday=_hours(row["saturday"]),
                sunday=_hours(row["sunday"]),
                promotional_closed=frozenset(row["promotional_closed"].split()),
            )
        )
    return {state: sorted(found, key=lambda row: row.effective_on, reverse=True) for state, found in table.items()}


def _hours(written: str) -> tuple[time, time]:
    start, end = (time.fromisoformat(part) for part in written.split("-"))
    return start, end
