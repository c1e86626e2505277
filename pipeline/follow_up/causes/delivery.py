"""Deliveries that fail: a share of a client's last outputs on a channel, or one that says our own account may not send.

An output counts once, as it stands. What fails because of its recipient says nothing about the channel.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from pipeline.follow_up.causes.trouble import TRIED_BY, House, Trouble
from pipeline.store.engine import stamp
from pipeline.store.schema import output_log, outputs

RECOVERY = (
    "After 15 minutes it ends by itself and deliveries are tried again, 30 an hour; if they still fail it opens again. Where our "
    "own number or account may not send, a person mends that and ends it."
)
TOLD = ("delivered", "retrying", "failed", "unknown")
# reasons (connectors/delivery.py) that are the recipient's or the message's, or that are another cause
NOT_OURS = ("opted_out", "bad_address", "unreachable", "blocked", "content", "target", "superseded", "rate_limited")
ELSEWHERE = ("credential", "sender")
MAY_NOT_SEND = ("sender", "filtered")


def find(house: House) -> list[Trouble]:
    troubles = []
    for (client_id, channel), last in _last_outcomes(house).items():
        since = house.dealt_with(client_id, channel, "delivery")
        told = [one for one in last if one.at > since][: house.limits.last_outputs]
        if trouble := _trouble(house, client_id, channel, told):
            troubles.append(trouble)
    return troubles


def _trouble(house: House, client_id: str, channel: str, told: Sequence[Any]) -> Trouble | None:
    told = [one for one in told if channel != "text" or one.code != "sender"]  # that is a matter of registration
    may_not = [one for one in told if one.code in MAY_NOT_SEND]
    failing = [one for one in told if one.what != "delivered" and one.code not in (*NOT_OURS, *ELSEWHERE)]
    if may_not:
        evidence = f"{len(may_not)} of the last {len(told)} outputs: our account may not send, or is taken for spam."
        return Trouble(client_id, channel, evidence, datetime.fromisoformat(may_not[0].at))
    if len(failing) >= house.limits.failing_at_least and len(failing) >= house.limits.failing_share * len(told):
        codes = ", ".join(sorted({one.code or one.what for one in failing}))
        evidence = f"{len(failing)} of the last {len(told)} outputs did not get through ({codes})."
        return Trouble(client_id, channel, evidence, datetime.fromisoformat(failing[0].at), passes=True)
    return None


def _last_outcomes(house: House) -> dict[tuple[str, str], list[Any]]:
    """How each output of the last hours stands with its provider, newest first."""
    newest = (
        select(output_log.c.output_id, func.max(output_log.c.id).label("id"))
        .join(outputs, outputs.c.output_id == output_log.c.output_id)
        .where(output_log.c.what.in_(TOLD), output_log.c.at >= stamp(house.now - house.limits.outputs_within))
        .where((outputs.c.channel != "desk_task") | (output_log.c.what != "delivered"))  # on the desk: nobody's answer
        .group_by(output_log.c.output_id)
        .subquery()
    )
    query = (
        select(outputs.c.client_id, TRIED_BY.label("channel"), output_log.c.what, output_log.c.code, output_log.c.at)
        .join(newest, newest.c.id == output_log.c.id)
        .join(outputs, outputs.c.output_id == output_log.c.output_id)
        .order_by(output_log.c.id.desc())
    )
    outcomes = defaultdict(list)
    with house.engine.connect() as connection:
        for row in connection.execute(query):
            outcomes[row.client_id, row.channel].append(row)
    return outcomes
