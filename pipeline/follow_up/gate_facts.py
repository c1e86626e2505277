"""What the compliance gate is told: the message, the recipient, what happened between us so far, and the client's rules.

Plain values. Whoever claims an output reads them in the same transaction, so that an opt-out committed before the claim is seen.
A `Ledger` is one person's at one client: opting out of one client says nothing about another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pipeline.follow_up.quiet_hours import ClientHours, MessageClass

Channel = Literal["sms", "email", "owner_task"]
LineType = Literal["mobile", "voip", "landline", "invalid", "unknown"]

MISSED_CALL_TEXT = "missed_call_text"
OPT_OUT_CONFIRMATION = "opt_out_confirmation"
HELP_REPLY = "help_reply"
KEYWORD_REPLIES = frozenset({OPT_OUT_CONFIRMATION, HELP_REPLY})


@dataclass(frozen=True)
class Message:
    """One queued output. `owner_task` is any task for our own people, in a CRM or on the desk."""

    channel: Channel
    message_class: MessageClass
    kind: str
    text: str
    template: str
    template_hash: str
    connection: str
    episode: str
    episode_started_at: datetime
    expires_at: datetime | None = None
    unsubscribe_url: str = ""


@dataclass(frozen=True)
class Recipient:
    phone: str | None = None
    email: str | None = None
    zip_code: str | None = None
    crm_zone: str | None = None
    line_type: LineType = "unknown"
    email_bounced: bool = False


@dataclass(frozen=True)
class Send:
    """An automated message that left, may have left (`unknown`), or is leaving now."""

    at: datetime
    channel: Channel
    message_class: MessageClass
    kind: str
    episode: str
    named_opt_out: bool = False


@dataclass(frozen=True)
class Suppression:
    """They opted out on `channel`, which stops every channel until `lifted_at`."""

    at: datetime
    channel: str
    because: str
    lifted_at: datetime | None = None


@dataclass(frozen=True)
class PendingRevocation:
    """Words that may mean "stop", which the owner has not decided on yet."""

    at: datetime
    because: str


@dataclass(frozen=True)
class Consent:
    kind: Literal["express_written", "express", "inquiry", "purchase"]
    at: datetime
    source: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Inbound:
    """Something they began: a call, a text, a mail, a form, a marketplace lead."""

    at: datetime
    channel: str


@dataclass(frozen=True)
class Ledger:
    sends: tuple[Send, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    revocations: tuple[PendingRevocation, ...] = ()
    consents: tuple[Consent, ...] = ()
    inbound: tuple[Inbound, ...] = ()


@dataclass(frozen=True)
class Hold:
    """A pause with a cause, on one connection or (None) on all of a client."""

    because: str
    connection: str | None = None


@dataclass(frozen=True)
class ClientRules:
    """What the client set. Caps may be chosen, but three touches in 24 hours is a state's law and cannot be widened."""

    business_names: tuple[str, ...]
    physical_address: str
    texting_status: str  # the 10DLC campaign's; only "approved" sends
    approved_templates: Mapping[
        str, frozenset[str]
    ]  # every approved version's hash: a lead keeps the version it began on
    hours: ClientHours = field(default_factory=ClientHours)
    holds: tuple[Hold, ...] = ()
    sms_per_day: int = 1
    touches_in_24_hours: int = 3
    touches_per_episode: int = 7
    provider_answers_keywords: bool = True  # Twilio confirms STOP and HELP itself

    def __post_init__(self) -> None:
        if not 1 <= self.touches_in_24_hours <= 3:
            raise ValueError("touches_in_24_hours is between 1 and 3")
        if self.sms_per_day < 1 or self.touches_per_episode < 1:
            raise ValueError("sms_per_day and touches_per_episode are at least 1")
