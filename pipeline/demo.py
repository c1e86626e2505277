"""`leadtrail run`: a working agency in one command, over real HTTP, against the sandbox.

It leaves everything under the home, and can be run again: the town is remembered there, and nothing is added twice.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.demo_accounts import client_email, make_demo_accounts
from pipeline.demo_rules import APPROVER, enable_shipped_rules
from pipeline.demo_summary import publish_a_summary
from pipeline.office import Office
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
    port: int = 0  # the sandbox's, kept: records hold links to it, and would look changed if it moved


class AnotherTown(Exception):
    """The home already holds a different town."""


def remember_town(settings: Settings, wanted: Town) -> Town:
    """The town of this home: the one it was first run with. A different one would mix two towns."""
    path = settings.home / "town.json"
    if not path.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        wanted = replace(wanted, port=free_port())
        path.write_text(json.dumps(wanted.__dict__))
        return wanted
    kept = Town(**json.loads(path.read_text()))
    if kept != replace(wanted, end=kept.end, port=kept.port):
        raise AnotherTown(
            f"{settings.home} holds the town of SEED={kept.seed} CLIENTS={kept.clients} MONTHS={kept.months}. "
            "Run `make clean` first, or set LEADTRAIL_HOME to another folder."
        )
    return kept


@contextlib.contextmanager
def running_town(settings: Settings, town: Town) -> Iterator[dict[str, str]]:
    """Run the sandbox as its own process; give the environment that points Leadtrail at it. Its clients file and secrets are
    copied into the home, so that every other command works there too (and asks this sandbox, never a real provider)."""
    port = town.port if is_free(town.port) else 0
    with _process(settings, sandbox_args(town, port), "sandbox.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox did not start; see {settings.logs / 'sandbox.log'}")
        yield point_at_town(settings, json.loads(line))


def sandbox_args(town: Town, port: int) -> list[str]:
    """For the `leadtrail` command."""
    args = ["sandbox", "--port", str(port), "--seed", str(town.seed), "--clients", str(town.clients)]
    return [*args, "--months", str(town.months), "--leads-per-month", str(town.leads_per_month), "--end", town.end]


def point_at_town(settings: Settings, said: dict[str, Any]) -> dict[str, str]:
    """Copy the clients file and the secrets of a sandbox into the home. `said` is the line it printed."""
    clients, secrets = settings.home / "clients.yaml", settings.home / "secrets.env"
    _write_private(secrets, Path(said["env"]["LEADTRAIL_SECRETS_FILE"]).read_text())
    _write_private(clients, _pointed_here(Path(said["env"]["LEADTRAIL_CLIENTS_FILE"]).read_text(), said["env"]))
    return {
        "LEADTRAIL_CLIENTS_FILE": str(clients),
        "LEADTRAIL_SECRETS_FILE": str(secrets),
        "LEADTRAIL_SANDBOX": f"http://127.0.0.1:{said['port']}",
    }


def _pointed_here(clients: str, environment: dict[str, str]) -> str:
    """The clients file with the sandbox's addresses written into each connection."""
    document = yaml.safe_load(clients)
    for client in document["clients"]:
        for provider, options in client["connections"].items():
            for option in ("base_url", "token_url"):
                address = environment.get(f"LEADTRAIL_{provider}_{option}".upper())
                if address:
                    options[option] = address
    return yaml.safe_dump(document, sort_keys=False)


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


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
        _step(console, "sandbox serves nine sources", started)
        warmed = threading.Thread(target=_warm)  # imports take seconds: do them while the webhooks are sent
        warmed.start()
        with running_intake(settings, environment, free_port()) as intake:
            pushed = _push(console, environment["LEADTRAIL_SANDBOX"], intake, started)
        warmed.join()
        began = time.monotonic()
        ran = _materialize(console, settings, started)
        took = time.monotonic() - began
        if ran.ok:
            _follow_up(console, town, started)
            accounts = make_demo_accounts(Office.from_env(), now=datetime.now(UTC))
            _step(console, f"demo accounts for the desk and the portal, with their passwords: {accounts}", started)
            _publish(console, started)
    _summary(console, settings, ran, pushed, took, time.monotonic() - started)
    return ran.ok


def _follow_up(console: Console, town: Town, started: float) -> None:
    with console.status("replaying the follow-up rules over the town's history") as status:
        told = enable_shipped_rules(
            Office.from_env(),  # the town's clients file is known only since it runs
            now=datetime.now(UTC),
            months=town.months,
            progress=lambda rule: status.update(f"replaying {rule} over the town's history"),
        )
    if told is not None:
        _step(
            console,
            f"{told.rules} follow-up rules replayed: over {town.months} months they would have sent "
            f"{told.tasks:,} tasks, {told.texts:,} texts and {told.mails:,} mails; in force from now on",
            started,
        )


def _publish(console: Console, started: float) -> None:
    with console.status("writing summaries for clients"):
        client = publish_a_summary(Office.from_env(), now=datetime.now(UTC))
    if client is None:
        _step(console, "summaries are written; none can be approved as it is: see the desk", started)
        return
    _step(console, f"summaries written; {client}'s last month approved by {APPROVER} and published", started)
    console.print(
        "    Open it: `make ui` serves the desk and the portal; then "
        f"`leadtrail portal link {client_email(client)}` prints a link that signs {client} in.",
        highlight=False,
        soft_wrap=True,
    )


def _warm() -> None:
    import pipeline.definitions  # noqa: F401


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
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


@dataclass
class _Ran:
    """What the runs did: new records by provider and stream, clients that did not finish, checks made and failed."""

    new: dict[str, Counter[str]]
    unfinished: Counter[str]
    checks: int = 0
    failed: list[str] = field(default_factory=list)
    ok: bool = True


def _materialize(console: Console, settings: Settings, started: float) -> _Ran:
    """Sync, build, test and publish as the Dagster runs that the schedules would start, so that all of it shows in the UI."""
    import dagster as dg

    from connectors.registry import CONNECTORS, reads_from
    from pipeline.dagster_home import prepare_dagster_home
    from pipeline.definitions import defs

    prepare_dagster_home(settings)
    logging.getLogger("dagster").setLevel(logging.WARNING)  # what it would say is in the run's own log
    ran = _Ran(defaultdict(Counter), Counter())
    quiet = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    jobs = {f"sync_{provider}": f"syncing {provider}" for provider in CONNECTORS if reads_from(provider)}
    jobs["build_warehouse"] = "building and testing the models"
    with console.status("") as status, _Tail(settings.logs / "run.log") as log, dg.DagsterInstance.get() as instance:
        for name, what in jobs.items():
            status.update(what)
            log.show = lambda line, what=what: status.update(f"{what}  [dim]{escape(line[:90])}[/dim]")  # type: ignore[misc]
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                job = defs.resolve_job_def(name)
                result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=quiet)
            _count(ran, result)
            if not result.success:
                console.print(f"  [red]✗[/red] {what} did not finish")
            elif name != "build_warehouse":
                provider = name.removeprefix("sync_")
                _step(console, f"{provider}: {ran.new[provider].total():,} new records", started)
            else:
                _step(console, "models built, tested and published", started)
    return ran


def _count(ran: _Ran, result: Any) -> None:
    ran.ok = ran.ok and result.success
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        values = {name: entry.value for name, entry in materialization.metadata.items()}
        if "new_records" in values:
            provider, stream = materialization.asset_key.path
            ran.new[provider][stream] += int(values["new_records"])
            ran.unfinished[provider] = int(values["unfinished_clients"])
    for check in result.get_asset_check_evaluations():
        ran.checks += 1
        if not check.passed:
            ran.failed.append(check.check_name)


class _Tail(io.TextIOBase):
    """A log file that also shows its last line."""

    def __init__(self, path: Path) -> None:
        self.show: Callable[[str], None] = lambda line: None
        self._file = path.open("a", encoding="utf-8")

    def write(self, text: str) -> int:
        self._file.write(text)
        lines = [line for line in text.splitlines() if line.strip()]
        if lines:
            self.show(lines[-1].strip())
        return len(text)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        super().close()  # flushes
        self._file.close()


def _summary(
    console: Console, settings: Settings, ran: _Ran, pushed: dict[str, Any], took: float, total: float
) -> None:
    table = Table("source", "new records", "webhooks", "what came in", box=None)
    for provider, streams in ran.new.items():
        named = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in streams.most_common() if count)
        late = f" [red]{ran.unfinished[provider]} clients unfinished[/red]" if ran.unfinished[provider] else ""
        webhooks = pushed["acknowledged"].get(provider, 0)
        table.add_row(provider, f"{streams.total():,}", f"{webhooks:,}", (named or "nothing new") + late)
    console.print(table)
    console.print(
        f"{ran.checks - len(ran.failed)} of {ran.checks} checks passed. "
        f"Sync and build took {took:.0f} s, everything {total:.0f} s."
    )
    if ran.failed:
        console.print(f"Not passed: {', '.join(ran.failed)}. Why is in `make ui`, with each check.")
    if ran.ok:
        console.print(f"Next: [bold]make ui[/bold] to browse it, or open {settings.analytics} with any DuckDB tool.")
    else:
        console.print(f"[red]The run did not finish.[/red] See {settings.logs / 'run.log'} or `make ui`.")
