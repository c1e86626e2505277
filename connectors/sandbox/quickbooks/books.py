"""A company's books: the town's facts of one client in QuickBooks' JSON, rendered when first asked for.

Times carry the company's own UTC offset; TxnDate is its local day. Fields without a value are left out, as QuickBooks does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from connectors.sandbox.facts import (
    Client,
    CreditMemo,
    Customer,
    Estimate,
    Fact,
    Invoice,
    Payment,
    RefundReceipt,
    SalesReceipt,
    Town,
)

# stream -> (entity, what its ids end with: QuickBooks counts all transactions of a company together)
KINDS = {
    "customers": ("Customer", 1),
    "estimates": ("Estimate", 2),
    "invoices": ("Invoice", 3),
    "payments": ("Payment", 4),
    "sales_receipts": ("SalesReceipt", 5),
    "credit_memos": ("CreditMemo", 6),
    "refund_receipts": ("RefundReceipt", 7),
}
_DIGIT = dict(KINDS.values())
USD = {"value": "USD", "name": "United States Dollar"}


def record_id(entity: str, n: int) -> str:
    return str(n * 10 + _DIGIT[entity])


class Row:
    """One record, alive or deleted. `updated` is UTC, to the second."""

    __slots__ = ("_body", "_render", "deleted", "id", "person_id", "updated")

    def __init__(
        self, row_id: str, updated: datetime, render: Callable[[], dict[str, Any]], person_id: str = ""
    ) -> None:
        self.id, self.updated, self.person_id, self.deleted = row_id, updated.replace(microsecond=0), person_id, False
        self._render: Callable[[], dict[str, Any]] | None = render
        self._body = b""

    @property
    def body(self) -> bytes:
        if self._render is not None:
            self._body, self._render = msgspec.json.encode(_without_empty(self._render())), None
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body, self._render = body, None

    def fields(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)  # type: ignore[no-any-return]


class Shelf:
    """All records of one entity of a company."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = {row.id: row for row in rows}
        self._ordered: list[Row] | None = None

    def ordered(self) -> list[Row]:
        """Everything, deleted too, by time of change."""
        if self._ordered is None:
            self._ordered = sorted(self.rows.values(), key=lambda row: (row.updated, int(row.id)))
        return self._ordered

    def since(self, instant: datetime) -> list[Row]:
        rows = self.ordered()
        return rows[bisect_left(rows, instant, key=lambda row: row.updated) :]

    def changed(self) -> None:
        self._ordered = None


def facts_by_client(town: Town) -> dict[str, dict[str, list[Any]]]:
    """client -> entity -> its facts. Sorted out once for all: a town may have a thousand clients."""
    sorted_out: dict[str, dict[str, list[Any]]] = {
        client.client_id: {entity: [] for entity, _ in KINDS.values()} for client in town.clients
    }
    for stream, (entity, _) in KINDS.items():
        for fact in getattr(town, stream):
            sorted_out[fact.client_id][entity].append(fact)
    return sorted_out


class Books:
    """One company."""

    def __init__(self, client: Client, facts: dict[str, list[Any]], realm: str) -> None:
        self.client, self.realm, self.facts = client, realm, facts
        self.zone = ZoneInfo(client.timezone)
        self.names = {customer.n: customer for customer in self.facts["Customer"]}
        self.billed: dict[int, list[int]] = defaultdict(list)  # estimate -> invoices
        self.owed: dict[int, int] = defaultdict(int)  # customer -> cents
        for invoice in self.facts["Invoice"]:
            if invoice.deleted_at is None:
                self.owed[invoice.customer] += invoice.balance_cents
                if invoice.estimate:
                    self.billed[invoice.estimate].append(invoice.n)
        self.shelves = {entity: Shelf(self._rows(entity)) for entity in self.facts}

    def _rows(self, entity: str) -> Iterator[Row]:
        render = getattr(self, f"_{entity.lower()}")
        for fact in self.facts[entity]:
            row = Row(record_id(entity, fact.n), fact.changed_at, lambda fact=fact: render(fact), fact.person_id)
            if getattr(fact, "deleted_at", None):
                row.deleted, row.updated = True, fact.deleted_at.replace(microsecond=0)
            yield row

    def local(self, instant: datetime) -> str:
        return instant.astimezone(self.zone).replace(microsecond=0).isoformat()

    def stub(self, row: Row) -> bytes:
        """What change data capture tells of a deleted record."""
        meta = {"LastUpdatedTime": self.local(row.updated)}
        return msgspec.json.encode({"domain": "QBO", "status": "Deleted", "Id": row.id, "MetaData": meta})

    # ---- the entities ----

    def _head(self, entity: str, fact: Fact) -> dict[str, Any]:
        return {
            "Id": record_id(entity, fact.n),
            "SyncToken": "0" if fact.changed_at == fact.at else "1",
            "domain": "QBO",
            "sparse": False,
            "MetaData": {"CreateTime": self.local(fact.at), "LastUpdatedTime": self.local(fact.changed_at)},
        }

    def _transaction(self, entity: str, fact: Any) -> dict[str, Any]:
        customer = self.names.get(fact.customer)
        return {
            **self._head(entity, fact),
            "DocNumber": getattr(fact, "doc_number", ""),
            "TxnDate": fact.at.astimezone(self.zone).date().isoformat(),
            "CustomerRef": {"value": record_id("Customer", fact.customer), "name": customer and customer.display_name},
            "CurrencyRef": USD,
            "TotalAmt": _money(fact.total_cents),
        }

    def _customer(self, fact: Customer) -> dict[str, Any]:
        parent = self.names.get(fact.parent)
        phone = {"FreeFormNumber": fact.phone} if fact.phone else None
        return {
            **self._head("Customer", fact),
            "Active": fact.active,
            "DisplayName": fact.display_name if fact.active else f"{fact.display_name} (deleted)",
            "FullyQualifiedName": f"{parent.display_name}:{fact.display_name}" if parent else fact.display_name,
            "PrintOnCheckName": fact.display_name,
            "GivenName": fact.given,
            "FamilyName": fact.family,
            "Taxable": True,
            "Job": parent is not None,
            "BillWithParent": False,
            "IsProject": False,
            "Level": 1 if parent else 0,
            "ParentRef": {"value": record_id("Customer", fact.parent)} if parent else None,
            "Balance": _money(self.owed[fact.n]),
            "PreferredDeliveryMethod": "Email" if fact.email else "None",
            "PrimaryPhone": phone,
            "PrimaryEmailAddr": {"Address": fact.email} if fact.email else None,
            "BillAddr": {
                "Line1": fact.address.street,
                "City": fact.address.city,
                "CountrySubDivisionCode": fact.address.state,
                "PostalCode": fact.address.zip_code,
                "Country": "USA",
                "Lat": "INVALID",
                "Long": "INVALID",
            },
        }

    def _estimate(self, fact: Estimate) -> dict[str, Any]:
        accepted = fact.accepted_at.astimezone(self.zone).date().isoformat() if fact.accepted_at else None
        return {
            **self._transaction("Estimate", fact),
            "Line": _lines(fact.total_cents, fact.service),
            "LinkedTxn": [_link("Invoice", n) for n in self.billed[fact.n]],
            "TxnStatus": fact.status,
            "AcceptedDate": accepted,
            "ExpirationDate": fact.expires_on.isoformat(),
            **self._sent(fact.emailed_at),
        }

    def _invoice(self, fact: Invoice) -> dict[str, Any]:
        voided = fact.voided_at is not None
        total = 0 if voided else fact.total_cents
        links = [_link("Estimate", fact.estimate)] if fact.estimate else []
        links += [_link("Payment", n) for n in fact.payments] + [_link("CreditMemo", n) for n in fact.credit_memos]
        return {
            **self._transaction("Invoice", fact),
            "DueDate": fact.due_on.isoformat(),
            "Line": _lines(total, fact.service, quantity=0 if voided else 1),
            "LinkedTxn": links,
            "TxnTaxDetail": {"TotalTax": 0},
            "TotalAmt": _money(total),
            "Balance": _money(0 if voided else fact.balance_cents),
            "PrivateNote": "Voided" if voided else None,
            "PrintStatus": "NeedToPrint",
            **self._sent(fact.at),
        }

    def _payment(self, fact: Payment) -> dict[str, Any]:
        applied = sum(cents for _, cents in fact.applied)
        return {
            **self._transaction("Payment", fact),
            "UnappliedAmt": _money(fact.total_cents - applied),
            "ProcessPayment": False,
            "PaymentMethodRef": {"value": "2"},
            "PaymentRefNum": fact.reference,
            "DepositToAccountRef": {"value": "35"},
            "Line": [{"Amount": _money(cents), "LinkedTxn": [_link("Invoice", n)]} for n, cents in fact.applied],
        }

    def _salesreceipt(self, fact: SalesReceipt) -> dict[str, Any]:
        paid_how = {"PaymentMethodRef": {"value": "2"}, "DepositToAccountRef": {"value": "35"}}
        lines = _lines(fact.total_cents, fact.service)
        return {**self._transaction("SalesReceipt", fact), "Line": lines, "Balance": 0, **paid_how}

    def _creditmemo(self, fact: CreditMemo) -> dict[str, Any]:
        return {
            **self._transaction("CreditMemo", fact),
            "Line": _lines(fact.total_cents, fact.reason),
            "RemainingCredit": 0,
            "Balance": 0,
            "InvoiceRef": {"value": record_id("Invoice", fact.invoice)} if fact.invoice else None,
        }

    def _refundreceipt(self, fact: RefundReceipt) -> dict[str, Any]:
        return {
            **self._transaction("RefundReceipt", fact),
            "Line": _lines(fact.total_cents, fact.reason),
            "Balance": 0,
            "PaymentMethodRef": {"value": "2"},
            "DepositToAccountRef": {"value": "35"},
            "PrivateNote": fact.reason,
        }

    def _sent(self, at: datetime | None) -> dict[str, Any]:
        if at is None:
            return {"EmailStatus": "NotSet"}
        delivery = {"DeliveryType": "Email", "DeliveryTime": self.local(at)}
        return {"EmailStatus": "EmailSent", "DeliveryInfo": delivery}


def _lines(cents: int, what: str, quantity: int = 1) -> list[dict[str, Any]]:
    """One line of work and the subtotal line, which repeats it."""
    detail = {"ItemRef": {"value": "1", "name": "Services"}, "Qty": quantity, "UnitPrice": _money(cents)}
    return [
        {
            "Id": "1",
            "LineNum": 1,
            "Description": what,
            "Amount": _money(cents),
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {**detail, "TaxCodeRef": {"value": "NON"}},
        },
        {"Amount": _money(cents), "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
    ]


def _link(entity: str, n: int) -> dict[str, str]:
    return {"TxnId": record_id(entity, n), "TxnType": entity}


def _money(cents: int) -> float:
    return cents / 100


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "", [])}
