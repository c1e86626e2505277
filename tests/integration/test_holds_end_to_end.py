"""Something becomes uncertain: what is sent stops within one look, nothing is lost, and nothing is sent twice when it resumes.
Real faults of the sandbox, over real HTTP and SMTP; its ledger is the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors.base import WebhookRequest
from connectors.http import Http
from pipeline.follow_up.detect import Detection, detect_holds
from pipeline.follow_up.release import PER_HOUR, release
from pipeline.store import inbox
from pipeline.store.holds import open_holds
from pipeline.store.incidents import open_incidents
from pipeline.sync import sync
from pipeline.workshop import Workshop
from tests.conftest import FakeClock, Served
from tests.follow_up_sandbox import House, connections_to, house
from tests.follow_up_world import HOUR, MINUTE, NOW, RIDGE


@pytest.fixture
def agency(tmp_path: Path, serve: Callable[..., Served], clock: FakeClock) -> Iterator[House]:
    made = house(tmp_path / "home", serve, clock)
    yield made
    made.served.providers["smtp"].close()


def phone(number: int) -> str:
    return f"+1512555{1000 + number}"


def texts(agency: House, numbers: range, **given: object) -> None:
    """A text is due to each of so many leads."""
    for number in numbers:
        lead = f"lead {number}"
        agency.home.contact(lead, phone=phone(number), email=f"{number}@home.example")
        agency.home.step(
            f"text {number}", lead_id=lead, trigger_event_id=lead, expires_at=agency.clock.now() + 8 * HOUR, **given
        )


def look(agency: House) -> Detection:
    return detect_holds(agency.home.office, now=agency.clock.now())


def read(agency: House, *providers: str) -> list[str]:
    """Sync; how the connections stand."""
    shop = Workshop(agency.home.settings, agency.home.engine, http=Http(clock=agency.clock))
    configs = [one for one in agency.home.office.connections(client=RIDGE) if one.provider in providers]
    return [one.state for one in sync(shop, configs, now=agency.clock.now())]


def tick(agency: House) -> None:
    """What runs every few seconds: look, emit, deliver."""
    look(agency)
    agency.emit()
    agency.deliver()


def ticks(agency: House, until: datetime, every: timedelta = 5 * MINUTE) -> None:
    while agency.clock.now() < until:
        agency.clock.advance(every.total_seconds())
        tick(agency)


def texted(agency: House) -> Counter[str]:
    return Counter(body["To"] for body in agency.ledger("message"))


def statuses(agency: House, channel: str = "text") -> Counter[str]:
    return Counter(row["status"] for row in agency.home.queued() if row["channel"] == channel)


def end_by_hand(agency: House) -> None:
    with agency.home.engine.begin() as connection:
        for hold in open_holds(connection):
            release(connection, hold, agency.clock.now(), by="dana", note="Looked at.")


def test_an_expired_token_stops_the_crm_and_its_tasks_reach_a_person_at_once(agency: House) -> None:
    agency.strike("revoked_token", "hubspot", times=None)
    assert read(agency, "hubspot") == ["needs_person"]
    agency.home.task("task", priority="urgent")
    texts(agency, range(1, 3), priority="nurture")
    texts(agency, range(3, 5), priority="answer")
    agency.home.publish()
    tick(agency)
    assert statuses(agency, "desk_task") == {"delivered": 1}, "the urgent task is on the desk"
    assert agency.ledger("task") == []
    assert set(texted(agency)) == {phone(3), phone(4)}, "answers go on; a booking of the others may be in the CRM"

    agency.served.world.faults.clear()
    agency.clock.advance(HOUR.total_seconds())
    assert read(agency, "hubspot") == ["ok"]
    assert look(agency).cleared == [f"{RIDGE}|hubspot|credential"]
    ticks(agency, agency.clock.now() + 10 * MINUTE)
    assert texted(agency) == {phone(number): 1 for number in range(1, 5)}
    assert agency.ledger("task") == [], "it was done on the desk: not a second time in the CRM"


def test_a_token_that_dies_between_two_syncs_is_met_by_the_first_task(agency: House) -> None:
    agency.strike("revoked_token", "hubspot", times=None)
    for number in range(5):
        agency.home.task(f"task {number}", trigger_event_id=f"event {number}")
    agency.home.publish()
    tick(agency)
    ticks(agency, agency.clock.now() + 10 * MINUTE)
    assert statuses(agency, "desk_task") == {"delivered": 5}
    with agency.home.engine.connect() as connection:
        assert [one["open_key"] for one in open_incidents(connection)] == [f"{RIDGE}|hold:hubspot:credential"]


def test_dropped_webhooks_hold_texts_until_they_come_again_and_everything_was_read(agency: House) -> None:
    def webhook(at: datetime) -> None:
        sid, account = f"SM{int(at.timestamp()):032d}", agency.twilio.accounts[RIDGE].sid
        body = f"MessageSid={sid}&AccountSid={account}&From=%2B15125550100&To=%2B15125551001&MessageStatus=delivered"
        form = {"content-type": "application/x-www-form-urlencoded"}
        request = WebhookRequest("https://hooks.example/webhooks/ridgeline/twilio", form, body.encode(), at)
        inbox.store_events(agency.home.engine, [inbox.Event(RIDGE, "twilio", at.isoformat(), request)])

    for hours in range(1, 24 * 9):
        webhook(NOW - HOUR * hours)
    agency.clock.advance(5 * 3600)  # nothing comes: somebody's STOP may be on its way
    texts(agency, range(1, 4))
    agency.home.publish()
    tick(agency)
    assert statuses(agency) == {"held": 3}
    webhook(agency.clock.now())
    ticks(agency, agency.clock.now() + 10 * MINUTE)
    assert statuses(agency) == {"held": 3}, "webhooks come again, but what was missed is not read yet"
    assert read(agency, "twilio") == ["ok"]
    ticks(agency, agency.clock.now() + 15 * MINUTE)
    assert texted(agency) == {phone(number): 1 for number in range(1, 4)}


def test_a_spike_of_delivery_errors_stops_the_channel_and_no_text_is_lost_or_sent_twice(agency: House) -> None:
    """Half of the answers are lost after the provider took the text, half of the calls fail before."""
    agency.strike("500_after_commit", "twilio", "Messages", times=3)
    agency.strike("reset", "twilio", "Messages", times=None, after=3)
    texts(agency, range(14))
    agency.home.publish()
    agency.emit()
    agency.deliver(seconds=0.5)
    before = texted(agency)
    assert look(agency).opened == [f"{RIDGE}|text|delivery"]
    agency.served.world.faults.clear()
    ticks(agency, agency.clock.now() + 14 * MINUTE, every=7 * MINUTE)
    assert texted(agency) == before, "not one while it stands"
    ticks(agency, agency.clock.now() + HOUR, every=10 * MINUTE)
    assert texted(agency) == {phone(number): 1 for number in range(14)}
    assert statuses(agency) == {"delivered": 14}


def test_texting_withdrawn_for_nine_hours(agency: House) -> None:
    """After the outage nothing too old is sent, the rest goes slowly, and the owner has one list."""
    connections, _ = connections_to(agency.served)
    texts(agency, range(1))
    agency.home.publish()
    tick(agency)
    assert texted(agency) == {phone(0): 1}
    agency.home.write_clients(texting="withdrawn", connections=connections)
    texts(agency, range(1, 21))  # true for eight hours
    agency.home.publish()
    tick(agency)
    assert statuses(agency) == {"delivered": 1, "held": 20}
    agency.clock.advance(3 * 3600)
    texts(agency, range(21, 41))
    agency.home.publish()
    tick(agency)
    agency.clock.advance(6 * 3600)
    agency.home.write_clients(connections=connections)
    assert look(agency).cleared == [], "a person must have looked"
    assert look(agency).clearable == []
    tick(agency)
    assert texted(agency) == {phone(0): 1}
    began = agency.clock.now()
    end_by_hand(agency)
    ticks(agency, began + 20 * MINUTE, every=10 * MINUTE)
    assert 1 < texted(agency).total() <= 1 + PER_HOUR / 3
    ticks(agency, began + HOUR, every=10 * MINUTE)
    assert texted(agency) == {phone(0): 1} | {phone(number): 1 for number in range(21, 41)}
    assert statuses(agency) == {"delivered": 21, "expired": 20}
    [triage] = [row for row in agency.home.queued() if row["template"] == "triage-list"]
    assert (triage["channel"], triage["status"], len(triage["payload"]["left_over"])) == ("desk_task", "delivered", 20)


def test_a_number_that_carriers_do_not_know_stops_all_texts_of_that_client(agency: House) -> None:
    agency.twilio.fate(phone(0), 30034)
    agency.strike("500_after_commit", "twilio", "Messages")
    texts(agency, range(1))
    agency.home.publish()
    tick(agency)
    assert statuses(agency) == {"unknown": 1}
    agency.clock.advance(180)
    agency.deliver()  # asks what became of it
    texts(agency, range(1, 10))
    agency.home.publish()
    assert look(agency).opened == [f"{RIDGE}|text|compliance"]
    tick(agency)
    assert statuses(agency) == {"failed": 1, "held": 9}
    ticks(agency, agency.clock.now() + HOUR, every=10 * MINUTE)
    assert texted(agency) == {phone(0): 1}


@pytest.mark.parametrize(
    ("stands", "evidence"),
    [
        ("SUSPENDED", "Twilio says that the 10DLC campaign is withdrawn (SUSPENDED)."),
        ("IN_PROGRESS", "Twilio says that the 10DLC campaign is pending (IN_PROGRESS)."),
        (
            "SOMETHING_NEW",
            "Compliance state unknown: Twilio does not say that the 10DLC campaign is approved (SOMETHING_NEW).",
        ),
        (None, "Compliance state unknown: Twilio does not say that the 10DLC campaign is approved (no campaign)."),
    ],
)
def test_a_10dlc_campaign_that_twilio_does_not_call_verified_stops_texts_until_a_person_has_looked(
    agency: House, stands: str | None, evidence: str
) -> None:
    assert read(agency, "twilio") == ["ok"]
    assert look(agency).opened == [], "verified"
    (client,) = agency.served.town.clients
    agency.twilio.campaign(client.client_id, stands)
    assert read(agency, "twilio") == ["ok"], "reading works all the same"
    texts(agency, range(1, 3))
    agency.home.publish()
    tick(agency)
    with agency.home.engine.connect() as connection:
        assert [(one["open_key"], one["evidence"]) for one in open_holds(connection)] == [
            (f"{RIDGE}|text|compliance", evidence)
        ]
    assert (statuses(agency), texted(agency)) == ({"held": 2}, {})

    agency.twilio.campaign(client.client_id, "VERIFIED")
    agency.clock.advance(MINUTE.total_seconds())
    read(agency, "twilio")
    assert look(agency).clearable == [f"{RIDGE}|text|compliance"]
    end_by_hand(agency)
    ticks(agency, agency.clock.now() + 10 * MINUTE)
    assert texted(agency) == {phone(1): 1, phone(2): 1}


def test_only_after_a_day_of_no_answer_about_the_campaign_nobody_knows_how_it_stands(agency: House) -> None:
    assert read(agency, "twilio") == ["ok"]
    agency.strike("500", "twilio", "/v1/Services", times=None)
    for hours, held in ((0, False), (23, False), (2, True)):
        agency.clock.advance(hours * HOUR.total_seconds())
        assert read(agency, "twilio") == ["ok"]
        assert bool(look(agency).opened) is held, hours
    with agency.home.engine.connect() as connection:
        (hold,) = open_holds(connection)
    assert hold["evidence"].startswith("Compliance state unknown: asked in vain")
