"""What the compliance gate says, and every reason it can give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.follow_up.consent import Basis
from pipeline.follow_up.zones import Whereabouts

Reason = Literal[
    "allowed",
    "internal",
    "keyword_reply",
    "expired",
    "template_not_approved",
    "template_changed",
    "on_hold",
    "provider_answers",
    "keyword_reply_late",
    "keyword_reply_repeated",
    "keyword_reply_not_informational",
    "opted_out",
    "revocation_under_review",
    "consent_missing",
    "consent_expired",
    "consent_not_written",
    "no_first_message",
    "missed_call_text_not_informational",
    "texting_not_approved",
    "number_invalid",
    "number_outside_us",
    "number_landline",
    "email_missing",
    "email_bounced",
    "business_not_named",
    "opt_out_not_named",
    "address_missing",
    "unsubscribe_missing",
    "missed_call_answered",
    "episode_full",
    "no_sending_hours",
    "expires_before_allowed",
    "quiet_hours",
    "frequency",
]
FinalStatus = Literal["cancelled", "expired", "held"]


@dataclass(frozen=True)
class Verdict:
    """`until` belongs to a wait, `final_status` to a refusal. `basis` is what allows the send, to be stored with it."""

    decision: Literal["allow", "wait", "refuse"]
    reason: Reason
    words: str
    until: datetime | None = None
    final_status: FinalStatus | None = None
    owner_action: str | None = None
    basis: Basis | None = None
    whereabouts: Whereabouts | None = None
