"""The published warehouse, as far as an account may see it.

A query names a table with an @ (`from @timeline.dim_leads`); what it then reads are the rows of the clients it may see. This is
the only place that opens the file for the desk, and the only place that filters it.
"""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.follow_up.published import NotPublished
from pipeline.settings import Settings
from pipeline.store.tenancy import Clients

Row = dict[str, Any]

HOUSE = ("metrics.metric_definitions", "seeds.event_types")  # they speak of no client
_NAMED = re.compile(r"@(\w+\.\w+)")
_BARE = re.compile(
    r"(?<![@.\w])(timeline|attribution|metrics|follow_up|operations|client_safe|staging|seeds)\.\w+", re.I
)


class Marts:
    """For any number of threads. A new publication is opened when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._pointer = settings.analytics
        self._lock = threading.Lock()
        self._opened: tuple[Path, duckdb.DuckDBPyConnection] | None = None

    def rows(self, clients: Clients, asked: str, **given: Any) -> list[Row]:
        """The rows of a query. Times given and got are UTC. Raises NotPublished."""
        statement = _filtered(asked, clients)
        values = {name: _naive(one) for name, one in given.items()}
        if "$clients" in statement:
            values["clients"] = sorted(clients.ids or ())
        cursor = self._cursor()
        found = cursor.execute(statement, values)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, map(_aware, row), strict=True)) for row in found.fetchall()]

    def published_at(self) -> datetime | None:
        """When the newest publication was made."""
        if not self._pointer.exists():
            return None
        return datetime.fromtimestamp(self._pointer.resolve().stat().st_mtime, UTC)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if not self._pointer.exists():
                raise NotPublished("Nothing is published yet. Run `leadtrail build`.")
            path = self._pointer.resolve()  # a file that is open already would be given again for the pointer
            if self._opened is None or self._opened[0] != path:
                self._opened = (path, duckdb.connect(str(path), read_only=True))
            return self._opened[1].cursor()


def _filtered(asked: str, clients: Clients) -> str:
    if bare := _BARE.search(asked):
        raise AssertionError(f"{bare[0]} is read without asking whose rows: write @{bare[0]}")
    return _NAMED.sub(lambda named: _own(named[1], clients), asked)


def _own(table: str, clients: Clients) -> str:
    if table in HOUSE or clients.ids is None:
        return table
    return f"(select * from {table} where client_id in (select unnest($clients)))"  # noqa: S608  (a name of ours)


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
