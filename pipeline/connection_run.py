"""One connection's sync: its feeds, its waiting webhooks, and how it ended."""

from __future__ import annotations

import logging
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connectors.base import (
    ConfigError,
    Connector,
    ConnectorError,
    Cursor,
    Page,
    RateLimited,
    Received,
    Record,
    Registration,
    TransientError,
)
from connectors.delivery import TextMessage
from pipeline.clients import ClientsFileError, ConnectionConfig
from pipeline.landing import Batch, Landing, content_keys
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState
from pipeline.store.feeds import ABSENT, FeedState
from pipeline.store.registrations import note_registration
from pipeline.store.sealed import KeyProblem
from pipeline.workshop import Workshop

log = logging.getLogger("leadtrail.sync")

DRAIN = 500  # webhooks read from the inbox at a time
# a connection that only a person can mend is tried again when its settings change, or this often: never a retry storm
NEEDS_PERSON_PAUSE = timedelta(minutes=30)
REREAD_KNOWN = timedelta(days=90)  # longer than any provider's schedule of looking again


@dataclass
class Outcome:
    """What one connection's sync did. `landed` counts records by stream; `served` what the provider sent, unchanged included."""

    client_id: str
    provider: str
    state: str = "ok"
    reason: str = ""
    fix: str = ""
    retry_at: datetime | None = None
    skipped: bool = False
    landed: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    webhooks: int = 0
    quarantined: int = 0
    options_print: str = ""


@dataclass
class Progress:
    """What a feed may remember once everything added with and before it is durable: records landed, and its cursor if it
    has one for this page."""

    state: FeedState
    stream: str
    landed: Sequence[tuple[Record, bytes]]
    cursor: Cursor | None = None  # None: the feed's cursor stays as it is


@dataclass
class Drained:
    """Inbox rows whose records are in the segments."""

    ids: list[int]
    quarantined: list[tuple[inbox.Stored, Sequence[tuple[str, bytes]]]]


class ConnectionRun:
    """One connection's sync."""

    def __init__(
        self,
        shop: Workshop,
        config: ConnectionConfig,
        landing: Landing,
        feeds: dict[tuple[str, str, str], FeedState],
        now: datetime,
        streams: set[tuple[str, str]] | None,
        drain_only: bool,
        webhooks_wait: bool,
    ) -> None:
        self.webhooks_wait = webhooks_wait
        self.shop, self.config, self.landing, self.feeds, self.now = shop, config, landing, feeds, now
        self.streams, self.drain_only = streams, drain_only
        self.outcome = Outcome(config.client_id, config.provider)
        self.failures: list[ConnectorError] = []
        self.started = shop.http.clock.now()
        # what this run has read, kept only if webhooks wait that may hint at it
        self.pushed: dict[str, datetime] = {}  # records of the stream to read again, with the time they were made
        self.pulled: set[tuple[str, str]] = set()
        # pushed records to look at again: {id: [made, read]}
        self.known: dict[str, list[str]] = {}

    def go(self, before: ConnectionState | None) -> Outcome:
        try:
            connector, self.outcome.options_print = self.shop.connector(self.config)
        except (ClientsFileError, KeyProblem) as error:
            return self._ended("needs_person", str(error), "Mend that, then run `leadtrail check`.")
        if connector.rereads:
            self.known = dict((self._feed(_again(connector)).cursor or {}).get("known", {}))
        if before is not None and self._must_wait(before):
            # the provider is not asked, but what it has sent us by itself (an opt-out, a lead) does not wait
            self._try(lambda: self._drain(connector, ask=False))
            self.outcome.skipped, self.outcome.state = True, before.state
            self.outcome.reason, self.outcome.fix = before.reason, before.fix
            return self.outcome
        self._ask(connector)
        return self._failed(self.failures) if self.failures else self.outcome

    def _ask(self, connector: Connector) -> None:
        """Every wanted feed, then the webhooks. Once the provider has refused us it is not asked again in this run."""
        refused = False
        for feed, streams in connector.feeds().items() if not self.drain_only else ():
            if self.streams is None or any((connector.provider, stream) in self.streams for stream in streams):
                refused = refused or self._try(lambda feed=feed: self._pull(connector, feed))  # type: ignore[misc]
        refused = self._try(lambda: self._drain(connector, ask=not refused)) or refused
        if connector.rereads and not self.drain_only and not refused:
            self._try(lambda: self._reread(connector))
        if TextMessage in connector.delivers and not self.drain_only and not refused:
            self._ask_for_the_permit(connector)

    def _ask_for_the_permit(self, connector: Connector) -> None:
        """Whether texts may go this way. No answer takes nothing from what was read; after a while it is a hold's cause."""
        registration: Registration | None = None
        try:
            registration = connector.registration()
        except ConnectorError as error:
            log.warning("%s: how its registration stands could not be asked: %s", self.config.name, error.what)
        note_registration(self.shop.engine, self.config.client_id, self.config.provider, registration, self.now)

    def _try(self, step: Callable[[], None]) -> bool:
        """Do a step; keep its failure. True if the provider refused us in a way that the next call would meet too."""
        try:
            step()
        except KeyProblem as error:
            self.failures.append(
                ConfigError(str(error), connection=self.config.name, fix="Then run `leadtrail check`.")
            )
            return True
        except ConnectorError as error:
            self.failures.append(error)
            return isinstance(error, ConfigError | RateLimited)
        except Exception as error:
            log.exception("%s: unexpected failure", self.config.name)
            what = f"an unexpected failure ({type(error).__name__})."
            fix = "See the log; report it if it repeats."
            self.failures.append(ConnectorError(what, connection=self.config.name, fix=fix))
        return False

    def _must_wait(self, before: ConnectionState) -> bool:
        """Has the provider asked us to come back later, or is a person needed and nothing has changed?"""
        if before.options_print != self.outcome.options_print:
            return False
        if before.state == "deferred" and before.retry_at:
            return self.now < datetime.fromisoformat(before.retry_at)
        if before.state == "needs_person":
            return self.now - datetime.fromisoformat(before.last_attempt_at) < NEEDS_PERSON_PAUSE
        return False

    def _pull(self, connector: Connector, feed: str) -> None:
        state = self._feed(feed)
        for page in connector.pull(feed, state.cursor, now=self.now):
            batch, progress = self._news(page, state)
            self.landing.add([batch], progress)

    def _feed(self, feed: str) -> FeedState:
        key = (self.config.client_id, self.config.provider, feed)
        return self.feeds.setdefault(key, FeedState(*key))

    def _news(self, page: Page, state: FeedState) -> tuple[Batch, Progress]:
        """The page's records that say something new, and what the feed may remember once they are durable."""
        self.outcome.served[page.stream] += len(page.records)
        keys = content_keys(self.config.client_id, self.config.provider, page.stream, page.records)
        landed: list[tuple[Record, bytes]] = []
        for record, key in zip(page.records, keys, strict=True):
            if self.webhooks_wait:
                self.pulled.add((page.stream, record.record_id))
            last = state.seen.last(page.stream, record)
            if last != (ABSENT if record.absent else key[:8]):
                # served again after an absence: a new version even if its content is the old one
                landed.append((record, bytes(byte ^ 0xFF for byte in key) if last == ABSENT else key))
        return self._batch(page.stream, landed, "pull"), Progress(state, page.stream, landed, page.cursor)

    def _batch(
        self, stream: str, landed: Sequence[tuple[Record, bytes]], via: str, received_at: datetime | None = None
    ) -> Batch:
        self.outcome.landed[stream] += len(landed)
        return Batch(
            client_id=self.config.client_id,
            provider=self.config.provider,
            stream=stream,
            via=via,
            received_at=received_at or self.shop.http.clock.now(),
            records=[record for record, _ in landed],
            keys=[key for _, key in landed],
        )

    # ---- webhooks ----

    def _drain(self, connector: Connector, *, ask: bool) -> None:
        """Bring waiting webhooks to landing: the records they carry, and (if we may `ask`) a refetch of what they only hint at.
        Those that still hint at something stay in the inbox."""
        owner = (self.config.client_id, self.config.provider)
        feeds = {stream: feed for feed, streams in connector.feeds().items() for stream in streams}
        after = 0
        while events := inbox.pending(self.shop.engine, *owner, limit=DRAIN, after=after):
            after = events[-1].id
            hints: dict[str, dict[str, None]] = defaultdict(dict)
            carried, hinted = Drained([], []), Drained([], [])
            known_before = len(self.known)
            for event in events:
                received = _read(connector, event)
                self._carried(connector, feeds, event, received.records)
                wanted = [hint for hint in received.refetch if not self._read_since(hint, event)]
                for stream, record_id in wanted:
                    hints[stream][record_id] = None
                drained = hinted if wanted else carried
                if received.quarantine:
                    drained.quarantined.append((event, received.quarantine))
                else:
                    drained.ids.append(event.id)
            if len(self.known) > known_before:  # with the events or before them: nothing tells of these again
                again = self._feed(_again(connector))
                self.landing.add([], Progress(again, connector.rereads, (), {"known": dict(self.known)}))
            self._done(carried)
            if hints and ask:
                for stream, ids in hints.items():
                    for page in connector.refetch(stream, list(ids), now=self.now):
                        batch, progress = self._news(page, self._feed(feeds.get(page.stream, page.stream)))
                        self.landing.add([batch], progress)
                self._done(hinted)

    def _carried(
        self, connector: Connector, feeds: dict[str, str], event: inbox.Stored, records: Sequence[tuple[str, Record]]
    ) -> None:
        for stream, record in records:
            if stream == connector.rereads:
                made_at = record.occurred_at or event.request.received_at
                self.known.setdefault(record.record_id, [made_at.isoformat(), ""])
            self._add(feeds, stream, [record], "webhook", event.request.received_at)

    def _read_since(self, hint: tuple[str, str], event: inbox.Stored) -> bool:
        """Has this run read the record after the webhook came?"""
        return hint in self.pulled and event.request.received_at < self.started

    def _done(self, drained: Drained) -> None:
        self.outcome.webhooks += len(drained.ids) + len(drained.quarantined)
        self.outcome.quarantined += len(drained.quarantined)
        self.landing.add([], drained)

    def _reread(self, connector: Connector) -> None:
        """Look again at pushed records whose provider tells of no change. The feed's cursor knows them all."""
        state, known = self._feed(_again(connector)), dict(self.known)
        made = {record_id: datetime.fromisoformat(at) for record_id, (at, _) in known.items()}
        read = {record_id: datetime.fromisoformat(at) for record_id, (_, at) in known.items() if at}
        due = connector.due_rereads(made.items(), self.now, read)
        for page in connector.refetch(connector.rereads, due, now=self.now) if due else ():
            batch, progress = self._news(page, state)
            self.landing.add([batch], progress)
        for record_id in due:
            known[record_id] = [known[record_id][0], self.now.isoformat()]
        young = {record_id: at for record_id, at in known.items() if self.now - made[record_id] < REREAD_KNOWN}
        if young != self.known:
            self.landing.add([], Progress(state, connector.rereads, (), {"known": young}))

    def _add(
        self,
        feeds: dict[str, str],
        stream: str,
        records: Sequence[Record],
        via: str,
        received_at: datetime | None = None,
    ) -> None:
        """Land records that came outside a feed's pages; the feed that also serves their stream remembers them."""
        keys = content_keys(self.config.client_id, self.config.provider, stream, records)
        landed = list(zip(records, keys, strict=True))
        self.outcome.served[stream] += len(records)
        progress = Progress(self._feed(feeds[stream]), stream, landed) if stream in feeds else None
        self.landing.add([self._batch(stream, landed, via, received_at)], progress)

    # ---- endings ----

    def _failed(self, failures: list[ConnectorError]) -> Outcome:
        worst = min(failures, key=_severity)
        state = "needs_person" if isinstance(worst, ConfigError) else "failing"
        if isinstance(worst, RateLimited):
            state, self.outcome.retry_at = "deferred", worst.retry_at
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return self._ended(state, worst.what + more, worst.fix)

    def _ended(self, state: str, reason: str, fix: str) -> Outcome:
        self.outcome.state, self.outcome.reason, self.outcome.fix = state, reason, fix
        log.info("%s: %s %s", self.config.name, reason, fix)
        return self.outcome


def _again(connector: Connector) -> str:
    return f"{connector.rereads}:again"


def _read(connector: Connector, event: inbox.Stored) -> Received:
    """What the event means. One that breaks its reader is put aside: it must not hold up those behind it."""
    try:
        return connector.receive(event.request)
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]  # never the message: it may quote what was sent
        log.error("%s: %s in %s:%s", connector.connection, type(error).__name__, at.filename, at.lineno)
        return Received(quarantine=[(f"reading it failed ({type(error).__name__})", event.request.body)])


def _severity(error: ConnectorError) -> int:
    order: list[type[Any]] = [ConfigError, RateLimited, TransientError]
    return next((i for i, kind in enumerate(order) if isinstance(error, kind)), len(order))
