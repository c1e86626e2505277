"""Small worlds: a few people, the records that providers hold of them, and how these change. Each world is one client.

Everything is drawn from tiny pools, so phones are shared and let go again, names collide, and leads merge and part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

from connectors.base import Record, absent
from tests.warehouse import Landed

START = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
LEARNT = datetime(2026, 6, 1, tzinfo=UTC)
PHONES = ("+15035550101", "+15035550102", "+15035550103", None)
EMAILS = ("ana@example.com", "bo@example.com", None)
NAMES = (("Ana", "Lopez"), ("Bo", "Lopez"), ("Tim", "Reed"), ("Timothy", "Reed"), (None, None))
DAYS = (0, 1, 5, 12, 30, 130)
KEYS = (
    "phone:+15035550101",
    "phone:+15035550102",
    "email:ana@example.com",
    "hubspot_contact:0",
    "hubspot_contact:1",
    "quickbooks_customer:0",
)


@dataclass(frozen=True)
class Version:
    """What a record says at one time. Numbers point into the pools; `gone` means: the provider stopped serving it."""

    phone: int = 3
    email: int = 2
    name: int = 4
    day: int = 0
    links: tuple[int, ...] = ()
    choice: int = 0
    deleted: bool = False
    gone: bool = False
    changed: int = 0
    arrival: int = 0


@dataclass(frozen=True)
class Thing:
    """A record of a provider through its versions, in the order we were told of them."""

    kind: str
    number: int
    versions: tuple[Version, ...]


World = tuple[Thing, ...]


# ---- payloads: what each provider would send -----------------------------------------------------------------


def _at(version: Version, hours: float = 0) -> str:
    return (START + timedelta(days=DAYS[version.day], hours=hours)).isoformat()


def _full_name(version: Version) -> str | None:
    return " ".join(part for part in NAMES[version.name] if part) or None


def _stages(version: Version) -> list[dict[str, str]]:
    return [{"value": f"s{number}", "timestamp": _at(version, 1 + number)} for number in version.links]


def _money(version: Version, key: str, number: int) -> dict[str, Any]:
    return {
        "Id": str(number),
        "CustomerRef": {"value": str(version.links[0]), "name": _full_name(version)} if version.links else None,
        "TotalAmt": (100, 250, 0)[version.choice],
        "Balance": (100, 0, 0)[version.choice],
        "CurrencyRef": {"value": ("USD", "USD", "USD", "CAD")[version.phone]},
        "PrivateNote": "Voided" if version.choice == 2 else None,
        "TxnStatus": ("Pending", "Accepted", "Rejected")[version.choice] if key == "estimate" else None,
        "BillEmail": {"Address": EMAILS[version.email]},
        "MetaData": {"CreateTime": _at(version, 4)},
        "status": "Deleted" if version.deleted else None,
    }


def _books(key: str) -> Callable[[int, Version], dict[str, Any]]:
    return lambda number, version: _money(version, key, number)


def _association(number: int, version: Version) -> dict[str, Any]:
    return {"from": {"id": str(number)}, "to": [{"toObjectId": str(link)} for link in version.links]}


def _marketplace_customer(number: int, version: Version) -> dict[str, Any]:
    given, family = NAMES[version.name]
    return {
        "negotiationID": str(number),
        "createdAt": _at(version),
        "chargeState": ("Pending", "Charged", "Refunded")[version.choice],
        "leadPrice": "$20",
        "customer": {
            "customerID": f"c{version.links[0] if version.links else number}",
            "firstName": given,
            "lastName": family,
            "phone": PHONES[version.phone],
        },
        "request": {"category": "Roof Repair", "location": {"address1": "1 Elm St"}},
    }


def _imported(number: int, version: Version) -> dict[str, Any]:
    return {
        "lead_id": str(number),
        "name": _full_name(version),
        "phone": PHONES[version.phone],
        "email": EMAILS[version.email],
        "created_at": _at(version),
    }


PAYLOADS: Mapping[str, Callable[[int, Version], dict[str, Any]]] = {
    "callrail.calls": lambda n, v: {
        "id": str(n),
        "start_time": _at(v),
        "direction": "outbound" if v.choice == 2 else "inbound",
        "answered": v.choice != 1,
        "duration": None if v.email == 0 else 70,
        "customer_phone_number": PHONES[v.phone],
        "customer_name": _full_name(v),
        "tags": ["Spam"] if v.email == 1 else ["Booked"] if v.links else [],
        "source": "Google Ads",
    },
    "callrail.form_submissions": lambda n, v: {
        "id": str(n),
        "submitted_at": _at(v),
        "customer_name": _full_name(v),
        "customer_phone_number": PHONES[v.phone],
        "form_data": {"email": EMAILS[v.email], "sms_consent": ("yes", "no", None)[v.choice]},
    },
    "callrail.text_messages": lambda n, v: {
        "id": str(n),
        "last_message_at": _at(v),
        "customer_phone_number": PHONES[v.phone],
        "initial_tracker_id": "0",
        "messages": [
            {"direction": ("incoming", "outgoing")[link % 2], "created_at": _at(v, link), "content": f"text {link}"}
            for link in v.links
        ],
    },
    "callrail.trackers": lambda n, v: {
        "id": str(n),
        "name": ("Van", "Google", "Facebook")[v.choice],
        "source": {"type": ("offline", "google_ad_extension", "all")[v.choice]},
        "tracking_numbers": [PHONES[v.phone] or "+15035550199"],
        "created_at": _at(v),
    },
    "forms.submissions": lambda n, v: {
        "submission_id": str(n) if v.links else None,
        "content_key": _full_name(v),
        "name": _full_name(v),
        "phone": PHONES[v.phone],
        "email": EMAILS[v.email],
        "consent": ("yes", "no", None)[v.choice],
    },
    "hubspot.contacts": lambda n, v: {
        "id": str(n),
        "properties": {
            "createdate": _at(v),
            "firstname": NAMES[v.name][0],
            "lastname": NAMES[v.name][1],
            "phone": PHONES[v.phone],
            "email": EMAILS[v.email],
            "hs_merged_object_ids": ";".join(str(link) for link in v.links) or None,
            "hs_email_optout": v.choice == 2,
        },
        "archived": v.deleted,
    },
    "hubspot.deals": lambda n, v: {
        "id": str(n),
        "properties": {
            "createdate": _at(v),
            "dealname": f"{_full_name(v)} - Roof Repair" if _full_name(v) else "Deal",
            "pipeline": "0",
            "amount": ("100", "250", None)[v.choice],
        },
        "propertiesWithHistory": {"dealstage": _stages(v)},
        "archived": v.deleted,
    },
    "hubspot.deal_contacts": _association,
    "hubspot.task_contacts": _association,
    "hubspot.tasks": lambda n, v: {
        "id": str(n),
        "properties": {
            "hs_createdate": _at(v),
            "hs_timestamp": _at(v, 24 * v.choice),
            "hs_task_subject": f"Call back {v.choice}",
            "hs_task_status": "COMPLETED" if v.links else "NOT_STARTED",
            "hs_task_completion_date": _at(v, 5),
        },
        "archived": v.deleted,
    },
    "hubspot.pipelines": lambda n, v: {
        "id": "0",
        "label": "Sales",
        "stages": [
            {"id": "s0", "label": ("New", "Lost", "Quoted")[v.choice], "metadata": {"probability": "0.2"}},
            {"id": "s1", "label": "Scheduled", "metadata": {"probability": ("0.8", "0.2", "0.6")[v.choice]}},
            {
                "id": "s2",
                "label": "Done",
                "metadata": {"probability": "1.0" if v.choice else "0.0", "isClosed": "true"},
            },
        ],
    },
    "mail.events": lambda n, v: {
        "event": ("received", "unsubscribed", "resubscribed")[v.choice],
        "at": _at(v, 8),
        "address": EMAILS[v.email] or "cy@example.com",
        "text": "STOP" if v.links else "Yes please",
        "automatic": v.deleted,
    },
    "quickbooks.customers": lambda n, v: {
        "Id": str(n),
        "DisplayName": _full_name(v),
        "FullyQualifiedName": _full_name(v),
        "GivenName": NAMES[v.name][0],
        "PrimaryPhone": {"FreeFormNumber": PHONES[v.phone]},
        "PrimaryEmailAddr": {"Address": EMAILS[v.email]},
        "ParentRef": {"value": str(v.links[0])} if v.links else None,
        "BillAddr": {"Line1": "1 Elm St" if v.choice else None},
        "MetaData": {"CreateTime": _at(v)},
        "status": "Deleted" if v.deleted else None,
    },
    "quickbooks.estimates": _books("estimate"),
    "quickbooks.invoices": _books("invoice"),
    "quickbooks.payments": _books("payment"),
    "quickbooks.sales_receipts": _books("receipt"),
    "quickbooks.refund_receipts": _books("refund"),
    "quickbooks.credit_memos": _books("credit"),
    "thumbtack.leads": _marketplace_customer,
    "thumbtack.lead_updates": lambda n, v: {
        "leadID": str(v.links[0] if v.links else n),
        "chargeState": ("Pending", "Charged", "Refunded")[v.choice],
        "leadPrice": ("20", "25", "30")[v.choice],
    },
    "thumbtack.messages": lambda n, v: {
        "messageID": str(n),
        "negotiationID": str(v.links[0] if v.links else n),
        "from": ("Customer", "Business", "Customer")[v.choice],
        "sentAt": _at(v, 2),
        "text": "When?",
    },
    "thumbtack.reviews": lambda n, v: {
        "reviewID": str(n),
        "negotiationID": str(v.links[0] if v.links else n),
        "rating": (1, 5, 3)[v.choice],
        "createdAt": _at(v, 48),
    },
    "thumbtack.imported_leads": _imported,
    "angi.imported_leads": _imported,
    "angi.leads": lambda n, v: {
        "leadOid": str(n),
        "srOid": str(v.links[0]) if v.links else None,
        "firstName": NAMES[v.name][0],
        "lastName": NAMES[v.name][1],
        "primaryPhone": PHONES[v.phone],
        "primaryPhoneDetails": {"maskedNumber": v.choice == 1},
        "email": EMAILS[v.email],
        "taskName": "Roof Repair - Asphalt",
        "automatedContactCompliant": v.choice == 2,
    },
    "twilio.messages": lambda n, v: {
        "sid": str(n),
        "direction": "inbound" if v.choice == 0 else "outbound-api",
        "status": ("received", "sent", "failed")[v.choice],
        "date_created": format_datetime(START + timedelta(days=DAYS[v.day], minutes=20)),
        "from": PHONES[v.phone] if v.choice == 0 else "+15035550199",
        "to": "+15035550199" if v.choice == 0 else PHONES[v.phone],
        "body": "STOP" if v.links else "Yes please",
    },
    "twilio.message_events": lambda n, v: {
        "MessageSid": str(v.links[0] if v.links else n),
        "MessageStatus": ("received", "delivered", "failed")[v.choice],
        "From": PHONES[v.phone] if v.choice == 0 else "+15035550199",
        "To": "+15035550199" if v.choice == 0 else PHONES[v.phone],
        "Body": "START" if v.email == 0 else "Hi",
        "ErrorCode": "30005" if v.choice == 2 else None,
    },
    "twilio.phone_numbers": lambda n, v: {
        "sid": str(n),
        "phone_number": PHONES[v.phone] or "+15035550199",
        "date_created": format_datetime(START),
    },
    "leadtrail.identity_decisions": lambda n, v: {
        "decision_id": str(n),
        "decision": ("link", "part", "forget")[v.choice],
        "key_a": KEYS[(v.links[0] if v.links else 0) % len(KEYS)],
        "key_b": KEYS[(v.phone + 1 + (v.links[0] if v.links else 0)) % len(KEYS)],
        "decided_by": "dana",
        "decided_at": (LEARNT + timedelta(days=v.day, minutes=n)).isoformat(),
    },
    # the identifiers of KEYS, and none
    "leadtrail.outputs": lambda n, v: {
        "output_id": str(n),
        "output_type": ("task", "message", "handoff")[v.choice],
        "channel": ("crm_task", "text", "crm_update")[v.choice],
        "status": ("delivered", "failed", "pending")[v.email],
        "status_at": _at(v, 6),
        "created_at": _at(v, 5),
        "due_at": _at(v, 5),
        "expires_at": _at(v, 30),
        "first_sent_at": _at(v, 6) if v.email < 2 else None,
        "acknowledged_at": _at(v, 7) if v.links else None,
        "priority": 1,
        "owner": "dana",
        "provider": "twilio",
        "provider_ref": f"SM{n}" if v.email < 2 else None,
        "identifier": [*KEYS, ""][(v.phone + v.name) % (len(KEYS) + 1)],
        "given_name": NAMES[v.name][0] or "",
    },
}

# what ties records together comes more often
KINDS = (
    *PAYLOADS,
    *("callrail.calls", "hubspot.contacts", "quickbooks.customers", "thumbtack.leads", "leadtrail.identity_decisions")
    * 2,
)

# streams whose provider says when a record last changed; in the others what we received last counts
DATED_CHANGES = ("hubspot.contacts", "hubspot.deals", "hubspot.tasks", "hubspot.pipelines", "thumbtack.leads")
UNDATED = ("hubspot.deal_contacts", "hubspot.task_contacts", "hubspot.pipelines", "thumbtack.lead_updates")


def _record_id(thing: Thing, payload: Mapping[str, Any]) -> str:
    if thing.kind == "forms.submissions":  # one without an id of its own is known by what it says, and when
        return str(payload["submission_id"] or f"{payload['content_key']}:{thing.number}")
    if thing.kind == "twilio.message_events":  # each status of a message is an event of its own
        return f"{payload['MessageSid']}:{payload['MessageStatus']}"
    if thing.kind == "thumbtack.lead_updates":  # the same for a lead's charge
        return f"{payload['leadID']}:{payload['chargeState']}"
    return str(thing.number)


def landed(client: str, world: World) -> Iterator[Landed]:
    """A record's versions were received an hour apart, whichever arrival (segment) brings them."""
    for thing in world:
        provider, _, stream = thing.kind.partition(".")
        dated = thing.kind in DATED_CHANGES or provider == "quickbooks"
        for place, version in enumerate(thing.versions):
            received_at = LEARNT + timedelta(hours=place, minutes=thing.number)
            if version.gone:
                record, via = absent(str(thing.number), received_at), "observed"
            else:
                # every version says something new: see docs/decisions/staging-latest-version.md for equal ones
                payload = {**PAYLOADS[thing.kind](thing.number, version), "version": place}
                occurred_at = START + timedelta(days=DAYS[version.day], minutes=3 * thing.number)
                record = Record(
                    _record_id(thing, payload),
                    json.dumps(payload).encode(),
                    occurred_at=None if thing.kind in UNDATED else occurred_at,
                    updated_at=LEARNT - timedelta(hours=9 - version.changed) if dated else None,
                )
                via = "pull"
            yield Landed(client, provider, stream, record, via, received_at, version.arrival)


def streams(worlds: Sequence[World]) -> set[str]:
    return {thing.kind for world in worlds for thing in world}


# ---- making worlds up, and making them smaller ---------------------------------------------------------------


def made_up(random: Random, arrivals: int, most: int = 12) -> World:
    things = {}
    for _ in range(random.randint(2, most)):
        thing = _thing(random, arrivals)
        things[thing.kind, thing.number] = thing
    return tuple(things.values())


def _thing(random: Random, arrivals: int) -> Thing:
    kind = random.choice(KINDS)
    versions: list[Version] = []
    told = 0
    for place in range(random.choice((1, 1, 2, 3))):
        # an absence is seen by the sync that has just read everything before it; all else comes in any order
        gone = place > 0 and random.random() < 0.2
        first = told if gone or any(version.gone for version in versions) else 0
        version = Version(
            phone=random.randrange(len(PHONES)),
            email=random.randrange(len(EMAILS)),
            name=random.randrange(len(NAMES)),
            day=random.randrange(len(DAYS)),
            links=tuple(random.sample(range(3), random.choice((0, 1, 1, 2)))),
            choice=random.randrange(3),
            deleted=random.random() < 0.2,
            gone=gone,
            changed=random.randrange(4),
            arrival=random.randrange(first, arrivals),
        )
        told = max(told, version.arrival)
        versions.append(version)
    return Thing(kind, 0 if kind == "hubspot.pipelines" else random.randrange(3), tuple(versions))


def smaller(world: World) -> list[World]:
    """The world with one record less, or with one version of a record less."""
    without = [world[:place] + world[place + 1 :] for place in range(len(world))]
    for place, thing in enumerate(world):
        for nth in range(len(thing.versions) if len(thing.versions) > 1 else 0):
            kept = thing.versions[:nth] + thing.versions[nth + 1 :]
            without.append((*world[:place], replace(thing, versions=kept), *world[place + 1 :]))
    return without
