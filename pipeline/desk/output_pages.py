"""Tasks, messages and handoffs: how each stands, why it was sent or why not, and what a person can do about it."""

from __future__ import annotations

import json

from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page, Row
from pipeline.desk.visits import PAGE_SIZE
from pipeline.follow_up import handoffs
from pipeline.follow_up.escalations import take_up
from pipeline.store import audit
from pipeline.store import outputs as queue
from pipeline.store.schema import outputs, suppressions
from pipeline.store.suppressions import lift, suppress
from pipeline.store.unconfirmed import resolve_unknown

KINDS = ("task", "message", "handoff")


def listed(visit: DeskVisit) -> Response:
    client, status, kind = visit.chosen_client(), visit.asked("status"), visit.asked("kind")
    number = visit.page_number()
    query = visit.mine(outputs).order_by(outputs.c.created_at.desc(), outputs.c.output_id)
    if client:
        query = query.where(outputs.c.client_id == client.client_id)
    if status in queue.STATUSES:
        query = query.where(outputs.c.status == status)
    if kind in KINDS:
        query = query.where(outputs.c.output_type == kind)
    with visit.reading() as connection:
        rows = visit.all(connection, query.limit(PAGE_SIZE + 1).offset((number - 1) * PAGE_SIZE))
    for row in rows:
        row["says"] = json.loads(row["payload"])
    shown, more = visit.listed(rows, PAGE_SIZE)
    return visit.render(
        "outputs.html",
        rows=shown,
        more=more,
        number=number,
        client=client,
        status=status,
        kind=kind,
        statuses=queue.STATUSES,
        kinds=KINDS,
    )


def one(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        row = _output(visit, connection)
        happened = queue.history(connection, row["output_id"])
    return visit.render("output.html", row=row, says=json.loads(row["payload"]), happened=happened)


def acknowledge(visit: DeskVisit) -> Response:
    with visit.changing() as connection:
        row = _output(visit, connection)
        if take_up(connection, row["output_id"], visit.now, because=f"By {visit.account.email}."):
            audit.note(connection, visit.account.email, "output.acknowledged", row["output_id"], {}, visit.now)
    return visit.go("/" if visit.form.get("from") == "today" else _path(row), "taken-up")


def resolve(visit: DeskVisit) -> Response:
    """Say whether what nobody knows of arrived; what did not goes again."""
    with visit.reading() as connection:
        row = _output(visit, connection)
    sent = visit.form.get("arrived") == "yes"
    by = visit.account.email
    found = (row["provider_ref"] or f"seen by {by}") if sent else None
    if resolve_unknown(visit.desk.engine, row["output_id"], found, by, visit.now):
        with visit.changing() as connection:
            audit.note(connection, by, "output.resolved", row["output_id"], {"sent": sent}, visit.now)
    return visit.go(_path(row), "resolved")


def roll_back(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        row = _output(visit, connection)
    handoffs.roll_back(visit.desk.office, row["output_id"], by=visit.account.email, now=visit.now)
    return visit.go(_path(row), "rolled-back")


def opt_out(visit: DeskVisit) -> Response:
    """Decide on words that may have meant "stop". Whose they are stands in the form, never in the address."""
    client = visit.client(visit.part("client_id"))
    address, by = visit.form.get("address", ""), visit.account.email
    with visit.changing() as connection:
        named = {"client_id": client.client_id, "address": address, "channel": visit.form.get("channel", "")}
        row = visit.one(connection, suppressions, **named)
        if visit.form.get("decision") == "lift":
            lift(
                connection,
                client.client_id,
                address,
                row["channel"],
                by=by,
                evidence="words read at the desk",
                now=visit.now,
            )
        else:
            suppress(
                connection,
                client.client_id,
                address,
                row["channel"],
                cause="person",
                evidence=f"read by {by}",
                now=visit.now,
            )
        decided = "lifted" if visit.form.get("decision") == "lift" else "confirmed"
        audit.note(connection, by, f"opt_out.{decided}", client.client_id, {}, visit.now)
    return visit.go("/", "opt-out")


def _output(visit: DeskVisit, connection: object) -> Row:
    return visit.one(connection, outputs, output_id=visit.part("output_id"))  # type: ignore[arg-type]


def _path(row: Row) -> str:
    return f"/outputs/{row['output_id']}"


PAGES = (
    Page("/outputs", listed),
    Page("/outputs/{output_id}", one),
    Page("/outputs/{output_id}/take-up", acknowledge, "POST", "decide"),
    Page("/outputs/{output_id}/resolve", resolve, "POST", "decide"),
    Page("/outputs/{output_id}/roll-back", roll_back, "POST", "decide"),
    Page("/clients/{client_id}/opt-outs", opt_out, "POST", "decide"),
)
