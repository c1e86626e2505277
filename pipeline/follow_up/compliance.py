"""The gate: may this message go to this person now? Allow, wait until a moment, or refuse for good, always with the reason.

The order of CHECKS is fixed. What concerns us comes first (is it still true, is it approved, are we on hold), where tasks for our
own people end; then what the person said, then what the law and the carriers ask of the message, and the clock last. So a message
that may never go is refused at once, not in the morning, and the reason shown is the one that matters most.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

from pipeline.follow_up.consent import Basis, Lack, basis_for
from pipeline.follow_up.frequency import episode_is_full, free_at, missed_call_was_answered
from pipeline.follow_up.gate_facts import (
    KEYWORD_REPLIES,
    MISSED_CALL_TEXT,
    OPT_OUT_CONFIRMATION,
    ClientRules,
    Ledger,
    Message,
    Recipient,
)
from pipeline.follow_up.quiet_hours import window
from pipeline.follow_up.verdict import FinalStatus, Reason, Verdict
from pipeline.follow_up.zones import Whereabouts, country_of, whereabouts

KEYWORD_REPLY_WITHIN = timedelta(minutes=5)  # a confirmation later than this counts as a new message
REMIND_OF_OPT_OUT_AFTER = timedelta(days=30)
_NAMES_OPT_OUT = re.compile(
    r"\b(?:reply|text|send|respond|responda|responde|envie|envíe|envia|envía)\b.{0,20}\b(?:stop|alto)\b", re.I | re.S
)


def judge(message: Message, recipient: Recipient, ledger: Ledger, rules: ClientRules, now: datetime) -> Verdict:
    """The first check that does not pass decides; if all pass, the message may go at `now` and no later claim."""
    if now.tzinfo is None:
        raise ValueError("now must carry a time zone")
    case = _Case(message, recipient, ledger, rules, now.astimezone(UTC))
    for check in CHECKS:
        if verdict := check(case):
            return verdict
    basis = case.basis if isinstance(case.basis, Basis) else None
    return Verdict("allow", "allowed", "every check passed", basis=basis, whereabouts=case.whereabouts)


@dataclass(frozen=True)
class _Case:
    message: Message
    recipient: Recipient
    ledger: Ledger
    rules: ClientRules
    now: datetime

    @cached_property
    def whereabouts(self) -> Whereabouts:
        who = self.recipient
        return whereabouts(zip_code=who.zip_code, crm_zone=who.crm_zone, phone=who.phone)

    @cached_property
    def basis(self) -> Basis | Lack:
        return basis_for(self.message, self.ledger, states=self.whereabouts.states, now=self.now)


def _refuse(reason: Reason, words: str, status: FinalStatus, owner_action: str | None = None) -> Verdict:
    return Verdict("refuse", reason, words, final_status=status, owner_action=owner_action)


def _still_true(case: _Case) -> Verdict | None:
    expires_at = case.message.expires_at
    if expires_at and case.now >= expires_at:
        return _refuse(
            "expired",
            f"it was only true until {expires_at:%d %b %H:%M} UTC",
            "expired",
            "Decide whether to write yourself.",
        )
    return None


def _approved(case: _Case) -> Verdict | None:
    template = case.message.template
    hashes = case.rules.approved_templates.get(template)
    if not hashes:
        return _refuse(
            "template_not_approved",
            f"template {template} is not approved",
            "held",
            f"Approve {template}, or retire its rule.",
        )
    if case.message.template_hash not in hashes:
        words = f"template {template} was changed or withdrawn after this was queued"
        return _refuse(
            "template_changed", words, "cancelled", f"Queue it again with the approved version of {template}."
        )
    return None


def _not_on_hold(case: _Case) -> Verdict | None:
    for hold in case.rules.holds:
        if hold.connection in (None, case.message.connection):
            return _refuse(
                "on_hold", f"on hold: {hold.because}", "held", "Clear the hold; what is still true then goes out."
            )
    return None


def _internal(case: _Case) -> Verdict | None:
    """A task for our own people: nobody outside is contacted."""
    return Verdict("allow", "internal", "a task for our own people") if case.message.channel == "owner_task" else None


def _keyword_reply(case: _Case) -> Verdict | None:
    """The one answer to STOP or HELP, which goes out in spite of the opt-out, at any hour, once, within five minutes."""
    kind = case.message.kind
    if kind not in KEYWORD_REPLIES:
        return None
    if case.rules.provider_answers_keywords and case.message.channel == "sms":
        return _refuse(
            "provider_answers",
            "the provider answers STOP and HELP itself; a second answer would be one too many",
            "cancelled",
        )
    if case.message.message_class != "informational":
        return _refuse("keyword_reply_not_informational", "an answer to STOP or HELP may not advertise", "cancelled")
    asked = [each.at for each in (case.ledger.suppressions if kind == OPT_OUT_CONFIRMATION else case.ledger.inbound)]
    asked_at = max((at for at in asked if at <= case.now), default=None)
    if asked_at is None or case.now - asked_at > KEYWORD_REPLY_WITHIN:
        return _refuse("keyword_reply_late", "more than five minutes after they wrote", "expired")
    if any(send.kind == kind and send.at >= asked_at for send in case.ledger.sends):
        return _refuse("keyword_reply_repeated", "it was answered already", "cancelled")
    return (
        _texting_approved(case)
        or _reachable(case)
        or Verdict("allow", "keyword_reply", "the one answer to their keyword")
    )


def _not_opted_out(case: _Case) -> Verdict | None:
    for out in case.ledger.suppressions:
        if out.lifted_at is None or out.lifted_at > case.now:
            return _refuse("opted_out", f"opted out by {out.channel} on {out.at:%d %b %Y} ({out.because})", "cancelled")
    return None


def _not_under_review(case: _Case) -> Verdict | None:
    for words in case.ledger.revocations:
        action = "Read what they wrote: record an opt-out, or release them."
        return _refuse(
            "revocation_under_review",
            f"on {words.at:%d %b %Y} they may have asked us to stop: {words.because}",
            "held",
            action,
        )
    return None


def _consented(case: _Case) -> Verdict | None:
    if isinstance(case.basis, Lack):
        return _refuse(
            case.basis.code,
            case.basis.words,
            "cancelled",
            "Contact them yourself if the law allows, and ask for consent.",
        )
    return None


def _texting_approved(case: _Case) -> Verdict | None:
    status = case.rules.texting_status
    if case.message.channel == "sms" and status != "approved":
        words = f"the carriers' registration (10DLC) is {status or 'not known'}, not approved"
        return _refuse("texting_not_approved", words, "held", "Finish the 10DLC registration with the client.")
    return None


def _reachable(case: _Case) -> Verdict | None:
    who = case.recipient
    if case.message.channel == "email":
        if not who.email or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", who.email):
            return _refuse(
                "email_missing", "there is no usable mail address", "cancelled", "Ask for an address, or call."
            )
        if who.email_bounced:
            return _refuse(
                "email_bounced", "mail to this address came back", "cancelled", "Ask for an address, or call."
            )
        return None
    if not who.phone or who.line_type == "invalid":
        return _refuse(
            "number_invalid", "there is no usable phone number", "cancelled", "Find another way to reach them."
        )
    country = country_of(who.phone)
    if country not in ("US", None):
        return _refuse(
            "number_outside_us",
            "the number is not a US one, and the gate knows US law only",
            "cancelled",
            "Call or mail them.",
        )
    if not re.fullmatch(r"\+1[2-9]\d{9}", who.phone):
        return _refuse(
            "number_invalid",
            f"{who.phone[:2]}… is not a number one can text",
            "cancelled",
            "Find another way to reach them.",
        )
    if who.line_type == "landline":
        return _refuse("number_landline", "the number is a landline, which cannot be texted", "cancelled", "Call them.")
    return None


def _says_who_and_how_to_stop(case: _Case) -> Verdict | None:
    """The first text names the business and how to opt out, and so does one a month."""
    if case.message.channel != "sms":
        return None
    recent = case.now - REMIND_OF_OPT_OUT_AFTER
    if any(send.channel == "sms" and send.named_opt_out and send.at > recent for send in case.ledger.sends):
        return None
    text, action = case.message.text.casefold(), f"Mend template {case.message.template}."
    if not any(name.casefold() in text for name in case.rules.business_names if name.strip()):
        return _refuse("business_not_named", "a first text must name the business", "cancelled", action)
    if not names_opt_out(text):
        return _refuse(
            "opt_out_not_named", "a first text must say how to opt out (“Reply STOP to opt out”)", "cancelled", action
        )
    return None


def names_opt_out(text: str) -> bool:
    """Does this text tell how to opt out? Also what `Send.named_opt_out` records."""
    return bool(_NAMES_OPT_OUT.search(text))


def _mail_has_its_footer(case: _Case) -> Verdict | None:
    if case.message.channel != "email":
        return None
    text, address = (" ".join(each.split()).casefold() for each in (case.message.text, case.rules.physical_address))
    action = f"Mend template {case.message.template}."
    if not address or address not in text:
        return _refuse("address_missing", "a mail must carry the client's postal address", "cancelled", action)
    if not case.message.unsubscribe_url or case.message.unsubscribe_url not in case.message.text:
        return _refuse("unsubscribe_missing", "a mail must carry a way to unsubscribe", "cancelled", action)
    return None


def _never_too_many(case: _Case) -> Verdict | None:
    zone = case.rules.hours.zone
    if case.message.kind == MISSED_CALL_TEXT and missed_call_was_answered(case.ledger.sends, now=case.now, zone=zone):
        return _refuse(
            "missed_call_answered", "their missed call was answered by text today", "cancelled", "Call them back."
        )
    if episode_is_full(case.message, case.ledger.sends, case.rules):
        words = f"this episode had its {case.rules.touches_per_episode} automated messages"
        return _refuse("episode_full", words, "cancelled", "Decide whether to go on in person.")
    return None


def _in_time(case: _Case) -> Verdict | None:
    """Waits: the first moment that both the caps and everybody's hours allow."""
    at, words = case.now, ""
    reason: Literal["quiet_hours", "frequency"] | None = None
    contacts = [each.at for each in case.ledger.inbound if each.at <= case.now]
    while True:
        free, why = free_at(case.message, case.ledger.sends, case.rules, at)
        if free > at:
            at, reason, words = free, reason or "frequency", words or why
            continue
        hours = window(
            case.whereabouts,
            case.message.message_class,
            at,
            client=case.rules.hours,
            last_inquiry_at=max(contacts, default=None),
        )
        if hours.allowed:
            break
        reason, words = reason or "quiet_hours", words or f"{hours.reason}; {case.whereabouts.why}"
        if hours.next_allowed_at is None:
            action = "Look at the client's hours and holidays: they leave no time to send."
            return _refuse("no_sending_hours", f"nothing in the next two weeks is allowed: {words}", "held", action)
        at = hours.next_allowed_at
    if reason is None:
        return None
    if case.message.expires_at and at >= case.message.expires_at:
        late = f"it may go at {at:%d %b %H:%M} UTC at the earliest, when it is no longer true: {words}"
        return _refuse("expires_before_allowed", late, "expired", "Decide whether to write or call yourself.")
    return Verdict("wait", reason, words, until=at, whereabouts=case.whereabouts)


CHECKS: tuple[Callable[[_Case], Verdict | None], ...] = (
    _still_true,
    _approved,
    _not_on_hold,
    _internal,
    _keyword_reply,
    _not_opted_out,
    _not_under_review,
    _consented,
    _texting_approved,
    _reachable,
    _says_who_and_how_to_stop,
    _mail_has_its_footer,
    _never_too_many,
    _in_time,
)
