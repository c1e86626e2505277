"""QuickBooks' wire format: entities, what an answer means, and one record out of its JSON.

An error may come with HTTP 200 (so every answer is searched for a `Fault`), with lower-case keys from the gateway, or
as an HTML page. Times carry the company's own UTC offset: they are compared as instants, never as text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.base import ConfigError, ConnectorError, CredentialError, Record, Rejected
from connectors.http import Account, Response, Wait, retry_after

# stream -> QuickBooks' name of the entity, in the order of a first load: who, then quotes, then money
ENTITIES = {
    "customers": "Customer",
    "estimates": "Estimate",
    "invoices": "Invoice",
    "payments": "Payment",
    "sales_receipts": "SalesReceipt",
    "credit_memos": "CreditMemo",
    "refund_receipts": "RefundReceipt",
}
STREAMS = {entity: stream for stream, entity in ENTITIES.items()}

THROTTLED = "3001"
GONE = "610"
THROTTLE_PAUSE = 60.0  # the quota is counted by the minute, and a 429 carries no Retry-After


class QueryAnswer(msgspec.Struct):
    QueryResponse: dict[str, msgspec.Raw]
    time: str = ""


class CdcPart(msgspec.Struct):
    QueryResponse: list[dict[str, msgspec.Raw]]


class CdcAnswer(msgspec.Struct):
    CDCResponse: list[CdcPart]
    time: str = ""


class _MetaData(msgspec.Struct):
    CreateTime: datetime | None = None
    LastUpdatedTime: datetime | None = None


class _Row(msgspec.Struct):
    Id: str | int
    MetaData: _MetaData | None = None
    status: str = ""


class _Error(msgspec.Struct):
    code: str | int | None = ""


class _Fault(msgspec.Struct):
    Error: list[_Error] = []
    error: list[_Error] = []
    type: str | None = ""


class _Envelope(msgspec.Struct):
    Fault: _Fault | None = None
    fault: _Fault | None = None


@dataclass(frozen=True)
class Row:
    """A record, and whether it is only the stub of a deleted one."""

    record: Record
    is_deleted: bool = False


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(_Row)
_envelope = msgspec.json.Decoder(_Envelope)


def read_rows(raw: msgspec.Raw | None) -> list[Row]:
    """The rows of one entity's list; None is the list that QuickBooks leaves out when nothing matches."""
    return [read_row(one) for one in _rows.decode(raw)] if raw is not None else []


def read_row(raw: msgspec.Raw) -> Row:
    try:
        row = _row.decode(raw)
    except msgspec.ValidationError:
        return Row(_unreadable(raw))
    meta = row.MetaData or _MetaData()
    created, updated = _aware(meta.CreateTime), _aware(meta.LastUpdatedTime)
    return Row(Record(str(row.Id), raw, occurred_at=created, updated_at=updated), row.status == "Deleted")


def _unreadable(raw: msgspec.Raw) -> Record:
    """A row whose times or id have a new shape is kept all the same; staging puts it aside."""
    fields: Any = msgspec.json.decode(raw)
    record_id = fields.get("Id") if isinstance(fields, dict) else None
    if not isinstance(record_id, str | int):
        record_id = "sha256:" + hashlib.sha256(raw).hexdigest()[:32]
    return Record(str(record_id), raw)


def _aware(instant: datetime | None) -> datetime | None:
    return instant.astimezone(UTC) if instant and instant.tzinfo else None


def instant(text: str) -> datetime | None:
    """The time of an answer's envelope, if it has a usable one."""
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        return None


def literal(value: str | datetime) -> str:
    """A value inside a query: `'O\\'Neil'`, `'2026-03-02T17:14:21Z'`. UTC, so no `+` has to survive a URL."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class QuickBooksAccount(Account):
    """Calls to one company. `system_fault`: QuickBooks' last answer was that it failed inside, as it does on a page that
    holds a row it cannot render (PHP SDK #127)."""

    system_fault = False

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        fault = _fault_in(response.body)
        self.system_fault = fault is not None and fault.type == "SystemFault" and response.status != 429
        if fault is None:
            return super().judge(response)
        codes = {str(error.code or "").lstrip("0") for error in (*fault.Error, *fault.error)}
        if response.status == 429 or THROTTLED in codes:
            asked = retry_after(response, self.http.clock.now()) or 0.0
            return Wait("too many requests (429, code 3001)", max(THROTTLE_PAUSE, asked))
        if "6190" in codes:
            return ConfigError(
                "the company's QuickBooks subscription has ended (code 6190).",
                connection=self.connection,
                fix="Ask the client to renew it, or pause this connection.",
            )
        if response.status in (401, 403) or codes & {"3200", "3100", "120"}:
            return CredentialError(
                f"QuickBooks refuses our access to this company ({_told(response, fault, codes)}).",
                connection=self.connection,
                fix="Let the client reconnect QuickBooks, and check that realm and environment match the token.",
            )
        if response.status >= 500 or fault.type == "SystemFault":
            return Wait(f"QuickBooks failed ({_told(response, fault, codes)})")
        return Rejected(
            f"QuickBooks refused the request ({_told(response, fault, codes)}).",
            connection=self.connection,
            fix="Nothing was changed and the cursor did not move; report this with the tid if it stays.",
            status=response.status,
            code=min(codes, default=""),
        )


def _fault_in(body: bytes) -> _Fault | None:
    # a large page is not decoded twice just to learn that it holds no Fault
    if b'"Fault"' not in body and b'"fault"' not in body:
        return None
    try:
        envelope = _envelope.decode(body)
    except msgspec.DecodeError:
        return None
    return envelope.Fault or envelope.fault


def _told(response: Response, fault: _Fault, codes: set[str]) -> str:
    """What support asks for. The messages themselves may quote a customer, so they stay out."""
    parts = [
        str(response.status),
        f"code {'/'.join(sorted(codes))}",
        fault.type or "",
        response.headers.get("intuit_tid", ""),
    ]
    return ", ".join(part for part in parts if part and part != "code ")
