"""How long each class of data is kept, and deleting what is past it. `LEADTRAIL_KEEP_DAYS` changes the defaults."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from sqlalchemy import Connection, delete, select, update

from pipeline.office import Office
from pipeline.privacy.erase import rebuild_and_forget
from pipeline.privacy.sweep import let_go, sweep_landing
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.erasures import Fate, landing_lock
from pipeline.store.outputs import OPEN
from pipeline.store.schema import (
    call_summaries,
    inbox,
    login_attempts,
    login_links,
    output_log,
    outputs,
    quarantine,
    sessions,
)
from pipeline.warehouse import sole_writer


class RetentionMistake(Exception):
    """LEADTRAIL_KEEP_DAYS cannot be read. Nothing was deleted."""


@dataclass(frozen=True)
class Keep:
    """Days. `people`: since a person was last heard of; the other classes: since the row or file was last needed."""

    people: int = 1_130  # three years and a month: a year before joining, compared with the two after it
    webhooks: int = 30  # what a webhook said, once it is in landing
    quarantine: int = 90
    logs: int = 30
    sign_ins: int = 90
    published: int = 7  # older copies of the warehouse; the newest always stays


def read_keep(settings: Settings) -> Keep:
    """E.g. "webhooks=14 logs=7". What is left out keeps its default."""
    known = [field.name for field in fields(Keep)]
    said = {}
    for part in settings.keep_days.replace(",", " ").split():
        name, _, days = part.partition("=")
        if name not in known or not days.isdigit() or int(days) < 1:
            raise RetentionMistake(
                f"LEADTRAIL_KEEP_DAYS has {part!r}. Write parts like people=1130, with days of at least 1; it takes "
                f"{', '.join(known)}. Nothing was deleted."
            )
        said[name] = int(days)
    return replace(Keep(), **said)


def keep_no_longer(office: Office, *, now: datetime, tell: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Delete what is past its time. Returns how many of each; whatever is interrupted is done the next time."""
    keep = read_keep(office.settings)

    def since(days: int) -> datetime:
        return now - timedelta(days=days)

    with office.engine.begin() as connection:
        done = {
            "webhooks": _webhooks(connection, since(keep.webhooks)),
            "quarantine": _quarantine(connection, since(keep.quarantine)),
            "sign-ins": _sign_ins(connection, since(keep.sign_ins)),
            "outputs": _outputs(connection, since(keep.people)),
        }
    if any(done.values()):
        let_go(office.engine)
    done["logs"] = _logs(office.settings, since(keep.logs), now)
    done["published"] = _published(office.settings, since(keep.published))
    done["people"] = _people(office, since(keep.people), now=now, tell=tell)
    with office.engine.begin() as connection:
        audit.note(connection, "leadtrail", "retention", "", done, now)
    return done


# ---- the store ----


def _webhooks(connection: Connection, before: datetime) -> int:
    """The row stays, so that the same webhook sent again is not new."""
    old = (inbox.c.state == "drained", inbox.c.state_at < stamp(before), inbox.c.body != b"")
    emptied = {"url": "", "tail": "", "headers": "{}", "body": b""}
    return connection.execute(update(inbox).where(*old).values(emptied)).rowcount


def _quarantine(connection: Connection, before: datetime) -> int:
    old = quarantine.c.quarantined_at < stamp(before)
    ids = select(quarantine.c.inbox_id).where(old)
    emptied = {"url": "", "tail": "", "headers": "{}", "body": b""}
    connection.execute(update(inbox).where(inbox.c.id.in_(ids), inbox.c.state == "quarantined").values(emptied))
    return connection.execute(delete(quarantine).where(old)).rowcount


def _sign_ins(connection: Connection, before: datetime) -> int:
    attempts = connection.execute(delete(login_attempts).where(login_attempts.c.at < stamp(before))).rowcount
    for table in (sessions, login_links):
        attempts += connection.execute(delete(table).where(table.c.expires_at < stamp(before))).rowcount
    return attempts


def _outputs(connection: Connection, before: datetime) -> int:
    """What was written to whom; that something was done stays."""
    old = (outputs.c.status.not_in(OPEN), outputs.c.status_at < stamp(before), outputs.c.payload != "{}")
    ids = select(outputs.c.output_id).where(*old)
    connection.execute(update(output_log).where(output_log.c.output_id.in_(ids)).values(detail=""))
    connection.execute(delete(call_summaries).where(call_summaries.c.made_at < stamp(before)))
    return connection.execute(update(outputs).where(*old).values(payload="{}", recipient="", reason="")).rowcount


# ---- files ----


def _logs(settings: Settings, before: datetime, now: datetime) -> int:
    """A log that is being written to is set aside each day, so that it has an age; its writer goes on in the same file."""
    gone = 0
    for path in list(_files(settings.logs)):
        dated = re.search(r"\.\d{4}-\d{2}-\d{2}\.log$", path.name)
        if _older(path, before):
            path.unlink()
            gone += 1
        elif path.suffix == ".log" and not dated and path.stat().st_size:
            aside = path.with_name(f"{path.stem}.{now:%Y-%m-%d}.log")
            if not aside.exists():
                shutil.copyfile(path, aside)
                with path.open("r+b") as file:
                    file.truncate()
    for path in list(_files(settings.dagster_home / "storage")):
        if _older(path, before):
            path.unlink()
            gone += 1
    return gone


def _published(settings: Settings, before: datetime) -> int:
    newest = {pointer.resolve().name for pointer in (settings.analytics, settings.client_safe) if pointer.exists()}
    old = [path for path in settings.published.glob("*-*.duckdb") if path.name not in newest and _older(path, before)]
    for path in old:
        path.unlink()
    return len(old)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _older(path: Path, before: datetime) -> bool:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) < before


# ---- people nobody has heard of for years ----


class _Silent:
    """Every record of theirs goes from landing. Nothing is remembered of them: should they come back, they are new."""

    def __init__(self, rows: list[tuple[str, str, str, str]]) -> None:
        self._named = set(rows)
        self.clients = {row[0] for row in rows}

    def fate(self, client_id: str, provider: str, stream: str, record_id: str) -> Fate:
        return "drop" if (client_id, provider, stream, record_id) in self._named else "keep"

    def blot(self, client_id: str, text: bytes) -> bytes:
        return text


_SILENT = """
with heard as (
    select client_id, person_id, max(occurred_at) as last_at from timeline.fct_lead_events group by client_id, person_id
),
placed as (
    select client_id, person_id, max(first_known_at) as known_at from timeline.record_identity group by client_id, person_id
)
select record_identity.client_id, provider, stream, record_id
from timeline.record_identity
inner join placed using (client_id, person_id)
left join heard using (client_id, person_id)
where coalesce(last_at, known_at) < ? and stream not in ('trackers', 'phone_numbers')
"""


def _people(office: Office, before: datetime, *, now: datetime, tell: Callable[[str], None]) -> int:
    """By whole months, so that the warehouse is built anew for them once a month and not every day."""
    settings, engine = office.settings, office.engine
    if not settings.analytics.exists():
        return 0
    before = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    with duckdb.connect(str(settings.analytics), read_only=True) as analytics:
        rows = analytics.execute(_SILENT, [before.replace(tzinfo=None)]).fetchall()
    if not rows:
        return 0
    tell(f"{len(rows):,} records of people unheard of since {before:%B %Y}: taking them out of landing …")
    with landing_lock(settings, alone=True), sole_writer(settings):
        taken = sweep_landing(settings, engine, _Silent(rows), now=now)
    tell("Building the warehouse anew …")
    rebuild_and_forget(office, now=now)
    return taken
