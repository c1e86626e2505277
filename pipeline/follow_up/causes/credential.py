"""A credential that expired or was revoked: the connection's state says that only a person can mend it, or a delivery met it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from pipeline.follow_up.causes.trouble import House, Trouble
from pipeline.follow_up.holding import CARRIERS
from pipeline.store.connections import load_states
from pipeline.store.engine import stamp
from pipeline.store.schema import output_log, outputs

RECOVERY = (
    "Reconnect as the evidence says, then run `leadtrail check` and `leadtrail sync`. It ends by itself once the connection "
    "was read and a build knows what came; of a connection that is only delivered to, a person ends it."
)
REFUSED = "credential"  # the queue's reason code of an attempt that the provider refused because of who we are


def find(house: House) -> list[Trouble]:
    troubles = [
        Trouble(state.client_id, state.provider, state.reason, datetime.fromisoformat(state.last_attempt_at))
        for state in load_states(house.engine).values()
        if state.state == "needs_person" and (state.client_id, state.provider) in house.connections
    ]
    return troubles + _refused(house)


def _refused(house: House) -> list[Trouble]:
    query = (
        select(outputs.c.client_id, outputs.c.channel, func.max(output_log.c.at).label("at"))
        .join(outputs, outputs.c.output_id == output_log.c.output_id)
        .where(output_log.c.code == REFUSED, output_log.c.at >= stamp(house.now - house.limits.outputs_within))
        .group_by(outputs.c.client_id, outputs.c.channel)
    )
    with house.engine.connect() as connection:
        rows = connection.execute(query).all()
    return [
        Trouble(row.client_id, provider, "A delivery was refused for its credential.", datetime.fromisoformat(row.at))
        for row in rows
        for provider in CARRIERS.get(row.channel, ())
        if (row.client_id, provider) in house.connections
    ]
