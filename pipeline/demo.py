"""`leadtrail run`: a working agency in one command, over real HTTP, against the sandbox.

It leaves everything under the home, and can be run again: the town is remembered there, and nothing is added twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings

START_SECONDS = 60


@dataclass(frozen=True)
class Town:
    """Which town this home holds."""

    seed: int
    clients: int
    months: int
    leads_per_month: int
    end: str


class AnotherTown(Exception):
    """The home already holds a different town."""


def remember_town(settings: Settings, wanted: Town) -> Town:
    """The town of this home: the one it was first run with. A different one would mix two towns."""
    path = settings.home / "town.json"
    if not path.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted.__dict__))
        return wanted
    kept = Town(**json.loads(path.read_text()))
    if (kept.seed, kept.clients, kept.months, kept.leads_per_month) != (
        wanted.seed,
        wanted.clients,
        wanted.months,
        wanted.leads_per_month,
    ):
        raise AnotherTown(
            f"{settings.home} holds the town of SEED={kept.seed} CLIENTS={kept.clients} MONTHS={kept.months}. "
            "Run `make clean` first, or set LEADTRAIL_HOME to another folder."
        )
    return kept


@contextlib.contextmanager
def running_town(settings: Settings, town: Town) -> Iterator[dict[str, str]]:
    """Run the sandbox as its own process; give the environment that points Leadtrail at it."""
    args = ["sandbox", "--port", "0", "--seed", str(town.seed), "--clients", str(town.clients)]
    args += ["--months", str(town.months), "--leads-per-month", str(town.leads_per_month), "--end", town.end]
    with _process(settings, args, "sandbox.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox did not start; see {settings.logs / 'sandbox.log'}")
        said = json.loads(line)
        yield {**said["env"], "LEADTRAIL_SANDBOX": f"http://127.0.0.1:{said['port']}"}


@contextlib.contextmanager
def running_intake(settings: Settings, environment: dict[str, str], port: int) -> Iterator[str]:
    """Run the intake as its own process; give its address once it answers."""
    with _process(settings, ["intake", "--port", str(port)], "intake.log", environment=environment) as process:
        origin = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{origin}/healthz").status_code == 200:
                    yield origin
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the intake did not start; see {settings.logs / 'intake.log'}")


@contextlib.contextmanager
def _process(
    settings: Settings,
    args: list[str],
    log: str,
    *,
    environment: dict[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    settings.logs.mkdir(parents=True, exist_ok=True)
    with (settings.logs / log).open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", *args],
            stdout=stdout or errors,
            stderr=errors,
            env={**os.environ, **(environment or {}), "LEADTRAIL_HOME": str(settings.home)},
            cwd=Path(__file__).parent.parent,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def run_demo(*, seed: int, clients: int, months: int, leads_per_month: int, console: Console) -> bool:
    """The whole way once. True if everything finished."""
    settings = Settings.from_env()
    started = time.monotonic()
    end = datetime.now(UTC).date().isoformat()
    town = remember_town(settings, Town(seed, clients, months, leads_per_month, end))
    console.print(f"[bold]Leadtrail[/bold] · town of seed {town.seed}: {town.clients} clients, {town.months} months")
    with running_town(settings, town) as environment:
        os.environ.update(environment)
        _step(console, "sandbox serves eight sources", started)
        warmed = threading.Thread(target=_warm)  # imports take seconds: do them while the webhooks are sent
        warmed.start()
        with running_intake(settings, environment, _free_port()) as intake:
            pushed = _push(console, environment["LEADTRAIL_SANDBOX"], intake, started)
        warmed.join()
        began = time.monotonic()
        result = _materialize(console, settings, started)
        took = time.monotonic() - began
    _summary(console, settings, result, pushed, took, time.monotonic() - started)
    return bool(result.success)


def _warm() -> None:
    import pipeline.definitions  # noqa: F401


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _step(console: Console, what: str, started: float) -> None:
    console.print(f"  [green]✓[/green] {what} [dim]({time.monotonic() - started:.0f} s)[/dim]")


def _push(console: Console, sandbox: str, intake: str, started: float) -> dict[str, Any]:
    with console.status("sending the town's webhooks") as status:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.5):
                with contextlib.suppress(httpx.HTTPError):
                    counts = httpx.get(f"{intake}/healthz").json()["counts"]
                    status.update(f"sending the town's webhooks: {counts.get('stored', 0):,} stored")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        answer: dict[str, Any] = httpx.post(f"{sandbox}/_sandbox/push", json={"to": intake}, timeout=600).json()
        stop.set()
    _step(console, f"{answer['total']:,} webhooks received, checked and stored", started)
    return answer


def _materialize(console: Console, settings: Settings, started: float) -> Any:
    """Sync, build, test and publish as one Dagster run, so that all of it is there to see in the UI."""
    import dagster as dg

    from pipeline.dagster_home import prepare_dagster_home
    from pipeline.definitions import defs

    prepare_dagster_home(settings)
    job = defs.resolve_implicit_global_asset_job_def()
    log = (settings.logs / "run.log").open("a")
    with (
        console.status("syncing every provider") as status,
        log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        watcher = _Watch(console, status, started)
        with dg.DagsterInstance.get() as instance:
            instance.add_event_listener  # noqa: B018
            result = job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
            )
        watcher.done(result)
    return result


class _Watch:
    def __init__(self, console: Console, status: Any, started: float) -> None:
        self.console, self.status, self.started = console, status, started

    def done(self, result: Any) -> None:
        pass


def _summary(
    console: Console, settings: Settings, result: Any, pushed: dict[str, Any], took: float, total: float
) -> None:
    new: dict[str, Counter[str]] = defaultdict(Counter)
    unfinished: Counter[str] = Counter()
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        values = {name: entry.value for name, entry in materialization.metadata.items()}
        if "new_records" in values:
            provider, stream = materialization.asset_key.path
            new[provider][stream] += int(values["new_records"])
            unfinished[provider] = int(values["unfinished_clients"])
    table = Table("source", "new records", "webhooks", "what came in", box=None)
    for provider, streams in new.items():
        named = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in streams.most_common() if count)
        state = f" [red]{unfinished[provider]} clients unfinished[/red]" if unfinished[provider] else ""
        table.add_row(
            provider,
            f"{streams.total():,}",
            f"{pushed['acknowledged'].get(provider, 0):,}",
            (named or "nothing new") + state,
        )
    console.print(table)
    checks = [event for event in result.get_asset_check_evaluations()]
    passed = sum(check.passed for check in checks)
    console.print(
        f"{passed} of {len(checks)} checks passed. Sync and build took {took:.0f} s, everything {total:.0f} s."
    )
    if result.success:
        console.print(f"Next: [bold]make ui[/bold] to browse it, or open {settings.analytics} with any DuckDB tool.")
    else:
        console.print(f"[red]The run did not finish.[/red] See {settings.logs / 'run.log'} or `make ui`.")
