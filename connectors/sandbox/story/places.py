"""Twelve metro areas in five time zones, with real ZIPs and area codes, and the climate that moves demand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metro:
    city: str
    state: str
    timezone: str
    area_codes: tuple[str, ...]
    zip_codes: tuple[str, ...]
    suburbs: tuple[str, ...]
    freezes: bool  # cold enough for burst pipes
    storms: bool  # hail and wind


METROS = (
    Metro(
        "Austin",
        "TX",
        "America/Chicago",
        ("512", "737"),
        ("78704", "78745", "78758", "78723"),
        ("Round Rock", "Pflugerville"),
        True,
        True,
    ),
    Metro(
        "Phoenix",
        "AZ",
        "America/Phoenix",
        ("602", "480", "623"),
        ("85016", "85044", "85028", "85085"),
        ("Mesa", "Tempe"),
        False,
        True,
    ),
    Metro(
        "Atlanta",
        "GA",
        "America/New_York",
        ("404", "678", "770"),
        ("30305", "30316", "30342", "30030"),
        ("Decatur", "Marietta"),
        True,
        True,
    ),
    Metro(
        "Denver",
        "CO",
        "America/Denver",
        ("303", "720"),
        ("80205", "80210", "80220", "80238"),
        ("Aurora", "Lakewood"),
        True,
        True,
    ),
    Metro(
        "Seattle",
        "WA",
        "America/Los_Angeles",
        ("206", "425", "253"),
        ("98103", "98115", "98117", "98144"),
        ("Bellevue", "Renton"),
        True,
        False,
    ),
    Metro(
        "Chicago",
        "IL",
        "America/Chicago",
        ("312", "773", "847"),
        ("60614", "60618", "60647", "60657"),
        ("Evanston", "Oak Park"),
        True,
        True,
    ),
    Metro(
        "Tampa",
        "FL",
        "America/New_York",
        ("813", "727"),
        ("33602", "33606", "33611", "33629"),
        ("Brandon", "Clearwater"),
        False,
        True,
    ),
    Metro(
        "Boise",
        "ID",
        "America/Boise",
        ("208", "986"),
        ("83702", "83704", "83706", "83713"),
        ("Meridian", "Nampa"),
        True,
        False,
    ),
    Metro(
        "Sacramento",
        "CA",
        "America/Los_Angeles",
        ("916", "279"),
        ("95816", "95819", "95825", "95831"),
        ("Roseville", "Elk Grove"),
        False,
        False,
    ),
    Metro(
        "Columbus",
        "OH",
        "America/New_York",
        ("614", "380"),
        ("43202", "43206", "43214", "43215"),
        ("Dublin", "Westerville"),
        True,
        True,
    ),
    Metro(
        "Kansas City",
        "MO",
        "America/Chicago",
        ("816", "975"),
        ("64110", "64111", "64114", "64131"),
        ("Independence", "Liberty"),
        True,
        True,
    ),
    Metro(
        "Anchorage",
        "AK",
        "America/Anchorage",
        ("907",),
        ("99501", "99503", "99507", "99515"),
        ("Eagle River", "Girdwood"),
        True,
        False,
    ),
)

# people keep the number they had when they moved here
FAR_AREA_CODES = tuple(
    "201 203 205 210 213 214 215 216 305 313 315 402 405 408 412 414 415 502 503 504 505 515 571 585".split()  # noqa: SIM905
)
