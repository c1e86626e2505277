"""Reading messages when the API has no "changed since" filter and cannot filter what was never sent.

The only date filter is on `date_sent`; status, price and error code change for days after it, and a queued, scheduled or
failed message has none. So a run reads, from three days before the newest `date_sent` it has landed:

1. the unfiltered list, newest first, for the messages without a `date_sent`;
2. the list by `date_sent`, oldest slice first, for all others; the cursor moves when a slice is complete;
3. once a day, one by one, the messages that neither list shows any more and whose status can still change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from connectors.base import Cursor, Page, Record, Rejected, absent
from connectors.http import Account
from connectors.twilio.account import Item, only_this_account, pages, read_item, record

log = logging.getLogger("leadtrail.twilio")

DAY = timedelta(days=1)
LOOKBACK = timedelta(days=3)  # receipts come hours later, prices when they are rated
OLDEST = timedelta(days=399)  # messages are kept about 13 months; asking for earlier is an error
LONGEST_SLICE = timedelta(days=32)
FINAL = frozenset({"delivered", "undelivered", "failed", "canceled", "received", "read"})
WAITING = frozenset({"scheduled", "accepted"})
# Without a receipt by now there will be none: `sent` is for ever on routes that report nothing.
GIVE_UP = timedelta(days=4)
GIVE_UP_SCHEDULED = timedelta(days=40)  # a message can be scheduled some 35 days ahead


@dataclass
class Progress:
    """The cursor in the making. `open`: message id -> when to stop asking what became of it."""

    sent_to: datetime | None = None
    rechecked_at: datetime | None = None
    open: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, cursor: Cursor | None) -> Progress:
        saved = cursor or {}
        return cls(_instant(saved.get("sent_to")), _instant(saved.get("rechecked_at")), dict(saved.get("open", {})))

    def cursor(self) -> Cursor:
        return {
            "sent_to": self.sent_to.isoformat() if self.sent_to else None,
            "rechecked_at": self.rechecked_at.isoformat() if self.rechecked_at else None,
            "open": dict(self.open),
        }

    def note(self, item: Item, now: datetime) -> None:
        """Remember whether this message's status can still change."""
        self.seen.add(item.sid)
        if item.status in FINAL:
            self.open.pop(item.sid, None)
        elif item.sid and item.created_at:
            until = item.created_at + (GIVE_UP_SCHEDULED if item.status in WAITING else GIVE_UP)
            if until > now:
                self.open[item.sid] = until.isoformat()


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def read_history(
    account: Account, account_sid: str, cursor: Cursor | None, *, mine: Callable[[Item], bool], now: datetime
) -> Iterator[Page]:
    progress = Progress.of(cursor)
    since = _since(account, progress.sent_to, now)
    first = yield from _unsent(account, account_sid, progress, since, mine, now)
    if first:
        yield from _sent(account, account_sid, progress, max(since, first - DAY), mine, now)
    if progress.rechecked_at is None or now - progress.rechecked_at >= DAY:
        yield from _recheck(account, account_sid, progress, now)


def _since(account: Account, sent_to: datetime | None, now: datetime) -> datetime:
    oldest = now - OLDEST
    since = sent_to - LOOKBACK if sent_to else oldest
    if since < oldest:
        log.warning(
            "%s: messages from %s to %s are no longer kept by Twilio and are missing for good",
            account.connection, since.date(), oldest.date(),
        )  # fmt: skip
    return max(since, oldest)


def _unsent(
    account: Account, account_sid: str, progress: Progress, since: datetime, mine: Callable[[Item], bool], now: datetime
) -> Generator[Page, None, datetime | None]:
    """Yield messages without `date_sent`. Returns the oldest time seen: nothing was sent before it. None: no messages."""
    first: datetime | None = None
    for items, _ in pages(account, account_sid, "Messages"):
        created = [when for _, item in items if (when := item.created_at or item.sent_at)]
        first = min([*created, first] if first else created, default=None)
        records = []
        for raw, item in items:
            if item.sent_at is None and (item.created_at or since) >= since and mine(item):
                progress.note(item, now)
                records.append(record(raw, item))
        if records:
            yield Page("messages", records, progress.cursor())
        if created and max(created) < since:
            break
    return first


def _sent(
    account: Account, account_sid: str, progress: Progress, since: datetime, mine: Callable[[Item], bool], now: datetime
) -> Iterator[Page]:
    """Yield messages by `date_sent`, in slices from old to new: short where there are many, long where there are few."""
    start = max(_midnight(since), now - OLDEST)
    span = DAY
    while start < now:
        end = _midnight(start) + span
        count = 0
        for items, last in pages(account, account_sid, "Messages", _between(start, end if end < now else None)):
            count += 1
            records = []
            for raw, item in items:
                if item.sent_at and mine(item):
                    progress.note(item, now)
                    progress.sent_to = max(progress.sent_to or item.sent_at, item.sent_at)
                    records.append(record(raw, item))
            # Within a slice the newest comes first, so only its last page makes the slice complete.
            if records or last:
                yield Page("messages", records, progress.cursor() if last else None)
        start = end
        span = min(span * 2, LONGEST_SLICE) if count == 1 else DAY


def _midnight(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _between(start: datetime, end: datetime | None) -> dict[str, str]:
    """The operator is part of the parameter's name. Whether it includes its instant, and whether it means whole days, is not
    settled: whole-day slices that overlap by a second lose nothing either way."""
    after = {"DateSent>": f"{start - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"}
    return {**after, "DateSent<": f"{end:%Y-%m-%dT%H:%M:%SZ}"} if end else after


def _recheck(account: Account, account_sid: str, progress: Progress, now: datetime) -> Iterator[Page]:
    overdue = {sid for sid, until in progress.open.items() if datetime.fromisoformat(until) <= now}
    records = []
    for found, item in fetch(account, account_sid, [sid for sid in progress.open if sid not in progress.seen], now):
        if item:
            progress.note(item, now)
        else:
            progress.open.pop(found.record_id, None)
        records.append(found)
    for sid in overdue:
        progress.open.pop(sid, None)
    progress.rechecked_at = now
    yield Page("messages", records, progress.cursor())


def fetch(
    account: Account, account_sid: str, sids: Sequence[str], now: datetime
) -> Iterator[tuple[Record, Item | None]]:
    """The named messages as they are now; one that is gone comes as an absence, without an item."""
    for sid in sids:
        path = f"/2010-04-01/Accounts/{account_sid}/Messages/{sid}.json"
        try:
            raw = account.get(path, msgspec.Raw)
        except Rejected as refusal:
            if refusal.status != 404:
                raise
            yield absent(sid, now.astimezone(UTC)), None
        else:
            item = read_item(raw)
            only_this_account(account, account_sid, [item])
            yield record(raw, item), item
