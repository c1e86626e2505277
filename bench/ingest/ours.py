"""Leadtrail's own way from HTTP to landing: `pipeline.sync.sync` with the real store, landing and connectors.

    calls   one CallRail connection with all the calls
    tick    1,000 clients with CallRail and QuickBooks: twelve streams each, some five new records in every one, an hour after a
            first sync (`first-tick`, not measured); each text conversation is fetched by itself, each QuickBooks token renewed

`prepare` (not measured) makes the operational store and lets dbt build the model of calls over one record, to keep the statement
that it compiles for a first load: `bench.ingest.stage` runs it.

The clock jumps where a sync would wait: CallRail allows an account 1,000 calls an hour, and the first 800 would be followed by a
pause of most of an hour. Quotas set the time that passes, not the work that is done.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

from bench.ingest.server import COMPANY, END
from connectors.http import Clock, Http
from pipeline.clients import load_clients
from pipeline.connection_run import Outcome
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.sync import sync
from pipeline.workshop import Workshop

MODEL = "base_callrail__calls"
TINY_CLIENTS = 1000
HOUR = timedelta(hours=1)


class JumpingClock(Clock):
    """Starts at a given time and does not sleep."""

    def __init__(self, now: datetime) -> None:
        self._start, self._slept = now, 0.0
        self._began = super().monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic() - self._began)

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


def settings(home: Path, origin: str) -> Settings:
    environ = {
        "LEADTRAIL_HOME": str(home),
        "LEADTRAIL_CLIENTS_FILE": str(home / "clients.yaml"),
        "LEADTRAIL_CALLRAIL_BASE_URL": origin,
        "LEADTRAIL_QUICKBOOKS_BASE_URL": origin,
        "LEADTRAIL_QUICKBOOKS_TOKEN_URL": f"{origin}/oauth2/v1/tokens/bearer",
        "BENCH_SECRET": "bench",
    }
    return Settings.from_env(environ)


def write_clients(home: Path, *, tiny: bool) -> None:
    lines = ["clients:"]
    for n in range(1001, 1001 + TINY_CLIENTS) if tiny else (1,):
        lines += [
            f"  - client_id: client-{n}",
            "    timezone: America/Chicago",
            "    owner: bench",
            "    connections:",
            f"      callrail: {{account_id: ACC{n}, company_ids: [{COMPANY}], api_key: '${{BENCH_SECRET}}'}}",
        ]
        if tiny:
            secrets = ", ".join(f"{name}: '${{BENCH_SECRET}}'" for name in ("client_secret", "refresh_token"))
            lines.append(f"      quickbooks: {{realm_id: '{n}', client_id: app, {secrets}}}")
    (home / "clients.yaml").write_text("\n".join(lines) + "\n")


def run_sync(home: Path, origin: str, now: datetime, streams: set[tuple[str, str]] | None = None) -> list[Outcome]:
    where = settings(home, origin)
    configs = [connection for client in load_clients(where) for connection in client.connections]
    shop = Workshop(where, open_store(where.store_url), http=Http(clock=JumpingClock(now)))
    outcomes = sync(shop, configs, now=now, streams=streams)
    for outcome in outcomes:
        if outcome.state != "ok":
            raise SystemExit(f"{outcome.client_id}/{outcome.provider}: {outcome.reason} {outcome.fix}")
    return outcomes


def calls(home: Path, origin: str, records: int) -> None:
    write_clients(home, tiny=False)
    (outcome,) = run_sync(home, origin, END, {("callrail", "calls")})
    if outcome.landed["calls"] != records:
        raise SystemExit(f"{outcome.landed['calls']} of {records} calls landed")


def tick(home: Path, origin: str, now: datetime) -> None:
    outcomes = run_sync(home, origin, now)
    streams = [count for outcome in outcomes for count in outcome.landed.values() if count]
    print(json.dumps({"streams": len(streams), "records": sum(streams)}))


def prepare(home: Path) -> None:
    from connectors.base import Record
    from pipeline.landing import Batch, Landing, content_keys
    from pipeline.warehouse import build

    where = settings(home, "")
    open_store(where.store_url).dispose()
    record = Record("CAL1", b'{"id":"CAL1","start_time":"2026-03-01T10:00:00-05:00","direction":"inbound"}')
    landing = Landing(where.landing, commit=lambda segments, done: None)
    keys = content_keys("prepare", "callrail", "calls", [record])
    landing.add([Batch("prepare", "callrail", "calls", "pull", END, [record], keys)])
    landing.flush()
    build(where, select=[MODEL])
    (statement,) = (where.dbt_target / "compiled").rglob(f"{MODEL}.sql")
    (segment,) = where.landing.rglob("*.parquet")
    text = statement.read_text()
    if not text.count("read_parquet(") == text.count(f"'{segment}'") > 0:
        raise SystemExit(f"the compiled statement of {MODEL} does not name its segment where it is expected")
    (home / "statement.sql").write_text(text.replace(f"'{segment}'", "{segments}"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("prepare", "calls", "first-tick", "tick"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--origin", default="")
    parser.add_argument("--records", type=int, default=0)
    args = parser.parse_args()
    if args.what == "prepare":
        args.home.mkdir(parents=True)
        prepare(args.home)
    elif args.what == "calls":
        calls(args.home, args.origin, args.records)
    else:
        if args.what == "first-tick":
            write_clients(args.home, tiny=True)
        tick(args.home, args.origin, END if args.what == "first-tick" else END + HOUR)


if __name__ == "__main__":
    sys.exit(main())
