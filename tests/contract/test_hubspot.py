"""HubSpot's contract: lists, search windows, batch reads, links, limits, webhooks, tasks, and what staging makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest

from connectors.base import (
    ConfigError,
    ContractChanged,
    CredentialError,
    Cursor,
    Page,
    ProviderDown,
    RateLimited,
    Record,
    Secret,
    SignatureError,
    WebhookRequest,
    absent,
)
from connectors.http import Http
from connectors.hubspot import HubSpot, HubSpotOptions
from connectors.sandbox.facts import Client, Contact, CrmTask, Deal, Staff, Town
from connectors.sandbox.hubspot import SandboxHubSpot
from connectors.sandbox.hubspot.events import event, push
from connectors.sandbox.hubspot.portal import Portal
from connectors.sandbox.provider import Reply, json_reply
from tests.conftest import NOW, FakeClock, Served, Stub
from tests.warehouse import Landed, staged

BOSS = Staff(1, "Dana", "Reyes", "dana@ridgeline.example", "owner")
DESK = Staff(2, "Lee", "Park", "lee@ridgeline.example", "dispatcher")
RIDGELINE = Client(
    n=1,
    client_id="ridgeline",
    name="Ridgeline Plumbing",
    trade="plumbing",
    timezone="America/New_York",
    city="Decatur",
    state="GA",
    zip_codes=("30030",),
    area_code="404",
    domain="ridgeline.example",
    office_phone="+14045550110",
    sms_phone="+14045550111",
    lines=(),
    staff=(BOSS, DESK),
    joined_at=NOW - timedelta(days=300),
)
SUMMIT = replace(RIDGELINE, n=2, client_id="summit", name="Summit Roofing", staff=(replace(BOSS, n=3),))
DAYS_AGO = NOW - timedelta(days=30)
MINUTES = timedelta(minutes=1)


def a_contact(n: int, **changes: Any) -> Contact:
    fact = Contact(
        n=n,
        client_id="ridgeline",
        person_id=f"p{n}",
        episode_id=f"e{n}",
        at=DAYS_AGO,
        changed_at=DAYS_AGO,
        given="Ana",
        family=f"Ruiz {n}",
        email=f"Ana.{n}@home.example",
        phone="(404) 555-0142",
        owner=BOSS,
        lifecycle="lead",
        lead_status="NEW",
        email_optout=False,
        source="OFFLINE",
    )
    return replace(fact, **changes)


def a_deal(n: int, contact: int, **changes: Any) -> Deal:
    fact = Deal(
        n=n,
        client_id="ridgeline",
        person_id=f"p{contact}",
        episode_id=f"e{contact}",
        at=DAYS_AGO,
        changed_at=DAYS_AGO,
        name="Water heater",
        contact=contact,
        owner=BOSS,
        amount_cents=45050,
        stages=[(DAYS_AGO, "new"), (DAYS_AGO + timedelta(days=1), "quoted"), (DAYS_AGO + timedelta(days=3), "won")],
        lost_reason="",
    )
    return replace(fact, **changes)


def a_task(n: int, contact: int) -> CrmTask:
    facts = {"client_id": "ridgeline", "person_id": f"p{contact}", "episode_id": f"e{contact}"}
    when = {"at": DAYS_AGO, "changed_at": DAYS_AGO, "due_at": DAYS_AGO}
    return CrmTask(
        n=n, **facts, **when, subject="Call back", kind="CALL", priority="HIGH", done=True, contact=contact, owner=DESK
    )


def a_town() -> Town:
    """Ridgeline: five contacts (3 merged into 1, 4 archived), three deals, two tasks. Summit: nobody yet."""
    contacts = [a_contact(1), a_contact(2), a_contact(3, merged_into=1), a_contact(4, archived=True), a_contact(5)]
    deals = [a_deal(1, 1), a_deal(2, 3), a_deal(3, 4, stages=[(DAYS_AGO, "new")], amount_cents=None)]
    return Town(
        7,
        DAYS_AGO,
        NOW,
        [RIDGELINE, SUMMIT],
        contacts=contacts,
        deals=deals,
        crm_tasks=[a_task(1, 1), a_task(2, 5)],
    )


# ---- the house under test ----


@dataclass
class House:
    """A sandbox, its Ridgeline portal, and Ridgeline's connector; `asked` is every request sent."""

    served: Served
    sandbox: SandboxHubSpot
    portal: Portal
    hubspot: HubSpot
    http: Http
    clock: FakeClock
    version: str
    asked: list[httpx.Request] = field(default_factory=list)

    def at(self, now: datetime) -> datetime:
        """Make it that time on both sides."""
        self.served.world.set_now(now)
        self.clock.time = now
        return now

    def connector(self, client: Client = RIDGELINE, **options: Any) -> HubSpot:
        settings = {
            **self.sandbox.connection(client, ""),
            "base_url": self.served.root("hubspot"),
            "api_version": self.version,
        }
        made = HubSpotOptions(**{**settings, **options})
        return HubSpot(made, connection=f"{client.client_id}/hubspot", http=self.http)

    def paths(self, part: str) -> list[httpx.Request]:
        return [request for request in self.asked if part in request.url.path]


@pytest.fixture(params=["v3", "2026-03"])
def house(request: pytest.FixtureRequest, serve: Callable[..., Served], http: Http, clock: FakeClock) -> House:
    """Case 26: everything here holds for the classic and for a dated version."""
    served = serve(a_town(), SandboxHubSpot, now=NOW)
    sandbox = served.providers["hubspot"]
    assert isinstance(sandbox, SandboxHubSpot)
    made = House(served, sandbox, sandbox.portal("ridgeline"), None, http, clock, request.param)  # type: ignore[arg-type]
    made.hubspot = made.connector()
    http.client.event_hooks["request"].append(made.asked.append)
    return made


def pulled(
    hubspot: HubSpot, feed: str, cursor: Cursor | None = None, *, now: datetime = NOW
) -> tuple[list[Page], Cursor | None]:
    """All pages of a run, and the cursor as it would be stored: through JSON."""
    pages = list(hubspot.pull(feed, cursor, now=now))
    cursors = [page.cursor for page in pages if page.cursor is not None]
    return pages, json.loads(json.dumps(cursors[-1])) if cursors else cursor


def ids(pages: list[Page], stream: str) -> list[str]:
    return [record.record_id for page in pages if page.stream == stream for record in page.records]


def body(record: Record) -> dict[str, Any]:
    return json.loads(bytes(record.payload))


def by_id(pages: list[Page], stream: str) -> dict[str, dict[str, Any]]:
    return {record.record_id: body(record) for page in pages if page.stream == stream for record in page.records}


def many(portal: Portal, count: int, *, at: datetime, first: int = 1_000_001) -> list[str]:
    """`count` contacts with one and the same time of change, as a bulk import makes them."""
    for i in range(count):
        portal.add("contacts", {"firstname": f"N{i}"}, at=at, number=first + i)
    return [str(first + i) for i in range(count)]


# ---- reading ----


def test_a_full_sync_ends_with_exactly_what_the_account_holds(house: House) -> None:
    got: Counter[tuple[str, str]] = Counter()
    for feed in house.hubspot.feeds():
        pages, _ = pulled(house.hubspot, feed)
        got.update({(page.stream, record.record_id): 1 for page in pages for record in page.records})
    wanted = {(stream, record_id) for client, stream, record_id, _ in house.sandbox.records() if client == "ridgeline"}
    assert set(got) == wanted
    assert len(wanted) == 2 + 1 + 4 + 3 + 3 + 2 + 2


def test_case_01_last_page_without_paging_ends_the_list(house: House) -> None:
    """201 contacts at 100 a page are three requests."""
    many(house.portal, 201 - len(house.portal.ids("contacts")), at=DAYS_AGO)
    pages, cursor = pulled(house.hubspot, "contacts")
    lists = [r for r in house.paths("/contacts") if r.method == "GET" and r.url.params.get("archived") == "false"]
    assert len(lists) == 3
    assert [r.url.params.get("limit") for r in lists] == ["100"] * 3
    assert len(set(ids(pages, "contacts"))) == 201 + 1  # and the archived one, from its own pass
    assert cursor is not None
    assert cursor["until"] == NOW.isoformat(timespec="milliseconds")


def test_case_02_missing_required_property_stops_the_feed_and_is_named(house: House) -> None:
    del house.portal.properties["contacts"]["phone"]
    with pytest.raises(ContractChanged, match="no property phone on contacts"):
        pulled(house.hubspot, "contacts")
    health = house.hubspot.check()
    assert not health.ok
    assert "phone" in health.message


def test_case_02_missing_optional_property_is_told_and_left_out(house: House) -> None:
    del house.portal.properties["contacts"]["hs_marketable_status"]
    pages, _ = pulled(house.hubspot, "contacts")
    assert "hs_marketable_status" not in by_id(pages, "contacts")["101"]["properties"]
    assert house.hubspot.check().details["properties this account does not have"] == {
        "contacts": ["hs_marketable_status"]
    }


def test_case_03_contact_changed_while_paging_is_read_by_the_next_run(house: House) -> None:
    _, cursor = pulled(house.hubspot, "contacts")
    imported = many(house.portal, 250, at=NOW + 5 * MINUTES)
    now = house.at(NOW + 15 * MINUTES)
    run = house.hubspot.pull("contacts", cursor, now=now)
    pages = [next(run)]
    house.portal.edit("contacts", int(imported[-1]), {"firstname": "Late"}, at=now)  # it leaves the frozen window
    pages += list(run)
    assert set(ids(pages, "contacts")) == set(imported[:-1])
    later = house.at(now + 15 * MINUTES)
    pages, _ = pulled(house.hubspot, "contacts", pages[-1].cursor, now=later)
    assert by_id(pages, "contacts")[imported[-1]]["properties"]["firstname"] == "Late"


def test_case_04_more_equal_timestamps_than_the_cap_are_all_read(house: House) -> None:
    """HubSpot's cap is 10,000; here it is 500, with 1,050 contacts that share one timestamp."""
    house.sandbox.search_cap = 500
    _, cursor = pulled(house.hubspot, "contacts")
    imported = many(house.portal, 1_050, at=NOW + 5 * MINUTES)
    pages, cursor = pulled(house.hubspot, "contacts", cursor, now=house.at(NOW + 15 * MINUTES))
    assert set(ids(pages, "contacts")) == set(imported)
    assert len(ids(pages, "contacts")) == 1_050
    assert len(house.paths("/search")) == 6
    assert all(json.loads(request.content)["after"] == "0" for request in house.paths("/search"))


def test_case_05_ids_are_ordered_as_numbers(house: House) -> None:
    """ "9" is before "10" and "100"; as text none of them would follow "200", where the second page begins."""
    _, cursor = pulled(house.hubspot, "contacts")
    for number in range(1, 51):
        house.portal.add("contacts", {}, at=NOW + 5 * MINUTES, number=number)
    many(house.portal, 200, at=NOW + 5 * MINUTES, first=1_000)
    pages, _ = pulled(house.hubspot, "contacts", cursor, now=house.at(NOW + 15 * MINUTES))
    assert len(ids(pages, "contacts")) == 250
    assert {"9", "10", "1199"} <= set(ids(pages, "contacts"))
    second = json.loads(house.paths("/search")[1].content)
    assert second["filterGroups"][0]["filters"][1]["value"] == "1149"


def test_case_06_change_that_search_does_not_show_yet_is_found_by_the_look_back(house: House) -> None:
    _, cursor = pulled(house.hubspot, "contacts")
    start = house.at(NOW + 15 * MINUTES)
    house.sandbox.search_lag = 120
    house.portal.edit("contacts", 101, {"firstname": "Bea"}, at=start - timedelta(seconds=90))
    house.portal.edit("contacts", 151, {"firstname": "Cleo"}, at=start - timedelta(seconds=30))
    pages, cursor = pulled(house.hubspot, "contacts", cursor, now=start)
    assert ids(pages, "contacts") == []
    pages, _ = pulled(house.hubspot, "contacts", cursor, now=house.at(start + 15 * MINUTES))
    assert set(ids(pages, "contacts")) == {"101", "151"}


def test_case_07_each_type_is_searched_by_its_own_modified_property(house: House) -> None:
    for feed in ("contacts", "deals", "tasks"):
        _, cursor = pulled(house.hubspot, feed)
        pulled(house.hubspot, feed, cursor, now=house.at(NOW + 15 * MINUTES))
    bodies = {request.url.path.split("/")[-2]: json.loads(request.content) for request in house.paths("/search")}
    names = {kind: sent["filterGroups"][0]["filters"][0]["propertyName"] for kind, sent in bodies.items()}
    assert names == {"contacts": "lastmodifieddate", "deals": "hs_lastmodifieddate", "tasks": "hs_lastmodifieddate"}
    assert all(set(sent) == {"filterGroups", "sorts", "properties", "limit", "after"} for sent in bodies.values())
    assert max(len(request.content) for request in house.paths("/search")) < 3_000


def test_case_08_batch_read_of_deleted_ids_gives_the_rest_and_two_absences(house: House) -> None:
    wanted = many(house.portal, 100, at=DAYS_AGO)
    for number in wanted[3], wanted[70]:
        house.portal.purge("contacts", int(number))
    pages = list(house.hubspot.refetch("contacts", wanted, now=NOW))
    records = [record for page in pages for record in page.records]
    assert len([record for record in records if not record.absent]) == 98
    assert {record.record_id for record in records if record.absent} == {wanted[3], wanted[70]}


def test_deleted_contact_comes_as_its_archived_self(house: House) -> None:
    house.portal.archive("contacts", 101)
    (record,) = [record for page in house.hubspot.refetch("contacts", ["101"], now=NOW) for record in page.records]
    assert not record.absent
    assert body(record)["archived"] is True


def test_case_09_batch_results_in_another_order_land_on_their_own_ids(house: House) -> None:
    """The sandbox answers in the reverse order."""
    wanted = many(house.portal, 5, at=DAYS_AGO)
    (page,) = house.hubspot.refetch("contacts", wanted, now=NOW)
    assert [record.record_id for record in page.records] == wanted[::-1]
    assert {r.record_id: body(r)["properties"]["firstname"] for r in page.records} == {
        number: f"N{i}" for i, number in enumerate(wanted)
    }


def test_interrupted_window_goes_on_where_it_stopped(house: House) -> None:
    _, cursor = pulled(house.hubspot, "contacts")
    imported = many(house.portal, 450, at=NOW + 5 * MINUTES)
    now = house.at(NOW + 15 * MINUTES)
    run = house.hubspot.pull("contacts", cursor, now=now)
    first = next(run)
    run.close()
    house.asked.clear()
    pages, after = pulled(house.hubspot, "contacts", first.cursor, now=now)
    assert ids([first, *pages], "contacts").count(imported[0]) == 1
    assert set(ids([first, *pages], "contacts")) == set(imported)
    assert after is not None
    assert "window" not in after
    assert len(house.paths("/search")) == 2


def test_interrupted_first_list_goes_on_where_it_stopped(house: House) -> None:
    many(house.portal, 250, at=DAYS_AGO)
    run = house.hubspot.pull("contacts", None, now=NOW)
    first = next(run)
    run.close()
    later = house.at(NOW + 60 * MINUTES)
    pages, cursor = pulled(house.hubspot, "contacts", first.cursor, now=later)
    assert len(ids([first, *pages], "contacts")) == 250 + 4
    assert cursor is not None
    assert cursor["until"] == (later - MINUTES).isoformat(timespec="milliseconds")


def test_deals_carry_their_stage_history_and_come_with_their_contacts(house: House) -> None:
    pages, cursor = pulled(house.hubspot, "deals")
    deal = by_id(pages, "deals")["5000000137"]
    assert [step["value"] for step in deal["propertiesWithHistory"]["dealstage"]] == [
        "1190000103",
        "1190000101",
        "1190000100",
    ]
    assert deal["properties"]["amount"] == "450.5"
    links = by_id(pages, "deal_contacts")
    assert [to["toObjectId"] for to in links["5000000137"]["to"]] == [101]
    assert [to["toObjectId"] for to in links["5000000274"]["to"]] == [101]  # its contact was merged into this one
    assert links["5000000411"]["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    house.portal.unlink("deals", 5000000137, "contacts", 101)
    house.portal.edit("deals", 5000000137, {"dealstage": "1190000104"}, at=NOW + 5 * MINUTES)
    pages, _ = pulled(house.hubspot, "deals", cursor, now=house.at(NOW + 15 * MINUTES))
    assert len(by_id(pages, "deals")["5000000137"]["propertiesWithHistory"]["dealstage"]) == 4
    assert "No contact is associated" in by_id(pages, "deal_contacts")["5000000137"]["message"]


def test_contacts_of_a_deal_past_one_page_land_together(house: House) -> None:
    for number in many(house.portal, 620, at=DAYS_AGO):
        house.portal.link("deals", 5000000137, "contacts", int(number))
    (page,) = house.hubspot.refetch("deal_contacts", ["5000000137"], now=NOW)
    assert len(body(page.records[0])["to"]) == 621


def test_once_a_week_deletions_and_links_are_read_again(house: House) -> None:
    """A deletion and a changed link need not touch the modified date."""
    _, cursor = pulled(house.hubspot, "deals")
    house.portal.archive("deals", 5000000274)
    house.portal.link("deals", 5000000411, "contacts", 151)
    pages, cursor = pulled(house.hubspot, "deals", cursor, now=house.at(NOW + timedelta(days=6)))
    assert ids(pages, "deals") == []
    pages, cursor = pulled(house.hubspot, "deals", cursor, now=house.at(NOW + timedelta(days=7)))
    assert by_id(pages, "deals")["5000000274"]["archived"] is True
    assert [to["toObjectId"] for to in by_id(pages, "deal_contacts")["5000000411"]["to"]] == [151]
    pages, _ = pulled(house.hubspot, "deals", cursor, now=house.at(NOW + timedelta(days=7, minutes=15)))
    assert ids(pages, "deals") == []


def test_archived_owners_are_read_too(house: House) -> None:
    house.portal.archived_staff.add(DESK.n)
    pages, _ = pulled(house.hubspot, "owners")
    assert {number: one["archived"] for number, one in by_id(pages, "owners").items()} == {
        house.portal.owner_id(BOSS): False,
        house.portal.owner_id(DESK): True,
    }


def test_token_of_another_account_is_refused_before_anything_is_read(house: House) -> None:
    strange = house.connector(SUMMIT, portal_id=str(house.portal.portal_id))
    with pytest.raises(ConfigError, match="belongs to HubSpot account 40000002, not to 40000001"):
        pulled(strange, "contacts")
    assert house.paths("/contacts") == []
    assert not strange.check().ok


def test_payload_is_the_provider_s_own_bytes(house: House) -> None:
    (page,) = house.hubspot.refetch("contacts", ["101"], now=NOW)
    sent = httpx.get(
        f"{house.served.root('hubspot')}/crm/v3/objects/contacts/101",
        params={"properties": list(body(page.records[0])["properties"])},
        headers={"Authorization": f"Bearer {house.sandbox.token(RIDGELINE)}"},
    ).content
    assert bytes(page.records[0].payload) == sent
    assert page.records[0].updated_at == DAYS_AGO
    assert page.records[0].occurred_at == DAYS_AGO


# ---- limits and refusals ----


def test_searches_are_at_most_four_in_any_second(house: House, http: Http, clock: FakeClock) -> None:
    times: list[float] = []
    http.client.event_hooks["request"].append(
        lambda request: times.append(clock.monotonic()) if request.url.path.endswith("/search") else None
    )
    other = house.connector()  # a second connection with the same token shares the limit
    _, cursor = pulled(house.hubspot, "contacts")
    many(house.portal, 1_500, at=NOW + 5 * MINUTES)
    now = house.at(NOW + 15 * MINUTES)
    pulled(house.hubspot, "contacts", cursor, now=now)
    pulled(other, "contacts", cursor, now=now)
    assert len(times) == 16
    assert all(later - earlier >= 1.0 for earlier, later in zip(times, times[4:], strict=False))


def test_case_15_ten_secondly_limit_is_waited_for(house: House, clock: FakeClock) -> None:
    house.sandbox.scripted = [("/contacts", house.sandbox.too_many("TEN_SECONDLY_ROLLING"))] * 2
    pages, _ = pulled(house.hubspot, "contacts")
    assert len(ids(pages, "contacts")) == 4
    assert clock.slept == [10.0, 10.0]


def test_case_15_search_limit_without_a_policy_is_waited_for(house: House, clock: FakeClock) -> None:
    _, cursor = pulled(house.hubspot, "contacts")
    house.sandbox.scripted = [("/search", house.sandbox.too_many("secondly"))]
    pulled(house.hubspot, "contacts", cursor, now=house.at(NOW + 15 * MINUTES))
    assert clock.slept == [1.0]


def test_case_15_daily_limit_stops_until_midnight_there_and_the_next_run_resumes(
    house: House, clock: FakeClock
) -> None:
    many(house.portal, 250, at=DAYS_AGO)
    run = house.hubspot.pull("contacts", None, now=NOW)
    first = next(run)
    house.sandbox.scripted = [("/contacts", house.sandbox.too_many("DAILY"))]
    with pytest.raises(RateLimited, match="DAILY") as stopped:
        next(run)
    assert stopped.value.retry_at == datetime(2026, 3, 3, 5, 0, tzinfo=UTC)  # midnight in New York
    assert clock.slept == []
    pages, _ = pulled(house.hubspot, "contacts", first.cursor)
    assert len(ids([first, *pages], "contacts")) == 250 + 4


def test_case_16_refused_token_is_a_credential_error_without_the_token(house: House) -> None:
    wrong = house.connector(access_token=Secret("pat-na1-00000000-0000-0000-0000-000000000000"))
    with pytest.raises(CredentialError, match="401 INVALID_AUTHENTICATION") as refused:
        pulled(wrong, "contacts")
    assert "pat-na1" not in str(refused.value)
    assert not wrong.check().ok


def test_case_16_missing_scope_is_named(house: House) -> None:
    house.portal.scopes.discard("crm.objects.deals.read")
    with pytest.raises(CredentialError, match=r"crm\.objects\.deals\.read"):
        pulled(house.hubspot, "deals")
    health = house.hubspot.check()
    assert not health.ok
    assert "crm.objects.deals.read" in health.fix


def test_case_17_account_being_moved_defers_the_run(house: House, clock: FakeClock) -> None:
    house.sandbox.scripted = [("/contacts", Reply(477, b"{}", {"retry-after": "3600"}))]
    with pytest.raises(RateLimited, match="deferred") as deferred:
        pulled(house.hubspot, "contacts")
    assert deferred.value.retry_at == NOW + timedelta(hours=1)
    assert clock.slept == []
    assert len(house.paths("/contacts")) == 1


def test_part_of_a_batch_that_failed_is_not_taken_for_a_deletion(house: House) -> None:
    failed = {"status": "COMPLETE", "results": [], "numErrors": 1}
    error = {"status": "error", "category": "INTERNAL_ERROR", "message": "try later", "context": {"ids": ["101"]}}
    house.sandbox.scripted = [("/batch/read", json_reply({**failed, "errors": [error]}, 207))]
    with pytest.raises(ProviderDown, match="INTERNAL_ERROR"):
        list(house.hubspot.refetch("contacts", ["101"], now=NOW))


def test_case_27_only_after_is_used_of_a_link_to_another_host(stub: Stub, http: Http) -> None:
    first = {"results": [{"id": "1"}], "paging": {"next": {"after": "2", "link": "https://evil.example/?after=2"}}}
    last = {"results": [{"id": "2"}]}
    account = {"portalId": 1, "timeZone": "UTC"}
    answers: dict[str, list[Any]] = {"archived=false": [first, last], "archived=true": [{"results": []}]}

    def script(method: str, path: str, headers: dict[str, str], content: bytes) -> tuple[int, dict[str, str], bytes]:
        found = (
            account if "account-info" in path else next(queue for part, queue in answers.items() if part in path).pop(0)
        )
        return 200, {}, json.dumps(found).encode()

    stub.script = script
    options = HubSpotOptions(access_token=Secret("t"), base_url=stub.origin)
    pages, _ = pulled(HubSpot(options, connection="c/hubspot", http=http), "owners")
    assert ids(pages, "owners") == ["1", "2"]
    assert "after=2" in stub.requests[2][1]


def test_search_that_is_not_in_order_of_id_stops_instead_of_skipping(house: House) -> None:
    _, cursor = pulled(house.hubspot, "contacts")
    found = {"total": 3, "results": [{"id": "9"}, {"id": "100"}, {"id": "10"}]}
    house.sandbox.scripted = [("/search", json_reply(found))]
    with pytest.raises(ContractChanged, match="order of id"):
        pulled(house.hubspot, "contacts", cursor, now=house.at(NOW + 15 * MINUTES))


def test_record_of_an_unknown_shape_is_landed_all_the_same(house: House) -> None:
    odd = {"results": [{"id": 7, "createdAt": "soon"}, {"name": "nobody"}]}
    house.sandbox.scripted = [("/batch/read", json_reply(odd))]
    (page,) = house.hubspot.refetch("contacts", ["7"], now=NOW)
    assert page.records[0].record_id == "7"
    assert page.records[0].occurred_at is None
    assert page.records[1].record_id.startswith("sha256:")


# ---- webhooks ----

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
VECTOR_BODY = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW",'
    b'"appId":54321}]'
)
VECTOR = WebhookRequest(
    url="https://example.test/webhook/hubspot",
    headers={
        "x-hubspot-signature-v3": "3ag3MSsmGeTY1WJZPt3vVQ1Sw6pAJehhs7CZqwVtHw4=",
        "x-hubspot-request-timestamp": "1700000000000",
    },
    body=VECTOR_BODY,
    received_at=datetime.fromtimestamp(1_700_000_000, UTC),
)


@pytest.fixture
def listener(http: Http) -> HubSpot:
    options = HubSpotOptions(access_token=Secret("t"), client_secret=Secret(SECRET), portal_id="62515")
    return HubSpot(options, connection="c/hubspot", http=http)


def test_case_18_signature_vector_is_accepted(listener: HubSpot) -> None:
    assert listener.accept(VECTOR).answer.status == 200


@pytest.mark.parametrize(
    "forged",
    [
        replace(VECTOR, body=VECTOR_BODY.replace(b'"objectId":123', b'"objectId":124')),
        replace(VECTOR, url="https://example.test/webhook/hubspot?client=1"),
        replace(VECTOR, received_at=VECTOR.received_at + timedelta(seconds=301)),
        replace(VECTOR, received_at=VECTOR.received_at - timedelta(minutes=10)),
        replace(VECTOR, method="PUT"),
        replace(VECTOR, headers={"x-hubspot-request-timestamp": "1700000000000"}),
        replace(VECTOR, headers={**VECTOR.headers, "x-hubspot-request-timestamp": "now"}),
    ],
    ids=["body", "query", "stale", "future", "method", "unsigned", "no time"],
)
def test_case_18_anything_else_is_refused(listener: HubSpot, forged: WebhookRequest) -> None:
    with pytest.raises(SignatureError):
        listener.accept(forged)


def test_webhook_is_refused_while_no_secret_is_set(listener: HubSpot, http: Http) -> None:
    deaf = HubSpot(replace(listener.options, client_secret=Secret("")), connection="c/hubspot", http=http)
    with pytest.raises(SignatureError, match="client_secret"):
        deaf.accept(VECTOR)


def test_pushed_history_is_signed_and_names_what_to_read(house: House) -> None:
    for one in house.sandbox.pushes():
        url = "https://intake.example/webhooks/ridgeline/hubspot"
        request = WebhookRequest(url, one.sign(url), one.body, NOW)
        house.hubspot.accept(request)
        received = house.hubspot.receive(request)
        assert not received.quarantine
        hinted = set(received.refetch)
        assert {("contacts", "101"), ("contacts", "201"), ("deals", "5000000137")} <= hinted
        assert len(json.loads(one.body)) == len(house.portal.store["contacts"]) + 1 + 1 + 1 + 3 + 4


def test_case_19_unknown_subscription_is_set_aside_and_the_other_99_count(house: House) -> None:
    events = [event(house.portal, "contact.creation", 1_000 + i, NOW) for i in range(99)]
    events.insert(50, event(house.portal, "spaceship.launch", 5, NOW))
    delivery = push(house.portal, events, house.sandbox.client_secret(RIDGELINE), house.served.world)
    url = "https://intake.example/webhooks/ridgeline/hubspot"
    request = WebhookRequest(url, delivery.sign(url), delivery.body, NOW)
    assert house.hubspot.accept(request).answer.status == 200
    received = house.hubspot.receive(request)
    assert len(received.refetch) == 99
    ((reason, payload),) = received.quarantine
    assert "spaceship.launch" in reason
    assert json.loads(payload)["objectId"] == 5


def test_event_of_another_account_is_set_aside(listener: HubSpot) -> None:
    strange = replace(VECTOR, body=VECTOR_BODY.replace(b"62515", b"99999"))
    received = listener.receive(strange)
    assert received.refetch == []
    assert "99999" in received.quarantine[0][0]


def test_body_that_is_no_list_of_events_is_set_aside(listener: HubSpot) -> None:
    for content in (b"{}", b"not json", b"[1]"):
        assert len(listener.receive(replace(VECTOR, body=content)).quarantine) == 1


def test_case_20_every_attempt_has_the_same_key(listener: HubSpot, house: House) -> None:
    some = [event(house.portal, "contact.creation", number, NOW) for number in (101, 151)]
    again = [{**one, "attemptNumber": 1} for one in some[::-1]]
    other = [{**one, "occurredAt": one["occurredAt"] + 1} for one in some]

    def key(events: list[dict[str, Any]]) -> str:
        delivery = push(house.portal, events, SECRET, house.served.world)
        url = "https://intake.example/hubspot"
        return listener.accept(WebhookRequest(url, delivery.sign(url), delivery.body, NOW)).dedupe_key

    assert key(some) == key(again)
    assert key(some) != key(other)


def test_case_21_privacy_deletion_asks_for_erasure_and_the_record_is_gone(house: House) -> None:
    """Erasing raw data, marts and summaries is `leadtrail erase`; this layer says for whom it is due."""
    house.portal.purge("contacts", 101)
    gone = json.dumps([event(house.portal, "contact.privacyDeletion", 101, NOW)]).encode()
    received = house.hubspot.receive(replace(VECTOR, body=gone))
    assert "leadtrail erase" in received.quarantine[0][0]
    assert received.refetch == [("contacts", "101")]
    (page,) = house.hubspot.refetch("contacts", ["101"], now=NOW)
    assert page.records[0].absent


def test_case_22_merge_reads_both_and_the_survivor_names_the_other(house: House) -> None:
    house.portal.merge(101, 151)
    fields = {"primaryObjectId": 101, "mergedObjectIds": [151], "newObjectId": 101}
    merge = json.dumps([event(house.portal, "contact.merge", 101, NOW, **fields)]).encode()
    hints = house.hubspot.receive(replace(VECTOR, body=merge)).refetch
    assert hints == [("contacts", "101"), ("contacts", "151")]
    (page,) = house.hubspot.refetch("contacts", [number for _, number in hints], now=NOW)
    assert {record.record_id: record.absent for record in page.records} == {"101": False, "151": True}
    assert "151" in body(page.records[0])["properties"]["hs_merged_object_ids"].split(";")


def test_changed_link_is_read_again_from_whichever_end_it_is_reported(house: House) -> None:
    ends = [("DEAL_TO_CONTACT", 5000000137, 101), ("CONTACT_TO_DEAL", 101, 5000000137), ("CONTACT_TO_COMPANY", 101, 9)]
    events = [
        event(house.portal, "deal.associationChange", 0, NOW, associationType=kind, fromObjectId=one, toObjectId=other)
        for kind, one, other in ends
    ]
    received = house.hubspot.receive(replace(VECTOR, body=json.dumps(events).encode()))
    assert received.refetch == [("deal_contacts", "5000000137")]
    assert received.quarantine == []


# ---- staging ----


def crm(kind: str, number: str, properties: dict[str, Any], *, at: datetime = DAYS_AGO, **more: Any) -> Landed:
    when = at.isoformat().replace("+00:00", "Z")
    named = {"createdate": when, "hs_createdate": when, **properties}
    payload = {"id": number, "properties": named, "createdAt": when, "updatedAt": when, "archived": False, **more}
    return Landed("ridgeline", "hubspot", kind, Record(number, json.dumps(payload).encode(), DAYS_AGO, at))


def plain(stream: str, number: str, payload: dict[str, Any], **more: Any) -> Landed:
    return Landed("ridgeline", "hubspot", stream, Record(number, json.dumps(payload).encode()), **more)


def a_pipeline(label: str) -> dict[str, Any]:
    metadata = [{"isClosed": "false", "probability": "0.2"}, {"isClosed": "true", "probability": "1.0"}]
    stages = [
        {"id": number, "label": name, "displayOrder": i, "archived": False, "metadata": metadata[i]}
        for i, (number, name) in enumerate([("1190000100", label), ("closedwon", "Won")])
    ]
    return {"id": "default", "label": "Sales", "displayOrder": 0, "archived": False, "stages": stages}


def a_step(stage: str, at: datetime) -> dict[str, str]:
    return {"value": stage, "timestamp": at.isoformat(), "sourceType": "CRM_UI"}


HISTORY = {"dealstage": [a_step("closedwon", NOW - timedelta(days=1)), a_step("1190000100", DAYS_AGO)]}
LINKED = {
    "from": {"id": "d1"},
    "to": [{"toObjectId": 101, "associationTypes": []}, {"toObjectId": 151, "associationTypes": []}],
}
NO_LINK = {"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"fromObjectId": ["d2"]}}
LATER = NOW + timedelta(hours=1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    landed = [
        crm("contacts", "101", {"firstname": "Ana", "email": " Ana@Home.example", "phone": "404.555.0142 x3"}),
        crm("contacts", "151", {"hs_email_optout": "true", "hs_merged_object_ids": "201;251"}),
        crm("contacts", "201", {"firstname": "Old"}),
        Landed("ridgeline", "hubspot", "contacts", absent("201", LATER), "observed", LATER, 1),
        crm("contacts", "301", {}, archived=True, archivedAt="2026-03-01T00:00:00Z"),
        crm("contacts", "401", {"createdate": "soon"}),
        crm("deals", "d1", {"amount": "450.5", "dealstage": "closedwon"}, propertiesWithHistory=HISTORY),
        crm("deals", "d2", {"amount": "1,200", "hs_is_closed": "true", "hs_is_closed_won": "false"}),
        crm("deals", "d3", {"amount": ""}),
        crm("deals", "d4", {"amount": None}),
        plain("deal_contacts", "d1", LINKED),
        plain("deal_contacts", "d2", {**LINKED, "from": {"id": "d2"}}),
        plain("deal_contacts", "d2", NO_LINK, received_at=LATER, segment=1),
        crm(
            "tasks",
            "t1",
            {"hs_timestamp": "2026-03-02T10:00:00Z", "hs_task_status": "COMPLETED", "hs_task_priority": "NONE"},
        ),
        crm("tasks", "t2", {"hs_task_body": "Call<br>fk:9f2c", "hs_task_status": "NOT_STARTED"}),
        plain("task_contacts", "t1", {**LINKED, "from": {"id": "t1"}}),
        plain("owners", "64000001", {"id": "64000001", "firstName": "Dana", "lastName": "Reyes", "archived": True}),
        plain("pipelines", "default", a_pipeline("New inquiry")),
        plain("pipelines", "default", a_pipeline("Fresh lead"), received_at=LATER, segment=1),
    ]
    connection = staged(tmp_path_factory.mktemp("hubspot"), landed, "staging.hubspot")
    yield connection
    connection.close()


def rows(warehouse: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return warehouse.execute(query).fetchall()


def test_contacts_are_normalized(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = "email_normalized, phone_e164, contact_name, is_deleted"
    query = f"select {columns} from staging.stg_hubspot__contacts where contact_id = '101'"
    assert rows(warehouse, query) == [("ana@home.example", "+14045550142", "Ana", False)]


def test_unreadable_creation_time_sets_the_contact_aside(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select contact_id from staging.stg_hubspot__contacts where contact_id = '401'"
    assert rows(warehouse, query) == []
    query = "select rejected_because from staging.base_hubspot__contacts where record_id = '401'"
    assert rows(warehouse, query) == [("created_at is not a time with its offset",)]


def test_archived_and_vanished_contacts_are_marked_deleted(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select contact_id, deleted_at from staging.stg_hubspot__contacts where is_deleted order by contact_id"
    assert rows(warehouse, query) == [
        ("201", LATER.replace(tzinfo=None)),
        ("301", datetime(2026, 3, 1)),  # noqa: DTZ001  (the warehouse is UTC throughout)
    ]


def test_case_22_merged_away_ids_lead_to_the_survivor(warehouse: duckdb.DuckDBPyConnection) -> None:
    """The timeline moves what hangs on 201 and 251 to 151 by this."""
    query = "select merged_contact_id, contact_id from staging.stg_hubspot__merged_contacts order by 1"
    assert rows(warehouse, query) == [("201", "151"), ("251", "151")]


def test_case_23_renamed_label_leaves_the_stage_history_alone(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = """
        select changes.stage_id, changes.step_number, stages.stage_label, stages.is_won
        from staging.stg_hubspot__deal_stage_changes as changes
        left join staging.stg_hubspot__pipeline_stages as stages
            on changes.client_id = stages.client_id and changes.stage_id = stages.stage_id
        where changes.deal_id = 'd1' order by changes.reached_at
    """
    assert rows(warehouse, query) == [("1190000100", 1, "Fresh lead", False), ("closedwon", 2, "Won", True)]


def test_case_24_bad_amount_is_null_and_told(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select deal_id, amount_cents from staging.stg_hubspot__deals order by deal_id"
    assert rows(warehouse, query) == [("d1", 45050), ("d2", None), ("d3", None), ("d4", None)]
    query = "select record_id, dropped_values from staging.base_hubspot__deals where dropped_values is not null"
    assert rows(warehouse, query) == [("d2", "amount is not a number")]


def test_case_25_email_opt_out_is_known(warehouse: duckdb.DuckDBPyConnection) -> None:
    """The follow-up layer makes no e-mail step for these."""
    query = "select contact_id from staging.stg_hubspot__contacts where is_email_opted_out"
    assert rows(warehouse, query) == [("151",)]


def test_answer_that_there_is_no_contact_takes_the_links_back(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select deal_id, contact_id from staging.stg_hubspot__deal_contacts order by all"
    assert rows(warehouse, query) == [("d1", "101"), ("d1", "151")]
    assert rows(warehouse, "select count(*) from staging.stg_hubspot__task_contacts") == [(2,)]


def test_tasks_owners_and_lost_deals_read_as_meant(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select task_id, is_completed, priority, is_from_leadtrail from staging.stg_hubspot__tasks order by 1"
    assert rows(warehouse, query) == [("t1", True, None, False), ("t2", False, None, True)]
    assert rows(warehouse, "select owner_name, is_archived from staging.stg_hubspot__owners") == [("Dana Reyes", True)]
    assert rows(warehouse, "select deal_id from staging.stg_hubspot__deals where is_lost") == [("d2",)]
