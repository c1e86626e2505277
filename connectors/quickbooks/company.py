"""The calls we make to one company, in our own terms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from connectors.base import ContractChanged, Rejected, absent
from connectors.quickbooks.wire import (
    GONE,
    CdcAnswer,
    QueryAnswer,
    QuickBooksAccount,
    Row,
    instant,
    literal,
    read_row,
    read_rows,
)

T = TypeVar("T")
MINOR_VERSION = "75"  # lower values are ignored since August 2025
PAGE = 1000  # the most a query returns
CAPTURE_LIMIT = 1000  # the most a capture answer holds, over all its entities
OVERLAP = timedelta(minutes=10)  # clock skew, and writes of the same second
IDS_PER_QUERY = 100


class _CompanyInfo(msgspec.Struct):
    CompanyName: str


class _CompanyAnswer(msgspec.Struct):
    CompanyInfo: _CompanyInfo


class Company:
    """One company (realm) in QuickBooks."""

    def __init__(self, account: QuickBooksAccount, realm_id: str) -> None:
        self.account = account
        self._root = f"/v3/company/{quote(realm_id, safe='')}/"
        self._realm = realm_id

    def name(self) -> str:
        answer = self._get(f"companyinfo/{quote(self._realm, safe='')}", _CompanyAnswer)
        return answer.CompanyInfo.CompanyName

    def query(self, entity: str, conditions: Sequence[str] = (), rest: str = "") -> tuple[list[Row], datetime | None]:
        """Rows of an entity, and QuickBooks' clock. Inactive customers are left out unless asked for by name."""
        answer = self._select("*", entity, conditions, rest)
        rows = read_rows(answer.QueryResponse.get(entity))
        if not rows and _number(answer.QueryResponse.get("maxResults")):
            raise ContractChanged(
                f"QuickBooks announces {entity} rows but sends none under that name.",
                connection=self.account.connection,
                fix="Nothing was stored and the cursor did not move; the connector needs a change.",
            )
        return rows, instant(answer.time)

    def count(self, entity: str) -> int | None:
        return _number(self._select("count(*)", entity, (), "").QueryResponse.get("totalCount"))

    def capture(self, entities: Sequence[str], since: datetime) -> tuple[dict[str, list[Row]], datetime | None]:
        """What change data capture tells of the entities since then (and a little before), deletes as stubs."""
        params = {"entities": ",".join(entities), "changedSince": literal(since - OVERLAP).strip("'")}
        answer = self._get("cdc", CdcAnswer, params)
        found: dict[str, list[Row]] = {entity: [] for entity in entities}
        # the parts come in the asked order, but an entity without changes is just {}: the name is the only key
        for part in (part for response in answer.CDCResponse for part in response.QueryResponse):
            for entity in found.keys() & part.keys():
                found[entity] += read_rows(part[entity])
        return found, instant(answer.time)

    def read(self, entity: str, record_ids: Sequence[str], now: datetime) -> list[Row]:
        """Up to IDS_PER_QUERY records by id, in that order. What a query does not find is looked up singly: only that
        tells whether it is gone."""
        found: dict[str, Row] = {}
        if len(record_ids) > 1:
            ids = ", ".join(map(literal, record_ids))
            rows, _ = self.query(entity, [f"Id IN ({ids})"], f" MAXRESULTS {PAGE}")
            found = {row.record.record_id: row for row in rows}
        return [found.get(record_id) or self.read_one(entity, record_id, now) for record_id in record_ids]

    def read_one(self, entity: str, record_id: str, now: datetime) -> Row:
        try:
            answer = self._get(f"{entity.lower()}/{quote(record_id, safe='')}", dict[str, msgspec.Raw])
        except Rejected as error:
            if error.code == GONE:
                return Row(absent(record_id, now), is_deleted=True)
            raise
        if entity not in answer:
            raise ContractChanged(
                f"QuickBooks answers a read of one {entity} with something else.",
                connection=self.account.connection,
                fix="Nothing was stored; the connector needs a change.",
            )
        return read_row(answer[entity])

    def _select(self, what: str, entity: str, conditions: Sequence[str], rest: str) -> QueryAnswer:
        if entity == "Customer":
            conditions = [*conditions, "Active IN (true, false)"]
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        sql = f"SELECT {what} FROM {entity}{where}{rest}"  # noqa: S608  (values went through `literal`)
        return self._get("query", QueryAnswer, {"query": sql})

    def _get(self, path: str, into: type[T], params: dict[str, Any] | None = None) -> T:
        return self.account.get(self._root + path, into, params={**(params or {}), "minorversion": MINOR_VERSION})


def _number(raw: msgspec.Raw | None) -> int | None:
    return msgspec.json.decode(raw, type=int) if raw is not None else None
