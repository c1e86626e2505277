"""One part of a large town in landing: some clients' twelve months, as a first sync and their webhooks would have left them.

The sandbox's providers answer the real connectors within this process, without a socket. The clock stands still where a sync
would wait, and one thread does all, so that the same arguments always land the same rows.
"""

from __future__ import annotations

import argparse
import gc
import shutil
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from connectors.base import WebhookRequest
from connectors.http import Clock, Http
from connectors.registry import CONNECTORS, sandbox_provider
from connectors.sandbox.provider import Push, Request, SandboxProvider, World
from connectors.sandbox.run import write_clients
from connectors.sandbox.server import Sandbox
from connectors.sandbox.town import make_town
from connectors.sandbox.truth import write_truth
from pipeline.clients import load_clients
from pipeline.directory import write_directory
from pipeline.landing import Batch, Landing, content_keys
from pipeline.settings import Settings
from pipeline.store.connections import load_states
from pipeline.store.engine import open_store
from pipeline.sync import sync
from pipeline.workshop import Workshop

SEED = 7
END = datetime(2026, 11, 1, tzinfo=UTC)
MONTHS = 12
LEADS_PER_MONTH = 180  # some 25,000 records a client
ORIGIN = "http://sandbox"
CARRY_RECORDS = (
    "thumbtack",
    "angi",
    "twilio",
    "forms",
)  # the others' webhooks are hints of what a sync has read already


class StandingClock(Clock):
    """It is END, and a microsecond later each time somebody asks; whoever sleeps finds that the time has passed."""

    def __init__(self) -> None:
        self._slept = 0.0
        self._asked = 0

    def now(self) -> datetime:
        self._asked += 1
        return END + timedelta(microseconds=self._asked)

    def monotonic(self) -> float:
        return self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


class InProcess(httpx.BaseTransport):
    """Hands requests to the sandbox's providers."""

    def __init__(self, providers: Mapping[str, SandboxProvider]) -> None:
        self.providers = providers

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raw, _, query = request.url.raw_path.decode("ascii").partition("?")
        name, _, path = raw.lstrip("/").partition("/")
        headers = {key.lower(): value for key, value in request.headers.items()}
        asked = Request(request.method, f"/{path}", query, headers, request.read(), f"{ORIGIN}/{name}")
        reply = self.providers[name].handle(asked)
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


def land_part(folder: Path, first: int, clients: int, seed: int = SEED) -> None:
    """Leave landing/ and directory/ in the folder, and truth.json: what really happened."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gc.disable()  # the town is all made to stay
    town = make_town(seed, clients=clients, months=MONTHS, leads_per_month=LEADS_PER_MONTH, end=END, first=first)
    world = World(seed, now=lambda: END)
    providers: dict[str, SandboxProvider] = {name: sandbox_provider(name)(town, world) for name in CONNECTORS}
    gc.freeze()
    gc.enable()
    write_truth(folder / "truth.json", town, providers.values())
    write_clients(Sandbox(list(providers.values()), world, ORIGIN), town, folder)
    environ = {"LEADTRAIL_HOME": str(folder)}
    for name, provider in providers.items():
        environ |= provider.env(f"{ORIGIN}/{name}")
    settings = Settings.from_env(environ)
    engine = open_store(settings.store_url)
    shop = Workshop(settings, engine, http=Http(clock=StandingClock(), transport=InProcess(providers)))
    served = load_clients(settings)
    for outcome in sync(
        shop, [connection for client in served for connection in client.connections], now=END, workers=1
    ):
        if outcome.state != "ok":
            raise SystemExit(f"{outcome.client_id}/{outcome.provider}: {outcome.reason} {outcome.fix}")
    _land_webhooks(shop, providers, settings.landing)
    write_directory(folder / "directory", served, load_states(engine))
    engine.dispose()
    for rest in ("store.db", "store.db-shm", "store.db-wal", "store.key", "secrets.env", "clients.yaml"):
        (folder / rest).unlink(missing_ok=True)


def _land_webhooks(shop: Workshop, providers: Mapping[str, SandboxProvider], root: Path) -> None:
    landing = Landing(root, commit=lambda segments, done: None)
    pushes: dict[tuple[str, str], list[Push]] = defaultdict(list)
    for name in CARRY_RECORDS:
        for push in providers[name].pushes():
            pushes[push.client_id, name].append(push)
    for client in load_clients(shop.settings):
        for config in client.connections:
            if config.provider not in CARRY_RECORDS:
                continue
            connector, _ = shop.connector(config)
            url = f"{ORIGIN}/webhooks/{config.client_id}/{config.provider}"
            seen: set[str] = set()  # the inbox keeps one of several deliveries
            for push in sorted(pushes[config.client_id, config.provider], key=lambda push: push.at):
                headers = {key.lower(): value for key, value in push.sign(url + push.tail).items()}
                request = WebhookRequest(url + push.tail, headers, push.body, push.at, push.method, push.tail)
                if (key := connector.accept(request).dedupe_key) in seen:
                    continue
                seen.add(key)
                for stream, record in connector.receive(connector.kept(request)).records:
                    keys = content_keys(config.client_id, config.provider, stream, [record])
                    landing.add([Batch(config.client_id, config.provider, stream, "webhook", push.at, [record], keys)])
    landing.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--first", type=int, required=True, help="number of the first client")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    land_part(args.folder, args.first, args.clients, args.seed)


if __name__ == "__main__":
    main()
