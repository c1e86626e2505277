"""A follow-up home whose client is served by the sandbox over real HTTP and SMTP: a CRM, a texting account, a mail server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from connectors.base import Secret
from connectors.sandbox.facts import Client, Contact, Staff, Town
from connectors.sandbox.hubspot import SandboxHubSpot
from connectors.sandbox.provider import Fault
from connectors.sandbox.smtp import SandboxSmtp
from connectors.sandbox.twilio import SandboxTwilio
from pipeline.follow_up.deliver import Delivery, deliver
from pipeline.follow_up.emit import Emission, emit
from tests.conftest import FakeClock, Served
from tests.follow_up_world import NOW, FollowUp, follow_up

BOSS = Staff(1, "Dana", "Reyes", "dana@agency.example", "owner")
LEE = Staff(2, "Lee", "Ives", "lee@ridge.example", "staff")
NUMBER = "+15125550100"
CONTACT = "101"
SETTLES = timedelta(minutes=2)


def a_town() -> Town:
    ridge = Client(
        n=1, client_id="ridgeline", name="Ridgeline Plumbing", trade="plumbing", timezone="America/Chicago", city="Austin",
        state="TX", zip_codes=("78701",), area_code="512", domain="ridge.example", office_phone=NUMBER, sms_phone=NUMBER,
        lines=(), staff=(BOSS, LEE), joined_at=NOW - timedelta(days=300),
    )  # fmt: skip
    contact = Contact(
        n=1, client_id="ridgeline", person_id="p1", episode_id="e1", at=NOW - timedelta(days=9),
        changed_at=NOW - timedelta(days=9), given="Ana", family="Ruiz", email="ana@home.example", phone="(512) 555-0142",
        owner=BOSS, lifecycle="lead", lead_status="NEW", email_optout=False, source="OFFLINE",
    )  # fmt: skip
    return Town(7, NOW - timedelta(days=60), NOW, [ridge], contacts=[contact])


@dataclass
class House:
    """The home, the sandbox beside it, and one clock for both."""

    home: FollowUp
    served: Served
    clock: FakeClock

    def emit(self) -> Emission:
        return emit(self.home.office, now=self.clock.now())

    def deliver(self, **how: Any) -> Delivery:
        return deliver(self.home.office, clock=self.clock, settles=SETTLES, **how)

    def go(self) -> Delivery:
        self.home.publish()
        self.emit()
        return self.deliver()

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.served.world.ledger if entry["kind"] == kind]

    def strike(self, kind: str, provider: str, path: str = "", **more: Any) -> None:
        self.served.world.faults.append(Fault(kind, provider, path, **more))  # type: ignore[arg-type]

    @property
    def hubspot(self) -> SandboxHubSpot:
        found = self.served.providers["hubspot"]
        assert isinstance(found, SandboxHubSpot)
        return found

    @property
    def twilio(self) -> SandboxTwilio:
        found = self.served.providers["twilio"]
        assert isinstance(found, SandboxTwilio)
        return found


def connections_to(served: Served) -> tuple[str, dict[str, str]]:
    """The client's connections as they stand in its clients file, and the secrets they name."""
    (client,) = served.town.clients
    written, secrets = {}, {}
    for name, provider in served.providers.items():
        options = dict(provider.connection(client, served.root(name)))
        if name != "smtp":
            options["base_url"] = served.root(name)
        for key, value in options.items():
            if isinstance(value, Secret):
                secrets[reference := re.sub(r"\W", "_", f"{name}_{key}").upper()] = value.reveal()
                options[key] = f"${{{reference}}}"
        written[name] = options
    return json.dumps(written), secrets


def house(path: Path, serve: Callable[..., Served], clock: FakeClock | None) -> House:
    """With a clock: the sandbox keeps it too. Without: real time."""
    served = serve(a_town(), SandboxHubSpot, SandboxTwilio, SandboxSmtp)
    if clock is not None:
        served.world._now = clock.now
    written, secrets = connections_to(served)
    home = follow_up(path, **secrets)
    home.write_clients(connections=written)
    home.contact(crm_contact_id=CONTACT, crm_owner_id="", owner_email=LEE.email)
    return House(home, served, clock or FakeClock())
