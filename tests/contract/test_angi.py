"""Angi's contract: the answer that Angi takes for a yes, keys, shapes, and what staging makes of a lead."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest

from connectors.angi import Angi, AngiOptions
from connectors.base import Secret, SignatureError, WebhookRequest
from connectors.http import Http
from connectors.sandbox.angi import ACCEPT, SandboxAngi
from connectors.sandbox.facts import Address, AngiLead, Client, Person, Town
from tests.conftest import NOW, Served
from tests.warehouse import Landed, staged

OPTIONS = AngiOptions(api_key=Secret("k" * 160), sp_entity_ids=("12345678",))
HEADERS = {"content-type": "application/json", "accept": ACCEPT, "x-api-key": "k" * 160}
Serve = Callable[..., Served]


def payload(**changes: Any) -> dict[str, Any]:
    """The documented shape of an Angi Leads push; None as a change leaves the key out."""
    full = {
        "name": "Ruth Alvarez",
        "firstName": "Ruth",
        "lastName": "Alvarez",
        "address": "12 Oak St",
        "city": "Mesa",
        "stateProvince": "AZ",
        "postalCode": "02139",
        "primaryPhone": "3031234567",
        "phoneExt": "12",
        "secondaryPhone": "3037654321",
        "secondaryPhoneExt": "",
        "email": "Ruth@Example.com",
        "srOid": 182345678,
        "leadOid": 557890123,
        "fee": 41.37,
        "taskName": "Furnace - Repair",
        "comments": "Strange noise, want it soon",
        "matchType": "Lead",
        "leadDescription": "Standard",
        "leadSource": "HomeAdvisor",
        "spEntityId": 12345678,
        "spCompanyName": "Mesa Furnace Co",
        "crmKey": "tenant-key",
        "contactStatus": "Not Contacted",
        "primaryPhoneDetails": {"maskedNumber": False},
        "trustedFormUrl": "https://cert.trustedform.com/1",
        "automatedContactCompliant": True,
        "automatedContactConsentId": "6f0c",
        "interview": [{"question": "What kind?", "answer": "Gas"}, {"question": "What kind?", "answer": "Old"}],
        **changes,
    }
    return {key: value for key, value in full.items() if value is not None}


ADS = {
    "FirstName": "Ruth",
    "LastName": "Alvarez",
    "PhoneNumber": "3031234567",
    "Email": "ruth@example.com",
    "Description": "Furnace is loud",
    "PostalAddress": {"AddressFirstLine": "12 Oak St", "City": "Mesa", "State": "AZ", "PostalCode": "85201"},
    "ALAccountId": "77",
}


def pushed(body: Any, *, headers: Mapping[str, str] = HEADERS, tail: str = "", at: datetime = NOW) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest("https://leads.example/webhooks", headers, raw, at, tail=tail)


def angi(http: Http, options: AngiOptions = OPTIONS) -> Angi:
    return Angi(options, connection="ridgeline/angi", http=http)


def taken(connector: Angi, request: WebhookRequest) -> bool:
    try:
        connector.accept(request)
    except SignatureError:
        return False
    return True


# ---- answers ----


def test_case_01_a_lead_with_the_right_key_gets_exactly_the_answer_angi_waits_for(http: Http) -> None:
    answer = angi(http).accept(pushed(payload())).answer
    assert (answer.status, answer.content_type, answer.body) == (200, "application/json", b'{"status":"success"}')


def test_case_02_the_legacy_answer_has_the_success_text_and_our_id(http: Http) -> None:
    legacy = angi(http, replace(OPTIONS, reply="legacy"))
    assert legacy.accept(pushed(payload())).answer.body == b"<success>557890123</success>"


@pytest.mark.parametrize(
    ("options", "headers", "tail", "body", "expected"),
    [
        (OPTIONS, {"x-api-key": "wrong"}, "", payload(), False),
        (OPTIONS, {}, "", payload(), False),
        (OPTIONS, {}, "/tail", payload(), False),
        (AngiOptions(), HEADERS, "", payload(), False),
        (AngiOptions(body_key=Secret("tenant-key")), {}, "", payload(), True),
        (AngiOptions(body_key=Secret("other")), {}, "", payload(), False),
        (AngiOptions(body_key=Secret("tenant-key")), {}, "", b"{", False),
        (AngiOptions(path_token=Secret("tail")), {}, "/tail", payload(), True),
        (AngiOptions(path_token=Secret("tail")), {}, "", payload(), False),
        (replace(OPTIONS, path_token=Secret("tail")), {}, "/tail", payload(), True),
        (replace(OPTIONS, path_token=Secret("tail")), {"x-api-key": "wrong"}, "/tail", payload(), False),
    ],
)
def test_case_03_one_key_must_be_right_and_none_may_be_wrong(
    http: Http, options: AngiOptions, headers: Mapping[str, str], tail: str, body: Any, expected: bool
) -> None:
    assert taken(angi(http, options), pushed(body, headers=headers, tail=tail)) is expected


def test_case_04_in_test_mode_a_push_without_a_key_is_answered_and_put_aside(http: Http) -> None:
    trying = angi(http, replace(OPTIONS, test_mode=True))
    request = pushed(payload(), headers={"accept": ACCEPT})
    assert trying.accept(request).answer.body == b'{"status":"success"}'
    received = trying.receive(request)
    assert not received.records
    assert "test mode" in received.quarantine[0][0]
    assert not taken(trying, pushed(payload(), headers={"x-api-key": "wrong"}))
    assert not taken(angi(http, AngiOptions(test_mode=True)), request)  # nobody has set it up yet
    assert "put aside" in trying.check().message


def test_case_05_content_type_and_accept_do_not_matter(http: Http) -> None:
    for headers in ({"x-api-key": "k" * 160}, {**HEADERS, "content-type": "text/plain; charset=latin-1"}):
        assert angi(http).accept(pushed(payload(), headers=headers)).answer.status == 200


def test_case_06_retries_of_a_lead_have_one_key(http: Http) -> None:
    keys = {angi(http).accept(pushed(payload(), at=NOW + timedelta(minutes=15 * n))).dedupe_key for n in range(3)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    "body", [{"hello": 1}, [1, 2], "text", 7, None, {"leadOid": "", "srOid": 1}, {"leadOid": {"a": 1}}]
)
def test_case_07_a_body_of_no_known_shape_is_answered_with_success_and_put_aside(http: Http, body: Any) -> None:
    request = pushed(json.dumps(body).encode())
    assert angi(http).accept(request).answer.body == b'{"status":"success"}'
    received = angi(http).receive(request)
    assert not received.records
    assert received.quarantine[0][1] == request.body


@pytest.mark.parametrize("body", [b"", b'{"leadOid": 1', b"\xff\xfe", b"[" * 100_000])
def test_case_08_broken_json_is_answered_400_and_kept(http: Http, body: bytes) -> None:
    assert angi(http).accept(pushed(body)).answer.status == 400
    assert angi(http).receive(pushed(body)).quarantine[0][1] == body


def test_case_09_an_id_is_the_same_as_number_and_as_text(http: Http) -> None:
    number, text = pushed(payload()), pushed(payload(leadOid="557890123", srOid="182345678"))
    assert angi(http).accept(number).dedupe_key == angi(http).accept(text).dedupe_key
    for request in (number, text):
        [(_, record)] = angi(http).receive(request).records
        assert (record.record_id, record.occurred_at) == ("557890123", NOW)


def test_a_lead_sent_again_with_more_in_it_is_news_of_the_same_lead(http: Http) -> None:
    poor, rich = pushed(payload(email=None)), pushed(payload())
    assert angi(http).accept(poor).dedupe_key != angi(http).accept(rich).dedupe_key
    assert len({angi(http).receive(request).records[0][1].record_id for request in (poor, rich)}) == 1


def test_case_16_the_tenants_key_is_not_in_what_is_kept(http: Http) -> None:
    odd = b'{"leadOid": 1, "crmKey" : "tenant\\"-key", "comments": "x"}'
    for body in (json.dumps(payload()).encode(), odd, b'{"crmKey": "tenant-key", "x": 1}', b'{"crmKey": "tenant-key",'):
        received = angi(http).receive(pushed(body))
        kept = [bytes(record.payload) for _, record in received.records] + [raw for _, raw in received.quarantine]
        assert kept
        assert all(b"tenant" not in one and b"key" not in one.replace(b'"crmKey"', b"") for one in kept)
    [(_, record)] = angi(http).receive(pushed(odd)).records
    assert bytes(record.payload) == odd.replace(b'"tenant\\"-key"', b'"***"')


def test_case_19_the_ads_shape_has_its_own_answer_and_a_key_for_the_day(http: Http) -> None:
    request = pushed(ADS)
    assert angi(http).accept(request).answer.body == b'{"message":"success"}'
    again, tomorrow = pushed(ADS, at=NOW + timedelta(minutes=45)), pushed(ADS, at=NOW + timedelta(days=1))
    assert angi(http).accept(request).dedupe_key == angi(http).accept(again).dedupe_key
    assert angi(http).accept(request).dedupe_key != angi(http).accept(tomorrow).dedupe_key
    assert angi(http).receive(request).records[0][1].record_id.startswith("ads:")


def test_a_lead_of_another_angi_account_is_answered_and_put_aside(http: Http) -> None:
    request = pushed(payload(spEntityId=999))
    assert angi(http).accept(request).answer.status == 200
    received = angi(http).receive(request)
    assert not received.records
    assert "not one of this client's" in received.quarantine[0][0]


def test_check_says_what_to_set(http: Http) -> None:
    assert angi(http).check().ok
    assert not angi(http, AngiOptions()).check().ok


# ---- sandbox and file ----


def a_town() -> Town:
    client = Client(
        1, "ridgeline", "Ridgeline", "hvac", "America/Phoenix", "Mesa", "AZ", ("85201",), "480", "ridgeline.example",
        "+14805550110", "+14805550111", (), (), NOW,
    )  # fmt: skip
    address = Address("1 Oak", "Mesa", "AZ", "85201")
    person = Person(1, "p1", "ridgeline", "Ruth", "Alvarez", ["+13031234567"], ["r@example.com"], address, "h")
    town = Town(7, NOW - timedelta(days=60), NOW, [client], people=[person])
    for n in range(1, 15):
        at = NOW - timedelta(days=n)
        town.angi_leads.append(
            AngiLead(n, "ridgeline", "p1", "e1", at, at, 557890100 + n, 182345600 + n, "+13031234567", False,
                     "r@example.com", 4137, "Furnace - Repair", "Noise", "Lead", n % 2 == 0 or None, pushed=n != 3)
        )  # fmt: skip
    return town


def test_case_21_and_22_the_export_knows_the_lost_lead_and_reads_the_same_twice(serve: Serve, http: Http) -> None:
    """Which leads are missing is a difference of two streams; the task is made from it elsewhere."""
    served = serve(a_town(), SandboxAngi)
    sandbox = served.providers["angi"]
    connector = angi(http, AngiOptions(**sandbox.connection(served.town.clients[0], served.root("angi"))))
    pushed_ids = set()
    for push in sandbox.pushes():
        assert "user-agent" not in push.sign("")
        request = pushed(push.body, headers=push.sign(""))
        assert push.success in connector.accept(request).answer.body
        pushed_ids |= {record.record_id for _, record in connector.receive(request).records}
    assert pushed_ids == {record_id for _, _, record_id, _ in sandbox.records()}

    def imported() -> list[Any]:
        text = httpx.get(served.root("angi") + "/export.csv", params={"client": "ridgeline"}).text
        return [
            r for page in connector.read_export(csv.DictReader(io.StringIO(text)), mapping={}) for r in page.records
        ]

    first = imported()
    assert {record.record_id for record in first} - pushed_ids == {"557890103"}
    assert [(r.record_id, bytes(r.payload)) for r in imported()] == [(r.record_id, bytes(r.payload)) for r in first]
    read = json.loads(bytes(first[-1].payload))
    assert (read["name"], read["fee"], read["lead_id"]) == ("Ruth Alvarez", "$41.37", "557890101")


# ---- staging ----

MESSY = [{"fee": "41.37"}, {"fee": 41.37}, {"fee": "$41.37"}, {"fee": None}]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    http = Http()
    plain, reporting = angi(http), angi(http, replace(OPTIONS, call_reporting=True))
    bodies: list[tuple[Angi, Any]] = [
        (plain, payload(leadOid="full")),
        (reporting, payload(leadOid="reporting")),
        (plain, payload(leadOid="masked", primaryPhoneDetails={"maskedNumber": True})),
        (plain, payload(leadOid="bare", firstName=None, lastName=None, automatedContactCompliant=None,
                        primaryPhoneDetails=None, trustedFormUrl=None, trustedFormURL="https://cert/2", srOid=1,
                        matchType="market", email="none@none", name="Ruth de la Cruz")),
        (plain, payload(leadOid="refuses", automatedContactCompliant=False, srOid=2, matchType="exact")),
        (plain, payload(leadOid="booked", contactStatus="New Appt - Transferred", srOid=3)),
        (plain, ADS),
        *[(plain, payload(leadOid=f"fee{n}", srOid=10 + n, **one)) for n, one in enumerate(MESSY)],
    ]  # fmt: skip
    landed = [
        Landed("ridgeline", "angi", stream, record, "webhook")
        for connector, body in bodies
        for stream, record in connector.receive(pushed(body)).records
    ]
    assert len(landed) == len(bodies)
    rows = [
        {"Lead Number": "1", "Date": "02/01/2026", "Name": "Ruth", "Fee": "$41.37", "Credit": "-$41.37"},
        {"Lead Number": "2", "Date": "02/01/2026", "Name": "Al", "Fee": "$10.00", "Credit": ""},
    ]
    for number in range(2):  # the file is imported twice
        for page in plain.read_export(iter(rows), mapping={}):
            landed += [
                Landed("ridgeline", "angi", page.stream, record, "import", NOW + timedelta(days=number), segment=number)
                for record in page.records
            ]
    connection = staged(tmp_path_factory.mktemp("home"), landed, "staging.angi")
    yield connection
    connection.close()
    http.close()


def lead(warehouse: duckdb.DuckDBPyConnection, lead_id: str, *columns: str) -> tuple[Any, ...]:
    query = f"select {', '.join(columns)} from staging.stg_angi__leads where lead_id = ?"
    [row] = warehouse.execute(query, [lead_id]).fetchall()
    return row


def test_case_10_a_lone_name_is_split_and_said_to_be_guessed(warehouse: duckdb.DuckDBPyConnection) -> None:
    columns = ("full_name", "given_name", "family_name", "name_parts_source")
    assert lead(warehouse, "bare", *columns) == ("Ruth de la Cruz", "Ruth", "de la Cruz", "guessed")
    assert lead(warehouse, "full", *columns) == ("Ruth Alvarez", "Ruth", "Alvarez", "given")


def test_case_11_consent_is_yes_no_or_unknown_and_never_assumed(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Whether a text may go out is decided from this column: only "yes" allows it."""
    found = [lead(warehouse, one, "consent_to_automated_contact")[0] for one in ("full", "refuses", "bare")]
    assert found == ["yes", "no", "unknown"]


def test_case_12_two_leads_of_one_request_stay_two_and_say_so(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, "full", "request_group_id", "is_repeated_request") == ("182345678", True)
    assert lead(warehouse, "masked", "request_group_id", "is_repeated_request") == ("182345678", True)
    assert lead(warehouse, "booked", "is_repeated_request") == (False,)


def test_case_13_old_and_new_match_types_are_one_class(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = [lead(warehouse, one, "lead_class")[0] for one in ("full", "bare", "refuses")]
    assert found == ["shared", "shared", "direct"]


def test_case_14_an_appointment_needs_no_first_call(warehouse: duckdb.DuckDBPyConnection) -> None:
    """The follow-up rule reads these two flags."""
    assert lead(warehouse, "booked", "lead_class", "is_appointment", "is_first_contact_made") == (
        "appointment",
        True,
        True,
    )
    assert lead(warehouse, "full", "is_appointment", "is_first_contact_made") == (False, False)


def test_case_15_a_fee_is_read_however_it_is_written(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = [lead(warehouse, f"fee{n}", "gross_cost_cents")[0] for n in range(len(MESSY))]
    assert found == [4137, 4137, 4137, None]


def test_case_17_interview_keeps_order_and_repeats(warehouse: duckdb.DuckDBPyConnection) -> None:
    [interview] = lead(warehouse, "full", "interview")
    assert [one["answer"] for one in json.loads(interview)] == ["Gas", "Old"]


def test_case_18_a_zip_keeps_its_leading_zero(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, "full", "zip_code") == ("02139",)


def test_case_19_the_ads_shape_is_mapped(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = """select full_name, phone_e164, street, zip_code, comments, branch_id, phone_kind
        from staging.stg_angi__leads where sub_source = 'angi_ads' or lead_id like 'ads:%'"""
    assert warehouse.execute(query).fetchall() == [
        ("Ruth Alvarez", "+13031234567", "12 Oak St", "85201", "Furnace is loud", "77", "unknown")
    ]


def test_case_20_a_credit_leaves_the_fee_and_takes_the_cost(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = (
        "select lead_id, gross_cost_cents, credit_cents, cost_cents from staging.stg_angi__imported_leads order by 1"
    )
    assert warehouse.execute(query).fetchall() == [("1", 4137, 4137, 0), ("2", 1000, None, 1000)]


def test_case_21_and_22_an_import_says_so_and_again_changes_nothing(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select distinct source_quality, received_at, created_at from staging.stg_angi__imported_leads"
    day = datetime(2026, 2, 1, 12)  # noqa: DTZ001  (the warehouse's timestamps are UTC without saying so)
    assert warehouse.execute(query).fetchall() == [("import", NOW.astimezone(UTC).replace(tzinfo=None), day)]


def test_case_23_both_spellings_of_the_certificate_are_one_field(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = [lead(warehouse, one, "consent_certificate_url")[0] for one in ("full", "bare")]
    assert found == ["https://cert.trustedform.com/1", "https://cert/2"]


def test_case_24_an_email_of_no_shape_is_kept_but_no_key(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert lead(warehouse, "bare", "email", "email_normalized") == ("none@none", None)
    assert lead(warehouse, "full", "email", "email_normalized") == ("Ruth@Example.com", "ruth@example.com")


def test_a_phone_is_real_only_when_angi_says_so_and_reports_no_calls(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = [lead(warehouse, one, "phone_kind")[0] for one in ("full", "masked", "reporting", "bare")]
    assert found == ["real", "proxy", "unknown", "unknown"]
    assert lead(warehouse, "masked", "secondary_phone_kind") == ("unknown",)
