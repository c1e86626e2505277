"""Angi as an emulator: it has no API, only a sender of leads and the export that a pro downloads from the app.

    GET /angi/export.csv?client=<client id>    every lead of the client, also those whose push never arrived

The export's columns are invented: Angi documents none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from connectors.base import Secret
from connectors.sandbox.facts import AngiLead, Client, Person
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, json_reply

# Java's default, malformed for strict frameworks; Angi sends it, and no User-Agent.
ACCEPT = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
COLUMNS = ("Lead Number", "Date", "Name", "Phone", "Email", "Task", "Fee", "Credit")


class SandboxAngi(SandboxProvider):
    name: ClassVar[str] = "angi"

    @cached_property
    def _clients(self) -> dict[str, Client]:
        return {client.client_id: client for client in self.town.clients}

    @cached_property
    def _people(self) -> dict[str, Person]:
        return {person.person_id: person for person in self.town.people}

    def env(self, root: str) -> dict[str, str]:
        return {}  # nothing to call

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {"api_key": Secret(self._key(client)), "sp_entity_ids": (self._branch(client),)}

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {"api_key": self._key(client), "sp_entity_id": self._branch(client)}

    def _key(self, client: Client) -> str:
        return self.world.secret("angi", client.client_id)

    def _branch(self, client: Client) -> str:
        return str(12_000_000 + client.n)

    def handle(self, request: Request) -> Reply:
        if request.path != "/export.csv" or request.method != "GET":
            return json_reply({"error": "Angi has no API"}, 404)
        client = self._clients.get(request.param("client"))
        if client is None:
            return json_reply({"error": "no such client"}, 404)
        return Reply(200, self.export(client).encode(), {"content-type": "text/csv; charset=utf-8"})

    def export(self, client: Client) -> str:
        """The CSV of a client's leads, newest first, times as the pro's own clock shows them."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        for lead in reversed(self.town.angi_leads):
            if lead.client_id != client.client_id:
                continue
            person, day = self._people.get(lead.person_id), lead.at.astimezone(ZoneInfo(client.timezone))
            fee = f"${lead.fee_cents / 100:.2f}"
            name = person.name if person else ""
            phone = lead.shown_phone.removeprefix("+1")
            writer.writerow([lead.lead_oid, f"{day:%m/%d/%Y}", name, phone, lead.email, lead.task, fee, "$0.00"])
        return out.getvalue()

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for lead in self.town.angi_leads:
            if lead.pushed:
                yield lead.client_id, "leads", str(lead.lead_oid), lead.person_id

    def pushes(self) -> Iterator[Push]:
        for lead in self.town.angi_leads:
            if lead.pushed:
                yield from [self.push(lead)] * (2 if lead.n % 13 == 0 else 1)

    def push(self, lead: AngiLead, **changes: Any) -> Push:
        """One delivery; `changes` replace parts of the payload."""
        client = self._clients[lead.client_id]
        headers = {"content-type": "application/json", "accept": ACCEPT, "x-api-key": self._key(client)}
        body = msgspec.json.encode({**self.payload(lead), **changes})
        return Push(lead.client_id, lead.at, body, lambda url: headers, success=b"success")

    def payload(self, lead: AngiLead) -> dict[str, Any]:
        client, person = self._clients[lead.client_id], self._people.get(lead.person_id)
        consent: dict[str, Any] = {} if lead.consent is None else {"automatedContactCompliant": lead.consent}
        if lead.consent:
            consent["automatedContactConsentId"] = self.world.secret("angi", "consent", lead.lead_oid)
            consent["trustedFormUrl"] = f"https://cert.trustedform.com/{self.world.secret('angi', lead.lead_oid)}"
        names = (
            {"name": person.name, "firstName": person.given, "lastName": person.family} if person else {"name": "N A"}
        )
        address = person.address if person else None
        return {
            **names,
            "address": address.street if address else "",
            "city": address.city if address else client.city,
            "stateProvince": address.state if address else client.state,
            "postalCode": address.zip_code if address else client.zip_codes[0],
            "primaryPhone": lead.shown_phone.removeprefix("+1"),
            "phoneExt": "",
            "secondaryPhone": "",
            "secondaryPhoneExt": "",
            "email": lead.email,
            "srOid": lead.sr_oid,
            "leadOid": str(lead.lead_oid) if lead.n % 7 == 0 else lead.lead_oid,
            "fee": lead.fee_cents / 100,
            "taskName": lead.task,
            "comments": lead.comments,
            "matchType": lead.match_type,
            "leadDescription": "Standard",
            "leadSource": ("HomeAdvisor", "Angi", "AngiesList")[lead.n % 3],
            "spEntityId": int(self._branch(client)),
            "spCompanyName": client.name,
            "contactStatus": "Not Contacted",
            "primaryPhoneDetails": {"maskedNumber": lead.masked},
            **consent,
            "interview": [{"question": "What kind of work is it?", "answer": lead.task}],
        }
