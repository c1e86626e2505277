"""Stories that building on once got wrong, or easily would: each is one client, told in arrivals (segments)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.base import Record, absent
from tests.records import call, contact, decision, form, thumbtack_lead
from tests.warehouse import Landed

DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ANA, BO, LENT = "+15035550101", "+15035550102", "+15035550103"


def _record(
    client: str,
    kind: str,
    number: str,
    payload: dict[str, Any],
    segment: int,
    *,
    at: datetime = FIRST,
    changed: int = 0,
) -> Landed:
    provider, _, stream = kind.partition(".")
    known = at + changed * DAY
    record = Record(number, json.dumps(payload).encode(), occurred_at=at, updated_at=known)
    return Landed(client, provider, stream, record, received_at=known, segment=segment)


def _submission(client: str, minute: int, segment: int, changed: int = 0) -> Landed:
    """A form without an id of its own, sent again."""
    payload = {"content_key": "same words", "name": "Ana Lopez", "phone": ANA, "service": str(changed)}
    at = FIRST + minute * DAY / 1440
    return _record(client, "forms.submissions", f"same words:{minute}", payload, segment, at=at, changed=changed)


def _stage(client: str, label: str, probability: str, segment: int) -> Landed:
    stage = {"id": "s1", "label": label, "metadata": {"probability": probability}}
    return _record(client, "hubspot.pipelines", "0", {"id": "0", "stages": [stage]}, segment, changed=segment)


def _payment(client: str, segment: int, **more: Any) -> Landed:
    payload = {"Id": "1", "CustomerRef": {"value": "1"}, "TotalAmt": 250, "MetaData": {"CreateTime": FIRST.isoformat()}}
    return _record(client, "quickbooks.payments", "1", payload | more, segment, changed=segment)


def _customer(client: str, segment: int, **more: Any) -> Landed:
    payload = {"Id": "1", "DisplayName": "Ana Lopez", "GivenName": "Ana", "MetaData": {"CreateTime": FIRST.isoformat()}}
    return _record(client, "quickbooks.customers", "1", payload | more, segment)


def _job(client: str, segment: int, **more: Any) -> Landed:
    payload = {
        "Id": "2",
        "DisplayName": "12 Oak",
        "FullyQualifiedName": "12 Oak",
        "MetaData": {"CreateTime": FIRST.isoformat()},
    }
    return _record(client, "quickbooks.customers", "2", payload | more, segment, changed=segment)


def _mail(client: str, number: str, event: str, at: datetime, segment: int) -> Landed:
    payload = {"event": event, "at": at.isoformat(), "address": "ana@example.com"}
    return _record(client, "mail.events", number, payload, segment, at=at)


def stories() -> Iterator[Landed]:
    client = "merged-story"  # a contact ties a caller and a writer together; then its email turns out to be another
    yield call(client, "1", FIRST, ANA)
    yield form(client, "1", FIRST + DAY, email="ana@example.com")
    yield contact(client, "1", FIRST + 2 * DAY, first="Ana", phone=ANA, email="ana@example.com", segment=1)
    yield contact(
        client,
        "1",
        FIRST + 2 * DAY,
        first="Ana",
        phone=ANA,
        email="no@example.com",
        updated_at=FIRST + 5 * DAY,
        segment=2,
    )

    client = "shared-story"  # two of one home, until one of them gets a phone of her own
    yield contact(client, "1", FIRST, first="Ana", phone=ANA)
    yield contact(client, "2", FIRST, first="Bo", phone=ANA, segment=1)
    yield contact(client, "2", FIRST, first="Bo", phone=BO, updated_at=FIRST + 5 * DAY, segment=2)

    client = "lent-story"  # a marketplace lends a number again
    yield thumbtack_lead(client, "1", FIRST, name="Ana Lopez", phone=LENT)
    yield call(client, "1", FIRST + DAY, LENT)
    yield thumbtack_lead(client, "2", FIRST + 20 * DAY, name="Bo Reed", phone=LENT, segment=1)
    yield call(client, "2", FIRST + 21 * DAY, LENT, segment=2)

    client = "decided-story"  # parted by a person, who takes it back
    yield contact(client, "1", FIRST, first="Ana", phone=ANA)
    yield _customer(client, 0, PrimaryPhone={"FreeFormNumber": ANA})
    yield decision(client, "1", FIRST + 6 * DAY, "part", "hubspot_contact:1", "quickbooks_customer:1", segment=1)
    yield decision(client, "2", FIRST + 7 * DAY, "forget", "hubspot_contact:1", "quickbooks_customer:1", segment=2)

    client = "absorbed-story"  # HubSpot merges a contact into another, and that one into a third
    yield contact(client, "1", FIRST, first="Ana", phone=ANA)
    yield contact(client, "2", FIRST, first="Ana", phone=BO)
    yield contact(
        client,
        "1",
        FIRST,
        first="Ana",
        phone=ANA,
        updated_at=FIRST + 5 * DAY,
        properties={"hs_merged_object_ids": "2"},
        segment=1,
    )
    yield Landed(client, "hubspot", "contacts", absent("2", FIRST + 5 * DAY), "observed", FIRST + 5 * DAY, 1)
    yield contact(
        client,
        "3",
        FIRST,
        first="Ana",
        phone=LENT,
        updated_at=FIRST + 6 * DAY,
        properties={"hs_merged_object_ids": "2;1"},
        segment=2,
    )

    client = "renamed-story"  # a stage of the pipeline is called something else
    history = {"dealstage": [{"value": "s1", "timestamp": FIRST.isoformat()}]}
    deal = {
        "id": "1",
        "properties": {"createdate": FIRST.isoformat(), "pipeline": "0"},
        "propertiesWithHistory": history,
    }
    yield _record(client, "hubspot.deals", "1", deal, 0)
    yield _stage(client, "New", "0.2", 0)
    yield _stage(client, "Job booked", "0.9", 1)

    client = "unpaid-story"  # a check does not clear, and the payment is deleted
    yield _customer(client, 0)
    yield _payment(client, 0)
    yield _payment(client, 1, status="Deleted")

    client = "job-story"  # the books' customer turns out to be a job of the one on the deal, and then not
    deal = {"id": "1", "properties": {"dealname": "Ana Lopez - Roof", "amount": "250", "createdate": FIRST.isoformat()}}
    invoice = {"Id": "1", "CustomerRef": {"value": "2", "name": "12 Oak"}, "TotalAmt": 250}
    yield _record(client, "hubspot.deals", "1", deal, 0)
    yield _record(client, "quickbooks.invoices", "1", invoice, 0)
    yield _job(client, 0)
    yield _job(client, 1, ParentRef={"value": "7"}, FullyQualifiedName="Ana Lopez:12 Oak", Job=True)
    yield _job(client, 2)

    client = "repeated-story"  # the second of two equal forms comes first
    yield _submission(client, 3, 0)
    yield _submission(client, 0, 1)

    client = "again-story"  # the same words two days later are another wish; a correction of one leaves the other whole
    yield _submission(client, 0, 0)
    yield _submission(client, 2 * 1440, 1)
    yield _submission(client, 2 * 1440, 2, changed=1)

    client = "namesake-story"  # two of one name have nothing else in common: news of one leaves the other whole
    yield contact(client, "1", FIRST, first="Ana", last="Lopez", phone=ANA)
    yield contact(client, "2", FIRST, first="Ana", last="Lopez", phone=BO, email="bo@example.com")
    yield form(client, "1", FIRST + DAY, name="Ana Lopez", email="bo@example.com")
    yield call(client, "1", FIRST + DAY, ANA, segment=1)
    yield contact(client, "1", FIRST, first="Ana", last="Lopez", phone=ANA, updated_at=FIRST + 5 * DAY, segment=1)

    client = "letters-story"  # a link under a mail ends them, another begins them again
    yield form(client, "1", FIRST, email="ana@example.com")
    yield _mail(client, "1", "unsubscribed", FIRST + DAY, 0)
    yield _mail(client, "2", "resubscribed", FIRST + 2 * DAY, 1)
    yield _mail(client, "3", "complained", FIRST + 3 * DAY, 2)

    client = "late-story"  # an older event of the same lead comes late
    yield call(client, "1", FIRST + 5 * DAY, ANA)
    yield call(client, "2", FIRST + 4 * DAY, ANA, received_at=FIRST + 6 * DAY, segment=1)

    client = (
        "restored-story"  # the first day of a stream comes last: from then on we know when the others were first read
    )
    yield call(client, "1", FIRST + DAY, ANA, received_at=FIRST + 10 * DAY)
    yield call(client, "2", FIRST, BO, received_at=FIRST + 2 * DAY, segment=1)
