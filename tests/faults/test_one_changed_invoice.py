"""From QuickBooks to the portal: one invoice that changes there takes a published summary back for review; nothing else does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.sandbox.run import start_sandbox
from pipeline.client_safe import review
from pipeline.client_safe.round import make_round
from pipeline.office import Office
from pipeline.publishing import publish
from pipeline.store.schema import summaries
from pipeline.store.summaries import shown_to
from pipeline.store.tenancy import Clients
from pipeline.warehouse import build
from tests.faults.homes import Home

pytestmark = pytest.mark.soak
DAY = timedelta(days=1)


def brought_in(home: Home, office: Office) -> None:
    assert all(outcome.state == "ok" for outcome in home.sync().values())
    office.write_directory()
    build(home.settings)
    publish(home.settings)


def test_one_changed_invoice_takes_the_summary_back_and_the_same_data_do_not(tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sandbox = start_sandbox(seed=7, clients=1, months=4, leads_per_month=60, end=end)
    try:
        home = Home(sandbox, tmp_path / "home")
        office = Office(home.settings)
        sandbox.world.set_now(end + DAY)
        brought_in(home, office)
        now = sandbox.world.now()
        make_round(office, now=now)
        with office.engine.connect() as connection:
            month = connection.execute(select(summaries).where(summaries.c.kind == "month")).mappings().one()
        ann = review.Person("ann", Clients(None))
        review.approve(office.engine, month["summary_id"], month["bound_hash"], by=ann, now=now)
        make_round(office, now=now + review.UNDO)
        client = month["client_id"]

        def on_the_portal() -> dict[str, str]:
            with office.engine.connect() as connection:
                return {row["summary_id"]: row["status"] for row in shown_to(connection, client, limit=9)}

        assert on_the_portal() == {month["summary_id"]: "published"}

        sandbox.world.set_now(sandbox.world.now() + timedelta(hours=1))  # the same data, read again
        brought_in(home, office)
        make_round(office, now=sandbox.world.now())
        assert on_the_portal() == {month["summary_id"]: "published"}

        books = sandbox.providers["quickbooks"].books(client).shelves["Invoice"].rows
        invoices = {number: json.loads(row.body) for number, row in sorted(books.items()) if not row.deleted}
        # in the middle of the month: of its first and last days fewer people may be known than can be told of
        middle = (month["period_start"][:8] + "10", month["period_start"][:8] + "20")
        number, invoice = next(one for one in invoices.items() if middle[0] <= one[1]["TxnDate"] < middle[1])
        more = invoice["TotalAmt"] + 400
        sandbox.providers["quickbooks"].mutate(client, "Invoice", number, TotalAmt=more, Balance=400)
        sandbox.world.set_now(sandbox.world.now() + timedelta(hours=1))
        brought_in(home, office)
        made = make_round(office, now=sandbox.world.now())
        assert made.voided == [month["summary_id"]]
        assert on_the_portal() == {month["summary_id"]: "in_re_review"}
    finally:
        sandbox.stop()
