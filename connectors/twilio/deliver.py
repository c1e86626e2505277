"""Sending a text at most once, and finding out what became of it.

Twilio takes no idempotency key. After an answer that never came the message may be on its way, so it is never sent again by
itself: `find` lists what went to that number since, and takes the one with our text. Twilio's list can't be asked for our key, so
two messages of the same words to the same person within one attempt count as one: better one text too few than one too many.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from connectors.base import SETTLES, Health, ProviderDown, RateLimited, Rejected
from connectors.delivery import (
    Change,
    Diff,
    Reason,
    Receipt,
    TextMessage,
    Unconfirmable,
    Unconfirmed,
    Undeliverable,
)
from connectors.twilio.account import Item, pages

if TYPE_CHECKING:
    from connectors.twilio.connector import Twilio

CLOCK_SKEW = timedelta(minutes=1)  # and Twilio's times have no fractions
E164 = re.compile(r"\+[1-9]\d{6,14}")
LONGEST = 1600
QUEUE_FULL = "21611"

# What Twilio's codes mean for us, whether they come as a refusal, with the message's status, or in a callback.
REASONS: dict[str, Reason] = {
    "21610": "opted_out",
    **dict.fromkeys(("21201", "21211", "21217", "21604", "21614", "30005", "30006"), "bad_address"),
    **dict.fromkeys(("30001", "30003", "30008"), "unreachable"),
    "30004": "blocked",
    "30007": "filtered",
    **dict.fromkeys(
        ("20404", "21408", "21603", "21606", "21608", "21609", "21612", "30002", "30032", "30034"), "sender"
    ),
    **dict.fromkeys(("21602", "21617"), "content"),
}
_FIXES: dict[Reason, str] = {
    "opted_out": "Nothing more may be texted to this person by this sender; record the opt-out.",
    "bad_address": "Call or mail instead; correct the number if it is known better.",
    "unreachable": "One more try later is worth it.",
    "blocked": "Do not text this person again.",
    "filtered": "Carriers took it for spam: stop this message for everyone and have its words looked at.",
    "sender": "Correct the client's number or its registration in the Twilio console.",
    "content": "Correct the template.",
}
# beside what NFKC makes plain
_PLAIN = str.maketrans(dict.fromkeys("‘’‚", "'") | dict.fromkeys("“”„", '"') | dict.fromkeys("–—", "-"))


class TwilioDeliverer:
    def __init__(self, twilio: Twilio, *, settles: timedelta = SETTLES) -> None:
        self.twilio, self.settles = twilio, settles
        self._clock = twilio.http.clock

    def prepare(self) -> Health:
        return self.twilio.check()

    def deliver(self, message: TextMessage) -> Receipt:
        self._must_be_right(message)
        begun = self._clock.now()
        try:
            item = self.twilio.send(
                message.to, message.body, from_=message.sender, status_callback=message.status_callback
            )
        except Rejected as error:
            if error.code == QUEUE_FULL:
                raise RateLimited(
                    "the sender's queue at Twilio is full (21611).",
                    connection=self.twilio.connection,
                    fix="It is tried again later; no action is needed.",
                ) from None
            raise self._refused(error.code, error.status) from None
        except ProviderDown as error:
            if not error.maybe_done:
                raise
            raise self._unconfirmed(message, begun) from None
        return self._receipt(item)

    def find(self, message: TextMessage, *, since: datetime) -> Receipt | None:
        """Without a date filter: a queued message has no `date_sent`. Newest first, back to the first try."""
        ours, illegible = [], 0
        for items, _ in pages(
            self.twilio.api, self.twilio.options.account_sid, "Messages", {"To": message.to}, size=100
        ):
            recent = [item for _, item in items if item.created_at is None or item.created_at >= since - CLOCK_SKEW]
            sent = [item for item in recent if self._may_be(message, item)]
            ours += [item for item in sent if fingerprint(item.body or "") == fingerprint(message.body)]
            illegible += sum(not item.body for item in sent)
            if len(recent) < len(items):
                break
        if ours:
            return self._receipt(ours[-1])
        if illegible:
            raise Unconfirmable(
                "Twilio lists a message to this number, but keeps no text of it.",
                connection=self.twilio.connection,
                fix="Look in the Twilio console whether it is this one, then say so; it is not sent again by itself.",
                key=message.key,
            )
        if self._clock.now() < since + self.settles:
            raise self._unconfirmed(message, since)
        return None

    def preview(self, message: TextMessage) -> Diff:
        self._must_be_right(message)
        form = self.twilio.form(message.to, message.body, from_=message.sender, status_callback=message.status_callback)
        return Diff("twilio", "send", "message", tuple(Change(name, None, value) for name, value in form))

    def _may_be(self, message: TextMessage, item: Item) -> bool:
        """Sent by us to them. A message that waits for the service to choose its sender has none yet."""
        return item.direction.startswith("outbound") and (
            item.sender == message.sender if message.sender else self.twilio.mine(item)
        )

    def _must_be_right(self, message: TextMessage) -> None:
        if not E164.fullmatch(message.to):
            raise self._refused("21211", 0)
        if not message.body.strip():
            raise self._refused("21602", 0)
        if len(message.body) > LONGEST:
            raise self._refused("21617", 0)
        if not (message.sender or self.twilio.options.messaging_service_sid):
            raise self._refused("21603", 0)

    # ---- words ----

    def _receipt(self, item: Item) -> Receipt:
        """Raises what it means if Twilio took the message and then failed to bring it."""
        if item.status in ("failed", "undelivered", "canceled"):
            raise self._refused(str(item.error_code or ""), 0, sid=item.sid)
        state = "delivered" if item.status in ("delivered", "read") else "accepted"
        at = item.created_at or self._clock.now()
        return Receipt("twilio", item.sid, state, at, {"status": item.status})  # type: ignore[arg-type]

    def _refused(self, code: str, status: int, *, sid: str = "") -> Undeliverable:
        reason = REASONS.get(code, "other")
        what = f"message {sid} did not arrive" if sid else "the text was refused"
        return Undeliverable(
            f"{what} (code {code or 'none'}: {reason.replace('_', ' ')}).",
            connection=self.twilio.connection,
            fix=_FIXES.get(
                reason, f"See https://www.twilio.com/docs/errors/{code}" if code else "Look in the console."
            ),
            reason=reason,
            status=status,
            code=code,
        )

    def _unconfirmed(self, message: TextMessage, sent_at: datetime) -> Unconfirmed:
        return Unconfirmed(
            "Twilio did not say whether it took the text, and does not list it yet.",
            connection=self.twilio.connection,
            key=message.key,
            sent_at=sent_at,
            ask_at=sent_at + self.settles,
        )


def fingerprint(body: str) -> bytes:
    """Equal for texts that differ only in what Twilio's "smart encoding" and trimming change."""
    plain = unicodedata.normalize("NFKC", body.translate(_PLAIN))
    return sha256(" ".join(plain.split()).encode()).digest()
