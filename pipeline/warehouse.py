"""The warehouse: built and tested by dbt alone, by one process at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipeline.build_plan import BUILD, PROJECT, begin, finish, forget, plan_build, print_of_project
from pipeline.build_record import note_build
from pipeline.settings import Settings

log = logging.getLogger("leadtrail.build")
PATIENCE = 60.0  # seconds to wait for another program to let go of the warehouse's file


class BuildFailed(Exception):
    """dbt could not build, or a test failed. The published warehouse is as it was. `result` is what was built all the same."""

    def __init__(self, why: str, result: BuildResult | None = None) -> None:
        super().__init__(why)
        self.result = result


class Busy(Exception):
    """Another process is building."""


@dataclass(frozen=True)
class BuildResult:
    """Counts of what dbt did. `warnings` are nodes with dbt's message; `built` are ids of models and seeds; `tested` says of
    tests, by id, whether they passed."""

    models: int
    tests: int
    warnings: tuple[str, ...]
    built: tuple[str, ...] = ()
    tested: Mapping[str, bool] = field(default_factory=dict)


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
_MARK = "leadtrail_selected"


def keep_manifest(settings: Settings) -> None:
    """Parse the project now, and its macros; the next dbt command of this process, or of a copy of it, need not."""
    from dbt_common.clients.jinja import template_cache

    printed = print_of_project()
    outcome = run_dbt(settings, ["parse"])
    if outcome.success:
        _kept[:] = [(printed, outcome.result)]
        for macro in outcome.result.macros.values():
            template_cache.get_node_template(macro)


def _take_manifest() -> Any:
    """A command leaves compiled code in the manifest: it serves once. None if the project has changed since."""
    if not _kept:
        return None
    printed, manifest = _kept.pop()
    return manifest if printed == print_of_project() else None


def run_dbt(
    settings: Settings,
    args: Sequence[str],
    *,
    nodes: Sequence[str] | None = None,
    on_event: Callable[[Any], None] | None = None,
) -> Any:
    """Run a dbt command in this process, for all nodes or those with these names. Returns dbt's own result object."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # dbt takes 2.7 s to import
    from dbt.cli.main import dbtRunner

    for folder in (settings.landing, settings.logs, settings.dbt_target):
        folder.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in dbt_environment(settings)}
    os.environ.update(dbt_environment(settings))
    manifest = _take_manifest()
    # each line that it prints or logs costs: of a short build, with its manifest ready, only what it says at the end is kept
    log_level, more = ("info", []) if manifest is None else ("none", ["--no-write-json", "--cache-selected-only"])
    args = [*args, *more, "--log-level", "none", "--log-level-file", log_level]
    if nodes is not None:
        args += [
            "--indirect-selection",
            "empty",
            "--select",
            *(nodes if manifest is None else _marked(manifest, nodes)),
        ]
    # dbt writes them into run_results.json, and those of an erasure name the person
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        return dbtRunner(manifest, callbacks=[on_event] if on_event else []).invoke(args)
    finally:
        sys.argv = argv
        DuckDBConnectionManager.close_all_connections()  # else the file stays locked by this process
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _marked(manifest: Any, names: Sequence[str]) -> list[str]:
    """The selection of nodes by one mark instead of by a hundred names: dbt looks through the whole project for each."""
    wanted = set(names)
    for node in manifest.nodes.values():
        if node.name in wanted:
            node.tags = [*node.tags, _MARK]
    return [f"tag:{_MARK}"]


def build(
    settings: Settings,
    *,
    select: Sequence[str] = (),
    full_refresh: bool = False,
    urgent: bool = False,
    on_event: Callable[[Any], None] | None = None,
) -> BuildResult:
    """Build and test what has changed (see `build_plan`), or the selection. `urgent`: of what has changed only what somebody
    waits for. Raises BuildFailed, which says what failed and for which client. Publishes nothing."""
    with sole_writer(settings):
        wait_for_file(settings)
        refresh = ["--full-refresh"] if full_refresh else []
        if select:
            # a test that looks at models outside the selection would fail for want of them
            args = [*BUILD, *refresh, "--indirect-selection", "buildable", "--select", *select]
            outcome = run_dbt(settings, args, on_event=on_event)
        else:
            plan = plan_build(settings, full_refresh=full_refresh, urgent=urgent)
            log.info("building: %s", plan.why)
            if plan.nodes == ():
                return BuildResult(0, 0, ())
            begin(settings, plan)
            if plan.nodes is None:
                _kept.clear()  # dbt writes the manifest that the next plan is made from
            args = [*BUILD, *(["--full-refresh"] if plan.full_refresh else [])]
            outcome = run_dbt(settings, args, nodes=plan.nodes, on_event=on_event)
            if outcome.result is not None:
                finish(settings, plan, {one.node.name: _went_well(one) for one in outcome.result})
        record = note_build(
            settings,
            settings.dbt_target,
            in_part=bool(select) or plan.nodes is not None,
            planned=not select,
            problem=f"dbt could not start: {outcome.exception}" if outcome.result is None else "",
            results=None if outcome.result is None else [_result(one) for one in outcome.result],
        )
    result = _counted(outcome.result or ())
    if not outcome.success:
        raise BuildFailed(record.why(), result)
    return result


def _counted(results: Sequence[Any]) -> BuildResult:
    kinds = Counter(str(one.node.resource_type) for one in results)
    return BuildResult(
        kinds["model"],
        kinds["test"],
        tuple(f"{one.node.name}: {one.message}" for one in results if str(one.status) == "warn"),
        tuple(
            one.node.unique_id
            for one in results
            if str(one.node.resource_type) in ("model", "seed") and str(one.status) == "success"
        ),
        {
            one.node.unique_id: _went_well(one)
            for one in results
            if str(one.node.resource_type) == "test" and str(one.status) != "skipped"
        },
    )


def _went_well(result: Any) -> bool:
    return str(result.status) in ("success", "pass", "warn", "no-op")  # an exposure is nothing to do


def _result(result: Any) -> dict[str, Any]:
    """What dbt would have written about a node."""
    return {
        "unique_id": result.node.unique_id,
        "status": str(result.status),
        "failures": result.failures,
        "message": result.message,
        "compiled_code": getattr(result.node, "compiled_code", None),
    }


def wait_for_file(settings: Settings, *, patience: float = PATIENCE) -> None:
    """Wait while another program has the warehouse's file open. Raise BuildFailed if it still has after `patience` seconds, or if
    the file can't be opened whoever tries: it is damaged, or a newer DuckDB wrote it. dbt would say neither clearly."""
    if not settings.warehouse.exists():
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            duckdb.connect(str(settings.warehouse), read_only=True).close()  # what can't be read is not touched
            duckdb.connect(str(settings.warehouse)).close()
            return
        except duckdb.ConnectionException:  # this process has it open already
            return
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
        if "set lock on file" not in said:
            raise BuildFailed(
                f"The warehouse {settings.warehouse} cannot be opened: {said} It was not touched, and what is published stays. "
                "If a newer DuckDB wrote it, upgrade; else `leadtrail rebuild` makes it anew from landing."
            )
        if time.monotonic() >= deadline:
            holder = re.search(r"held in (\S+) \(PID (\d+)\)", said)
            who = f"process {holder[2]} ({Path(holder[1]).name})" if holder else "another program"
            raise BuildFailed(
                f"The warehouse {settings.warehouse} was held open by {who} for {patience:.0f} s, so nothing was built; what "
                "is published stays. Close that program and run it again; to look at data, open analytics.duckdb read-only."
            )
        time.sleep(min(0.5, patience))


def drop_warehouse(settings: Settings) -> None:
    """Forget the warehouse file (not landing, not what is published)."""
    with sole_writer(settings):
        forget(settings)
        for suffix in ("", ".wal"):
            Path(f"{settings.warehouse}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(f"{settings.warehouse}.tmp", ignore_errors=True)
