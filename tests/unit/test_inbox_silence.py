"""Silence: what a connection normally does decides, on both kinds of store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from connectors.base import WebhookRequest
from pipeline.store.inbox import Event, store_events
from pipeline.store.inbox_silence import silent_connections

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def receive(engine: Engine, times: Iterable[datetime], provider: str = "forms", client: str = "ridgeline") -> None:
    store_events(
        engine,
        [Event(client, provider, at.isoformat(), WebhookRequest("https://x.example", {}, b"{}", at)) for at in times],
    )


def office_hours(days: int, every: timedelta = timedelta(minutes=30)) -> list[datetime]:
    """From nine to six on weekdays."""
    times = []
    for day in range(days):
        at = MONDAY + timedelta(days=day, hours=9)
        while at.weekday() < 5 and at.hour < 18:
            times.append(at)
            at += every
    return times


def test_silence_beyond_twice_the_normal_gap_is_found_with_its_evidence(engine: Engine) -> None:
    receive(engine, office_hours(16))  # the last is Tuesday, 17:30
    wednesday = MONDAY + timedelta(days=16)
    # the gap over a night counts its hours near office hours: 8 to 9 and 17:30 to 19
    assert silent_connections(engine, now=wednesday + timedelta(hours=9, minutes=10)) == []
    [silence] = silent_connections(engine, now=wednesday + timedelta(hours=14))
    assert (silence.client_id, silence.provider) == ("ridgeline", "forms")
    assert silence.last_received_at == wednesday - timedelta(hours=6, minutes=30)
    assert silence.normal_gap_seconds == 2.5 * 3600
    assert silence.evidence.startswith(
        "No webhook for 7.5 hours of the hours in which it usually sends some; 99 of 100 "
    )


def test_nights_and_weekends_that_were_always_quiet_are_no_silence(engine: Engine) -> None:
    receive(engine, office_hours(19))  # until Friday evening
    friday = MONDAY + timedelta(days=18, hours=18)
    for hours in range(62):  # until Monday, eight in the morning
        assert silent_connections(engine, now=friday + timedelta(hours=hours)) == []
    assert silent_connections(engine, now=friday + timedelta(hours=72)) != []


def test_a_silence_stays_one_however_long_it_lasts_and_ends_with_the_next_webhook(engine: Engine) -> None:
    receive(engine, office_hours(16))
    late = MONDAY + timedelta(days=120, hours=12)
    assert len(silent_connections(engine, now=late)) == 1
    receive(engine, [late])
    assert silent_connections(engine, now=late + timedelta(minutes=5)) == []


@pytest.mark.parametrize("count", [1, 19])
def test_of_a_connection_that_sent_little_nothing_is_said(engine: Engine, count: int) -> None:
    receive(engine, office_hours(3)[:count])
    assert silent_connections(engine, now=MONDAY + timedelta(days=30, hours=12)) == []


def test_one_connections_silence_says_nothing_of_another_of_its_client_or_provider(engine: Engine) -> None:
    times = office_hours(17)
    receive(engine, times)
    receive(engine, times[:-18], provider="callrail")
    receive(engine, times[:-18], client="bluestem")
    now = MONDAY + timedelta(days=16, hours=17, minutes=40)
    found = {(one.client_id, one.provider) for one in silent_connections(engine, now=now)}
    assert found == {("ridgeline", "callrail"), ("bluestem", "forms")}


def test_a_burst_does_not_make_minutes_of_quiet_a_silence(engine: Engine) -> None:
    receive(engine, [MONDAY + timedelta(hours=9, seconds=2 * n) for n in range(1500)])
    assert silent_connections(engine, now=MONDAY + timedelta(hours=9, minutes=60)) == []
