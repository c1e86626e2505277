"""Doctor: is this home healthy? Every finding says what was looked at, what was found, and what to do."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import duckdb
from sqlalchemy import func, select, text

from connectors.registry import reads_from
from pipeline.build_record import last_build
from pipeline.clients import ClientsFileError
from pipeline.follow_up.hold_export import WARNED_BEFORE
from pipeline.follow_up.incidents import HOLD
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import inbox
from pipeline.store.connections import load_states
from pipeline.store.engine import HEAD, StoreProblem
from pipeline.store.holds import open_holds
from pipeline.store.incidents import open_incidents
from pipeline.store.schema import inbox as inbox_table
from pipeline.store.sealed import KeyProblem

STALE = timedelta(hours=26)  # longer than any provider's cadence: Search Console is daily
INBOX_WAIT = timedelta(minutes=15)
LOW_DISK = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    level: Literal["ok", "warn", "problem"]
    what: str
    found: str
    fix: str = ""


def examine(settings: Settings, *, now: datetime, only: Collection[str] = ()) -> list[Finding]:
    """All findings, or those of the named checks. A check that itself breaks is a finding too, never a crash."""
    office = Office(settings)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("versions", _versions),
        ("settings", lambda: _settings(settings)),
        ("disk", lambda: _disk(settings)),
        ("store", lambda: _store(office)),
        ("connections", lambda: _connections(office, now)),
        ("tokens", lambda: _tokens(office, now)),
        ("inbox", lambda: _inbox(office, now)),
        ("holds", lambda: _holds(office)),
        ("landing", lambda: _landing(office)),
        ("warehouse", lambda: _warehouse(settings)),
        ("last build", lambda: _last_build(settings)),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        if only and name not in only:
            continue
        try:
            findings += check()
        except (ClientsFileError, KeyProblem, StoreProblem) as error:  # they say themselves what to do
            findings.append(Finding("problem", name, str(error)))
        except Exception as error:
            findings.append(
                Finding("problem", name, f"could not be looked at: {type(error).__name__}: {error}", "Report this.")
            )
    return findings


def _versions() -> Iterator[Finding]:
    found = [
        f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    for package in ("dagster", "dbt-core", "dbt-duckdb", "duckdb"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("problem", "versions", f"{package} is not installed", "Run `make install`.")
    yield Finding("ok", "versions", ", ".join(found))


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "home", str(settings.home))
    if settings.key:
        yield Finding("ok", "key", "LEADTRAIL_KEY is set")
    else:
        yield Finding(
            "warn",
            "key",
            f"stored secrets are sealed with a key file beside them ({settings.home / 'store.key'})",
            "For production set LEADTRAIL_KEY (openssl rand -base64 32) before you store secrets.",
        )
    overrides = sorted(
        name for name in settings.environ if name.startswith("LEADTRAIL_") and name.endswith(("BASE_URL", "TOKEN_URL"))
    )
    if overrides:
        yield Finding(
            "warn",
            "base URLs",
            f"{len(overrides)} providers are pointed elsewhere: {', '.join(overrides)}",
            "Fine with the sandbox; unset them for real accounts.",
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free
    found = f"{free / 1024**3:.1f} GB free"
    yield (
        Finding("problem", "disk", found, "Free space: syncs and builds stop when it is full.")
        if free < LOW_DISK
        else Finding("ok", "disk", found)
    )


def _store(office: Office) -> Iterator[Finding]:
    with office.engine.connect() as connection:
        revision = connection.execute(text("select version_num from alembic_version")).scalar()
    level: Literal["ok", "problem"] = "ok" if revision == HEAD else "problem"
    yield Finding(
        level,
        "store",
        f"{office.engine.dialect.name}, schema {revision}",
        "" if level == "ok" else "Upgrade Leadtrail; this store is newer.",
    )


def _connections(office: Office, now: datetime) -> Iterator[Finding]:
    states = load_states(office.engine)
    for config in office.connections():
        state = states.get((config.client_id, config.provider))
        try:
            office.workshop.connector(config)
        except (ClientsFileError, KeyProblem) as error:
            yield Finding("problem", config.name, str(error), f"Whose: {config.owner}.")
            continue
        if not reads_from(config.provider):
            yield Finding("ok", config.name, "delivers only; `leadtrail check` tries it")
        elif state is None:
            yield Finding("warn", config.name, "never synced", "Run `leadtrail sync`.")
        elif state.state == "ok":
            age = now - datetime.fromisoformat(state.last_success_at or state.since)
            if age > STALE:
                yield Finding(
                    "warn",
                    config.name,
                    f"last read {age.total_seconds() / 3600:.0f} h ago",
                    "Is `leadtrail up` running?",
                )
            else:
                yield Finding("ok", config.name, f"last read {age.total_seconds() / 60:.0f} min ago")
        else:
            level: Literal["warn", "problem"] = "problem" if state.state == "needs_person" else "warn"
            yield Finding(
                level,
                config.name,
                f"{state.state} since {state.since[:16]}: {state.reason}",
                f"{state.fix} Whose: {state.owner}.",
            )


def _tokens(office: Office, now: datetime) -> Iterator[Finding]:
    for (client_id, provider), tokens in sorted(office.tokens().items()):
        if tokens.reconnect_by is not None and tokens.reconnect_by - now <= WARNED_BEFORE:
            ends = f"the sign-in ends on {tokens.reconnect_by:%d %b %Y}"
            yield Finding("warn", f"{client_id}/{provider}", ends, "Sync it, or reconnect it before that day.")


def _holds(office: Office) -> Iterator[Finding]:
    """What is paused, and what else is to be mended: each belongs to somebody."""
    with office.engine.connect() as connection:
        holds, incidents = open_holds(connection), open_incidents(connection)
    for hold in holds:
        what = (
            f"{hold['client_id']}: {hold['scope']} since {hold['opened_at'][:16]} ({hold['cause']}): {hold['evidence']}"
        )
        fix = f"`leadtrail holds show {hold['hold_id'][:8]}`. Whose: {hold['owner']}."
        yield Finding("warn" if hold["clearable_at"] else "problem", "on hold", what, fix)
    for one in incidents:
        if not one["open_key"].partition("|")[2].startswith(HOLD):  # those are told above
            what = f"{one['title']}, {one['symptoms']} symptoms since {one['opened_at'][:16]}: {one['evidence']}"
            yield Finding("problem", "incident", what, f"{one['recovery_rule']} Whose: {one['owner']}.")
    if not holds and not incidents:
        yield Finding("ok", "holds", "nothing is on hold, no incident is open")


def _inbox(office: Office, now: datetime) -> Iterator[Finding]:
    total = sum(inbox.waiting(office.engine).values())
    with office.engine.connect() as connection:
        oldest = connection.execute(
            select(func.min(inbox_table.c.received_at)).where(inbox_table.c.state == "stored")
        ).scalar()
        aside = connection.execute(select(func.count()).where(inbox_table.c.state == "quarantined")).scalar()
    if oldest and now - datetime.fromisoformat(oldest) > INBOX_WAIT:
        yield Finding(
            "problem", "inbox", f"{total} webhooks wait, the oldest since {oldest[:16]}", "Run `leadtrail sync`."
        )
    else:
        yield Finding("ok", "inbox", f"{total} webhooks wait")
    if aside:
        yield Finding(
            "warn",
            "inbox",
            f"{aside} webhooks could not be read and are kept aside",
            "See operations.quarantine and the store's inbox_quarantine.",
        )


def _landing(office: Office) -> Iterator[Finding]:
    files = [path for path in office.settings.landing.rglob("*.parquet")] if office.settings.landing.exists() else []
    size = sum(path.stat().st_size for path in files)
    torn = list(office.settings.landing.rglob("*.tmp"))
    yield Finding(
        "ok",
        "landing",
        f"{len(files)} files, {size / 1024**2:.1f} MB"
        + (f"; {len(torn)} unfinished from a crash (harmless)" if torn else ""),
    )
    if len(files) > 20_000:
        yield Finding("warn", "landing", "many small files", "Run `leadtrail compact`.")


def _warehouse(settings: Settings) -> Iterator[Finding]:
    lock = settings.home / "warehouse.lock"
    if lock.exists():
        with lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                yield Finding(
                    "warn", "warehouse", f"a build is running (process {file.read().strip()})", "Wait for it."
                )
                return
    if not settings.warehouse.exists():
        yield Finding("warn", "warehouse", "not built yet", "Run `leadtrail build`.")
        return
    try:
        duckdb.connect(str(settings.warehouse), read_only=True).close()
        yield Finding("ok", "warehouse", f"{settings.warehouse.stat().st_size / 1024**2:.1f} MB")
    except duckdb.IOException as error:
        yield Finding(
            "problem",
            "warehouse",
            str(error).splitlines()[0],
            "Close the tool that holds the file open (its process id is named), or run `leadtrail rebuild`.",
        )
    if settings.analytics.exists():
        yield Finding("ok", "published", os.readlink(settings.analytics))
    else:
        yield Finding("warn", "published", "nothing published yet", "Run `leadtrail build`.")


def _last_build(settings: Settings) -> Iterator[Finding]:
    record = last_build(settings)
    if record is None:
        return
    when = f"build {record.build}, {record.finished_at[:16]}"
    if record.ok:
        yield Finding("ok", "last build", f"{when}: every test passed")
        return
    more = f" (and {len(record.failures) - 5} more)" if len(record.failures) > 5 else ""
    yield Finding(
        "problem",
        "last build",
        f"{when}: {'; '.join(map(str, record.failures[:5]))}{more}",
        f"What is published stays as of {record.published_at[:16] or 'never'}. Mend it, then run `leadtrail build`.",
    )
