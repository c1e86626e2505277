"""Who did what, when: rows that are only ever added, each sealed with a hash over itself and the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, insert, select, text, update

from pipeline.store.engine import stamp
from pipeline.store.schema import audit_log

GENESIS = "0" * 64
BLOTTED = "audit.blotted"
_PAGE = 5_000


@dataclass(frozen=True)
class BrokenChain:
    """The first row that does not hold: its number and what is wrong with it."""

    seq: int
    problem: str


def note(
    connection: Connection, actor: str, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> None:
    """Add a row, in the caller's transaction: what is not committed was not done."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(7411)"))  # one writer at a time, as SQLite has it anyway
    last = connection.execute(
        select(audit_log.c.seq, audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
    ).first()
    row = {
        "seq": (last.seq if last else 0) + 1,
        "at": stamp(now),
        "actor": actor,
        "action": action,
        "subject": subject,
        "detail": json.dumps(detail, sort_keys=True, default=str),
        "previous_hash": last.hash if last else GENESIS,
    }
    connection.execute(insert(audit_log), {**row, "hash": _seal(row)})


def has(connection: Connection, action: str, subject: str) -> bool:
    """Whether that was ever done."""
    where = (audit_log.c.action == action, audit_log.c.subject == subject)
    return connection.execute(select(audit_log.c.seq).where(*where).limit(1)).first() is not None


def blot(connection: Connection, seq: int, words: Mapping[str, Any], now: datetime) -> None:
    """Give a row the subject and detail of `words`, without somebody who was erased. Its seal stays, so the chain holds; that it
    no longer fits is said by a row of its own, with a print of what stands there now."""
    values = {"subject": words["subject"], "detail": words["detail"]}
    connection.execute(update(audit_log).where(audit_log.c.seq == seq).values(values))
    row = connection.execute(select(audit_log).where(audit_log.c.seq == seq)).mappings().one()
    note(connection, "leadtrail", BLOTTED, str(seq), {"now": _seal(row)}, now)


def verify(engine: Engine) -> tuple[int, BrokenChain | None]:
    """(rows looked at, the first that does not hold). A row changed, left out or put in breaks the chain at its place."""
    previous, count = GENESIS, 0
    with engine.connect() as connection:
        blotted = _blotted(connection)
        while True:
            rows = (
                connection.execute(
                    select(audit_log).where(audit_log.c.seq > count).order_by(audit_log.c.seq).limit(_PAGE)
                )
                .mappings()
                .all()
            )
            for row in rows:
                if row["seq"] != count + 1:
                    return count, BrokenChain(count + 1, f"it is missing; the next row is {row['seq']}")
                if row["previous_hash"] != previous:
                    return count, BrokenChain(row["seq"], "it does not follow from the row before it")
                if row["hash"] != _seal(row) and blotted.get(row["seq"]) != _seal(row):
                    return count, BrokenChain(row["seq"], "its content is not what was written")
                previous, count = row["hash"], count + 1
            if len(rows) < _PAGE:
                return count, None


def _blotted(connection: Connection) -> dict[int, str]:
    """By row, what it was made into last. Said by later rows only, which the chain vouches for."""
    query = select(audit_log.c.seq, audit_log.c.subject, audit_log.c.detail).where(audit_log.c.action == BLOTTED)
    said: dict[int, str] = {}
    for seq, subject, detail in connection.execute(query.order_by(audit_log.c.seq)):
        if int(str(subject)) < int(seq):
            said[int(str(subject))] = json.loads(str(detail))["now"]
    return said


def _seal(row: Mapping[str, Any] | RowMapping) -> str:
    sealed = [row[name] for name in ("seq", "at", "actor", "action", "subject", "detail", "previous_hash")]
    return hashlib.sha256(json.dumps(sealed).encode()).hexdigest()
