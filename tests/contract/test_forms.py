"""Website forms: any field names, any encoding, one submission however often it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import httpx
import pytest

from connectors.base import Record, Secret, SignatureError, WebhookRequest
from connectors.forms import Forms, FormsOptions, sign
from connectors.http import Http
from connectors.sandbox.facts import Client, FormFill, Town
from connectors.sandbox.forms import SandboxForms
from tests.conftest import NOW, Served
from tests.warehouse import Landed, staged

OPTIONS = FormsOptions(secret=Secret("s3cret"))
FIELDS = {
    "name": "Ruth Alvarez",
    "email": "ruth@example.com",
    "phone": "(480) 555-0142",
    "message": "Leak!",
    "form_id": "q",
}
Serve = Callable[..., Served]


def posted(
    body: bytes | Mapping[str, Any],
    *,
    content_type: str = "application/json",
    at: datetime = NOW,
    headers: Mapping[str, str] = {},
    tail: str = "",
) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signed = {"content-type": content_type, "x-leadtrail-signature": sign("s3cret", raw), **headers}
    return WebhookRequest("https://leads.example/webhooks", signed, raw, at, tail=tail)


@pytest.fixture
def forms(http: Http) -> Forms:
    return Forms(OPTIONS, connection="ridgeline/forms", http=http)


def landed(forms: Forms, request: WebhookRequest) -> tuple[Record, dict[str, Any]]:
    [(stream, record)] = forms.receive(request).records
    assert stream == "submissions"
    return record, json.loads(bytes(record.payload))


def test_a_signed_post_is_taken_and_any_changed_byte_refused(forms: Forms) -> None:
    good = posted(FIELDS)
    assert forms.accept(good).answer.status == 200
    for bad in (
        replace(good, body=good.body.replace(b"Leak", b"leak")),
        replace(good, headers={"content-type": "application/json"}),
        replace(good, headers={**good.headers, "x-leadtrail-signature": sign("other", good.body)}),
    ):
        with pytest.raises(SignatureError):
            forms.accept(bad)


def test_a_path_token_proves_a_site_that_cannot_sign_and_none_configured_takes_nothing(http: Http) -> None:
    by_path = Forms(FormsOptions(path_token=Secret("tail")), connection="c", http=http)
    assert by_path.accept(posted(FIELDS, tail="/tail")).answer.status == 200
    for connector, tail in ((by_path, "/tai"), (by_path, ""), (Forms(FormsOptions(), connection="c", http=http), "")):
        with pytest.raises(SignatureError):
            connector.accept(posted(FIELDS, tail=tail))


def multipart(fields: list[tuple[str, str]], file: bytes = b"\x89PNG\r\n--not-a-boundary\xff") -> tuple[bytes, str]:
    request = httpx.Request(
        "POST", "http://x", files=[*((k, (None, v)) for k, v in fields), ("photo", ("roof.png", file, "image/png"))]
    )
    return request.read(), request.headers["content-type"]


def test_json_urlencoded_and_multipart_say_the_same(forms: Forms) -> None:
    encoded = str(httpx.QueryParams(FIELDS)).encode()
    form, form_type = multipart(list(FIELDS.items()))
    requests = [
        posted(FIELDS),
        posted(encoded, content_type="application/x-www-form-urlencoded; charset=UTF-8"),
        posted(form, content_type=form_type),
    ]
    read = []
    for request in requests:
        assert forms.accept(request).answer.status == 200
        _, payload = landed(forms, request)
        read.append({key: value for key, value in payload.items() if key != "fields"})
    assert read[0] == read[1] == read[2]
    assert read[0]["name"] == "Ruth Alvarez"
    assert landed(forms, requests[2])[1]["fields"]["photo"] == "roof.png"


def test_a_json_body_is_kept_byte_for_byte_inside_the_payload(forms: Forms) -> None:
    body = b'{ "name":"Ruth",\n  "phone" : "480 555 0142", "n": 1.50, "name2": "\\u00e9" }'
    record, _ = landed(forms, posted(body))
    assert b'"fields":' + body in bytes(record.payload)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"your-name": "Ruth", "your-email": "r@x.com"}, {"name": "Ruth", "email": "r@x.com"}),
        ({"First Name": "Ruth", "Last_Name": "A", "tel": "1"}, {"first_name": "Ruth", "last_name": "A", "phone": "1"}),
        (
            {"form": {"id": "7", "name": "Quote"}, "data": {"name": "Ruth", "email": "r@x.com"}},
            {"name": "Ruth", "form_id": "7", "email": "r@x.com"},
        ),
        ({"name": "Ruth", "service": ["Roof", "Gutter"]}, {"service": "Roof, Gutter"}),
        ({"name": "Ruth", "sms_consent": True}, {"consent": "true"}),
    ],
)
def test_common_field_names_are_recognised(forms: Forms, fields: dict[str, Any], expected: dict[str, str]) -> None:
    _, payload = landed(forms, posted(fields))
    assert {key: payload[key] for key in expected} == expected


def test_a_field_map_wins_over_recognition(http: Http) -> None:
    mapped = replace(OPTIONS, field_map={"phone": "contact.q17", "message": "nothing"})
    connector = Forms(mapped, connection="c", http=http)
    _, payload = landed(
        connector, posted({"name": "Ruth", "phone": "office", "message": "x", "contact": {"q17": "480"}})
    )
    assert (payload["phone"], payload["message"]) == ("480", None)
    health = Forms(replace(OPTIONS, field_map={"telephone": "x"}), connection="c", http=http).check()
    assert not health.ok
    assert "telephone" in health.message
    assert connector.check().ok


def test_a_robot_that_fills_the_hidden_field_is_answered_and_put_aside(http: Http) -> None:
    connector = Forms(replace(OPTIONS, honeypot="website"), connection="c", http=http)
    robot = posted({**FIELDS, "website": "http://spam"})
    assert connector.accept(robot).answer.status == 200
    assert not connector.receive(robot).records
    assert "robot" in connector.receive(robot).quarantine[0][0]
    assert connector.receive(posted({**FIELDS, "website": ""})).records


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
        (b"no parts", "multipart/form-data; boundary=x"),
        (b"no parts", "multipart/form-data"),
    ],
)
def test_a_broken_body_is_answered_400_and_kept(forms: Forms, body: bytes, content_type: str) -> None:
    request = posted(body, content_type=content_type)
    assert forms.accept(request).answer.status == 400
    assert forms.receive(request).quarantine[0][1] == body


def test_a_submission_that_says_nothing_known_is_put_aside_with_what_to_do(forms: Forms) -> None:
    received = forms.receive(posted({"q1": "a", "q2": "b"}))
    assert not received.records
    assert "field_map" in received.quarantine[0][0]


def test_an_event_id_decides_what_is_the_same(forms: Forms) -> None:
    one, other = {"x-event-id": "e1"}, {"x-event-id": "e2"}
    key = forms.accept(posted(FIELDS, headers=one)).dedupe_key
    assert key == forms.accept(posted(FIELDS, headers=one, at=NOW + timedelta(days=2))).dedupe_key
    assert key != forms.accept(posted(FIELDS, headers=other)).dedupe_key
    in_body = {**FIELDS, "submission_id": "12"}
    elsewhere = {**in_body, "form_id": "contact"}
    assert forms.accept(posted(in_body)).dedupe_key != forms.accept(posted(elsewhere)).dedupe_key
    assert landed(forms, posted(in_body))[0].record_id == "q:12"


def test_others_case_12_the_same_post_twice_in_seconds_is_one_event_and_another_after_a_day(forms: Forms) -> None:
    spaced = {**FIELDS, "message": " leak!  "}
    first = forms.accept(posted(FIELDS)).dedupe_key
    assert first == forms.accept(posted(spaced, at=NOW + timedelta(seconds=5))).dedupe_key
    assert first != forms.accept(posted(FIELDS, at=NOW + timedelta(days=1))).dedupe_key
    assert first != forms.accept(posted({**FIELDS, "message": "Roof!"})).dedupe_key
    assert first != forms.accept(posted({**FIELDS, "budget": "500"})).dedupe_key  # nothing a person typed is lost


def test_the_towns_sites_are_understood(serve: Serve, http: Http) -> None:
    town = Town(7, NOW - timedelta(days=9), NOW, [a_client(1), a_client(2)])
    for n, client in enumerate(town.clients, 1):
        for via in ("forms", "callrail"):
            town.forms.append(
                FormFill(n, client.client_id, "p", "e", NOW, NOW, via, "Ruth", "(480) 555-0142", "r@x.com", "Leak",
                         "Repair", "/quote", "google_paid", consent_to_text=True)
            )  # fmt: skip
    served = serve(town, SandboxForms)
    sandbox = served.providers["forms"]
    got = set()
    for push in sandbox.pushes():
        client = next(one for one in town.clients if one.client_id == push.client_id)
        connector = Forms(FormsOptions(**sandbox.connection(client, served.root("forms"))), connection="c", http=http)
        request = WebhookRequest("https://x", push.sign(""), push.body, NOW)
        connector.accept(request)
        record, payload = landed(connector, request)
        got.add((push.client_id, record.record_id))
        assert (payload["name"], payload["utm_source"], record.occurred_at) == ("Ruth", "google", NOW)
    assert got == {(client_id, record_id) for client_id, _, record_id, _ in sandbox.records()}
    assert len(got) == 2


def a_client(n: int) -> Client:
    return Client(
        n, f"client-{n}", "Ridgeline", "hvac", "America/Phoenix", "Mesa", "AZ", ("85201",), "480", "ridgeline.example",
        "+14805550110", "+14805550111", (), (), NOW,
    )  # fmt: skip


# ---- staging ----

URLS = {
    "https://x.example/quote?email=ruth%40x.com&utm_source=a": "https://x.example/quote?utm_source=a",
    "https://x.example/q?utm_source=email&Phone=480-555-0142": "https://x.example/q?utm_source=email",
    "https://x.example/q?a=1&who=ruth@x.com&b=2#top": "https://x.example/q?a=1&b=2#top",
    "https://x.example/thanks/ruth@x.com": "https://x.example/thanks/",
    "https://x.example/q?c=4805550142&d=%2B1480555-0142": "https://x.example/q",
    "https://x.example/q?gad_campaignid=21234567890&hotel=1": "https://x.example/q?gad_campaignid=21234567890&hotel=1",
    "https://x.example/q": "https://x.example/q",
}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    http = Http()
    forms = Forms(OPTIONS, connection="ridgeline/forms", http=http)
    border = datetime(2026, 3, 2, 17, 9, 58, tzinfo=UTC)  # two seconds before the clock's ten minutes end
    twice = {**FIELDS, "name": "Twice"}
    requests = [
        posted(twice, at=border),
        posted({**twice, "captcha": "another"}, at=border + timedelta(seconds=1)),
        posted(twice, at=border + timedelta(seconds=5)),
        posted(twice, at=border + timedelta(days=1)),
        *[posted({**FIELDS, "name": f"Url {n}", "page_url": url}) for n, url in enumerate(URLS)],
        *[posted({**FIELDS, "name": "Consent", "consent": said, "n": said}) for said in ("on", "No", "banana", "")],
        posted({**FIELDS, "name": "Same words"}, headers={"x-event-id": "e1"}),
        posted({**FIELDS, "name": "Same words"}, headers={"x-event-id": "e2"}),
        posted(
            {
                **FIELDS,
                "first_name": "Ruth",
                "last_name": "A",
                "name": None,
                "submitted_at": "2026-01-05T10:00:00-07:00",
            }
        ),
    ]
    kept = [
        Landed("ridgeline", "forms", stream, record, "webhook", request.received_at)
        for request in requests
        for stream, record in forms.receive(request).records
    ]
    assert len({one.record.record_id for one in kept}) == len(requests)
    connection = staged(tmp_path_factory.mktemp("home"), kept, "staging.forms")
    yield connection
    connection.close()
    http.close()


def test_others_case_12_a_double_click_across_the_clocks_border_is_one_submission(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    query = "select count(*), max(submitted_at) from staging.stg_forms__submissions where full_name = 'Twice'"
    assert warehouse.execute(query).fetchall() == [(2, datetime(2026, 3, 3, 17, 9, 58))]  # noqa: DTZ001


def test_submissions_with_ids_of_their_own_stay_apart(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select count(*) from staging.stg_forms__submissions where full_name = 'Same words'"
    assert warehouse.execute(query).fetchall() == [(2,)]


def test_others_case_13_stored_pages_name_no_visitor(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select page_url from staging.stg_forms__submissions where full_name like 'Url %' order by full_name"
    assert [row[0] for row in warehouse.execute(query).fetchall()] == list(URLS.values())


def test_consent_is_what_the_form_says_and_never_assumed(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = (
        "select consent_to_text, count(*) from staging.stg_forms__submissions where full_name = 'Consent' group by 1"
    )
    assert dict(warehouse.execute(query).fetchall()) == {"yes": 1, "no": 1, "unknown": 2}


def test_a_name_in_two_parts_and_a_local_time_are_read(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select submitted_at, phone_e164, email_normalized from staging.stg_forms__submissions where full_name = 'Ruth A'"
    made_at = datetime(2026, 1, 5, 17)  # noqa: DTZ001
    assert warehouse.execute(query).fetchall() == [(made_at, "+14805550142", "ruth@example.com")]
