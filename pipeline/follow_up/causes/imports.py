"""Too little came in, or it came in a shape we can't read: a source that fails for hours, a day or an export with far fewer rows
than usual, a batch with many unreadable records."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime

from sqlalchemy import select

from pipeline.follow_up.causes.trouble import House, Trouble
from pipeline.follow_up.holding import KNOW_NO_PERSON
from pipeline.store.connections import load_states
from pipeline.store.schema import audit_log

RECOVERY = (
    "See operations.source_coverage and operations.quarantine. It ends by itself once the source is read, whole and readable, "
    "and a build knows what came. A person ends it who knows that there was no more to bring."
)
LANDED = "import.landed"  # what the audit log calls an export that was imported


def find(house: House) -> list[Trouble]:
    found = [*_unread(house), *_short_days(house), *_unreadable(house), *_short_files(house)]
    return [one for one in found if (one.client_id, one.scope) in house.connections and one.scope not in KNOW_NO_PERSON]


def _unread(house: House) -> list[Trouble]:
    """The provider is down or has changed for so long that we no longer know what happened there."""
    return [
        Trouble(
            state.client_id,
            state.provider,
            f"Not read since {(state.last_success_at or state.since)[:16]} UTC: {state.reason}",
            datetime.fromisoformat(state.last_attempt_at),
        )
        for state in load_states(house.engine).values()
        if state.state in ("failing", "deferred")
        and house.now - datetime.fromisoformat(state.last_success_at or state.since) > house.limits.unread_after
    ]


def _short_days(house: House) -> list[Trouble]:
    rows = house.published(
        "select client_id, provider, stream, last_day_records, usual_day_records, read_until from operations.source_coverage "
        "where usual_day_records >= ? and last_day_records <= ? * usual_day_records",
        house.limits.usual_day_at_least,
        house.limits.short_day_share,
    )
    return [
        Trouble(client, provider, f"{few} {stream} in a day that usually brings {usual:.0f}.", _utc(at))
        for client, provider, stream, few, usual, at in rows
    ]


def _unreadable(house: House) -> list[Trouble]:
    rows = house.published(
        "select client_id, provider, stream, last_batch_records, last_batch_rejected, last_received_at "
        "from operations.source_coverage where last_batch_rejected >= ? and last_batch_rejected >= ? * last_batch_records",
        house.limits.unreadable_at_least,
        house.limits.unreadable_share,
    )
    return [
        Trouble(client, provider, f"{bad} of the {came} {stream} that came last could not be read.", _utc(at))
        for client, provider, stream, came, bad, at in rows
    ]


def _short_files(house: House) -> list[Trouble]:
    """An export that a person imported, beside the largest one before it: exports hold everything up to their day."""
    files: dict[str, list[tuple[str, int]]] = defaultdict(list)
    with house.engine.connect() as connection:
        query = select(audit_log.c.subject, audit_log.c.at, audit_log.c.detail).where(audit_log.c.action == LANDED)
        for row in connection.execute(query.order_by(audit_log.c.seq)):
            files[row.subject].append((row.at, json.loads(row.detail)["rows"]))
    troubles = []
    for connection_name, landed in files.items():
        (at, rows), before = landed[-1], max((rows for _, rows in landed[:-1]), default=0)
        if before >= house.limits.usual_day_at_least and rows < house.limits.short_file_share * before:
            client_id, _, provider = connection_name.partition("/")
            evidence = f"The export imported last has {rows} rows; an earlier one had {before}."
            troubles.append(Trouble(client_id, provider, evidence, datetime.fromisoformat(at)))
    return troubles


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
