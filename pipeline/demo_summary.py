"""The demo's first published summary: written from the town's figures, approved by a named demo account, put up at once."""

from __future__ import annotations

from datetime import datetime, timedelta

from pipeline.client_safe import review
from pipeline.client_safe.round import Round, make_round, publish_approved
from pipeline.demo_rules import APPROVER
from pipeline.office import Office
from pipeline.store import summaries


def publish_a_summary(office: Office, *, now: datetime) -> str | None:
    """Write what is due and approve the last month of one client. Returns the client, or None if there is nothing to approve.
    The others wait on the desk for whoever tries it. A home that has a publication keeps what it has."""
    make_round(office, now=now)
    with office.engine.connect() as connection:
        if there := summaries.publications_of(connection, review.EVERY, limit=1):
            return str(there[0]["client_id"])
        waiting = summaries.listed(connection, review.EVERY, statuses=["in_review"], limit=200)
    chosen = min(waiting, key=lambda row: (row["kind"] != "month", row["client_id"]), default=None)
    if chosen is None:
        return None
    by = review.Person(APPROVER, review.EVERY)
    review.approve(office.engine, chosen["summary_id"], chosen["bound_hash"], by=by, now=now, undo=timedelta(0))
    publish_approved(office, Round(), now=now)
    return str(chosen["client_id"])
