"""What a hold holds back. The gate asks `hold_on` for each output, and a release asks it again.

Three ideas (docs/decisions/holds.md):
- Nothing leaves by a way that is broken or forbidden: a hold on a channel, on the provider that carries it, or on everything.
- Not knowing what a person did lately (a source is silent, refuses us, or brings too little) holds what we would write by
  ourselves as if nothing had happened: nurture. Answers to what has just arrived go on.
- People of ours are never cut off. A task for the desk is never held, and a task that the CRM cannot take goes to the desk.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from pipeline.follow_up.tasks import NURTURE
from pipeline.store.held import move, waiting_tasks
from pipeline.store.holds import EVERYTHING, open_holds

if TYPE_CHECKING:
    from pipeline.clients import ClientConfig

Row = Mapping[str, Any]

# which connection carries a channel
CARRIERS: dict[str, tuple[str, ...]] = {
    "crm_task": ("hubspot",),
    "crm_note": ("hubspot",),
    "crm_update": ("hubspot",),
    "text": ("twilio",),
    "email": ("smtp",),
    "marketplace": ("thumbtack", "angi"),
}
CANNOT_DELIVER = ("credential", "delivery")
DO_NOT_KNOW = ("credential", "webhook", "import")
KNOW_NO_PERSON = ("search_console",)  # their silence says nothing about anybody


def scopes_of(client: ClientConfig) -> list[str]:
    """What can be paused of a client: everything, a channel, or what one of its providers carries or tells."""
    return [EVERYTHING, *CARRIERS, *sorted({one.provider for one in client.connections} - set(CARRIERS))]


def holds_back(hold: Row, *, channel: str, priority: int) -> bool:
    """Does this hold stand in the way of an output of its client?"""
    if channel == "desk_task":
        return False
    if hold["scope"] in (EVERYTHING, channel):
        return True
    carries = hold["scope"] in CARRIERS.get(channel, ())
    if channel == "crm_task":
        return carries and hold["cause"] in CANNOT_DELIVER
    unsure = hold["cause"] in DO_NOT_KNOW and hold["scope"] not in KNOW_NO_PERSON
    return carries or (unsure and priority >= NURTURE)


def hold_on(connection: Connection, output: Row) -> Row | None:
    """The oldest hold that stands in the way of this row of `outputs`."""
    holds = open_holds(connection, output["client_id"])
    return next((one for one in holds if holds_back(one, channel=output["channel"], priority=output["priority"])), None)


def in_words(hold: Row) -> str:
    """Why an output is held, for whoever asks."""
    return f"{hold['evidence']} (hold {hold['hold_id'][:8]}: {hold['scope']}, {hold['cause']})"


def to_the_desk(connection: Connection, now: datetime) -> int:
    """Tasks that the CRM can't take now become tasks on the desk, in the caller's transaction: a person gets them at once."""
    moved = 0
    for client_id in sorted({hold["client_id"] for hold in open_holds(connection)}):
        for row in waiting_tasks(connection, client_id):
            if (hold := hold_on(connection, row)) is not None:
                move(connection, row, "desk_task", f"The CRM cannot take it: {in_words(hold)}", now)
                moved += 1
    return moved
