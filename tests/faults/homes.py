"""A Leadtrail home pointed at a sandbox: sync it in this process or in another, and compare what landed with what was served."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import httpx
import pyarrow.parquet as pq
from sqlalchemy import Engine, select

from connectors.http import Clock, Http
from connectors.registry import CONNECTORS, connector_class
from connectors.sandbox.provider import Fault, World
from connectors.sandbox.run import RunningSandbox
from pipeline.connection_run import Outcome
from pipeline.demo import running_intake
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.connections import ConnectionState, load_states
from pipeline.store.schema import feeds
from pipeline.sync import sync
from pipeline.workshop import Workshop
from tests.todays_town import small_town

SMALL = small_town()
ROOT = Path(__file__).parent.parent.parent
Key = tuple[str, str, str, str]  # client, provider, stream, record id


class WorldClock(Clock):
    """The sandbox's time. Whoever sleeps moves it, for all; nobody waits."""

    def __init__(self, world: World) -> None:
        self.world, self._lock = world, threading.Lock()
        self._mine = threading.local()  # the pauses of other threads must not make a call of this one look slow

    def now(self) -> datetime:
        return self.world.now()

    def monotonic(self) -> float:
        return time.monotonic() + getattr(self._mine, "slept", 0.0)

    def sleep(self, seconds: float) -> None:
        self._mine.slept = getattr(self._mine, "slept", 0.0) + seconds
        with self._lock:
            self.world.set_now(self.world.now() + timedelta(seconds=seconds))


@dataclass
class Call:
    """One request as the sandbox saw it, before it answered."""

    at: float
    provider: str
    path: str
    fault: str


@dataclass
class Home:
    """One home. `sync` runs in this process and on the sandbox's clock, or on the real one with `clock=Clock()`."""

    sandbox: RunningSandbox
    path: Path
    clock: Clock | None = None
    environ: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_env({**self.sandbox.env, **self.environ, "LEADTRAIL_HOME": str(self.path)})

    @cached_property
    def office(self) -> Office:
        return Office(self.settings)

    @property
    def engine(self) -> Engine:
        return self.office.engine

    def shop(self) -> Workshop:
        return Workshop(self.settings, self.engine, http=Http(clock=self.clock or WorldClock(self.sandbox.world)))

    def sync(self, *providers: str, clients: tuple[str, ...] = (), shop: Workshop | None = None) -> dict[str, Outcome]:
        """Outcomes by `client/provider`."""
        shop = shop or self.shop()
        configs = [
            connection
            for connection in self.office.connections()
            if (not providers or connection.provider in providers) and (not clients or connection.client_id in clients)
        ]
        outcomes = sync(shop, configs, now=shop.http.clock.now())
        return {f"{one.client_id}/{one.provider}": one for one in outcomes}

    def process(self, *command: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """A Python process with this home."""
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.settings.environ, **(environ or {}), "PYTHONPATH": str(ROOT)},
        )

    # ---- what is there ----

    def segments(self) -> list[Path]:
        return sorted(self.settings.landing.glob("*/*/*.parquet"))

    def landed(self) -> Counter[Key]:
        """Landed rows by record. Reads every file, so a torn one fails here."""
        rows: Counter[Key] = Counter()
        columns = ["client_id", "provider", "stream", "record_id"]
        for path in self.segments():
            table = pq.read_table(path, columns=columns)
            rows.update(zip(*(table[name].to_pylist() for name in columns), strict=True))
        return rows

    def landed_of(self, client_id: str, provider: str = "", stream: str = "") -> Counter[Key]:
        return Counter(
            {
                key: n
                for key, n in self.landed().items()
                if key[0] == client_id and provider in ("", key[1]) and stream in ("", key[2])
            }
        )

    def cursors(self) -> dict[tuple[str, str, str], tuple[int, str]]:
        """Feed -> (version, cursor as text)."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(feeds)).all()
        return {(row.client_id, row.provider, row.feed): (row.version, row.cursor) for row in rows}

    def state(self, connection: str) -> ConnectionState:
        client_id, _, provider = connection.partition("/")
        return load_states(self.engine)[client_id, provider]


def served(sandbox: RunningSandbox, *arrives: str) -> set[Key]:
    """Every record that a complete sync ends with; only streams that arrive in one of these ways, if given."""
    ways = {(name, stream.name): stream.arrives for name in CONNECTORS for stream in connector_class(name).streams}
    return {
        (client_id, name, stream, record_id)
        for name, provider in sandbox.providers.items()
        for client_id, stream, record_id, _ in provider.records()
        if ways[name, stream] in (arrives or ("pull", "push"))
    }


def fail(sandbox: RunningSandbox, kind: str, **how: object) -> None:
    sandbox.world.faults.append(Fault(kind, **how))  # type: ignore[arg-type]


@contextmanager
def watched(sandbox: RunningSandbox) -> Iterator[list[Call]]:
    """Every request to the sandbox, with the fault that met it."""
    calls: list[Call] = []
    before = sandbox.world.struck

    def struck(provider: str, path: str, kinds: tuple[str, ...]) -> Fault | None:
        fault = before(provider, path, kinds)
        if "429" in kinds:  # asked once for each request, before it is handled
            calls.append(Call(time.monotonic(), provider, path, fault.kind if fault else ""))
        return fault

    sandbox.world.struck = struck  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        del sandbox.world.struck  # type: ignore[method-assign]


def push_everything(home: Home) -> int:
    """Send every webhook of the town to this home's intake; returns how many were acknowledged."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_intake(home.settings, dict(home.settings.environ), port) as intake:
        answer = httpx.post(f"{home.sandbox.origin}/_sandbox/push", json={"to": intake}, timeout=120).json()
    assert answer["refused"] == {}, answer
    return int(answer["total"])


def wait_for(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
