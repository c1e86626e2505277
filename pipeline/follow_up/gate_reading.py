"""What the gate tells the judge of one output: the message, the person, what happened between us, the client's rules.

What may change at any moment (opt-outs, holds, approvals, what was sent) is read from the store, in the caller's transaction; who
the person is and what they agreed to, from the published warehouse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from pipeline.clients import ClientConfig
from pipeline.follow_up.compliance import names_opt_out
from pipeline.follow_up.gate_facts import (
    HELP_REPLY,
    MISSED_CALL_TEXT,
    OPT_OUT_CONFIRMATION,
    Channel,
    ClientRules,
    Consent,
    Hold,
    Inbound,
    Ledger,
    Message,
    PendingRevocation,
    Recipient,
    Send,
    Suppression,
)
from pipeline.follow_up.holding import hold_on, in_words
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.published import NOBODY, Contact, Published
from pipeline.follow_up.quiet_hours import ClientHours
from pipeline.follow_up.template_book import TemplateLog
from pipeline.store.engine import stamp
from pipeline.store.schema import outputs, suppressions

Row = Mapping[str, Any]

SENT = ("delivered", "leased", "unknown")
MEMORY = timedelta(days=400)  # longer than any cap looks back
CHANNELS: dict[str, Channel] = {"text": "sms", "email": "email"}
MISSED_CALLS = ("missed_call", "missed_call_after_hours")


class Facts:
    """What the judge is told of one output."""

    def __init__(
        self, connection: Connection, row: Row, published: Published, client: ClientConfig, now: datetime
    ) -> None:
        self.connection, self.row, self.client, self.now = connection, row, client, now
        self.payload = json.loads(row["payload"])
        self.is_task = row["channel"] not in CHANNELS
        self.contact = (published.contact(row["client_id"], row["lead_id"]) if row["lead_id"] else None) or NOBODY
        person = self.contact.person_id
        self.leads = published.contacts_of_person(row["client_id"], person) if person and not self.is_task else []
        self.published = published

    @property
    def message(self) -> Message:
        opened = self.contact.opened_at or datetime.fromisoformat(self.row["created_at"])
        return Message(
            channel=CHANNELS.get(self.row["channel"], "owner_task"),
            message_class=self.payload.get("message_class") or "informational",
            kind=_kind(self.row, self.payload),
            text=self.payload.get("body", ""),
            template=self.row["template"],
            template_hash=self.row["template_version"],
            connection=self.row["channel"],
            episode=self._episode(self.row["lead_id"] or ""),
            episode_started_at=opened,
            expires_at=datetime.fromisoformat(self.row["expires_at"]),
            unsubscribe_url=self.payload.get("unsubscribe_url", ""),
        )

    def _episode(self, lead_id: str) -> str:
        return self.published.current_leads(self.row["client_id"], [lead_id])[lead_id] if lead_id else ""

    @property
    def recipient(self) -> Recipient:
        is_text = self.row["channel"] == "text"
        return Recipient(
            phone=self.row["recipient"] if is_text else self.contact.phone,
            email=self.contact.email if is_text else self.row["recipient"],
            zip_code=self.contact.zip_code,
            email_bounced=self.contact.email_bounced_at is not None or any(one.cause == "bounce" for one in self._said),
        )

    @property
    def addresses(self) -> set[str]:
        """Every way to this person that we know of: an opt-out on any of them counts for all."""
        known = {self.row["recipient"], self.contact.phone, self.contact.email}
        return {one for one in (*known, *(way for lead in self.leads for way in (lead.phone, lead.email))) if one}

    @property
    def _said(self) -> list[Any]:
        if self.is_task:
            return []
        client_id = self.row["client_id"]
        erased = {self.published.prints.address(client_id, one) for one in self.addresses}  # their wish outlives them
        where = (suppressions.c.client_id == client_id, suppressions.c.address.in_(sorted(self.addresses | erased)))
        return list(self.connection.execute(select(suppressions).where(*where)).all())

    @property
    def ledger(self) -> Ledger:
        if self.is_task:
            return Ledger()
        said = [one for one in self._said if one.cause != "bounce"]
        return Ledger(
            sends=tuple(self._sends()),
            suppressions=tuple(
                Suppression(
                    _time(one.since), one.channel, one.cause, _time(one.state_at) if one.state == "lifted" else None
                )
                for one in said
                if one.state != "in_review"
            ),
            revocations=tuple(
                PendingRevocation(_time(one.since), f"event {one.evidence}") for one in said if one.state == "in_review"
            ),
            consents=tuple(_consents(self.contact)),
            inbound=tuple(_inbound(self.contact, self.payload)),
        )

    def _sends(self) -> list[Send]:
        """Messages that left, may have left or are leaving, to whatever address and lead id the person had."""
        ids = {lead.lead_id for lead in self.leads} | ({self.row["lead_id"]} if self.row["lead_id"] else set())
        theirs = outputs.c.recipient.in_(sorted(self.addresses)) | outputs.c.lead_id.in_(sorted(ids))
        where = (
            outputs.c.client_id == self.row["client_id"],
            outputs.c.channel.in_(tuple(CHANNELS)),
            outputs.c.status.in_(SENT),
            outputs.c.output_id != self.row["output_id"],
            outputs.c.status_at > stamp(self.now - MEMORY),
            theirs,
        )
        rows = self.connection.execute(select(outputs).where(*where)).mappings().all()
        found = []
        for row in rows:
            payload = json.loads(row["payload"])
            found.append(
                Send(
                    at=_time(row["first_sent_at"] or row["status_at"]),
                    channel=CHANNELS[row["channel"]],
                    message_class=payload.get("message_class") or "informational",
                    kind=_kind({**row}, payload),
                    episode=self._episode(row["lead_id"] or ""),
                    named_opt_out=names_opt_out(payload.get("body", "")),
                )
            )
        return found

    def rules(self, holidays: frozenset[Any]) -> ClientRules:
        settings, hold = self.client.follow_up, hold_on(self.connection, self.row)
        return ClientRules(
            business_names=tuple(filter(None, (settings.business_name, self.client.name))),
            physical_address=settings.postal_address,
            texting_status=settings.texting,
            approved_templates=self._approved(),
            hours=ClientHours(
                zone=self.client.timezone,
                holidays=holidays | {datetime.fromisoformat(day).date() for day in settings.holidays},
                promotional=settings.promotional,
                grace=settings.grace,
            ),
            holds=(Hold(in_words(hold)),) if hold else (),
            sms_per_day=settings.texts_per_day,
            touches_in_24_hours=settings.messages_in_24_hours,
            touches_per_episode=settings.messages_per_lead,
            provider_answers_keywords=settings.provider_answers_keywords,
        )

    def _approved(self) -> dict[str, frozenset[str]]:
        """Of the template in question. What carries none is Leadtrail's own words to our own people."""
        template = self.row["template"]
        if self.is_task and not self.row["template_version"]:
            return {template: frozenset({""})}
        log = TemplateLog.read(self.connection)
        versions = (*log.approved(self.row["client_id"], template), *log.approved(HOUSE, template))
        return {template: frozenset(versions)}


def _kind(row: Row, payload: Mapping[str, Any]) -> str:
    """What the law treats apart; everything else is its template's name."""
    if row["channel"] == "text" and payload.get("trigger") in MISSED_CALLS:
        return MISSED_CALL_TEXT
    if payload.get("trigger") == "opt_out_or_help":
        return HELP_REPLY if "help" in row["template"] else OPT_OUT_CONFIRMATION
    return str(row["template"])


def _consents(contact: Contact) -> list[Consent]:
    found = []
    if contact.consent_kind and contact.consent_at:
        kind: Any = contact.consent_kind
        found.append(Consent(kind, contact.consent_at, contact.consent_source or "no source given"))
    if contact.last_inquiry_at:
        found.append(Consent("inquiry", contact.last_inquiry_at, "they got in touch"))
    if contact.last_purchase_at:
        found.append(Consent("purchase", contact.last_purchase_at, "they paid for work"))
    return found


def _inbound(contact: Contact, payload: Mapping[str, Any]) -> list[Inbound]:
    """What they began: the newest of each way, and what set this output off."""
    known = {
        "call": contact.last_call_at,
        "sms": contact.last_text_at,
        "email": contact.last_email_at,
        "form": contact.last_form_at,
    }
    found = [Inbound(at, way) for way, at in known.items() if at is not None]
    if payload.get("trigger") in MISSED_CALLS:
        found.append(Inbound(_time(payload["triggered_at"]), "call"))
    if payload.get("trigger") == "opt_out_or_help":
        found.append(Inbound(_time(payload["triggered_at"]), "sms"))
    return found


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
