"""Start the sandbox: make the town, open every provider on one loopback port, say how to reach them.

`serve` is the command (one line of JSON on stdout once it accepts connections); `start_sandbox` is the same in a thread.
Both write a clients file and a secrets file as a person would, into a private directory that goes when they stop.
"""

from __future__ import annotations

import gc
import json
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from connectors.base import Secret
from connectors.registry import CONNECTORS, sandbox_provider
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import SandboxProvider, World
from connectors.sandbox.server import Sandbox
from connectors.sandbox.town import make_town
from connectors.sandbox.truth import write_truth

OWNER = "success@agency.example"
PLAIN = re.compile(r"[A-Za-z0-9._~:/+=-]*")
EVERY_PROVIDER = tuple(CONNECTORS)


@dataclass
class RunningSandbox:
    """A sandbox in a thread of this process."""

    origin: str
    env: dict[str, str]
    town: Town
    world: World
    providers: dict[str, SandboxProvider]
    app: Sandbox
    _server: uvicorn.Server
    _thread: threading.Thread
    _files: tempfile.TemporaryDirectory[str]

    def credentials(self) -> dict[str, dict[str, Any]]:
        return first_credentials(self.app, self.town)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        for provider in self.providers.values():
            provider.close()
        self._files.cleanup()


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    def __init__(self, app: Sandbox) -> None:
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=3)
        super().__init__(config)
        self.accepting = threading.Event()
        self.line = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.line:
            sys.stdout.write(self.line + "\n")
            sys.stdout.flush()
        self.accepting.set()


def serve(
    port: int,
    seed: int,
    clients: int,
    months: int,
    leads_per_month: int,
    truth_path: Path | None,
    end: datetime,
) -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, _leave)
    gc.disable()  # the town is all made to stay: looking for garbage in it would double the time
    town = make_town(seed, clients=clients, months=months, leads_per_month=leads_per_month, end=end)
    listener = _listen(port)
    app = _open(town, World(seed), listener, EVERY_PROVIDER)
    if truth_path:
        write_truth(truth_path, town, app.providers.values())
    gc.freeze()
    gc.enable()
    with tempfile.TemporaryDirectory(prefix="leadtrail-sandbox-") as folder:
        server = _Server(app)
        said = {"port": listener.getsockname()[1], "env": _environment(app, town, Path(folder))}
        server.line = json.dumps({**said, "credentials": first_credentials(app, town)})
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return  # uvicorn has shut down cleanly and passes the signal on


def start_sandbox(
    *,
    seed: int = 7,
    clients: int = 3,
    months: int = 6,
    leads_per_month: int = 60,
    end: datetime,
    now: datetime | None = None,
    port: int = 0,
    truth_path: Path | None = None,
    providers: Sequence[str] = EVERY_PROVIDER,
) -> RunningSandbox:
    """The sandbox in a thread; returns once it accepts connections. `now` fixes the providers' clock."""
    town = make_town(seed, clients=clients, months=months, leads_per_month=leads_per_month, end=end)
    world = World(seed, now=(lambda: now) if now else None)
    listener = _listen(port)
    app = _open(town, world, listener, providers)
    if truth_path:
        write_truth(truth_path, town, app.providers.values())
    files = tempfile.TemporaryDirectory(prefix="leadtrail-sandbox-")
    env = _environment(app, town, Path(files.name))
    server = _Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True)
    thread.start()
    if not server.accepting.wait(timeout=30):
        raise RuntimeError("the sandbox did not start to listen within 30 s; look for an error above")
    return RunningSandbox(app.origin, env, town, world, dict(app.providers), app, server, thread, files)


def first_credentials(app: Sandbox, town: Town) -> dict[str, dict[str, Any]]:
    """What the first client's own account pages show, by provider."""
    return {
        name: provider.credentials(town.clients[0], f"{app.origin}/{name}") for name, provider in app.providers.items()
    }


# ---- what a person would write down ------------------------------------------------------------------------


def write_clients(app: Sandbox, town: Town, folder: Path) -> tuple[Path, Path]:
    """The clients file, and the file of the secrets it refers to."""
    secrets: list[str] = []
    lines = ["clients:"]
    for client in town.clients:
        lines += [
            f"  - client_id: {client.client_id}",
            f"    name: {json.dumps(client.name)}",
            f"    timezone: {client.timezone}",
            f"    owner: {OWNER}",
            f"    joined_on: {client.joined_at.date()}",
            f"    follow_up: {json.dumps(_follow_up(client))}",
            "    connections:",
        ]
        for name, provider in app.providers.items():
            options = provider.connection(client, f"{app.origin}/{name}")
            # JSON is YAML, and a thousand clients are written in no time
            written = {key: _option(client, name, key, value, secrets) for key, value in options.items()}
            lines.append(f"      {name}: {json.dumps(written)}")
    return _private(folder / "clients.yaml", lines), _private(folder / "secrets.env", secrets)


def _follow_up(client: Client) -> dict[str, str]:
    """What the town's clients have set for messages and tasks: all of it, so that nothing is held back for want of a setting."""
    site = f"https://www.{client.domain}"
    return {
        "postal_address": f"100 Main St, {client.city}, {client.state} {client.zip_codes[0]}",
        "texting": "approved",
        "office_phone": client.office_phone,
        "booking_link": f"{site}/book",
        "review_link": f"{site}/review",
        "lead_owner": client.staff[0].email,
        "agency_owner": OWNER,
    }


def _option(client: Client, provider: str, key: str, value: Any, secrets: list[str]) -> Any:
    if not isinstance(value, Secret):
        return value
    reference = re.sub(r"[^A-Z0-9]+", "_", f"{client.client_id}_{provider}_{key}".upper())
    plain = value.reveal()
    secrets.append(f"{reference}={plain if PLAIN.fullmatch(plain) else json.dumps(plain)}")
    return f"${{{reference}}}"


def _private(path: Path, lines: list[str]) -> Path:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


# ---- parts -------------------------------------------------------------------------------------------------


def _listen(port: int) -> socket.socket:
    """Take the port before anything else: the providers' links carry it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise SystemExit(
            f"Port {port} cannot be used ({error.strerror}). Choose another, or 0 for a free one."
        ) from None
    return listener


def _open(town: Town, world: World, listener: socket.socket, names: Sequence[str]) -> Sandbox:
    providers = [sandbox_provider(name)(town, world) for name in names]
    return Sandbox(providers, world, f"http://127.0.0.1:{listener.getsockname()[1]}")


def _environment(app: Sandbox, town: Town, folder: Path) -> dict[str, str]:
    """Settings that point Leadtrail at this sandbox."""
    clients_file, secrets_file = write_clients(app, town, folder)
    env: dict[str, str] = {}
    for name, provider in app.providers.items():
        env |= provider.env(f"{app.origin}/{name}")
    return {**env, "LEADTRAIL_CLIENTS_FILE": str(clients_file), "LEADTRAIL_SECRETS_FILE": str(secrets_file)}


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
