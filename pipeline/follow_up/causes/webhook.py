"""Webhooks that stopped coming, or that cannot be read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import case, func, select

from pipeline.follow_up.causes.trouble import House, Trouble
from pipeline.store.engine import stamp
from pipeline.store.inbox_silence import silent_connections
from pipeline.store.schema import inbox

RECOVERY = (
    "Look at the provider's webhook settings and at `leadtrail doctor`. It ends by itself once webhooks come and can be read "
    "again, the connection was read since, and a build knows what came. A person ends it who knows that nothing was to be sent."
)


def find(house: House) -> list[Trouble]:
    silent = [
        Trouble(one.client_id, one.provider, one.evidence, one.last_received_at)
        for one in silent_connections(house.engine, now=house.now)
        if (one.client_id, one.provider) in house.connections
    ]
    return silent + _unreadable(house)


def _unreadable(house: House) -> list[Trouble]:
    """A share of what came lately was put aside."""
    aside = inbox.c.state == "quarantined"
    query = (
        select(
            inbox.c.client_id,
            inbox.c.provider,
            func.count().label("came"),
            func.sum(case((aside, 1), else_=0)).label("aside"),
            func.max(case((aside, inbox.c.state_at))).label("at"),
        )
        .where(inbox.c.received_at >= stamp(house.now - house.limits.unreadable_within))
        .group_by(inbox.c.client_id, inbox.c.provider)
    )
    with house.engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        Trouble(
            row.client_id,
            row.provider,
            f"{row.aside} of the {row.came} webhooks of the last day could not be read and are kept aside.",
            datetime.fromisoformat(row.at),
        )
        for row in rows
        if row.aside >= house.limits.unreadable_at_least
        and row.aside >= house.limits.unreadable_share * row.came
        and (row.client_id, row.provider) in house.connections
    ]
