"""A webhook that only says that something changed brings the record itself with the next drain, without waiting for a poll."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.base import WebhookRequest
from connectors.http import Clock
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.store import inbox
from tests.faults.homes import SMALL, Home, watched

HINTING = {"callrail": "calls", "hubspot": "contacts", "quickbooks": "invoices"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(**{**SMALL, "leads_per_month": 6}, providers=list(HINTING))
    yield running
    running.stop()


def store_pushes(home: Home, sandbox: RunningSandbox, client: str, provider: str) -> int:
    """The client's webhooks, stored as the intake stores them."""
    connector, events = home.office.connector(client, provider), {}
    for push in sandbox.providers[provider].pushes():
        if push.client_id == client:
            url = f"https://leadtrail.test/webhooks/{client}/{provider}{push.tail}"
            headers = {name.lower(): value for name, value in push.sign(url).items()}
            request = WebhookRequest(url, headers, push.body, datetime.now(UTC), push.method, push.tail)
            key = connector.accept(request).dedupe_key
            events[key] = inbox.Event(client, provider, key, connector.kept(request))
    inbox.store_events(home.engine, list(events.values()))
    return len(events)


@pytest.mark.parametrize("provider", HINTING)
def test_what_a_webhook_hints_at_is_fetched_and_landed_by_a_drain_alone(
    sandbox: RunningSandbox, tmp_path: Path, provider: str
) -> None:
    client = sandbox.town.clients[0].client_id
    home = Home(sandbox, tmp_path, clock=Clock())
    stored = store_pushes(home, sandbox, client, provider)
    assert stored > 0
    with watched(sandbox) as calls:
        (outcome,) = home.office.sync(now=datetime.now(UTC), client=client, provider=provider, drain_only=True)
    assert (outcome.state, outcome.webhooks) == ("ok", stored)
    assert inbox.waiting(home.engine) == {}
    landed = home.landed_of(client, provider)
    assert len(landed) > 0
    assert HINTING[provider] in {stream for _, _, stream, _ in landed}
    assert set(landed.values()) == {1}
    assert len(calls) > 0
    # nothing but what was hinted at: the feeds' cursors are where they were
    assert all(cursor in ("null", "") for _, cursor in home.cursors().values())
