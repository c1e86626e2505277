"""On what basis we may write to a person, and whether it still holds.

The carriers want express written consent for a promotional text, express consent for an informational one, and take a
person's own first message as consent to answer it. The telephone rules let an inquiry count for 90 days and a purchase for 18
months, some states for less (`data/consent_ages.csv`). A phone call is not a message, so the text after a missed call is one
informational answer to that call and nothing more. Whatever was agreed or asked before an opt-out ended with it.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Literal

from pipeline.follow_up.gate_facts import MISSED_CALL_TEXT, Consent, Ledger, Message
from pipeline.follow_up.zones import rows

REPLY_WITHIN = timedelta(hours=24)  # an answer this soon needs no other basis, in any state
CONVERSATION = timedelta(days=7)

LackCode = Literal[
    "consent_missing",
    "consent_expired",
    "consent_not_written",
    "no_first_message",
    "missed_call_text_not_informational",
]


@dataclass(frozen=True)
class Basis:
    """What allows this message: kept with the send, so that it can be shown later."""

    kind: Literal["express_written", "express", "inquiry", "purchase", "reply", "conversation"]
    since: datetime
    source: str


@dataclass(frozen=True)
class Lack:
    code: LackCode
    words: str


def basis_for(message: Message, ledger: Ledger, *, states: Iterable[str], now: datetime) -> Basis | Lack:
    """The strongest basis that holds for this message, or what is lacking."""
    ledger = _after_opt_outs(ledger)
    consents = [each for each in ledger.consents if each.at <= now]
    in_force = [each for each in consents if not _is_over(each, _limits(states, message.channel), now)]
    if message.kind == MISSED_CALL_TEXT:
        return _answer_to_a_call(message, ledger, now)
    if message.message_class == "conversational":
        return _conversation(message, ledger, now)
    if written := _newest(in_force, "express_written"):
        return _as_basis(written)
    if message.channel == "sms" and message.message_class == "promotional":
        return _no_written_consent(consents, in_force)
    if express := _newest(in_force, "express"):
        return _as_basis(express)
    contacts = [each for each in ledger.inbound if timedelta(0) <= now - each.at <= REPLY_WITHIN]
    if message.message_class == "informational" and contacts:
        newest = max(contacts, key=lambda each: each.at)
        return Basis("reply", newest.at, f"an answer to their {newest.channel}")
    if relation := _newest(in_force, "purchase") or _newest(in_force, "inquiry"):
        return _as_basis(relation)
    if consents:
        return Lack(
            "consent_expired", f"the newest basis we have is a {_newest_words(consents, now)}, which is too old here"
        )
    return Lack("consent_missing", "we hold no consent, inquiry or purchase of this person")


def _after_opt_outs(ledger: Ledger) -> Ledger:
    last = max((each.at for each in ledger.suppressions), default=None)
    if last is None:
        return ledger
    return replace(
        ledger,
        consents=tuple(each for each in ledger.consents if each.at > last),
        inbound=tuple(each for each in ledger.inbound if each.at > last),
    )


def _answer_to_a_call(message: Message, ledger: Ledger, now: datetime) -> Basis | Lack:
    if message.message_class != "informational":
        return Lack("missed_call_text_not_informational", "the text after a missed call may only inform")
    calls = [
        each.at for each in ledger.inbound if each.channel == "call" and timedelta(0) <= now - each.at <= REPLY_WITHIN
    ]
    if not calls:
        return Lack("consent_missing", "they did not call in the last 24 hours, so there is no call to answer")
    return Basis("reply", max(calls), "an answer to their call")


def _conversation(message: Message, ledger: Ledger, now: datetime) -> Basis | Lack:
    theirs = [
        each.at
        for each in ledger.inbound
        if each.channel == message.channel and timedelta(0) <= now - each.at <= CONVERSATION
    ]
    if not theirs:
        return Lack(
            "no_first_message",
            f"they wrote nothing by {message.channel} in the last {CONVERSATION.days} days to answer",
        )
    return Basis("conversation", max(theirs), f"an answer to their {message.channel} message")


def _no_written_consent(consents: list[Consent], in_force: list[Consent]) -> Lack:
    if any(each.kind == "express_written" for each in consents):
        return Lack("consent_expired", "their written consent has ended")
    if in_force:
        return Lack(
            "consent_not_written", f"a promotional text needs written consent; we hold only: {in_force[0].kind}"
        )
    return Lack("consent_missing", "a promotional text needs written consent; we hold none")


def _as_basis(consent: Consent) -> Basis:
    return Basis(consent.kind, consent.at, consent.source)


def _newest(consents: list[Consent], kind: str) -> Consent | None:
    return max((each for each in consents if each.kind == kind), key=lambda each: each.at, default=None)


def _newest_words(consents: list[Consent], now: datetime) -> str:
    newest = max(consents, key=lambda each: each.at)
    return f"{newest.kind} of {(now - newest.at).days} days ago"


@dataclass(frozen=True)
class _Limits:
    inquiry_days: int
    purchase_months: int


def _is_over(consent: Consent, limits: _Limits, now: datetime) -> bool:
    if consent.expires_at is not None and now >= consent.expires_at:
        return True
    if consent.kind == "inquiry":
        return now - consent.at > timedelta(days=limits.inquiry_days)
    if consent.kind == "purchase":
        return now > _months_after(consent.at, limits.purchase_months)
    return False


def _limits(states: Iterable[str], channel: str) -> _Limits:
    """The shortest of every state the person may be in. Mail is not telephone: there we hold ourselves to the federal ages."""
    table = _ages()
    possible = [table["US"], *(table[state] for state in states if channel == "sms" and state in table)]
    return _Limits(min(each.inquiry_days for each in possible), min(each.purchase_months for each in possible))


@cache
def _ages() -> dict[str, _Limits]:
    return {
        row["state"]: _Limits(int(row["inquiry_days"]), int(row["purchase_months"])) for row in rows("consent_ages.csv")
    }


def _months_after(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))
