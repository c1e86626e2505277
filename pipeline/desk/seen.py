"""A visit to the desk: who it is, which clients they may see, what they may do. Every row of the desk comes through here.

What belongs to another client is not there: reading it and deciding on it end in the same "not found", and so does what a role
may not do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import Connection, Select, Table, select
from starlette.responses import Response

from pipeline.clients import ClientConfig
from pipeline.desk.marts import Marts, Row
from pipeline.desk.visits import NotFound, Visit
from pipeline.office import Office
from pipeline.store.engine import only_reading, stamp
from pipeline.store.tenancy import Clients

Right = Literal["read", "decide", "house", "accounts"]  # house: what concerns every client at once
RIGHTS: Mapping[str, tuple[Right, ...]] = {
    "admin": ("read", "decide", "accounts"),
    "client_success": ("read", "decide"),
    "analyst": ("read",),
}


@dataclass(frozen=True)
class Page:
    """A route of the desk and the right that it needs."""

    path: str
    show: Callable[[Any], Response]
    method: Literal["GET", "POST"] = "GET"
    needs: Right = "read"


class Desk:
    """What pages need beside the visit: the store, the marts, the clients file."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.engine = office.engine
        self.reads = only_reading(office.engine)
        self.marts = Marts(office.settings)
        self._clients: tuple[object, dict[str, ClientConfig]] = (None, {})

    def clients(self) -> Mapping[str, ClientConfig]:
        """By id. The file is read again when it has changed."""
        changed = self.office.settings.clients_file.stat().st_mtime_ns
        if self._clients[0] != changed:
            self._clients = (changed, {one.client_id: one for one in self.office.clients()})
        return self._clients[1]


@dataclass(frozen=True)
class DeskVisit(Visit):
    """Its desk is `site.desk`."""

    @property
    def desk(self) -> Desk:
        return self.site.desk  # type: ignore[attr-defined,no-any-return]

    # ---- who, and what they may ----

    @cached_property
    def sees(self) -> Clients:
        return Clients.of(self.account.clients)

    @property
    def sees_all(self) -> bool:
        return self.sees.ids is None

    def may(self, right: Right) -> bool:
        return self.sees_all if right == "house" else right in RIGHTS.get(self.account.role, ())

    @property
    def decides(self) -> bool:
        return self.may("decide")

    def demand(self, right: Right) -> None:
        if not self.may(right):
            raise NotFound

    @cached_property
    def clients(self) -> Mapping[str, ClientConfig]:
        """Those of the clients file that they may see, by id."""
        return {name: one for name, one in self.desk.clients().items() if name in self.sees}

    def client(self, client_id: str) -> ClientConfig:
        """Raises NotFound."""
        found = self.clients.get(client_id)
        if found is None:
            raise NotFound
        return found

    def whose(self, whose: str, *, to_change: bool = False) -> str:
        """A client's id, or "" for the house: which everybody may read, and who sees every client may change."""
        if whose == "house":
            if to_change:
                self.demand("house")
            return ""
        return self.client(whose).client_id

    def chosen_client(self) -> ClientConfig | None:
        """The client that a list is narrowed to, if the address says one."""
        asked = self.asked("client") or self.form.get("client", "")
        return self.client(asked) if asked else None

    @property
    def stamp(self) -> str:
        """Now, as the store writes times."""
        return stamp(self.now)

    # ---- reading ----

    def mart(self, asked: str, **given: Any) -> list[Row]:
        """Rows of the published warehouse: see `pipeline.desk.marts`."""
        return self.desk.marts.rows(self.sees, asked, **given)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.desk.reads.connect() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction: what is decided in it happens whole or not at all."""
        with self.desk.engine.begin() as connection:
            yield connection

    def mine(self, table: Table, *columns: Any) -> Select[Any]:
        """Rows of a table of the store, of the clients they may see."""
        return select(*(columns or (table,))).where(self.sees.own(table.c.client_id))

    def all(self, connection: Connection, query: Select[Any]) -> list[Row]:
        return [dict(row) for row in connection.execute(query).mappings()]

    def one(self, connection: Connection, table: Table, **named: str) -> Row:
        """The row of theirs that has these values. Raises NotFound."""
        query = self.mine(table).where(*(table.c[name] == value for name, value in named.items()))
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound
        return dict(row)

    def listed(self, rows: Sequence[Any], size: int) -> tuple[Sequence[Any], bool]:
        """(the rows of a page, whether there are more), of rows of which one more than fit was asked for."""
        return rows[:size], len(rows) > size
