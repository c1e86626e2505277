"""Intake over a real socket and a real store: what is acknowledged is stored once, and only what is proven is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from connectors.base import Connector, Secret, WebhookRequest
from connectors.http import Http, basic
from connectors.hubspot.webhooks import signature as hubspot_signature
from connectors.mail import sign as sign_mail
from connectors.registry import CONNECTORS, connector_class, sandbox_provider
from connectors.sandbox.facts import Town
from connectors.sandbox.provider import Push, SandboxProvider, World
from connectors.sandbox.town import make_town
from connectors.twilio.signature import signature as twilio_signature
from pipeline.desk.caps import Caps
from pipeline.desk.intake import CachedConnectors, intake_app
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import inbox
from pipeline.store.engine import open_store
from tests.intakes import Desk, desks, signed, submission
from tests.todays_town import small_town

PUSHING = [name for name in CONNECTORS if connector_class(name).accept is not Connector.accept]
MAX_BODY = Caps().body

# ---- a town, its connectors, and an intake on a socket ----


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(**small_town())


@pytest.fixture(scope="module")
def providers(town: Town) -> dict[str, SandboxProvider]:
    world = World(town.seed)
    return {name: sandbox_provider(name)(town, world) for name in PUSHING}


@pytest.fixture(scope="module")
def http() -> Iterator[Http]:
    client = Http()
    yield client
    client.close()


@pytest.fixture(scope="module")
def connectors(town: Town, providers: Mapping[str, SandboxProvider], http: Http) -> dict[tuple[str, str], Connector]:
    made = {}
    for client in town.clients:
        for name, provider in providers.items():
            cls = connector_class(name)
            options = cls.Options(**provider.connection(client, f"http://127.0.0.1:1/{name}"))
            made[client.client_id, name] = cls(options, connection=f"{client.client_id}/{name}", http=http)
    return made


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with desks(tmp_path) as start:
        yield start


@pytest.fixture
def desk(desk_of: Callable[..., Desk], connectors: Mapping[tuple[str, str], Connector]) -> Desk:
    return desk_of(connectors)


def one_of_each_kind(provider: SandboxProvider) -> list[Push]:
    """The first push of each way a provider has of pushing."""
    return list({(push.tail, push.method): push for push in provider.pushes()}.values())


# ---- stored, then answered ----

JSON_SUCCESS = (200, b'{"status":"success"}', "application/json")
ANSWERS = {
    "angi": {JSON_SUCCESS},
    "twilio": {
        (200, b'<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml"),
        (204, b"", "text/plain; charset=utf-8"),
    },
}


@pytest.mark.parametrize("name", PUSHING)
def test_a_webhook_is_stored_when_its_provider_is_answered_as_it_expects(
    desk: Desk, providers: Mapping[str, SandboxProvider], name: str
) -> None:
    pushes = one_of_each_kind(providers[name])
    answers = set()
    for stored, push in enumerate(pushes, 1):
        answer = desk.send(push, name)
        assert len(desk.rows()) == stored
        assert push.success in answer.content
        answers.add((answer.status_code, answer.content, answer.headers["content-type"]))
    assert answers == ANSWERS.get(name, {(200, b"", "text/plain; charset=utf-8")})
    kept = desk.rows()
    assert {(row["client_id"], row["provider"], row["state"]) for row in kept} == {
        (push.client_id, name, "stored") for push in pushes
    }
    assert [row["body"] for row in kept] == [push.body for push in pushes]


@pytest.mark.parametrize("name", PUSHING)
def test_what_is_stored_means_the_same_as_what_came(
    connectors: Mapping[tuple[str, str], Connector], providers: Mapping[str, SandboxProvider], name: str
) -> None:
    count = 0
    for push in providers[name].pushes():
        url = f"https://hooks.example/webhooks/{push.client_id}/{name}{push.tail}"
        came = WebhookRequest(url, push.sign(url), push.body, datetime.now(UTC), push.method, push.tail)
        connector = connectors[push.client_id, name]
        connector.accept(came)
        understood = connector.receive(came)
        assert understood.records or understood.refetch or understood.quarantine
        assert connector.receive(connector.kept(came)) == understood
        count += 1
    assert count > 0


# ---- who is not proven ----


@pytest.mark.parametrize("name", PUSHING)
def test_b1_an_unproven_webhook_gets_401_and_nothing_is_stored(
    desk: Desk, town: Town, providers: Mapping[str, SandboxProvider], name: str
) -> None:
    push = next(push for push in providers[name].pushes() if push.client_id == town.clients[0].client_id)
    ours, theirs = (client.client_id for client in town.clients)
    url, headers = desk.url(ours, name, push.tail), dict(push.sign(desk.url(ours, name, push.tail)))
    proofs = {"signature", "authorization", "x-api-key"}
    bare = {key: value for key, value in headers.items() if not any(proof in key for proof in proofs)}
    wrong = {
        key: value[:-6] + "AAAAA=" if any(proof in key for proof in proofs) else value for key, value in headers.items()
    }
    odd = {**bare, **{key: "\xff\xfe" for key in headers.keys() - bare.keys()}}
    assert bare != headers != wrong
    endless = {key: value if key == "content-type" else "9" * 5000 for key, value in headers.items()}
    elsewhere = desk.url(theirs, name, push.tail)
    attempts = [
        (url, bare),
        (url, wrong),
        (url, {key: value.encode("latin-1") for key, value in odd.items()}),
        (url, endless),
        (elsewhere, dict(push.sign(elsewhere))),  # proven, but by another client's secret
        (desk.url("nobody-we-know", name, push.tail), headers),
        (desk.url(ours, "search_console"), headers),
        (desk.url(ours, "no_such_provider"), headers),
    ]
    answers = [httpx.request(push.method, to, content=push.body, headers=sent) for to, sent in attempts]
    assert [answer.status_code for answer in answers] == [401] * len(attempts)
    assert desk.rows() == []
    # the answers do not tell which clients exist
    assert len({(answer.content, *(answer.headers.keys() - {"date"})) for answer in answers}) == 1


@pytest.mark.parametrize("name", sorted(set(PUSHING) - {"thumbtack", "angi"}))
def test_b1_a_changed_body_is_refused(desk: Desk, providers: Mapping[str, SandboxProvider], name: str) -> None:
    push = next(iter(providers[name].pushes()))
    url = desk.url(push.client_id, name, push.tail)
    changed = push.body.replace(b"1", b"2", 1)
    assert changed != push.body
    answer = httpx.request(push.method, url, content=changed, headers=dict(push.sign(url)))
    assert (answer.status_code, desk.rows()) == (401, [])


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_b13_other_methods_get_405_whether_or_not_the_client_exists(desk: Desk, town: Town, method: str) -> None:
    paths = [desk.url(town.clients[0].client_id, "forms"), desk.url("nobody", "forms")]
    answers = [httpx.request(method, path) for path in paths]
    assert [answer.status_code for answer in answers] == [405, 405]
    assert answers[0].content == answers[1].content
    assert httpx.request("POST", f"{desk.origin}/elsewhere").status_code == 404


# ---- bodies ----


@pytest.fixture
def form(http: Http) -> Connector:
    cls = connector_class("forms")
    return cls(cls.Options(secret=Secret("the-site-signs")), connection="ridgeline/forms", http=http)


@pytest.fixture
def forms_desk(desk_of: Callable[..., Desk], form: Connector) -> Desk:
    return desk_of({("ridgeline", "forms"): form})


def test_b4_the_largest_body_is_taken_and_one_byte_more_is_not(forms_desk: Desk) -> None:
    body = submission(1, MAX_BODY - len(submission(1)))
    assert len(body) == MAX_BODY
    url = forms_desk.url("ridgeline", "forms")
    assert httpx.post(url, content=body, headers=signed(body)).status_code == 200
    more = body + b" "
    answer = httpx.post(url, content=more, headers=signed(more))
    assert answer.status_code == 413
    assert len(forms_desk.rows()) == 1


def test_b4_of_a_declared_10_mb_nothing_is_read(forms_desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", forms_desk.port), timeout=10) as connection:
        connection.sendall(
            b"POST /webhooks/ridgeline/forms HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n" + b"x" * 1000
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # ends: the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("declared", [True, False])
def test_b4_no_more_than_the_cap_is_read_of_a_body_that_never_ends(form: Connector, declared: bool) -> None:
    """At the ASGI boundary, where what is read can be counted."""
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/ridgeline/forms",
        "raw_path": b"/webhooks/ridgeline/forms",
        "query_string": b"",
        "headers": [(b"content-length", b"10485760")] if declared else [],
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    asyncio.run(intake_app(open_store("sqlite://"), lambda client, provider: [form])(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read == (0 if declared else MAX_BODY + 65_536)


def test_a_body_that_does_not_arrive_is_not_waited_for(desk_of: Callable[..., Desk], form: Connector) -> None:
    desk = desk_of({("ridgeline", "forms"): form}, caps=Caps(body_seconds=0.3))
    with socket.create_connection(("127.0.0.1", desk.port), timeout=10) as connection:
        connection.sendall(b"POST /webhooks/ridgeline/forms HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


MALFORMED = {
    "empty": b"",
    "cut off": b'{"name": "Ann',
    "not JSON": b"<xml/>",
    "NaN": b'{"name": NaN, "value": Infinity}',
    "deep list": b"[" * 100_000,
    "deep list, closed": b"[" * 50_000 + b"]" * 50_000,
    "deep object": b'{"a":' * 100_000,
    "deep object, closed": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep inside": b'{"event":{"eventType":"x"},"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep in a list": b'[{"specversion":"1.0","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}]",
    "deep notification": b'{"eventNotifications":[' + b"[" * 50_000 + b"]" * 50_000 + b"]}",
    "duplicate keys": b'{"name": "a", "name": "b", "leadOid": 1, "leadOid": 2}',
    "invalid UTF-8": b'{"name": "\xff\xfe\x80", "leadOid": "1"}',
    "lone surrogate": b'{"name": "\\ud800", "leadOid": "\\ud800", "resource_id": "CAL\\ud800"}',
    "NUL": b'{"leadOid": "\\u0000", "submission_id": "a\\u0000b", "name": "A", "leadID": "\\u0000", "customer": {}}',
    "byte order mark": b'\xef\xbb\xbf{"name": "Ann", "leadOid": "7"}',
    "huge number": b'{"leadOid": ' + b"9" * 5000 + b', "resource_id": 1e999, "objectId": -0.0}',
    "long id": b'{"submission_id": "' + b"i" * 50_000 + b'", "name": "A", "leadOid": "' + b"i" * 50_000 + b'"}',
    "null": b"null",
    "a number": b"1",
    "a string": b'"text"',
    "lists everywhere": b'{"eventNotifications": [1], "event": [], "data": [], "leadOid": [], "name": [[[]]]}',
    "objects everywhere": b'{"eventNotifications": {}, "event": {}, "data": {}, "leadOid": {}, "name": {"a": {}}}',
    "odd events": b'[1, null, "x", [], {"subscriptionType": 5, "objectId": [], "portalId": {}}]',
    "odd times": b'{"event":{"eventType":"NegotiationCreatedV4","triggeredAt":"99999999999999999999"},'
    b'"data":{"negotiationID":"1","customer":{},"createdAt":-1e400}}',
    "form": b"MessageSid=%00&From=%ff%fe&=&&&;;MessageStatus=%F0%28%8C%28&a[b]=c",
    "form without end": b"&" * 200_000,
}


def signed_by(connector: Connector, url: str, body: bytes, content_type: str) -> dict[str, str]:
    """The proof each provider would send with this body."""
    options, name = connector.options, connector.provider
    if name == "callrail":
        digest = hmac.digest(options.signing_key.reveal().encode(), body, "sha1")
        proof = {"signature": base64.b64encode(digest).decode()}
    elif name == "hubspot":
        stamp = str(int(time.time() * 1000))
        given = hubspot_signature(options.client_secret, "POST", url, body, stamp)
        proof = {"x-hubspot-signature-v3": given, "x-hubspot-request-timestamp": stamp}
    elif name == "quickbooks":
        digest = hmac.digest(options.webhook_token.reveal().encode(), body, "sha256")
        proof = {"intuit-signature": base64.b64encode(digest).decode()}
    elif name == "thumbtack":
        proof = basic(options.webhook_user, options.webhook_password.reveal())
    elif name == "angi":
        proof = {"x-api-key": options.api_key.reveal()}
    elif name == "twilio":
        content_type = "application/x-www-form-urlencoded"
        request = WebhookRequest(url, {}, body, datetime.now(UTC))
        from connectors.twilio.signature import fields

        proof = {"x-twilio-signature": twilio_signature(url, fields(request), options.auth_token.reveal())}
    elif name == "mail":
        stamp = str(int(time.time()))
        given = sign_mail(options.secret.reveal(), stamp, body)
        proof = {"x-leadtrail-signature": given, "x-leadtrail-timestamp": stamp}
    else:
        proof = signed(body, options.secret.reveal())
    return {**proof, "content-type": content_type}


CONTENT_TYPES = {
    "forms": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff; a=b"]
}


@pytest.mark.parametrize("name", PUSHING)
def test_b5_proven_nonsense_is_stored_answered_and_never_breaks_its_reader(
    desk: Desk, town: Town, connectors: Mapping[tuple[str, str], Connector], name: str
) -> None:
    client = town.clients[0].client_id
    connector, url = connectors[client, name], desk.url(client, name)
    answers = {}
    with httpx.Client() as caller:
        for content_type in CONTENT_TYPES.get(name, ["application/json"]):
            for what, body in MALFORMED.items():
                headers = signed_by(connector, url, body, content_type)
                sent = {key: value.encode("latin-1") for key, value in headers.items()}
                answers[what, content_type] = caller.post(url, content=body, headers=sent).status_code
    assert {case: status for case, status in answers.items() if status not in (200, 204, 400)} == {}
    waiting = inbox.pending(desk.engine, client, name, limit=1000)
    assert len(waiting) >= len(MALFORMED) // 2
    for one in waiting:
        understood = connector.receive(one.request)
        assert isinstance(understood.quarantine, Sequence)


def test_b9_ten_deliveries_at_once_are_one_row_with_ten_receipts(
    desk: Desk, providers: Mapping[str, SandboxProvider]
) -> None:
    push = next(iter(providers["callrail"].pushes()))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: desk.send(push, "callrail").status_code, range(10)))
    assert answers == [200] * 10
    assert [row["receipts"] for row in desk.rows()] == [10]


# ---- what must not be kept ----


def stored_bytes(desk: Desk) -> bytes:
    return b"".join(path.read_bytes() for path in desk.store.parent.glob(desk.store.name + "*"))


@pytest.mark.parametrize("name", PUSHING)
def test_no_proof_of_origin_is_stored(
    desk: Desk, town: Town, connectors: Mapping[tuple[str, str], Connector], providers: Any, name: str
) -> None:
    push = next(iter(providers[name].pushes()))
    url = desk.url(push.client_id, name, push.tail)
    query = "?token=in-the-query&bodySHA256=" + hashlib.sha256(push.body).hexdigest()
    headers = {**push.sign(url + query), "Cookie": "session=canary-cookie", "X-Anything": "canary-header"}
    answer = httpx.request(push.method, url + query, content=push.body, headers=headers)
    if name == "hubspot":  # it signs the address it was given at its own: without our query
        answer = desk.send(push, name)
    assert answer.status_code < 300
    kept = desk.rows()[0]
    assert set(json.loads(kept["headers"])) <= {"content-type", "x-event-id"}
    proofs = [
        value
        for key, value in headers.items()
        if key in ("authorization", "x-api-key") or ("signature" in key and not key.endswith("-version"))
    ]
    assert proofs
    held = stored_bytes(desk)
    for secret in [*proofs, "canary-cookie", "canary-header", "in-the-query"]:
        assert secret.encode() not in held, secret
    for option in vars(connectors[push.client_id, name].options).values():
        if isinstance(option, Secret) and option:
            assert option.reveal().encode() not in held


def test_no_agreed_header_path_token_or_key_in_the_body_is_stored(desk_of: Callable[..., Desk], http: Http) -> None:
    proof = {"webhook_header": "X-Agreed", "webhook_header_value": Secret("canary-agreed")}
    thumbtack, angi, forms = (connector_class(name) for name in ("thumbtack", "angi", "forms"))
    desk = desk_of(
        {
            ("c", "thumbtack"): thumbtack(
                thumbtack.Options(**proof, path_token=Secret("canary path")), connection="c/thumbtack", http=http
            ),
            ("c", "angi"): angi(angi.Options(body_key=Secret("canary-body")), connection="c/angi", http=http),
            ("d", "angi"): angi(angi.Options(path_token=Secret("canary-path")), connection="d/angi", http=http),
            ("c", "forms"): forms(forms.Options(path_token=Secret("canary-path")), connection="c/forms", http=http),
        }
    )
    lead = {"leadOid": "77", "firstName": "Ann", "spEntityId": 5}
    sent = [
        ("c", "thumbtack", "/canary%20path", {"leadID": "1", "customer": {}}, {"X-Agreed": "canary-agreed"}),
        ("c", "angi", "", {**lead, "crmKey": "canary-body"}, {}),
        ("d", "angi", "/canary-path", lead, {}),
        ("c", "forms", "/canary-path", {"name": "Ann", "email": "ann@example.com"}, {}),
    ]
    for client, name, tail, body, headers in sent:
        assert httpx.post(desk.url(client, name, tail), json=body, headers=headers).status_code == 200
        refused = httpx.post(desk.url(client, name), json={**body, "crmKey": "no"}, headers=headers)
        assert refused.status_code == 401
    assert b"canary" not in stored_bytes(desk)
    assert [row["tail"] for row in desk.rows()] == [""] * 4
    assert [row["url"] for row in desk.rows()] == [desk.url(client, name) for client, name, *_ in sent]
    assert b'"leadOid":"77"' in desk.rows()[1]["body"]


# ---- behind a proxy ----


def test_the_public_url_is_what_providers_sign_whatever_the_host_header_says(
    desk_of: Callable[..., Desk],
    connectors: Mapping[tuple[str, str], Connector],
    providers: Mapping[str, SandboxProvider],
) -> None:
    desk = desk_of(connectors, public_url="https://hooks.agency.example")
    for name in ("twilio", "hubspot"):
        push = next(iter(providers[name].pushes()))
        path = f"/webhooks/{push.client_id}/{name}{push.tail}"
        for base, status in (("https://hooks.agency.example", 2), ("https://evil.example", 4), (desk.origin, 4)):
            headers = {**push.sign(base + path), "host": base.partition("//")[2]}
            answer = httpx.post(desk.origin + path, content=push.body, headers=headers)
            assert answer.status_code // 100 == status, (name, base)


# ---- the clients file and secrets, as they change ----

CLIENTS = """
clients:
  - {client_id: ridgeline, timezone: America/Chicago, owner: dana, connections: {
      forms: {secret: %s}, callrail: {account_id: ACC1, api_key: "${KEY}", signing_key: "${NOT_SET}"}}}
"""


@pytest.fixture
def office(tmp_path: Path) -> Office:
    settings = {
        "LEADTRAIL_HOME": str(tmp_path / "home"),
        "LEADTRAIL_CLIENTS_FILE": str(tmp_path / "clients.yaml"),
        "LEADTRAIL_SECRETS_FILE": str(tmp_path / "secrets.env"),
    }
    (tmp_path / "secrets.env").touch(0o600)
    (tmp_path / "secrets.env").write_text("FORM=the-site-signs\nOLD=the-old-one\nKEY=k\n")
    return Office(Settings.from_env(settings))


class Watched:
    """The intake's connectors by the clients file, looked at anew at every call."""

    def __init__(self, office: Office) -> None:
        self.ticks = 0.0
        self.cached = CachedConnectors(office.webhook_connectors, office.version, clock=self._tick)

    def _tick(self) -> float:
        self.ticks += 1000.0
        return self.ticks

    def __call__(self, client: str, provider: str) -> Sequence[Connector]:
        return self.cached(client, provider)


def post(desk: Desk, number: int, secret: str = "the-site-signs", provider: str = "forms") -> httpx.Response:
    body = submission(number)
    return httpx.post(desk.url("ridgeline", provider), content=body, headers=signed(body, secret))


def test_a_broken_clients_file_pauses_and_says_why_until_it_is_mended(
    office: Office, desk_of: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    file = office.settings.clients_file
    desk = desk_of(Watched(office))
    with caplog.at_level(logging.ERROR):
        missing = post(desk, 1)
        file.write_text('clients: [\n - {client_id: "canary-secret\n')
        broken = post(desk, 1)
    for answer in (missing, broken):
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert str(file) not in answer.text
    assert desk.rows() == []
    assert f"There is no clients file at {file}" in caplog.text
    assert f"{file}, line" in caplog.text
    assert "canary-secret" not in caplog.text

    file.write_text(CLIENTS % '"${FORM}"')
    assert post(desk, 1).status_code == 200, "mended without a restart"
    file.write_text("clients: [")
    with caplog.at_level(logging.ERROR):
        assert post(desk, 2).status_code == 200, "what was right before stays in force while someone is typing"
    assert "settings as they were before stay in force" in caplog.text


def test_a_missing_secret_pauses_its_own_connection_only(
    office: Office, desk_of: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    office.settings.clients_file.write_text(CLIENTS % '"${FORM}"')
    desk = desk_of(Watched(office))
    with caplog.at_level(logging.ERROR):
        paused = post(desk, 1, provider="callrail")
    assert (paused.status_code, int(paused.headers["retry-after"]) > 0) == (503, True)
    assert "secret NOT_SET was not found" in caplog.text
    assert "the-site-signs" not in caplog.text
    assert post(desk, 1).status_code == 200
    office.workshop.sealed.put("NOT_SET", "found", datetime.now(UTC))
    assert post(desk, 1, provider="callrail").status_code == 401, "stored since: it can be checked now"


def test_b3_old_and_new_secret_are_good_while_both_are_named_and_then_the_new_one_only(
    office: Office, desk_of: Callable[..., Desk]
) -> None:
    file = office.settings.clients_file
    desk = desk_of(Watched(office))
    file.write_text(CLIENTS % '"${OLD}"')
    assert [post(desk, 1, secret).status_code for secret in ("the-old-one", "the-site-signs")] == [200, 401]
    file.write_text(CLIENTS % '["${FORM}", "${OLD}"]')
    assert [post(desk, 2, secret).status_code for secret in ("the-old-one", "the-site-signs")] == [200, 200]
    assert post(desk, 2, "neither").status_code == 401
    file.write_text(CLIENTS % '"${FORM}"')
    assert [post(desk, 3, secret).status_code for secret in ("the-old-one", "the-site-signs")] == [401, 200]
    assert [row["receipts"] for row in desk.rows()] == [1, 2, 1]


# ---- a store that fails ----


def test_b11_a_full_store_is_answered_503_and_recovers(forms_desk: Desk) -> None:
    """SQLite's own "database or disk is full", by its page limit."""
    limit = 0

    def small(connection: Any, _: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={limit or 1_073_741_823}")

    event.listen(forms_desk.engine, "connect", small)
    assert post(forms_desk, 0).status_code == 200
    limit = 1
    forms_desk.engine.dispose()
    body = submission(1, 100_000)
    url = forms_desk.url("ridgeline", "forms")
    full = httpx.post(url, content=body, headers=signed(body))
    assert (full.status_code, int(full.headers["retry-after"]) > 0) == (503, True)
    limit = 0
    forms_desk.engine.dispose()
    assert httpx.post(url, content=body, headers=signed(body)).status_code == 200
    assert [row["body"] for row in forms_desk.rows()] == [submission(0), body]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_b11_on_a_full_disk_nothing_is_acknowledged_that_is_not_stored(small_disk: Path, form: Connector) -> None:
    filler = small_disk / "filler"
    desk = Desk(small_disk / "store.db", lambda client, provider: [form])
    try:
        filler.write_bytes(b"x" * 1_000_000)
        url, acknowledged, statuses = desk.url("ridgeline", "forms"), [], []
        for number in range(40):
            body = submission(number, 40_000)
            statuses.append(httpx.post(url, content=body, headers=signed(body)).status_code)
            if statuses[-1] == 200:
                acknowledged.append(body)
            if statuses[-1] == 503 and filler.exists():
                filler.unlink()
        assert set(statuses) == {200, 503}
        assert statuses[statuses.index(503) + 1] == 200, "it recovers as soon as there is space"
        assert [row["body"] for row in desk.rows()] == acknowledged
    finally:
        desk.stop()
