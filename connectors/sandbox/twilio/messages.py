"""A message: where it stands at a moment, and how the API shows it.

The town's messages are history and stand where they ended. A message made through the API walks with the sandbox's clock:
queued, 1 s sending, 2 s sent, 5 s delivered, 60 s priced. Numbers +1500555… fail on purpose: ...0001, 0002, 0004 and 0009 are
refused at once (Twilio's own test numbers), others fail on their way as 3000x by their last digit 3-8, ...034 as 30034, and
...099 stays in `sent` for ever. Any other number can be given a fate with `SandboxTwilio.fate`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})
REFUSED = {"+15005550001": 21211, "+15005550002": 21612, "+15005550004": 21610, "+15005550009": 21614}
STUCK = -1  # a fate: no receipt ever comes
CARRIED = frozenset({"sent", "delivered", "undelivered", "read", "partially_delivered"})
RATED_AFTER = timedelta(seconds=60)


@dataclass
class Message:
    sid: str
    account_sid: str
    direction: str
    sender: str | None
    to: str
    body: str
    created: datetime
    walk: list[tuple[datetime, str]]
    seq: int
    error_code: int | None = None
    service: str | None = None
    opt_out_type: str = ""
    media: list[str] = field(default_factory=list)
    person_id: str = ""
    live: bool = False
    callback: str = ""
    scheduled: bool = False
    changed: datetime | None = None
    _shown: bytes = b""

    def steps(self, now: datetime) -> list[tuple[datetime, str]]:
        return [step for step in self.walk if step[0] <= now] if self.live else self.walk

    def sent_at(self, now: datetime) -> datetime | None:
        if self.direction == "inbound":
            return self.created
        handed_over = [at for at, status in self.steps(now) if status in CARRIED]
        return handed_over[0] if handed_over else None

    @property
    def moves_until(self) -> datetime:
        return self.walk[-1][0] + RATED_AFTER

    def touch(self, now: datetime) -> None:
        self.changed, self._shown = now, b""

    def shown(self, now: datetime) -> bytes:
        """Its JSON. Kept once it can no longer change."""
        if self._shown:
            return self._shown
        shown = msgspec.json.encode(self._resource(now))
        if not self.live or now >= self.moves_until:
            self._shown = shown
        return shown

    def _resource(self, now: datetime) -> dict[str, object]:
        steps = self.steps(now)
        at, status = steps[-1]
        sent = self.sent_at(now)
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        rated = sent is not None and (not self.live or now >= sent + RATED_AFTER)
        failed = self.error_code if status in ("failed", "undelivered") else None
        segments = 0 if status in ("scheduled", "accepted") else segment_count(self.body)
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": format_datetime(self.created),
            "date_sent": format_datetime(sent) if sent else None,
            "date_updated": format_datetime(max(at, sent + RATED_AFTER if rated and sent else at, self.changed or at)),
            "direction": self.direction,
            "error_code": failed,
            "error_message": "Message Delivery - failed" if failed else None,
            "from": None if status in ("scheduled", "accepted") else self.sender,
            "messaging_service_sid": self.service,
            "num_media": str(len(self.media)),
            "num_segments": str(segments),
            "price": f"{-0.0079 * max(1, segments):.5f}" if rated else None,
            "price_unit": "USD",
            "sid": self.sid,
            "status": status,
            "subresource_uris": {"media": f"{uri}/Media.json", "feedback": f"{uri}/Feedback.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }


def segment_count(body: str) -> int:
    alone, joined = (160, 153) if body.isascii() else (70, 67)
    return 1 if len(body) <= alone else -(-len(body) // joined)


def live_walk(
    created: datetime, first: str, fate: int | None, start: datetime | None = None
) -> list[tuple[datetime, str]]:
    """The statuses that a message made through the API will have. `start`: when its schedule lets it go."""
    begin = start or created
    walk = [(created, first)] + ([(begin, "queued")] if start else [])
    walk += [(begin + timedelta(seconds=1), "sending"), (begin + timedelta(seconds=2), "sent")]
    if fate != STUCK:
        walk.append((begin + timedelta(seconds=5), "undelivered" if fate else "delivered"))
    return walk


def magic_fate(to: str) -> int | None:
    if not to.startswith("+1500555"):
        return None
    if to.endswith("034"):
        return 30034
    if to.endswith("099"):
        return STUCK
    return 30000 + int(to[-1]) if to[-1] in "345678" else None


class Mailbox:
    """The messages of one account, in the two orders the list has."""

    def __init__(self, history: list[Message]) -> None:
        self.by_sid = {message.sid: message for message in history}
        self.known = dict(self.by_sid)  # deleted ones too: a page token may name them
        self.created = sorted(history, key=_created_key)
        self.sent = sorted((m for m in history if m.sent_at(m.created)), key=_sent_key)
        self.live: list[Message] = []
        self.blocked: set[str] = set()
        for message in self.created:
            self._heed(message)

    def add(self, message: Message) -> None:
        self.by_sid[message.sid] = self.known[message.sid] = message
        insort(self.created, message, key=_created_key)
        self.live.append(message)
        self._heed(message)

    def remove(self, message: Message) -> None:
        del self.by_sid[message.sid]
        for held in (self.created, self.sent, self.live):
            if message in held:
                held.remove(message)

    def _heed(self, message: Message) -> None:
        """Stop words block the sender's number here; only a start word lifts that."""
        if message.direction == "inbound":
            kind = message.opt_out_type or opt_out_type(message.body)
            if kind == "STOP":
                self.blocked.add(message.sender or "")
            elif kind == "START":
                self.blocked.discard(message.sender or "")

    def since(self, oldest: datetime) -> list[Message]:
        """All messages from then on, oldest first, sent or not."""
        return self.created[bisect_left(self.created, (oldest, -1), key=_created_key) :]

    def between(self, after: datetime, before: datetime, now: datetime) -> list[Message]:
        """Messages by `date_sent`, oldest first, both ends included."""
        first = bisect_left(self.sent, (after, -1), key=_sent_key)
        last = bisect_left(self.sent, (before + timedelta(microseconds=1), -1), key=_sent_key)
        moving = [m for m in self.live if (sent := m.sent_at(now)) and after <= sent <= before]
        found = self.sent[first:last]
        return sorted(found + moving, key=lambda m: (m.sent_at(now), m.seq)) if moving else found


def opt_out_type(body: str) -> str:
    word = body.strip().upper()
    return next((kind for kind, words in _KINDS.items() if word in words), "")


_KINDS = {"STOP": STOP_WORDS, "START": START_WORDS, "HELP": HELP_WORDS}
_EVER = datetime.max.replace(tzinfo=UTC)


def _created_key(message: Message) -> tuple[datetime, int]:
    return message.created, message.seq


def _sent_key(message: Message) -> tuple[datetime, int]:
    return message.sent_at(_EVER) or _EVER, message.seq
