"""`leadtrail up`: everything that runs for long, under one supervisor: intake, desk and portal, code server, run starter, the
daemon and pages of Dagster, and, in a home that `leadtrail run` made, the sandbox town, so that schedules have someone to ask."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from pipeline.dagster_home import prepare_dagster_home
from pipeline.demo import Town, free_port, is_free, point_at_town, sandbox_args
from pipeline.demo_accounts import kept_in
from pipeline.office import Office
from pipeline.run_starter import serve
from pipeline.settings import Settings
from pipeline.supervisor import AlreadyUp, Service, Supervisor, listens
from pipeline.verification.addresses import Addresses

ROOT = Path(__file__).parent.parent
HERE = "127.0.0.1"  # Dagster's pages have no login
OURS = "pipeline.definitions"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ports:
    dagster: int
    intake: int
    desk: int
    portal: int

    def addresses(self, settings: Settings) -> Addresses:
        return Addresses(
            intake=f"http://{HERE}:{self.intake}",
            desk=settings.desk_url or f"http://{HERE}:{self.desk}",
            portal=settings.portal_url or f"http://{HERE}:{self.portal}",
            dagster=f"http://{HERE}:{self.dagster}",
        )


def run_everything(settings: Settings, *, ports: Ports, console: Console, definitions: str = OURS) -> int:
    """Run until SIGTERM or SIGINT. `definitions` is the module that Dagster serves. Returns the exit status."""

    def tell(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with _alone(settings):
        supervisor = Supervisor(logs=settings.logs, note=settings.home / "up.json", cwd=ROOT, tell=tell)
        supervisor.stop_on_signals()
        if left := supervisor.stop_leftovers():
            tell(f"{left} processes of a Leadtrail that was killed were ended.")
        _check_ports(*astuple(ports))
        try:
            _prepare(supervisor, settings, tell)
            for service in _services(settings, ports, definitions):
                if not supervisor.stopping:
                    supervisor.start(service)
            if not supervisor.stopping:
                addresses = ports.addresses(settings)
                addresses.write(settings.home)
                tell(f"Desk    {addresses.desk}{_who_may_sign_in(settings)}")
                tell(f"Portal  {addresses.portal}")
                tell(f"Intake  {addresses.intake}/webhooks/<client>/<provider>")
                tell(f"Dagster {addresses.dagster}   (Ctrl-C stops everything)")
            supervisor.run()
        finally:
            supervisor.stop()
            _stop_runs()
    return 0


def _prepare(supervisor: Supervisor, settings: Settings, tell: Tell) -> None:
    prepare_dagster_home(settings)
    if (settings.home / "town.json").exists():
        _start_town(supervisor, settings, tell)
    Office.from_env().connections()  # a mistake in the clients file is told now, not in every run
    _sweep(tell)


def _who_may_sign_in(settings: Settings) -> str:
    demo = kept_in(settings.home)
    return f"   (accounts: {demo})" if demo.exists() else ""


def _services(settings: Settings, ports: Ports, definitions: str) -> list[Service]:
    """In the order in which they are started."""
    code = free_port()
    workspace = str(_write_workspace(settings, code))
    served = ["--host", HERE, "--port", str(code), "--module-name", definitions, "--location-name", "leadtrail"]
    return [
        Service("intake", _leadtrail("intake", "--port", str(ports.intake)), listens(ports.intake)),
        Service(
            "desk",
            _leadtrail("desk", "--port", str(ports.desk), "--portal-port", str(ports.portal)),
            lambda: listens(ports.desk)() and listens(ports.portal)(),
        ),
        Service(
            "code", [*_beside("dagster"), "api", "grpc", *served], listens(code)
        ),  # it listens once it has loaded them
        Service("runs", serve(definitions)),
        Service("daemon", [*_beside("dagster-daemon"), "run", "--workspace", workspace]),
        Service(
            "dagster",
            [*_beside("dagster-webserver"), "--host", HERE, "--port", str(ports.dagster), "--workspace", workspace],
            listens(ports.dagster),
        ),
    ]


def _start_town(supervisor: Supervisor, settings: Settings, tell: Tell) -> None:
    town = Town(**json.loads((settings.home / "town.json").read_text()))
    port = town.port if is_free(town.port) else free_port()
    log = settings.logs / "sandbox.log"
    before = len(_said(log))
    supervisor.start(Service("sandbox", _leadtrail(*sandbox_args(town, port)), lambda: len(_said(log)) > before))
    if not supervisor.stopping:
        os.environ.update(point_at_town(settings, _said(log)[-1]))
        tell(f"Sandbox town of seed {town.seed} is running; schedules sync it.")


def _said(log: Path) -> list[dict[str, Any]]:
    """What the sandboxes that wrote to this log said when they were ready."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line) for line in lines if line.startswith('{"port"') and line.endswith("\n")]


def _sweep(tell: Tell) -> None:
    import dagster as dg

    from pipeline.boot import sweep

    with dg.DagsterInstance.get() as instance:
        swept = sweep(instance)
    if swept.failed:
        tell(f"{len(swept.failed)} runs whose process was gone were marked as failed, and their slots freed.")


def _stop_runs() -> None:
    import dagster as dg

    from pipeline.boot import stop_runs

    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            stop_runs(instance)


def _leadtrail(*args: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *args]


def _beside(name: str) -> list[str]:
    """Ours, whatever is on PATH; the interpreter is named because a script's first line can't hold a long path."""
    return [sys.executable, str(Path(sys.executable).with_name(name))]


def _write_workspace(settings: Settings, port: int) -> Path:
    path = settings.dagster_home / "workspace.yaml"
    server = {"host": HERE, "port": port, "location_name": "leadtrail"}
    path.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    return path


def _check_ports(*ports: int) -> None:
    for port in ports:
        if not is_free(port):
            raise AlreadyUp(f"Port {port} is taken. Stop what listens there, or choose another (see --help).")


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two daemons over one home would start everything twice. The lock dies with its process."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "unknown"
            raise AlreadyUp(
                f"Leadtrail is running in {settings.home} already (process {who}). Stop it first."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
