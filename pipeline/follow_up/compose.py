"""The output a due step becomes: its words filled in, its owner named, its channel one that the client has.

What is said is fixed here, from the version of the template that the step names. Whether it may be said is the gate's to judge.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pipeline.clients import ClientConfig
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.published import Contact, Published, Step, escalations_of
from pipeline.follow_up.rule_file import RuleMistake
from pipeline.follow_up.tasks import PRIORITIES, TASK_CHANNELS, for_crm, owner_of, task_channel
from pipeline.follow_up.template_file import Template
from pipeline.follow_up.unsubscribe import NoPublicAddress, unsubscribe_url
from pipeline.follow_up.words import OPT_OUT, words_for
from pipeline.settings import Settings
from pipeline.store.outputs import Output

Status = Literal["pending", "expired", "cancelled", "failed"]


@dataclass(frozen=True)
class Desk:
    """What composing needs. `told`: addresses that were told lately how to opt out, as (client, address)."""

    settings: Settings
    published: Published
    templates: Mapping[tuple[str, str, str], Template]
    told: Collection[tuple[str, str]]
    now: datetime

    def compose(self, step: Step, client: ClientConfig) -> Output:
        contact = self.published.contact(step.client_id, step.lead_id) if step.lead_id else None
        channel = self._channel(step, client)
        status, code, reason = self._fate(step)
        subject, body, message_class = "", "", ""
        link = self._unsubscribe_link(client, contact) if channel == "email" else ""
        template = self._template(step)
        if template is not None:
            message_class = template.message_class
            try:
                subject, body = self._words(template, step, client, contact, channel, link)
            except RuleMistake as mistake:
                status, code, reason = "failed", "template_broken", str(mistake)
        elif status == "pending":
            status, code = "failed", "template_not_approved"
            reason = f"No version of template {step.template} was approved when this rule was enabled."
        if step.channel == "marketplace":
            body = f"{body}\n\nAnswer where they wrote: {step.channel} messages cannot be sent for you.".strip()
        within = timedelta(seconds=step.respond_within_seconds) if step.respond_within_seconds is not None else None
        return Output(
            idempotency_key=step.step_key,
            output_type="task" if channel in TASK_CHANNELS else "message",
            client_id=step.client_id,
            lead_id=step.lead_id,
            channel=channel,
            priority=PRIORITIES[step.priority],
            owner=owner_of(client, step.owner_role, contact),
            source=f"{step.rule}@{step.rule_version} + {step.trigger_event_id}",
            recipient=_recipient(channel, contact),
            payload={
                "subject": subject,
                "body": body,
                "message_class": message_class,
                "trigger": step.trigger,
                "triggered_at": step.triggered_at.isoformat(),
                "why": step.why,
                "role": step.owner_role,
                "given_name": (contact.given_name or "") if contact else "",
                "unsubscribe_url": link,
                "respond_within": step.respond_within_seconds,
                "escalations": escalations_of(step.escalations),
                **(for_crm(client, step.owner_role, contact) if channel == "crm_task" else {}),
            },
            due_at=step.due_at,
            expires_at=step.expires_at,
            recovery_rule="Tried until it is no longer true; then its owner decides.",
            rule=step.rule,
            rule_version=step.rule_version,
            step_id=step.step_id,
            trigger_event_id=step.trigger_event_id,
            template=step.template,
            template_version=step.template_version,
            respond_by=self.now + within if within is not None and status == "pending" else None,
            status=status,
            reason_code=code,
            reason=reason,
        )

    def _fate(self, step: Step) -> tuple[Status, str, str]:
        if step.stopped_at is not None and step.stopped_at <= self.now:
            return "cancelled", step.stop_reason or "stopped", "It was over before this could be queued."
        if step.state == "expired" or step.expires_at <= self.now:
            return "expired", "expired", f"It was only true until {step.expires_at:%d %b %H:%M} UTC."
        return "pending", "", ""

    def _channel(self, step: Step, client: ClientConfig) -> str:
        if step.channel in TASK_CHANNELS or step.channel == "marketplace":
            return task_channel(client, step.channel)
        return step.channel

    def _template(self, step: Step) -> Template | None:
        for whose in (step.client_id, HOUSE):
            if found := self.templates.get((whose, step.template, step.template_version)):
                return found
        return None

    def _words(
        self,
        template: Template,
        step: Step,
        client: ClientConfig,
        contact: Contact | None,
        channel: str,
        link: str,
    ) -> tuple[str, str]:
        phone = contact.phone if contact else None
        knows = phone is not None and (step.client_id, phone) in self.told
        words = words_for(
            step,
            contact,
            client,
            owner=owner_of(client, step.owner_role, contact),
            opt_out="" if knows or template.channel != "text" else OPT_OUT,
            unsubscribe_link=link,
            desk_url=self.settings.desk_url,
            now=self.now,
        )
        subject, body = template.render(words)
        if channel in TASK_CHANNELS and phone:
            body = f"{body}\n\nCall {phone}".strip()
        return subject, body

    def _unsubscribe_link(self, client: ClientConfig, contact: Contact | None) -> str:
        """ "" where none can be made: then the gate refuses the mail, with the reason."""
        if contact is None or not contact.email:
            return ""
        try:
            return unsubscribe_url(self.settings, client.client_id, contact.email)
        except NoPublicAddress:
            return ""


def _recipient(channel: str, contact: Contact | None) -> str:
    ways: dict[str, Any] = {"text": "phone", "email": "email", "crm_task": "crm_contact_id"}
    return (getattr(contact, ways[channel]) or "") if contact and channel in ways else ""
