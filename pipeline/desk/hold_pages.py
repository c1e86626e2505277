"""Holds and incidents: why work is paused, what that holds back, whose it is, how it ends; ending it, and opening one by hand."""

from __future__ import annotations

import json
from collections import Counter

from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import PAGE_SIZE, BadForm
from pipeline.follow_up.detect import open_by_hand
from pipeline.follow_up.holding import scopes_of
from pipeline.follow_up.release import PER_HOUR, held_by, plan_release, release, triage_key
from pipeline.store.holds import CAUSES, Hold
from pipeline.store.incidents import resolve
from pipeline.store.schema import holds, incidents, outputs

MOST = 100  # outputs of a hold that are shown one by one


def listed(visit: DeskVisit) -> Response:
    client, number = visit.chosen_client(), visit.page_number()
    standing = visit.mine(holds).where(holds.c.open_key.is_not(None)).order_by(holds.c.opened_at, holds.c.hold_id)
    ended = visit.mine(holds).where(holds.c.open_key.is_(None)).order_by(holds.c.cleared_at.desc(), holds.c.hold_id)
    broken = visit.mine(incidents).where(incidents.c.open_key.is_not(None)).order_by(incidents.c.opened_at.desc())
    mended = visit.mine(incidents).where(incidents.c.open_key.is_(None)).order_by(incidents.c.resolved_at.desc())
    if client:
        standing, ended = (one.where(holds.c.client_id == client.client_id) for one in (standing, ended))
        broken, mended = (one.where(incidents.c.client_id == client.client_id) for one in (broken, mended))
    with visit.reading() as connection:
        open_now = visit.all(connection, standing)
        for hold in open_now:
            hold["holds_back"] = len(held_by(connection, hold))
        over = visit.all(connection, ended.limit(PAGE_SIZE + 1).offset((number - 1) * PAGE_SIZE))
        problems, solved = visit.all(connection, broken), visit.all(connection, mended.limit(20))
    shown, more = visit.listed(over, PAGE_SIZE)
    return visit.render(
        "holds.html",
        standing=open_now,
        ended=shown,
        more=more,
        number=number,
        broken=problems,
        mended=solved,
        client=client,
    )


def hold(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        one = visit.one(connection, holds, hold_id=visit.part("hold_id"))
        held = list(held_by(connection, one)) if one["open_key"] else []
        plan = plan_release(connection, one, visit.now) if one["open_key"] else None
        key = triage_key(one["client_id"], one["hold_id"])
        triage = visit.all(connection, visit.mine(outputs).where(outputs.c.idempotency_key == key))
    kinds = sorted(Counter((row["channel"], row["rule"]) for row in held).items())
    left = json.loads(triage[0]["payload"])["left_over"] if triage else []
    return visit.render(
        "hold.html",
        hold=one,
        held=held[:MOST],
        count=len(held),
        kinds=kinds,
        plan=plan,
        per_hour=PER_HOUR,
        triage=triage,
        left=left,
    )


def ask_to_open(visit: DeskVisit) -> Response:
    client = visit.client(visit.part("client_id"))
    return visit.render("hold_open.html", client=client, causes=CAUSES, scopes=scopes_of(client))


def open_one(visit: DeskVisit) -> Response:
    client, by = visit.client(visit.part("client_id")), visit.account.email
    cause = next((one for one in CAUSES if one == visit.form.get("cause")), None)
    scope = visit.form.get("scope", "")
    if cause is None or scope not in scopes_of(client):
        raise BadForm("Choose what is uncertain and what is to wait for it, from the lists.")
    why = _said(visit, "Say what you saw: whoever looks later needs to know.")
    owner = visit.form.get("owner", "").strip()[:200] or client.owner
    resumes = visit.form.get("resumes", "").strip()[:500]
    if not resumes:
        raise BadForm("Say how it resumes: what has to be so, and who sees to it.")
    wanted = Hold(client.client_id, scope, cause, why, owner, resumes)
    with visit.changing() as connection:
        opened = open_by_hand(connection, wanted, by=by, now=visit.now)
        standing = visit.one(connection, holds, open_key=wanted.open_key)
    return visit.go(f"/holds/{standing['hold_id']}", "hold-opened" if opened else "hold-stood")


def clear(visit: DeskVisit) -> Response:
    note = _said(visit, "Say why it may end: whoever looks later needs to know.")
    with visit.changing() as connection:
        one = visit.one(connection, holds, hold_id=visit.part("hold_id"))
        if one["open_key"]:
            release(connection, one, visit.now, by=visit.account.email, note=note)
    return visit.go(f"/holds/{one['hold_id']}", "hold-cleared")


def incident(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        one = visit.one(connection, incidents, incident_id=visit.part("incident_id"))
    return visit.render("incident.html", incident=one)


def mend(visit: DeskVisit) -> Response:
    with visit.changing() as connection:
        one = visit.one(connection, incidents, incident_id=visit.part("incident_id"))
        if one["open_key"]:
            client_id, _, cause = one["open_key"].partition("|")
            resolve(connection, cause, visit.now, client_id=client_id, by=visit.account.email)
    return visit.go(f"/incidents/{one['incident_id']}", "incident-resolved")


def _said(visit: DeskVisit, otherwise: str) -> str:
    words = visit.form.get("why", "").strip()
    if not words:
        raise BadForm(otherwise)
    return words[:500]


PAGES = (
    Page("/holds", listed),
    Page("/clients/{client_id}/hold", ask_to_open, needs="decide"),
    Page("/clients/{client_id}/hold", open_one, "POST", "decide"),
    Page("/holds/{hold_id}", hold),
    Page("/holds/{hold_id}/clear", clear, "POST", "decide"),
    Page("/incidents/{incident_id}", incident),
    Page("/incidents/{incident_id}/resolve", mend, "POST", "decide"),
)
