"""Leads, and the timeline of one: every event with the record it came from, and everything we sent, or did not send and why.

A search is a form that is posted: a name or a number in an address would end up in logs and histories.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from pipeline.client_safe.call_summaries import summaries_of_lead
from pipeline.desk.records import versions
from pipeline.desk.seen import DeskVisit, Page, Row
from pipeline.desk.visits import PAGE_SIZE, NotFound
from pipeline.store.schema import outputs

STAGES = ("new", "contacted", "quoted", "booked", "completed", "won", "lost")

LIST = """
select
    lead.client_id, lead.lead_id, lead.stage, lead.opened_at, lead.channel, lead.service, lead.urgency, lead.last_touch_at,
    lead.next_action, lead.next_action_owner, lead.next_action_due_at, lead.revenue_cents, lead.value_estimate_cents,
    lead.currency, lead.first_human_response_at, lead.human_response_seconds, contact.given_name, contact.phone, contact.email
from @timeline.dim_leads as lead
left join @follow_up.follow_up_contacts as contact
    on contact.client_id = lead.client_id and contact.lead_id = lead.lead_id
where ($client = '' or lead.client_id = $client)
    and ($stage = '' or lead.stage = $stage)
    and (
        $words = ''
        or contains(lower(coalesce(contact.given_name, '')), $words)
        or contains(lower(coalesce(contact.email, '')), $words)
        or ($digits <> '' and contains(coalesce(contact.phone, ''), $digits))
        or lead.lead_id = $words
    )
order by lead.last_touch_at desc nulls last, lead.lead_id
limit $size offset $start
"""


def leads(visit: DeskVisit) -> Response:
    client, stage = visit.chosen_client(), visit.asked("stage") or visit.form.get("stage", "")
    words = visit.form.get("words", "").strip().lower()[:100]
    digits = re.sub(r"\D", "", words)
    number = visit.page_number()
    rows = visit.mart(
        LIST,
        client=client.client_id if client else "",
        stage=stage if stage in STAGES else "",
        words=words,
        digits=digits if len(digits) >= 4 else "",
        size=PAGE_SIZE + 1,
        start=(number - 1) * PAGE_SIZE,
    )
    shown, more = visit.listed(rows, PAGE_SIZE)
    return visit.render(
        "leads.html", rows=shown, more=more, number=number, client=client, stage=stage, stages=STAGES, words=words
    )


def lead(visit: DeskVisit) -> Response:
    client, found = _lead(visit)
    who = dict(client=client.client_id, lead=found["lead_id"])
    contact = next(
        iter(visit.mart("from @follow_up.follow_up_contacts where client_id = $client and lead_id = $lead", **who)),
        None,
    )
    events = visit.mart(
        "select event.*, type.description from @timeline.fct_lead_events as event left join @seeds.event_types as type "
        "using (event_type) where event.client_id = $client and event.lead_id = $lead order by occurred_at, event_number",
        **who,
    )
    steps = visit.mart(
        "select rule, rule_version, step_id, channel, template, due_at, expires_at, state, why, stop_reason, stopped_at, "
        "stopped_by_event_id, trigger_event_id, triggered_at from @follow_up.fct_follow_up_steps "
        "where client_id = $client and lead_id = $lead order by due_at, rule, step_id",
        **who,
    )
    for row in steps:
        if row["state"] == "due" and row["due_at"].replace(tzinfo=UTC) > visit.now:
            row["state"] = "planned"  # unless something stops it until then
    names = visit.mart(
        "select alias_id from @timeline.lead_aliases where client_id = $client and lead_id = $lead", **who
    )
    ids = sorted({found["lead_id"], *(row["alias_id"] for row in names)})
    with visit.reading() as connection:
        query = visit.mine(outputs).where(outputs.c.client_id == client.client_id, outputs.c.lead_id.in_(ids))
        sent = visit.all(connection, query.order_by(outputs.c.created_at, outputs.c.output_id))
        notes = {note["event_id"]: note for one in ids for note in summaries_of_lead(connection, client.client_id, one)}
    for row in sent:
        row["says"] = json.loads(row["payload"])
    why = visit.mart(
        "select provider, stream, record_id, because from @timeline.record_identity where client_id = $client and "
        "person_id = $person order by first_known_at limit 40",
        client=client.client_id,
        person=found["person_id"],
    )
    return visit.render(
        "lead.html",
        client=client,
        lead=found,
        contact=contact,
        timeline=_in_order(events, sent),
        steps=steps,
        sent=sent,
        because=why,
        notes=notes,
    )


def event(visit: DeskVisit) -> Response:
    """One event, and the raw record it was read from in every version that came."""
    client, found = _lead(visit)
    rows = visit.mart(
        "select event.*, type.description from @timeline.fct_lead_events as event left join @seeds.event_types as type "
        "using (event_type) where event.client_id = $client and event.lead_id = $lead and event.event_id = $event",
        client=client.client_id,
        lead=found["lead_id"],
        event=visit.part("event_id"),
    )
    if not rows:
        raise NotFound
    one = rows[0]
    raw = versions(visit, client.client_id, one["provider"], one["stream"], one["record_id"])
    return visit.render("event.html", client=client, lead=found, event=one, versions=raw)


def _lead(visit: DeskVisit) -> tuple[Any, Row]:
    """The client and the lead of the address; of a lead that was merged, the one it is part of now."""
    client = visit.client(visit.part("client_id"))
    rows = visit.mart(
        "select lead.* from @timeline.dim_leads as lead where lead.client_id = $client and lead.lead_id in (select $lead union "
        "all select lead_id from @timeline.lead_aliases where client_id = $client and alias_id = $lead) limit 1",
        client=client.client_id,
        lead=visit.part("lead_id"),
    )
    if not rows:
        raise NotFound
    return client, rows[0]


def _in_order(events: list[Row], sent: list[Row]) -> list[Row]:
    """Events and our own outputs on one line of time."""
    mixed = [{"at": one["occurred_at"], "event": one, "output": None} for one in events]
    mixed += [
        {"at": datetime.fromisoformat(one["first_sent_at"] or one["created_at"]), "event": None, "output": one}
        for one in sent
    ]
    return sorted(mixed, key=lambda one: one["at"])


PAGES = (
    Page("/leads", leads),
    Page("/leads", leads, "POST", "read"),
    Page("/leads/{client_id}/{lead_id}", lead),
    Page("/leads/{client_id}/{lead_id}/events/{event_id}", event),
)
