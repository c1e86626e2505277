"""Intake: webhooks in, durably stored, then answered as their provider expects. It parses nothing and calls nobody.

    POST /webhooks/{client}/{provider}[/more]     the event
    GET  /healthz                                 that it listens, and what came since it was started

An event is answered only after the transaction that holds it has reached the disk; many events share one transaction, so a burst
costs one fsync for hundreds. Signatures are checked over the raw body, before anything is stored; what proved them is not stored.
Who is not proven gets 401, whether or not the client exists. What we cannot check or store for a reason of ours gets 503, and
is sent again.
"""

from __future__ import annotations

import asyncio
import logging
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
from pipeline.store.inbox import Event, store_events
from pipeline.store.sealed import KeyProblem

log = logging.getLogger("leadtrail.intake")

MAX_BODY = 1024 * 1024
MAX_GROUP = 500  # events in one transaction
BODY_SECONDS = 20.0  # for a body to arrive; no provider waits longer for its answer
LOOK_SECONDS = 2.0  # how soon a change of the clients file or a secret is followed

# (client, provider) -> the connection's connector, and one more for each secret that is still good besides the new one
Connectors = Callable[[str, str], Sequence[Connector]]
Makers = Mapping[tuple[str, str], Callable[[], Sequence[Connector]]]


class GroupCommit:
    """Stores events in the order they come, many in one transaction. `store` returns once its event is durable (True), or
    could not be stored (False)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[Event, asyncio.Future[bool]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def store(self, event: Event) -> bool:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._wake.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            if not self._waiting:
                self._wake.clear()
            stored = True
            try:
                await asyncio.to_thread(store_events, self._engine, [event for event, _ in group])
            except Exception as failure:  # whatever it was, these are not stored, and the next group is tried
                log.error("could not store %d webhooks: %s", len(group), _in_words(failure))
                stored = False
            for _, future in group:
                if not future.done():
                    future.set_result(stored)


class Intake:
    """The handlers."""

    def __init__(self, engine: Engine, connectors: Connectors, *, public_url: str, body_seconds: float) -> None:
        self.commits = GroupCommit(engine)
        self._connectors, self._public_url, self._body_seconds = connectors, public_url, body_seconds
        self.counts: Counter[str] = Counter()

    async def webhook(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await _capped(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except TimeoutError:
            return JSONResponse({"error": "the body did not arrive"}, 408, {"Connection": "close"})
        if body is None:
            self.counts["too_large"] += 1
            # closing spares us the rest of it
            return JSONResponse({"error": f"a webhook may hold at most {MAX_BODY} bytes"}, 413, {"Connection": "close"})
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
            self.counts["refused"] += 1
            return JSONResponse({"error": "the request does not prove where it comes from"}, 401)
        except Exception as problem:  # of ours: the provider must not take the event for received
            self.counts["paused"] += 1
            log.error("a webhook to %r is put off: %s", f"{client}/{provider}"[:120], _in_words(problem))
            return _send_again(after=300)
        if not await self.commits.store(Event(client, provider, accepted.dedupe_key, connector.kept(event))):
            self.counts["not_stored"] += 1
            return _send_again(after=30)
        self.counts["stored"] += 1
        answer = accepted.answer
        return Response(answer.body, answer.status, {"content-type": answer.content_type})

    def _called(self, request: Request) -> str:
        """The URL the provider called. Behind a proxy this is the configured public address, never the Host header."""
        url = request.url
        path: str = request.scope.get("raw_path", url.path.encode()).decode("ascii", "replace").split("?")[0]
        base = self._public_url or f"{url.scheme}://{url.netloc}"
        return base + path + (f"?{url.query}" if url.query else "")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "counts": dict(self.counts)})


def _accept(connectors: Sequence[Connector], event: WebhookRequest) -> tuple[Connector, Accepted]:
    """The first connector that takes the event. Raises SignatureError if none does."""
    for connector in connectors:
        try:
            return connector, connector.accept(event)
        except (SignatureError, NotImplementedError):
            continue
    raise SignatureError("no connection, or no proof")


def _send_again(*, after: int) -> Response:
    return JSONResponse({"error": "not stored, please send again"}, 503, {"Retry-After": str(after)})


def _in_words(problem: Exception) -> str:
    """What may be logged: our own words in full; of others' only the kind, for they may quote what was sent."""
    return str(problem) if isinstance(problem, ClientsFileError | KeyProblem) else type(problem).__name__


async def _capped(request: Request) -> bytes | None:
    """The body, or None once it is larger than the cap (read no further than that)."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BODY:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def intake_app(
    engine: Engine, connectors: Connectors, *, public_url: str = "", body_seconds: float = BODY_SECONDS
) -> Starlette:
    """The ASGI app."""
    intake = Intake(engine, connectors, public_url=public_url, body_seconds=body_seconds)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        intake.commits.start()
        yield
        await intake.commits.stop()

    methods = ["POST", "PUT"]
    return Starlette(
        routes=[
            Route("/webhooks/{client}/{provider}", intake.webhook, methods=methods),
            Route("/webhooks/{client}/{provider}/{tail:path}", intake.webhook, methods=methods),
            Route("/healthz", intake.health),
        ],
        lifespan=lifespan,
    )


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
