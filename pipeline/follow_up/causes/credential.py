"""A credential that expired or was revoked: the connection's state says that only a person can mend it, or a delivery met it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from pipeline.follow_up.causes.trouble import TRIED_BY, House, Trouble
from pipeline.follow_up.holding import CARRIERS
from pipeline.store.connections import ConnectionState, load_states
from pipeline.store.engine import stamp
from pipeline.store.schema import output_log, outputs

RECOVERY = (
    "Reconnect as the evidence says, then run `leadtrail check` and `leadtrail sync`. It ends by itself once the connection "
    "was read and a build knows what came; of a connection that is only delivered to, a person ends it."
)
REFUSED = "credential"  # the queue's reason code of an attempt that the provider refused because of who we are


def find(house: House) -> list[Trouble]:
    states = load_states(house.engine)
    troubles = [
        Trouble(state.client_id, state.provider, state.reason, datetime.fromisoformat(state.last_attempt_at))
        for state in states.values()
        if state.state == "needs_person"
    ]
    refused = [one for one in _refused(house) if not _works_again(states.get((one.client_id, one.scope)), one)]
    return [one for one in troubles + refused if (one.client_id, one.scope) in house.connections]


def _works_again(state: ConnectionState | None, refused: Trouble) -> bool:
    """Reading it met the same, and has been well since. A token may read and not write: reading well all along proves nothing."""
    return state is not None and state.state == "ok" and datetime.fromisoformat(state.since) > refused.seen_at


def _refused(house: House) -> list[Trouble]:
    query = (
        select(outputs.c.client_id, TRIED_BY.label("channel"), func.max(output_log.c.at).label("at"))
        .join(outputs, outputs.c.output_id == output_log.c.output_id)
        .where(output_log.c.code == REFUSED, output_log.c.at >= stamp(house.now - house.limits.outputs_within))
        .group_by(outputs.c.client_id, TRIED_BY)
    )
    with house.engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        Trouble(row.client_id, provider, "A delivery was refused for its credential.", datetime.fromisoformat(row.at))
        for row in rows
        for provider in CARRIERS.get(row.channel, ())
    ]
