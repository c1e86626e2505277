"""Killed at random on the way from webhook to delivery: what was due is delivered once, and nothing goes out beside the rules.

A seeded dice says when the process dies; every death is a SIGKILL of the whole way (sync, build, publish, emit, deliver,
outcomes). The oracle is the sandbox's ledger of every write that it accepted.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from sqlalchemy import select

from connectors.base import WebhookRequest
from connectors.forms import sign
from connectors.sandbox.run import RunningSandbox, start_sandbox
from pipeline.follow_up.rule_book import Version, add_rule, enable, note_replay
from pipeline.follow_up.rule_file import read_rules
from pipeline.follow_up.template_book import add_template, approve
from pipeline.follow_up.template_file import read_templates
from pipeline.store.inbox import Event, store_events
from pipeline.store.schema import outputs
from tests.faults.homes import ROOT, Home
from tests.todays_town import TODAY, small_town

SHIPPED = ROOT / "pipeline" / "follow_up" / "defaults"
RULES = ("form-acknowledgement", "urgent-owner-task", "no-response")
EMERGENCY, WISH = "A pipe burst, water everywhere!", "Thinking of a new water heater"
BETWEEN = timedelta(minutes=7)
# where a life may end, and how long after its beginning at most; where things are sent comes more often
PHASES = [
    ("sync", 2.0),
    ("build", 8.0),
    ("publish", 0.5),
    ("emit", 0.5),
    ("deliver", 0.4),
    ("deliver", 1.0),
    ("outcomes", 0.2),
]


def working_hours() -> datetime:
    """Noon in Denver on the next Tuesday."""
    days = (1 - TODAY.weekday()) % 7 or 7
    return datetime.combine(TODAY.date() + timedelta(days=days), time(19, 0), tzinfo=UTC)


@dataclass
class Life:
    """One home that lives through many deaths."""

    home: Home
    now: datetime
    forms: dict[str, tuple[datetime, bool]] = field(default_factory=dict)  # phone -> (sent, urgent)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.process = self.home.process("tests/faults/mortal.py")
        self.client = self.home.office.clients()[0].client_id

    def live(self, die: tuple[str, float] | None = None) -> None:
        self.home.sandbox.world.set_now(self.now)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"now": self.now.isoformat(), "die": die}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line.startswith("{"), line + self.process.stdout.read()
        said: dict[str, Any] = json.loads(line)
        assert said["code"] in (0, -9 if die else 0), said["said"]
        self.deaths += said["code"] == -9
        self.now += BETWEEN

    def send_form(self, *, urgent: bool) -> None:
        """A signed form, taken in as the intake does: acknowledged once it is stored."""
        phone = f"+1303555{1000 + len(self.forms)}"
        body = json.dumps(
            {
                "submission_id": phone,
                "name": f"Ana {phone[-4:]}",
                "phone": phone,
                "message": EMERGENCY if urgent else WISH,
                "submitted_at": self.now.isoformat(),
                "consent": "yes",
            }
        ).encode()
        secret = self.home.sandbox.providers["forms"].world.secret("forms", self.client)
        headers = {"content-type": "application/json", "x-leadtrail-signature": sign(secret, body)}
        request = WebhookRequest(
            url=f"http://127.0.0.1/webhooks/{self.client}/forms", headers=headers, body=body, received_at=self.now
        )
        connector = self.home.office.connector(self.client, "forms")
        accepted = connector.accept(request)
        store_events(self.home.engine, [Event(self.client, "forms", accepted.dedupe_key, connector.kept(request))])
        self.forms[phone] = (self.now, urgent)

    def queue(self) -> list[Mapping[str, Any]]:
        with self.home.engine.connect() as connection:
            return list(connection.execute(select(outputs)).mappings())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


def enabled_rules(home: Home, now: datetime) -> None:
    rules, templates = read_rules(SHIPPED / "rules"), read_templates(SHIPPED / "templates")
    with home.engine.begin() as connection:
        for name in RULES:
            for step in rules[name].steps:
                if add_template(connection, templates[step.template], client_id="", by="leadtrail", now=now):
                    version = templates[step.template].version
                    approve(connection, "", step.template, version, by="dana", note="", now=now)
            add_rule(connection, rules[name], client_id="", by="leadtrail", now=now)
            version = Version("", name, rules[name].version)
            note_replay(connection, version, from_at=now, to_at=now, by="dana", summary={}, now=now)
            enable(connection, version, by="dana", note="", now=now)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(**small_town(clients=1, months=1, leads_per_month=15))
    yield running
    running.stop()


def born(sandbox: RunningSandbox, folder: Path, now: datetime) -> Life:
    """A home with the town's history, three enabled rules, and nothing due yet."""
    clients = yaml.safe_load(Path(sandbox.env["LEADTRAIL_CLIENTS_FILE"]).read_text())
    for client in clients["clients"]:
        client["follow_up"] = {**client.get("follow_up", {}), "texting": "approved", "postal_address": "1 Main St"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clients.yaml").write_text(yaml.safe_dump(clients))
    home = Home(sandbox, folder, environ={"LEADTRAIL_CLIENTS_FILE": str(folder / "clients.yaml")})
    enabled_rules(home, now - timedelta(hours=1))
    return Life(home, now)


def live_through(life: Life, deaths: int, seed: int) -> None:
    dice = random.Random(seed)
    life.live()
    life.home.sandbox.world.ledger.clear()
    while life.deaths < deaths:
        for _ in range(dice.choice([0, 0, 1, 2])):
            life.send_form(urgent=len(life.forms) % 3 == 0)
        phase, longest = dice.choice(PHASES)
        life.live(die=(phase, dice.uniform(0, longest)))
    for _ in range(4):  # leases of the dead run out
        life.live()


def check(life: Life) -> None:
    with duckdb.connect(str(life.home.settings.analytics.resolve()), read_only=True) as published:
        asked = "select step_key, state, due_at from follow_up.fct_follow_up_steps"
        steps = {key: (state, at.replace(tzinfo=UTC)) for key, state, at in published.execute(asked).fetchall()}
    rows, ledger = life.queue(), life.home.sandbox.world.ledger
    of_steps = [
        row for row in rows if row["idempotency_key"] in steps
    ]  # the others escalate these, or tell of refusals
    open_ones = [row for row in rows if row["status"] not in ("delivered", "expired", "cancelled")]
    assert all(row["due_at"] > life.now.isoformat() for row in open_ones), [
        (row["rule"], row["step_id"], row["channel"], row["status"], row["reason"]) for row in open_ones
    ]

    # nothing twice, and what we think is what they have
    tasks = [one["body"] for one in ledger if (one["provider"], one["kind"]) == ("hubspot", "task")]
    texts = [one["body"] for one in ledger if one["provider"] == "twilio"]
    done = Counter(row["channel"] for row in rows if row["status"] == "delivered")
    assert (len(tasks), len(texts)) == (done["crm_task"], done["text"])
    assert max(Counter(text["To"] for text in texts).values(), default=0) <= 1

    # nothing lost: each form has its owner's call, at once if it is urgent
    calls = [row for row in of_steps if row["step_id"] == "call" and row["status"] == "delivered"]
    by_rule = Counter(row["rule"] for row in calls)
    assert by_rule["form-acknowledgement"] == len(life.forms)
    assert by_rule["urgent-owner-task"] == sum(urgent for _, urgent in life.forms.values())

    # nothing beside the rules: all that was due was asked for, nothing else, and each in its time
    due = {key for key, (state, at) in steps.items() if state == "due" and at <= life.now - 2 * BETWEEN}
    assert due <= {row["idempotency_key"] for row in of_steps}
    for row in of_steps:
        if row["first_sent_at"]:
            assert row["due_at"] <= row["first_sent_at"] < row["expires_at"]


def test_twenty_random_deaths_lose_nothing_and_repeat_nothing(sandbox: RunningSandbox, tmp_path: Path) -> None:
    life = born(sandbox, tmp_path, working_hours())
    try:
        live_through(life, deaths=20, seed=7)
        check(life)
    finally:
        life.close()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_three_hundred_random_deaths_lose_nothing_and_repeat_nothing(
    sandbox: RunningSandbox, tmp_path: Path, seed: int
) -> None:
    life = born(sandbox, tmp_path, working_hours())
    try:
        live_through(life, deaths=100, seed=seed)
        check(life)
    finally:
        life.close()
