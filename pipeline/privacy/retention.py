"""How long each class of data is kept, and deleting what is past it. `LEADTRAIL_KEEP_DAYS` changes the defaults."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
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


def keep_no_longer(
    office: Office, *, now: datetime, tell: Callable[[str], None] = lambda _: None, dry_run: bool = False
) -> dict[str, int]:
    """Delete what is past its time, or only count it. Returns how many of each; whatever is interrupted is done the next time."""
    keep = read_keep(office.settings)

    def since(days: int) -> datetime:
        return now - timedelta(days=days)

    with office.engine.connect() as connection, connection.begin() as changes:
        done = {
            "webhooks": _webhooks(connection, since(keep.webhooks)),
            "quarantine": _quarantine(connection, since(keep.quarantine)),
            "sign-ins": _sign_ins(connection, since(keep.sign_ins)),
            "outputs": _outputs(connection, since(keep.people)),
        }
        if dry_run:
            changes.rollback()
    if any(done.values()) and not dry_run:
        let_go(office.engine)
    done["logs"] = _deleted(_old_logs(office.settings, since(keep.logs)), dry_run=dry_run)
    done["published"] = _deleted(_old_copies(office.settings, since(keep.published)), dry_run=dry_run)
    silent = _silent(office.settings, since(keep.people))
    for line in _says(silent, since(keep.people)):
        tell(line)
    done["people"] = len(silent)
    if not dry_run:
        _set_logs_aside(office.settings, now)
        _forget(office, silent, now=now, tell=tell)
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


def _old_logs(settings: Settings, before: datetime) -> list[Path]:
    folders = (settings.logs, settings.dagster_home / "storage")
    return [path for folder in folders for path in _files(folder) if _older(path, before)]


def _old_copies(settings: Settings, before: datetime) -> list[Path]:
    newest = {pointer.resolve().name for pointer in (settings.analytics, settings.client_safe) if pointer.exists()}
    return [path for path in settings.published.glob("*-*.duckdb") if path.name not in newest and _older(path, before)]


def _deleted(paths: list[Path], *, dry_run: bool) -> int:
    for path in paths:
        if not dry_run:
            path.unlink()
    return len(paths)


def _set_logs_aside(settings: Settings, now: datetime) -> None:
    """A log that is being written to is set aside each day, so that it has an age; its writer goes on in the same file."""
    for path in list(_files(settings.logs)):
        dated = re.search(r"\.\d{4}-\d{2}-\d{2}\.log$", path.name)
        if path.suffix == ".log" and not dated and path.stat().st_size:
            aside = path.with_name(f"{path.stem}.{now:%Y-%m-%d}.log")
            if not aside.exists():
                shutil.copyfile(path, aside)
                with path.open("r+b") as file:
                    file.truncate()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _older(path: Path, before: datetime) -> bool:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC) < before


# ---- people nobody has heard of for years ----


Named = tuple[str, str, str, str]  # client, provider, stream, record id


class _Silent:
    """Every record of theirs goes from landing. Nothing is remembered of them: should they come back, they are new."""

    def __init__(self, rows: Collection[Named]) -> None:
        self._named = set(rows)
        self.clients = {row[0] for row in rows}

    def fate(self, client_id: str, provider: str, stream: str, record_id: str) -> Fate:
        return "drop" if (client_id, provider, stream, record_id) in self._named else "keep"

    def blot(self, client_id: str, text: bytes) -> bytes:
        return text


# whose last event is older; of a person without events, when we first knew of them. What is nobody's, as a call with a withheld
# number, goes by its own time. A record that is also of somebody else stays
_SILENT = """
with held as (
    select client_id, person_id, provider, stream, record_id, null as occurred_at, first_known_at as known_at
    from timeline.record_identity
    union all
    select client_id, coalesce(person_id, concat_ws('/', 'nobody', provider, stream, record_id)),
        provider, stream, record_id, occurred_at, null
    from timeline.fct_lead_events
),
people as (
    select client_id, person_id, coalesce(max(occurred_at), max(known_at)) < ? as is_silent
    from held group by client_id, person_id
)
select client_id, provider, stream, record_id
from held inner join people using (client_id, person_id)
where stream not in ('trackers', 'phone_numbers')
group by client_id, provider, stream, record_id having bool_and(is_silent)
order by all
"""


def _silent(settings: Settings, before: datetime) -> list[Named]:
    if not settings.analytics.exists():
        return []
    with duckdb.connect(str(settings.analytics), read_only=True) as analytics:
        return analytics.execute(_SILENT, [_month(before).replace(tzinfo=None)]).fetchall()


def _month(before: datetime) -> datetime:
    """By whole months, so that the warehouse is built anew for them once a month and not every day."""
    return before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _says(silent: list[Named], before: datetime) -> Iterator[str]:
    counted = Counter((client_id, f"{provider} {stream}") for client_id, provider, stream, _ in silent)
    for client_id in sorted({row[0] for row in silent}):
        streams = ", ".join(
            f"{what} {count:,}" for (whose, what), count in sorted(counted.items()) if whose == client_id
        )
        yield f"{client_id}: records of people unheard of since {_month(before):%B %Y}: {streams}."


def _forget(office: Office, silent: list[Named], *, now: datetime, tell: Callable[[str], None]) -> None:
    if not silent:
        return
    tell("Taking them out of landing …")
    with landing_lock(office.settings, alone=True), sole_writer(office.settings):
        sweep_landing(office.settings, office.engine, _Silent(silent), now=now)
    tell("Building the warehouse anew …")
    rebuild_and_forget(office, now=now)
