"""Publishing: what the last build made and tested becomes what people read, all of it at once, without closing it to anyone.

Each publication is a file of its own, `published/analytics-<n>.duckdb`, that never changes. `analytics.duckdb` is a pointer
to the newest; turning it is one rename. Who has an older file open goes on reading it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from pipeline.build_record import BuildRecord, build_number, last_build, save
from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, sole_writer

SERVED = ("timeline", "attribution", "metrics", "follow_up", "client_safe", "operations", "staging", "seeds")
CLIENT_SAFE = ("client_safe",)  # all that the client portal's file may hold
KEPT = 3


def publish(settings: Settings) -> Path:
    """Point `analytics.duckdb` (and `client_safe.duckdb`, once there is such a model) at a copy of the warehouse, if the last
    build passed every test. Nothing is copied when nothing has been built since. Returns the published file."""
    settings.published.mkdir(parents=True, exist_ok=True)
    with sole_writer(settings):
        _clean(settings)
        record = _tested(settings)
        if record.is_published and settings.analytics.exists():
            return settings.analytics.resolve()
        number = 1 + max((_number(path) for path in settings.published.glob("*-*.duckdb")), default=0)
        path = _swap(settings, settings.analytics, number, _copy_served(settings, number))
        if (safe := _copy_client_safe(settings, number)) is not None:
            _swap(settings, settings.client_safe, number, safe)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        save(settings, replace(record, published=path.name, published_at=now, is_published=True))
    return path


def _tested(settings: Settings) -> BuildRecord:
    """The last build's record, if the warehouse is as that build left it and every test has passed on it."""
    record = last_build(settings)
    if record is None or build_number(settings) != record.build:
        raise BuildFailed(
            "Not published: the warehouse was changed by something that did not test it. Run `leadtrail build`."
        )
    if not record.ok:
        raise BuildFailed(record.why())
    return record


def _clean(settings: Settings) -> None:
    """What a publication that was killed left behind. We hold the lock, so nobody is writing these."""
    for left in (*settings.published.glob("*.tmp*"), *settings.home.glob("*.duckdb.next")):
        left.unlink()


def _copy_served(settings: Settings, number: int) -> Path:
    """The whole file is copied and then stripped: much cheaper than writing every table anew (docs/decisions/publishing.md)."""
    copy = settings.published / f"analytics-{number}.duckdb.tmp"
    with duckdb.connect(str(settings.warehouse)) as warehouse:
        warehouse.execute("checkpoint")  # what a killed build left in the write-ahead log belongs into the file
    shutil.copyfile(settings.warehouse, copy)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{copy}' as warehouse")  # under its own name: dbt wrote that into the views
        connection.execute("use warehouse")
        views = connection.execute(
            "select schema_name, view_name, sql from duckdb_views() where database_name = 'warehouse' and not internal"
        ).fetchall()
        for schema, name, _ in views:
            if schema in SERVED and schema != "staging":
                _become_table(connection, schema, name)
        for schema, _, sql in views:
            if schema == "staging":  # a view of tables beside it; renaming a file must not break it
                relative = re.sub(r"\bwarehouse\.(?=staging\.)", "", sql)
                connection.execute(relative.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
        for schema in _schemas(connection, "warehouse"):
            if schema not in SERVED:
                connection.execute(f'drop schema "{schema}" cascade')
        connection.execute("checkpoint warehouse")
        connection.execute("use memory")
        connection.execute("detach warehouse")
    return copy


def _copy_client_safe(settings: Settings, number: int) -> Path | None:
    """Written table by table into an empty file: not even the unused blocks of a client-safe file were ever anything else."""
    copy = settings.published / f"client_safe-{number}.duckdb.tmp"
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        tables = _tables(warehouse, CLIENT_SAFE)
    if not tables:
        return None
    with duckdb.connect(str(copy)) as connection:
        connection.execute(f"attach '{settings.warehouse}' as warehouse (read_only)")
        for schema, name in tables:
            connection.execute(f'create schema if not exists "{schema}"')
            connection.execute(f'create table "{schema}"."{name}" as select * from warehouse."{schema}"."{name}"')  # noqa: S608
        connection.execute("detach warehouse")
    return copy


def _swap(settings: Settings, pointer: Path, number: int, copy: Path) -> Path:
    """Make the copy durable, name it, turn the pointer to it, and let go of old ones."""
    path = settings.published / f"{pointer.stem}-{number}.duckdb"
    copy.chmod(0o444)  # a reader that opens it for writing would lock the others out
    _sync(copy)
    copy.rename(path)
    _sync(settings.published)
    following = pointer.with_suffix(".duckdb.next")
    following.symlink_to(path.relative_to(settings.home))
    following.rename(pointer)
    _sync(settings.home)
    for old in sorted(settings.published.glob(f"{pointer.stem}-*.duckdb"), key=_number)[:-KEPT]:
        with suppress(FileNotFoundError):
            old.unlink()
    return path


def _become_table(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> None:
    connection.execute(f'create table "{schema}"."{name} as table" as select * from "{schema}"."{name}"')  # noqa: S608
    connection.execute(f'drop view "{schema}"."{name}"')
    connection.execute(f'alter table "{schema}"."{name} as table" rename to "{name}"')


def _schemas(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    rows = connection.execute(
        "select schema_name from duckdb_schemas() where database_name = ? and not internal order by 1", [database]
    ).fetchall()
    return [row[0] for row in rows if row[0] != "main"]


def _tables(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> list[tuple[str, str]]:
    return connection.execute(
        "select table_schema, table_name from information_schema.tables where table_schema in (select unnest(?)) order by 1, 2",
        [list(schemas)],
    ).fetchall()


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
