"""A home with two clients, made by hand in a second: `ridgeline`, whose people see it, and `summit`, whose every row says CANARY.

The marts hold one row of each client in every table that the desk reads; the store holds one of everything that has an address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from pipeline.client_safe import review
from pipeline.client_safe.document import Content, Draft, Figure, Finding, Section, SourceState
from pipeline.desk.desk import desk_app
from pipeline.follow_up import rule_book, template_book
from pipeline.follow_up.shelves import DEFAULTS, SHIPPED_BY, read_shelf
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import sessions
from pipeline.store.accounts import EVERY_CLIENT, Account, add_account
from pipeline.store.engine import stamp
from pipeline.store.holds import Hold, open_hold
from pipeline.store.incidents import report
from pipeline.store.outputs import Output, enqueue
from pipeline.store.schema import call_summaries, holds, incidents, metadata, publications
from pipeline.store.schema import sessions as sessions_table
from pipeline.store.summaries import summary
from pipeline.store.suppressions import suppress
from pipeline.store.tenancy import Clients

MARTS = Path(__file__).parent / "desk_marts.sql"
MINE, OTHERS, CANARY = "ridgeline", "summit", "CANARY"
NAMES = {MINE: "Ridgeline Plumbing", OTHERS: f"{CANARY} Summit Roofing"}
PASSWORD = "a kettle on the roof"
ORIGIN = "https://desk.test"
BROWSER = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
RULE, TEMPLATE = "missed-call", "missed-call-text"
EVERY = Clients(None)

CLIENTS = """clients:
  - {client_id: ridgeline, name: Ridgeline Plumbing, timezone: America/Chicago, owner: dana@agency.example, connections: {}}
  - {client_id: summit, name: CANARY Summit Roofing, timezone: America/Denver, owner: CANARY@agency.example, connections: {}}
"""


@dataclass
class World:
    office: Office
    now: datetime
    ids: dict[str, dict[str, str]] = field(default_factory=dict)  # of each client, by the name that routes give them
    accounts: dict[str, Account] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = desk_app(self.office)

    def browser(self, who: str = "") -> TestClient:
        """A browser; signed in as `who`, e.g. "client_success" (of every client) or "analyst@ridgeline"."""
        client = TestClient(self.app, base_url=ORIGIN, headers=BROWSER, follow_redirects=False)
        if who:
            with self.office.engine.begin() as connection:
                token = sessions.start(connection, self.accounts[who], sessions.DESK, self.now)
            client.cookies.set("__Host-leadtrail-desk", token, domain="desk.test")
        return client

    def token(self, browser: TestClient) -> str:
        """What stands in the forms of this browser's session."""
        import hashlib

        kept = hashlib.sha256(browser.cookies["__Host-leadtrail-desk"].encode()).hexdigest()
        with self.office.engine.connect() as connection:
            query = select(sessions_table.c.csrf).where(sessions_table.c.token_hash == kept)
            return str(connection.execute(query).scalar_one())

    def post(self, browser: TestClient, path: str, **fields: str) -> Any:
        return browser.post(path, data={"csrf": self.token(browser), **fields})

    def everything(self) -> str:
        """All rows of the store."""
        with self.office.engine.connect() as connection:
            return json.dumps(
                {
                    table.name: [list(map(str, row)) for row in connection.execute(select(table))]
                    for table in metadata.sorted_tables
                    if table.name not in ("sessions",)
                }
            )


def make_world(
    home: Path,
    *,
    now: datetime | None = None,
    words: Mapping[str, str] | None = None,
    origin: str = ORIGIN,
    store_url: str = "",
) -> World:
    """`words`: what stands in fields that providers and people fill, of ridgeline's lead. `origin`: "" for a real browser on this
    machine. `store_url`: a store elsewhere than in the home."""
    now = now or datetime.now(UTC)
    home.mkdir(parents=True, exist_ok=True)
    (home / "clients.yaml").write_text(CLIENTS)
    elsewhere = {"LEADTRAIL_STORE_URL": store_url} if store_url else {}
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home), "LEADTRAIL_DESK_URL": origin, **elsewhere})
    world = World(Office(settings), now)
    _write_marts(settings, now, words or {})
    with world.office.engine.begin() as connection:
        for client_id in (MINE, OTHERS):
            world.ids[client_id] = _rows_of(connection, client_id, now, words or {} if client_id == MINE else {})
        _accounts(world, connection)
        _rules(world, connection)
    for client_id in (MINE, OTHERS):
        world.ids[client_id] |= _summaries(world, client_id)
    return world


def _accounts(world: World, connection: Any) -> None:
    for role in ("admin", "client_success", "analyst"):
        for client_id in (EVERY_CLIENT, MINE):
            if role == "admin" and client_id == MINE:
                continue
            who = role if client_id == EVERY_CLIENT else f"{role}@{client_id}"
            world.accounts[who] = add_account(
                connection,
                f"{who.replace('@', '-at-')}@agency.example",
                name=who,
                role=role,
                clients=[client_id],
                by="test",
                now=world.now,
                password=PASSWORD if client_id == EVERY_CLIENT else None,  # hashing takes long
            )

    # somebody of the other client's: theirs to disable by nobody but an admin
    world.accounts[f"client_success@{OTHERS}"] = add_account(
        connection, f"{CANARY.lower()}@agency.example", name=f"{CANARY} Cleo", role="client_success", clients=[OTHERS],
        by="test", now=world.now,
    )  # fmt: skip
    for client_id in (MINE, OTHERS):
        world.ids[client_id]["account_id"] = world.accounts[f"client_success@{client_id}"].account_id


def _mark(client_id: str, text: str) -> str:
    return f"{CANARY} {text}" if client_id == OTHERS else text


def _write_marts(settings: Settings, now: datetime, words: Mapping[str, str]) -> None:
    at = now.replace(tzinfo=None) - timedelta(days=2)
    with duckdb.connect(str(settings.analytics)) as connection:
        for schema in ("timeline", "follow_up", "attribution", "metrics", "seeds", "operations"):
            connection.execute(f"create schema {schema}")
        connection.execute(MARTS.read_text())

        def row(table: str, **values: Any) -> None:
            columns = ", ".join(values)
            connection.execute(
                f"insert into {table} ({columns}) values ({', '.join('?' * len(values))})", list(values.values())
            )

        row("seeds.event_types", event_type="call_missed", description="A customer called and nobody answered.")
        row(
            "metrics.metric_definitions",
            metric="missed_call_rate",
            unit="rate",
            better="down",
            is_headline=True,
            definition="Calls that nobody answered.",
        )
        for one in (MINE, OTHERS):
            mine = words if one == MINE else {}

            def said(text: str, mine: Mapping[str, str] = mine, one: str = one) -> str:
                return mine.get("any") or _mark(one, text)

            lead = {"client_id": one, "lead_id": f"lead-{one}"}
            row(
                "timeline.dim_leads",
                **lead,
                person_id=f"person-{one}",
                stage="contacted",
                opened_at=at,
                channel="google_paid",
                source=said("Google Ads"),
                campaign=said("Campaign"),
                service=said("Water heater"),
                urgency="normal",
                first_contact_method="call",
                text_consent="inquiry",
                owner=said("Nicole"),
                last_touch_at=at,
                next_action=said("Call them back"),
                next_action_owner=said("Nicole"),
                next_action_due_at=at,
                invoiced_cents=0,
                revenue_cents=0,
                currency="USD",
                lost_reason=said("Too dear"),
                as_of=at,
            )
            row("timeline.lead_aliases", client_id=one, alias_id=f"alias-{one}", lead_id=f"lead-{one}")
            row(
                "timeline.fct_lead_events",
                **lead,
                person_id=f"person-{one}",
                event_id=f"event-{one}",
                event_type="call_missed",
                occurred_at=at,
                known_at=at,
                received_at=at,
                event_number=1,
                direction="inbound",
                contact_method="call",
                actor="customer",
                staff=said("Nicole"),
                source=said("Google Ads"),
                medium=said("cpc"),
                campaign=said("Campaign"),
                text=said("My heater leaks"),
                is_minor=False,
                provider="callrail",
                stream="calls",
                record_id=f"CAL-{one}",
            )
            row(
                "timeline.record_identity",
                client_id=one,
                person_id=f"person-{one}",
                provider="callrail",
                stream="calls",
                record_id=f"CAL-{one}",
                because=said("the same phone"),
                first_known_at=at,
            )
            row(
                "follow_up.follow_up_contacts",
                **lead,
                person_id=f"person-{one}",
                phone="+15125550142",
                email=f"{one}@mail.example",
                given_name=said("Camila"),
                zip_code="78701",
            )
            row(
                "follow_up.fct_follow_up_steps",
                step_key=f"step-{one}",
                **lead,
                rule=RULE,
                rule_version="v",
                step_id="text",
                channel="text",
                template=TEMPLATE,
                due_at=at,
                expires_at=at,
                state="stopped",
                why=said("they called"),
                stop_reason="reply",
                stopped_by_event_id=f"event-{one}",
            )
            amounts = {"client_id": one, "channel": said("google_paid"), "currency": "USD"}
            row(
                "attribution.attribution_by_channel", **amounts, model="linear", booking_credit=1, revenue_cents=120_000
            )
            row(
                "attribution.attribution_range",
                **amounts,
                period="all",
                least_revenue_cents=100_000,
                most_revenue_cents=140_000,
                least_share_of_bookings=0.4,
                most_share_of_bookings=0.6,
            )
            row(
                "attribution.attribution_models",
                client_id=one,
                model="linear",
                is_shown=True,
                reason=said("A rule: it needs no minimum."),
            )
            row("attribution.cost_per_lead", **amounts, valid_leads=3, booked_jobs=1, cost_cents=9_000)
            row(
                "metrics.fct_metrics",
                client_id=one,
                month=at.date().replace(day=1),
                channel="all",
                metric="missed_call_rate",
                numerator=1,
                denominator=2,
                value=0.5,
                unit="rate",
                excluded=0,
            )
            row(
                "metrics.improvement",
                client_id=one,
                metric="missed_call_rate",
                unit="rate",
                verdict=said("too little data"),
                why_too_little=said("No month is alike."),
            )
            row(
                "operations.source_coverage",
                client_id=one,
                provider="callrail",
                stream="calls",
                records=1,
                rejected_records=0,
                first_occurred_at=at,
                last_occurred_at=at,
                last_received_at=at,
            )


def _rows_of(connection: Any, client_id: str, now: datetime, words: Mapping[str, str]) -> dict[str, str]:
    def said(text: str) -> str:
        return words.get("any") or _mark(client_id, text)

    def output(kind: str, channel: str, status: str) -> Output:
        return Output(
            idempotency_key=f"{kind}|{client_id}",
            output_type=kind,
            client_id=client_id,
            lead_id=f"lead-{client_id}",
            channel=channel,
            priority=0,
            owner=said("nicole@agency.example"),
            source="missed-call@v + event",
            recipient="+15125550142",
            payload={"subject": said("Call them back"), "body": said("They called and nobody answered.")},
            due_at=now,
            expires_at=now + timedelta(days=2),
            recovery_rule=said("Take it up."),
            rule=RULE,
            rule_version="v",
            template=TEMPLATE,
            template_version="v",
            trigger_event_id=f"event-{client_id}",
            respond_by=now + timedelta(minutes=15),
            status=status,
            reason=said("a reason"),
        )

    task, message = output("task", "desk_task", "pending"), output("message", "text", "unknown")
    enqueue(connection, [task, message], now)
    hold = Hold(client_id, "text", "compliance", said("Not registered."), said("dana@agency.example"), said("It ends."))
    open_hold(connection, hold, now)
    report(
        connection,
        "hold:text:compliance",
        client_id=client_id,
        title=said("text is on hold"),
        evidence=said("seen"),
        owner=said("dana@agency.example"),
        recovery_rule=said("Mend it."),
        now=now,
    )
    suppress(
        connection,
        client_id,
        f"{client_id}@stop.example",
        "email",
        cause="words",
        evidence=said("a mail"),
        now=now,
        in_review=True,
    )
    note = {"wants": said("A new heater"), "outcome": "quote wanted", "next_step": said("Call back")}
    connection.execute(
        insert(call_summaries),
        {
            "client_id": client_id,
            "event_id": f"event-{client_id}",
            "lead_id": f"lead-{client_id}",
            "person_id": f"person-{client_id}",
            "words": json.dumps(note),
            "model": "a-model",
            "made_at": stamp(now),
        },
    )
    one = connection.execute(select(holds.c.hold_id).where(holds.c.client_id == client_id)).scalar_one()
    broken = connection.execute(select(incidents.c.incident_id).where(incidents.c.client_id == client_id)).scalar_one()
    return {
        "client_id": client_id,
        "whose": client_id,
        "lead_id": f"lead-{client_id}",
        "event_id": f"event-{client_id}",
        "output_id": task.output_id,
        "unknown_id": message.output_id,
        "hold_id": one,
        "incident_id": broken,
        "figure_id": "f-calls",
        "rule": RULE,
        "template": TEMPLATE,
    }


def enqueue_many(world: World, client_id: str, count: int) -> None:
    """As many tasks more."""
    wanted = [
        Output(
            idempotency_key=f"many|{client_id}|{number}",
            output_type="task",
            client_id=client_id,
            lead_id=None,
            channel="desk_task",
            priority=1,
            owner="nicole@agency.example",
            source="test",
            recipient="",
            payload={"subject": f"Task {number}", "body": ""},
            due_at=world.now,
            expires_at=world.now + timedelta(days=1),
            recovery_rule="Take it up.",
        )
        for number in range(count)
    ]
    with world.office.engine.begin() as connection:
        enqueue(connection, wanted, world.now)


def _rules(world: World, connection: Any) -> None:
    """The shipped missed-call rule as the house's and as each client's own, with its words."""
    shelf = read_shelf(DEFAULTS)
    rule = next(one for one in shelf.rules.values() if one.trigger == "missed_call")
    names = [step.template for step in rule.steps]
    for client_id in ("", MINE, OTHERS):
        for name in names:
            template_book.add_template(
                connection,
                shelf.templates[name],
                client_id=client_id,
                by=SHIPPED_BY,
                now=world.now,
                note=_mark(client_id, ""),
            )
        rule_book.add_rule(
            connection, rule, client_id=client_id, by=SHIPPED_BY, now=world.now, note=_mark(client_id, "")
        )
    for client_id in (MINE, OTHERS):
        world.ids[client_id] |= {"rule": rule.rule, "template": names[0], "version": rule.version}


def _summaries(world: World, client_id: str) -> dict[str, str]:
    ids = {}
    for period in ("2026-09-01", "2026-10-01"):
        summary_id = review.propose(world.office.engine, a_draft(client_id, period), now=world.now)
        assert summary_id
        ids["summary_id"] = summary_id
        if period == "2026-09-01":
            by = review.Person("reviewer@agency.example", EVERY)
            with world.office.engine.connect() as connection:
                row = summary(connection, summary_id, EVERY)
            assert row
            review.approve(
                world.office.engine, summary_id, row["bound_hash"], by=by, now=world.now, undo=timedelta(seconds=-1)
            )
            [ids["publication_id"]] = review.publish_due(world.office.engine, now=world.now)
    with world.office.engine.connect() as connection:
        assert connection.execute(select(publications.c.publication_id)).all()
    return ids


def a_draft(client_id: str, period: str = "2026-10-01", *, findings: tuple[Finding, ...] = ()) -> Draft:
    until = f"{period[:8]}28T00:00:00+00:00"
    return Draft(
        client_id=client_id,
        kind="month",
        period_start=period,
        period_end=f"{period[:5]}{int(period[5:7]) + 1:02d}-01",
        content=Content(
            _mark(client_id, f"{period[:7]} in short"),
            "People called.",
            (Section("What came in", ("131 calls came in.",)),),
        ),
        figures=(Figure("f-calls", _mark(client_id, "Calls"), 131, "count", "131", "client_safe.safe_figures", until),),
        sources=(SourceState("Calls", "complete", until, "Complete."),),
        query_hash="q" * 64,
        snapshot_hash=period * 4,
        template_version="t1",
        redaction_version="r1",
        made_by="rule",
        author="leadtrail",
        findings=findings,
    )
