"""A copy of what cannot be made again, and a home made from it: the store, landing, the clients file and the audit heads.

The store is copied first, as it is at one moment, and landing after it, so that no cursor is ahead of the records it stands for.
Nobody can be erased meanwhile. The key and the secrets file stay where they are: who finds the copy opens nothing with it. The
manifest says which key that is, what was counted, and how far the audit log had come; it is written last, so a copy without one
was cut off.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, func, inspect, make_url, select, text

from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.audit_heads import FILE as AUDIT_HEADS
from pipeline.store.engine import open_store, stamp
from pipeline.store.erasures import landing_lock
from pipeline.store.schema import audit_log, metadata, segments
from pipeline.store.sealed import key_id, load_key

MANIFEST, SQLITE, POSTGRES, CLIENTS = "manifest.json", "store.db", "store.dump", "clients.yaml"


class BackupProblem(Exception):
    """Nothing was copied, or not all of it. The message says what to do."""


@dataclass(frozen=True)
class Manifest:
    """`rows` by table of the store; `head` is the hash of the audit log's newest row."""

    made_at: str
    key: str
    store: str  # SQLITE or POSTGRES: its file
    rows: dict[str, int]
    head: str
    files: int
    bytes: int

    @property
    def records(self) -> str:
        return f"{sum(self.rows.values()):,} rows of the store, {self.files:,} files of landing"


# ---- making one ----


def back_up(office: Office, folder: Path, *, now: datetime) -> Manifest:
    """Into a folder of its own. An earlier backup there is brought up to date: only files of landing that are new are copied."""
    settings, engine = office.settings, office.engine
    if (
        folder.exists()
        and any(folder.iterdir())
        and not (folder / MANIFEST).exists()
        and not (folder / "landing").exists()
    ):
        raise BackupProblem(f"{folder} holds something that is no backup. Name an empty folder, or a new one.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / MANIFEST).unlink(missing_ok=True)
    with landing_lock(settings, alone=False):
        store, rows, head = _copy_store(engine, folder)
        files, size = _copy_landing(settings.landing, folder / "landing")
    for path, name in ((settings.clients_file, CLIENTS), (settings.home / AUDIT_HEADS, AUDIT_HEADS)):
        if path.exists():
            shutil.copyfile(path, folder / name)
    made = Manifest(stamp(now), key_id(load_key(settings.key, settings.home)), store, rows, head, files, size)
    temporary = folder / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(asdict(made), indent=1))
    temporary.rename(folder / MANIFEST)
    return made


def _copy_store(engine: Engine, folder: Path) -> tuple[str, dict[str, int], str]:
    if engine.dialect.name == "sqlite":
        temporary = folder / f"{SQLITE}.tmp"
        temporary.unlink(missing_ok=True)
        source, copy = sqlite3.connect(str(engine.url.database)), sqlite3.connect(temporary)
        try:
            source.backup(copy)  # as it is at one moment, whoever writes meanwhile
        finally:
            copy.close()
            source.close()
        temporary.rename(folder / SQLITE)
        counted = create_engine(f"sqlite:///{folder / SQLITE}")
        with counted.connect() as connection:
            rows, head = _count(connection)
        counted.dispose()
        return SQLITE, rows, head
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        snapshot: str = connection.execute(text("select pg_export_snapshot()")).scalar_one()
        rows, head = _count(connection)
        tables = [f"--table={name}" for name in (*metadata.tables, "alembic_version")]
        file = f"--file={folder / POSTGRES}"
        _run("pg_dump", engine.url, ["--format=custom", "--no-owner", file, f"--snapshot={snapshot}", *tables])
    return POSTGRES, rows, head


def _copy_landing(landing: Path, to: Path) -> tuple[int, int]:
    """A file never changes once it has its name. What is gone here (a person was erased) goes there too."""
    there = {path.relative_to(landing) for path in landing.glob("*/*/*.parquet")}
    for path in to.glob("*/*/*"):
        if path.relative_to(to) not in there:
            path.unlink()
    files = size = 0
    for name in sorted(there):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            if not (to / name).exists():
                temporary = (to / name).with_suffix(".tmp")
                shutil.copyfile(landing / name, temporary)
                temporary.rename(to / name)
        except FileNotFoundError:
            continue  # compacted a day ago, and deleted just now
        files, size = files + 1, size + (to / name).stat().st_size
    return files, size


# ---- a home made from one ----


def restore(settings: Settings, folder: Path) -> Manifest:
    """Into an empty home, whose key is there already. Looks at all of it before it says that it is whole."""
    made = read_manifest(folder)
    _right_key(settings, made, folder)
    _empty(settings, made)
    settings.home.mkdir(parents=True, exist_ok=True)
    if (folder / "landing").exists():
        shutil.copytree(folder / "landing", settings.landing)
    for name, path in ((CLIENTS, settings.clients_file), (AUDIT_HEADS, settings.home / AUDIT_HEADS)):
        if (folder / name).exists() and not path.exists():
            shutil.copyfile(folder / name, path)
    _restore_store(settings, folder / made.store)
    engine = open_store(settings.store_url)
    wrong = [*_missing(settings, engine), *_differs(Office(settings), engine, made)]
    engine.dispose()
    if wrong:
        raise BackupProblem(
            f"The backup of {made.made_at[:10]} was copied to {settings.home}, but it is not whole: {'; '.join(wrong[:5])}. "
            "Do not start it; restore an older backup into another home."
        )
    return made


def read_manifest(folder: Path) -> Manifest:
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError):
        raise BackupProblem(
            f"{folder} has no {MANIFEST} that can be read: it is no backup, or one that was cut off. Nothing was restored."
        ) from None


def _right_key(settings: Settings, made: Manifest, folder: Path) -> None:
    wanted = f"The backup in {folder} needs the key with the id {made.key}"
    put = f"Set LEADTRAIL_KEY to it, or put the old home's file store.key into {settings.home}. Nothing was restored."
    if not settings.key and not (settings.home / "store.key").exists():
        raise BackupProblem(f"{wanted}, and there is no key here. {put}")
    here = key_id(load_key(settings.key, settings.home))
    if here != made.key:
        raise BackupProblem(f"{wanted}; the one here has the id {here}. {put}")


def _empty(settings: Settings, made: Manifest) -> None:
    url = make_url(settings.store_url)
    if url.drivername.startswith("sqlite") != (made.store == SQLITE):
        raise BackupProblem(
            f"The backup's store is {'SQLite' if made.store == SQLITE else 'PostgreSQL'}, and LEADTRAIL_STORE_URL names the "
            "other kind. Nothing was restored."
        )
    in_use = [path.name for path in (settings.landing, settings.warehouse) if path.exists()]
    if made.store == SQLITE:
        in_use += [SQLITE] if Path(url.database or "").exists() else []
    else:
        engine = create_engine(url.set(drivername="postgresql+psycopg"))
        in_use += sorted({*metadata.tables} & {*inspect(engine).get_table_names()})[:3]
        engine.dispose()
    if in_use:
        raise BackupProblem(
            f"{settings.home} is in use: it has {', '.join(in_use)}. Restore into an empty home (and an empty database); what a "
            "restore left that was cut off may be deleted. Nothing was restored."
        )


def _restore_store(settings: Settings, copy: Path) -> None:
    url = make_url(settings.store_url)
    if copy.name == SQLITE:
        path = Path(url.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(copy, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)
    else:
        _run("pg_restore", url, ["--no-owner", "--exit-on-error", "--single-transaction", str(copy)])


def _missing(settings: Settings, engine: Engine) -> Iterator[str]:
    """Files of landing that the store knows of, each with the content it had."""
    with engine.connect() as connection:
        known = connection.execute(select(segments.c.name, segments.c.sha256).where(segments.c.superseded_by.is_(None)))
        for name, sha256 in known.all():
            path = settings.landing / str(name)
            if not path.exists():
                yield f"landing/{name} is missing"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                yield f"landing/{name} is not what it was"


def _differs(office: Office, engine: Engine, made: Manifest) -> Iterator[str]:
    with engine.connect() as connection:
        rows, head = _count(connection)
    for table, count in made.rows.items():
        if rows.get(table) != count:
            yield f"table {table} has {rows.get(table, 0):,} rows instead of {count:,}"
    _, broken = office.audit()
    if broken or head != made.head:
        yield f"the audit log does not hold at row {broken.seq if broken else 'the last'}"


# ---- both ----


def _count(connection: Connection) -> tuple[dict[str, int], str]:
    rows = {
        name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in metadata.tables.items()
    }
    newest = select(audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
    return rows, connection.execute(newest).scalar() or ""


def _run(program: str, url: URL, arguments: list[str]) -> None:
    """PostgreSQL's own tools. The password goes by the environment: arguments can be read by everybody on the machine."""
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    env = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    try:
        subprocess.run([program, f"--dbname={plain}", *arguments], env=env, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise BackupProblem(
            f"{program} is not on this machine. Install PostgreSQL's client of the server's version."
        ) from None
    except subprocess.CalledProcessError as failed:
        raise BackupProblem(f"{program} failed: {failed.stderr.strip().splitlines()[-1]}") from None
