"""A change of a CRM contact's fields: what it would change is shown first, and only then it is queued."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import astuple

from starlette.responses import Response

from connectors.delivery import ContactUpdate
from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import BadForm
from pipeline.follow_up.handoffs import look, queue_handoff

ROWS = 6  # fields in one form
_CONTACT = re.compile(r"[0-9]{1,20}")  # both stand in an address at the CRM
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,99}")
LONGEST = 1_000


def ask(visit: DeskVisit) -> Response:
    return _page(visit, visit.asked("contact"), {}, None)


def plan(visit: DeskVisit) -> Response:
    """Show what would change; queue it if just that was seen and is wanted. A contact that changed in between is shown anew."""
    client = visit.client(visit.part("client_id"))
    contact = visit.form.get("contact", "").strip()
    values = _values(visit.form)
    if not _CONTACT.fullmatch(contact):
        raise BadForm("Write the contact's id in the CRM: the number at the end of its address there.")
    found = look(visit.desk.office, client.client_id, contact, values)
    if found.changes and visit.form.get("seen") == _seen(found):
        output_id = queue_handoff(visit.desk.office, client.client_id, found, by=visit.account.email, now=visit.now)
        return visit.go(f"/outputs/{output_id}", "handoff-planned")
    return _page(visit, contact, values, found)


def _page(visit: DeskVisit, contact: str, values: Mapping[str, str], found: ContactUpdate | None) -> Response:
    client = visit.client(visit.part("client_id"))
    rows = [*values.items(), *[("", "")] * ROWS][:ROWS]
    return visit.render(
        "handoff.html",
        client=client,
        contact=contact[:20],
        rows=rows,
        found=found,
        seen=_seen(found) if found else "",
        meanwhile=bool(found and visit.form.get("seen")),
    )


def _values(form: Mapping[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for number in range(ROWS):
        field, value = form.get(f"field-{number}", "").strip(), form.get(f"value-{number}", "").strip()
        if not field:
            continue
        if not _FIELD.fullmatch(field):
            raise BadForm(f"Field {number + 1} is no name of a CRM property: lower-case letters, digits and _.")
        if len(value) > LONGEST:
            raise BadForm(f"What field {number + 1} is to hold is too long; {LONGEST} characters at most.")
        values[field] = value
    if not values:
        raise BadForm("Name at least one field and what it is to hold.")
    return values


def _seen(found: ContactUpdate) -> str:
    """What a person was shown, so that only that is queued."""
    shown = json.dumps([found.contact_id, [astuple(change) for change in found.changes]])
    return hashlib.sha256(shown.encode()).hexdigest()


PAGES = (
    Page("/clients/{client_id}/handoff", ask, needs="decide"),
    Page("/clients/{client_id}/handoff", plan, "POST", "decide"),
)
