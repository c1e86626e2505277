"""Checks of follow-up: what stops emission, and what must never have happened."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy import Engine, and_, literal_column, not_, or_, select

from pipeline.build_record import BuildRecord
from pipeline.follow_up.escalations import MARK
from pipeline.follow_up.tasks import NURTURE, TASK_CHANNELS, URGENT
from pipeline.store.engine import stamp
from pipeline.store.outputs import OPEN
from pipeline.store.schema import outputs

MODELS_TESTED, URGENT_FIRST = "models_tested", "no_sequence_before_an_urgent_task"
LOOK_BACK = timedelta(days=7)


def models_tested_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        MODELS_TESTED,
        asset=asset,
        blocking=True,
        description="Every test of the last build passed. Clients whose figures failed one are named, and nothing is emitted "
        "for them. If it cannot be told whose figures are wrong, nothing is emitted for anybody.",
    )


def models_tested(record: BuildRecord | None, asset: dg.AssetKey) -> dg.AssetCheckResult:
    """Blocks only if it may be anybody's figures that are wrong; the emission itself leaves named clients out."""
    failures = record.failures if record else ()
    anybody = record is None or record.clients is None
    named = sorted(record.clients or ()) if record else []
    return dg.AssetCheckResult(
        passed=record is not None and record.ok,
        asset_key=asset,
        check_name=MODELS_TESTED,
        severity=dg.AssetCheckSeverity.ERROR if anybody else dg.AssetCheckSeverity.WARN,
        description="Nothing has been built yet." if record is None else "" if record.ok else record.why(),
        metadata={
            "clients_left_out": "everybody" if anybody else named,
            **{one.name: str(one) for one in failures[:20]},
        },
    )


def urgent_first_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        URGENT_FIRST,
        asset=asset,
        description="In the last week no message of a sequence went to a lead while an urgent task for it was open.",
    )


def urgent_first(engine: Engine, asset: dg.AssetKey, *, now: datetime) -> dg.AssetCheckResult:
    """Asked of what was sent, not of what was planned."""
    broken = urgent_overtaken(engine, since=now - LOOK_BACK)
    return dg.AssetCheckResult(
        passed=not broken,
        asset_key=asset,
        check_name=URGENT_FIRST,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"outputs": broken[:50]},
    )


def urgent_overtaken(engine: Engine, *, since: datetime) -> list[str]:
    """Ids of outputs of a sequence that were sent while an urgent task of their lead was open."""
    sent, urgent = outputs.alias("sent"), outputs.alias("urgent")
    still_open = or_(
        and_(urgent.c.status.in_(OPEN) | (urgent.c.status == "delivered"), urgent.c.acknowledged_at.is_(None)),
        urgent.c.acknowledged_at > sent.c.first_sent_at,
        and_(urgent.c.status.not_in((*OPEN, "delivered")), urgent.c.status_at > sent.c.first_sent_at),
    )
    query = (
        select(sent.c.output_id)
        .where(
            sent.c.priority >= NURTURE,
            sent.c.first_sent_at >= stamp(since),
            sent.c.status.in_(("delivered", "unknown")),
            select(literal_column("1"))
            .where(
                urgent.c.client_id == sent.c.client_id,
                urgent.c.lead_id == sent.c.lead_id,
                urgent.c.priority == URGENT,
                urgent.c.channel.in_(TASK_CHANNELS),
                urgent.c.created_at <= sent.c.first_sent_at,
                urgent.c.expires_at > sent.c.first_sent_at,
                not_(urgent.c.idempotency_key.contains(MARK, autoescape=True)),
                still_open,
            )
            .exists(),
        )
        .order_by(sent.c.output_id)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())
