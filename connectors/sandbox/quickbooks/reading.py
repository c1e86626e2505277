"""Finding the rows a query asks for."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Any

from connectors.sandbox.quickbooks.books import KINDS, Books, Row
from connectors.sandbox.quickbooks.query import Query, QueryError, UnknownEntity

TIME = "metadata.lastupdatedtime"
COMPARE = {"=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
ENTITIES = {entity.lower(): entity for entity, _ in KINDS.values()}
# entities that QuickBooks knows and this town has none of
EMPTY = {"bill", "billpayment", "budget", "class", "companycurrency", "department", "deposit", "employee", "item"}
EMPTY |= {"journalentry", "paymentmethod", "purchase", "purchaseorder", "taxagency", "taxcode", "taxrate", "term"}
EMPTY |= {"timeactivity", "transfer", "vendor", "vendorcredit"}
ALONE = {"companyinfo": "CompanyInfo", "account": "Account"}  # of each there is one
ACCOUNT = {"Id": "1", "Name": "Services", "AccountType": "Income", "Active": True, "SyncToken": "0", "sparse": False}


def found(books: Books, query: Query) -> tuple[str, list[Row]]:
    """QuickBooks' spelling of the entity, and all rows that match, in order."""
    name = query.entity.lower()
    if name in ENTITIES:
        return ENTITIES[name], _matching(books, ENTITIES[name], query)
    if name in ALONE:
        info = company_info(books)
        only = info if name == "companyinfo" else {**ACCOUNT, "MetaData": info["MetaData"]}
        return ALONE[name], _narrowed([Row("1", books.client.joined_at, lambda: only)], query, books)
    if name in EMPTY:
        return query.entity, []
    raise UnknownEntity(f"Metadata not found for Entity: {query.entity}")


def _matching(books: Books, entity: str, query: Query) -> list[Row]:
    shelf = books.shelves[entity]
    ids = next((c for c in query.conditions if c.prop == "id" and c.operator in ("=", "in")), None)
    if ids:
        rows = [shelf.rows[row_id] for row_id in dict.fromkeys(ids.values) if row_id in shelf.rows]
    else:
        floor = max((at for how, at in _times(query, books) if how in (">", ">=", "=")), default=None)
        rows = shelf.since(floor) if floor else shelf.ordered()
    rows = _narrowed([row for row in rows if not row.deleted], query, books)
    if entity == "Customer" and not any(c.prop == "active" for c in query.conditions):
        rows = [row for row in rows if _field(row, "active") is not False]
    if query.order not in ("", TIME):
        rows.sort(key=lambda row: str(_field(row, query.order) or ""))
    return rows[::-1] if query.descending else rows


def _narrowed(rows: list[Row], query: Query, books: Books) -> list[Row]:
    for how, at in _times(query, books):
        if how not in COMPARE:
            raise QueryError(f"Operator {how} does not fit a dateTime.")
        rows = [row for row in rows if COMPARE[how](row.updated, at)]
    for condition in query.conditions:
        every = condition.prop == "active" and set(condition.values) == {"true", "false"}
        if condition.prop not in ("id", TIME) and not every:
            rows = [row for row in rows if condition.holds(_field(row, condition.prop))]
    return rows


def _times(query: Query, books: Books) -> list[tuple[str, datetime]]:
    return [(c.operator, instant(c.values[0], books)) for c in query.conditions if c.prop == TIME]


def company_info(books: Books) -> dict[str, Any]:
    joined = books.local(books.client.joined_at)
    return {
        "Id": "1",
        "SyncToken": "0",
        "domain": "QBO",
        "sparse": False,
        "CompanyName": books.client.name,
        "LegalName": books.client.name,
        "Country": "US",
        "MetaData": {"CreateTime": joined, "LastUpdatedTime": joined},
    }


def instant(text: str, books: Books) -> datetime:
    """RFC 3339, or a day of the company. A `+` that became a space on the way does not parse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise QueryError(f"Invalid dateTime value: {text}") from None
    return at if at.tzinfo else at.replace(tzinfo=books.zone)


def _field(row: Row, path: str) -> Any:
    value: Any = row.fields()
    for part in path.split("."):
        names = {name.lower(): name for name in value} if isinstance(value, dict) else {}
        value = value.get(names.get(part)) if names else None
    return value
