"""The warehouse: built by dbt alone, by one process at a time, and published only when its tests pass."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from pipeline.settings import Settings

PROJECT = Path(__file__).parent.parent / "dbt_project"
KEEP_PUBLISHED = 3


class BuildFailed(Exception):
    """dbt could not build, or a test failed. The published warehouse is as it was."""


class Busy(Exception):
    """Another process is building."""


@dataclass(frozen=True)
class BuildResult:
    """Counts of what dbt did. `problems` are failed or warning nodes with dbt's message."""

    models: int
    tests: int
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


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


def run_dbt(settings: Settings, args: Sequence[str], *, on_event: Callable[[Any], None] | None = None) -> Any:
    """Run a dbt command in this process. Returns dbt's own result object."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # dbt takes 2.7 s to import
    from dbt.cli.main import dbtRunner

    for folder in (settings.landing, settings.logs, settings.dbt_target):
        folder.mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in dbt_environment(settings)}
    os.environ.update(dbt_environment(settings))
    try:
        return dbtRunner(callbacks=[on_event] if on_event else []).invoke(
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
    """Build and test the models. Raises BuildFailed with every failed node named. Publishes nothing."""
    args = ["build", *(["--full-refresh"] if full_refresh else []), *(["--select", *select] if select else [])]
    with sole_writer(settings):
        outcome = run_dbt(settings, args, on_event=on_event)
    if outcome.result is None:
        raise BuildFailed(f"dbt could not start: {outcome.exception}")
    problems, warnings, models, tests = [], [], 0, 0
    for node in outcome.result:
        name, status = node.node.name, str(node.status)
        models += node.node.resource_type == "model"
        tests += node.node.resource_type == "test"
        if status in ("error", "fail", "runtime error"):
            problems.append(f"{name}: {(node.message or status).strip()}")
        elif status == "warn":
            warnings.append(f"{name}: {node.message}")
    if problems or not outcome.success:
        raise BuildFailed(
            f"{len(problems)} of {models + tests} nodes failed; the published warehouse was not touched.\n  - "
            + "\n  - ".join(problems[:20])
        )
    return BuildResult(models, tests, tuple(warnings), tuple(problems))


def publish(settings: Settings) -> Path:
    """Copy every model, as tables, into a new file and point `analytics.duckdb` at it. Open readers keep the old one."""
    settings.published.mkdir(parents=True, exist_ok=True)
    with sole_writer(settings):
        number = 1 + max((_number(path) for path in settings.published.glob("analytics-*.duckdb")), default=0)
        path = settings.published / f"analytics-{number}.duckdb"
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        with duckdb.connect(str(temporary)) as target:
            target.execute(f"attach '{settings.warehouse}' as warehouse (read_only)")
            relations = target.execute(
                "select table_schema, table_name from information_schema.tables where table_catalog = 'warehouse' "
                "and table_schema not in ('landing', 'main', 'information_schema') order by 1, 2"
            ).fetchall()
            for schema, name in relations:
                target.execute(f'create schema if not exists "{schema}"')
                target.execute(f'create table "{schema}"."{name}" as select * from warehouse."{schema}"."{name}"')  # noqa: S608
            target.execute("detach warehouse")
        _sync_file(temporary)
        temporary.rename(path)
        pointer = settings.home / "analytics.duckdb.next"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(path.relative_to(settings.home))
        pointer.rename(settings.analytics)
        for old in sorted(settings.published.glob("analytics-*.duckdb"), key=_number)[:-KEEP_PUBLISHED]:
            old.unlink()
    return path


def drop_warehouse(settings: Settings) -> None:
    """Forget the warehouse file (not landing, not what is published)."""
    with sole_writer(settings):
        for suffix in ("", ".wal"):
            Path(f"{settings.warehouse}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(f"{settings.warehouse}.tmp", ignore_errors=True)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
