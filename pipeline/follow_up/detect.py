"""Detection: looks for the six causes, opens a hold for each that is new, and ends or proposes to end those whose cause is gone.

Safe to repeat: a cause opens one hold, a hold belongs to one incident. What a person has dealt with (cleared) opens again only
for something newer. A finder that breaks ends nothing: not knowing is no reason to go on sending.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from connectors.registry import reads_from
from pipeline.build_record import last_build
from pipeline.follow_up.causes import compliance, credential, delivery, imports, privacy, webhook
from pipeline.follow_up.causes.trouble import Finder, House, Trouble
from pipeline.follow_up.holding import DO_NOT_KNOW, Row, to_the_desk
from pipeline.follow_up.incidents import follow_holds, not_looked_for
from pipeline.follow_up.release import release
from pipeline.store.connections import ConnectionState, load_states
from pipeline.store.engine import stamp
from pipeline.store.holds import LEADTRAIL, Cause, Hold, last_cleared, open_hold, open_holds, propose_end

if TYPE_CHECKING:
    from pipeline.office import Office

log = logging.getLogger("leadtrail.holds")


@dataclass(frozen=True)
class Kind:
    find: Finder
    recovery_rule: str
    ends_by_itself: bool = True


KINDS: Mapping[Cause, Kind] = {
    "credential": Kind(credential.find, credential.RECOVERY),
    "webhook": Kind(webhook.find, webhook.RECOVERY),
    "import": Kind(imports.find, imports.RECOVERY),
    "privacy": Kind(privacy.find, privacy.RECOVERY, ends_by_itself=False),
    "compliance": Kind(compliance.find, compliance.RECOVERY, ends_by_itself=False),
    # it ends by itself after a rest; that nothing fails while nothing is sent proves nothing
    "delivery": Kind(delivery.find, delivery.RECOVERY, ends_by_itself=False),
}
RESTED = "It has rested; deliveries are tried again."


@dataclass
class Detection:
    """Keys (client|scope|cause) of holds; how many tasks went from the CRM to the desk; causes that could not be looked for."""

    opened: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    clearable: list[str] = field(default_factory=list)
    to_the_desk: int = 0
    not_looked: list[Cause] = field(default_factory=list)


def open_by_hand(connection: Connection, hold: Hold, *, by: str, now: datetime) -> bool:
    """A person pauses work, and only a person ends it. As if it had been detected, tasks that the CRM is not to take go to the
    desk and there is an incident. In the caller's transaction; False if that is on hold already."""
    if not open_hold(connection, hold, now, actor=by):
        return False
    to_the_desk(connection, now)
    follow_holds(connection, [hold.open_key], now)
    return True


def ended_holds(office: Office, *, now: datetime) -> list[str]:
    """Keys of holds that the next detection will end by itself. Changes nothing; without a hold it costs one query."""
    with office.engine.connect() as connection:
        ours = [hold for hold in open_holds(connection) if hold["opened_by"] == LEADTRAIL]
    if not ours:
        return []
    house, states, ended = _house(office, now), load_states(office.engine), []
    for cause in dict.fromkeys(hold["cause"] for hold in ours):
        try:
            troubles = _found(house, cause)
        except Exception:  # detection says so, with an incident
            log.warning("holds: whether %s is over could not be looked at", cause)
            continue
        for hold in (one for one in ours if one["cause"] == cause):
            because = _over(house, hold, troubles.get(hold["open_key"]), states)
            if because and _ends_by_itself(hold, because):
                ended.append(str(hold["open_key"]))
    return ended


def detect_holds(office: Office, *, now: datetime) -> Detection:
    """Look once. Everything found is opened before this returns."""
    house = _house(office, now)
    done = Detection()
    states = load_states(office.engine)
    for cause in KINDS:
        try:
            troubles = _found(house, cause)
        except Exception as error:
            log.error("holds: looking for %s failed (%s)", cause, type(error).__name__)
            done.not_looked.append(cause)
            continue
        with office.engine.begin() as connection:
            _open(connection, house, cause, troubles, done)
            for hold in open_holds(connection):
                if hold["cause"] == cause:
                    _end(connection, house, hold, troubles.get(hold["open_key"]), states, done)
    with office.engine.begin() as connection:
        done.to_the_desk = to_the_desk(connection, now)
        follow_holds(connection, done.opened, now)
        not_looked_for(connection, done.not_looked, house.agency, now)
    return done


def _house(office: Office, now: datetime) -> House:
    with office.engine.connect() as connection:
        cleared = last_cleared(connection)
    return House(office.engine, office.settings, office.clients(), now, cleared)


def _found(house: House, cause: Cause) -> dict[str, Trouble]:
    return {f"{one.client_id}|{one.scope}|{cause}": one for one in reversed(KINDS[cause].find(house))}


def _open(connection: Connection, house: House, cause: Cause, troubles: Mapping[str, Trouble], done: Detection) -> None:
    for key, trouble in troubles.items():
        if stamp(trouble.seen_at) <= house.cleared.get(key, ""):
            continue
        owner = house.owner(trouble.client_id)
        hold = Hold(trouble.client_id, trouble.scope, cause, trouble.evidence, owner, KINDS[cause].recovery_rule)
        if open_hold(connection, hold, house.now):
            done.opened.append(key)


def _end(
    connection: Connection,
    house: House,
    hold: Row,
    trouble: Trouble | None,
    states: Mapping[tuple[str, str], ConnectionState],
    done: Detection,
) -> None:
    """End a hold whose cause is gone, if its rule lets it end by itself; else say that a person may."""
    because = _over(house, hold, trouble, states)
    if because and hold["opened_by"] == LEADTRAIL and _ends_by_itself(hold, because):
        if release(connection, hold, house.now, by=LEADTRAIL, note=because):
            done.cleared.append(hold["open_key"])
        return
    if (
        hold["opened_by"] == LEADTRAIL
        and propose_end(connection, hold["open_key"], because or None, house.now)
        and because
    ):
        done.clearable.append(hold["open_key"])


def _ends_by_itself(hold: Row, because: str) -> bool:
    return KINDS[hold["cause"]].ends_by_itself or because == RESTED


def _over(house: House, hold: Row, trouble: Trouble | None, states: Mapping[tuple[str, str], ConnectionState]) -> str:
    """Why a hold may end; "" while it may not."""
    if trouble is not None:
        rested = house.now - datetime.fromisoformat(hold["opened_at"]) >= house.limits.rest
        return RESTED if trouble.passes and rested else ""
    if hold["cause"] in DO_NOT_KNOW and (hold["client_id"], hold["scope"]) not in house.connections:
        return "The connection is no longer in the clients file."
    if hold["cause"] in DO_NOT_KNOW and not _caught_up(house, hold, states.get((hold["client_id"], hold["scope"]))):
        return ""
    return "The cause is gone."


def _caught_up(house: House, hold: Row, state: ConnectionState | None) -> bool:
    """Do the published figures know what happened at that source while it was uncertain? Else a message would go out to somebody
    whose answer is still on its way."""
    if not reads_from(hold["scope"]):
        return False  # nothing reads it, so nothing can tell that it works again: a person does
    read_at = (state and state.last_success_at) or ""
    if read_at <= hold["opened_at"]:
        return False
    record = last_build(house.settings)
    return record is None or (
        record.is_published and datetime.fromisoformat(record.published_at) >= datetime.fromisoformat(read_at)
    )
