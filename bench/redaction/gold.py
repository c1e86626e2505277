"""Gold drafts: summaries as a client reads them, some with personal data planted in them, and where it stands.

A draft's own sentences are written with the words and figures of real summaries. They are also the clean drafts: whatever is
found in those is a false alarm.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.redaction.people import (
    ADDRESSES,
    CARDS,
    EMAILS,
    GIVEN_ALONE,
    NAMES_CASED,
    NAMES_ELSE,
    NAMES_LOWER,
    ORDERS,
    PHONES,
    Customer,
    card,
    customer,
    token,
)

BUSINESS = "Ridgeline Plumbing & Heating"
BUSINESS_PHONE = "(512) 555-0100"
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
CHANNELS = (
    "Google Ads", "Google Business Profile", "Thumbtack", "Angi", "organic search", "Yelp", "direct", "Local Services Ads",
)  # fmt: skip
CLEAN = (
    "{business}: {month} at a glance",
    "In {month} {year}, {n} people called you and {n} of them became leads.",
    "You booked {n} jobs worth {money}, {n} more than in {month}.",
    "{channel} brought {n} leads at {money} each; {channel} brought {n}.",
    "Your team answered {rate} of calls, up from {rate} before you joined.",
    "The median wait for a first reply fell from {n} minutes to {n} minutes.",
    "What improved",
    "What we did this month",
    "We followed up with {n} customers after a missed call and {n} after a quote.",
    "Next, we will look at why {channel} leads book less often.",
    "QuickBooks is complete until {month} {day}; Angi is {n} days late.",
    "Figures are good until {month} {day}, {year}, 11:59 PM in Chicago time.",
    "Revenue was {money}, of which {money} came from jobs quoted in {month}.",
    "Water heater repair was asked for most, then drain cleaning.",
    "On Monday, {month} {day}, no call was missed.",
    "Speed to lead: {n} seconds (was {n} seconds).",
    "{n} of {n} quotes are still open, worth {money} together.",
    "Compared with the {n} months before you joined, booking rate rose by {n} points (from {rate} to {rate}).",
    "Calls {n}, texts {n}, forms {n}, marketplace leads {n}.",
    "CallRail and HubSpot agree on {n} leads; {n} have no known source.",
    "If you have questions, call us at {phone} or reply to this message.",
    "Five or fewer leads are shown as “other”.",
    "Two of the five busiest days were in the first week of {month}.",
    "From {year}-07-01 to {year}-07-31 you paid {money} in marketplace fees and got {money} back in credits.",
    "After hours, {n} callers left a voicemail; we wrote back to {n} within a minute.",
    "One job in ten came from a customer you had served before.",
)
AROUND = (
    "We spoke with {} about it on Tuesday.",
    "{} asked for a quote in {month}.",
    "The largest job, {money}, was for {}.",
    "One lead ({}) is still waiting.",
    "Please get back to {} this week.",
    "Reviews mention {} twice, and {n} others.",
)
AROUND_CONTACT = (
    "Reach them at {} before noon.",
    "The note says {} and nothing else.",
    "Details: {}.",
    "{} is what they left us with after {n} calls.",
    "They wrote from {}; {n} others did not.",
)
AROUND_ORDER = ("It was billed on {}.", "See {} for {money}.", "Of {n} bills, {} is open.")


@dataclass(frozen=True)
class Planted:
    start: int
    end: int
    entity: str
    way: str
    is_known: bool


@dataclass(frozen=True)
class GoldDraft:
    text: str
    planted: tuple[Planted, ...]


def clean_sentence(dice: random.Random, template: str = "") -> str:
    return _filled(dice, template or dice.choice(CLEAN))


def _filled(dice: random.Random, template: str) -> str:
    out = template
    while "{" in out.replace("{}", ""):
        for slot, fill in _SLOTS.items():
            out = out.replace(f"{{{slot}}}", fill(dice), 1)
    return out


_SLOTS: Mapping[str, Callable[[random.Random], str]] = {
    "business": lambda dice: BUSINESS,
    "phone": lambda dice: BUSINESS_PHONE,
    "month": lambda dice: dice.choice(MONTHS),
    "year": lambda dice: dice.choice(("2025", "2026")),
    "day": lambda dice: str(dice.randrange(1, 29)),
    "n": lambda dice: f"{int(10 ** dice.uniform(0, 4)):,}",
    "rate": lambda dice: dice.choice(
        (f"{dice.randrange(100)}%", f"{dice.uniform(0, 100):.1f}%", f"{dice.randrange(100)} %")
    ),
    "money": lambda dice: dice.choice((f"${int(10 ** dice.uniform(1, 7)):,}", f"${10 ** dice.uniform(1, 5):,.2f}")),
    "channel": lambda dice: dice.choice(CHANNELS),
}


def customers(seed: int, count: int) -> list[Customer]:
    dice = random.Random(f"customers {seed}")
    return [customer(dice) for _ in range(count)]


def clean_drafts(seed: int, count: int) -> Iterator[str]:
    dice = random.Random(f"clean {seed}")
    for _ in range(count):
        yield "\n".join(clean_sentence(dice) for _ in range(dice.randrange(8, 16)))


def gold_drafts(seed: int, count: int, known: Sequence[Customer], *, is_known: bool) -> Iterator[GoldDraft]:
    """Drafts with what is known planted in them, or with people nobody told us of."""
    dice = random.Random(f"gold {seed} {is_known}")
    for _ in range(count):
        lines, planted, at = [], [], 0
        for _ in range(dice.randrange(3, 6)):
            one = dice.choice(known) if is_known else customer(dice)
            entity, way, value = _entity(dice, one, is_known)
            around = AROUND if "name" in entity else AROUND_ORDER if entity == "order number" else AROUND_CONTACT
            before, after = _filled(dice, dice.choice(around)).split("{}")
            for line, where in ((clean_sentence(dice), None), (before + value + after, at)):
                if where is not None:
                    planted.append(Planted(at + len(before), at + len(before) + len(value), entity, way, is_known))
                lines.append(line)
                at += len(line) + 1
        yield GoldDraft("\n".join(lines), tuple(planted))


def _entity(dice: random.Random, one: Customer, is_known: bool) -> tuple[str, str, str]:
    ways = {
        "name, cased": NAMES_CASED,
        "name, lower": NAMES_LOWER,
        "phone": PHONES,
        "email": EMAILS,
        "address": ADDRESSES,
    }
    if is_known:
        ways |= {"name, else": NAMES_ELSE, "order number": ORDERS}
    else:
        ways |= {"given name alone": GIVEN_ALONE}
    entity = dice.choice([*ways, *(() if is_known else ("card", "token"))])
    if entity == "card":
        way = dice.choice(list(CARDS))
        return entity, way, CARDS[way](card(dice))
    if entity == "token":
        return entity, "token", token(dice)
    way = dice.choice(list(ways[entity]))
    return entity, way, ways[entity][way](one)
