"""Why nothing of a client may be published now, although it is approved."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from pipeline.store.holds import open_holds


def privacy_holds(engine: Engine) -> Callable[[str], str]:
    """For `publish_due`: the reason a client's summaries wait, or nothing. Only doubt about privacy holds them: what is late or
    missing is said in the summary itself."""
    with engine.connect() as connection:
        found = {hold["client_id"]: hold for hold in reversed(open_holds(connection)) if hold["cause"] == "privacy"}

    def held(client_id: str) -> str:
        hold = found.get(client_id) or found.get("")
        return f"on hold since {hold['opened_at'][:16]} for privacy: {hold['recovery_rule']}" if hold else ""

    return held
