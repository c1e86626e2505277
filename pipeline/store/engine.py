"""One engine for the operational store: SQLite (WAL, durable) by default, PostgreSQL for a team."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

HEAD = "0008"  # the newest migration; a test compares it with the versions folder


class StoreProblem(Exception):
    """The operational store cannot be used. The message says which, why, and what to do."""


def open_store(url: str) -> Engine:
    """Connect, and bring the schema up to date if it is not. Raises StoreProblem."""
    if url.startswith("sqlite:///"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreProblem(
                f"The store's folder {folder} cannot be made ({error.strerror}). Set LEADTRAIL_HOME to one that can."
            ) from None
    scheme, _, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        url = f"postgresql+psycopg://{rest}"
    try:
        engine = create_engine(url)
    except (ArgumentError, ImportError) as error:
        raise StoreProblem(
            f"LEADTRAIL_STORE_URL is not usable ({type(error).__name__}). Write sqlite:///path/to/store.db or "
            "postgresql://user:password@host/database."
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _sqlite_begin)
    if _revision(engine) != HEAD:
        _migrate(engine)
    return engine


def only_reading(engine: Engine) -> Engine:
    """The same store for whoever changes nothing: in SQLite it then waits for no writer."""
    return engine.execution_options(only_reads=True)


def stamp(now: datetime) -> str:
    """A time as the store keeps it."""
    return now.astimezone(UTC).isoformat(timespec="microseconds")


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those with the same primary key, whoever else is doing so."""
    connection.execute(_put(table, connection.dialect.name), rows)


def add(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless its primary key is taken. Says whether it was inserted."""
    return connection.execute(_add(table, connection.dialect.name), row).first() is not None  # rowcount is not kept


# built once for each table: a tick renews thousands of tokens, and building a statement takes longer than running it


@cache
def _put(table: Table, dialect: str) -> Any:
    statement = _insert(table, dialect)
    keys = [column.name for column in table.primary_key]
    others = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


@cache
def _add(table: Table, dialect: str) -> Any:
    return _insert(table, dialect).on_conflict_do_nothing().returning(*table.primary_key)


def _insert(table: Table, dialect: str) -> Any:
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


def _sqlite_begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("only_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _sqlite_settings(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy begins: always IMMEDIATE, so a reader never fails to become a writer
    for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _revision(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return connection.execute(text("select version_num from alembic_version")).scalar()
    except (OperationalError, ProgrammingError):
        return None


def _migrate(engine: Engine) -> None:
    from alembic import command  # imported here: it takes 0.4 s that most processes need not pay
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    where = engine.url.render_as_string(hide_password=True)
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise StoreProblem(
            f"The store {where} was made by a newer Leadtrail (its schema is {_revision(engine)}, this one's {HEAD}). "
            "Upgrade Leadtrail."
        ) from None
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise StoreProblem(
            f"The store {where} cannot be used: {said}. Is it running, readable, and on a disk with "
            "space? LEADTRAIL_STORE_URL says where it is."
        ) from None
