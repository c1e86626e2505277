"""The sandbox on a socket: one small ASGI app over all providers, with faults, the ledger and pushed webhooks.

/<provider>/<the provider's real path>     the provider's API
POST /_sandbox/faults, DELETE              turn faults on and off (see `provider.Fault`)
GET  /_sandbox/ledger                      every write it accepted, in order
GET  /_sandbox/records                     {client: {provider: {stream: count}}} a complete sync ends with
POST /_sandbox/push {"to": intake URL}     send every webhook of the town's history there, signed and paced
POST /_sandbox/clock {"now": ISO time}     set the providers' clock (DELETE: real time again)
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any

import msgspec

from connectors.sandbox.provider import LOST_ANSWERS, Fault, Reply, Request, SandboxProvider, World, json_reply
from connectors.sandbox.push import send_all

log = logging.getLogger("leadtrail.sandbox")
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class _Clock(msgspec.Struct, forbid_unknown_fields=True):
    now: Annotated[datetime, msgspec.Meta(tz=True)]


class _Push(msgspec.Struct, forbid_unknown_fields=True):
    to: str
    providers: list[str] | None = None
    clients: list[str] | None = None


class Sandbox:
    """The ASGI app."""

    def __init__(self, providers: list[SandboxProvider], world: World, origin: str) -> None:
        self.providers = {provider.name: provider for provider in providers}
        self.at_root = {provider.at_root: provider for provider in providers if provider.at_root}
        self.world, self.origin = world, origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        body = await _read(receive)
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii").split("?")[0]
        prefix, _, path = raw_path.lstrip("/").partition("/")
        if prefix == "_sandbox":
            try:
                reply = await self._control(scope["method"], path, body)
            except msgspec.DecodeError as error:
                reply = json_reply({"error": str(error)}, 422)
            return await _reply(send, reply)
        provider = self.providers.get(prefix)
        if prefix in self.at_root:  # a client that resolves such a link as a browser would
            provider, path = self.at_root[prefix], f"{prefix}/{path}"
        if provider is None:
            return await _reply(send, json_reply({"error": f"no such provider: {prefix}"}, 404))
        request = Request(
            method=scope["method"],
            path="/" + path,
            query=scope["query_string"].decode("ascii"),
            headers={key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]},
            body=body,
            root=f"{self.origin}/{provider.name}",
        )
        await self._serve(provider, request, send)

    async def _serve(self, provider: SandboxProvider, request: Request, send: Send) -> None:
        kinds = ("429", "500", "revoked_token", "reset", "slow", "timeout")
        before = self.world.struck(provider.name, request.path, kinds)
        if before:
            if before.kind in ("slow", "timeout"):
                await asyncio.sleep(before.seconds)
            if before.kind in ("reset", "timeout"):
                return _abort(send)
            if before.kind != "slow":
                status = {"429": 429, "500": 500, "revoked_token": 401}[before.kind]
                reply = provider.error(status, request)
                if before.retry_after != "":
                    reply = Reply(reply.status, reply.body, {**reply.headers, "retry-after": str(before.retry_after)})
                return await _reply(send, reply)
        written = len(self.world.ledger)
        try:
            reply = provider.handle(request)
        except Exception:
            log.exception("%s %s failed in the sandbox", request.method, request.path)
            reply = json_reply({"error": "sandbox bug, see its log"}, 500)
        if len(self.world.ledger) > written:
            after = self.world.struck(provider.name, request.path, (*LOST_ANSWERS, "500_after_commit"))
            if after and after.kind == "500_after_commit":
                return await _reply(send, provider.error(500, request))
            if after:
                if after.kind == "timeout_after_commit":
                    await asyncio.sleep(after.seconds)
                return _abort(send)
        if reply.status == 200 and self.world.struck(provider.name, request.path, ("truncated",)):
            reply = Reply(200, reply.body[: max(1, len(reply.body) * 2 // 3)], reply.headers)
        await _reply(send, reply)

    # ---- control ----

    async def _control(self, method: str, path: str, body: bytes) -> Reply:
        if path == "faults" and method == "POST":
            self.world.faults += _faults(body, self.providers)
            return json_reply({"faults": len(self.world.faults)})
        if path == "faults" and method == "DELETE":
            self.world.faults.clear()
            return json_reply({"faults": 0})
        if path == "ledger":
            return json_reply(self.world.ledger)
        if path == "records":
            return json_reply(self.counts())
        if path == "clock":
            self.world.set_now(msgspec.json.decode(body, type=_Clock).now if method == "POST" else None)
            return json_reply({"now": self.world.now().isoformat()})
        if path == "push" and method == "POST":
            asked = msgspec.json.decode(body, type=_Push)
            return json_reply(await self.push(asked.to, only=asked.providers, clients=asked.clients))
        return json_reply({"error": "unknown control", "see": __doc__}, 404)

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Records a complete sync ends with: {client_id: {provider: {stream: count}}}."""
        out: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
        for provider in self.providers.values():
            tally = Counter((client_id, stream) for client_id, stream, _, _ in provider.records())
            for (client_id, stream), count in sorted(tally.items()):
                out[client_id][provider.name][stream] = count
        return out

    async def push(self, to: str, *, only: list[str] | None = None, clients: list[str] | None = None) -> dict[str, Any]:
        """Send the history's webhooks to an intake; returns once every one is acknowledged or given up."""
        queue = [
            (provider.name, push)
            for provider in self.providers.values()
            if only is None or provider.name in only
            for push in provider.pushes()
            if clients is None or push.client_id in clients
        ]
        queue.sort(key=lambda item: item[1].at, reverse=True)
        sent, refused = await asyncio.to_thread(send_all, queue, to)
        return {"acknowledged": dict(sent), "refused": dict(refused), "total": sent.total()}


def _faults(body: bytes, providers: Collection[str]) -> list[Fault]:
    """One fault or several. A misspelt one would never strike, so nothing unknown is let in."""
    asked = msgspec.json.decode(body)
    asked = msgspec.convert(asked if isinstance(asked, list) else [asked], list[dict[str, Any]])
    names = [field.name for field in fields(Fault)]
    unknown = {key for one in asked for key in one} - set(names)
    if unknown:
        raise msgspec.ValidationError(f"a fault has {names}, not {sorted(unknown)}")
    faults = msgspec.convert([{**one, "kind": str(one.get("kind", ""))} for one in asked], list[Fault], strict=False)
    strangers = {fault.provider for fault in faults} - {"", *providers}
    if strangers:
        raise msgspec.ValidationError(f"a fault's provider is one of {sorted(providers)}, not {sorted(strangers)}")
    return faults


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _reply(send: Send, reply: Reply) -> None:
    headers = {"content-length": str(len(reply.body)), **reply.headers}
    encoded = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": reply.body})


def _abort(send: Send) -> None:
    """Drop the connection without an answer, as a broken network does."""
    getattr(send, "__self__").transport.abort()  # noqa: B009  (uvicorn offers no public way)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
