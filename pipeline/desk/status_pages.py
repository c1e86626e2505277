"""Does Leadtrail itself do its work: publishing, queue, inbox, verification; and the log of who did what."""

from __future__ import annotations

import json

from sqlalchemy import func, select
from starlette.responses import Response

from pipeline.build_record import last_build
from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import PAGE_SIZE
from pipeline.store import audit as audit_store
from pipeline.store.schema import audit_log, connections, holds, inbox, incidents, outputs, verifications


def status(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        queue = visit.all(
            connection,
            visit.mine(
                outputs, outputs.c.status, func.count().label("n"), func.min(outputs.c.next_attempt_at).label("oldest")
            )
            .group_by(outputs.c.status)
            .order_by(outputs.c.status),
        )
        states = visit.all(
            connection,
            visit.mine(connections, connections.c.state, func.count().label("n")).group_by(connections.c.state),
        )
        waiting = visit.all(
            connection,
            visit.mine(inbox, func.count().label("n"), func.min(inbox.c.received_at).label("oldest")).where(
                inbox.c.state == "stored"
            ),
        )[0]
        standing = connection.execute(
            select(func.count()).select_from(visit.mine(holds).where(holds.c.open_key.is_not(None)).subquery())
        ).scalar_one()
        broken = connection.execute(
            select(func.count()).select_from(visit.mine(incidents).where(incidents.c.open_key.is_not(None)).subquery())
        ).scalar_one()
        seen = connection.execute(select(verifications).order_by(verifications.c.at.desc()).limit(1)).mappings().first()
    read = visit.mart(
        "select provider, max(last_received_at) as at from @operations.source_coverage group by provider order by provider"
    )
    return visit.render(
        "status.html",
        queue=queue,
        states=states,
        waiting=waiting,
        holds=standing,
        incidents=broken,
        published_at=visit.desk.marts.published_at(),
        build=last_build(visit.desk.office.settings),
        read=read,
        verified=dict(seen) if seen else None,
        checks=json.loads(seen["checks"]) if seen else [],
    )


def audit(visit: DeskVisit) -> Response:
    """The log of the whole house: for who sees every client."""
    number = visit.page_number()
    with visit.reading() as connection:
        query = select(audit_log).order_by(audit_log.c.seq.desc()).limit(PAGE_SIZE + 1).offset((number - 1) * PAGE_SIZE)
        rows, more = visit.listed(visit.all(connection, query), PAGE_SIZE)
    for row in rows:
        row["detail"] = json.loads(row["detail"])
    return visit.render("audit.html", rows=rows, more=more, number=number, verified=None)


def verify(visit: DeskVisit) -> Response:
    """Check the chain of the log; changes nothing."""
    count, broken = audit_store.verify(visit.desk.reads)
    return visit.render("audit_verified.html", count=count, broken=broken)


PAGES = (
    Page("/status", status),
    Page("/audit", audit, "GET", "house"),
    Page("/audit/verify", verify, "POST", "house"),
)
