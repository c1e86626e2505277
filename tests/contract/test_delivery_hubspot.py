"""Tasks, notes and contact changes reach HubSpot exactly once, whatever happens to the answer; and a change can be taken back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from connectors.base import ConfigError, CredentialError, RateLimited, Rejected, Secret, TransientError
from connectors.delivery import ContactUpdate, Note, OwnerTask, Receipt, Unconfirmed, Undeliverable
from connectors.http import Http
from connectors.hubspot import HubSpot, HubSpotOptions
from connectors.hubspot.deliver import SEARCH_LAG, HubSpotDeliverer
from connectors.sandbox.facts import Client, Contact, Deal, Staff, Town
from connectors.sandbox.hubspot import SandboxHubSpot
from connectors.sandbox.hubspot.portal import Portal
from connectors.sandbox.provider import Fault, json_reply
from tests.conftest import NOW, FakeClock, Served

BOSS = Staff(1, "Dana", "Reyes", "dana@ridgeline.example", "owner")
RIDGELINE = Client(
    n=1, client_id="ridgeline", name="Ridgeline Plumbing", trade="plumbing", timezone="America/New_York",
    city="Decatur", state="GA", zip_codes=("30030",), area_code="404", domain="ridgeline.example",
    office_phone="+14045550110", sms_phone="+14045550111", lines=(), staff=(BOSS,), joined_at=NOW - timedelta(days=300),
)  # fmt: skip
BEFORE = NOW - timedelta(days=30)
CONTACT, DEAL = "101", "5000000137"
MADE = "objects/tasks"
QUICK = 0.5  # seconds our client waits for an answer that will not come


def a_town() -> Town:
    contact = Contact(
        n=1, client_id="ridgeline", person_id="p1", episode_id="e1", at=BEFORE, changed_at=BEFORE, given="Ana",
        family="Ruiz", email="ana@home.example", phone="(404) 555-0142", owner=BOSS, lifecycle="lead",
        lead_status="NEW", email_optout=False, source="OFFLINE",
    )  # fmt: skip
    deal = Deal(
        n=1, client_id="ridgeline", person_id="p1", episode_id="e1", at=BEFORE, changed_at=BEFORE, name="Water heater",
        contact=1, owner=BOSS, amount_cents=45050, stages=[(BEFORE, "new")], lost_reason="",
    )  # fmt: skip
    return Town(7, BEFORE, NOW, [RIDGELINE], contacts=[contact], deals=[deal])


@dataclass
class House:
    served: Served
    sandbox: SandboxHubSpot
    portal: Portal
    http: Http
    clock: FakeClock
    version: str = "v3"

    def connector(self, **options: Any) -> HubSpot:
        given = {**self.sandbox.connection(RIDGELINE, ""), "base_url": self.served.root("hubspot"), **options}
        made = HubSpotOptions(**{"api_version": self.version, **given})
        return HubSpot(made, connection="ridgeline/hubspot", http=self.http)

    def deliverer(self) -> HubSpotDeliverer:
        """As a process that has just started has it."""
        return self.connector().deliverer()

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.served.world.ledger if entry["kind"] == kind]

    def strike(self, kind: str, path: str = MADE, **more: Any) -> None:
        if kind in ("slow", "timeout", "timeout_after_commit"):
            self.http.client.timeout = httpx.Timeout(QUICK)
        self.served.world.faults.append(Fault(kind, "hubspot", path, **{"seconds": 2 * QUICK, **more}))  # type: ignore[arg-type]


@pytest.fixture
def house(serve: Callable[..., Served], http: Http, clock: FakeClock) -> House:
    served = serve(a_town(), SandboxHubSpot, now=NOW)
    served.world._now = clock.now
    sandbox = served.providers["hubspot"]
    assert isinstance(sandbox, SandboxHubSpot)
    return House(served, sandbox, sandbox.portal("ridgeline"), http, clock)


@pytest.fixture(params=["unique property", "marker"])
def mode(request: pytest.FixtureRequest, house: House) -> str:
    """The two kinds of account: one that takes a unique property on tasks and notes, and one that does not."""
    house.sandbox.refuse_unique_tasks = request.param == "marker"
    house.deliverer().prepare()
    return str(request.param)


def a_task(key: str = "k9f2c", **changes: Any) -> OwnerTask:
    task = OwnerTask(
        key, NOW + timedelta(hours=1), "Call back Ana", "Missed call <01/05>\nShe asked for a water heater.",
        owner_email="Dana@ridgeline.example", kind="CALL", priority="HIGH", contact_id=CONTACT, deal_id=DEAL,
    )  # fmt: skip
    return replace(task, **changes)


def as_the_queue_does(house: House, message: Any) -> Receipt:
    """Each try by a new process. Sent again only when the provider surely does not have it."""
    for _ in range(5):
        deliverer = house.deliverer()
        try:
            return deliverer.deliver(message)
        except Unconfirmed as open_question:
            house.clock.time = max(house.clock.time, open_question.ask_at)
            if found := house.deliverer().find(message, since=open_question.sent_at):
                return found
        except TransientError:
            house.clock.advance(60)
    raise AssertionError("it was never delivered")


# ---- exactly once ----


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (kind, times)
        for kind in ("timeout", "timeout_after_commit", "lost_answer", "500", "500_after_commit", "reset")
        for times in (1, 2)
    ],
)
def test_a_task_is_made_exactly_once_whatever_becomes_of_the_answer(
    house: House, mode: str, fault: str, times: int
) -> None:
    house.strike(fault, times=times)
    receipt = as_the_queue_does(house, a_task())
    assert [entry["id"] for entry in house.ledger("task")] == [receipt.provider_ref]
    assert as_the_queue_does(house, a_task()).provider_ref == receipt.provider_ref
    assert len(house.ledger("task")) == 1


def test_too_many_requests_is_waited_for_as_told_and_the_task_made_once(house: House, mode: str) -> None:
    house.strike("429", retry_after=17)
    house.deliverer().deliver(a_task())
    assert house.clock.slept == [17.0]
    assert len(house.ledger("task")) == 1


def test_a_longer_wait_than_a_delivery_may_take_is_handed_back_with_its_time(house: House, mode: str) -> None:
    house.strike("429", retry_after=900, times=None)
    with pytest.raises(RateLimited) as limited:
        house.deliverer().deliver(a_task())
    assert limited.value.retry_at == house.clock.now() + timedelta(seconds=900)
    assert house.ledger("task") == []


def test_a_request_that_is_carried_out_late_makes_no_second_task(house: House, mode: str) -> None:
    """The first create is still under way when it is read back."""
    house.strike("slow")
    deliverer, begun = house.deliverer(), house.clock.now()
    if mode == "marker":
        with pytest.raises(Unconfirmed) as unknown:
            deliverer.deliver(a_task())
        assert unknown.value.ask_at > begun
        with pytest.raises(Unconfirmed):
            deliverer.find(a_task(), since=begun)
    else:
        deliverer.deliver(a_task())  # the key makes a second try safe
    time.sleep(3 * QUICK)
    found = deliverer.find(a_task(), since=begun)
    assert found
    assert [entry["id"] for entry in house.ledger("task")] == [found.provider_ref]


def test_not_there_is_said_only_after_a_write_under_way_would_have_settled(house: House, mode: str) -> None:
    deliverer, begun = house.deliverer(), house.clock.now()
    with pytest.raises(Unconfirmed):
        deliverer.find(a_task(), since=begun)
    house.clock.advance(deliverer.settles.total_seconds())
    assert deliverer.find(a_task(), since=begun) is None


def test_a_process_killed_between_sending_and_recording_finds_its_task_again(house: House, mode: str) -> None:
    begun = house.clock.now()
    lost = house.deliverer().deliver(a_task())
    house.clock.advance(5)
    found = house.deliverer().find(a_task(), since=begun)
    assert found
    assert found.provider_ref == lost.provider_ref
    assert house.deliverer().find(a_task("k9f2c"), since=begun) == found
    with pytest.raises(Unconfirmed):  # another's key that begins alike is not ours
        house.deliverer().find(a_task("k9f2"), since=begun)


def test_a_server_that_cannot_be_reached_has_surely_made_nothing(house: House, mode: str) -> None:
    deliverer = house.deliverer()
    deliverer.deliver(a_task("first"))
    house.strike("reset", path="associations")  # a read: repeated by itself
    deliverer.api.base_url = "http://127.0.0.1:1/hubspot"
    with pytest.raises(TransientError) as refused:
        deliverer.deliver(a_task())
    assert not getattr(refused.value, "maybe_done", True)


def test_a_task_of_nobody_known_is_read_back_through_search_which_shows_it_late(house: House) -> None:
    """A missed call of an unknown number has no contact yet; this account takes no unique property either."""
    house.sandbox.refuse_unique_tasks = True
    house.sandbox.search_lag = 60.0
    task, deliverer, begun = a_task(contact_id="", deal_id=""), house.deliverer(), house.clock.now()
    house.strike("lost_answer")
    with pytest.raises(Unconfirmed) as unknown:
        deliverer.deliver(task)
    assert unknown.value.ask_at >= begun + SEARCH_LAG
    house.clock.advance(30)
    with pytest.raises(Unconfirmed):
        deliverer.find(task, since=begun)
    house.clock.advance(40)
    found = deliverer.find(task, since=begun)
    assert found
    assert [entry["id"] for entry in house.ledger("task")] == [found.provider_ref]


def test_a_task_made_before_the_account_had_the_property_is_still_found(house: House) -> None:
    begun = house.clock.now()
    made = house.deliverer().deliver(a_task())
    assert house.deliverer().prepare().ok
    found = house.deliverer().find(a_task(), since=begun)
    assert found
    assert found.provider_ref == made.provider_ref


def test_what_people_changed_in_a_task_stays_when_it_is_delivered_again(house: House) -> None:
    house.deliverer().prepare()
    made = house.deliverer().deliver(a_task())
    house.portal.edit("tasks", int(made.provider_ref), {"hs_task_status": "COMPLETED", "hs_task_subject": "Done"})
    again = house.deliverer().deliver(a_task())
    assert (again.provider_ref, again.facts["new"]) == (made.provider_ref, False)
    assert house.portal.values(house.portal.store["tasks"][int(made.provider_ref)])["hs_task_subject"] == "Done"


# ---- what is made ----


@pytest.mark.parametrize("version", ["v3", "2026-03"])
def test_a_preview_shows_field_by_field_what_is_then_written(house: House, mode: str, version: str) -> None:
    house.version = version
    note = Note("n1", NOW, "Asked for a quote & a date", contact_id=CONTACT)
    for message, kind in ((a_task(), "task"), (note, "note")):
        deliverer = house.deliverer()
        before = len(house.served.world.ledger)
        diff = deliverer.preview(message)
        assert len(house.served.world.ledger) == before, "a preview writes nothing"
        assert diff.action == "create"
        assert msgspec.json.decode(msgspec.json.encode(diff))["changes"][0].keys() == {"field", "before", "after"}
        shown = {change.field: change.after for change in diff.changes}
        receipt = deliverer.deliver(message)
        made = house.portal.store[f"{kind}s"][int(receipt.provider_ref)]
        written = dict(house.ledger(kind)[-1]["properties"])
        about = {
            f"associations.{to}": str(found[0])
            for (of, to), links in house.portal.links.items()
            if of == f"{kind}s" and (found := links.get(made.id))
        }
        assert {**written, **about} == shown
        again = deliverer.preview(message)
        assert (again.action, again.target, again.changes) == ("nothing", f"{kind} {receipt.provider_ref}", ())


def test_a_task_has_its_owner_due_time_priority_contact_deal_and_mark(house: House, mode: str) -> None:
    receipt = house.deliverer().deliver(a_task())
    values = house.portal.values(house.portal.store["tasks"][int(receipt.provider_ref)])
    assert values["hubspot_owner_id"] == house.portal.owner_id(BOSS)
    assert values["hs_timestamp"] == "2026-03-02T18:00:00.000Z"
    assert (values["hs_task_priority"], values["hs_task_type"]) == ("HIGH", "CALL")
    body = values["hs_task_body"] or ""
    assert body.startswith("Missed call &lt;01/05&gt;<br>")
    assert "fk:k9f2c" in body  # staging knows our tasks by it
    assert house.portal.links["tasks", "contacts"][int(receipt.provider_ref)] == [int(CONTACT)]
    assert house.portal.links["tasks", "deals"][int(receipt.provider_ref)] == [int(DEAL)]
    assert (receipt.state, receipt.facts["new"]) == ("delivered", True)


def test_case_14_an_account_without_unique_properties_is_named_and_still_served(house: House) -> None:
    house.sandbox.refuse_unique_tasks = True
    health = house.deliverer().prepare()
    assert not health.ok
    assert "read back by their marker" in health.message
    assert house.deliverer().deliver(a_task()).provider_ref == house.ledger("task")[0]["id"]


# ---- what is refused ----


def test_case_13_a_task_for_a_contact_that_is_gone_is_refused_once_with_its_reason(house: House, mode: str) -> None:
    house.portal.archive("contacts", int(CONTACT))
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(a_task())
    assert refused.value.reason == "target"
    assert "The contact it is about is gone." in str(refused.value)
    assert house.ledger("task") == []


def test_a_task_for_an_owner_hubspot_does_not_know_is_refused_before_anything_is_made(house: House, mode: str) -> None:
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(a_task(owner_email="gone@ridgeline.example"))
    assert refused.value.reason == "bad_address"
    assert "gone@" not in str(refused.value)
    assert house.ledger("task") == []


def test_case_12_a_wrong_association_type_is_refused_and_makes_no_task(house: House) -> None:
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 203}]
    sent = {
        "properties": {"hs_timestamp": "2026-03-02T18:00:00Z"},
        "associations": [{"to": {"id": CONTACT}, "types": types}],
    }
    api = house.connector().api
    with pytest.raises(Rejected) as refused:
        api.write("POST", api.path("objects", "/tasks"), sent)
    assert (refused.value.status, refused.value.code) == (400, "VALIDATION_ERROR")
    assert house.ledger("task") == []


def test_a_revoked_token_delivers_nothing_and_says_so(house: House, mode: str) -> None:
    deliverer = house.deliverer()
    house.strike("revoked_token", times=None)
    with pytest.raises(CredentialError):
        deliverer.deliver(a_task())
    assert house.ledger("task") == []


def test_nothing_is_delivered_to_another_clients_account(house: House) -> None:
    with pytest.raises(ConfigError, match="belongs to HubSpot account"):
        house.connector(portal_id="1").deliverer()


def test_no_secret_and_nothing_personal_is_logged_or_printed(house: House, mode: str, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(a_task()), repr(Note("n", NOW, "Private words"))]
    house.strike("lost_answer")
    house.strike("500", times=2)
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(a_task("bad key"))
    said.append(str(refused.value))
    as_the_queue_does(house, a_task())
    update = house.deliverer().handoff.plan("u", CONTACT, {"phone": "+14045550199"})
    said += [repr(update), repr(house.deliverer().preview(update))]
    token = house.sandbox.connection(RIDGELINE, "")["access_token"]
    assert isinstance(token, Secret)
    for hidden in ("Ana", "Missed", "dana@", "Private", "4045550199", "555-0142", token.reveal()):
        assert hidden not in caplog.text + "".join(said), hidden


# ---- handing a contact over, and taking it back ----


def a_plan(house: House) -> ContactUpdate:
    wanted = {"lifecyclestage": "opportunity", "phone": "+14045550142", "city": "Decatur", "lastname": "Ruiz"}
    return house.deliverer().handoff.plan("h1", CONTACT, wanted)


def values_of(house: House) -> dict[str, str | None]:
    return dict(house.portal.values(house.portal.store["contacts"][int(CONTACT)]))


def test_a_plan_is_the_before_image_and_lists_only_what_would_change(house: House) -> None:
    plan = a_plan(house)
    assert {change.field: (change.before, change.after) for change in plan.changes} == {
        "lifecyclestage": ("lead", "opportunity"),
        "phone": ("(404) 555-0142", "+14045550142"),
        "city": (values_of(house).get("city"), "Decatur"),
    }
    stored = msgspec.json.decode(msgspec.json.encode(plan), type=ContactUpdate)
    assert stored == plan
    assert house.served.world.ledger == []


def test_a_preview_of_a_change_is_what_is_then_written_and_nothing_after(house: House) -> None:
    plan, deliverer = a_plan(house), house.deliverer()
    shown = {change.field: change.after for change in deliverer.preview(plan).changes}
    receipt = deliverer.deliver(plan)
    assert [entry["properties"] for entry in house.ledger("contact.update")] == [shown]
    assert set(receipt.facts["written"]) == set(shown)
    assert deliverer.preview(plan).action == "nothing"
    assert deliverer.deliver(plan).facts["written"] == ()
    assert len(house.ledger("contact.update")) == 1


def test_a_rollback_restores_what_nobody_touched_and_skips_what_people_changed(house: House) -> None:
    before = values_of(house)
    plan = a_plan(house)
    house.deliverer().deliver(plan)
    house.portal.edit("contacts", int(CONTACT), {"phone": "+14045550777"})
    undone = house.deliverer().handoff.rollback(plan)
    assert (set(undone.restored), undone.skipped) == ({"lifecyclestage", "city"}, ("phone",))
    after = values_of(house)
    assert after["phone"] == "+14045550777"
    assert after["lifecyclestage"] == before["lifecyclestage"]
    assert (after.get("city") or "") == (before.get("city") or "")
    again = house.deliverer().handoff.rollback(plan)
    assert (again.restored, set(again.already)) == ((), {"lifecyclestage", "city"})


def test_a_delivery_leaves_what_people_changed_since_it_was_planned(house: House) -> None:
    plan = a_plan(house)
    house.portal.edit("contacts", int(CONTACT), {"phone": "+14045550777"})
    receipt = house.deliverer().deliver(plan)
    assert receipt.facts["skipped"] == ("phone",)
    assert values_of(house)["phone"] == "+14045550777"


def test_a_change_that_people_have_overtaken_entirely_is_refused(house: House) -> None:
    plan = house.deliverer().handoff.plan("h2", CONTACT, {"phone": "+14045550142"})
    house.portal.edit("contacts", int(CONTACT), {"phone": "+14045550777"})
    with pytest.raises(Undeliverable) as refused:
        house.deliverer().deliver(plan)
    assert refused.value.reason == "superseded"
    assert house.ledger("contact.update") == []


@pytest.mark.parametrize(
    "fault", ["timeout", "timeout_after_commit", "lost_answer", "500", "500_after_commit", "reset"]
)
def test_a_change_is_written_exactly_once_whatever_becomes_of_the_answer(house: House, fault: str) -> None:
    plan = a_plan(house)
    # the first call with this path is the read before the write; faults before the commit strike the write
    after = 0 if fault in ("timeout_after_commit", "lost_answer", "500_after_commit") else 1
    house.strike(fault, path="objects/contacts", after=after)
    as_the_queue_does(house, plan)
    assert len(house.ledger("contact.update")) == 1
    assert values_of(house)["phone"] == "+14045550142"


def test_a_property_hubspot_does_not_have_is_named_before_anything_is_written(house: House) -> None:
    with pytest.raises(Undeliverable, match="no property favourite_colour"):
        house.deliverer().handoff.plan("h3", CONTACT, {"favourite_colour": "blue"})


def test_a_cut_off_answer_to_a_change_is_read_back(house: House) -> None:
    plan = a_plan(house)
    deliverer = house.deliverer()
    house.sandbox.scripted = []
    house.strike("truncated", path="objects/contacts", after=1)
    receipt = deliverer.deliver(plan)
    assert set(receipt.facts["written"]) == {change.field for change in plan.changes}
    assert len(house.ledger("contact.update")) == 1


def test_an_odd_refusal_of_a_taken_key_still_finds_the_task(house: House) -> None:
    """HubSpot's words for a key that is taken are not documented."""
    house.deliverer().prepare()
    made = house.deliverer().deliver(a_task())
    house.sandbox.scripted = [("objects/tasks", json_reply({"category": "SOMETHING_NEW"}, 409))]
    assert house.deliverer().deliver(a_task()).provider_ref == made.provider_ref
