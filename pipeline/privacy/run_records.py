"""Dagster's own record of runs, ticks and events. Nothing personal goes in by design; a traceback may show a value."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from pipeline.privacy.free_text import Mentions
from pipeline.settings import Settings

PATIENCE = 60  # seconds that Dagster may hold its database
# as a traceback or a message has it; lower case words are code and its events
_NAME_LIKE = re.compile(r"[^\W\d_a-z][\w'’-]*(?:[ ,.]{1,2}[^\W\d_a-z][\w'’-]*)+")


def sweep_run_records(settings: Settings, mentions: Mentions) -> int:
    """Returns how many rows were changed. Dagster may be running: each database is changed by itself, in one transaction."""
    return sum(_sweep(path, mentions) for path in sorted(settings.dagster_home.rglob("*.db")))


def _sweep(path: Path, mentions: Mentions) -> int:
    database = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    changed = 0
    try:
        database.execute("pragma secure_delete = on")  # what was there is overwritten, not only let go
        database.execute("begin immediate")
        for table, column in _texts(database):
            for rowid, text in database.execute(f'select rowid, "{column}" from "{table}"').fetchall():  # noqa: S608
                if isinstance(text, str) and (new := _blotted(text, mentions)) != text:
                    database.execute(f'update "{table}" set "{column}" = ? where rowid = ?', (new, rowid))  # noqa: S608
                    changed += 1
        database.execute("commit")
        if changed:
            database.execute("pragma wal_checkpoint(truncate)")
    finally:
        database.close()
    return changed


def _texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'").fetchall()]
    return [
        (table, name)
        for table in tables
        for _, name, kind, *_ in database.execute(f'pragma table_info("{table}")').fetchall()
        if kind == "TEXT" or kind.startswith("VARCHAR")
    ]


def _blotted(text: str, mentions: Mentions) -> str:
    text = mentions.without_addresses(text)
    return _NAME_LIKE.sub(lambda found: mentions.blotted(found[0]), text)
