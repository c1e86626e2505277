"""How our outputs stand, landed as records of `leadtrail/outputs`: what we did is on the lead's timeline like what anybody did.

Only what changed since last time lands, and that it landed is remembered in the transaction that makes it count: a crash lands
at most the same again, which staging ignores. No words of a message are in it; the one identifier is how dbt knows whose it is.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from connectors.base import Record
from pipeline.crash_points import crash_here
from pipeline.follow_up.holding import CARRIERS
from pipeline.follow_up.published import NotPublished, Published
from pipeline.landing import content_keys
from pipeline.own_records import land_records
from pipeline.store.engine import put, stamp
from pipeline.store.schema import feeds, output_log, outputs

if TYPE_CHECKING:
    from pipeline.office import Office

STREAM = "outputs"
OVERLAP = timedelta(minutes=10)  # a row of the log may be committed after a newer one
_FEED = {"client_id": "", "provider": "leadtrail", "feed": STREAM}


def land_outcomes(office: Office, *, now: datetime) -> int:
    """Land every output that changed since last time. Returns how many."""
    with office.engine.connect() as connection:
        until, seen = _remembered(connection)
        rows = _changed(connection, until - OVERLAP if until else None)
    if not rows:
        return 0
    kept, fresh = _fresh(rows, seen, _identifiers(office, rows))
    newest = max(datetime.fromisoformat(row["changed_at"]) for row in rows)

    def done(connection: Connection) -> None:
        cursor = json.dumps({"until": stamp(newest), "seen": kept})
        put(connection, feeds, [{**_FEED, "cursor": cursor, "seen": b"", "version": 1, "committed_at": stamp(now)}])

    by_client: dict[str, list[Record]] = defaultdict(list)
    for client_id, record in fresh:
        by_client[client_id].append(record)
    landed = [(client_id, "leadtrail", STREAM, records) for client_id, records in sorted(by_client.items())]
    count = land_records(office.settings.landing, office.engine, landed, via="pull", now=now, done=done)
    crash_here("outcomes: landed")
    return count


def _remembered(connection: Connection) -> tuple[datetime | None, dict[str, str]]:
    """How far the log was landed, and the content last landed of what lies within the overlap."""
    where = [feeds.c[name] == value for name, value in _FEED.items()]
    written = connection.execute(select(feeds.c.cursor).where(*where)).scalar()
    if not written:
        return None, {}
    cursor = json.loads(written)
    return datetime.fromisoformat(cursor["until"]), cursor["seen"]


def _changed(connection: Connection, since: datetime | None) -> list[dict[str, Any]]:
    """Outputs with news in their log; `changed_at` is when the last of it happened."""
    news = select(output_log.c.output_id, output_log.c.at)
    if since is not None:
        news = news.where(output_log.c.at >= stamp(since))
    changed_at: dict[str, str] = {}
    for row in connection.execute(news):
        changed_at[row.output_id] = max(row.at, changed_at.get(row.output_id, ""))
    ids, rows = sorted(changed_at), []
    for start in range(0, len(ids), 5_000):
        query = select(outputs).where(outputs.c.output_id.in_(ids[start : start + 5_000]))
        rows += [{**row, "changed_at": changed_at[row["output_id"]]} for row in connection.execute(query).mappings()]
    return rows


def _fresh(
    rows: Iterable[Mapping[str, Any]], seen: Mapping[str, str], identifiers: Mapping[str, str]
) -> tuple[dict[str, str], list[tuple[str, Record]]]:
    """(what to remember, records whose content is not what was landed last)."""
    kept, fresh = {}, []
    for row in sorted(rows, key=lambda one: (one["changed_at"], one["output_id"])):
        record = _record(row, identifiers.get(row["output_id"], ""))
        key = content_keys(row["client_id"], "leadtrail", STREAM, [record])[0].hex()
        kept[row["output_id"]] = key
        if seen.get(row["output_id"]) != key:
            fresh.append((row["client_id"], record))
    newest = max(datetime.fromisoformat(row["changed_at"]) for row in rows)
    within = stamp(newest - OVERLAP)
    return {row["output_id"]: kept[row["output_id"]] for row in rows if row["changed_at"] >= within}, fresh


def _record(row: Mapping[str, Any], identifier: str) -> Record:
    names = (
        "output_id",
        "output_type",
        "channel",
        "status",
        "status_at",
        "created_at",
        "due_at",
        "expires_at",
        "first_sent_at",
        "acknowledged_at",
        "respond_by",
        "escalated",
        "rule",
        "rule_version",
        "step_id",
        "template",
        "template_version",
        "priority",
        "owner",
        "lead_id",
        "trigger_event_id",
        "provider_ref",
        "reason_code",
    )
    said = {name: row[name] for name in names}
    said["provider"] = next(iter(CARRIERS.get(row["channel"], ())), "leadtrail")
    said["identifier"] = identifier
    said["given_name"] = json.loads(row["payload"]).get("given_name", "") if identifier.startswith("phone:") else ""
    changed_at = max(filter(None, (row["status_at"], row["acknowledged_at"])))
    return Record(
        row["output_id"],
        json.dumps(said, sort_keys=True).encode(),
        occurred_at=datetime.fromisoformat(row["created_at"]),
        updated_at=datetime.fromisoformat(changed_at),
    )


# ---- whose it is ----


def _identifiers(office: Office, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """One identifier for each output about a lead. One only: with two, our own record would be what says that they are one
    person's. The CRM's id first: it is nobody else's."""
    try:
        published = Published(office.settings)
    except NotPublished:
        return {}
    found = {}
    try:
        published.know((row["client_id"], row["lead_id"]) for row in rows if row["lead_id"])
        for row in rows:
            if row["lead_id"] and (identifier := _identifier(published, row)):
                found[row["output_id"]] = identifier
    finally:
        published.close()
    return found


def _identifier(published: Published, row: Mapping[str, Any]) -> str:
    contact = published.contact(row["client_id"], row["lead_id"])
    if contact and contact.crm_contact_id:
        return f"hubspot_contact:{contact.crm_contact_id}"
    if row["channel"] in ("text", "email") and row["recipient"]:
        return f"{'phone' if row['channel'] == 'text' else 'email'}:{row['recipient']}"
    if contact and (contact.phone or contact.email):
        return f"phone:{contact.phone}" if contact.phone else f"email:{contact.email}"
    held = published.events(
        "select min(held.identifier) as identifier from timeline.fct_lead_events as events "
        "inner join timeline.record_identifiers as held on events.record_uid = held.record_uid where events.event_id = $event",
        event=row["trigger_event_id"] or "",
    )
    return held[0]["identifier"] or ""
