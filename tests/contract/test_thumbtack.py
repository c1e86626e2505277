"""Thumbtack's contract: three shapes of push, one lead; re-reads by partner access; what staging makes of it all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest

from connectors.base import (
    ConfigError,
    CredentialError,
    Page,
    ProviderDown,
    Received,
    Secret,
    SignatureError,
    WebhookRequest,
)
from connectors.http import Http, basic
from connectors.oauth import MemoryVault
from connectors.sandbox.facts import Address, Client, Person, Staff, ThumbtackLead, ThumbtackMessage, Town
from connectors.sandbox.provider import Fault
from connectors.sandbox.thumbtack import SandboxThumbtack
from connectors.thumbtack import Thumbtack, ThumbtackOptions
from tests.conftest import NOW, FakeClock, Served, Stub
from tests.warehouse import Landed, staged

# 18 digits, ending where a float would round
LEAD, CUSTOMER, BUSINESS = "561234567890123457", "345678901234567891", "310000000001000003"
MADE = datetime(2026, 2, 10, 18, 2, 9, tzinfo=UTC)
OPTIONS = ThumbtackOptions(webhook_user="u", webhook_password=Secret("p"), business_ids=(BUSINESS,))
AUTH = {"authorization": basic("u", "p")["Authorization"], "content-type": "application/json"}
Serve = Callable[..., Served]

RIDGELINE = Client(
    n=1,
    client_id="ridgeline",
    name="Ridgeline Plumbing",
    trade="plumbing",
    timezone="America/Phoenix",
    city="Mesa",
    state="AZ",
    zip_codes=("85201",),
    area_code="480",
    domain="ridgeline.example",
    office_phone="+14805550110",
    sms_phone="+14805550111",
    lines=(),
    staff=(Staff(1, "Jo", "Reyes", "jo@ridgeline.example", "owner"),),
    joined_at=MADE,
)


def v4(kind: str, data: Mapping[str, Any], *, at: datetime = MADE) -> bytes:
    event = {"eventType": kind, "description": "", "webhookID": "412345678901234567", "triggeredAt": at.isoformat()}
    return json.dumps({"event": event, "data": data}).encode()


def v4_lead(lead_id: str = LEAD, **changes: Any) -> dict[str, Any]:
    """The documented shape of NegotiationCreatedV4."""
    return {
        "negotiationID": lead_id,
        "status": "Open",
        "chargeState": "Created",
        "createdAt": "2026-02-10T18:02:09Z",
        "leadPrice": "$25.00",
        "business": {"businessID": BUSINESS, "name": "Ridgeline Plumbing"},
        "customer": {"customerID": CUSTOMER, "firstName": "Ruth", "lastName": "Alvarez", "phone": "5615550142"},
        "estimate": {"total": "$150.00", "pricePerUnit": "150.00", "type": "Fixed"},
        "request": {
            "requestID": "456789012345678901",
            "category": {"categoryID": "109876543210987654", "name": "Furnace Repair"},
            "description": "Strange noise",
            "location": {"address1": "", "city": "Mesa", "state": "AZ", "zipCode": "02139"},
            "details": [{"question": "Type of system?", "answer": "Gas"}],
        },
        "refundDetails": None,
        **changes,
    }


def v4_message(message_id: str, text: str = "Hi,\r\nis <b>Friday</b> ok?", **changes: Any) -> dict[str, Any]:
    customer = {"customerID": CUSTOMER, "displayName": "Ruth A."}
    sent = {"sentAt": "2026-02-10T18:02:10Z", "text": text, "attachments": []}
    return {"messageID": message_id, "negotiationID": LEAD, "from": "Customer", "customer": customer, **sent, **changes}


def legacy_lead(lead_id: str = LEAD, **changes: Any) -> dict[str, Any]:
    """The documented shape of POST /v1/lead."""
    return {
        "leadID": lead_id,
        "createTimestamp": str(int(MADE.timestamp())),
        "price": "$258/hour",
        "leadType": "ESTIMATION",
        "leadPrice": None,
        "chargeState": None,
        "request": {
            "requestID": "456789012345678901",
            "category": "Furnace Repair",
            "categoryID": "109876543210987654",
            "description": "Strange noise",
            "schedule": "Date: Tue, May 05 2020\nTime: 6:00 PM\nLength: 3.5 hours",
            "location": {"address1": "", "city": "Mesa", "state": "AZ", "zipCode": "02139"},
            "details": [{"question": "Type of system?", "answer": "Gas"}],
        },
        "customer": {"customerID": CUSTOMER, "name": "Ruth Alvarez", "phone": "5615550142"},
        "business": {"businessID": BUSINESS, "name": "Ridgeline Plumbing"},
        **changes,
    }


LEGACY_MESSAGE = {
    "leadID": "299614694480093245",
    "customerID": CUSTOMER,
    "businessID": BUSINESS,
    "message": {"messageID": "71", "createTimestamp": "1770746530", "text": "Hello?", "attachments": []},
}
LEGACY_REVIEW = {
    "review": {
        "reviewID": "81",
        "businessID": BUSINESS,
        "leadID": LEAD,
        "rating": "4",
        "text": "Good",
        "reviewerNickname": "Ruth",
        "createTime": "1770746530123",
        "modifyTime": "1770746530123",
    },
    "reviewEventType": "REVIEW_ADDED",
}


def pushed(body: Any, tail: str = "", *, at: datetime = NOW, headers: Mapping[str, str] = AUTH) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest("https://leads.example/webhooks", headers, raw, at, tail=tail)


@pytest.fixture
def thumbtack(http: Http) -> Thumbtack:
    return Thumbtack(OPTIONS, connection="ridgeline/thumbtack", http=http)


def ids(received: Received) -> list[tuple[str, str]]:
    return [(stream, record.record_id) for stream, record in received.records]


# ---- pushes ----


def test_case_01_a_v4_lead_with_right_basic_auth_is_taken_byte_for_byte(thumbtack: Thumbtack) -> None:
    request = pushed(v4("NegotiationCreatedV4", v4_lead()))
    assert thumbtack.accept(request).answer.status == 200
    [(stream, record)] = thumbtack.receive(request).records
    assert (stream, record.record_id, record.occurred_at) == ("leads", LEAD, MADE)
    assert bytes(record.payload) == json.dumps(v4_lead()).encode()


@pytest.mark.parametrize("given", ["", "Basic bm90OnJpZ2h0", "Bearer p", basic("u", "pp")["Authorization"]])
def test_case_02_wrong_or_missing_auth_is_refused(thumbtack: Thumbtack, given: str) -> None:
    with pytest.raises(SignatureError):
        thumbtack.accept(pushed(v4("NegotiationCreatedV4", v4_lead()), headers={"authorization": given}))


def test_case_02_header_or_path_token_prove_as_well_and_none_configured_takes_nothing(http: Http) -> None:
    body = v4("NegotiationCreatedV4", v4_lead())

    def accepts(options: ThumbtackOptions, headers: Mapping[str, str], tail: str = "") -> bool:
        try:
            Thumbtack(options, connection="c", http=http).accept(pushed(body, tail, headers=headers))
        except SignatureError:
            return False
        return True

    by_header = ThumbtackOptions(webhook_header="X-Agreed", webhook_header_value=Secret("s"))
    assert accepts(by_header, {"x-agreed": "s"})
    assert not accepts(by_header, {"x-agreed": "t"})
    by_path = replace(OPTIONS, path_token=Secret("tail"))
    assert accepts(by_path, AUTH, "/tail")
    assert accepts(by_path, AUTH, "/tail/v1/lead")
    assert not accepts(by_path, AUTH, "/v1/lead")
    assert not accepts(by_path, {}, "/tail")  # both are configured, so both are needed
    assert not accepts(ThumbtackOptions(), AUTH)


def test_case_03_the_same_lead_event_has_one_key_whenever_it_comes(thumbtack: Thumbtack) -> None:
    keys = {
        thumbtack.accept(pushed(v4("NegotiationCreatedV4", v4_lead(), at=at), at=at)).dedupe_key
        for at in (NOW, NOW + timedelta(minutes=1), NOW + timedelta(days=3))
    }
    assert len(keys) == 1


def test_case_04_and_05_a_lead_and_its_messages_are_different_events_in_any_order(thumbtack: Thumbtack) -> None:
    bodies = [
        v4("NegotiationCreatedV4", v4_lead()),
        v4("MessageCreatedV4", v4_message("91")),
        v4("MessageCreatedV4", v4_message("92")),
    ]
    expected = {("leads", LEAD), ("messages", "91"), ("messages", "92")}
    for order in (bodies, bodies[::-1]):
        assert len({thumbtack.accept(pushed(body)).dedupe_key for body in order}) == 3
        assert {one for body in order for one in ids(thumbtack.receive(pushed(body)))} == expected


def test_a_lead_announced_again_with_another_charge_is_another_event(thumbtack: Thumbtack) -> None:
    first, later = v4_lead(), v4_lead(chargeState="Charged")
    keys = [thumbtack.accept(pushed(v4("NegotiationCreatedV4", lead))).dedupe_key for lead in (first, later)]
    assert keys[0] != keys[1]


def test_case_07_self_serve_and_legacy_tell_of_one_lead(thumbtack: Thumbtack) -> None:
    new, old = pushed(v4("NegotiationCreatedV4", v4_lead())), pushed(legacy_lead(), "/v1/lead")
    assert thumbtack.accept(new).dedupe_key != thumbtack.accept(old).dedupe_key
    assert ids(thumbtack.receive(new)) == ids(thumbtack.receive(old)) == [("leads", LEAD)]


def test_case_10_a_legacy_message_for_an_unknown_lead_is_kept(thumbtack: Thumbtack) -> None:
    """The documented answer is 202; whether we know the lead is not known yet when we answer, and 2xx is taken either way."""
    request = pushed(LEGACY_MESSAGE, "/v1/message")
    assert thumbtack.accept(request).answer.status == 200
    assert ids(thumbtack.receive(request)) == [("messages", "71")]


def test_legacy_lead_updates_differ_by_charge_and_price(thumbtack: Thumbtack) -> None:
    updates = [
        {"leadID": LEAD, "leadPrice": "$26.00", "chargeState": state} for state in ("Charged", "Refunded", "Charged")
    ]
    keys = [thumbtack.accept(pushed(update, "/v1/lead/update")).dedupe_key for update in updates]
    assert keys[0] == keys[2] != keys[1]
    assert ids(thumbtack.receive(pushed(updates[0]))) == [("lead_updates", f"{LEAD}:Charged:$26.00")]


def test_case_12_thumbtacks_test_delivery_is_put_aside(thumbtack: Thumbtack) -> None:
    test_lead = v4_lead(
        business={"businessID": BUSINESS, "name": "Test Business for Webhooks"},
        customer={"customerID": "1", "firstName": "Test", "lastName": "Customer", "phone": "1234567890"},
    )
    for body in (
        v4("NegotiationCreatedV4", test_lead),
        json.dumps(legacy_lead(customer={"name": "Test Customer", "phone": "1234567890"})).encode(),
    ):
        assert thumbtack.accept(pushed(body)).answer.status == 200
        received = thumbtack.receive(pushed(body))
        assert not received.records
        assert received.quarantine == [("Thumbtack's test delivery", body)]


def test_case_13_a_lead_without_phone_and_last_name_is_a_lead(thumbtack: Thumbtack) -> None:
    lead = v4_lead(customer={"customerID": CUSTOMER, "firstName": "Ruth"})
    assert ids(thumbtack.receive(pushed(v4("NegotiationCreatedV4", lead)))) == [("leads", LEAD)]


def test_case_22_a_foreign_business_is_answered_and_put_aside(thumbtack: Thumbtack) -> None:
    foreign = {"businessID": "999", "name": "Someone else"}
    for body in (
        v4("NegotiationCreatedV4", v4_lead(business=foreign)),
        json.dumps({**LEGACY_MESSAGE, "businessID": "999"}).encode(),
        json.dumps({"review": {**LEGACY_REVIEW["review"], "businessID": "999"}}).encode(),  # type: ignore[dict-item]
    ):
        assert thumbtack.accept(pushed(body)).answer.status == 200
        received = thumbtack.receive(pushed(body))
        assert not received.records
        assert "not one of this client's" in received.quarantine[0][0]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe", b'"text"'])
def test_case_25_a_body_that_is_no_json_object_is_answered_400_and_put_aside(thumbtack: Thumbtack, body: bytes) -> None:
    assert thumbtack.accept(pushed(body)).answer.status == 400
    assert thumbtack.receive(pushed(body)).quarantine[0][1] == body


@pytest.mark.parametrize(
    "body",
    [
        v4("ReviewCreatedV1", {"what": "ever"}),
        v4("IncentiveUsedV4", {"negotiationID": LEAD}),
        json.dumps({"event": [], "data": None}).encode(),
        v4("NegotiationCreatedV4", {"negotiationID": {"odd": 1}}),
        b'{"hello": 1}',
    ],
)
def test_an_unknown_event_is_answered_200_and_put_aside(thumbtack: Thumbtack, body: bytes) -> None:
    assert thumbtack.accept(pushed(body)).answer.status == 200
    received = thumbtack.receive(pushed(body))
    assert not received.records
    assert received.quarantine[0][1] == body


# ---- the API ----


def a_town() -> Town:
    person = Person(
        1, "p1", "ridgeline", "Ruth", "Alvarez", ["+15615550142"], [], Address("1 Oak", "Mesa", "AZ", "85201"), "h"
    )
    town = Town(7, MADE - timedelta(days=30), NOW, [RIDGELINE], people=[person])
    shared = {"client_id": "ridgeline", "person_id": "p1", "episode_id": "e1"}
    town.thumbtack_leads.append(
        ThumbtackLead(
            1, at=MADE, changed_at=MADE, **shared, negotiation_id=LEAD, customer_id=CUSTOMER, shown_phone="+15615550142",
            masked=False, price_cents=2500, charge_state="Charged", category="Furnace Repair", description="Noise",
        )
    )  # fmt: skip
    for n in range(45):
        sent_at = MADE + timedelta(minutes=n)
        sender = "Business" if n % 2 else "Customer"
        town.thumbtack_messages.append(
            ThumbtackMessage(n, at=sent_at, changed_at=sent_at, **shared, message_id=str(600 + n), negotiation_id=LEAD,
                             sender=sender, text=f"message {n}")
        )  # fmt: skip
    return town


class Connected:
    """A connector whose calls go to a served sandbox, with its vault at hand."""

    def __init__(self, served: Served, http: Http, clock: FakeClock) -> None:
        served.world.set_now(None)
        served.world._now = clock.now  # both sides live in one time
        self.sandbox: SandboxThumbtack = served.providers["thumbtack"]  # type: ignore[assignment]
        options = ThumbtackOptions(**self.sandbox.connection(RIDGELINE, served.root("thumbtack")))
        self.vault, self.options = MemoryVault(), options
        self.connector = Thumbtack(options, connection="ridgeline/thumbtack", http=http, vault=self.vault)

    def read(self) -> list[Page]:
        return list(self.connector.refetch("leads", [LEAD], now=NOW))


@pytest.fixture
def connected(serve: Serve, http: Http, clock: FakeClock) -> Connected:
    return Connected(serve(a_town(), SandboxThumbtack), http, clock)


def test_check_tells_what_it_reads_and_what_is_missing(connected: Connected, http: Http) -> None:
    health = connected.connector.check()
    assert health.ok
    assert health.details["businesses"] == [BUSINESS]
    other = Thumbtack(replace(connected.options, business_ids=("999",)), connection="c", http=http)
    assert not other.check().ok
    assert "999" in other.check().message
    assert not Thumbtack(ThumbtackOptions(), connection="c", http=http).check().ok
    assert Thumbtack(OPTIONS, connection="c", http=http).check().ok


def test_case_11_a_refund_is_seen_by_reading_again(connected: Connected) -> None:
    before = connected.read()[0].records[0]
    assert bytes(connected.read()[0].records[0].payload) == bytes(before.payload)  # unchanged, so no new version
    connected.sandbox.change(LEAD, charge_state="Refunded", refunded_at=NOW)
    after = connected.read()[0].records[0]
    assert json.loads(bytes(after.payload))["chargeState"] == "Refunded"
    assert after.updated_at == NOW


def test_case_16_a_missing_scope_is_reported_without_spending_a_token(connected: Connected) -> None:
    connected.read()
    token = connected.vault.tokens
    connected.sandbox.scopes["ridgeline"] = frozenset({"supply::users.read"})
    with pytest.raises(CredentialError, match="scope"):
        connected.read()
    assert connected.vault.tokens == token
    health = connected.connector.check()
    assert not health.ok
    assert "supply::businesses.list" in health.fix


def test_case_17_a_401_without_scope_text_costs_one_renewal_and_one_replay(connected: Connected, serve: Serve) -> None:
    connected.read()
    token = connected.vault.tokens
    connected.sandbox.world.faults.append(Fault("revoked_token", "thumbtack", times=1))
    assert connected.read()[0].stream == "leads"
    assert connected.vault.tokens is not None
    assert connected.vault.tokens != token


def test_case_18_a_used_refresh_token_dies_after_its_grace_and_we_hold_the_newer_one(
    connected: Connected, clock: FakeClock
) -> None:
    connected.read()
    first = connected.options.refresh_token.reveal()
    held = connected.vault.tokens
    assert held is not None
    assert held.refresh_token != first
    endpoint, form = connected.options.token_url, {"grant_type": "refresh_token", "refresh_token": first}
    client = (connected.options.client_id, connected.options.client_secret.reveal())
    assert httpx.post(endpoint, data=form, auth=client).json()["refresh_token"] == held.refresh_token
    clock.advance(61)
    assert httpx.post(endpoint, data=form, auth=client).json()["error"] == "invalid_grant"
    clock.advance(3600)  # the access token has ended, the refresh token we hold has not
    assert connected.read()[0].stream == "leads"
    assert connected.vault.tokens != held


def test_a_reconnect_is_asked_for_when_no_refresh_token_is_taken(connected: Connected, http: Http) -> None:
    options = replace(connected.options, refresh_token=Secret("refresh.1.0.forged"))
    lost = Thumbtack(options, connection="ridgeline/thumbtack", http=http)
    with pytest.raises(CredentialError, match="Reconnect"):
        list(lost.refetch("leads", [LEAD], now=NOW))
    assert "forged" not in lost.check().message + lost.check().fix


def test_tokens_outlive_a_restart_of_the_sandbox(
    connected: Connected, serve: Serve, http: Http, clock: FakeClock
) -> None:
    connected.read()
    again = Connected(serve(a_town(), SandboxThumbtack), http, clock)
    again.vault.save(connected.vault.tokens)  # type: ignore[arg-type]
    assert again.read()[0].stream == "leads"
    clock.advance(3600)
    assert again.read()[0].stream == "leads"


def test_case_19_45_messages_come_in_three_calls_each_once(connected: Connected) -> None:
    connected.connector.check()  # so that the token's call is not counted
    calls = connected.connector.api.calls
    pages = connected.read()
    messages = [record.record_id for page in pages if page.stream == "messages" for record in page.records]
    assert sorted(messages) == [str(600 + n) for n in range(45)]
    assert connected.connector.api.calls - calls == 1 + 3


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("oldest_first", [True, False])
def test_case_19_every_message_comes_whatever_the_bounds_mean_and_the_order_is(
    stub: Stub, http: Http, inclusive: bool, oldest_first: bool
) -> None:
    """Whether sentBefore and sentAfter include their moment, and which way a page is sorted, is documented nowhere.
    Several messages share each second, so that page borders fall between them."""
    thread = [
        {"messageID": str(n), "negotiationID": LEAD, "sentAt": _iso(MADE + timedelta(seconds=n // 3))}
        for n in range(45)
    ]

    def answer(method: str, path: str, headers: Any, body: bytes) -> Any:
        if path.startswith("/oauth2"):
            return 200, {}, b'{"access_token":"a","expires_in":3600,"refresh_token":"r"}'
        url = httpx.URL("http://x" + path)
        if not url.path.endswith("/messages"):
            return 200, {}, json.dumps(v4_lead()).encode()
        before, after = url.params.get("sentBefore", "9"), url.params.get("sentAfter", "0")
        found = [
            one for one in thread if after < one["sentAt"] < before or (inclusive and one["sentAt"] in (before, after))
        ]
        page = found[:20] if oldest_first else found[::-1][:20]
        return 200, {}, json.dumps({"data": page}).encode()

    stub.script = answer
    options = replace(
        OPTIONS, client_id="c", refresh_token=Secret("r"), base_url=stub.origin, token_url=stub.origin + "/oauth2/token"
    )
    pages = Thumbtack(options, connection="c", http=http).refetch("leads", [LEAD], now=NOW)
    got = [record.record_id for page in pages if page.stream == "messages" for record in page.records]
    assert sorted(got, key=int) == [str(n) for n in range(45)]


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def test_a_lead_the_api_does_not_know_does_not_stop_the_others(connected: Connected) -> None:
    pages = list(connected.connector.refetch("leads", ["299614694480093245", LEAD], now=NOW))
    assert [page.records[0].record_id for page in pages if page.stream == "leads"] == [LEAD]


def test_an_outage_while_reading_again_is_reported_after_what_was_read(connected: Connected) -> None:
    connected.sandbox.world.faults.append(Fault("500", "thumbtack", "/messages", times=None))
    pages: list[Page] = []
    with pytest.raises(ProviderDown):
        pages.extend(connected.connector.refetch("leads", [LEAD], now=NOW))
    assert [page.stream for page in pages] == ["leads"]


def test_leads_are_due_once_for_each_moment_until_refunds_are_over(connected: Connected) -> None:
    connector, read = connected.connector, {}
    due_at = []
    for hour in range(0, 24 * 70):
        now = MADE + timedelta(hours=hour)
        if connector.due_rereads([(LEAD, MADE)], now, read):
            read[LEAD] = now
            due_at.append(hour)
    assert due_at == [1, 24, 72, 168, 504, 1104]
    assert connector.due_rereads([(LEAD, MADE)], MADE + timedelta(days=59), {}) == [
        LEAD
    ]  # missed ones are caught up once
    assert connector.due_rereads([(LEAD, MADE)], MADE + timedelta(days=61), {}) == []


def test_without_partner_access_nothing_is_due(thumbtack: Thumbtack) -> None:
    assert thumbtack.due_rereads([(LEAD, MADE)], NOW, {}) == []


def test_the_towns_pushes_are_all_understood_and_the_test_button_makes_no_lead(
    connected: Connected, serve: Serve
) -> None:
    headers = {"authorization": f"Bearer {_access(connected)}"}
    root = connected.options.base_url
    answer = httpx.post(f"{root}/api/v4/businesses/{BUSINESS}/webhooks/test-negotiation", headers=headers)
    assert answer.status_code == 200
    landed, aside = set(), 0
    for push in connected.sandbox.pushes():
        request = pushed(push.body, push.tail, headers=push.sign(""))
        assert connected.connector.accept(request).answer.status == 200
        received = connected.connector.receive(request)
        landed |= set(ids(received))
        aside += len(received.quarantine)
    assert landed == {(stream, record_id) for _, stream, record_id, _ in connected.sandbox.records()}
    assert aside == 1


def _access(connected: Connected) -> str:
    connected.connector.check()
    assert connected.vault.tokens
    return connected.vault.tokens.access_token


def test_sandbox_keeps_webhooks_and_writes_in_its_ledger(connected: Connected) -> None:
    api = httpx.Client(
        base_url=connected.options.base_url + "/api/v4", headers={"authorization": f"Bearer {_access(connected)}"}
    )
    hook = {"webhookURL": "https://x.example/", "eventTypes": ["NegotiationCreatedV4"], "auth": {"username": "u"}}
    made = api.post(f"/businesses/{BUSINESS}/webhooks", json=hook).json()
    assert made["authType"] == "Basic"
    assert api.get(f"/businesses/{BUSINESS}/webhooks/{made['webhookID']}").json() == made
    assert api.post("/users/webhooks", json={**hook, "webhookURL": "http://x.example/"}).status_code == 400
    assert api.delete(f"/businesses/{BUSINESS}/webhooks/{made['webhookID']}").status_code == 204
    sent = api.post(f"/negotiations/{LEAD}/messages", json={"text": "On our way"}).json()
    assert api.get(f"/negotiations/{LEAD}/messages").json()["data"][0] == sent
    assert api.post(f"/negotiations/{LEAD}/messages", json={"text": ""}).status_code == 400
    assert api.post(f"/negotiations/{LEAD}/job-status", json={"jobStatus": "job_complete"}).status_code == 200
    assert [entry["kind"] for entry in connected.sandbox.world.ledger] == [
        "webhook", "webhook_deleted", "message", "job_status",
    ]  # fmt: skip


# ---- files ----


def test_a_hand_made_file_becomes_leads_by_its_column_names(thumbtack: Thumbtack) -> None:
    rows = [
        {"Lead ID": LEAD, "Customer name": "Ruth Alvarez", "Lead date": "2/9/2026 3:05 PM", "Lead price": "$25.00"},
        {"Lead ID": "5.61235E+17", "Customer name": "Al", "Lead date": "02/09/2026", "Lead price": ""},
        {"Lead ID": "", "Customer name": "", "Lead date": "", "Lead price": " "},
    ]
    [page] = thumbtack.read_export(iter(rows), mapping={})
    whole, rounded = page.records
    assert whole.record_id == LEAD
    assert whole.occurred_at == datetime(2026, 2, 9, 15, 5, tzinfo=UTC)
    assert rounded.record_id.startswith("sha256:")  # a spreadsheet has eaten the id's digits
    assert rounded.occurred_at == datetime(2026, 2, 9, 12, tzinfo=UTC)
    assert json.loads(bytes(whole.payload))["columns"] == rows[0]


def test_a_file_that_names_nobody_or_a_mapping_that_does_not_fit_is_refused_in_words(thumbtack: Thumbtack) -> None:
    with pytest.raises(ConfigError, match="Colour"):
        list(thumbtack.read_export(iter([{"Colour": "red"}]), mapping={}))
    with pytest.raises(ConfigError, match="name=Kunde"):
        list(thumbtack.read_export(iter([{"Name": "Ruth"}]), mapping={"name": "Kunde"}))
    [page] = thumbtack.read_export(iter([{"Kunde": "Ruth"}]), mapping={"name": "Kunde"})
    assert json.loads(bytes(page.records[0].payload))["name"] == "Ruth"


# ---- staging ----

A, B, C, D, E, F = (str(561234567890123457 + n) for n in range(6))
OTHER = {"customerID": "345678901234567899", "firstName": "Bo", "lastName": "Lund", "phone": "4805550111"}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    http = Http()
    connector = Thumbtack(OPTIONS, connection="ridgeline/thumbtack", http=http)
    bodies: list[Any] = [
        v4("NegotiationCreatedV4", v4_lead(A, leadPrice="$1,025.50")),
        # read again later, then an older push comes late
        v4("NegotiationCreatedV4", v4_lead(B, chargeState="Refunded"), at=NOW),
        v4("NegotiationCreatedV4", v4_lead(B, chargeState="Charged"), at=MADE),
        legacy_lead(C),
        {"leadID": C, "leadPrice": "$26.00", "chargeState": "Refunded"},
        {"leadID": C, "leadPrice": "$26.00", "chargeState": "Charged"},
        # one lead by both ways, and a customer with the same phone as another
        v4("NegotiationCreatedV4", v4_lead(D, customer={**OTHER, "customerID": "1"})),
        legacy_lead(D, customer={"customerID": "1", "name": "Bo Lund", "phone": "4805550111"}),
        v4("NegotiationCreatedV4", v4_lead(E, customer=OTHER)),
        v4("NegotiationCreatedV4", v4_lead(F, customer={"customerID": "2", "firstName": "Cy"}, status="active")),
        v4("MessageCreatedV4", v4_message("91")),
        v4("MessageCreatedV4", v4_message("92", **{"from": "Business"})),
        LEGACY_MESSAGE,
        LEGACY_REVIEW,
    ]
    landed = [
        Landed("ridgeline", "thumbtack", stream, record, "webhook", NOW + timedelta(minutes=n))
        for n, body in enumerate(bodies)
        for stream, record in connector.receive(pushed(body, at=NOW + timedelta(minutes=n))).records
    ]
    assert len(landed) == len(bodies)
    connection = staged(tmp_path_factory.mktemp("home"), landed, "staging.thumbtack")
    yield connection
    connection.close()
    http.close()


def lead(warehouse: duckdb.DuckDBPyConnection, lead_id: str, *columns: str) -> tuple[Any, ...]:
    query = f"select {', '.join(columns)} from staging.stg_thumbtack__leads where lead_id = ?"
    [row] = warehouse.execute(query, [lead_id]).fetchall()
    return row


def test_case_06_a_legacy_lead_is_the_same_record_as_a_v4_one(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = ("customer_id", "request_group_id", "created_at", "full_name", "phone_e164", "category", "category_id",
               "city", "zip_code", "business_id", "description")  # fmt: skip
    assert lead(warehouse, C, *columns) == lead(warehouse, A, *columns)
    assert lead(warehouse, C, "created_at") == (MADE.replace(tzinfo=None),)


def test_case_07_one_lead_by_two_ways_is_one_row(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, D, "full_name", "count(*) over ()") == ("Bo Lund", 1)


def test_case_08_ids_are_kept_digit_by_digit(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, "561234567890123457", "lead_id", "customer_id") == ("561234567890123457", CUSTOMER)


def test_case_09_money_is_cents_and_a_rate_keeps_its_unit(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, A, "gross_cost_cents", "estimate_cents", "estimate_per") == (102550, 15000, None)
    assert lead(warehouse, C, "estimate_cents", "estimate_per") == (25800, "hour")
    [(unpriced,)] = warehouse.execute(
        "select lead_price_cents from staging.base_thumbtack__leads where lead_id = ?", [C]
    ).fetchall()
    assert unpriced is None


def test_case_11_a_refunded_lead_costs_nothing_and_a_late_older_push_does_not_undo_it(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert lead(warehouse, B, "charge_state", "gross_cost_cents", "cost_cents") == ("Refunded", 2500, 0)
    assert lead(warehouse, C, "charge_state", "gross_cost_cents", "cost_cents") == ("Refunded", 2600, 0)
    assert lead(warehouse, E, "charge_state", "cost_cents") == ("Created", 2500)


def test_case_13_a_lead_without_phone_and_last_name_has_no_key_to_join_by(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert lead(warehouse, F, "full_name", "phone_e164", "phone_kind", "status_normalized") == (
        "Cy",
        None,
        None,
        "open",
    )


def test_case_14_and_15_a_phone_of_two_customers_is_a_proxy_and_no_other_is_called_real(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    """Identity must not merge by either kind alone; this layer tells it which is which."""
    assert lead(warehouse, D, "phone_kind") == lead(warehouse, E, "phone_kind") == ("proxy",)
    assert lead(warehouse, A, "phone_kind") == ("unknown",)


def test_case_20_free_text_is_no_appointment(warehouse: duckdb.DuckDBPyConnection) -> None:
    schedule, booked_for, lead_class = lead(warehouse, C, "schedule_text", "booked_for", "lead_class")
    assert schedule.startswith("Date: Tue")
    assert (booked_for, lead_class) == (None, "quote")


def test_case_21_text_is_kept_as_written(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Escaping is for whoever shows it: nothing may be lost or made safe here."""
    rows = dict(warehouse.execute("select message_id, text from staging.stg_thumbtack__messages").fetchall())
    assert rows["91"] == "Hi,\r\nis <b>Friday</b> ok?"


def test_messages_tell_who_wrote_and_when(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select message_id, direction, lead_id, sent_at from staging.stg_thumbtack__messages order by 1"
    sent_at = datetime(2026, 2, 10, 18, 2, 10)  # noqa: DTZ001  (the warehouse's timestamps are UTC without saying so)
    assert warehouse.execute(query).fetchall() == [
        ("71", "inbound", "299614694480093245", sent_at),
        ("91", "inbound", LEAD, sent_at),
        ("92", "outbound", LEAD, sent_at),
    ]


def test_case_23_a_rating_in_text_and_epoch_milliseconds_are_read(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select rating, created_at, lead_id, reviewer_name from staging.stg_thumbtack__reviews"
    made_at = datetime(2026, 2, 10, 18, 2, 10, 123000)  # noqa: DTZ001
    assert warehouse.execute(query).fetchall() == [(4, made_at, LEAD, "Ruth")]
