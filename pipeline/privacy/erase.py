"""`leadtrail erase`: one person, out of everything we keep, for good. Killed at any point, running it again finishes.

First it is written down what is to go, as tombstones; from then on nothing of it comes in again. Then it goes from landing, the
store and the logs, the warehouse is built anew, published, and what was published before is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from pipeline.baseline import settle_baselines
from pipeline.crash_points import crash_here
from pipeline.office import Office
from pipeline.privacy.free_text import Mentions, bound_texts
from pipeline.privacy.run_records import sweep_run_records
from pipeline.privacy.subject import NobodyFound, Subject, find, identifier
from pipeline.privacy.sweep import sweep_landing, sweep_logs, sweep_store
from pipeline.publishing import publish
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.erasures import Prints, Tombstones, entomb, landing_lock
from pipeline.warehouse import build, drop_warehouse, sole_writer


@dataclass(frozen=True)
class Erased:
    people: int
    leads: int
    records: int
    mentions: int
    taken: dict[str, int]  # from where, how many
    bound: list[str]  # what still names them, for a person to mend


def erase(
    office: Office, client_id: str, who: str, *, by: str, now: datetime, tell: Callable[[str], None] = lambda _: None
) -> Erased:
    """Raises NobodyFound if there is nobody, and nothing was left undone."""
    office.connections(client=client_id)  # a client that there is
    settings, engine, prints = office.settings, office.engine, Prints(office.settings)
    with landing_lock(settings, alone=True), sole_writer(settings):
        subject, named = find(settings, engine, client_id, who), identifier(who)
        with engine.begin() as connection:
            at = _begun(Tombstones.read(connection, prints), client_id, named)
            if subject.is_known:
                at = stamp(now)
                entomb(connection, prints, client_id, subject.identifiers, by=by, now=now)
                _note(connection, "person.erasure_begun", subject, prints, by, now)
            elif not at:
                raise NobodyFound(f"Nobody of {client_id} is known by that. Nothing was changed.")
            # what came in since an earlier erasure is another matter: only this one's tombstones are followed
            tombstones = Tombstones.read(connection, prints, at=at)
        crash_here("erase: noted")
        tell("Written down. Taking it out of landing, store and logs …")
        taken = {"landing": sweep_landing(settings, engine, tombstones, now=now)}
        crash_here("erase: landing rewritten")
        taken |= sweep_store(engine, tombstones, now=now)
        crash_here("erase: store swept")
        taken["log lines"] = sweep_logs(settings, client_id, tombstones)
        taken["run records"] = sweep_run_records(settings, Mentions(tombstones, [client_id]))
        with engine.connect() as connection:
            bound = bound_texts(connection, tombstones)
    tell("Building the warehouse anew …")
    rebuild_and_forget(office, now=now)
    with engine.begin() as connection:
        _note(connection, "person.erased", subject, prints, by, now, taken)
    return Erased(len(subject.people), len(subject.leads), len(subject.records), len(subject.mentions), taken, bound)


def _begun(tombstones: Tombstones, client_id: str, named: str) -> str:
    """When this person was erased before: that may have been left undone, and is done again. "" if never."""
    ways = (named,) if ":" in named else (f"lead:{named}", f"person:{named}")
    return max(tombstones.erased_at(client_id, way) for way in ways)


def rebuild_and_forget(office: Office, *, now: datetime) -> None:
    """A warehouse from what landing holds now, published; and no copy of an older one."""
    settings = office.settings
    office.write_directory()
    drop_warehouse(settings)
    crash_here("erase: warehouse dropped")
    build(settings)
    settle_baselines(settings, office.engine, now=now)
    publish(settings)
    crash_here("erase: published")
    forget_older(settings)


def forget_older(settings: Settings) -> None:
    """Delete all published copies but the newest. Who has one open reads on until they close it."""
    newest = {pointer.resolve().name for pointer in (settings.analytics, settings.client_safe) if pointer.exists()}
    for path in settings.published.glob("*.duckdb*"):
        if path.name not in newest:
            path.unlink()


def _note(
    connection: Connection,
    action: str,
    subject: Subject,
    prints: Prints,
    by: str,
    now: datetime,
    taken: dict[str, int] | None = None,
) -> None:
    """Who erased how much of whom: by keyed hash, never by name."""
    named = sorted(prints.of(subject.client_id, one)[:12] for one in subject.identifiers if one.startswith("person:"))
    counts = {"leads": len(subject.leads), "records": len(subject.records), "mentions": len(subject.mentions)}
    audit.note(connection, by, action, f"{subject.client_id}/{','.join(named)}", {**counts, **(taken or {})}, now)
