"""Taking what tombstones name out of where it is kept: landing, the store, logs. Each sweep can be done again."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from sqlalchemy import Connection, Engine, delete, insert, select, update

from pipeline.landing import SCHEMA, Segment, write_segment
from pipeline.privacy.free_text import WRITTEN, sweep_free_text
from pipeline.privacy.subject import spellings_of
from pipeline.settings import Settings
from pipeline.store.engine import stamp
from pipeline.store.erasures import ERASED, Fate, Tombstones
from pipeline.store.outputs import OPEN
from pipeline.store.schema import (
    audit_log,
    call_summaries,
    inbox,
    output_log,
    outputs,
    quarantine,
    segments,
    suppressions,
)
from pipeline.store.segments import note_segments

GONE = "The person was erased."
CHECKPOINT_TRIES = 30
SWEPT = {inbox, quarantine, outputs, output_log, suppressions, call_summaries, audit_log, *WRITTEN}


# ---- landing ----


class Fates(Protocol):
    """What becomes of a record."""

    @property
    def clients(self) -> Collection[str]: ...
    def fate(self, client_id: str, provider: str, stream: str, record_id: str) -> Fate: ...
    def blot(self, client_id: str, text: bytes) -> bytes: ...


def sweep_landing(settings: Settings, engine: Engine, fates: Fates, *, now: datetime) -> int:
    """Rewrite each segment that holds what is to go. The caller holds landing alone, and may write the warehouse.

    The new segment is durable before the old one goes. Killed between: both are there, the next sweep rewrites the old one again,
    and staging ignores what it finds twice."""
    taken = 0
    for left in settings.landing.glob("*/*/*.tmp"):
        left.unlink()  # nobody is writing
    for path in sorted(settings.landing.glob("*/*/*.parquet")):
        owners = pq.read_table(path, columns=["client_id"])["client_id"].unique().to_pylist()
        if set(fates.clients).isdisjoint(owners):
            continue
        table = pq.read_table(path, schema=SCHEMA)
        kept, changed = _without(table, fates)
        if changed:
            _replace(settings, engine, path, kept, now)
            taken += changed
    return taken


def _without(table: pa.Table, fates: Fates) -> tuple[pa.Table, int]:
    names = ("client_id", "provider", "stream", "record_id", "payload")
    columns = [table[name].to_pylist() for name in names]
    keep, payloads, changed = [], [], 0
    for client_id, provider, stream, record_id, payload in zip(*columns, strict=True):
        fate = fates.fate(client_id, provider, stream, record_id)
        keep.append(fate != "drop")
        blotted = fates.blot(client_id, payload.encode()).decode() if fate == "blot" else payload
        payloads.append(blotted)
        changed += fate == "drop" or blotted != payload
    place = table.schema.get_field_index("payload")
    return table.set_column(place, SCHEMA.field("payload"), pa.array(payloads, pa.string())).filter(
        pa.array(keep)
    ), changed


def _replace(settings: Settings, engine: Engine, path: Path, kept: pa.Table, now: datetime) -> None:
    provider, stream = path.parts[-3:-1]
    written: list[Segment] = [write_segment(settings.landing, provider, stream, kept)] if kept.num_rows else []
    with engine.begin() as connection:
        note_segments(connection, written, now)
        connection.execute(delete(segments).where(segments.c.name == f"{provider}/{stream}/{path.name}"))
    path.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# ---- the store ----


def sweep_store(engine: Engine, tombstones: Tombstones, *, now: datetime) -> dict[str, int]:
    with engine.begin() as connection:
        counts = {
            "webhooks": _webhooks(connection, tombstones, now),
            "quarantined": _quarantined(connection, tombstones),
            "outputs": _outputs(connection, tombstones, now),
            "suppressions": _suppressions(connection, tombstones),
            "call summaries": _call_summaries(connection, tombstones),
            "notes of staff": sweep_free_text(connection, tombstones, now=now),
        }
    let_go(engine)
    return counts


def _names_erased(tombstones: Tombstones, client_id: str, body: bytes) -> bool:
    return any(tombstones.erased_addresses(client_id, one) for one in spellings_of(body))


def _webhooks(connection: Connection, tombstones: Tombstones, now: datetime) -> int:
    """The row stays, so that the same webhook sent again is not new; what it said goes."""
    columns = (inbox.c.id, inbox.c.client_id, inbox.c.url, inbox.c.headers, inbox.c.body)
    rows = connection.execute(select(*columns).where(inbox.c.client_id.in_(sorted(tombstones.clients)))).all()
    gone = [
        row.id
        for row in rows
        if tombstones.has(row.client_id, f"webhook:{row.id}")
        or _names_erased(tombstones, row.client_id, b" ".join((row.body, row.url.encode(), row.headers.encode())))
    ]
    emptied = {"url": "", "tail": "", "headers": "{}", "body": b"", "state": "erased", "state_at": stamp(now)}
    for start in range(0, len(gone), 500):
        some = gone[start : start + 500]
        connection.execute(update(inbox).where(inbox.c.id.in_(some)).values(emptied))
        connection.execute(delete(quarantine).where(quarantine.c.inbox_id.in_(some)))
    return len(gone)


def _quarantined(connection: Connection, tombstones: Tombstones) -> int:
    columns = (quarantine.c.id, quarantine.c.client_id, quarantine.c.payload)
    rows = connection.execute(select(*columns).where(quarantine.c.client_id.in_(sorted(tombstones.clients)))).all()
    gone = [row.id for row in rows if _names_erased(tombstones, row.client_id, row.payload)]
    connection.execute(delete(quarantine).where(quarantine.c.id.in_(gone)))
    return len(gone)


def _outputs(connection: Connection, tombstones: Tombstones, now: datetime) -> int:
    rows = connection.execute(select(outputs).where(outputs.c.client_id.in_(sorted(tombstones.clients)))).mappings()
    gone = [row for row in map(dict, rows.all()) if _is_theirs(tombstones, row)]
    for row in gone:
        which = outputs.c.output_id == row["output_id"]
        emptied = {"payload": "{}", "recipient": "", "lead_id": None, "trigger_event_id": None, "reason": GONE}
        connection.execute(update(outputs).where(which).values(emptied))
        connection.execute(update(output_log).where(output_log.c.output_id == row["output_id"]).values(detail=""))
        if row["status"] in OPEN:
            # the fence moves on: whoever is about to send it has lost it
            stopped = {
                "status": "cancelled",
                "status_at": stamp(now),
                "reason_code": "erased",
                "fence": row["fence"] + 1,
            }
            connection.execute(update(outputs).where(which).values(stopped))
            said = {"output_id": row["output_id"], "at": stamp(now), "fence": row["fence"] + 1}
            connection.execute(insert(output_log).values(**said, what="cancelled", code="erased", detail=GONE))
    return len(gone)


def _is_theirs(tombstones: Tombstones, row: Mapping[str, Any]) -> bool:
    client_id = row["client_id"]
    if row["lead_id"] and tombstones.has(client_id, f"lead:{row['lead_id']}"):
        return True
    return bool(tombstones.erased_addresses(client_id, f"{row['recipient']} {row['payload']}".encode()))


def _suppressions(connection: Connection, tombstones: Tombstones) -> int:
    """They are not written to again; only who they are is forgotten."""
    rows = connection.execute(
        select(suppressions).where(suppressions.c.client_id.in_(sorted(tombstones.clients)))
    ).mappings()
    changed = 0
    for row in rows.all():
        client_id, address = row["client_id"], row["address"]
        kind = "email" if "@" in address else "phone"
        if not address.startswith(ERASED) and tombstones.has(client_id, f"{kind}:{address}"):
            which = [suppressions.c[name] == row[name] for name in ("client_id", "address", "channel")]
            known = tombstones.prints.address(client_id, address)
            same = [suppressions.c[name] == row[name] for name in ("client_id", "channel")]
            connection.execute(delete(suppressions).where(*same, suppressions.c.address == known))
            connection.execute(update(suppressions).where(*which).values(address=known, evidence=""))
            changed += 1
    return changed


def _call_summaries(connection: Connection, tombstones: Tombstones) -> int:
    columns = (
        call_summaries.c.client_id,
        call_summaries.c.event_id,
        call_summaries.c.lead_id,
        call_summaries.c.person_id,
    )
    rows = connection.execute(select(*columns).where(call_summaries.c.client_id.in_(sorted(tombstones.clients)))).all()
    gone = [
        row
        for row in rows
        if tombstones.has(row.client_id, f"lead:{row.lead_id}")
        or tombstones.has(row.client_id, f"person:{row.person_id}")
    ]
    for row in gone:
        where = (call_summaries.c.client_id == row.client_id, call_summaries.c.event_id == row.event_id)
        connection.execute(delete(call_summaries).where(*where))
    return len(gone)


def let_go(engine: Engine) -> None:
    """Write the store anew, without the pages that held what was deleted."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute("vacuum")
            for _ in range(CHECKPOINT_TRIES):  # the log beside the file holds old pages until nobody reads them
                if not cursor.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
                    break
                time.sleep(1)
        else:
            raw.driver_connection.autocommit = True  # type: ignore[union-attr]
            for table in sorted(SWEPT, key=str):
                cursor.execute(f'vacuum full "{table.name}"')
            raw.driver_connection.autocommit = False  # type: ignore[union-attr]
    finally:
        raw.close()


# ---- logs ----


def sweep_logs(settings: Settings, client_id: str, tombstones: Tombstones) -> int:
    """Lines that hold an address of the erased. There should be none; a traceback may show a value."""
    taken = 0
    folders = (settings.logs, settings.dagster_home / "storage")
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not tombstones.erased_addresses(client_id, line)]
        if len(kept) < len(lines):
            taken += len(lines) - len(kept)
            with path.open("r+b") as file:  # the same file: whoever writes it has it open
                file.write(b"".join(kept))
                file.truncate()
    return taken
