"""The warehouse: built and tested by dbt alone, by one process at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.build_plan import BUILD, PROJECT, begin, finish, forget, plan_build, print_of_project
from pipeline.build_record import note_build
from pipeline.settings import Settings

log = logging.getLogger("leadtrail.build")


class BuildFailed(Exception):
    """dbt could not build, or a test failed. The published warehouse is as it was."""


class Busy(Exception):
    """Another process is building."""


@dataclass(frozen=True)
class BuildResult:
    """Counts of what dbt did. `warnings` are nodes with dbt's message."""

    models: int
    tests: int
    warnings: tuple[str, ...]


def dbt_environment(settings: Settings) -> dict[str, str]:
    """What dbt needs to find this home. No secrets."""
    return {
        "LEADTRAIL_HOME": str(settings.home),
        "DBT_TARGET_PATH": str(settings.dbt_target),
        "DBT_LOG_PATH": str(settings.logs),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_PROJECT_DIR": str(PROJECT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def export_dbt_environment(settings: Settings) -> None:
    """For dbt commands that others start from this process (dagster-dbt)."""
    os.environ.update(dbt_environment(settings))


@contextmanager
def sole_writer(settings: Settings, *, wait: bool = True) -> Iterator[None]:
    """Hold the right to write the warehouse. The lock dies with its process."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "warehouse.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(f"Another build is running (process {file.read().strip() or 'unknown'}).") from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


_kept: list[tuple[str, Any]] = []  # (print of the project, its manifest)


def keep_manifest(settings: Settings) -> None:
    """Parse the project now; the next dbt command of this process, or of a copy of it, need not."""
    printed = print_of_project()
    outcome = run_dbt(settings, ["parse"])
    if outcome.success:
        _kept[:] = [(printed, outcome.result)]


def _take_manifest() -> Any:
    """A command leaves compiled code in the manifest: it serves once. None if the project has changed since."""
    if not _kept:
        return None
    printed, manifest = _kept.pop()
    return manifest if printed == print_of_project() else None


def run_dbt(settings: Settings, args: Sequence[str], *, on_event: Callable[[Any], None] | None = None) -> Any:
    """Run a dbt command in this process. Returns dbt's own result object."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # dbt takes 2.7 s to import
    from dbt.cli.main import dbtRunner

    for folder in (settings.landing, settings.logs, settings.dbt_target):
        folder.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in dbt_environment(settings)}
    os.environ.update(dbt_environment(settings))
    try:
        return dbtRunner(_take_manifest(), callbacks=[on_event] if on_event else []).invoke(
            [*args, "--quiet", "--log-level-file", "info"]
        )
    finally:
        DuckDBConnectionManager.close_all_connections()  # else the file stays locked by this process
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def build(
    settings: Settings,
    *,
    select: Sequence[str] = (),
    full_refresh: bool = False,
    on_event: Callable[[Any], None] | None = None,
) -> BuildResult:
    """Build and test what has changed (see `build_plan`), or the selection. Raises BuildFailed, which says what failed and for
    which client. Publishes nothing."""
    with sole_writer(settings):
        if select:
            # a test that looks at models outside the selection would fail for want of them
            args = [*BUILD, *(["--full-refresh"] if full_refresh else [])]
            args += ["--indirect-selection", "buildable", "--select", *select]
            outcome = run_dbt(settings, args, on_event=on_event)
        else:
            plan = plan_build(settings, full_refresh=full_refresh)
            log.info("building: %s", plan.why)
            if plan.nodes == ():
                return BuildResult(0, 0, ())
            begin(settings, plan)
            outcome = run_dbt(settings, [*BUILD, *plan.args], on_event=on_event)
            finish(settings, plan, models_built=_models_built(outcome), tests_passed=bool(outcome.success))
        record = note_build(
            settings,
            settings.dbt_target,
            in_part=bool(select) or plan.nodes is not None,
            problem=f"dbt could not start: {outcome.exception}" if outcome.result is None else "",
        )
    if not outcome.success:
        raise BuildFailed(record.why())
    kinds = Counter(str(node.node.resource_type) for node in outcome.result)
    warnings = tuple(f"{node.node.name}: {node.message}" for node in outcome.result if str(node.status) == "warn")
    return BuildResult(kinds["model"], kinds["test"], warnings)


def _models_built(outcome: Any) -> bool:
    made = [node for node in outcome.result or () if node.node.resource_type in ("model", "seed")]
    return bool(made) and all(str(node.status) == "success" for node in made)


def drop_warehouse(settings: Settings) -> None:
    """Forget the warehouse file (not landing, not what is published)."""
    with sole_writer(settings):
        forget(settings)
        for suffix in ("", ".wal"):
            Path(f"{settings.warehouse}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(f"{settings.warehouse}.tmp", ignore_errors=True)
