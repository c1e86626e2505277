"""A home whose warehouse is published by hand: a few steps, contacts and events, for tests of what happens to them afterwards."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy import Engine, insert, select

from pipeline.follow_up.template_book import add_template, approve
from pipeline.follow_up.template_file import Template
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.engine import stamp
from pipeline.store.outputs import history
from pipeline.store.schema import outputs, rule_states

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)  # a Monday, 11:00 in Chicago
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
RIDGE = "ridgeline"
PHONE, EMAIL = "+15125550142", "ana@home.example"

TABLES = {
    "follow_up.fct_follow_up_steps": """
        step_key text, client_id text, rule text, rule_version text, step_id text, step_number bigint, subject text, lead_id text,
        person_id text, trigger text, trigger_event_id text, triggered_at timestamp, known_at timestamp, due_at timestamp,
        expires_at timestamp, channel text, template text, template_version text, owner_role text, priority text,
        respond_within_seconds bigint, escalations text, state text, stopped_by_event_id text, stop_reason text,
        stopped_at timestamp,
        why text, former_step_keys text, as_of timestamp""",
    "follow_up.follow_up_contacts": """
        client_id text, lead_id text, person_id text, phone text, email text, given_name text, zip_code text, crm_contact_id text,
        crm_deal_id text, crm_owner_id text, owner_email text, service text, channel text, amount_cents bigint, currency text,
        opened_at timestamp, consent_kind text, consent_at timestamp, consent_source text, last_inquiry_at timestamp,
        last_purchase_at timestamp, last_call_at timestamp, last_text_at timestamp, last_email_at timestamp,
        last_form_at timestamp,
        email_bounced_at timestamp, quote_valid_until date""",
    "timeline.lead_aliases": "client_id text, alias_id text, lead_id text",
    "timeline.fct_lead_events": """
        client_id text, lead_id text, person_id text, event_id text, event_type text, occurred_at timestamp,
        received_at timestamp,
        direction text, contact_method text, actor text, reference text, detail text, text text, record_uid text,
        provider text, stream text, record_id text""",
    "timeline.record_identifiers": "client_id text, record_uid text, identifier text",
    "staging.stg_hubspot__tasks": "client_id text, task_id text, is_completed boolean",
    "seeds.holidays": "client_id text, day text, name text",
}  # fmt: skip
CLIENTS = """
clients:
  - client_id: ridgeline
    name: Ridgeline Plumbing
    timezone: America/Chicago
    owner: dana@agency.example
    follow_up:
      texting: {texting}
      postal_address: 12 Main St, Austin, TX 78701
      backup_owner: lee@ridge.example
      agency_owner: boss@agency.example
      outputs_per_emission: {most}
    connections: {connections}
  - client_id: other
    name: Other Roofing
    timezone: America/Chicago
    owner: dana@agency.example
    connections: {{}}
"""
TEXT = Template(
    "hello", "text", "informational", "",
    "Hi{% if given_name != '' %} {{ given_name }}{% endif %}, this is {{ business }}. {{ opt_out }}",
)  # fmt: skip
MAIL = Template(
    "mail", "email", "informational", "Hello", "Hello.\n{{ business }}\n{{ postal_address }}\n{{ unsubscribe_link }}"
)
CALL = Template(
    "call-back", "crm_task", "internal", "Call back {{ given_name | default: 'them' }}", "{{ what_happened }}"
)


@dataclass
class FollowUp:
    """The home, and what is published in it. `publish` writes all of it anew, as the next publication."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in TABLES})
    _numbers: Any = field(default_factory=lambda: count(1))

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_env({"LEADTRAIL_HOME": str(self.path), **self.environ})

    @cached_property
    def office(self) -> Office:
        return Office(self.settings)

    @property
    def engine(self) -> Engine:
        return self.office.engine

    def write_clients(self, *, texting: str = "approved", most: int = 200, connections: str | None = None) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        given = connections if connections is not None else (
            '{twilio: {account_sid: AC1, auth_token: "${T}", sms_numbers: ["+15125550100"]}, hubspot: {access_token: "${T}"}, '
            "smtp: {host: localhost, from_address: office@ridge.example}}"
        )  # fmt: skip
        (self.path / "clients.yaml").write_text(CLIENTS.format(texting=texting, most=most, connections=given))

    def approve_templates(self, *templates: Template) -> None:
        with self.engine.begin() as connection:
            for one in templates or (TEXT, MAIL, CALL):
                add_template(connection, one, client_id="", by="ana", now=NOW - DAY)
                approve(connection, "", one.name, one.version, by="ben", note="", now=NOW - DAY)

    def enable(self, rule: str, state: str = "enabled", *, at: datetime = NOW - DAY) -> None:
        row = {"client_id": "", "rule": rule, "version": "1", "state": state, "at": stamp(at), "by": "ana", "note": ""}
        with self.engine.begin() as connection:
            connection.execute(insert(rule_states), row)

    # ---- what is published ----

    def contact(self, lead_id: str = "lead-1", **given: Any) -> None:
        row = {
            "client_id": RIDGE, "lead_id": lead_id, "person_id": f"person of {lead_id}", "phone": PHONE, "email": EMAIL,
            "given_name": "Ana", "zip_code": "78701", "crm_contact_id": "", "opened_at": NOW - HOUR, "consent_kind": "express",
            "consent_at": NOW - HOUR, "consent_source": "form", "last_inquiry_at": NOW - HOUR,
        }  # fmt: skip
        self.rows["follow_up.follow_up_contacts"][lead_id] = row | given
        self.alias(lead_id, str((row | given)["lead_id"]))

    def alias(self, alias_id: str, lead_id: str) -> None:
        self.rows["timeline.lead_aliases"][alias_id] = {"client_id": RIDGE, "alias_id": alias_id, "lead_id": lead_id}

    def step(self, key: str = "step-1", **given: Any) -> None:
        row = {
            "step_key": key, "client_id": RIDGE, "rule": "hello", "rule_version": "1", "step_id": "text", "lead_id": "lead-1",
            "trigger": "form_received", "trigger_event_id": "event-1", "triggered_at": NOW - MINUTE, "known_at": NOW - MINUTE,
            "due_at": NOW, "expires_at": NOW + 4 * HOUR, "channel": "text", "template": "hello", "template_version": TEXT.version,
            "owner_role": "lead_owner", "priority": "answer", "escalations": "[]", "state": "due",
            "why": "A visitor sent a form.",
            "former_step_keys": "",
        }  # fmt: skip
        self.rows["follow_up.fct_follow_up_steps"][key] = row | given

    def task(self, key: str = "task-1", **given: Any) -> None:
        row = {"channel": "crm_task", "template": "call-back", "template_version": CALL.version, "priority": "owner"}
        escalate = {"respond_within_seconds": 900, "escalations": json.dumps(given.pop("escalate", []))}
        self.step(key, **{**row, **escalate, "step_id": "call", "expires_at": NOW + DAY, **given})

    def event(self, event_type: str, *, lead_id: str | None = "lead-1", at: datetime = NOW, **given: Any) -> None:
        number = next(self._numbers)
        row = {
            "client_id": RIDGE, "lead_id": lead_id, "event_id": f"said-{number}", "event_type": event_type, "occurred_at": at,
            "received_at": at, "record_uid": f"record-{number}",
        }  # fmt: skip
        identifier = given.pop("identifier", None)
        self.rows["timeline.fct_lead_events"][f"said-{number}"] = row | given
        if identifier:
            held = {"client_id": RIDGE, "record_uid": f"record-{number}", "identifier": identifier}
            self.rows["timeline.record_identifiers"][f"{number}"] = held

    def publish(self) -> None:
        self.settings.published.mkdir(parents=True, exist_ok=True)
        number = len(list(self.settings.published.glob("*.duckdb"))) + 1
        path = self.settings.published / f"analytics-{number}.duckdb"
        with duckdb.connect(str(path)) as connection:
            for name, columns in TABLES.items():
                connection.execute(f"create schema if not exists {name.split('.')[0]}")
                connection.execute(f"create table {name} ({columns})")
                names = [column.split()[0] for column in columns.replace("\n", " ").split(",")]
                rows = [[_plain(row.get(column)) for column in names] for row in self.rows[name].values()]
                if rows:
                    connection.executemany(f"insert into {name} values ({', '.join('?' * len(names))})", rows)
        following = self.settings.home / "analytics.duckdb.next"
        following.symlink_to(path)
        following.rename(self.settings.analytics)

    # ---- what came of it ----

    def queued(self, key: str = "") -> list[dict[str, Any]]:
        query = select(outputs).order_by(outputs.c.created_at, outputs.c.idempotency_key)
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [
            {**row, "payload": json.loads(row["payload"])} for row in rows if row["idempotency_key"].startswith(key)
        ]

    def one(self, key: str = "step-1") -> dict[str, Any]:
        (row,) = [row for row in self.queued() if row["idempotency_key"] == key]
        return row

    def told(self, key: str = "step-1") -> list[str]:
        with self.engine.connect() as connection:
            return [str(row["what"]) for row in history(connection, self.one(key)["output_id"])]


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def follow_up(path: Path, **environ: str) -> FollowUp:
    """A home with a client, its templates approved and its rule enabled; nothing published yet."""
    world = FollowUp(path, {"LEADTRAIL_PUBLIC_URL": "https://hooks.example", "T": "secret", **environ})
    world.write_clients()
    (path / "store.db").write_bytes(_store())
    world.contact()
    return world


@cache
def _store() -> bytes:
    """A store with the templates and the rule, made once: every test has a copy."""
    with tempfile.TemporaryDirectory() as folder:
        made = FollowUp(Path(folder))
        made.approve_templates()
        made.enable("hello")
        made.engine.dispose()  # closing the last connection brings all into the one file
        return (Path(folder) / "store.db").read_bytes()
