"""What QuickBooks tells of changes, in its old envelope and as CloudEvents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from connectors.sandbox.quickbooks.books import Books, record_id

Change = tuple[str, str, str, datetime]
"""entity, id, operation, instant"""


def happenings(books: Books, entity: str) -> Iterator[tuple[datetime, int, str, str, str]]:
    """(instant, n, entity, id, operation) of everything that happened to the town's facts of an entity."""
    for fact in books.facts[entity]:
        row_id = record_id(entity, fact.n)
        yield fact.at, fact.n, entity, row_id, "Create"
        if fact.changed_at > fact.at:
            deleted, voided = getattr(fact, "deleted_at", None), getattr(fact, "voided_at", None)
            yield fact.changed_at, fact.n, entity, row_id, "Delete" if deleted else "Void" if voided else "Update"


def in_old_format(realm: str, changes: Sequence[Change]) -> dict[str, Any]:
    entities = [
        {"name": entity, "id": row_id, "operation": operation, "lastUpdated": at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        for entity, row_id, operation, at in changes
    ]
    return {"eventNotifications": [{"realmId": realm, "dataChangeEvent": {"entities": entities}}]}


def in_cloud_events(realm: str, changes: Sequence[Change]) -> list[dict[str, Any]]:
    past = {"Create": "created", "Update": "updated", "Delete": "deleted", "Void": "voided", "Merge": "merged"}
    return [
        {
            "specversion": "1.0",
            "id": hashlib.md5(f"{realm}:{entity}:{row_id}:{operation}:{at}".encode()).hexdigest(),
            "source": "intuit.quickbooks",
            "type": f"qbo.{entity.lower()}.{past.get(operation, operation.lower())}.v1",
            "datacontenttype": "application/json",
            "time": at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "intuitentityid": row_id,
            "intuitaccountid": realm,
            "data": {},
        }
        for entity, row_id, operation, at in changes
    ]
