"""The template book: every version of every template, who approved it and when. Only approved versions are sent.

Who wrote a version cannot approve it. A client's own template takes the place of the house's of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, select

from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.template_file import Template
from pipeline.store import audit
from pipeline.store.engine import add, stamp
from pipeline.store.schema import template_states, template_versions

TemplateState = Literal["draft", "approved", "withdrawn"]
_FROM: dict[str, tuple[str, ...]] = {"approved": ("draft", "withdrawn"), "withdrawn": ("draft", "approved")}


class NotAllowed(Exception):
    """What was asked for may not be done to this rule or template as it stands. Nothing was changed."""


@dataclass(frozen=True)
class TemplateMove:
    """A row of `template_states`."""

    client_id: str
    template: str
    version: str
    state: str
    at: str
    by: str
    note: str


@dataclass(frozen=True)
class TemplateLog:
    """Everything that was done to templates, in order."""

    moves: tuple[TemplateMove, ...]

    @classmethod
    def read(cls, connection: Connection) -> TemplateLog:
        columns = [template_states.c[name] for name in TemplateMove.__dataclass_fields__]
        rows = connection.execute(select(*columns).order_by(template_states.c.seq)).mappings()
        return cls(tuple(TemplateMove(**row) for row in rows))

    def client_ids(self) -> list[str]:
        """The house, and every client with a template of its own."""
        return sorted({HOUSE, *(move.client_id for move in self.moves)})

    def state(self, client_id: str, template: str, version: str, *, at: str = "~") -> str | None:
        """How a version stood at a moment; without one, how it stands."""
        states = [
            move.state
            for move in self.moves
            if (move.client_id, move.template, move.version) == (client_id, template, version) and move.at <= at
        ]
        return states[-1] if states else None

    def drafts(self) -> list[TemplateMove]:
        """Versions that nobody has decided on."""
        last = {(move.client_id, move.template, move.version): move for move in self.moves}
        return [move for move in last.values() if move.state == "draft"]

    def approved(self, client_id: str, template: str, *, at: str = "~") -> list[str]:
        """Versions approved at a moment, the newest approval last. Of this client_id alone: a client's own, or the house's."""
        found: list[str] = []
        for move in self.moves:
            if (move.client_id, move.template) != (client_id, template) or move.at > at:
                continue
            found = [version for version in found if version != move.version]
            if move.state == "approved":
                found.append(move.version)
        return found

    def in_use(self, client_id: str, template: str, *, at: str = "~") -> str | None:
        """The version that a step begun at this moment carries: the client's own if there is one, else the house's."""
        for whose in (client_id, HOUSE):
            if approved := self.approved(whose, template, at=at):
                return approved[-1]
        return None


def add_template(
    connection: Connection, template: Template, *, client_id: str, by: str, now: datetime, note: str = ""
) -> bool:
    """Add a version as a draft, in the caller's transaction. False if it is there already."""
    row = {
        "client_id": client_id,
        "template": template.name,
        "version": template.version,
        "content": template.kept(),
        "added_at": stamp(now),
        "added_by": by,
    }
    if not add(connection, template_versions, row):
        return False
    _note_state(connection, client_id, template.name, template.version, "draft", by=by, note=note, now=now)
    return True


def templates_kept(connection: Connection) -> dict[tuple[str, str, str], Template]:
    """Every version, the one added last at the end: (client_id, template, version) -> what it says."""
    table = template_versions.c
    query = select(table.client_id, table.template, table.version, table.content)
    rows = connection.execute(query.order_by(table.added_at, table.version))
    return {(row.client_id, row.template, row.version): Template.from_kept(row.content) for row in rows}


def find_version(connection: Connection, client_id: str, template: str, beginning: str = "") -> str:
    """The version that begins so; without a beginning, what was added last. Raises NotAllowed."""
    table = template_versions.c
    query = select(table.version).where(table.client_id == client_id, table.template == template)
    versions = [str(row.version) for row in connection.execute(query.order_by(table.added_at.desc(), table.version))]
    if not versions:
        whose = (
            f"{client_id} has no template {template} of its own"
            if client_id
            else f"The house has no template {template}"
        )
        raise NotAllowed(f"{whose}. `leadtrail templates list` shows what there is.")
    fitting = [version for version in versions if version.startswith(beginning)]
    if beginning and len(fitting) != 1:
        raise NotAllowed(
            f"{len(fitting)} versions of {template} begin with {beginning}; there are {', '.join(versions)}."
        )
    return fitting[0]


def author_of(connection: Connection, client_id: str, template: str, version: str) -> str:
    table = template_versions.c
    author = connection.execute(
        select(table.added_by).where(table.client_id == client_id, table.template == template, table.version == version)
    ).scalar()
    if author is None:
        raise NotAllowed(f"There is no version {version} of template {template}. See `leadtrail templates list`.")
    return str(author)


def approve(
    connection: Connection, client_id: str, template: str, version: str, *, by: str, note: str, now: datetime
) -> None:
    """Approve a version, in the caller's transaction. Raises NotAllowed if `by` wrote it, or it is approved already."""
    if _same_person(author_of(connection, client_id, template, version), by):
        raise NotAllowed(f"{by} wrote {template}@{version} and cannot approve it. Ask somebody else to read it.")
    _move(connection, client_id, template, version, "approved", by=by, note=note, now=now)


def withdraw(
    connection: Connection, client_id: str, template: str, version: str, *, by: str, note: str, now: datetime
) -> None:
    """Withdraw a version, in the caller's transaction: what carries it is refused from now on, also what is queued."""
    author_of(connection, client_id, template, version)
    _move(connection, client_id, template, version, "withdrawn", by=by, note=note, now=now)


def _same_person(author: str, other: str) -> bool:
    return author.strip().casefold() == other.strip().casefold()


def _move(
    connection: Connection,
    client_id: str,
    template: str,
    version: str,
    state: TemplateState,
    *,
    by: str,
    note: str,
    now: datetime,
) -> None:
    before = TemplateLog.read(connection).state(client_id, template, version)
    if before not in _FROM[state]:
        raise NotAllowed(f"{template}@{version} is {before} already.")
    _note_state(connection, client_id, template, version, state, by=by, note=note, now=now)


def _note_state(
    connection: Connection,
    client_id: str,
    template: str,
    version: str,
    state: TemplateState,
    *,
    by: str,
    note: str,
    now: datetime,
) -> None:
    what = {"client_id": client_id, "template": template, "version": version}
    connection.execute(insert(template_states), {**what, "state": state, "at": stamp(now), "by": by, "note": note})
    audit.note(connection, by, f"template.{state}", f"{client_id or 'house'}/{template}@{version}", {"note": note}, now)
