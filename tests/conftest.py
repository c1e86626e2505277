"""Shared parts: a clock that jumps, the sandbox on a real socket, and a scripted server for answers no sandbox gives."""

from __future__ import annotations

import asyncio
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn

from connectors.http import Clock, Http
from connectors.sandbox.facts import Town
from connectors.sandbox.provider import SandboxProvider, World
from connectors.sandbox.server import Sandbox
from pipeline import warehouse
from pipeline.settings import Settings

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
LONG_FIRST = ("faults", "e2e", "integration", "contract", "unit")
MAKES_THE_HOME = "test_run.py"  # that all end-to-end tests read: who comes while it is made would wait


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that two workers end together; what others need, before them."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return -1 if item.path.name == MAKES_THE_HOME else LONG_FIRST.index(folder) if folder in LONG_FIRST else 0

    items.sort(key=place)


@pytest.fixture(autouse=True)
def sigterm_is_heeded() -> Iterator[None]:
    """Dagster gives SIGTERM what SIGINT has. Where a shell started the tests in the background, SIGINT is
    ignored, and whatever later tests start would ignore SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session", autouse=True)
def one_parse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """dbt parses the project once for a worker, not for each of a hundred homes: it sees every home at one path, so that what it
    kept of the last home's parse holds for the next. (It parses anew whenever the path of its database has changed.)"""
    seen, kept = tmp_path_factory.mktemp("seen") / "home", tmp_path_factory.mktemp("kept") / "partial_parse.msgpack"
    environment_of = warehouse.dbt_environment
    last: list[Settings] = []

    def environment(settings: Settings) -> dict[str, str]:
        if last and (parsed := last[0].dbt_target / kept.name).exists():
            shutil.copy(parsed, kept)
        last[:] = [settings]
        mine = settings.dbt_target / kept.name
        if kept.exists() and not mine.exists():
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept, mine)
        seen.unlink(missing_ok=True)
        seen.symlink_to(settings.home)
        return {**environment_of(settings), "LEADTRAIL_HOME": str(seen)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warehouse, "dbt_environment", environment)
        yield


class FakeClock(Clock):
    """Sleeping moves time instead of waiting. `slept` lists every pause, in order."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time, self.slept = now, []
        self._ticks = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self._ticks

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._ticks += seconds
        self.time += timedelta(seconds=seconds)


class _Server:
    """An ASGI app on a free loopback port, in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False, lifespan="off")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = True
        # its thread ends at the next tick; waiting for that would cost every test a fifth of a second


@dataclass
class Served:
    """A running sandbox: `root("callrail")` is the base URL of a provider, `providers["callrail"]` its control methods."""

    origin: str
    town: Town
    world: World
    providers: dict[str, SandboxProvider]
    app: Sandbox

    def root(self, provider: str) -> str:
        return f"{self.origin}/{provider}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """`serve(town, SandboxCallRail, ..., now=NOW)`: those providers over that town, on a real socket."""
    running: list[_Server] = []

    def start(town: Town, *classes: type[SandboxProvider], now: datetime | None = None) -> Served:
        world = World(town.seed, now=(lambda: now) if now else None)
        providers = [cls(town, world) for cls in classes]
        app = Sandbox(providers, world, origin="")
        server = _Server(app)
        running.append(server)
        app.origin = server.origin
        return Served(server.origin, town, world, {p.name: p for p in providers}, app)

    yield start
    for server in running:
        server.stop()


@dataclass
class Stub:
    """A scripted server. `script` is a list of answers used up in order, or a function of the request; every request is
    kept in `requests` as (method, path with query, headers, body)."""

    origin: str = ""
    script: Any = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    default: tuple[int, dict[str, str], bytes] = (500, {}, b"the stub's script is at its end")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        raw = scope.get("raw_path", scope["path"].encode()).decode().split("?")[0]
        path = raw + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        headers = {k.decode().lower(): v.decode("latin-1") for k, v in scope["headers"]}
        request = (scope["method"], path, headers, body)
        self.requests.append(request)
        answer = (
            self.script(*request) if callable(self.script) else (self.script.pop(0) if self.script else self.default)
        )
        if answer == "reset":
            send.__self__.transport.abort()
            return
        status, extra, content = answer[:3]
        drip = answer[3] if len(answer) > 3 else 0  # seconds between single bytes
        length = extra.get("content-length", str(len(content)))
        out = {"content-type": "application/json", **extra, "content-length": length}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(k.encode(), v.encode()) for k, v in out.items()],
            }
        )
        if drip:
            for i in range(len(content)):
                await send({"type": "http.response.body", "body": content[i : i + 1], "more_body": True})
                await asyncio.sleep(drip)
            content = b""
        if int(length) > len(content) and not drip:  # promised more than it has: cut in mid-body
            await send({"type": "http.response.body", "body": content, "more_body": True})
            await asyncio.sleep(0.01)
            send.__self__.transport.close()
            return
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
def stub() -> Iterator[Stub]:
    app = Stub()
    server = _Server(app)
    app.origin = server.origin
    yield app
    server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def http(clock: FakeClock) -> Iterator[Http]:
    client = Http(clock=clock)
    yield client
    client.close()
