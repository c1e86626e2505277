"""A client of the agency: a home-service firm with its numbers, its people and its place. Client n depends on (seed, n)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from random import Random

from connectors.sandbox.facts import Client, Line, Staff
from connectors.sandbox.story.places import METROS, Metro
from connectors.sandbox.story.trades import LINE_NAMES, TRADES
from connectors.sandbox.story.words import FAMILY, GIVEN, PREFIXES, SUFFIXES

NUMBERS_EACH = 10  # office, texting, and a tracking number per line
CLIENTS_PER_AREA_CODE = 200  # business numbers are 555-0000..2009, homeowners have the rest
BLOCK = 1_000_000  # room for the facts of one kind of one client


def make_client(seed: int, index: int, *, start: datetime, end: datetime) -> Client:
    rng = Random(f"{seed}:client:{index}")
    n = index + 1
    trade = TRADES[(seed + index) % len(TRADES)]
    name = _name(seed, trade, index // len(TRADES))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    domain = slug.replace("-", "") + ".example"
    metro, area_code, first = _numbers(seed, index)
    phones = [f"+1{area_code}555{first + k:04d}" for k in range(NUMBERS_EACH)]
    lines = tuple(
        Line(n * BLOCK + k, label, channel, phones[2 + k], start - timedelta(days=200 - k))
        for k, (channel, label) in enumerate(LINE_NAMES.items())
    )
    # joined a third into the history: what came before is the baseline that improvement is measured against
    joined = start + (end - start) * rng.uniform(0.28, 0.42)
    return Client(
        n=n,
        client_id=slug,
        name=name,
        trade=trade,
        timezone=metro.timezone,
        city=metro.city,
        state=metro.state,
        zip_codes=metro.zip_codes,
        area_code=area_code,
        domain=domain,
        office_phone=phones[0],
        sms_phone=phones[1],
        lines=lines,
        staff=_staff(rng, n, domain),
        joined_at=joined.replace(hour=15, minute=0, second=0, microsecond=0),
    )


def metro_of(client: Client) -> Metro:
    return next(metro for metro in METROS if metro.city == client.city)


def _name(seed: int, trade: str, place: int) -> str:
    """The place-th name of a trade; numbered from the second time round."""
    names = _names(seed, trade)
    again, at = divmod(place, len(names))
    return names[at] if not again else f"{names[at]} {again + 1}"


@cache
def _names(seed: int, trade: str) -> tuple[str, ...]:
    names = [f"{prefix} {suffix}" for suffix in SUFFIXES[trade] for prefix in PREFIXES]
    Random(f"{seed}:names:{trade}").shuffle(names)
    return tuple(names)


def _numbers(seed: int, index: int) -> tuple[Metro, str, int]:
    """Place, area code and first business number of a client; no two clients share one."""
    metro = METROS[(seed + index) % len(METROS)]
    code, slot = divmod(index // len(METROS), CLIENTS_PER_AREA_CODE)
    if code >= len(metro.area_codes):
        raise ValueError(f"client {index + 1} is too many: {metro.city} has no business numbers left")
    first = slot * NUMBERS_EACH
    return metro, metro.area_codes[code], first if first != 1210 else 2000  # 555-1212 is directory assistance


def _staff(rng: Random, n: int, domain: str) -> tuple[Staff, ...]:
    roles = ["owner", "dispatcher", *["dispatcher"] * rng.randint(0, 1), *["technician"] * rng.randint(1, 3)]
    givens = rng.sample(GIVEN, len(roles))
    return tuple(
        Staff(n * BLOCK + k, given, rng.choice(FAMILY), f"{given.lower()}@{domain}", role)
        for k, (role, given) in enumerate(zip(roles, givens, strict=True))
    )
