"""An intake on a real socket, in this process or as a process of its own, and what is sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from connectors.base import Connector
from connectors.mail import sign as sign_mail
from connectors.sandbox.provider import Push
from pipeline.desk.intake import intake_app
from pipeline.desk.server import CappedHeads
from pipeline.store.engine import open_store

ROOT = Path(__file__).parents[1]
SECRET = "the-site-signs"


class Desk:
    """An intake in a thread; `rows` reads its SQLite store as another process would."""

    def __init__(self, store: Path, connectors: Any, **settings: Any) -> None:
        self.store = store
        self.engine = open_store(f"sqlite:///{store}")
        config = uvicorn.Config(
            intake_app(self.engine, connectors, **settings),
            port=0,
            http=CappedHeads,
            log_level="error",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self.engine.dispose()

    def url(self, client_id: str, provider: str, tail: str = "") -> str:
        return f"{self.origin}/webhooks/{client_id}/{provider}{tail}"

    def rows(self) -> list[sqlite3.Row]:
        return rows(self.store)

    def send(self, push: Push, provider: str, *, to: str = "") -> httpx.Response:
        url = self.url(to or push.client_id, provider, push.tail)
        return httpx.request(push.method, url, content=push.body, headers=dict(push.sign(url)))


def rows(store: Path, *, after: int = 0) -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("select * from inbox where id > ? order by id", [after]).fetchall()


@contextlib.contextmanager
def desks(folder: Path) -> Iterator[Callable[..., Desk]]:
    """`start(connectors, ...)`: intakes over these connectors (a mapping, or the function that the intake asks)."""
    running: list[Desk] = []

    def start(connectors: Mapping[tuple[str, str], Connector] | Any, **settings: Any) -> Desk:
        find = connectors
        if isinstance(connectors, Mapping):

            def find(client: str, provider: str) -> Sequence[Connector]:
                found = connectors.get((client, provider))
                return [found] if found else []

        running.append(Desk(folder / f"store-{len(running)}.db", find, **settings))
        return running[-1]

    try:
        yield start
    finally:
        for desk in running:
            desk.stop()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "x-leadtrail-signature": f"sha256={digest}"}


def submission(number: int, size: int = 0) -> bytes:
    fields = {"submission_id": f"s-{number}", "name": "Ann Oakes", "email": "ann@example.com", "message": "x" * size}
    return json.dumps(fields).encode()


class Command:
    """`leadtrail intake` as its own process."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store = home / "store.db"
        (home / "clients.yaml").write_text(
            "clients: [{client_id: ridgeline, timezone: America/Chicago, owner: d, connections: "
            '{forms: {secret: "${S}"}, mail: {secret: "${S}"}}}]'
        )
        self._env = {
            **os.environ,
            "LEADTRAIL_HOME": str(home),
            "LEADTRAIL_CLIENTS_FILE": str(home / "clients.yaml"),
            "S": SECRET,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "intake", "--port", str(self.port)],
            cwd=ROOT,
            env=self._env,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the intake did not start")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def stop_by_mail(number: int) -> tuple[dict[str, str], bytes]:
    """(headers, body) of an answer that says stop."""
    event = {"event_id": f"m-{number}", "event": "received", "at": "2026-03-02T17:00:00Z", "text": "STOP"}
    body, stamp = json.dumps({**event, "address": f"a{number}@example.com"}).encode(), str(int(time.time()))
    signed = {"x-leadtrail-timestamp": stamp, "x-leadtrail-signature": sign_mail(SECRET, stamp, body)}
    return {"content-type": "application/json", **signed}, body


def request_of(number: int) -> bytes:
    """Every third is a mail that says stop, the others are forms."""
    path, body = "forms", submission(number, 1000)
    headers = signed(body)
    if number % 3 == 0:
        path = "mail"
        headers, body = stop_by_mail(number)
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    start = f"POST /webhooks/ridgeline/{path} HTTP/1.1\r\nHost: x\r\n"
    return f"{start}{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def send_all(port: int, numbers: Sequence[int], acknowledged: dict[int, float], connections: int) -> None:
    """Send each event until it is acknowledged (new connection after every failure); note how long the answer took."""
    queue = list(reversed(numbers))

    async def one() -> None:
        reader = writer = None
        while queue:
            number = queue.pop()
            while number not in acknowledged:
                try:
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    sent = time.perf_counter()
                    writer.write(request_of(number))
                    answer = await reader.readuntil(b"\r\n\r\n")
                    if answer.startswith(b"HTTP/1.1 200 "):
                        acknowledged[number] = time.perf_counter() - sent
                except (OSError, asyncio.IncompleteReadError):
                    writer = None
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(connections)))
