"""Handoffs: fields of a CRM contact that we change, so that it can be seen before, and taken back after.

The plan is queued like any output. It holds each field as it was and as it shall be, so it is the dry run, the order and the
before-image in one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connectors.delivery import ContactUpdate, Diff, RolledBack
from connectors.hubspot.deliver import HubSpotDeliverer
from pipeline.follow_up.look_up import NoSuchOutput, find_output
from pipeline.follow_up.messages import message_of, update_of
from pipeline.follow_up.tasks import OWNER
from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.outputs import Output, enqueue, note

if TYPE_CHECKING:
    from pipeline.office import Office

STANDS = timedelta(days=1)  # a plan that could not be carried out for a day is made anew


def plan_handoff(
    office: Office, client_id: str, contact_id: str, values: Mapping[str, str], *, by: str, now: datetime
) -> str | None:
    """Queue the change that gives the contact these values, with the before-image. None: it has them already."""
    planned = look(office, client_id, contact_id, values)
    return queue_handoff(office, client_id, planned, by=by, now=now) if planned.changes else None


def look(office: Office, client_id: str, contact_id: str, values: Mapping[str, str]) -> ContactUpdate:
    """What giving the contact these values would change, by reading it now. Queues nothing."""
    return _hubspot(office, client_id).handoff.plan("plan", contact_id, values)


def queue_handoff(office: Office, client_id: str, update: ContactUpdate, *, by: str, now: datetime) -> str:
    """Queue a change as it was looked at. What people change in it until it is delivered stays as they made it."""
    contact_id = update.contact_id
    changes = [{"field": one.field, "before": one.before, "after": one.after} for one in update.changes]
    output = Output(
        idempotency_key=f"handoff|{client_id}|{contact_id}|{stamp(now)}",
        output_type="handoff",
        client_id=client_id,
        lead_id=None,
        channel="crm_update",
        priority=OWNER,
        owner=by,
        source=f"asked for by {by}",
        recipient=contact_id,
        payload={"contact_id": contact_id, "changes": changes, "message_class": "internal", "subject": "", "body": ""},
        due_at=now,
        expires_at=now + STANDS,
        recovery_rule="leadtrail handoff rollback takes it back where nobody changed the contact since.",
    )
    with office.engine.begin() as connection:
        enqueue(connection, [output], now)
        fields = [one.field for one in update.changes]
        audit.note(connection, by, "handoff.planned", output.output_id, {"fields": fields}, now)
    return output.output_id


def diff(office: Office, output_id: str) -> Diff:
    """What delivering this output would do at its provider now, field by field. Changes nothing."""
    row = find_output(office, output_id)
    client = next(one for one in office.clients() if one.client_id == row["client_id"])
    carriers = {"text": "twilio", "email": "smtp", "desk_task": ""}
    provider = carriers.get(row["channel"], "hubspot")
    if not provider:
        return Diff("leadtrail", "nothing", "a task on the desk")
    connector = office.connector(row["client_id"], provider)
    message = message_of(row, json.loads(row["payload"]), connector=connector, client=client, settings=office.settings)
    return connector.deliverer().preview(message)


def roll_back(office: Office, output_id: str, *, by: str, now: datetime) -> RolledBack:
    """Make the fields as they were, but for those people changed since. Raises NoSuchOutput for what was not handed over."""
    row = find_output(office, output_id)
    if row["channel"] != "crm_update" or row["status"] not in ("delivered", "unknown"):
        raise NoSuchOutput(
            f"Output {row['output_id'][:12]} is a {row['channel'].replace('_', ' ')} that is {row['status']}; only a handoff "
            "that was delivered can be rolled back."
        )
    back = _hubspot(office, row["client_id"]).handoff.rollback(update_of(row, json.loads(row["payload"])))
    said = {"restored": back.restored, "already": back.already, "skipped": back.skipped}
    with office.engine.begin() as connection:
        detail = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in said.items() if fields)
        note(connection, row, "rolled back", "", f"by {by}; {detail}", now)
        audit.note(connection, by, "handoff.rolled_back", row["output_id"], said, now)
    return back


def _hubspot(office: Office, client_id: str) -> HubSpotDeliverer:
    deliverer = office.connector(client_id, "hubspot").deliverer()
    assert isinstance(deliverer, HubSpotDeliverer)  # noqa: S101  (its connector makes nothing else)
    return deliverer
