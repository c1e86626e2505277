"""A provider that refuses our credential still pushes: an opt-out or a lead that it sends must not wait for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.http import Clock
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.store import inbox
from pipeline.store.inbox import Event
from tests.conftest import NOW
from tests.faults.homes import SMALL, Home


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(**{**SMALL, "leads_per_month": 8}, providers=["twilio", "callrail"])
    yield running
    running.stop()


def store_pushes(home: Home, sandbox: RunningSandbox, client: str, provider: str) -> int:
    """The client's webhooks, stored as the intake stores them."""
    office = home.office
    connector = office.connector(client, provider)
    events = {}
    for push in sandbox.providers[provider].pushes():
        if push.client_id == client:
            url = f"https://leadtrail.test/webhooks/{client}/{provider}{push.tail}"
            headers = {name.lower(): value for name, value in push.sign(url).items()}
            request = inbox.WebhookRequest(url, headers, push.body, NOW, push.method, push.tail)
            key = connector.accept(request).dedupe_key
            events[key] = Event(
                client, provider, key, replace(request, headers={"content-type": headers.get("content-type", "")})
            )
    inbox.store_events(office.engine, list(events.values()))
    return len(events)


def test_what_webhooks_carry_lands_although_the_credential_is_refused(sandbox: RunningSandbox, tmp_path: Path) -> None:
    client = sandbox.town.clients[0].client_id
    home = Home(sandbox, tmp_path, clock=Clock())
    stored = store_pushes(home, sandbox, client, "twilio")
    refused = Home(sandbox, tmp_path, clock=Clock(), environ={secret(client, "TWILIO_AUTH_TOKEN"): "0" * 32})

    first = refused.sync("twilio", clients=(client,))[f"{client}/twilio"]
    assert first.state == "needs_person"
    assert len(refused.landed_of(client, "twilio", "message_events")) == stored

    store_pushes(home, sandbox, client, "twilio")  # delivered again: known already
    second = refused.sync("twilio", clients=(client,))[f"{client}/twilio"]
    assert second.skipped, "a person is needed: the provider is left alone"
    assert len(refused.landed_of(client, "twilio", "message_events")) == stored


def test_what_webhooks_only_hint_at_waits_in_the_inbox_until_the_credential_works(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    client = sandbox.town.clients[0].client_id
    home = Home(sandbox, tmp_path, clock=Clock())
    stored = store_pushes(home, sandbox, client, "callrail")
    refused = Home(sandbox, tmp_path, clock=Clock(), environ={secret(client, "CALLRAIL_API_KEY"): "0" * 32})

    assert refused.sync("callrail", clients=(client,))[f"{client}/callrail"].state == "needs_person"
    assert inbox.waiting(home.engine) == {(client, "callrail"): stored}

    assert home.sync("callrail", clients=(client,))[f"{client}/callrail"].state == "ok"
    assert inbox.waiting(home.engine) == {}


def secret(client: str, name: str) -> str:
    return f"{client.upper().replace('-', '_')}_{name}"
