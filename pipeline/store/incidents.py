"""What went wrong and is somebody's to mend: one cause is one incident, however many symptoms it has."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.schema import incidents


def report(
    connection: Connection,
    cause: str,
    *,
    client_id: str = "",
    title: str,
    evidence: str,
    owner: str,
    recovery_rule: str,
    now: datetime,
) -> bool:
    """Open an incident for `cause` (a stable key), or count one more symptom of the open one. True if it is new."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    at = stamp(now)
    row = {
        "incident_id": uuid.uuid4().hex,
        "open_key": f"{client_id}|{cause}",
        "client_id": client_id,
        "title": title,
        "evidence": evidence,
        "owner": owner,
        "recovery_rule": recovery_rule,
        "symptoms": 1,
        "opened_at": at,
        "last_seen_at": at,
    }
    statement = dialect.insert(incidents).on_conflict_do_update(
        index_elements=["open_key"], set_={"symptoms": incidents.c.symptoms + 1, "last_seen_at": at}
    )
    symptoms = connection.execute(statement.returning(incidents.c.symptoms), row).scalar_one()
    if symptoms == 1:
        audit.note(connection, "leadtrail", "incident.opened", row["open_key"], {"title": title}, now)
    return bool(symptoms == 1)


def resolve(connection: Connection, cause: str, now: datetime, *, client_id: str = "", by: str) -> bool:
    """It is mended. False if none was open."""
    key = f"{client_id}|{cause}"
    values = {"open_key": None, "resolved_at": stamp(now), "resolved_by": by}
    done = connection.execute(update(incidents).where(incidents.c.open_key == key).values(**values)).rowcount == 1
    if done:
        audit.note(connection, by, "incident.resolved", key, {}, now)
    return done


def open_incidents(connection: Connection, client_id: str = "") -> list[Mapping[str, Any]]:
    """What is to be mended, oldest first."""
    query = select(incidents).where(incidents.c.open_key.is_not(None)).order_by(incidents.c.opened_at)
    if client_id:
        query = query.where(incidents.c.client_id == client_id)
    return list(connection.execute(query).mappings().all())


def find_incident(connection: Connection, incident_id: str) -> list[Mapping[str, Any]]:
    """Incidents whose id begins like this, resolved ones too."""
    query = select(incidents).where(incidents.c.incident_id.startswith(incident_id, autoescape=True))
    return list(connection.execute(query.order_by(incidents.c.opened_at)).mappings().all())
