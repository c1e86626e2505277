"""Where a recipient may be: the states and time zones their ZIP, CRM zone or area code leave possible.

Nobody tells us where a person is, so this returns every place they may be, and whoever asks for a sending window must
satisfy all of them. A ZIP says where the work is; a zone in the CRM was set by someone; an area code is only where a number
was first given out. No evidence means anywhere in the US.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

Confidence = Literal["zip", "crm_zone", "area_code", "unknown"]

_PACIFIC_TERRITORIES = ("AS", "GU", "MP")


@dataclass(frozen=True, order=True)
class Place:
    """A state (or territory), in one of the zones it keeps."""

    state: str
    zone: str


@dataclass(frozen=True)
class Whereabouts:
    """Every place a recipient may be, what told us (`confidence`), and why in words."""

    places: frozenset[Place]
    confidence: Confidence
    why: str

    @property
    def states(self) -> frozenset[str]:
        return frozenset(place.state for place in self.places)

    @property
    def zones(self) -> frozenset[str]:
        return frozenset(place.zone for place in self.places)


def whereabouts(*, zip_code: str | None = None, crm_zone: str | None = None, phone: str | None = None) -> Whereabouts:
    """The first of ZIP, CRM zone and area code that says something, else every US place."""
    by_area = _area_code_places(phone)
    if places := _zip_places(zip_code):
        return Whereabouts(places, "zip", f"ZIP {zip_code} is in {_named(places)}")
    if crm_zone and (zone := zone_name(crm_zone)):
        in_zone = frozenset(place for place in _all_places() if place.zone == zone)
        # the area code names the state where it agrees with the zone; otherwise every state of that zone counts
        places = (by_area & in_zone) or in_zone
        return Whereabouts(places, "crm_zone", f"the CRM says {crm_zone}, which is kept in {_named(places)}")
    if by_area:
        return Whereabouts(by_area, "area_code", f"area code {area_code(phone)} is in {_named(by_area)}")
    return Whereabouts(anywhere(), "unknown", "nothing says where this person is, so every US time zone counts")


def zone_name(written: str) -> str | None:
    """The zone of ours that keeps the same clock as `written`, which may be HubSpot's way (`us_slash_eastern`)."""
    return _zone_names().get(written.strip().replace("_slash_", "/").replace("_hyphen_", "-").casefold())


def area_code(phone: str | None) -> str | None:
    """The area code of a +1 number in E.164."""
    return phone[2:5] if phone and re.fullmatch(r"\+1[2-9]\d{9}", phone) else None


def country_of(phone: str) -> str | None:
    """The country of an E.164 number: US, another member of the +1 plan, "other", or None if the area code is not known."""
    code = area_code(phone)
    if code is None:
        return None if phone.startswith("+1") else "other"
    return _area_code_countries().get(code)


def state_prefixes() -> list[tuple[str, str, str]]:
    """Each ZIP prefix and US area code with its state: what rules that are for some states go by. ("zip", "787", "TX")."""
    by_prefix = {"zip": _zip_prefixes(), "area_code": _area_codes()}
    return [
        (kind, prefix, min(place.state for place in places))
        for kind, known in by_prefix.items()
        for prefix, places in sorted(known.items())
        if places
    ]


def is_state(code: str) -> bool:
    """Whether this is a US state's or territory's code, as rules name it."""
    return any(place.state == code for place in _all_places())


@cache
def anywhere() -> frozenset[Place]:
    """Every US place but the Pacific territories, which share no allowed hour with New York; their area codes are their own."""
    return frozenset(place for place in _all_places() if place.state not in _PACIFIC_TERRITORIES)


def _zip_places(zip_code: str | None) -> frozenset[Place]:
    """Places of the longest prefix known. Military and unknown ZIPs have none."""
    written = (zip_code or "").strip()
    if not re.fullmatch(r"\d{5}(-?\d{4})?", written):
        return frozenset()
    for length in (5, 4, 3):
        if places := _zip_prefixes().get(written[:length]):
            return places
    return frozenset()


def _area_code_places(phone: str | None) -> frozenset[Place]:
    return _area_codes().get(area_code(phone) or "", frozenset())


def _named(places: Iterable[Place]) -> str:
    names = sorted(f"{place.state} ({place.zone})" for place in places)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more places"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a data file of this package. A row with a stray comma is an error, not a shifted column."""
    text = resources.files("pipeline.follow_up").joinpath("data", name).read_text(encoding="utf-8")
    found = list(csv.DictReader(text.splitlines(), restkey="surplus", restval=None, strict=True))
    for number, row in enumerate(found, start=2):
        if "surplus" in row or None in row.values():
            raise ValueError(f"data/{name}, line {number}: this row has more or fewer columns than the header")
    return found


def _places(row: Mapping[str, str]) -> frozenset[Place]:
    return frozenset(Place(row["state"], zone) for zone in row["zones"].split())


@cache
def _zip_prefixes() -> dict[str, frozenset[Place]]:
    return {row["prefix"]: _places(row) for row in rows("zip_prefixes.csv")}


@cache
def _area_codes() -> dict[str, frozenset[Place]]:
    return {row["area_code"]: _places(row) for row in rows("area_codes.csv") if row["country"] == "US"}


@cache
def _area_code_countries() -> dict[str, str]:
    return {row["area_code"]: row["country"] for row in rows("area_codes.csv")}


@cache
def _zone_names() -> dict[str, str]:
    return {row["name"].casefold(): row["zone"] for row in rows("zone_names.csv")}


@cache
def _all_places() -> frozenset[Place]:
    return frozenset().union(*_zip_prefixes().values(), *_area_codes().values())
