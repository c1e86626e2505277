"""The clients an account sees, how each one stands, and how its connections do."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import func, select
from starlette.responses import Response

from connectors.registry import reads_from
from pipeline.desk.seen import DeskVisit, Page, Row
from pipeline.follow_up.escalations import WAITING
from pipeline.store.schema import connections, holds, outputs, publications, summaries

STATES = ("needs_person", "failing", "deferred", "never_synced", "ok")  # the worst first


def clients(visit: DeskVisit) -> Response:
    counted = {
        row["client_id"]: row
        for row in visit.mart(
            "select client_id, count(*) as leads, count(*) filter (where stage not in ('won', 'lost')) as open, "
            "max(opened_at) as last_opened_at, "
            "count(*) filter (where opened_at > (select max(as_of) from @timeline.dim_leads) - interval 30 day) as lately "
            "from @timeline.dim_leads group by client_id"
        )
    }
    with visit.reading() as connection:
        tasks = _count(
            visit,
            connection,
            outputs,
            outputs.c.output_type == "task",
            outputs.c.acknowledged_at.is_(None),
            outputs.c.status.in_(WAITING),
        )
        on_hold = _count(visit, connection, holds, holds.c.open_key.is_not(None))
        drafts = _count(visit, connection, summaries, summaries.c.status.in_(("blocked", "in_review")))
        states = _states(visit, connection)
    rows = [
        {
            "client": one,
            "leads": counted.get(name),
            "tasks": tasks.get(name, 0),
            "holds": on_hold.get(name, 0),
            "drafts": drafts.get(name, 0),
            "worst": min((row["state"] for row in states[name]), key=STATES.index, default="never_synced"),
            "ill": sum(row["state"] != "ok" for row in states[name]),
        }
        for name, one in visit.clients.items()
    ]
    return visit.render("clients.html", rows=rows)


def client(visit: DeskVisit) -> Response:
    one = visit.client(visit.part("client_id"))
    stages = visit.mart(
        "select stage, count(*) as leads, sum(revenue_cents) as revenue_cents from @timeline.dim_leads "
        "where client_id = $client group by stage order by leads desc",
        client=one.client_id,
    )
    with visit.reading() as connection:
        states = _states(visit, connection)[one.client_id]
        standing = visit.all(
            connection, visit.mine(holds).where(holds.c.client_id == one.client_id, holds.c.open_key.is_not(None))
        )
        queue = _by_status(visit, connection, one.client_id)
        shown = visit.all(
            connection,
            visit.mine(publications)
            .where(publications.c.client_id == one.client_id, publications.c.standing.is_not(None))
            .order_by(publications.c.period_end.desc())
            .limit(6),
        )
    return visit.render(
        "client.html", client=one, stages=stages, states=states, holds=standing, queue=queue, shown=shown
    )


def all_connections(visit: DeskVisit) -> Response:
    """Every connection: does it work, since when, what is to be done; and how far its data reach."""
    chosen = visit.chosen_client()
    with visit.reading() as connection:
        states = _states(visit, connection)
    coverage: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in visit.mart("from @operations.source_coverage order by client_id, provider, stream"):
        coverage[row["client_id"], row["provider"]].append(row)
    rows = [
        {"client": one, **state, "streams": coverage[one.client_id, state["provider"]]}
        for one in ([chosen] if chosen else visit.clients.values())
        for state in states[one.client_id]
    ]
    for row in rows:
        until = [each["last_occurred_at"] for each in row["streams"] if each["last_occurred_at"]]
        row["data_until"] = max(until, default=None)
        row["records"] = sum(each["records"] for each in row["streams"])
    rows.sort(key=lambda row: (STATES.index(row["state"]), row["client"].name, row["provider"]))
    return visit.render("connections.html", rows=rows, client=chosen, published_at=visit.desk.marts.published_at())


def _count(visit: DeskVisit, connection: Any, table: Any, *where: Any) -> dict[str, int]:
    query = visit.mine(table, table.c.client_id, func.count().label("n")).where(*where).group_by(table.c.client_id)
    return {row["client_id"]: row["n"] for row in visit.all(connection, query)}


def _by_status(visit: DeskVisit, connection: Any, client_id: str) -> list[Row]:
    query = select(outputs.c.status, func.count().label("n")).where(
        visit.sees.own(outputs.c.client_id), outputs.c.client_id == client_id
    )
    return visit.all(connection, query.group_by(outputs.c.status).order_by(func.count().desc()))


def _states(visit: DeskVisit, connection: Any) -> dict[str, list[Row]]:
    """The state of every connection of the clients file that is read from, by client."""
    kept = {(row["client_id"], row["provider"]): row for row in visit.all(connection, visit.mine(connections))}
    return {
        name: [
            kept.get((name, link.provider), _unread(name, link.provider, one.owner))
            for link in one.connections
            if reads_from(link.provider)
        ]
        for name, one in visit.clients.items()
    }


def _unread(client_id: str, provider: str, owner: str) -> Row:
    empty: Row = dict.fromkeys(column.name for column in connections.c)
    return {
        **empty,
        "client_id": client_id,
        "provider": provider,
        "owner": owner,
        "state": "never_synced",
        "reason": "",
        "fix": "",
    }


PAGES = (
    Page("/clients", clients),
    Page("/clients/{client_id}", client),
    Page("/connections", all_connections),
)
