"""The relay of a mail service as an emulator: it tells how e-mails to the town's people went, one signed event at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, timedelta
from functools import partial
from typing import Any, ClassVar

import msgspec

from connectors.base import Secret
from connectors.mail import sign
from connectors.sandbox.facts import Client, FormFill
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, json_reply


class SandboxMail(SandboxProvider):
    name: ClassVar[str] = "mail"

    def env(self, root: str) -> dict[str, str]:
        return {}  # nothing to call

    def handle(self, request: Request) -> Reply:
        return json_reply({"error": "mail services only send events here"}, 404)

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {"secret": Secret(self._secret(client.client_id))}

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {"secret": self._secret(client.client_id)}

    def _secret(self, client_id: str) -> str:
        return self.world.secret("mail", client_id)

    def _told(self) -> Iterator[tuple[FormFill, str, str]]:
        """Of some who left an address in a form: that a mail to them came back, or that they want no more. (Answers would be
        conversations that the town's truth knows nothing of.)"""
        count: Counter[str] = Counter()
        for fill in self.town.forms:
            if fill.via == "forms" and fill.email:
                count[fill.client_id] += 1
                kind = {1: "unsubscribed", 6: "bounced"}.get(count[fill.client_id] % 11, "")
                if kind:
                    yield fill, kind, f"mail-{self.world.secret('mail', 'event', fill.n)[:20]}"

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for fill, _, event_id in self._told():
            yield fill.client_id, "events", event_id, fill.person_id

    def pushes(self) -> Iterator[Push]:
        for fill, kind, event_id in self._told():
            at = fill.at + timedelta(hours=3)
            when = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
            event = {"event_id": event_id, "event": kind, "at": when, "address": fill.email}
            yield self.push(fill.client_id, event, at)

    def push(self, client_id: str, event: Mapping[str, Any], at: Any) -> Push:
        body = msgspec.json.encode(event)
        return Push(client_id, at, body, partial(self._signed, client_id, body))

    def _signed(self, client_id: str, body: bytes, url: str) -> Mapping[str, str]:
        stamp = str(int(time.time()))
        return {
            "content-type": "application/json",
            "x-leadtrail-timestamp": stamp,
            "x-leadtrail-signature": sign(self._secret(client_id), stamp, body),
        }
