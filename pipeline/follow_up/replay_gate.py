"""What the gate would have said to a replayed message: judged at the moment it was due, by what was known then.

What depends on how the client is set up today (10DLC, postal address, approved templates) is taken as done, since it says nothing
about the past; the report names what is lacking. Only this rule's own messages are counted against the caps.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import duckdb

from pipeline.follow_up.compliance import judge, names_opt_out
from pipeline.follow_up.gate_facts import (
    MISSED_CALL_TEXT,
    OPT_OUT_CONFIRMATION,
    ClientRules,
    Consent,
    Inbound,
    Ledger,
    Message,
    Recipient,
    Send,
    Suppression,
)
from pipeline.follow_up.rule_file import TASKS
from pipeline.follow_up.template_file import Template

_INBOUND = {
    "call_answered": "call",
    "call_missed": "call",
    "call_voicemail": "call",
    "call_abandoned": "call",
    "text_received": "sms",
    "email_received": "email",
    "form_submitted": "form",
    "quote_requested": "form",
    "marketplace_lead_received": "marketplace",
    "marketplace_message_received": "marketplace",
}
_OTHERS = ("consent_given", "consent_refused", "opted_out", "opted_in", "payment_received", "email_bounced")
_UNSUBSCRIBE = "https://unsubscribe.example/replayed"


@dataclass(frozen=True)
class Fate:
    """What became of one step. `reason` is a stop, a code of the gate, or why it was moved; `at` is when it would have gone."""

    what: Literal["sent", "stopped", "expired", "refused", "later"]
    step: Mapping[str, Any]
    at: datetime | None = None
    reason: str = ""
    words: str = ""

    @property
    def is_moved(self) -> bool:
        return self.what == "sent" and bool(self.reason)


@dataclass(frozen=True)
class Happened:
    """One event of a person, as the timeline tells it."""

    event_type: str
    at: datetime
    known_at: datetime
    cents: int


@dataclass(frozen=True)
class Past:
    """What the gate asks about people, as far as the warehouse remembers."""

    contacts: Mapping[str, Mapping[str, Any]]  # by lead
    events: Mapping[str, Sequence[Happened]]  # by person, in order
    holidays: Mapping[str, frozenset[date]]  # by client; "*" for all

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, steps: Iterable[Mapping[str, Any]]) -> Past:
        messages = [step for step in steps if step["channel"] not in TASKS and step["lead_id"]]
        leads = sorted({str(step["lead_id"]) for step in messages})
        people = sorted({str(step["person_id"]) for step in messages})
        found = connection.execute(
            "select lead_id, phone, email, zip_code, opened_at from warehouse.follow_up.follow_up_contacts "
            "where list_contains(?, lead_id)",
            [leads],
        )
        contacts = {
            row[0]: dict(zip(("phone", "email", "zip_code", "opened_at"), row[1:], strict=True))
            for row in found.fetchall()
        }
        events: dict[str, list[Happened]] = defaultdict(list)
        for person, kind, at, known_at, cents in connection.execute(
            "select person_id, event_type, occurred_at, known_at, value_cents from warehouse.timeline.fct_lead_events "
            "where list_contains(?, person_id) and list_contains(?, event_type) order by occurred_at, event_id",
            [people, [*_INBOUND, *_OTHERS]],
        ).fetchall():
            events[person].append(Happened(kind, _utc(at), _utc(known_at), cents or 0))
        days: dict[str, set[date]] = defaultdict(set)
        asked = "select client_id, cast(day as date) from warehouse.seeds.holidays"
        for client_id, day in connection.execute(asked).fetchall():
            days[client_id].add(day)
        return cls(contacts, events, {client_id: frozenset(theirs) for client_id, theirs in days.items()})

    def closed_on(self, client_id: str) -> frozenset[date]:
        return self.holidays.get("*", frozenset()) | self.holidays.get(client_id, frozenset())

    def recipient(self, lead_id: str, person_id: str, now: datetime) -> Recipient:
        contact = self.contacts.get(lead_id, {})
        bounced = any(one.event_type == "email_bounced" for one in self._known(person_id, now))
        return Recipient(
            phone=contact.get("phone"),
            email=contact.get("email"),
            zip_code=contact.get("zip_code"),
            email_bounced=bounced,
        )

    def ledger(self, person_id: str, sends: Sequence[Send], now: datetime) -> Ledger:
        known = self._known(person_id, now)
        refused_at = max((one.at for one in known if one.event_type == "consent_refused"), default=None)
        consents = [
            Consent("express", one.at, "their consent")
            for one in known
            if one.event_type == "consent_given" and (refused_at is None or one.at > refused_at)
        ]
        consents += [Consent("purchase", one.at, "a payment") for one in known if _is_payment(one)]
        consents += [Consent("inquiry", one.at, one.event_type) for one in known if one.event_type in _INBOUND]
        back_in = [one.at for one in known if one.event_type == "opted_in"]
        out = [
            Suppression(one.at, "sms", "opted out", min((at for at in back_in if at > one.at), default=None))
            for one in known
            if one.event_type == "opted_out"
        ]
        inbound = tuple(Inbound(one.at, _INBOUND[one.event_type]) for one in known if one.event_type in _INBOUND)
        return Ledger(tuple(sends), tuple(out), (), tuple(consents), inbound)

    def _known(self, person_id: str, now: datetime) -> list[Happened]:
        return [one for one in self.events.get(person_id, ()) if one.known_at <= now and one.at <= now]


def fates(
    steps: Sequence[Mapping[str, Any]],
    past: Past,
    templates: Mapping[tuple[str, str], Template],
    clients: Mapping[str, ClientRules],
) -> list[Fate]:
    """What would have become of each step, messages judged in the order in which they would have gone. `templates` by client and
    name."""
    found: list[Fate] = []
    sends: dict[tuple[str, str], list[Send]] = defaultdict(list)
    waiting: list[tuple[datetime, int, str]] = []
    for number, step in enumerate(steps):
        if step["state"] == "stopped":
            found.append(Fate("stopped", step, reason=str(step["stop_reason"])))
        elif step["state"] == "expired":
            found.append(
                Fate("expired", step, reason="behind_urgent" if step["waits_for_urgent"] else "known_too_late")
            )
        elif step["due_at"] > step["as_of"]:
            found.append(Fate("later", step))
        elif step["channel"] in TASKS or step["channel"] == "marketplace":  # the gate judges texts and mails
            found.append(Fate("sent", step, _utc(step["due_at"])))
        else:
            heapq.heappush(waiting, (_utc(step["due_at"]), number, ""))
    while waiting:
        at, number, moved_by = heapq.heappop(waiting)
        step = steps[number]
        person = (str(step["client_id"]), str(step["person_id"]))
        if moved_by and step["stopped_at"] is not None and _utc(step["stopped_at"]) <= at:
            found.append(Fate("stopped", step, reason=str(step["stop_reason"])))
            continue
        rules, template = clients[person[0]], templates[(person[0], str(step["template"]))]
        message = _message(step, template, rules, past)
        verdict = judge(
            message,
            past.recipient(str(step["lead_id"]), person[1], at),
            past.ledger(person[1], sends[person], at),
            rules,
            at,
        )
        if verdict.decision == "wait" and verdict.until:
            heapq.heappush(waiting, (verdict.until, number, moved_by or verdict.reason))
        elif verdict.decision == "refuse":
            found.append(Fate("refused", step, reason=verdict.reason, words=verdict.words))
        else:
            found.append(Fate("sent", step, at, moved_by))
            sends[person].append(
                Send(
                    at,
                    message.channel,
                    message.message_class,
                    message.kind,
                    message.episode,
                    names_opt_out(message.text),
                )
            )
    return found


def _message(step: Mapping[str, Any], template: Template, rules: ClientRules, past: Past) -> Message:
    name = rules.business_names[0]
    subject, body = template.render(
        {
            "business": name,
            "opt_out": "Reply STOP to opt out.",
            "postal_address": rules.physical_address,
            "unsubscribe_link": _UNSUBSCRIBE,
        }
    )
    opened_at = past.contacts.get(str(step["lead_id"]), {}).get("opened_at") or step["triggered_at"]
    return Message(
        channel="sms" if step["channel"] == "text" else "email",
        message_class=template.message_class,  # type: ignore[arg-type]  # never internal: a message's words are not
        kind=_kind(step),
        text=f"{subject}\n{body}",
        template=template.name,
        template_hash=template.version,
        connection="twilio" if step["channel"] == "text" else "smtp",
        episode=str(step["lead_id"]),
        episode_started_at=_utc(opened_at),
        expires_at=_utc(step["expires_at"]),
        unsubscribe_url=_UNSUBSCRIBE if step["channel"] == "email" else "",
    )


def _kind(step: Mapping[str, Any]) -> str:
    """As `gate` has it."""
    if step["trigger"] in ("missed_call", "missed_call_after_hours") and step["channel"] == "text":
        return MISSED_CALL_TEXT
    return OPT_OUT_CONFIRMATION if step["trigger"] == "opt_out_or_help" else str(step["template"])


def _is_payment(one: Happened) -> bool:
    return one.event_type == "payment_received" and one.cents > 0


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
