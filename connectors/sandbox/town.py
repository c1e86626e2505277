"""The synthetic town: every client, homeowner, call, form, text, lead, deal and dollar, made from a seed.

A client's story depends on (seed, client number, months, leads, end) and on nothing else, so a town with more clients keeps the
first ones as they were. The same arguments give an equal town in any process: all chance comes from `random.Random`
seeded with text. Nothing lies at or after `end`; what would have happened then has not happened yet.
"""

from __future__ import annotations

import heapq
from calendar import monthrange
from collections import Counter
from dataclasses import fields
from datetime import datetime, timedelta
from random import Random

from connectors.sandbox.facts import Client, Fact, Person, Town
from connectors.sandbox.story.clients import make_client
from connectors.sandbox.story.demand import openings
from connectors.sandbox.story.diary import Diary
from connectors.sandbox.story.episode import tell
from connectors.sandbox.story.messages import without_sends_after_stop
from connectors.sandbox.story.noise import make_noise
from connectors.sandbox.story.people import make_person

COMES_BACK = 0.12  # of people, if the history is long enough
SILENCE = timedelta(days=91)  # after this a new touch is a new episode

# every list of facts, by its field
FACTS = tuple(
    one.name for one in fields(Town) if one.name not in ("seed", "start", "end", "clients", "people", "episodes")
)
# numbered as the office writes them, in order of time
NUMBERED = (
    ("invoices", "{}"),
    ("estimates", "E{}"),
    ("sales_receipts", "SR{}"),
    ("credit_memos", "CM{}"),
    ("refund_receipts", "R{}"),
)


def make_town(seed: int, *, clients: int, months: int, leads_per_month: int, end: datetime, first: int = 0) -> Town:
    """So many clients, beginning with number `first`: a large town can be made a part at a time."""
    start = months_before(end, months)
    town = Town(seed, start, end, [])
    for index in range(first, first + clients):
        client = make_client(seed, index, start=start, end=end)
        _merge(town, _history(seed, client, start=start, end=end, months=months, episodes=months * leads_per_month))
    for name in FACTS:
        getattr(town, name).sort(key=_in_time)
    town.episodes.sort(key=lambda episode: (episode.opened_at, episode.n))
    return town


def months_before(end: datetime, months: int) -> datetime:
    years, month = divmod(end.year * 12 + end.month - 1 - months, 12)
    return end.replace(year=years, month=month + 1, day=min(end.day, monthrange(years, month + 1)[1]))


def _history(seed: int, client: Client, *, start: datetime, end: datetime, months: int, episodes: int) -> Town:
    """One client's town of its own."""
    diary = Diary(client, Random(f"{seed}:story:{client.n}"), seed=seed, start=start, end=end)
    returning_share = min(0.3, COMES_BACK * months / max(1.0, months - 3.5)) if months > 3 else 0.0
    away: list[tuple[datetime, int, Person]] = []  # when they may come back
    free: list[Person] = []
    for at, service, urgency in openings(diary, episodes):
        while away and away[0][0] <= at:
            free.append(heapq.heappop(away)[2])
        returning = bool(free) and diary.chance(returning_share)
        person = free.pop(int(diary.rng.random() * len(free))) if returning else make_person(diary)
        tell(diary, person, at, service, urgency, returning=returning)
        if not returning:
            heapq.heappush(away, (max(diary.latest, at) + SILENCE, person.n, person))
    make_noise(diary)
    return _told(diary.town)


def _told(town: Town) -> Town:
    """What can only be said once all of a client's story is known."""
    for name in FACTS:
        getattr(town, name).sort(key=_in_time)
    town.sms = without_sends_after_stop(town.sms)
    seen: Counter[str] = Counter()
    for call in town.calls:
        call.prior_calls = seen[call.phone] if call.phone else 0
        seen[call.phone] += 1
    for name, form in NUMBERED:
        for place, document in enumerate(getattr(town, name)):
            document.doc_number = form.format(1001 + place)
    return town


def _merge(town: Town, part: Town) -> None:
    for name in ("clients", "people", "episodes", *FACTS):
        getattr(town, name).extend(getattr(part, name))


def _in_time(fact: Fact) -> tuple[datetime, int]:
    return fact.at, fact.n
