"""Websites as an emulator: they post signed forms, as JSON or urlencoded, each site with its own field names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from connectors.base import Secret
from connectors.forms import sign
from connectors.sandbox.facts import Client, FormFill
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, json_reply

UTM = {
    "google_paid": ("google", "cpc"),
    "google_organic": ("google", "organic"),
    "google_my_business": ("google", "gbp"),
    "facebook": ("facebook", "paid_social"),
}
REFERRERS = {"google": "https://www.google.com/", "facebook": "https://m.facebook.com/"}


class SandboxForms(SandboxProvider):
    name: ClassVar[str] = "forms"

    @cached_property
    def _clients(self) -> dict[str, Client]:
        return {client.client_id: client for client in self.town.clients}

    def env(self, root: str) -> dict[str, str]:
        return {}  # nothing to call

    def handle(self, request: Request) -> Reply:
        return json_reply({"error": "websites have no API"}, 404)

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {"secret": Secret(self._secret(client))}

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {"secret": self._secret(client)}

    def _secret(self, client: Client) -> str:
        return self.world.secret("forms", client.client_id)

    def _fills(self) -> Iterator[FormFill]:
        return (fill for fill in self.town.forms if fill.via == "forms")

    def event_id(self, fill: FormFill) -> str:
        return f"web-{self.world.secret('forms', 'event', fill.n)[:20]}"

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for fill in self._fills():
            yield fill.client_id, "submissions", self.event_id(fill), fill.person_id

    def pushes(self) -> Iterator[Push]:
        for fill in self._fills():
            yield from [self.push(fill)] * (2 if fill.n % 17 == 0 else 1)  # a plug-in that retries what arrived

    def push(self, fill: FormFill) -> Push:
        client, fields = self._clients[fill.client_id], self.fields(fill)
        if client.n % 2:
            body, content_type = msgspec.json.encode(fields), "application/json"
        else:
            # The other kind of site: a WordPress plug-in with names of its own.
            names = {"name": "your-name", "phone": "your-phone", "email": "your-email", "message": "your-message"}
            body = urlencode({names.get(key, key): value for key, value in fields.items()}).encode()
            content_type = "application/x-www-form-urlencoded"
        headers = {
            "content-type": content_type,
            "x-event-id": self.event_id(fill),
            "x-leadtrail-signature": sign(self._secret(client), body),
        }
        return Push(fill.client_id, fill.at, body, lambda url: headers)

    def fields(self, fill: FormFill) -> dict[str, str]:
        client = self._clients[fill.client_id]
        source, medium = UTM.get(fill.channel, ("", ""))
        utm = {"utm_source": source, "utm_medium": medium} if medium in ("cpc", "paid_social") else {}
        clicked = {"gclid": self.world.secret("gclid", fill.n)} if fill.channel == "google_paid" else {}
        query = "?" + urlencode({**utm, **clicked}) if utm else ""
        return {
            "form_id": "quote" if fill.service else "contact",
            "submitted_at": fill.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "name": fill.name,
            "phone": fill.phone,
            "email": fill.email,
            "message": fill.message,
            "service": fill.service,
            "page_url": f"https://www.{client.domain}{fill.page}{query}",
            "referrer": REFERRERS.get(source, ""),
            **utm,
            **clicked,
            "consent": "yes" if fill.consent_to_text else "",
        }
