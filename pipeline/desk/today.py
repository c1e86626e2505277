"""What needs a person now, most urgent first: each with its owner and how it ends."""

from __future__ import annotations

import json
from datetime import timedelta

from sqlalchemy import func, select
from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page
from pipeline.follow_up.escalations import WAITING
from pipeline.follow_up.standing import overview
from pipeline.follow_up.template_book import TemplateLog
from pipeline.store.engine import stamp
from pipeline.store.schema import connections, holds, incidents, outputs, summaries, suppressions

MOST = 8  # of a kind; the rest is a number and a link
RECENT = timedelta(days=14)


def today(visit: DeskVisit) -> Response:
    with visit.reading() as connection:

        def top(query, order):  # type: ignore[no-untyped-def]
            rows = visit.all(connection, query.order_by(*order).limit(MOST))
            left = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
            return {"rows": rows, "count": left}

        since = stamp(visit.now - RECENT)
        task = (outputs.c.output_type == "task", outputs.c.acknowledged_at.is_(None), outputs.c.created_at > since)
        tasks = top(
            visit.mine(outputs).where(*task, outputs.c.status.in_(WAITING)),
            (outputs.c.priority, func.coalesce(outputs.c.respond_by, outputs.c.expires_at), outputs.c.output_id),
        )
        unsure = top(
            visit.mine(outputs).where(outputs.c.status == "unknown"), (outputs.c.status_at, outputs.c.output_id)
        )
        failed = top(
            visit.mine(outputs).where(outputs.c.status == "failed", outputs.c.status_at > since),
            (outputs.c.status_at.desc(), outputs.c.output_id),
        )
        held = top(visit.mine(holds).where(holds.c.open_key.is_not(None)), (holds.c.opened_at, holds.c.hold_id))
        broken = top(visit.mine(incidents).where(incidents.c.open_key.is_not(None)), (incidents.c.opened_at.desc(),))
        drafts = top(
            visit.mine(summaries, *_without_words()).where(
                summaries.c.status.in_(("blocked", "in_review", "approved"))
            ),
            (summaries.c.expires_at, summaries.c.summary_id),
        )
        asked = top(visit.mine(suppressions).where(suppressions.c.state == "in_review"), (suppressions.c.since,))
        stuck = top(
            visit.mine(connections).where(connections.c.state == "needs_person"),
            (connections.c.since, connections.c.provider),
        )
        words = [
            move for move in TemplateLog.read(connection).drafts() if not move.client_id or move.client_id in visit.sees
        ]
        waiting = [
            (row["rule"], row["whose"], one)
            for row in overview(connection)
            if not row["whose"] or row["whose"] in visit.sees
            for one in row["waiting"]
        ]
    for row in (*tasks["rows"], *unsure["rows"], *failed["rows"]):
        row["says"] = json.loads(row["payload"])
    kinds = (tasks, unsure, failed, held, broken, drafts, asked, stuck)
    return visit.render(
        "today.html",
        tasks=tasks,
        unsure=unsure,
        failed=failed,
        held=held,
        broken=broken,
        drafts=drafts,
        asked=asked,
        stuck=stuck,
        words=words,
        waiting=waiting,
        nothing=not any(kind["count"] for kind in kinds) and not words and not waiting,
    )


def _without_words() -> list[object]:
    return [column for column in summaries.c if column.name not in ("content", "figures", "sources")]


PAGES = (Page("/", today),)
