"""`leadtrail up`: everything that runs for long, as one process group: intake, Dagster's web server and daemon, and, in a home
that `leadtrail run` made, the sandbox town, so that schedules have someone to ask."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from pipeline.dagster_home import prepare_dagster_home
from pipeline.demo import Town, running_intake, running_town
from pipeline.manifest import manifest_path
from pipeline.office import Office
from pipeline.settings import Settings

ROOT = Path(__file__).parent.parent


def run_everything(settings: Settings, *, port: int, intake_port: int, console: Console) -> int:
    """Run until interrupted. Returns the exit status of Dagster."""
    prepare_dagster_home(settings)
    manifest_path(settings)
    with contextlib.ExitStack() as stack:
        town = settings.home / "town.json"
        if town.exists():
            kept = Town(**json.loads(town.read_text()))
            os.environ.update(stack.enter_context(running_town(settings, kept)))
            console.print(f"Sandbox town of seed {kept.seed} is running; schedules sync it.")
        Office.from_env().connections()  # a mistake in the clients file is told now, not in every run
        failed = fail_orphaned_runs()
        if failed:
            console.print(f"{failed} runs that died with their machine were marked as failed.")
        intake = stack.enter_context(running_intake(settings, dict(os.environ), intake_port))
        console.print(f"Intake  {intake}/webhooks/<client>/<provider>")
        console.print(f"Dagster http://127.0.0.1:{port}   (Ctrl-C stops everything)")
        with (settings.logs / "dagster.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            return _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> int:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return 0


def fail_orphaned_runs() -> int:
    """Runs that a killed machine left as running would hold their slots for ever: Dagster's launcher never notices."""
    import dagster as dg

    running = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=running))
        for run in runs:
            instance.report_run_failed(run, "Its process died with the machine; Leadtrail was started again.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(runs)
