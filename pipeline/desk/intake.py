"""Intake: webhooks in, durably stored, then answered as their provider expects. It parses nothing and calls nobody.

    POST /webhooks/{client}/{provider}[/more]     the event
    GET  /healthz                                 whether events can be stored

An event is answered only after the transaction that holds it has reached the disk; many events share one transaction, so a burst
costs one fsync for hundreds. Signatures are checked over the raw body, before anything is stored. Who is not proven gets 401,
whether or not the client exists.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.base import Connector, SignatureError, WebhookRequest
from pipeline.clients import ClientsFileError
from pipeline.store.inbox import Event, store_events

log = logging.getLogger("leadtrail.intake")

MAX_BODY = 1024 * 1024
MAX_GROUP = 500  # events in one transaction
Connectors = Callable[[str, str], Connector | None]


class GroupCommit:
    """Stores events in the order they come, many in one transaction. `store` returns once its event is durable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()

    async def store(self, event: Event) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._wake.set()
        await future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            if not self._waiting:
                self._wake.clear()
            error: SQLAlchemyError | None = None
            try:
                await asyncio.to_thread(store_events, self._engine, [event for event, _ in group])
            except SQLAlchemyError as failure:
                log.error("could not store %d webhooks: %s", len(group), type(failure).__name__)
                error = failure
            for _, future in group:
                if not future.done():
                    future.set_result(None) if error is None else future.set_exception(error)


class Intake:
    """The handlers. `connectors(client_id, provider)` gives a connector, or None if there is no such connection."""

    def __init__(self, engine: Engine, connectors: Connectors, *, public_url: str = "") -> None:
        self.commits = GroupCommit(engine)
        self._connectors, self._public_url = connectors, public_url
        self.counts: Counter[str] = Counter()

    async def webhook(self, request: Request) -> Response:
        try:
            body = await _capped(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            self.counts["too_large"] += 1
            return JSONResponse({"error": f"a webhook may hold at most {MAX_BODY} bytes"}, 413)
        path = request.path_params
        try:
            connector = self._connectors(path["client"], path["provider"])
        except ClientsFileError as error:
            log.error("a webhook cannot be checked: %s", error)
            return JSONResponse({"error": "not stored, please send again"}, 503, {"Retry-After": "300"})
        event = WebhookRequest(
            url=self._called(request),
            headers={key.lower(): value for key, value in request.headers.items()},
            body=body,
            received_at=datetime.now(UTC),
            method=request.method,
            tail="/" + path["tail"] if path.get("tail") else "",
        )
        try:
            if connector is None:
                raise SignatureError("no such connection")
            accepted = connector.accept(event)
        except (SignatureError, NotImplementedError):
            self.counts["refused"] += 1
            return JSONResponse({"error": "the request does not prove where it comes from"}, 401)
        try:
            await self.commits.store(Event(path["client"], path["provider"], accepted.dedupe_key, event))
        except SQLAlchemyError:
            self.counts["not_stored"] += 1
            return JSONResponse({"error": "not stored, please send again"}, 503, {"Retry-After": "30"})
        self.counts["stored"] += 1
        answer = accepted.answer
        return Response(answer.body, answer.status, {"content-type": answer.content_type})

    def _called(self, request: Request) -> str:
        """The URL the provider called. Behind a proxy this is the configured public address, never the Host header."""
        path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii", "replace").split("?")[0]
        base = self._public_url or f"{request.url.scheme}://{request.url.netloc}"
        return base + path + (f"?{request.url.query}" if request.url.query else "")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "counts": dict(self.counts)})


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


def intake_app(engine: Engine, connectors: Connectors, *, public_url: str = "") -> Starlette:
    """The ASGI app."""
    intake = Intake(engine, connectors, public_url=public_url)

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
    """Connectors by (client, provider), made once; thread-safe. Made again when `reload` is called."""

    def __init__(self, make: Callable[[], Mapping[tuple[str, str], Callable[[], Connector]]]) -> None:
        self._make, self._lock = make, threading.Lock()
        self.reload()

    def reload(self) -> None:
        with self._lock:
            self._factories = dict(self._make())
            self._made: dict[tuple[str, str], Connector] = {}

    def __call__(self, client_id: str, provider: str) -> Connector | None:
        key = (client_id, provider)
        with self._lock:
            if key not in self._made and key in self._factories:
                self._made[key] = self._factories[key]()
            return self._made.get(key)
