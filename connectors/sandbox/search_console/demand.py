"""What people of the town typed into Google, and what of a client's site they were shown: the facts behind Search Console.

Counted for each client and Pacific day, from the same seasons, weekdays and weather that make the town's leads. A day is a
pure function of (seed, client, day, age): a young day holds only part of what it will hold in the end, and shows a rare
query that will be withheld later.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from connectors.sandbox.facts import Client
from connectors.sandbox.story.demand import WEATHER_BOOST, WEEKDAYS, spells
from connectors.sandbox.story.places import METROS
from connectors.sandbox.story.trades import SERVICES, Service

PROVISIONAL_DAYS = 3  # yesterday and the two days before it; today is younger still
SHARE_BY_AGE = (0.2, 0.5, 0.8, 0.93)  # of the final figures, by days since
DAILY_IMPRESSIONS = 260.0
DEVICES = ("MOBILE", "DESKTOP", "TABLET")
DEVICE_SHARES = (0.68, 0.29, 0.03)
COUNTRIES = ("usa", "can", "ind", "phl", "zzz")
COUNTRY_SHARES = (0.962, 0.014, 0.011, 0.008, 0.005)
# how it is asked: phrase, share of a service's searches, usual position, whether Google withholds it as rare
PHRASES = (
    ("{service} near me", 0.34, 6.5, False),
    ("{service} {city}", 0.24, 4.2, False),
    ("emergency {service} near me", 0.12, 7.8, False),
    ("{service} cost", 0.10, 14.0, False),
    ("best {service} company in {city} {zip_code}", 0.13, 5.0, True),
    ("why does my house need {service}", 0.07, 18.0, True),
)
EARLY_LIFT, LATE_LIFT = 1.35, 1.0  # position gets better by a third in the year after the client joined the agency


class Search(NamedTuple):
    """Searches alike in everything, on one day. `beside`: a second page of the site shown with the first, or ""."""

    query: str
    page: str
    beside: str
    device: str
    country: str
    hour: int
    impressions: int
    clicks: int
    position: float
    withheld: bool


def searches(seed: int, client: Client, day: date) -> list[Search]:
    """What a day holds in the end."""
    rng = Random(f"search:{seed}:{client.n}:{day}")
    size = DAILY_IMPRESSIONS * (0.7 + (client.n * 37 % 60) / 100) * WEEKDAYS[day.weekday()] * rng.uniform(0.85, 1.15)
    lift = _lift(client, day)
    site, code = f"https://www.{client.domain}/", client.zip_codes[day.toordinal() % len(client.zip_codes)]
    found = []
    for service in SERVICES[client.trade]:
        name, wanted = service.name.lower(), size * _wanted(client, service, day)
        for phrase, share, position, withheld in PHRASES:
            query = phrase.format(service=name, city=client.city.lower(), zip_code=code)
            page = site + name.replace(" ", "-")
            found.append(_search(rng, site, query, page, wanted * share, position * lift, withheld))
    brand = client.name.lower()
    found.append(_search(rng, site, brand, site, size * 0.06, 1.1, False))
    found.append(_search(rng, site, f"{brand} coupon", f"https://{client.domain}/coupons", size * 0.02, 1.6, False))
    return [search for search in found if search.impressions]


def young(final: Sequence[Search], age: int) -> list[Search]:
    """What is known of a day so soon after it: less of everything, and one rare query that is not yet withheld."""
    share, shown, known = SHARE_BY_AGE[age], False, []
    for search in final:
        impressions = round(search.impressions * share)
        withheld = search.withheld and shown
        shown = shown or search.withheld
        if impressions:
            known.append(search._replace(impressions=impressions, clicks=int(search.clicks * share), withheld=withheld))
    return known


def _search(rng: Random, site: str, query: str, page: str, expected: float, position: float, withheld: bool) -> Search:
    impressions = int(expected * rng.uniform(0.6, 1.4) + rng.random())
    place = max(1.0, round(position * rng.uniform(0.8, 1.25), 1))
    clicks = min(impressions, int(impressions * 0.32 / place + rng.random()))
    beside = site if page != site and rng.random() < 0.15 else ""
    device = rng.choices(DEVICES, DEVICE_SHARES)[0]
    country = rng.choices(COUNTRIES, COUNTRY_SHARES)[0]
    return Search(query, page, beside, device, country, rng.randrange(6, 23), impressions, clicks, place, withheld)


def _wanted(client: Client, service: Service, day: date) -> float:
    return (
        service.share * service.season[day.month - 1] * (WEATHER_BOOST if _bad_weather(client, service, day) else 1.0)
    )


def _bad_weather(client: Client, service: Service, day: date) -> bool:
    metro = next((metro for metro in METROS if metro.city == client.city), None)
    if not service.weather or metro is None or not (metro.freezes if service.weather == "freeze" else metro.storms):
        return False
    return day in spells(metro.city, service.weather, day.year)


def _lift(client: Client, day: date) -> float:
    year = (day - client.joined_at.date()) / timedelta(days=365)
    return EARLY_LIFT - (EARLY_LIFT - LATE_LIFT) * min(1.0, max(0.0, year))
