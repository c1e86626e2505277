"""Where a recipient may be. Whatever is not known stays possible."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from importlib import resources
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import timezone as phone_zones

from pipeline.follow_up.zones import Place, anywhere, country_of, rows, whereabouts, zone_name

EASTERN, CENTRAL, MOUNTAIN, PACIFIC = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
AREA_CODES = rows("area_codes.csv")
US_AREA_CODES = [row["area_code"] for row in AREA_CODES if row["country"] == "US"]


@pytest.mark.parametrize(
    ("zip_code", "state", "zones"),
    [
        ("60601", "IL", {CENTRAL}),
        ("60601-1234", "IL", {CENTRAL}),
        ("606011234", "IL", {CENTRAL}),
        ("33101", "FL", {EASTERN}),
        ("32501", "FL", {CENTRAL}),  # Pensacola
        ("32401", "FL", {CENTRAL, EASTERN}),  # 324 is split by the Apalachicola
        ("37402", "TN", {EASTERN}),  # Chattanooga
        ("37201", "TN", {CENTRAL}),
        ("37301", "TN", {CENTRAL, EASTERN}),
        ("83501", "ID", {MOUNTAIN, PACIFIC}),  # Lewiston: 835 is split by the Salmon
        ("83702", "ID", {MOUNTAIN}),
        ("97914", "OR", {MOUNTAIN, PACIFIC}),  # Malheur County
        ("79901", "TX", {MOUNTAIN}),  # El Paso
        ("75201", "TX", {CENTRAL}),
        ("46402", "IN", {CENTRAL}),  # Gary
        ("46204", "IN", {EASTERN}),
        ("86045", "AZ", {"America/Phoenix", MOUNTAIN}),  # Tuba City keeps daylight time, Flagstaff does not
        ("85001", "AZ", {"America/Phoenix"}),
        ("99501", "AK", {"America/Anchorage"}),
        ("99546", "AK", {"America/Adak"}),
        ("96813", "HI", {"Pacific/Honolulu"}),
        ("96799", "AS", {"Pacific/Pago_Pago"}),
        ("96910", "GU", {"Pacific/Guam"}),
        ("00901", "PR", {"America/Puerto_Rico"}),
        ("00802", "VI", {"America/Puerto_Rico"}),
        ("06390", "NY", {EASTERN}),  # Fishers Island, inside Connecticut's prefix
        ("89883", "NV", {MOUNTAIN, PACIFIC}),  # West Wendover
        ("49938", "MI", {EASTERN, CENTRAL}),  # Ironwood
    ],
)
def test_a_zip_says_the_state_and_every_zone_of_its_prefix(zip_code: str, state: str, zones: set[str]) -> None:
    found = whereabouts(zip_code=zip_code, crm_zone="US/Pacific", phone="+12125550100")
    assert (found.states, found.zones, found.confidence) == ({state}, zones, "zip")


@pytest.mark.parametrize("zip_code", ["09096", "34002", "96201", "96940", "00000", "1234", "6060", "K1A 0B1", "", None])
def test_a_zip_that_names_no_us_place_is_no_evidence(zip_code: str | None) -> None:
    assert whereabouts(zip_code=zip_code).confidence == "unknown"


@pytest.mark.parametrize("crm_zone", ["us_slash_eastern", "US/Eastern", "America/New_York", "america_slash_detroit"])
def test_a_crm_zone_counts_in_every_state_of_that_zone_however_it_is_written(crm_zone: str) -> None:
    found = whereabouts(crm_zone=crm_zone)
    assert found.zones == {EASTERN}
    assert {"NY", "FL", "RI", "IN", "KY"} <= found.states
    assert found.confidence == "crm_zone"


def test_an_area_code_that_agrees_with_the_crm_zone_says_which_state() -> None:
    assert whereabouts(crm_zone="US/Central", phone="+18505550100").places == {Place("FL", CENTRAL)}


def test_an_area_code_that_contradicts_the_crm_zone_says_nothing() -> None:
    found = whereabouts(crm_zone="US/Central", phone="+14155550100")
    assert found.zones == {CENTRAL}
    assert "TX" in found.states


@pytest.mark.parametrize("crm_zone", ["Europe/London", "EST", "nonsense", " "])
def test_a_crm_zone_we_do_not_know_is_no_evidence(crm_zone: str) -> None:
    assert whereabouts(crm_zone=crm_zone, phone="+14155550100").confidence == "area_code"


@pytest.mark.parametrize(
    ("code", "state", "zones"),
    [
        ("312", "IL", {CENTRAL}),
        ("208", "ID", {MOUNTAIN, PACIFIC}),
        ("907", "AK", {"America/Anchorage", "America/Adak"}),
        ("850", "FL", {EASTERN, CENTRAL}),
        ("219", "IN", {EASTERN, CENTRAL}),
        ("915", "TX", {CENTRAL, MOUNTAIN}),
        ("605", "SD", {CENTRAL, MOUNTAIN}),
        ("541", "OR", {MOUNTAIN, PACIFIC}),
        ("775", "NV", {MOUNTAIN, PACIFIC}),
        ("928", "AZ", {"America/Phoenix", MOUNTAIN}),
        ("602", "AZ", {"America/Phoenix"}),
        ("808", "HI", {"Pacific/Honolulu"}),
        ("787", "PR", {"America/Puerto_Rico"}),
        ("671", "GU", {"Pacific/Guam"}),
    ],
)
def test_an_area_code_leaves_every_zone_of_its_area_possible(code: str, state: str, zones: set[str]) -> None:
    found = whereabouts(phone=f"+1{code}5550100")
    assert (found.states, found.zones, found.confidence) == ({state}, zones, "area_code")


@pytest.mark.parametrize(
    "phone", ["+18005550100", "+18885550100", "+19995550100", "+442071838750", "5551234", "", None]
)
def test_toll_free_unknown_and_foreign_numbers_say_nothing_so_every_us_zone_counts(phone: str | None) -> None:
    found = whereabouts(phone=phone)
    assert found.places == anywhere()
    assert found.confidence == "unknown"
    assert {EASTERN, CENTRAL, MOUNTAIN, PACIFIC, "America/Phoenix", "America/Anchorage", "America/Adak"} < found.zones
    assert {"Pacific/Honolulu", "America/Puerto_Rico"} < found.zones


def test_anywhere_holds_all_states_dc_puerto_rico_and_the_virgin_islands() -> None:
    assert len({place.state for place in anywhere()}) == 50 + 3


@settings(max_examples=400, deadline=None)
@given(code=st.sampled_from(US_AREA_CODES), number=st.integers(2_000_000, 9_999_999))
def test_no_us_number_has_a_zone_that_we_do_not_count(code: str, number: int) -> None:
    phone = f"+1{code}{number}"
    known = {zone_name(name) for name in phone_zones.time_zones_for_number(phonenumbers.parse(phone))} - {None}
    if len(known) < 9:  # otherwise the library does not know either
        assert known <= whereabouts(phone=phone).zones


def test_numbers_of_other_countries_of_the_plan_are_known_as_such() -> None:
    assert country_of("+14165550100") == "CA"
    assert country_of("+18765550100") == "JM"
    assert country_of("+12125550100") == "US"
    assert country_of("+442071838750") == "other"
    assert country_of("+19995550100") is None


@pytest.mark.parametrize("row", rows("zone_names.csv"), ids=lambda row: row["name"])
def test_zones_we_take_for_one_keep_the_same_clock(row: dict[str, str]) -> None:
    ours, theirs = ZoneInfo(row["zone"]), ZoneInfo(row["name"])
    hours = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(0, 3 * 365 * 24, 3))
    assert all(at.astimezone(ours).utcoffset() == at.astimezone(theirs).utcoffset() for at in hours)


@pytest.mark.parametrize("name", ["zip_prefixes", "area_codes", "state_hours"])
def test_every_row_says_where_it_comes_from_and_when_it_was_checked(name: str) -> None:
    assert all(row["source"] and datetime.fromisoformat(row["checked_on"]) for row in rows(f"{name}.csv"))


@pytest.mark.parametrize(
    "name", ["zip_prefixes", "area_codes", "state_hours", "holidays", "consent_ages", "zone_names"]
)
def test_no_row_is_there_twice(name: str) -> None:
    text = resources.files("pipeline.follow_up").joinpath("data", f"{name}.csv").read_text(encoding="utf-8")
    found = [tuple(row[: {"state_hours": 2, "holidays": 3}.get(name, 1)]) for row in csv.reader(text.splitlines())]
    assert len(found) == len(set(found))
