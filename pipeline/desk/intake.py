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
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.base import Accepted, Connector, SignatureError, WebhookRequest
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
        self.counted = counted
        self.answer = JSONResponse(
            {"error": error}, status, {name.replace("_", "-"): headers[name] for name in headers}
        )


class Intake:
    """The handlers."""

    def __init__(self, engine: Engine, connectors: Connectors, *, public_url: str, caps: Caps) -> None:
        self.commits = GroupCommit(engine, most=caps.waiting)
        self._connectors, self._public_url, self._caps = connectors, public_url, caps
        self._rate = Rate(caps.per_second, caps.burst)
        self._reading = 0  # bytes of bodies in memory
        self.counts: Counter[str] = Counter()

    async def webhook(self, request: Request) -> Response:
        try:
            _check_head(request, self._caps)
            body = await self._body(request)
            try:
                answer = await self._stored(request, body)
            finally:
                self._reading -= len(body)
        except Refused as refused:
            self.counts[refused.counted] += 1
            return refused.answer
        except ClientDisconnect:
            return Response(status_code=400)
        self.counts["stored"] += 1
        return answer

    async def _stored(self, request: Request, body: bytes) -> Response:
        client, provider, tail = (request.path_params.get(name, "") for name in ("client", "provider", "tail"))
        event = WebhookRequest(
            url=self._called(request),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
            received_at=datetime.now(UTC),
            method=request.method,
            tail="/" + tail if tail else "",
        )
        try:
            connector, accepted = _accept(self._connectors(client, provider), event)
        except SignatureError:
            raise Refused("refused", 401, "the request does not prove where it comes from") from None
        except Exception as problem:  # of ours: the provider must not take the event for received
            log.error("a webhook to %r is put off: %s", f"{client}/{provider}"[:120], _in_words(problem))
            raise _send_again("paused", after=300) from None
        if wait := self._rate.wait((client, provider)):
            raise Refused("too_many", 429, "too many at once, please send again", Retry_After=str(math.ceil(wait)))
        if not self.commits.has_room(client, provider):
            raise _send_again("crowded", after=2)
        kept = Event(client, provider, accepted.dedupe_key, connector.kept(event))
        if not await self.commits.store(kept, accepted.said):
            raise _send_again("not_stored", after=30)
        answer = accepted.answer
        return Response(answer.body, answer.status, {"content-type": answer.content_type})

    async def _body(self, request: Request) -> bytes:
        """The body; of one that is too large no more is read than the cap. Closing the connection spares us the rest."""
        size, chunks = 0, []
        too_large = Refused("too_large", 413, f"a webhook may hold at most {self._caps.body} bytes", Connection="close")
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > self._caps.body:
            raise too_large
        try:
            async with asyncio.timeout(self._caps.body_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._reading += len(chunk)
                    if size > self._caps.body:
                        raise too_large
                    if self._reading > self._caps.reading:
                        raise _send_again("crowded", after=2)
                    chunks.append(chunk)
        except BaseException as problem:
            self._reading -= size
            if isinstance(problem, TimeoutError):
                raise Refused("slow", 408, "the body did not arrive", Connection="close") from None
            raise
        return b"".join(chunks)

    def _called(self, request: Request) -> str:
        """The URL the provider called. Behind a proxy this is the configured public address, never the Host header."""
        url = request.url
        path: str = request.scope.get("raw_path", url.path.encode()).decode("ascii", "replace").split("?")[0]
        base = self._public_url or f"{url.scheme}://{url.netloc}"
        return base + path + (f"?{url.query}" if url.query else "")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "counts": dict(self.counts)})


def _check_head(request: Request, caps: Caps) -> None:
    """The same answers whether or not the client exists."""
    raw_path, query = request.scope.get("raw_path", b""), request.scope["query_string"]
    if len(raw_path) + len(query) > caps.path:
        raise Refused("too_large", 414, "the address is too long", Connection="close")
    headers = request.scope["headers"]
    if len(headers) > caps.headers or sum(len(name) + len(value) for name, value in headers) > caps.header_bytes:
        raise Refused("too_large", 431, "the headers are too many or too long", Connection="close")
    if "\0" in request.scope["path"]:
        raise Refused("refused", 401, "the request does not prove where it comes from")


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
) -> Starlette:
    """The ASGI app. `tokens` read the links under mails; without them there are none."""
    intake = Intake(engine, connectors, public_url=public_url, caps=caps or Caps())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        intake.commits.start()
        yield
        await intake.commits.stop()

    methods = ["POST", "PUT"]
    routes = [
        Route("/webhooks/{client}/{provider}", intake.webhook, methods=methods),
        Route("/webhooks/{client}/{provider}/{tail:path}", intake.webhook, methods=methods),
        Route("/healthz", intake.health),
    ]
    if tokens:
        unsubscribing = Unsubscribing(engine, intake.commits, connectors, tokens)
        routes += [
            Route(PATH + "{token}", unsubscribing.ask, methods=["GET"]),
            Route(PATH + "{token}", unsubscribing.end, methods=["POST"]),
        ]
    return Starlette(routes=routes, lifespan=lifespan)


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
