"""QuickBooks' API over the town: one company (realm) for each client, with an app and a refresh token of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby
from typing import Any
from urllib.parse import unquote

import msgspec

from connectors.base import Secret
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, World
from connectors.sandbox.quickbooks.books import KINDS, Books, Row, facts_by_client
from connectors.sandbox.quickbooks.query import QueryError, parse
from connectors.sandbox.quickbooks.reading import ENTITIES, company_info, found, instant
from connectors.sandbox.quickbooks.tokens import Tokens
from connectors.sandbox.quickbooks.webhooks import Change, happenings, in_cloud_events, in_old_format

CAPTURE_LIMIT = 1000
CAPTURE_LOOKS_BACK = timedelta(days=30)
BATCH_LIMIT = 30


class Refused(Exception):
    """A fault: HTTP status, QuickBooks' code, its message, and the fault's type."""

    def __init__(self, status: int, code: str, message: str, detail: str = "", kind: str = "ValidationFault") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.detail, self.kind = status, code, message, detail or message, kind

    def fault(self) -> dict[str, Any]:
        return {"Error": [{"Message": self.message, "Detail": self.detail, "code": self.code}], "type": self.kind}


class _Item(msgspec.Struct):
    bId: str = ""
    Query: str = ""


class _Batch(msgspec.Struct):
    BatchItemRequest: list[_Item]


class SandboxQuickBooks(SandboxProvider):
    name = "quickbooks"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.tokens = Tokens(world)
        self.calls_per_minute: int | None = None  # the real limit is 500; off, so that large towns load at once
        self.calls: Counter[str] = Counter()  # by the last part of the path, for tests that count calls
        self._minute: Counter[tuple[str, int]] = Counter()
        self._books: dict[str, Books] = {}

    # ---- accounts ----

    def realm(self, client: Client) -> str:
        return f"9130{int(self.world.secret('quickbooks', 'realm')[:8], 16) % 10**8:08d}{client.n:04d}"

    @cached_property
    def _clients(self) -> dict[str, Client]:
        return {self.realm(client): client for client in self.town.clients}

    @cached_property
    def _facts(self) -> dict[str, dict[str, list[Any]]]:
        return facts_by_client(self.town)

    def app(self, client: Client) -> tuple[str, str]:
        secret = self.world.secret
        return "AB" + secret("quickbooks", "app", client.client_id), secret("quickbooks", "key", client.client_id)

    def verifier(self, client: Client) -> str:
        return self.world.secret("quickbooks", "verifier", client.client_id)

    def books(self, client_id: str) -> Books:
        if client_id not in self._books:
            client = next(one for one in self.town.clients if one.client_id == client_id)
            self._books[client_id] = Books(client, self._facts[client_id], self.realm(client))
        return self._books[client_id]

    def env(self, root: str) -> dict[str, str]:
        return {**super().env(root), "LEADTRAIL_QUICKBOOKS_TOKEN_URL": f"{root}/oauth2/v1/tokens/bearer"}

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        plain = self.credentials(client, root)
        secrets = {name: Secret(plain[name]) for name in ("client_secret", "refresh_token")}
        return {**plain, **secrets, "webhook_token": Secret(self.verifier(client))}

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        client_id, client_secret = self.app(client)
        realm = self.realm(client)
        return {
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_token": self.tokens.refresh_token(realm),
            "realm_id": realm,
        }

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for client in self.town.clients:
            shelves = self.books(client.client_id).shelves
            for stream, (entity, _) in KINDS.items():
                for row in shelves[entity].rows.values():
                    if not row.deleted:
                        yield client.client_id, stream, row.id, row.person_id

    # ---- routes ----

    def handle(self, request: Request) -> Reply:
        path = unquote(request.path).rstrip("/")
        if path == "/oauth2/v1/tokens/bearer":
            return self._token(request)
        if path == "/v2/oauth2/tokens/revoke":
            return self._revoke(request)
        if path.startswith("/.well-known/openid"):
            return _json(_discovery(request.root))
        version, company, realm, *rest = [*path.split("/")[1:], "", "", ""]
        rest = [part for part in rest if part]
        client = self._clients.get(realm)
        if (version, company) != ("v3", "company") or not rest:
            return Reply(404, b"<html><body>Not Found</body></html>", {"content-type": "text/html"})
        allowed = self.tokens.realm_of(request.headers.get("authorization", "").removeprefix("Bearer "))
        if not allowed:
            return self.error(401, request)
        self.calls[rest[0]] += 1
        try:
            if allowed != realm or client is None:
                raise Refused(403, "3100", "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403")
            self._meter(realm)
            if request.method not in ("GET", "POST"):
                return Reply(405, b"<html><body>Method Not Allowed</body></html>", {"content-type": "text/html"})
            if "json" not in request.headers.get("accept", "") and request.param("format") != "json":
                return Reply(200, b"<IntuitResponse/>", {"content-type": "application/xml;charset=UTF-8"})
            return self._company(self.books(client.client_id), rest, request)
        except Refused as refused:
            return _json({"Fault": refused.fault(), "time": self._time(client)}, refused.status)
        except QueryError as error:
            return _json({"Fault": _unanswered(error), "time": self._time(client)}, 400)

    def _company(self, books: Books, rest: Sequence[str], request: Request) -> Reply:
        if rest[0] == "query":
            sql = request.body.decode(errors="replace") if request.method == "POST" else request.param("query")
            return self._answer(b'"QueryResponse":' + self._query(books, sql, request), books)
        if rest[0] == "batch" and request.method == "POST":
            return self._answer(b'"BatchItemResponse":' + self._batch(books, request), books)
        if rest[0] == "cdc":
            return self._answer(b'"CDCResponse":[{"QueryResponse":' + self._capture(books, request) + b"}]", books)
        if rest[0] == "companyinfo":
            return self._answer(b'"CompanyInfo":' + msgspec.json.encode(company_info(books)), books)
        entity = ENTITIES.get(rest[0].lower())
        if entity and len(rest) == 2:
            row = books.shelves[entity].rows.get(rest[1])
            if row is None or row.deleted:
                raise Refused(
                    400, "610", "Object Not Found", "Object Not Found : Something you're trying to use is gone."
                )
            return self._answer(b'"' + entity.encode() + b'":' + row.body, books)
        raise Refused(400, "2020", "Required param missing, need to supply the required value for the API")

    def _answer(self, inner: bytes, books: Books) -> Reply:
        time = self._time(books.client).encode()
        return Reply(200, b"{" + inner + b',"time":"' + time + b'"}', _headers())

    def _time(self, client: Client | None) -> str:
        now = self.world.now()
        return (now.astimezone(self.books(client.client_id).zone) if client else now).isoformat(timespec="milliseconds")

    def _meter(self, realm: str) -> None:
        minute = int(self.world.now().timestamp() // 60)
        self._minute[realm, minute] += 1
        if self.calls_per_minute is not None and self._minute[realm, minute] > self.calls_per_minute:
            raise _throttled()

    def error(self, status: int, request: Request) -> Reply:
        if "/tokens/" in request.path and status < 429:
            return _json({"error": "invalid_grant", "error_description": "Incorrect or invalid refresh token"}, 400)
        if status == 401:
            error = {
                "message": "message=AuthenticationFailed; errorCode=003200; statusCode=401",
                "detail": "Token expired",
                "code": "3200",
                "element": None,
            }
            fault = {"error": [error], "type": "AUTHENTICATION"}
            return _json({"warnings": None, "intuitObject": None, "fault": fault, "report": None}, 401)
        system = Refused(
            500, "10000", "An application error has occurred while processing your request", "", "SystemFault"
        )
        refused = _throttled() if status == 429 else system
        return _json({"Fault": refused.fault(), "time": self._time(None)}, refused.status)

    # ---- reading ----

    def _query(self, books: Books, sql: str, request: Request) -> bytes:
        query = parse(sql)
        entity, rows = found(books, query)
        if query.count:
            return b'{"totalCount":%d}' % len(rows)
        page, _ = self.slice(rows, query.start - 1, query.size, request)
        if not page:
            return b"{}"
        listed = b",".join(row.body for row in page)
        return b'{"%s":[%s],"startPosition":%d,"maxResults":%d}' % (entity.encode(), listed, query.start, len(page))

    def _batch(self, books: Books, request: Request) -> bytes:
        try:
            items = msgspec.json.decode(request.body, type=_Batch).BatchItemRequest
        except msgspec.DecodeError as error:
            raise Refused(400, "2010", "Request has invalid or unsupported property", str(error)) from None
        if len(items) > BATCH_LIMIT:
            raise Refused(400, "1040", "Batch size exceeded", f"At most {BATCH_LIMIT} items are allowed.")
        answers = []
        for item in items:
            name = b'{"bId":' + msgspec.json.encode(item.bId) + b","
            try:
                answers.append(name + b'"QueryResponse":' + self._query(books, item.Query, request) + b"}")
            except QueryError as error:
                answers.append(name + b'"Fault":' + msgspec.json.encode(_unanswered(error)) + b"}")
        return b"[" + b",".join(answers) + b"]"

    def _capture(self, books: Books, request: Request) -> bytes:
        since = max(instant(request.param("changedSince"), books), self.world.now() - CAPTURE_LOOKS_BACK)
        parts, room = [], CAPTURE_LIMIT
        for name in request.param("entities").split(","):
            entity = ENTITIES.get(name.strip().lower())
            rows = books.shelves[entity].since(since)[:room] if entity else []
            room -= len(rows)
            listed = b",".join(books.stub(row) if row.deleted else row.body for row in rows)
            part = b'{"%s":[%s],"startPosition":1,"maxResults":%d}' % ((entity or "").encode(), listed, len(rows))
            parts.append(part if rows else b"{}")
        return b"[" + b",".join(parts) + b"]"

    # ---- OAuth ----

    def _token(self, request: Request) -> Reply:
        form = dict(request.form)
        app = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        if app not in {self.app(client) for client in self.town.clients}:
            return _json({"error": "invalid_client"}, 401)
        if form.get("grant_type") == "refresh_token":
            tokens = self.tokens.refresh(form.get("refresh_token", ""))
        elif form.get("grant_type") == "authorization_code" and form.get("code", "").startswith("code-"):
            realm = form["code"].removeprefix("code-")
            tokens = self.tokens.authorise(realm) if realm in self._clients else None
        else:
            return _json({"error": "invalid_request"}, 400)
        if tokens is None:
            return _json({"error": "invalid_grant", "error_description": "Incorrect or invalid refresh token"}, 400)
        return _json(tokens)

    def _revoke(self, request: Request) -> Reply:
        if _basic(request) not in {self.app(client) for client in self.town.clients}:
            return _json({"error": "invalid_client"}, 401)
        try:
            token = msgspec.json.decode(request.body, type=dict[str, str]).get("token", "")
        except msgspec.DecodeError:
            token = dict(request.form).get("token", "")
        self.tokens.revoke(token)
        return Reply(200, b"", _headers())

    # ---- webhooks ----

    def pushes(self) -> Iterator[Push]:
        """QuickBooks collects changes before it tells them: here those of a company's day, in two notifications, so that
        both formats occur (CloudEvents for facts of odd `n`)."""
        for client in self.town.clients:
            books = self.books(client.client_id)
            events = [event for stream, (entity, _) in KINDS.items() for event in happenings(books, entity)]
            events.sort(key=lambda event: (event[0].astimezone(books.zone).date(), event[1] % 2, event[0]))
            for (_, odd), day in groupby(events, key=lambda e: (e[0].astimezone(books.zone).date(), e[1] % 2)):
                told = list(day)
                changes = [(entity, row_id, operation, at) for at, _, entity, row_id, operation in told]
                body, headers = self.webhook(client.client_id, changes, cloud_events=bool(odd))
                yield Push(client.client_id, told[-1][0], body, lambda url, headers=headers: headers)

    def webhook(
        self,
        client_id: str,
        changes: Sequence[Change],
        *,
        cloud_events: bool = False,
        realm: str = "",
    ) -> tuple[bytes, Mapping[str, str]]:
        """Body and signed headers of a notification of (entity, id, operation, instant)s."""
        client = self.books(client_id).client
        tell = in_cloud_events if cloud_events else in_old_format
        body = msgspec.json.encode(tell(realm or self.realm(client), changes))
        digest = hmac.new(self.verifier(client).encode(), body, hashlib.sha256).digest()
        headers = {"content-type": "application/json", "intuit-signature": base64.b64encode(digest).decode()}
        return body, headers

    # ---- control, for tests ----

    def add(self, client_id: str, entity: str, fields: Mapping[str, Any], *, at: datetime | None = None) -> str:
        """Put in a record as given (its `Id` may be left to us); returns its id."""
        books, at = self.books(client_id), at or self.world.now()
        shelf = books.shelves[entity]
        row_id = str(fields.get("Id") or max((int(key) for key in shelf.rows), default=0) + 10)
        meta = {"CreateTime": books.local(at), "LastUpdatedTime": books.local(at)}
        whole = {"SyncToken": "0", "domain": "QBO", "sparse": False, **fields, "Id": row_id, "MetaData": meta}
        shelf.rows[row_id] = Row(row_id, at, lambda: whole)
        shelf.changed()
        return row_id

    def mutate(self, client_id: str, entity: str, row_id: str, *, at: datetime | None = None, **changes: Any) -> None:
        """Set fields of a record (None takes one away) and its time of change."""
        books, at = self.books(client_id), at or self.world.now()
        row = books.shelves[entity].rows[row_id]
        fields = {**row.fields(), **changes}
        fields["SyncToken"] = str(int(fields["SyncToken"]) + 1)
        fields["MetaData"] = {**fields["MetaData"], "LastUpdatedTime": books.local(at)}
        row.body = msgspec.json.encode({key: value for key, value in fields.items() if value is not None})
        row.updated = at.replace(microsecond=0)
        books.shelves[entity].changed()

    def delete(self, client_id: str, entity: str, row_id: str, *, at: datetime | None = None) -> None:
        shelf = self.books(client_id).shelves[entity]
        row = shelf.rows[row_id]
        row.deleted, row.updated = True, (at or self.world.now()).replace(microsecond=0)
        shelf.changed()

    def void(self, client_id: str, row_id: str, *, at: datetime | None = None) -> None:
        self.mutate(client_id, "Invoice", row_id, at=at, TotalAmt=0, Balance=0, PrivateNote="Voided", LinkedTxn=None)


def _discovery(root: str) -> dict[str, Any]:
    return {
        "issuer": f"{root}/op/v1",
        "authorization_endpoint": f"{root}/connect/oauth2",
        "token_endpoint": f"{root}/oauth2/v1/tokens/bearer",
        "userinfo_endpoint": f"{root}/v1/openid_connect/userinfo",
        "revocation_endpoint": f"{root}/v2/oauth2/tokens/revoke",
        "jwks_uri": f"{root}/op/v1/jwks",
    }


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    user, _, password = base64.b64decode(encoded).decode().partition(":")
    return user, password


def _unanswered(error: QueryError) -> dict[str, Any]:
    return Refused(400, error.code, error.message, f"{error.prefix}: {error}").fault()


def _throttled() -> Refused:
    return Refused(429, "3001", "message=ThrottleExceeded; errorCode=003001; statusCode=429", "", "SystemFault")


def _headers() -> dict[str, str]:
    return {"content-type": "application/json;charset=UTF-8", "intuit_tid": "1-sandbox"}


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(value), _headers())
