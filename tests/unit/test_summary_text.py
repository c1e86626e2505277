"""What a client reads: plain words, and every number in them a stored fact."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.client_safe.document import Content, Section
from pipeline.client_safe.draft import write_draft
from pipeline.client_safe.facts import withhold
from pipeline.client_safe.numbers import wrong_numbers
from pipeline.client_safe.shown import period_name, shown
from tests.safe_facts import OCTOBER, facts, improved, row

FACTS = facts()


def says(*lines: str) -> Content:
    return Content("October 2026 in short", "The month in short.", (Section("Calls", lines),))


def test_a_month_reads_like_this() -> None:
    assert write_draft(FACTS).text.splitlines() == [
        "October 2026 in short",
        "The month brought 81 new leads, 48 booked jobs and $43,151 in revenue.",
        "Calls",
        "Calls: at least 50.",
        "Missed calls: 13.",
        "New leads",
        "New leads: 81 (the month before: 55).",
        "They came from: Google Ads 57, all others 24.",
        "A typical lead waited 8 minutes until a person answered.",
        "Jobs and money",
        "Booked jobs: 48.",
        "Work billed: $52,000.",
        "Revenue: $43,151.",
        "Since you joined",
        "Better. Calls missed: 12% now, 31% before. The true change is most likely between 11 points and 26 points lower.",
        "This compares the same months of the year before and after you joined. It is what we observed: other things may have "
        "changed as well.",
        "What we did",
        "Messages sent for you: 31.",
        "Reminders to your team: fewer than five.",
        "What is next",
        "Many calls found nobody. What helps most is somebody who picks up in your busy hours.",
        "We keep following up new leads and open quotes with your team, and tell you what comes of it.",
        "What is uncertain",
        'We write "fewer than five" where a number would speak of too few people.',
        'Where it says "at least" or "without a few", some at the edge of the month are too few to be told apart.',
        "Leads, jobs and payments can still be corrected in your own systems. If that changes a figure here, we look again.",
    ]


def test_a_month_is_read_in_a_minute_and_has_no_jargon() -> None:
    text = write_draft(FACTS).text
    assert len(text.split()) < 240  # a slow reader's minute
    assert not re.search(
        r"(?i)\b(median|p90|cohort|attribution|conversion|k-anonym|suppress|interval|confidence)", text
    )


def test_what_got_worse_is_told_as_well() -> None:
    text = write_draft(facts(improvements=(improved("contact_rate", "worse"),))).text
    assert "Worse. Leads reached" in text


def test_the_same_facts_make_the_same_words() -> None:
    assert write_draft(facts()) == write_draft(facts())


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([(one["figure"], one["part"]) for one in OCTOBER]),
        st.one_of(st.none(), st.integers(5, 10**7)),
        min_size=1,
    ),
    st.sampled_from([("month", "2026-10-01", "2026-11-01"), ("week", "2026-10-26", "2026-11-02")]),
    st.booleans(),
)
def test_what_we_write_ourselves_never_holds_a_wrong_number(
    values: dict[tuple[str, str], int | None], period: tuple[str, str, str], few: bool
) -> None:
    kind, start, end = period
    rows = [
        row(name, value, part=part, kind=kind, start=start, leaves_out_few=few and value is not None)
        for (name, part), value in values.items()
    ]
    told = facts(rows, kind=kind, start=start, end=end)
    assert wrong_numbers(write_draft(told), told.figures) == []


# ---- a number that is no fact ----


def altered() -> list[tuple[str, str, str]]:
    """(a line, the same with one number changed, the figure it is)"""
    ids = {
        "Missed calls": "missed_calls",
        "New leads": "leads",
        "Booked jobs": "booked_jobs",
        "Messages": "messages_sent",
    }
    lines = [line for section in write_draft(FACTS).sections for line in section.lines]
    return [
        (line, line.replace(number[0], str(int(number[0]) + 1), 1), f"acme|month|2026-10-01|{figure}")
        for label, figure in ids.items()
        for line in lines
        if line.startswith(label) and (number := re.search(r"\d+", line))
    ]


@pytest.mark.parametrize(("line", "changed", "figure_id"), altered())
def test_a_figure_that_was_altered_is_found_and_named(line: str, changed: str, figure_id: str) -> None:
    assert wrong_numbers(says(line), FACTS.figures) == []
    (found,) = wrong_numbers(says("A line before.", changed), FACTS.figures)
    assert found.kind == "figure"
    assert found.where == "section 1, line 2"
    assert figure_id in found.what


@pytest.mark.parametrize(
    "line",
    [
        "You got 82 new leads.",
        "You got 81,000 new leads.",
        "You got 8,1 new leads.",
        "Calls: 50.",  # at least 50: the rest is left out
        "Booked jobs: 81.",  # the leads
        "You had 48 new leads.",  # the booked jobs
        "Missed calls: 81.",
        "Revenue: $43,151.50.",
        "Revenue: €43,151.",
        "Revenue: 43,151.",
        "Twelve calls were missed.",
        "You booked twice as many jobs.",
        "Half of the calls were missed.",
        "Only one call was missed.",
        "About 60% of leads booked.",
        "½ of the leads booked.",
        "１３ missed calls, in other digits: １４.",
        "On November 9 you had a good day.",
        "In October 2025 you had fewer.",
        "Call 555-0100 for more.",
        "A dozen customers came back.",
        "Missed calls: -13.",
        "13-81 leads.",
    ],
)
def test_numbers_that_are_no_facts_are_found(line: str) -> None:
    assert wrong_numbers(says(line), FACTS.figures), line


@pytest.mark.parametrize(
    "line",
    [
        "81 new leads came in, and 13 missed calls.",
        "On October 9, 2026 it rained; on October 31 it did not.",
        "No one was left waiting; one of these days we call you.",
        "You took in $43,151, and had 48 booked jobs.",
        "Of at least 50 calls, some were missed.",
    ],
)
def test_facts_and_days_of_the_period_may_be_named(line: str) -> None:
    assert wrong_numbers(says(line), FACTS.figures) == []


def test_a_number_found_is_not_repeated_if_it_may_be_somebodys_phone() -> None:
    (found,) = wrong_numbers(says("Call 7185550100."), FACTS.figures)
    assert found.excerpt == "…"
    assert "718" not in found.what


def test_fewer_than_five_is_said_only_where_it_is_true() -> None:
    none_few = tuple(one for one in FACTS.told if not one.why_not)
    told = replace(FACTS, told=none_few)
    assert wrong_numbers(says("Missed calls: fewer than five."), told.figures)


# ---- how things are written ----


def test_money_time_and_shares_are_written_as_people_say_them() -> None:
    assert shown(4_315_084, "cents", "USD") == "$43,151"
    assert shown(-5_000, "cents", "USD") == "-$50"
    assert shown(99_900, "cents", "CHF") == "999 CHF"
    assert shown(20, "seconds") == "less than a minute"
    assert shown(60, "seconds") == "1 minute"
    assert shown(5_400, "seconds") == "1 hour 30 minutes"
    assert shown(0.124, "rate") == "12%"
    assert shown(1_234, "count") == "1,234"
    assert shown(12, "count", leaves_out_few=True) == "at least 12"


def test_periods_are_named_as_on_a_calendar() -> None:
    assert period_name("month", "2026-10-01", "2026-11-01") == "October 2026"
    assert period_name("week", "2026-11-09", "2026-11-16") == "November 9 to 15, 2026"
    assert period_name("week", "2026-10-26", "2026-11-02") == "October 26 to November 1, 2026"


def test_what_is_withheld_after_a_correction_is_not_in_the_text() -> None:
    told = withhold(FACTS, {"acme|month|2026-10-01|leads"})
    text = write_draft(told).text
    assert "81" not in text
    assert "not shown this time" in text
    assert "corrected" in text
    assert all(one.value is None for one in told.figures if one.figure_id == "acme|month|2026-10-01|leads")
