"""What one client's story is written into: the facts so far, the numbers given out, and the client's clock.

The story is told without looking at the end of the town; the diary refuses what would lie at or after it, so a
story that is cut off is simply not finished yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import TypeVar
from zoneinfo import ZoneInfo

from connectors.sandbox.facts import Call, Client, Contact, Customer, Episode, Fact, Line, Person, Staff, Town
from connectors.sandbox.story.clients import BLOCK, metro_of
from connectors.sandbox.story.trades import Service

F = TypeVar("F", bound=Fact)
T = TypeVar("T")

OPENING, CLOSING, SATURDAY_CLOSING = time(8), time(17, 30), time(13)
MORNING, NIGHT = time(7, 30), time(20, 30)


@dataclass
class Case:
    """One episode as it unfolds. Times may lie after the end of the town; None means it never happens."""

    person: Person
    episode: Episode
    service: Service
    price_cents: int = 0
    contacted_at: datetime | None = None  # first talked with each other
    quoted_at: datetime | None = None
    booked_at: datetime | None = None
    done_at: datetime | None = None
    lost_at: datetime | None = None
    complaint: bool = False
    negotiation_id: str = ""
    proxy_phone: str = ""  # the masked number a marketplace shows instead of the person's own


class Diary:
    def __init__(self, client: Client, rng: Random, *, seed: int, start: datetime, end: datetime) -> None:
        self.client, self.rng = client, rng
        self.start, self.end = start, end
        self.town = Town(seed, start, end, [client])
        self.zone = ZoneInfo(client.timezone)
        self.metro = metro_of(client)
        self.lines: dict[str, Line] = {line.channel: line for line in client.lines}
        self.owners = [one for one in client.staff if one.role != "technician"]
        self.latest = start  # when the current episode was last heard of
        self.taken_phones: set[str] = set()
        self.taken_emails: set[str] = set()
        self.taken_names: set[str] = set()  # QuickBooks display names
        self.landlines: set[str] = set()
        self.proxies: list[tuple[datetime, str]] = []  # masked numbers, and when last given out
        self.contacts: dict[str, Contact] = {}  # person_id -> the contact that stands
        self.customers: dict[str, Customer] = {}  # person_id -> who is billed
        self.listed: dict[str, str] = {}  # a shared phone -> the name it is listed under
        self.case_calls: list[Call] = []
        self._made: Counter[str] = Counter()
        # a firm's habits; joining the agency improves them
        self.answers = (rng.uniform(0.55, 0.70), rng.uniform(0.72, 0.86))
        self.texts_back = (0.15, rng.uniform(0.82, 0.95))
        self.closes = rng.uniform(0.56, 0.72)

    # ---- writing ----

    def n(self, kind: str) -> int:
        self._made[kind] += 1
        return self.client.n * BLOCK + self._made[kind]

    def add(self, facts: list[F], fact: F) -> F:
        """Write it down if it is before the end."""
        if fact.at < self.end:
            facts.append(fact)
        if fact.changed_at > self.latest:
            self.latest = fact.changed_at
        return fact

    def seen(self, at: datetime | None) -> bool:
        """Whether this has happened by the end of the town."""
        return at is not None and at < self.end

    def last_change(self, *moments: datetime | None) -> datetime:
        """The last of these that has happened. The first one must have."""
        return max(moment for moment in moments if moment is not None and (moment < self.end or moment is moments[0]))

    # ---- chance ----

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.random() * len(items))]

    def later(self, at: datetime, low: float, high: float) -> datetime:
        """Some minutes after `at`."""
        return at + timedelta(seconds=int(60 * (low + (high - low) * self.rng.random())))

    def days_later(self, at: datetime, low: float, high: float) -> datetime:
        return self.later(at, low * 1440, high * 1440)

    def owner(self) -> Staff:
        return self.pick(self.owners)

    # ---- the client's clock ----

    def joined(self, at: datetime) -> bool:
        return at >= self.client.joined_at

    def is_open(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        day = local.weekday()
        return day < 6 and OPENING <= local.time() < (CLOSING if day < 5 else SATURDAY_CLOSING)

    def in_hours(self, at: datetime) -> datetime:
        """`at` if the office is open, else some minutes after it next opens."""
        if self.is_open(at):
            return at
        local = at.astimezone(self.zone)
        day = local.date() if local.time() < OPENING else local.date() + timedelta(days=1)
        while day.weekday() == 6:
            day += timedelta(days=1)
        opening = datetime.combine(day, OPENING, self.zone).astimezone(UTC)
        return self.later(opening, 2, 55)

    def awake(self, at: datetime) -> datetime:
        """`at` if people are up, else some time in the next morning."""
        local = at.astimezone(self.zone)
        if MORNING <= local.time() < NIGHT:
            return at
        day = local.date() if local.time() < MORNING else local.date() + timedelta(days=1)
        return self.later(datetime.combine(day, MORNING, self.zone).astimezone(UTC), 2, 150)

    def local_day(self, at: datetime) -> str:
        return at.astimezone(self.zone).strftime("%a %b %-d")
