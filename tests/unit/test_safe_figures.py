"""Nobody learns of fewer than five people from what a client is told, not by taking any of it from any other of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import combinations, product
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.safe_models import Happening, safe_figures

K = 5
# June begins on a Monday, July within a week
FIRST, LAST = datetime(2026, 5, 14, tzinfo=UTC), datetime(2026, 7, 24, tzinfo=UTC)
DAYS = (LAST - FIRST).days
CHANNELS = ("angi", "direct", "yelp", "somebody@example.com")
Cell = tuple[date, date, str]  # the week, the month, and how the call or lead is told apart


def worlds_of(seed: int) -> dict[str, list[Happening]]:
    """Clients of every size, from one enquiry in two weeks to ten a day, some of whose customers come again."""
    random = Random(seed)
    made = {}
    for number in range(30):
        often = random.choice((0.1, 0.3, 0.8, 1.5, 3, 10))
        people, skew = random.choice((8, 40, 10_000)), random.choice((0.05, 0.3, 0.5))
        made[f"c{number}"] = [
            Happening(
                day, random.randrange(people), random.random() > skew, random.choice(CHANNELS), random.randint(1, 900)
            )
            for day in range(DAYS)
            for _ in range(random.choices((int(often), int(often) + 1), (1 - often % 1, often % 1))[0])
        ]
    return made


@pytest.fixture(scope="module", params=[1, 2])
def told(request: pytest.FixtureRequest) -> tuple[dict[str, list[Happening]], list[dict[str, Any]]]:
    worlds = worlds_of(request.param)
    return worlds, safe_figures(worlds, first=FIRST, last=LAST)


# ---- what each figure is made of, worked out a second time ----


@dataclass
class Reader:
    """Of one client and one kind of figure: who is in each cell, and which cells each figure told is the sum of."""

    people: dict[Cell, set[int]]
    values: dict[Cell, int]
    told: dict[str, tuple[frozenset[Cell], int]]

    def of(self, cells: frozenset[Cell]) -> set[int]:
        return set().union(*(self.people[cell] for cell in cells))


def cell_of(one: Happening, how: str) -> Cell:
    day = (FIRST + timedelta(days=one.day)).date()
    part = {"calls": "answered" if one.answered else "missed", "leads": one.channel}.get(how, "")
    return day - timedelta(days=day.weekday()), day.replace(day=1), part


def readers(worlds: Mapping[str, Sequence[Happening]], rows: Sequence[Mapping[str, Any]], how: str) -> Iterator[Reader]:
    of_figure = {"calls": ("calls", "missed_calls"), "leads": ("leads", "leads_by_channel")}.get(how, (how,))
    for client, world in worlds.items():
        # also where nobody was: that is not told, so a reader does not know it
        people: dict[Cell, set[int]] = {
            cell_of(Happening(day, 0, answered, channel), how): set()
            for day, answered, channel in product(range(DAYS + 1), (True, False), CHANNELS)
        }
        values: dict[Cell, int] = defaultdict(int)
        for one in world:
            people[cell_of(one, how)].add(one.person)
            values[cell_of(one, how)] += one.cents if how == "revenue" else 1
        ours = [
            row
            for row in rows
            if row["client_id"] == client and row["figure"] in of_figure and not row["is_suppressed"]
        ]
        named = {(row["period_start"], row["part"]) for row in ours if row["figure"] == "leads_by_channel"}
        yield Reader(
            people, values, {row["figure_id"]: (frozenset(made_of(row, people, named)), row["value"]) for row in ours}
        )


def made_of(row: Mapping[str, Any], people: Mapping[Cell, set[int]], named: set[tuple[date, str]]) -> set[Cell]:
    of_period = {cell for cell in people if cell[0 if row["kind"] == "week" else 1] == row["period_start"]}
    if row["figure"] == "leads_by_channel":
        if row["part"] == "other":
            return {cell for cell in of_period if (row["period_start"], cell[2]) not in named}
        return {cell for cell in of_period if cell[2] == row["part"]}
    pieces: dict[tuple[date, date], dict[str, set[int]]] = defaultdict(dict)
    for cell in people:
        pieces[cell[:2]][cell[2]] = people[cell]
    if row["figure"] == "missed_calls":
        known = {piece for piece, parts in pieces.items() if len(parts) == 2 and min(map(len, parts.values())) >= K}
        return {cell for cell in of_period if cell[2] == "missed" and (not row["leaves_out_few"] or cell[:2] in known)}
    known = {piece for piece, parts in pieces.items() if len(set().union(*parts.values())) >= K}
    return {cell for cell in of_period if not row["leaves_out_few"] or cell[:2] in known}


# ---- promises ----


def test_nothing_told_speaks_of_fewer_than_five_people(told: Any) -> None:
    for row in told[1]:
        assert row["is_suppressed"] == (row["value"] is None) == (row["k"] is None), row
        assert row["is_suppressed"] or row["k"] >= K, row


@pytest.mark.parametrize("how", ["calls", "leads", "booked_jobs", "revenue"])
def test_what_is_told_is_right_to_the_cent_and_says_no_more_people_than_there_are(told: Any, how: str) -> None:
    seen = 0
    by_id = {row["figure_id"]: row for row in told[1]}
    for reader in readers(*told, how):
        for figure_id, (cells, value) in reader.told.items():
            assert value == sum(reader.values[cell] for cell in cells), figure_id
            assert by_id[figure_id]["k"] <= len(reader.of(cells)), figure_id
            seen += 1
    assert seen > 150


@pytest.mark.parametrize("how", ["calls", "leads", "booked_jobs"])
def test_no_two_or_three_figures_and_no_month_less_its_weeks_tell_of_fewer_than_five_people(
    told: Any, how: str
) -> None:
    looked, found = 0, 0
    for reader in readers(*told, how):
        cells = sorted(reader.people)
        place = {cell: number for number, cell in enumerate(cells)}
        figures = {name: vector(cells_of, place) for name, (cells_of, _) in reader.told.items()}
        for tells in subtractions(figures):
            looked += 1
            if tells.min(initial=0) < 0 or tells.max(initial=0) != 1:
                continue  # not the sum of any group of people
            group = frozenset(cells[number] for number in np.flatnonzero(tells))
            found += 1
            assert not 0 < len(reader.of(group)) < K, (how, group)
    assert looked > 10_000
    assert found > 1_000


def vector(cells: frozenset[Cell], place: Mapping[Cell, int]) -> np.ndarray[Any, Any]:
    out = np.zeros(len(place), dtype=int)
    out[[place[cell] for cell in cells]] = 1
    return out


def subtractions(figures: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
    every = list(figures.values())
    for size in (1, 2, 3):
        for chosen in combinations(every, size):
            for signs in product((1, -1), repeat=size - 1):
                total = chosen[0] + sum(
                    (sign * one for sign, one in zip(signs, chosen[1:], strict=True)), 0 * chosen[0]
                )
                yield total
                yield -total
    # a month less all its weeks, less or plus those that lie in two months; all months less all weeks
    for one in every:
        inside = [each for each in every if (each <= one).all() and each is not one]
        across = [each for each in every if (each * one).any() and not (each <= one).all()]
        for some in (0, 1):
            yield one - sum(inside, 0 * one) - some * sum(across, 0 * one)
    months = sum((one for name, one in figures.items() if "|month|" in name and name.count("|") == 3), 0)
    weeks = sum((one for name, one in figures.items() if "|week|" in name), 0)
    if figures:
        yield np.asarray(months - weeks)
        yield np.asarray(weeks - months)


def test_the_reader_of_this_test_catches_figures_that_are_not_withheld(told: Any) -> None:
    """The same look at what a careless report would say: every week and every month, exactly."""
    worlds, _ = told
    caught = 0
    for world in worlds.values():
        people: dict[Cell, set[int]] = defaultdict(set)
        for one in world:
            people[cell_of(one, "booked_jobs")].add(one.person)
        place = {cell: number for number, cell in enumerate(sorted(people))}
        periods = {
            f"x|{kind}|{start}|y": vector(frozenset(cell for cell in people if cell[at] == start), place)
            for at, kind in enumerate(("week", "month"))
            for start in {cell[at] for cell in people}
        }
        for tells in subtractions(periods):
            if tells.min(initial=0) >= 0 and tells.max(initial=0) == 1:
                group = [cell for cell, number in place.items() if tells[number]]
                caught += 0 < len(set().union(*(people[cell] for cell in group))) < K
    assert caught > 100


def test_channels_add_up_to_the_leads_and_are_named_in_our_words_only(told: Any) -> None:
    rows = told[1]
    leads = {
        (row["client_id"], row["period_start"]): row
        for row in rows
        if row["figure"] == "leads" and row["kind"] == "month"
    }
    channels: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        if row["figure"] == "leads_by_channel":
            channels[row["client_id"], row["period_start"]].append(row)
    assert channels
    for key, named in channels.items():
        assert sum(row["value"] for row in named) == leads[key]["value"]
        assert {row["part"] for row in named} <= {"angi", "direct", "yelp", "other"}
        assert not leads[key]["leaves_out_few"]


def test_a_month_of_five_people_is_never_lost_to_its_last_days(told: Any) -> None:
    worlds, rows = told
    by_id = {row["figure_id"]: row for row in rows}
    for client, world in worlds.items():
        for month in ("2026-05-01", "2026-06-01"):
            people = {one.person for one in world if str((FIRST + timedelta(days=one.day)).date())[:7] == month[:7]}
            if len(people) >= K:
                assert not by_id[f"{client}|month|{month}|leads"]["is_suppressed"], (client, month)


def test_only_weeks_and_months_that_are_over_are_told(told: Any) -> None:
    periods = {(row["kind"], str(row["period_start"])) for row in told[1]}
    assert ("week", "2026-07-13") in periods
    assert ("week", "2026-07-20") not in periods
    assert ("month", "2026-06-01") in periods
    assert ("month", "2026-07-01") not in periods
