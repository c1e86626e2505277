"""The one output that a person means by the beginning of its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pipeline.store.schema import outputs

if TYPE_CHECKING:
    from pipeline.office import Office


class NoSuchOutput(Exception):
    """The id names nothing that this can be done to. The message says what to do."""


def find_output(office: Office, begins: str) -> dict[str, Any]:
    """The one output whose id begins like this. Raises NoSuchOutput."""
    query = select(outputs).where(outputs.c.output_id.startswith(begins, autoescape=True)).limit(2)
    with office.engine.connect() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    if len(found) != 1:
        count = "No output's id begins" if not found else "More than one output's id begins"
        raise NoSuchOutput(f"{count} with {begins!r}. `leadtrail outputs list` shows them.")
    return found[0]
