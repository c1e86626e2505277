"""When a message may reach a person. The table of promises below is written by hand and shares nothing with the data file."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.follow_up.holidays import is_state_holiday
from pipeline.follow_up.quiet_hours import ClientHours, MessageClass, Week, why_closed, window
from pipeline.follow_up.zones import Place, Whereabouts, rows, whereabouts

MINUTE = timedelta(minutes=1)
CLIENT = ClientHours()
CLASSES: tuple[MessageClass, ...] = ("promotional", "informational", "conversational")
# state: hours on weekdays, Saturdays and Sundays, and on which days nothing promotional goes out
STATES = {
    "AL": ("8-20", "8-20", "8-20", "sunday holidays"),
    "CA": ("9-21", "9-21", "9-21", ""),
    "CT": ("9-20", "9-20", "9-20", ""),
    "FL": ("8-20", "8-20", "8-20", ""),
    "IL": ("9-21", "9-21", "9-21", ""),
    "KY": ("10-21", "10-21", "10-21", ""),
    "LA": ("8-20", "8-20", "8-20", "sunday holidays"),
    "MA": ("8-20", "8-20", "8-20", ""),
    "MD": ("8-20", "8-20", "8-20", ""),
    "MI": ("9-21", "9-21", "9-21", ""),
    "MN": ("9-21", "9-21", "9-21", ""),
    "MS": ("8-20", "8-20", "8-20", "sunday holidays"),
    "NJ": ("8-20", "8-20", "8-20", ""),
    "NM": ("9-21", "9-21", "9-21", ""),
    "NV": ("9-20", "9-20", "9-20", ""),
    "OK": ("8-20", "8-20", "8-20", ""),
    "PA": ("8-21", "8-21", "8-21", "sunday holidays"),
    "RI": ("9-18", "10-17", "10-17", "holidays"),
    "SD": ("9-21", "9-21", "9-21", "saturday sunday"),
    "TX": ("9-21", "9-21", "12-21", ""),
    "UT": ("8-21", "8-21", "8-21", "sunday holidays"),
    "WA": ("8-20", "8-20", "8-20", ""),
    "WY": ("8-20", "8-20", "8-20", ""),
}
FEDERAL = ("8-21", "8-21", "8-21", "")
DST_DAYS = [date(2026, 3, 8), date(2026, 11, 1), date(2027, 3, 14), date(2027, 11, 7)]  # all of them Sundays


def at(place: Place) -> Whereabouts:
    return Whereabouts(frozenset({place}), "zip", f"the test says {place.state}")


def local(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[arg-type, misc]


def promised(state: str, message_class: MessageClass, wall: datetime) -> bool:
    """Whether the table above allows it, by the minute of the wall clock."""
    weekday, saturday, sunday, closed = STATES.get(state, FEDERAL)
    if state == "PA" and wall.date() < date(2026, 10, 18):
        closed = "holidays"
    start, end = (int(hour) * 60 for hour in {5: saturday, 6: sunday}.get(wall.weekday(), weekday).split("-"))
    if message_class == "promotional":
        start, end = max(start, 8 * 60), min(end, 20 * 60)
        if wall.strftime("%A").lower() in closed or ("holidays" in closed and is_state_holiday(state, wall.date())):
            return False
    return start <= wall.hour * 60 + wall.minute < end


def every_place() -> list[Place]:
    from_data = [
        Place(row["state"], zone)
        for name in ("zip_prefixes", "area_codes")
        for row in rows(f"{name}.csv")
        for zone in row["zones"].split()
    ]
    return sorted(set(from_data))


@pytest.mark.parametrize("day", DST_DAYS, ids=str)
@pytest.mark.parametrize("message_class", ["promotional", "informational"])
def test_nothing_is_sent_out_of_hours_in_any_minute_of_a_day_the_clocks_change(
    day: date, message_class: MessageClass
) -> None:
    """Every state and zone, from local midnight to local midnight, whether that is 23, 24 or 25 hours."""
    minutes = 0
    for place in every_place():
        zone, who = ZoneInfo(place.zone), at(place)
        now = datetime.combine(day, time.min, zone).astimezone(UTC)
        midnight = datetime.combine(day + timedelta(days=1), time.min, zone).astimezone(UTC)
        while now < midnight:
            expected = promised(place.state, message_class, now.astimezone(zone))
            assert (why_closed(who, message_class, now, CLIENT) is None) == expected, (place, now)
            now, minutes = now + MINUTE, minutes + 1
    assert minutes > len(every_place()) * 23 * 60


@pytest.mark.parametrize("state", sorted({place.state for place in every_place()}))
def test_each_state_opens_and_closes_to_the_minute(state: str) -> None:
    """An ordinary week of January 2027 and the week before it, over the year's end."""
    place = next(place for place in every_place() if place.state == state)
    zone, who = ZoneInfo(place.zone), at(place)
    for day in (date(2026, 12, 28) + timedelta(days=n) for n in range(14)):
        for message_class in CLASSES:
            for minute in (
                0,
                1,
                479,
                480,
                481,
                539,
                540,
                599,
                600,
                719,
                720,
                1019,
                1020,
                1079,
                1080,
                1199,
                1200,
                1259,
                1260,
                1439,
            ):
                wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
                assert window(who, message_class, wall.astimezone(UTC), client=CLIENT).allowed == promised(
                    state, message_class, wall
                )


@pytest.mark.parametrize("state", sorted(STATES))
def test_each_row_of_the_table_is_stricter_than_the_federal_one(state: str) -> None:
    assert {row["state"] for row in rows("state_hours.csv")} == {*STATES, "US"}
    assert STATES[state] != FEDERAL


WAITS = [
    # who, class, now (local), first moment allowed (local)
    (
        "Texas on a Sunday morning",
        Place("TX", "America/Chicago"),
        "promotional",
        (2026, 11, 22, 9, 30),
        (2026, 11, 22, 12, 0),
    ),
    (
        "Texas on a Monday morning",
        Place("TX", "America/Chicago"),
        "promotional",
        (2026, 11, 23, 8, 30),
        (2026, 11, 23, 9, 0),
    ),
    ("Florida at eight", Place("FL", "America/New_York"), "informational", (2026, 11, 23, 20, 0), (2026, 11, 24, 8, 0)),
    (
        "Rhode Island after its Saturday",
        Place("RI", "America/New_York"),
        "informational",
        (2026, 11, 21, 17, 0),
        (2026, 11, 22, 10, 0),
    ),
    (
        "Alabama on a Saturday night",
        Place("AL", "America/Chicago"),
        "promotional",
        (2026, 11, 21, 21, 0),
        (2026, 11, 23, 8, 0),
    ),
    (
        "Alabama on a Sunday, informing",
        Place("AL", "America/Chicago"),
        "informational",
        (2026, 11, 22, 7, 0),
        (2026, 11, 22, 8, 0),
    ),
    (
        "Louisiana before Thanksgiving",
        Place("LA", "America/Chicago"),
        "promotional",
        (2026, 11, 25, 20, 0),
        (2026, 11, 28, 8, 0),
    ),
    ("Utah over Christmas", Place("UT", "America/Denver"), "promotional", (2026, 12, 24, 20, 30), (2026, 12, 26, 8, 0)),
    (
        "Pennsylvania at the year's end",
        Place("PA", "America/New_York"),
        "promotional",
        (2026, 12, 31, 20, 0),
        (2027, 1, 2, 8, 0),
    ),
    (
        "Ohio at the year's end",
        Place("OH", "America/New_York"),
        "promotional",
        (2026, 12, 31, 23, 59),
        (2027, 1, 1, 8, 0),
    ),
    (
        "Ohio the night the clocks go forward",
        Place("OH", "America/New_York"),
        "promotional",
        (2027, 3, 13, 20, 0),
        (2027, 3, 14, 8, 0),
    ),
    (
        "Ohio the night they go back",
        Place("OH", "America/New_York"),
        "promotional",
        (2026, 10, 31, 20, 0),
        (2026, 11, 1, 8, 0),
    ),
    ("Arizona", Place("AZ", "America/Phoenix"), "promotional", (2027, 3, 14, 2, 30), (2027, 3, 14, 8, 0)),
    (
        "South Dakota on a Friday night",
        Place("SD", "America/Chicago"),
        "promotional",
        (2026, 11, 20, 20, 0),
        (2026, 11, 23, 9, 0),
    ),
]


@pytest.mark.parametrize(
    ("place", "message_class", "now", "until"), [each[1:] for each in WAITS], ids=[each[0] for each in WAITS]
)
def test_what_is_early_or_late_waits_for_the_next_opening(
    place: Place, message_class: MessageClass, now: tuple[int, ...], until: tuple[int, ...]
) -> None:
    found = window(at(place), message_class, local(place.zone, *now), client=CLIENT)
    assert not found.allowed
    assert found.next_allowed_at == local(place.zone, *until)
    assert place.state in found.reason


def test_pennsylvania_closed_its_sundays_on_18_october_2026() -> None:
    place = Place("PA", "America/New_York")
    assert window(at(place), "promotional", local(place.zone, 2026, 10, 11, 12), client=CLIENT).allowed
    assert not window(at(place), "promotional", local(place.zone, 2026, 10, 18, 12), client=CLIENT).allowed


def test_a_row_counts_from_its_day_on() -> None:
    place = Place("TX", "America/Chicago")
    assert window(at(place), "informational", local(place.zone, 2025, 8, 31, 8, 30), client=CLIENT).allowed
    assert not window(at(place), "informational", local(place.zone, 2025, 9, 1, 8, 30), client=CLIENT).allowed


def test_all_zones_of_a_split_area_code_must_allow() -> None:
    idaho = whereabouts(phone="+12085550100")
    assert not window(idaho, "promotional", local("America/Denver", 2026, 11, 23, 8, 30), client=CLIENT).allowed
    assert window(idaho, "promotional", local("America/Denver", 2026, 11, 23, 9, 0), client=CLIENT).allowed
    assert not window(idaho, "promotional", local("America/Denver", 2026, 11, 23, 20, 0), client=CLIENT).allowed


def test_an_unknown_person_can_be_reached_when_it_is_day_from_puerto_rico_to_hawaii() -> None:
    unknown = whereabouts()
    winter = window(unknown, "promotional", local("America/New_York", 2026, 11, 23, 7), client=CLIENT)
    summer = window(unknown, "promotional", local("America/New_York", 2026, 7, 20, 7), client=CLIENT)
    assert winter.next_allowed_at == local("Pacific/Honolulu", 2026, 11, 23, 8)
    assert summer.next_allowed_at == local("America/Adak", 2026, 7, 20, 9)  # Adak has 8:00 at Hawaii's 7:00
    assert (
        window(unknown, "promotional", local("America/New_York", 2026, 7, 20, 18), client=CLIENT).allowed is False
    )  # Rhode Island


PLACES = st.frozensets(st.sampled_from(every_place()), min_size=1, max_size=4).map(
    lambda places: Whereabouts(places, "area_code", "drawn")
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 10), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=150, deadline=None)
@given(who=PLACES, message_class=st.sampled_from(CLASSES), now=MOMENTS)
def test_the_next_allowed_moment_is_allowed_and_the_first(
    who: Whereabouts, message_class: MessageClass, now: datetime
) -> None:
    found = window(who, message_class, now, client=CLIENT)
    if found.next_allowed_at is None:
        assert {"GU", "MP", "AS"} & who.states  # only they may have no hour in common with another place
        return
    assert found.next_allowed_at >= now
    assert all(promised(p.state, message_class, found.next_allowed_at.astimezone(ZoneInfo(p.zone))) for p in who.places)
    probe = now
    while probe < found.next_allowed_at:
        assert not all(promised(p.state, message_class, probe.astimezone(ZoneInfo(p.zone))) for p in who.places)
        probe += timedelta(minutes=23)


@cache
def us_area_codes() -> list[str]:
    return [row["area_code"] for row in rows("area_codes.csv") if row["country"] == "US"]


@settings(max_examples=400, deadline=None)
@given(code=st.sampled_from(us_area_codes()), now=MOMENTS)
def test_no_area_code_is_texted_before_eight_or_after_nine_anywhere_it_reaches(code: str, now: datetime) -> None:
    who = whereabouts(phone=f"+1{code}5550100")
    for message_class in CLASSES:
        found = window(who, message_class, now, client=CLIENT)
        if found.allowed:
            assert all(8 <= now.astimezone(ZoneInfo(zone)).hour < 21 for zone in who.zones)


# what a client adds

OHIO = Place("OH", "America/New_York")
SPLIT_SHIFT = Week((((time(9), time(12)), (time(14), time(17))),) * 5 + ((), ()))


def test_several_working_intervals_a_day_are_kept_on_the_clients_clock() -> None:
    hours = ClientHours(zone="America/Chicago", weeks={"promotional": SPLIT_SHIFT})
    lunch = window(at(OHIO), "promotional", local("America/Chicago", 2026, 11, 23, 12, 0), client=hours)
    assert lunch.next_allowed_at == local("America/Chicago", 2026, 11, 23, 14, 0)
    assert "client" in lunch.reason
    weekend = window(at(OHIO), "promotional", local("America/Chicago", 2026, 11, 20, 17, 0), client=hours)
    assert weekend.next_allowed_at == local("America/Chicago", 2026, 11, 23, 9, 0)
    assert window(at(OHIO), "informational", local("America/Chicago", 2026, 11, 23, 12, 0), client=hours).allowed


def test_a_clients_holiday_stops_what_is_promotional_and_nothing_else() -> None:
    hours = ClientHours(holidays=frozenset({date(2026, 11, 27)}))
    friday = local(OHIO.zone, 2026, 11, 27, 10)
    assert window(at(OHIO), "promotional", friday, client=hours).next_allowed_at == local(OHIO.zone, 2026, 11, 28, 8)
    assert window(at(OHIO), "informational", friday, client=hours).allowed


def test_a_client_may_choose_longer_promotional_hours_but_never_longer_than_the_law() -> None:
    hours = ClientHours(promotional=(time(6), time(23)))
    for place in every_place():
        for hour in (6, 7, 20, 21, 22):
            now = local(place.zone, 2026, 11, 24, hour)
            if window(at(place), "promotional", now, client=hours).allowed:
                assert window(at(place), "informational", now, client=hours).allowed


def test_a_client_that_never_opens_leaves_no_moment_to_send() -> None:
    closed = ClientHours(weeks={"promotional": Week(((),) * 7)})
    assert window(at(OHIO), "promotional", local(OHIO.zone, 2026, 11, 23, 12), client=closed).next_allowed_at is None


NIGHT = local("America/New_York", 2026, 11, 23, 22)


def test_the_grace_period_is_off_unless_the_client_asks_for_it() -> None:
    assert not window(at(OHIO), "conversational", NIGHT, client=CLIENT, last_inquiry_at=NIGHT - MINUTE).allowed


@pytest.mark.parametrize(("minutes", "allowed"), [(0, True), (29, True), (30, False), (-1, False)])
def test_the_grace_period_covers_a_reply_within_half_an_hour(minutes: int, allowed: bool) -> None:
    hours = ClientHours(grace=timedelta(minutes=30))
    asked = NIGHT - timedelta(minutes=minutes)
    for message_class in ("conversational", "informational"):
        assert window(at(OHIO), message_class, NIGHT, client=hours, last_inquiry_at=asked).allowed is allowed


def test_the_grace_period_never_covers_what_is_promotional() -> None:
    hours = ClientHours(grace=timedelta(minutes=30))
    assert not window(at(OHIO), "promotional", NIGHT, client=hours, last_inquiry_at=NIGHT).allowed


def test_hours_that_make_no_sense_are_refused_when_written() -> None:
    with pytest.raises(ValueError, match="30 minutes"):
        ClientHours(grace=timedelta(minutes=31))
    with pytest.raises(ValueError, match="end after they start"):
        ClientHours(promotional=(time(20), time(8)))
    with pytest.raises(ValueError, match="overlap"):
        Week.every_day((time(9), time(13)), (time(12), time(17)))


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        window(at(OHIO), "promotional", datetime(2026, 11, 23, 12), client=CLIENT)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("state", "day", "name"),
    [
        ("UT", date(2026, 7, 24), "Pioneer Day"),
        ("UT", date(2027, 7, 23), "the Friday before Pioneer Day on a Saturday"),
        ("LA", date(2027, 2, 9), "Mardi Gras"),
        ("LA", date(2026, 4, 3), "Good Friday"),
        ("LA", date(2026, 11, 27), "the day after Thanksgiving"),
        ("RI", date(2026, 8, 10), "Victory Day"),
        ("AL", date(2026, 5, 25), "Memorial Day"),
        ("AL", date(2027, 12, 31), "New Year's Day 2028, a Saturday, observed in 2027"),
        ("MS", date(2027, 7, 5), "the Monday after the Fourth on a Sunday"),
        ("PA", date(2026, 11, 3), "Election Day"),
    ],
)
def test_state_holidays_fall_on_the_right_day(state: str, day: date, name: str) -> None:
    assert is_state_holiday(state, day), name
    assert not is_state_holiday(state, date(2026, 3, 17))
