"""Small towns that end today, for tests that run on the real clock: whatever the day, every provider has something to say."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from connectors.sandbox.town import make_town

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TOLD_OF = (
    "calls", "forms", "threads", "sms", "thumbtack_leads", "thumbtack_messages", "angi_leads", "contacts", "deals",
    "customers", "estimates", "invoices", "payments",
)  # fmt: skip


def small_town(**size: int) -> dict[str, Any]:
    """Arguments for `make_town` and `start_sandbox`, with the first seed whose town leaves no client without any of these."""
    given = {"clients": 2, "months": 2, "leads_per_month": 15, **size}
    for seed in count(7):
        town = make_town(seed, end=TODAY, **given)
        clients = {client.client_id for client in town.clients}
        if all({fact.client_id for fact in getattr(town, kind)} == clients for kind in TOLD_OF):
            return {"seed": seed, **given, "end": TODAY}
    raise AssertionError("unreachable")
