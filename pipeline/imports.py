"""Import: a marketplace export that a person downloaded as CSV, landed as records. Importing a file again changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from connectors.base import Connector
from pipeline.follow_up.causes.imports import LANDED
from pipeline.own_records import land_records
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.erasures import Door


class ImportFailed(Exception):
    """The file cannot be read as that provider's export."""


def import_export(
    connector: Connector,
    client_id: str,
    path: Path,
    *,
    mapping: Mapping[str, str],
    settings: Settings,
    engine: Engine,
    now: datetime,
) -> int:
    """Land every row of the CSV at `path`; return how many."""
    try:
        pages = connector.read_export(_rows(path), mapping=mapping)
    except NotImplementedError:
        raise ImportFailed(
            f"{connector.title} has no file import; its history is read with `leadtrail sync`."
        ) from None
    landed = ((client_id, connector.provider, page.stream, page.records) for page in pages)
    door = Door(settings, engine).open
    count = land_records(settings.landing, engine, landed, via="import", now=now, door=door)
    if not count:
        raise ImportFailed(f"{path} has no rows below its header. Is it the right export? Nothing was landed.")
    with engine.begin() as connection:  # what shows a later export that is much shorter
        audit.note(connection, "leadtrail", LANDED, f"{client_id}/{connector.provider}", {"rows": count}, now)
    return count


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    except UnicodeDecodeError:
        raise ImportFailed(f"{path} is not UTF-8 text. Save the export as “CSV UTF-8” and import it again.") from None
    except csv.Error as error:
        raise ImportFailed(f"{path} is not a CSV file ({error}). Export it again as CSV; nothing was landed.") from None
