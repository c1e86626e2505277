"""Two reports of different days, held against each other, tell of nobody who changed in between."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.client_safe.differencing import K, not_again
from pipeline.client_safe.document import Figure

LEADS = "acme|month|2026-10-01|leads"


def figure(figure_id: str = LEADS, value: float | None = 81, k: int | None = 80, unit: str = "count") -> Figure:
    return Figure(figure_id, "new leads", value, unit, str(value), "client_safe.safe_figures", "", k)  # type: ignore[arg-type]


def today(*figures: Figure) -> dict[str, Figure]:
    return {one.figure_id: one for one in figures}


def test_what_did_not_change_may_be_told_again() -> None:
    assert not_again([figure()], [figure()], today(figure())) == set()


def test_a_figure_that_changed_for_one_person_is_not_told_again() -> None:
    now = figure(value=82, k=81)
    assert not_again([now], [figure()], today(now)) == {LEADS}


def test_a_payment_that_was_corrected_is_not_told_again() -> None:
    then, now = (figure("acme|month|2026-10-01|revenue|USD", value, 40, "cents") for value in (400_000, 350_000))
    assert not_again([now], [then], today(now)) == {now.figure_id}


def test_a_figure_that_changed_for_five_people_may_be_told_again() -> None:
    now = figure(value=90, k=85)
    assert not_again([now], [figure()], today(now)) == set()


def test_a_month_is_not_told_beside_a_week_that_has_since_changed_for_one() -> None:
    week = figure("acme|week|2026-10-05|leads", 20, 20)
    other = figure("acme|week|2026-11-02|leads", 20, 20)
    assert not_again([figure()], [week], today(figure(), replace(week, value=21, k=21))) == {LEADS}
    assert not_again([figure()], [other], today(figure(), replace(other, value=21, k=21))) == set()


def test_what_may_no_longer_be_told_at_all_holds_back_what_overlaps_it() -> None:
    week = figure("acme|week|2026-10-26|leads", 6, 6)
    assert not_again([figure()], [week], today(figure(), replace(week, value=None, k=None))) == {LEADS}


def test_other_clients_and_other_figures_are_left_alone() -> None:
    theirs = figure("summit|month|2026-10-01|leads", 7, 7)
    jobs = figure("acme|month|2026-10-01|booked_jobs", 7, 7)
    moved = [replace(theirs, value=8), replace(jobs, value=8)]
    assert not_again([figure()], [theirs, jobs], today(figure(), *moved)) == set()


def test_a_median_cannot_be_subtracted() -> None:
    wait = figure("acme|month|2026-10-01|response_time", 480, 70, "seconds")
    assert not_again([replace(wait, value=540)], [wait], today(replace(wait, value=540))) == set()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8))
def test_however_often_a_month_is_told_again_no_two_versions_differ_by_few(history: list[tuple[int, int]]) -> None:
    """(people who came, people who were found to be none) between each two versions."""
    people, published = 70, [figure(value=70, k=70)]
    for came, left in history:
        people = max(people + came - left, K)
        now = figure(value=people, k=people)
        if not not_again([now], published, today(now)):
            published.append(now)
    values = [one.value or 0 for one in published]
    assert all(abs(a - b) == 0 or abs(a - b) >= K for a in values for b in values)
