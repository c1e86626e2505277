"""How the permit to text stands, as each connection's provider last said: a sync asks, and who looks for holds reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from connectors.base import Registration
from pipeline.store.engine import put, stamp
from pipeline.store.schema import registrations


def note_registration(
    engine: Engine, client_id: str, provider: str, answer: Registration | None, now: datetime
) -> None:
    """It was asked for. None: the provider did not answer, and what it said before stands."""
    at = stamp(now)
    whose = (registrations.c.client_id == client_id, registrations.c.provider == provider)
    with engine.begin() as connection:
        before = connection.execute(select(registrations).where(*whose)).mappings().first()
        row = dict(before or {"state": "unknown", "said": "", "since": at, "answered_at": None})
        if answer is not None:
            if before is None or (before["state"], before["said"]) != (answer.state, answer.said):
                row |= {"state": answer.state, "said": answer.said, "since": at}
            row["answered_at"] = at
        put(connection, registrations, [{**row, "client_id": client_id, "provider": provider, "asked_at": at}])


def load_registrations(engine: Engine) -> list[Mapping[str, Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(registrations)).mappings().all())
