"""How Dagster starts our runs: each as a process of its own that it knows by name, so that one that is gone is noticed.

Dagster's own launcher starts runs as children of the code server and never learns that they died with it: their slots stay
taken for ever. Ours writes the process's name on the run, and Dagster's run monitoring asks here whether it is alive.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

# Dagster has no public way to import what a launcher is made of
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from pipeline.processes import NICE, identity, is_alive, pid_of
from pipeline.run_starter import ROOT, cold_start, start_run
from pipeline.settings import Settings
from pipeline.tags import BACKGROUND, PROCESS


class LocalRunLauncher(RunLauncher, ConfigurableClass):  # type: ignore[misc, type-arg]
    """Named in dagster.yaml."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> LocalRunLauncher:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        assert run.job_code_origin  # noqa: S101  (only a job that was defined in memory has none)
        args = serialize_value(ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref()))
        settings, nice = Settings.from_env(), NICE.get(run.tags.get(BACKGROUND, ""), 0)
        name = start_run(settings, args, nice) or _start_from_nothing(settings, args, nice)
        self._instance.add_run_tags(run.run_id, {PROCESS: name})

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        name = run.tags.get(PROCESS, "")
        if not is_alive(name):
            return False
        os.kill(pid_of(name), signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: Any) -> CheckRunHealthResult:
        name = run.tags.get(PROCESS)
        if name is None or is_alive(name):  # without a name it is not ours: somebody runs it in a process of their own
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")


def _start_from_nothing(settings: Settings, args: str, nice: int) -> str:
    settings.logs.mkdir(parents=True, exist_ok=True)
    with (settings.logs / "runs.log").open("ab") as log:
        process = subprocess.Popen(cold_start(args, nice), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    return identity(process.pid)
