"""What Thumbtack knows and sends: its objects, and the pushes of the town's history.

Pushes are v4 for most leads; clients with an odd number still have the older integration as well, which sends every third of
their leads as `/v1/lead` with a later `/v1/lead/update`. Some events come twice, some openings before their lead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from connectors.http import basic
from connectors.sandbox.facts import Client, Person, ThumbtackLead, ThumbtackMessage, ThumbtackReview, Town
from connectors.sandbox.provider import Push, SandboxProvider, World

WEBHOOK_USER = "leadtrail"


class ThumbtackPushes(SandboxProvider):
    """The half of the sandbox that speaks first."""

    name: ClassVar[str] = "thumbtack"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self._tests: list[Push] = []

    @cached_property
    def _clients(self) -> dict[str, Client]:
        return {client.client_id: client for client in self.town.clients}

    @cached_property
    def _people(self) -> dict[str, Person]:
        return {person.person_id: person for person in self.town.people}

    @cached_property
    def _leads(self) -> dict[str, ThumbtackLead]:
        return {lead.negotiation_id: lead for lead in self.town.thumbtack_leads}

    @cached_property
    def _messages(self) -> dict[str, list[dict[str, Any]]]:
        """By lead, newest first."""
        threads: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in sorted(self.town.thumbtack_messages, key=lambda fact: fact.at, reverse=True):
            threads[message.negotiation_id].append(self._message(message))
        return threads

    def business_id(self, client: Client) -> str:
        return str(310_000_000_000_000_000 + client.n * 1_000_003)

    def _webhook_password(self, client: Client) -> str:
        return self.world.secret("thumbtack", "webhook", client.client_id)

    def pushes(self) -> Iterator[Push]:
        for lead in self.town.thumbtack_leads:
            push = self._lead_push(lead)
            yield from [push] * (2 if lead.n % 11 == 0 else 1)
            if self._is_legacy(lead):
                update = {
                    "leadID": lead.negotiation_id,
                    "leadPrice": usd(lead.price_cents),
                    "chargeState": lead.charge_state,
                }
                yield self._push(self._clients[lead.client_id], lead.changed_at, update, "/v1/lead/update", "PUT")
        yield from (self._message_push(message) for message in self.town.thumbtack_messages)
        yield from (self._review_push(review) for review in self.town.thumbtack_reviews)
        yield from self._tests

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for lead in self.town.thumbtack_leads:
            yield lead.client_id, "leads", lead.negotiation_id, lead.person_id
            if self._is_legacy(lead):
                update_id = f"{lead.negotiation_id}:{lead.charge_state}:{usd(lead.price_cents)}"
                yield lead.client_id, "lead_updates", update_id, lead.person_id
        for message in self.town.thumbtack_messages:
            yield message.client_id, "messages", message.message_id, message.person_id
        for review in self.town.thumbtack_reviews:
            yield review.client_id, "reviews", review.review_id, review.person_id

    def _is_legacy(self, lead: ThumbtackLead) -> bool:
        return self._clients[lead.client_id].n % 2 == 1 and lead.n % 3 == 0

    def _push(self, client: Client, at: datetime, body: Any, tail: str = "", method: str = "POST") -> Push:
        headers = {"content-type": "application/json", **_lower(basic(WEBHOOK_USER, self._webhook_password(client)))}
        return Push(client.client_id, at, msgspec.json.encode(body), lambda url: headers, tail, method)

    def _lead_push(self, lead: ThumbtackLead) -> Push:
        client = self._clients[lead.client_id]
        if self._is_legacy(lead):
            return self._push(client, lead.at, self._legacy_lead(lead), "/v1/lead")
        # As it was when it was made; what became of it only a later read tells.
        body = {**self._lead(lead), "status": "Open", "chargeState": "Created", "refundDetails": None}
        late = timedelta(seconds=30 if lead.n % 5 == 0 else 0)  # then the opening message comes first
        return self._push(client, lead.at + late, self._envelope("NegotiationCreatedV4", body, lead.at, client))

    def _message_push(self, message: ThumbtackMessage) -> Push:
        client, lead = self._clients[message.client_id], self._leads[message.negotiation_id]
        if self._is_legacy(lead) and message.sender == "Customer":
            body = {
                "leadID": lead.negotiation_id,
                "customerID": lead.customer_id,
                "businessID": self.business_id(client),
                "message": {
                    "messageID": message.message_id,
                    "createTimestamp": str(int(message.at.timestamp())),
                    "text": message.text,
                    "attachments": [],
                },
            }
            return self._push(client, message.at, body, "/v1/message")
        return self._push(
            client, message.at, self._envelope("MessageCreatedV4", self._message(message), message.at, client)
        )

    def _review_push(self, review: ThumbtackReview) -> Push:
        client, lead = self._clients[review.client_id], self._leads.get(review.negotiation_id)
        reviewer = self._given(review.person_id)
        shared = {"reviewID": review.review_id, "businessID": self.business_id(client), "text": review.text}
        if lead is not None and self._is_legacy(lead):
            made_at = str(int(review.at.timestamp() * 1000))
            legacy = {
                "review": {
                    **shared,
                    "leadID": review.negotiation_id,
                    "rating": str(review.rating),
                    "reviewerNickname": reviewer,
                    "createTime": made_at,
                    "modifyTime": made_at,
                    "verified": True,
                    "photos": [],
                },
                "reviewEventType": "REVIEW_ADDED",
            }
            return self._push(client, review.at, legacy, "/v1/review")
        body: dict[str, Any] = {
            **shared,
            "negotiationID": review.negotiation_id,
            "rating": review.rating,
            "reviewerName": reviewer,
        }
        body["createTime"] = iso(review.at)
        return self._push(client, review.at, self._envelope("ReviewCreatedV4", body, review.at, client))

    def _envelope(self, kind: str, data: Any, at: datetime, client: Client) -> dict[str, Any]:
        event = {"eventType": kind, "description": kind, "webhookID": self._id(client.n, 4)}
        return {"event": {**event, "triggeredAt": iso(at + timedelta(seconds=2))}, "data": data}

    def test_push(self, client: Client) -> Push:
        """What Thumbtack's test button sends: believable, and no lead."""
        now = self.world.now()
        data = {
            "negotiationID": self._id(client.n, 7),
            "status": "Open",
            "chargeState": "Created",
            "createdAt": iso(now),
            "leadPrice": "$25.00",
            "business": {"businessID": self.business_id(client), "name": "Test Business for Webhooks"},
            "customer": {
                "customerID": self._id(1, 8),
                "firstName": "Test",
                "lastName": "Customer",
                "phone": "1234567890",
            },
            "request": {"requestID": self._id(1, 6), "category": {"categoryID": "1", "name": "House Cleaning"}},
        }
        return self._push(client, now, self._envelope("NegotiationCreatedV4", data, now, client))

    # ---- objects ----

    def _id(self, n: int, kind: int) -> str:
        return str(kind * 100_000_000_000_000_000 + n * 7_919)

    def _given(self, person_id: str) -> str:
        person = self._people.get(person_id)
        return f"{person.given} {person.family[0]}." if person else "A customer"

    def _business(self, client: Client) -> dict[str, Any]:
        return {
            "businessID": self.business_id(client),
            "name": client.name,
            "imageURL": "https://images.example/logo.jpg",
        }

    def _lead(self, lead: ThumbtackLead) -> dict[str, Any]:
        """The v4 object as it is now."""
        client, person = self._clients[lead.client_id], self._people.get(lead.person_id)
        subtotal = round(lead.price_cents * 0.926)
        refund = {"refundedAt": iso(lead.refunded_at)} if lead.refunded_at else None
        return {
            "negotiationID": lead.negotiation_id,
            "status": "Open",
            "chargeState": lead.charge_state,
            "createdAt": iso(lead.at),
            "leadPrice": usd(lead.price_cents),
            "leadPriceBreakdown": {"subtotal": usd(subtotal), "salesTax": usd(lead.price_cents - subtotal)},
            "business": {**self._business(client), "phoneNumber": client.office_phone[2:]},
            "customer": {
                "customerID": lead.customer_id,
                "firstName": person.given if person else "A",
                **({"lastName": person.family} if person else {}),
                **({"phone": lead.shown_phone.removeprefix("+1")} if lead.shown_phone else {}),
            },
            "request": {
                "requestID": self._id(lead.n, 4),
                "customerID": lead.customer_id,
                "category": {"categoryID": self._id(len(lead.category), 1), "name": lead.category},
                "description": lead.description,
                "location": self._location(client, person),
                "details": [{"question": "What do you need?", "answer": lead.category}],
                "travelPreferences": ["ProviderTravelToCustomer"],
            },
            "refundDetails": refund,
            "requestReviewLink": f"https://www.thumbtack.com/reviews/{lead.negotiation_id}",
            "refundRequestLink": f"https://www.thumbtack.com/refunds/{lead.negotiation_id}",
        }

    def _legacy_lead(self, lead: ThumbtackLead) -> dict[str, Any]:
        """The older shape: names and times differ, price and charge are not known yet."""
        client, now = self._clients[lead.client_id], self._lead(lead)
        person = self._people.get(lead.person_id)
        return {
            "leadID": lead.negotiation_id,
            "createTimestamp": str(int(lead.at.timestamp())),
            "price": "$258/hour",
            "leadType": "ESTIMATION",
            "leadPrice": None,
            "chargeState": None,
            "request": {
                "requestID": now["request"]["requestID"],
                "category": lead.category,
                "categoryID": now["request"]["category"]["categoryID"],
                "title": lead.category,
                "description": lead.description,
                "schedule": "Date: as soon as possible\nTime: afternoon\nLength: not sure",
                "location": now["request"]["location"],
                "travelPreferences": "Professional must travel to my address.",
                "details": now["request"]["details"],
                "attachments": [],
            },
            "customer": {
                "customerID": lead.customer_id,
                "name": person.name if person else "A customer",
                "phone": lead.shown_phone.removeprefix("+1"),
            },
            "business": {"businessID": self.business_id(client), "name": client.name},
        }

    def _location(self, client: Client, person: Person | None) -> dict[str, str]:
        zip_code = person.address.zip_code if person else (client.zip_codes or ("",))[0]
        return {"address1": "", "address2": "", "city": client.city, "state": client.state, "zipCode": zip_code}

    def _message(self, message: ThumbtackMessage) -> dict[str, Any]:
        client, lead = self._clients[message.client_id], self._leads[message.negotiation_id]
        if message.sender == "Customer":
            side = {"customer": {"customerID": lead.customer_id, "displayName": self._given(message.person_id)}}
        else:
            side = {"business": {"businessID": self.business_id(client), "displayName": client.name}}
        return {
            "messageID": message.message_id,
            "negotiationID": message.negotiation_id,
            "from": message.sender,
            **side,
            "text": message.text,
            "attachments": [],
            "sentAt": iso(message.at),
        }


def usd(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02d}"


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
