"""Reports cut into partitions: one record for each property, dimension and Pacific day.

Google's answer names neither property nor day, so the record wraps Google's own bytes with them. A newer version replaces the
whole partition: rows that Google withdrew vanish with the old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from connectors.base import Record
from connectors.search_console.property import REPORTS, TOTALS, Property, Report

PACIFIC = ZoneInfo("America/Los_Angeles")
SPAN_DAYS = 28
LAG_DAYS = 3  # Google publishes final figures two to three days late
ONE_DAY = timedelta(days=1)


class _Partition(msgspec.Struct):
    """Our wrapper, as landed. `responses` are Google's bytes: whole bodies, or for a span the rows of this day."""

    site_url: str
    search_type: str
    dimensions: tuple[str, ...]
    date: date
    final: bool
    responses: list[msgspec.Raw]


class _Span(NamedTuple):
    """A report over several days, taken apart. `provisional_from`: Google's word on the first day that may change."""

    responses: dict[date, list[msgspec.Raw]]
    blank: msgspec.Raw
    provisional_from: date | None


def _span(account: Property, report: Report, first: date, last: date) -> _Span:
    days: dict[date, list[msgspec.Raw]] = {}
    blank, provisional_from = msgspec.Raw(b"{}"), None
    for _, answer in account.answers(report, first, last):
        on_page: dict[date, list[msgspec.Raw]] = {}
        for row in answer.rows:
            on_page.setdefault(account.day_of(row), []).append(row)
        told = {"responseAggregationType": answer.aggregation}
        for day, rows in on_page.items():
            days.setdefault(day, []).append(msgspec.Raw(msgspec.json.encode({"rows": rows, **told})))
        blank = msgspec.Raw(msgspec.json.encode(told))
        if provisional_from is None and answer.metadata:
            provisional_from = answer.metadata.camel or answer.metadata.snake
    return _Span(days, blank, provisional_from)


class Day(NamedTuple):
    date: date
    final: bool
    records: list[tuple[str, Record]]


def read_days(
    account: Property, first: date, last: date, *, today: date, newest_first: bool, reports: Sequence[Report] = REPORTS
) -> Iterator[Day]:
    """The days of one span, each with its partitions."""
    spans = {
        report: _span(account, report, first, last) for report in dict.fromkeys((TOTALS, *reports)) if report.by_span
    }
    totals = spans[TOTALS]
    # Without Google's word every row is final. A day without rows is then zero only if it is past the usual delay:
    # before that, its figures may just not be there yet.
    provisional_from = totals.provisional_from or max(
        [today - timedelta(LAG_DAYS), *(d + ONE_DAY for d in totals.responses)]
    )
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    for day in reversed(days) if newest_first else days:
        records = []
        for report in reports:
            if span := spans.get(report):
                responses = span.responses.get(day, [span.blank])
            else:
                responses = [body for body, _ in account.answers(report, day, day)]
            records.append((report.stream, _record(account.site, report, day, day < provisional_from, responses)))
        yield Day(day, day < provisional_from, records)


def _record(site: str, report: Report, day: date, final: bool, responses: list[msgspec.Raw]) -> Record:
    partition = _Partition(site, "web", report.dimensions, day, final, responses)
    midnight = datetime.combine(day, time(), PACIFIC).astimezone(UTC)
    return Record(f"{site}|{report.dimension}|{day}", msgspec.json.encode(partition), occurred_at=midnight)


def spans_of(first: date, last: date) -> list[tuple[date, date]]:
    """The days from first to last in runs of at most SPAN_DAYS, oldest first; the oldest run may be the short one."""
    spans = []
    while last >= first:
        start = max(first, last - timedelta(SPAN_DAYS - 1))
        spans.append((start, last))
        last = start - ONE_DAY
    return spans[::-1]
