"""Personal data where none may be: a data test tagged `privacy` failed, or what clients see holds a way to reach somebody.

Published files never change, so each is looked through once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import duckdb

from pipeline.build_record import last_build
from pipeline.follow_up.causes.trouble import House, Trouble
from pipeline.store.holds import EVERYTHING

RECOVERY = (
    "Find out who could see it, mend the model, build again, then end the hold: a person must have looked. Nothing that leaves "
    "the house goes out until then; tasks come to the desk."
)
TAG = "privacy"
UNKNOWN = "?"
EMAIL = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}"
PHONE = r"(\+1|\b)[ .-]?\(?[2-9]\d{2}\)?[ .-]?\d{3}[ .-]?\d{4}\b"


def find(house: House) -> list[Trouble]:
    return _failed_tests(house) + _shown_to_clients(house)


def _failed_tests(house: House) -> list[Trouble]:
    record = last_build(house.settings)
    if record is None:
        return []
    at = datetime.fromisoformat(record.finished_at)
    return [
        Trouble(client_id, EVERYTHING, f"The build's check {failure.name} found personal data where none may be.", at)
        for failure in record.failures
        if TAG in failure.tags
        for client_id in _whose(house, failure.clients)
    ]


def _shown_to_clients(house: House) -> list[Trouble]:
    file = house.settings.client_safe
    if not file.exists():
        return []
    path = file.resolve()
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return [
        Trouble(
            client_id, EVERYTHING, f"{count} values that clients may see look like a phone number or an address.", at
        )
        for whose, count in leaks(path).items()
        for client_id in _whose(house, (whose,))
    ]


def _whose(house: House, named: Sequence[str] | None) -> Sequence[str]:
    """If it cannot be told whose it is, it may be anybody's."""
    return [one.client_id for one in house.clients] if named is None or UNKNOWN in named else named


@lru_cache(maxsize=4)
def leaks(path: Path) -> Counter[str]:
    """How many texts of each client in this file look like a way to reach a person."""
    found: Counter[str] = Counter()
    with duckdb.connect(str(path), read_only=True) as shown:
        columns = shown.execute(
            "select table_schema, table_name, column_name from information_schema.columns where data_type = 'VARCHAR'"
        ).fetchall()
        for schema, table, column in columns:
            whose = "client_id" if _has_client(columns, schema, table) else f"'{UNKNOWN}'"
            query = (
                f'select {whose}, count(*) from "{schema}"."{table}" '  # noqa: S608
                f'where regexp_matches("{column}", ?) or regexp_matches("{column}", ?) group by 1'
            )
            found.update(dict(shown.execute(query, [EMAIL, PHONE]).fetchall()))
    return found


def _has_client(columns: list[tuple[str, str, str]], schema: str, table: str) -> bool:
    return (schema, table, "client_id") in columns
