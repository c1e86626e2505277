"""The gate as the queue asks it: everything `compliance.judge` must know of one output, read in the transaction that claims it.

Two rules are the queue's own: nothing of a sequence goes to a lead while an urgent task for it is open, and one person's messages
keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, not_, select

from pipeline.clients import ClientConfig
from pipeline.follow_up.compliance import judge
from pipeline.follow_up.escalations import MARK
from pipeline.follow_up.gate_reading import CHANNELS, Facts
from pipeline.follow_up.holding import CARRIERS
from pipeline.follow_up.published import Published
from pipeline.follow_up.refusals import ask_owner
from pipeline.follow_up.tasks import NURTURE, TASK_CHANNELS, URGENT, connected
from pipeline.follow_up.verdict import Verdict
from pipeline.store.engine import stamp
from pipeline.store.outputs import Ruling
from pipeline.store.schema import outputs
from pipeline.store.suppressions import about_to_send

Row = Mapping[str, Any]

OPEN = ("pending", "leased", "retrying", "held", "unknown", "delivered")
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)  # what a row that somebody else wrote may lead to
LOOK_AGAIN = timedelta(minutes=1)


class Gate:
    """Asked for each output: `gate(connection, row, now)`. It may be used by many threads."""

    def __init__(self, published: Published, clients: Mapping[str, ClientConfig]) -> None:
        self.published, self.clients = published, clients
        self._holidays = {client: frozenset(published.holidays(client)) for client in clients}

    def __call__(self, connection: Connection, row: Row, now: datetime) -> Ruling:
        client = self.clients.get(row["client_id"])
        if client is None:
            return Ruling("refuse", "client_gone", "The client is not in the clients file any more.")
        if (first := self._comes_first(connection, row, now)) is not None:
            return first
        carriers = CARRIERS.get(row["channel"], ())
        if carriers and not any(connected(client, one) for one in carriers):
            action = f"Connect {carriers[0]} for {client.name}, or pause the rule."
            return self._refused(
                connection, row, client, "not_connected", f"{client.name} has no {carriers[0]}.", action, now
            )
        if row["channel"] in CHANNELS:
            about_to_send(connection)
        try:
            facts = Facts(connection, row, self.published, client, now)
            rules = facts.rules(self._holidays[client.client_id])
            verdict = judge(facts.message, facts.recipient, facts.ledger, rules, now)
        except UNREADABLE as error:  # it must not stop everybody else's
            return Ruling("refuse", "unreadable", f"It could not be judged ({type(error).__name__}).", status="failed")
        return self._ruling(connection, row, client, verdict, now)

    def _comes_first(self, connection: Connection, row: Row, now: datetime) -> Ruling | None:
        if row["priority"] >= NURTURE and row["lead_id"] and self._has_urgent(connection, row, now):
            words = "An urgent task for this lead is open; nothing of a sequence goes before somebody has taken it up."
            return Ruling("wait", "behind_urgent", words, until=now + LOOK_AGAIN)
        if row["channel"] in CHANNELS and row["recipient"]:
            before = (
                outputs.c.client_id == row["client_id"],
                outputs.c.channel == row["channel"],
                outputs.c.recipient == row["recipient"],
                outputs.c.status.in_(("leased", "retrying", "unknown")),
                outputs.c.output_id != row["output_id"],
                outputs.c.due_at < row["due_at"],
            )
            if connection.execute(select(outputs.c.output_id).where(*before).limit(1)).first():
                words = "An earlier message to this person is still on its way."
                return Ruling("wait", "in_order", words, until=now + LOOK_AGAIN)
        return None

    def _has_urgent(self, connection: Connection, row: Row, now: datetime) -> bool:
        """An urgent task that nobody took up and that is not too late yet, for whatever id the lead had then. Giving it to others
        too does not make it longer: so says the model."""
        urgent = (
            outputs.c.client_id == row["client_id"],
            outputs.c.priority == URGENT,
            outputs.c.channel.in_(TASK_CHANNELS),
            outputs.c.lead_id.is_not(None),
            outputs.c.acknowledged_at.is_(None),
            outputs.c.status.in_(OPEN),
            outputs.c.expires_at > stamp(now),
            not_(outputs.c.idempotency_key.contains(MARK, autoescape=True)),
        )
        leads: set[str] = set(connection.execute(select(outputs.c.lead_id).where(*urgent)).scalars())
        if not leads:
            return False
        current = self.published.current_leads(row["client_id"], {row["lead_id"], *leads})
        return current[row["lead_id"]] in {current[lead] for lead in leads}

    def _ruling(
        self, connection: Connection, row: Row, client: ClientConfig, verdict: Verdict, now: datetime
    ) -> Ruling:
        if verdict.decision == "allow":
            basis = verdict.basis
            words = (
                f"{verdict.words}; basis: {basis.kind} since {basis.since:%Y-%m-%d}, {basis.source}" if basis else ""
            )
            return Ruling("allow", verdict.reason, words or verdict.words)
        if verdict.decision == "wait":
            return Ruling(
                "wait", verdict.reason, verdict.words, until=max(verdict.until or now, now + timedelta(seconds=1))
            )
        action, status = verdict.owner_action or "", verdict.final_status or "cancelled"
        return self._refused(connection, row, client, verdict.reason, verdict.words, action, now, status)

    def _refused(
        self,
        connection: Connection,
        row: Row,
        client: ClientConfig,
        code: str,
        words: str,
        action: str,
        now: datetime,
        status: str = "cancelled",
    ) -> Ruling:
        if action:
            ask_owner(connection, self.published, client, row, code, words, action, now)
        return Ruling("refuse", code, words, status=status)
