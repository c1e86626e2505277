"""Intake: webhooks in, durably stored, then answered as their provider expects. It calls nobody.

    POST /webhooks/{client}/{provider}[/more]     the event
    GET, POST /u/{token}                          the link under a mail that ends them
    GET  /healthz                                 that it listens, and what came since it was started

An event is answered only after the transaction that holds it has reached the disk; an opt-out in it is in the same transaction.
Signatures are checked over the raw body, before anything is stored; what proved them is not stored.
Who is not proven gets 401, whether or not the client exists. What we cannot check or store for a reason of ours gets 503, and
is sent again; so does, with 429, what a connection sends beyond its cap.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.base import Accepted, Answer, Connector, SignatureError, WebhookRequest
from pipeline.clients import ClientsFileError
from pipeline.desk.caps import Caps, Rate
from pipeline.desk.group_commit import GroupCommit
from pipeline.desk.unsubscribe_page import Unsubscribing
from pipeline.follow_up.unsubscribe import PATH, Tokens
from pipeline.store.inbox import Event
from pipeline.store.sealed import KeyProblem

log = logging.getLogger("leadtrail.intake")

LOOK_SECONDS = 2.0  # how soon a change of the clients file or a secret is followed

# (client, provider) -> the connection's connector, and one more for each secret that is still good besides the new one
Connectors = Callable[[str, str], Sequence[Connector]]
Makers = Mapping[tuple[str, str], Callable[[], Sequence[Connector]]]


class Refused(Exception):
    """A request that is not taken: what it is counted under, and the answer."""

    def __init__(self, counted: str, status: int, error: str, **headers: str) -> None:
        self.counted, self.status, self.error = counted, status, error
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Gone(Exception):
    """Whoever was sending has left."""


class Intake:
    """Webhooks in. This is the one path that must keep up with a burst, so it speaks ASGI itself: a framework's routing and
    request objects cost as much as all the rest of it."""

    def __init__(self, engine: Engine, connectors: Connectors, *, public_url: str, caps: Caps) -> None:
        self.commits = GroupCommit(engine, most=caps.waiting)
        self._connectors, self._public_url, self._caps = connectors, public_url, caps
        self._rate = Rate(caps.per_second, caps.burst)
        self._reading = 0  # bytes of bodies in memory
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._taken(scope, receive)
            self.counts["stored"] += 1
            await _say(send, answer.status, answer.body, answer.content_type)
        except Refused as refused:
            self.counts[refused.counted] += 1
            body = json.dumps({"error": refused.error}).encode()
            await _say(send, refused.status, body, "application/json", refused.headers)
        except Gone:
            return

    async def _taken(self, scope: Scope, receive: Receive) -> Answer:
        """Stored, and what to say then. Raises Refused or Gone."""
        _, _, client, provider, *tail = _checked_path(scope, self._caps)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._body(headers, receive)
        try:
            event = WebhookRequest(
                url=self._called(scope, headers),
                headers=headers,
                body=body,
                received_at=datetime.now(UTC),
                method=scope["method"],
                tail="/" + "/".join(tail) if tail else "",
            )
            return await self._stored(client, provider, event)
        finally:
            self._reading -= len(body)

    async def _stored(self, client: str, provider: str, event: WebhookRequest) -> Answer:
        try:
            connector, accepted = _accept(self._connectors(client, provider), event)
            kept = Event(client, provider, accepted.dedupe_key, connector.kept(event))
        except SignatureError:
            raise Refused("refused", 401, "the request does not prove where it comes from") from None
        except Exception as problem:  # of ours: the provider must not take the event for received
            log.error("a webhook to %r is put off: %s", f"{client}/{provider}"[:120], _in_words(problem))
            raise _send_again("paused", after=300) from None
        if wait := self._rate.wait((client, provider)):
            raise Refused("too_many", 429, "too many at once, please send again", Retry_After=str(math.ceil(wait)))
        if not self.commits.has_room(client, provider):
            raise _send_again("crowded", after=2)
        if not await self.commits.store(kept, accepted.said):
            raise _send_again("not_stored", after=30)
        return accepted.answer

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The body; of one that is too large no more is read than the cap. What it weighs is counted until it is answered."""
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > self._caps.body:
            raise self._too_large()
        size, chunks = 0, []
        try:
            async with asyncio.timeout(self._caps.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    size += len(chunk)
                    self._reading += len(chunk)
                    if size > self._caps.body:
                        raise self._too_large()
                    if self._reading > self._caps.reading:
                        raise _send_again("crowded", after=2)
                    chunks.append(chunk)
        except BaseException as problem:
            self._reading -= size
            if isinstance(problem, TimeoutError):
                raise Refused("slow", 408, "the body did not arrive", Connection="close") from None
            raise
        return b"".join(chunks)

    def _too_large(self) -> Refused:  # closing spares us the rest
        return Refused("too_large", 413, f"a webhook may hold at most {self._caps.body} bytes", Connection="close")

    def _called(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The URL the provider called. Behind a proxy this is the configured public address, never the Host header."""
        path: str = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace").partition("?")[0]
        query: str = scope["query_string"].decode("latin-1")
        base = self._public_url or f"{scope['scheme']}://{headers.get('host', 'localhost')}"
        return base + path + (f"?{query}" if query else "")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "counts": dict(self.counts)})


def _checked_path(scope: Scope, caps: Caps) -> list[str]:
    """The parts of the path, "" and "webhooks" first. What is refused here is so whether or not the client exists."""
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > caps.path:
        raise Refused("too_large", 414, "the address is too long", Connection="close")
    headers = scope["headers"]
    if len(headers) > caps.headers or sum(len(name) + len(value) for name, value in headers) > caps.header_bytes:
        raise Refused("too_large", 431, "the headers are too many or too long", Connection="close")
    parts: list[str] = scope["path"].split("/")
    if len(parts) < 4 or not parts[2] or not parts[3]:
        raise Refused("elsewhere", 404, "nothing is here")
    if scope["method"] not in ("POST", "PUT"):
        raise Refused("elsewhere", 405, "webhooks come by POST or PUT", Allow="POST, PUT")
    if "\0" in scope["path"]:
        raise Refused("refused", 401, "the request does not prove where it comes from")
    return parts


async def _say(send: Send, status: int, body: bytes, content_type: str, more: Mapping[str, str] | None = None) -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", content_type.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in (more or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _accept(connectors: Sequence[Connector], event: WebhookRequest) -> tuple[Connector, Accepted]:
    """The first connector that takes the event. Raises SignatureError if none does."""
    for connector in connectors:
        try:
            return connector, connector.accept(event)
        except (SignatureError, NotImplementedError):
            continue
    raise SignatureError("no connection, or no proof")


def _send_again(counted: str, *, after: int) -> Refused:
    return Refused(counted, 503, "not stored, please send again", Retry_After=str(after))


def _in_words(problem: Exception) -> str:
    """What may be logged: our own words in full; of others' only the kind, for they may quote what was sent."""
    return str(problem) if isinstance(problem, ClientsFileError | KeyProblem) else type(problem).__name__


def intake_app(
    engine: Engine,
    connectors: Connectors,
    *,
    public_url: str = "",
    tokens: Tokens | None = None,
    caps: Caps | None = None,
) -> ASGIApp:
    """The ASGI app. `tokens` read the links under mails; without them there are none."""
    intake = Intake(engine, connectors, public_url=public_url, caps=caps or Caps())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        intake.commits.start()
        yield
        await intake.commits.stop()

    routes = [Route("/healthz", intake.health)]
    if tokens:
        unsubscribing = Unsubscribing(engine, intake.commits, connectors, tokens)
        routes += [
            Route(PATH + "{token}", unsubscribing.ask, methods=["GET"]),
            Route(PATH + "{token}", unsubscribing.end, methods=["POST"]),
        ]
    pages = Starlette(routes=routes, lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        webhook = scope["type"] == "http" and scope["path"].startswith("/webhooks/")
        await (intake if webhook else pages)(scope, receive, send)

    return app


class CachedConnectors:
    """Each connection's connectors, made when first asked for, and again after the clients file or a secret has changed.

    `version` changes with them. If what they say now has a mistake, what they said before stays in force, so that no lead is
    lost while somebody is typing; if they never were right, asking raises what is wrong.
    """

    def __init__(
        self,
        make: Callable[[], Makers],
        version: Callable[[], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._version, self._clock = make, version, clock
        self._look_at = clock()
        self._seen: object = None
        self._makers: Makers | None = None
        self._made: dict[tuple[str, str], Sequence[Connector]] = {}

    def __call__(self, client_id: str, provider: str) -> Sequence[Connector]:
        self._follow()
        assert self._makers is not None  # noqa: S101  (else `_follow` has raised)
        key = (client_id, provider)
        if key not in self._made and key in self._makers:
            self._made[key] = self._makers[key]()
        return self._made.get(key, ())

    def problem(self) -> str:
        """Why no webhook can be taken at present, or nothing."""
        try:
            self._follow()
        except Exception as problem:
            return _in_words(problem)
        return ""

    def _follow(self) -> None:
        if self._makers is not None and self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_SECONDS
        try:
            version = self._version()
            if self._makers is not None and version == self._seen:
                return
            self._seen = version
            self._makers, self._made = self._make(), {}
        except Exception as problem:
            if self._makers is None:
                raise
            log.error("settings as they were before stay in force: %s", _in_words(problem))
