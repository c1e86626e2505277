"""What a person decides about who is who: landed like any other record, so that a rebuild replays it."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
from sqlalchemy import Engine

from connectors.base import Record
from pipeline.own_records import land_records

Decision = Literal["link", "part", "forget"]


class NotDecided(Exception):
    """The decision makes no sense as it was given; nothing was landed."""


def decide(
    what: Decision,
    client_id: str,
    key_a: str,
    key_b: str,
    *,
    by: str,
    why: str,
    landing_root: Path,
    engine: Engine,
    now: datetime,
) -> None:
    """Land the decision that two identifiers (`phone:+15125550142`, `hubspot_contact:501`) are one person's, or two persons'."""
    for key in (key_a, key_b):
        kind, _, value = key.partition(":")
        if not kind or not value:
            raise NotDecided(
                f"{key!r} is not an identifier. Write it as `leadtrail identity show` prints it, e.g. phone:+15125550142."
            )
    if key_a == key_b:
        raise NotDecided("Both identifiers are the same.")
    payload = {
        "decision_id": uuid.uuid4().hex,
        "decision": what,
        "key_a": key_a,
        "key_b": key_b,
        "decided_by": by,
        "decided_at": now.isoformat(),
        "why": why,
    }
    record = Record(payload["decision_id"], json.dumps(payload).encode(), occurred_at=now, updated_at=now)
    land_records(
        landing_root, engine, [(client_id, "leadtrail", "identity_decisions", [record])], via="import", now=now
    )


def explain(analytics: Path, client_id: str, value: str) -> list[tuple[str, str, str, str, str]]:
    """Records of everyone who holds an identifier: (person_id, provider, record, identifiers, why it is this person's).
    `value` is a phone, an email or a provider's id, as `leadtrail identity show` is given it."""
    with duckdb.connect(str(analytics.resolve()), read_only=True) as connection:
        return connection.execute(
            """
            with asked as (
                select distinct identity.person_id
                from timeline.record_identifiers as held
                inner join timeline.record_identity as identity on held.record_uid = identity.record_uid
                where held.client_id = $client and (held.identifier = $value or held.identifier like '%:' || $value)
            )
            select
                identity.person_id, identity.provider, identity.stream || ' ' || identity.record_id,
                string_agg(held.identifier, ', ' order by held.identifier), identity.because
            from timeline.record_identity as identity
            left join timeline.record_identifiers as held on identity.record_uid = held.record_uid
            where identity.person_id in (select person_id from asked) and identity.stream <> 'message_events'
            group by all
            order by 1, min(identity.first_known_at), 3
            """,
            {"client": client_id, "value": value},
        ).fetchall()
