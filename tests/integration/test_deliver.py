"""Delivery over real HTTP and SMTP: once, in order, through the gate, honest where nobody knows. The sandbox's ledger tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from pipeline.follow_up.deliver import deliver
from pipeline.follow_up.escalations import take_up
from pipeline.follow_up.gate import Gate
from pipeline.follow_up.published import Published
from pipeline.follow_up.template_book import withdraw
from pipeline.store.engine import stamp
from pipeline.store.holds import Hold, clear_hold, open_hold, open_holds
from pipeline.store.outputs import (
    LEASE,
    SENDING_LEASE,
    begin_sending,
    claim,
    delivered,
    history,
    recover,
    retry,
    unknown,
)
from pipeline.store.schema import outputs, suppressions
from pipeline.store.suppressions import suppress
from pipeline.store.unconfirmed import resolve_unknown
from tests.conftest import FakeClock, Served
from tests.follow_up_sandbox import CONTACT, LEE, SETTLES, House, house
from tests.follow_up_world import DAY, EMAIL, HOUR, MAIL, MINUTE, NOW, PHONE, RIDGE, SECOND, TEXT

OTHER_PHONE = "+15125550177"


@pytest.fixture
def agency(tmp_path: Path, serve: Callable[..., Served], clock: FakeClock) -> Iterator[House]:
    made = house(tmp_path / "home", serve, clock)
    yield made
    made.served.providers["smtp"].close()


def mail(agency: House, key: str = "step-1", **given: Any) -> None:
    agency.home.step(key, channel="email", template="mail", template_version=MAIL.version, **given)


# ---- what arrives ----


def test_a_task_is_in_the_crm_once_with_owner_due_time_priority_and_contact(agency: House) -> None:
    agency.home.task(priority="urgent", respond_within_seconds=300)
    assert agency.go().outcomes == {"delivered": 1}
    assert agency.deliver().outcomes == {}
    (task,) = agency.ledger("task")
    given = task["properties"]
    assert (given["hs_task_subject"], given["hs_task_priority"], given["hs_task_type"]) == (
        "Call back Ana",
        "HIGH",
        "CALL",
    )
    assert given["hubspot_owner_id"] == agency.hubspot.portal(RIDGE).owner_id(LEE)
    assert given["hs_timestamp"] == (NOW + 5 * MINUTE).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert f"Call {PHONE}" in given["hs_task_body"]
    assert task["associations"][0]["to"] == {"id": CONTACT}
    row = agency.home.one("task-1")
    assert (row["status"], row["provider_ref"]) == ("delivered", task["id"])
    assert row["first_sent_at"] is not None


def test_a_text_goes_to_the_person_with_its_status_callback(agency: House) -> None:
    agency.home.step()
    agency.go()
    (text,) = agency.ledger("message")
    assert (text["To"], text["Body"]) == (PHONE, "Hi Ana, this is Ridgeline Plumbing. Reply STOP to opt out.")
    assert text["StatusCallback"] == "https://hooks.example/webhooks/ridgeline/twilio/status"
    assert agency.home.one()["provider_ref"] == text["sid"]


def test_a_mail_carries_address_and_a_link_that_ends_it(agency: House) -> None:
    mail(agency)
    agency.go()
    (sent,) = agency.ledger("email")
    assert sent["to"] == [EMAIL]
    assert sent["headers"]["List-Unsubscribe"].startswith("<https://hooks.example/u/")
    assert "12 Main St, Austin, TX 78701" in sent["parts"]["text/plain"]
    assert agency.home.one()["provider_ref"] == sent["message_id"]


def test_a_desk_task_is_delivered_when_it_is_stored(agency: House) -> None:
    agency.home.task(channel="desk_task", lead_id=None)
    agency.go()
    assert agency.home.one("task-1")["status"] == "delivered"
    assert agency.ledger("task") == []


def test_what_allowed_a_message_is_kept_with_it(agency: House) -> None:
    agency.home.step()
    agency.go()
    with agency.home.engine.connect() as connection:
        (sending,) = [row for row in history(connection, agency.home.one()["output_id"]) if row["what"] == "sending"]
    assert "basis: express since 2026-03-02, form" in sending["detail"]


# ---- urgent first ----


def test_nothing_of_a_sequence_goes_while_an_urgent_task_of_the_lead_is_open(agency: House) -> None:
    agency.home.task("urgent", priority="urgent", lead_id="old-name", due_at=NOW - SECOND)
    agency.home.alias("old-name", "lead-1")
    agency.home.step("nurture", priority="nurture")
    agency.home.step("answer", priority="answer", due_at=NOW - MINUTE)
    agency.go()
    assert [agency.home.one(key)["status"] for key in ("urgent", "answer", "nurture")] == [
        "delivered",
        "delivered",
        "pending",
    ]
    assert agency.home.one("nurture")["reason_code"] == "behind_urgent"
    urgent = agency.home.one("urgent")["output_id"]
    with agency.home.engine.begin() as connection:
        take_up(connection, urgent, agency.clock.now())
    agency.clock.advance(60)
    agency.deliver()
    assert agency.home.one("nurture")["status"] == "delivered"
    assert len(agency.ledger("message")) == 2


def test_an_urgent_task_of_another_lead_stops_nothing(agency: House) -> None:
    agency.home.contact("lead-2", phone=OTHER_PHONE)
    agency.home.task("urgent", priority="urgent", lead_id="lead-2")
    agency.home.step("nurture", priority="nurture")
    agency.go()
    assert agency.home.one("nurture")["status"] == "delivered"


# ---- the gate ----


def refused(agency: House, key: str = "step-1") -> tuple[str, str]:
    row = agency.home.one(key)
    assert agency.ledger("message") == []
    assert agency.ledger("email") == []
    return row["status"], row["reason_code"]


def tasks_asked_for(agency: House) -> list[dict[str, Any]]:
    return agency.home.queued("refused")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"consent_kind": "", "last_inquiry_at": None}, ("cancelled", "consent_missing")),
        ({"consent_kind": "", "last_inquiry_at": NOW - 91 * DAY}, ("cancelled", "consent_expired")),
        ({"phone": None}, ("cancelled", "number_invalid")),
    ],
)
def test_a_refusal_is_kept_with_its_reason_and_asks_a_person_once(
    agency: House, changed: dict[str, Any], expected: tuple[str, str]
) -> None:
    agency.home.contact(**changed)
    agency.home.step("step-1")
    agency.home.step("step-2")
    agency.go()
    assert refused(agency) == expected
    assert refused(agency, "step-2") == expected
    assert len(tasks_asked_for(agency)) == 1


def test_without_an_approved_10dlc_registration_no_text_goes_and_the_client_is_asked_about_once(agency: House) -> None:
    text = (agency.home.path / "clients.yaml").read_text()
    (agency.home.path / "clients.yaml").write_text(text.replace("texting: approved", "texting: pending"))
    agency.home.contact("lead-2", phone=OTHER_PHONE)
    agency.home.step("step-1")
    agency.home.step("step-2", lead_id="lead-2")
    agency.go()
    assert refused(agency) == ("held", "texting_not_approved")
    assert len(tasks_asked_for(agency)) == 1


def test_a_client_without_texting_gets_no_text_and_a_reason(agency: House) -> None:
    agency.home.write_clients(connections="{}")
    agency.home.step()
    agency.go()
    assert refused(agency) == ("cancelled", "not_connected")


@pytest.mark.parametrize(("address", "channel"), [(PHONE, "text"), (EMAIL, "email"), (EMAIL, "any")])
def test_an_opt_out_on_any_way_to_the_person_stops_every_channel(agency: House, address: str, channel: Any) -> None:
    agency.home.step("text")
    mail(agency, "mail")
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        suppress(connection, RIDGE, address, channel, cause="keyword", evidence="e1", now=NOW)
    agency.deliver()
    assert (refused(agency, "text"), refused(agency, "mail")) == (("cancelled", "opted_out"),) * 2


def test_mail_that_came_back_stops_mail_and_not_texts(agency: House) -> None:
    agency.home.step("text")
    mail(agency, "mail", due_at=NOW - SECOND)
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        suppress(connection, RIDGE, EMAIL, "email", cause="bounce", evidence="e1", now=NOW)
    agency.deliver()
    assert agency.home.one("mail")["reason_code"] == "email_bounced"
    assert agency.home.one("text")["status"] == "delivered"


def test_words_under_review_hold_what_is_queued(agency: House) -> None:
    agency.home.step()
    agency.home.event("text_received", text="please stop texting me", identifier=f"phone:{PHONE}")
    agency.go()
    assert refused(agency) == ("held", "revocation_under_review")


def test_a_template_withdrawn_after_queueing_is_not_sent(agency: House) -> None:
    agency.home.step()
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        withdraw(connection, "", "hello", TEXT.version, by="ben", note="", now=NOW)
    agency.deliver()
    assert refused(agency) == ("held", "template_not_approved")


def test_a_hold_holds_texts_and_leaves_tasks_alone(agency: House) -> None:
    agency.home.step()
    agency.home.task()
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        open_hold(connection, Hold(RIDGE, "text", "compliance", "10DLC withdrawn", "dana", "renew"), NOW)
    agency.deliver()
    assert refused(agency) == ("held", "on_hold")
    assert agency.home.one("task-1")["status"] == "delivered"
    with agency.home.engine.begin() as connection:
        assert clear_hold(connection, f"{RIDGE}|text|compliance", NOW, by="dana", note="")


def test_at_night_a_text_waits_until_morning_and_one_that_is_no_longer_true_by_then_expires(agency: House) -> None:
    agency.clock.advance(10 * 3600)  # 21:00 in Austin
    agency.home.step("waits", due_at=agency.clock.now(), expires_at=agency.clock.now() + 20 * HOUR)
    agency.home.contact("lead-2", phone=OTHER_PHONE)
    agency.home.step("expires", lead_id="lead-2", due_at=agency.clock.now(), expires_at=agency.clock.now() + 2 * HOUR)
    agency.go()
    assert refused(agency, "waits") == ("pending", "quiet_hours")
    assert refused(agency, "expires") == ("expired", "expires_before_allowed")
    agency.emit()
    assert len(agency.home.queued("too-late")) == 1
    agency.clock.advance(12.5 * 3600)
    agency.deliver()
    assert [text["To"] for text in agency.ledger("message")] == [PHONE]


def test_messages_whose_outcome_is_unknown_count_against_the_caps(agency: House) -> None:
    """One text a day after the first day."""
    agency.home.contact(crm_contact_id=CONTACT, opened_at=NOW - 3 * DAY)
    agency.home.step("first", due_at=NOW - MINUTE)
    agency.home.contact("lead-2", person_id="person of lead-1", phone=OTHER_PHONE, opened_at=NOW - 3 * DAY)
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        connection.execute(
            update(outputs).values(
                status="unknown", first_sent_at=stamp(NOW), status_at=stamp(NOW), next_attempt_at=stamp(NOW + DAY)
            )
        )
    agency.home.step("second", lead_id="lead-2", expires_at=NOW + 3 * DAY)
    agency.go()
    assert (agency.home.one("second")["status"], agency.home.one("second")["reason_code"]) == ("pending", "frequency")


def test_messages_to_one_person_keep_their_order(agency: House) -> None:
    agency.home.step("first", due_at=NOW - MINUTE)
    agency.home.step("second")
    agency.strike("429", "twilio", "Messages", retry_after=600)
    agency.go()
    assert (agency.home.one("first")["status"], agency.home.one("second")["reason_code"]) == ("retrying", "in_order")


def test_an_output_that_cannot_be_read_fails_and_stops_nobody_elses(agency: House) -> None:
    """Rows outlive the code that wrote them."""
    agency.home.step("no words")
    agency.home.task("no time")
    agency.home.task("fine")
    agency.home.publish()
    agency.emit()
    with agency.home.engine.begin() as connection:
        one = update(outputs).where(outputs.c.idempotency_key == "no words")
        connection.execute(one.values(payload="[]"))
        one = update(outputs).where(outputs.c.idempotency_key == "no time")
        connection.execute(one.values(payload='{"message_class": "internal"}'))
    agency.deliver()
    found = {key: agency.home.one(key)["reason_code"] for key in ("no words", "no time")}
    assert found == {"no words": "unreadable", "no time": "unreadable"}
    assert agency.home.one("fine")["status"] == "delivered"


# ---- what providers do ----


def test_a_provider_that_says_when_to_come_back_is_not_asked_sooner_and_stops_nobody_else(agency: House) -> None:
    agency.home.step()
    agency.home.task()
    agency.strike("429", "twilio", "Messages", retry_after=600)
    agency.go()
    assert (agency.home.one()["status"], agency.home.one("task-1")["status"]) == ("retrying", "delivered")
    agency.clock.advance(590)
    assert agency.deliver().outcomes == {}
    agency.clock.advance(11)
    assert agency.deliver().outcomes == {"delivered": 1}
    assert len(agency.ledger("message")) == 1


def test_an_output_that_could_not_be_delivered_in_its_time_is_failed_and_its_owner_is_asked(agency: House) -> None:
    agency.home.step(expires_at=NOW + 30 * MINUTE)
    agency.strike("429", "twilio", "Messages", times=None, retry_after=720)
    agency.go()
    for _ in range(3):
        agency.clock.advance(721)
        agency.deliver()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("failed", "rate_limited")
    assert agency.ledger("message") == []
    assert len(tasks_asked_for(agency)) == 1


def test_a_person_the_carrier_says_has_opted_out_is_suppressed(agency: House) -> None:
    agency.home.contact(phone="+15005550004", crm_contact_id=CONTACT)
    agency.home.step()
    agency.go()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("failed", "opted_out")
    with agency.home.engine.connect() as connection:
        (row,) = connection.execute(select(suppressions)).all()
    assert (row.address, row.channel, row.state, row.cause) == ("+15005550004", "text", "standing", "provider")


@pytest.mark.parametrize("kind", ["text", "mail"])
def test_an_address_that_cannot_be_reached_is_failed_and_the_owner_is_asked_to_call(agency: House, kind: str) -> None:
    if kind == "text":
        agency.home.contact(phone="+15005550009", crm_contact_id=CONTACT)
        agency.home.step()
    else:
        agency.home.contact(email="nobody@home.example", crm_contact_id=CONTACT)
        mail(agency)
    agency.go()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("failed", "bad_address")
    (task,) = tasks_asked_for(agency)
    assert task["lead_id"] == "lead-1"
    agency.deliver()
    assert [one["properties"]["hs_task_type"] for one in agency.ledger("task")] == ["TODO"]


def test_a_sender_that_may_not_send_holds_the_clients_texts_and_keeps_the_message(agency: House) -> None:
    agency.home.contact(phone="+15005550002", crm_contact_id=CONTACT)
    agency.home.step()
    agency.go()
    assert agency.home.one()["status"] == "retrying"
    with agency.home.engine.connect() as connection:
        (hold,) = open_holds(connection)
    assert (hold["scope"], hold["cause"]) == ("text", "compliance")
    agency.clock.advance(301)
    agency.deliver()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("held", "on_hold")


def test_a_task_the_crm_refuses_goes_to_the_desk_with_its_escalations(agency: House) -> None:
    agency.home.contact(crm_contact_id="999999", owner_email=LEE.email)
    agency.home.task(priority="urgent", escalate=[{"after_seconds": 900, "to": "backup"}])
    agency.go()
    row = agency.home.one("task-1")
    assert (row["channel"], row["status"]) == ("desk_task", "delivered")
    assert "failed" in agency.home.told("task-1")
    agency.clock.advance(901)
    assert agency.emit().escalated == 1


def test_a_task_for_somebody_the_crm_does_not_know_goes_to_the_desk(agency: House) -> None:
    agency.home.task(owner_role="agency")
    agency.go()
    assert (agency.home.one("task-1")["channel"], agency.home.one("task-1")["status"]) == ("desk_task", "delivered")
    assert agency.ledger("task") == []


def test_a_task_about_a_lead_that_is_nobodys_in_the_crm_is_there_without_an_owner(agency: House) -> None:
    agency.home.contact(crm_contact_id=CONTACT, owner_email=None)
    agency.home.task()
    agency.go()
    (task,) = agency.ledger("task")
    assert "hubspot_owner_id" not in task["properties"]
    assert agency.home.one("task-1")["owner"] == "dana@agency.example"


def test_a_revoked_token_holds_the_provider_and_its_tasks_go_to_the_desk_at_once(agency: House) -> None:
    agency.home.task()
    agency.strike("revoked_token", "hubspot", times=None)
    agency.go()
    row = agency.home.one("task-1")
    assert (row["channel"], row["status"]) == ("desk_task", "delivered")
    with agency.home.engine.connect() as connection:
        (hold,) = open_holds(connection)
    assert (hold["scope"], hold["cause"]) == ("hubspot", "credential")


def test_a_secret_that_is_missing_sends_nothing_and_is_tried_again(agency: House) -> None:
    agency.home.step()
    agency.home.publish()
    agency.emit()
    agency.home.settings.environ.pop("TWILIO_AUTH_TOKEN")  # type: ignore[attr-defined]
    agency.deliver()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("retrying", "config")
    assert agency.ledger("message") == []


# ---- nobody knows ----


@pytest.mark.parametrize(("channel", "kind", "provider"), [("text", "message", "twilio"), ("task", "task", "hubspot")])
@pytest.mark.parametrize("fault", ["lost_answer", "500_after_commit"])
def test_an_answer_that_never_came_is_asked_for_and_nothing_is_sent_twice(
    agency: House, channel: str, kind: str, provider: str, fault: str
) -> None:
    getattr(agency.home, "step" if channel == "text" else "task")()
    agency.strike(fault, provider, "Messages" if provider == "twilio" else "objects/tasks")
    agency.go()
    for _ in range(6):
        agency.clock.advance(60)
        agency.deliver()
    (row,) = agency.home.queued()
    assert (row["status"], len(agency.ledger(kind))) == ("delivered", 1)


def test_what_surely_did_not_arrive_is_sent_once_the_provider_can_tell(agency: House) -> None:
    agency.home.step()
    agency.strike("reset", "twilio", "Messages")
    agency.go()
    assert agency.home.one()["status"] == "unknown"
    agency.clock.advance(SETTLES.total_seconds() - 30)
    assert agency.deliver().outcomes == {}
    agency.clock.advance(60)
    agency.deliver()
    assert agency.home.one()["status"] == "delivered"
    assert len(agency.ledger("message")) == 1


def test_a_mail_nobody_knows_of_is_left_to_a_person_and_never_sent_again_by_itself(agency: House) -> None:
    mail(agency)
    agency.strike("lost_answer", "smtp", "/data")
    agency.go()
    for _ in range(5):
        agency.clock.advance(600)
        agency.deliver()
    assert agency.home.one()["status"] == "unknown"
    assert len(agency.ledger("email")) == 1
    (task,) = tasks_asked_for(agency)
    assert f"leadtrail outputs resolve {agency.home.one()['output_id']}" in task["payload"]["body"]
    assert resolve_unknown(
        agency.home.engine, agency.home.one()["output_id"], "seen in the log", "dana", agency.clock.now()
    )
    assert agency.home.one()["status"] == "delivered"


def test_a_text_that_was_taken_and_failed_on_its_way_is_not_sent_again_when_it_is_asked_for(agency: House) -> None:
    agency.home.step()
    agency.twilio.fate(PHONE, 30005)
    agency.strike("lost_answer", "twilio", "Messages")
    agency.go()
    agency.clock.advance(200)
    agency.deliver()
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("failed", "bad_address")
    assert len(agency.ledger("message")) == 1


def test_a_worker_that_was_paused_before_sending_finds_that_it_lost_the_output(agency: House) -> None:
    """D15: two workers, the first is stopped for ten minutes between claiming and sending."""
    agency.home.step()
    agency.home.publish()
    agency.emit()
    with Published.opened(agency.home.settings) as published:
        gate = Gate(published, {one.client_id: one for one in agency.home.office.clients()})
        (paused,) = claim(agency.home.engine, gate, now=agency.clock.now())
        agency.clock.advance(600)
        assert agency.deliver().recovered == {"pending": 1, "unknown": 0}
        assert not begin_sending(agency.home.engine, paused, gate, agency.clock.now())
        assert not delivered(agency.home.engine, paused, "SM-late", agency.clock.now())
    assert len(agency.ledger("message")) == 1
    assert agency.home.one()["provider_ref"] == agency.ledger("message")[0]["sid"]


def test_a_worker_that_waits_ten_minutes_for_its_answer_keeps_the_output(agency: House) -> None:
    agency.home.step()
    agency.home.publish()
    agency.emit()
    with Published.opened(agency.home.settings) as published:
        gate = Gate(published, {one.client_id: one for one in agency.home.office.clients()})
        (slow,) = claim(agency.home.engine, gate, now=agency.clock.now())
        assert begin_sending(agency.home.engine, slow, gate, agency.clock.now())
        agency.clock.advance(600)
        assert agency.deliver().outcomes == {}
        assert delivered(agency.home.engine, slow, "SM-slow", agency.clock.now())
    assert SENDING_LEASE > timedelta(minutes=10) > LEASE
    assert agency.ledger("message") == []


class Sleepy(FakeClock):
    """Falls asleep for twenty minutes, and what it is asked for it answers when it wakes; `meanwhile` happens in between."""

    def __init__(self, clock: FakeClock, nth: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(clock.time)
        self.clock, self.nth, self.meanwhile = clock, nth, meanwhile
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        if self.asked == self.nth:
            self.clock.advance(20 * 60)
            self.meanwhile()
        return self.clock.time

    def monotonic(self) -> float:
        return self.clock.monotonic()


@pytest.mark.parametrize("channel", ["text", "crm_task"])
def test_d15_a_sender_that_falls_asleep_at_any_moment_while_others_take_over_sends_nothing_twice(
    agency: House, channel: str
) -> None:
    """At every moment at which it looks at the clock, the last just before it writes to the provider."""
    nth, woke_late = 0, Counter[str]()
    while True:
        nth += 1
        key = f"{channel}-{nth}"
        agency.home.contact(f"lead-{nth}", phone=f"+1512555{1000 + nth}", crm_contact_id=CONTACT)
        if channel == "text":
            agency.home.step(key, lead_id=f"lead-{nth}", due_at=agency.clock.now(), expires_at=agency.clock.now() + DAY)
        else:
            agency.home.task(key, lead_id=f"lead-{nth}", due_at=agency.clock.now(), expires_at=agency.clock.now() + DAY)
        agency.home.publish()
        agency.emit()

        def others_deliver() -> None:
            for _ in range(2):  # what is unknown is asked for, what is not there is sent
                agency.deliver(workers=1)
                agency.clock.advance(5 * 60)

        clock = Sleepy(agency.clock, nth, others_deliver)
        woke_late += deliver(agency.home.office, clock=clock, settles=SETTLES, workers=1).outcomes
        if clock.asked < nth:
            break
        others_deliver()
        assert agency.home.one(key)["status"] == "delivered", nth
        assert len(agency.ledger("message" if channel == "text" else "task")) == nth, agency.home.told(key)
    assert nth > 8
    assert woke_late["not sent"] >= 1
    assert woke_late["retrying"] >= 1


def test_what_a_sleeper_says_it_sent_is_not_sent_again_by_whoever_has_it_now(agency: House) -> None:
    agency.home.step()
    agency.home.publish()
    agency.emit()
    engine = agency.home.engine
    with Published.opened(agency.home.settings) as published:
        gate = Gate(published, {one.client_id: one for one in agency.home.office.clients()})
        (slow,) = claim(engine, gate, now=NOW)
        assert begin_sending(engine, slow, gate, NOW)
        later = NOW + SENDING_LEASE + SECOND
        recover(engine, later)
        resolve_unknown(engine, slow.output_id, None, "the provider", later)
        (other,) = claim(engine, gate, now=later)
        assert unknown(engine, slow, "no answer", later)
        assert not begin_sending(engine, other, gate, later)
        assert retry(engine, other, "down", "down", later) == "retrying"  # what it says is not heard
        assert agency.home.one()["status"] == "unknown"
        resolve_unknown(engine, slow.output_id, None, "the provider", later)
        (third,) = claim(engine, gate, now=later)
        assert delivered(engine, slow, "SM-slow", later)
        assert not begin_sending(engine, third, gate, later)
    assert (agency.home.one()["status"], agency.home.one()["provider_ref"]) == ("delivered", "SM-slow")


def test_an_opt_out_between_claim_and_sending_wins(agency: House) -> None:
    agency.home.step()
    agency.home.publish()
    agency.emit()
    with Published.opened(agency.home.settings) as published:
        gate = Gate(published, {one.client_id: one for one in agency.home.office.clients()})
        (claimed,) = claim(agency.home.engine, gate, now=NOW)
        with agency.home.engine.begin() as connection:
            suppress(connection, RIDGE, PHONE, "text", cause="keyword", evidence="SM", now=NOW)
        assert not begin_sending(agency.home.engine, claimed, gate, NOW)
    assert (agency.home.one()["status"], agency.home.one()["reason_code"]) == ("cancelled", "opted_out")


def test_a_clock_that_jumps_back_an_hour_delivers_nothing_again(agency: House) -> None:
    agency.home.step()
    agency.home.task()
    agency.go()
    agency.clock.advance(-3600)
    assert agency.emit().queued.total() == 0
    assert agency.deliver().outcomes == {}
    assert (len(agency.ledger("message")), len(agency.ledger("task"))) == (1, 1)


def test_two_deliveries_at_once_send_everything_once(agency: House) -> None:
    for number in range(12):
        agency.home.contact(f"lead-{number}", phone=f"+151255502{number:02d}", crm_contact_id=CONTACT)
        agency.home.step(f"text-{number}", lead_id=f"lead-{number}")
        agency.home.task(f"task-{number}", lead_id=f"lead-{number}")
    agency.home.publish()
    agency.emit()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: agency.deliver(workers=2), range(3)))
    assert {row["status"] for row in agency.home.queued()} == {"delivered"}
    assert (len(agency.ledger("message")), len(agency.ledger("task"))) == (12, 12)
    assert len({text["To"] for text in agency.ledger("message")}) == 12
