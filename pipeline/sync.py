"""Sync: every connection, its feeds and its waiting webhooks, from provider to landing. Knows nothing of Dagster.

One process does many syncs: a few threads over one HTTP pool, one shared set of open segments. A connection that fails is
recorded as that connection's state and changes nothing for the others.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from connectors.base import (
    ConfigError,
    Connector,
    ConnectorError,
    Cursor,
    Page,
    RateLimited,
    Received,
    Record,
    TransientError,
)
from connectors.http import Http
from connectors.registry import connector_class
from pipeline.clients import ClientsFileError, ConnectionConfig
from pipeline.landing import Batch, Landing, Segment, content_keys
from pipeline.options import Lookup, build_options, options_print, secret_lookup
from pipeline.settings import Settings
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState, load_states, save_states_in
from pipeline.store.engine import stamp
from pipeline.store.feeds import ABSENT, FeedState, commit_feed, load_feeds
from pipeline.store.sealed import KeyProblem, Sealed, load_key
from pipeline.store.segments import note_segments
from pipeline.store.tokens import StoredVault

log = logging.getLogger("leadtrail.sync")

WORKERS = 8
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


class Workshop:
    """What a process needs to sync: built once, used by all threads."""

    def __init__(self, settings: Settings, engine: Engine, *, http: Http | None = None) -> None:
        self.settings, self.engine = settings, engine
        self.http = http or Http()
        self.sealed = Sealed(engine, load_key(settings.key, settings.home))
        self.lookup: Lookup = secret_lookup(settings, self.sealed.get)

    def connector(self, config: ConnectionConfig) -> tuple[Connector, str]:
        """The connection's connector, and the fingerprint of its settings."""
        options = build_options(config, self.settings, self.lookup)[0]
        return self._made(config, options), options_print(config, options)

    def accepting(self, config: ConnectionConfig) -> list[Connector]:
        """Its connectors for webhooks: while a secret is being replaced, the old one is good as well."""
        return [self._made(config, options) for options in build_options(config, self.settings, self.lookup)]

    def _made(self, config: ConnectionConfig, options: Any) -> Connector:
        vault = StoredVault(self.engine, self.sealed, config.name, self.http.clock.now)
        return connector_class(config.provider)(options, connection=config.name, http=self.http, vault=vault)


def sync(
    shop: Workshop,
    configs: Sequence[ConnectionConfig],
    *,
    now: datetime,
    streams: set[tuple[str, str]] | None = None,
    workers: int = WORKERS,
    on_done: Callable[[Outcome], None] | None = None,
    drain_only: bool = False,
) -> list[Outcome]:
    """Sync the given connections; return what happened to each. `streams` limits it to feeds that serve those
    (provider, stream) pairs. `drain_only` asks no provider for news: it only brings waiting webhooks to landing."""
    states = load_states(shop.engine)
    feeds = load_feeds(shop.engine, [(config.client_id, config.provider) for config in configs])
    landing = Landing(shop.settings.landing, commit=_committer(shop.engine, now))
    waiting = inbox.waiting(shop.engine)

    def run(config: ConnectionConfig) -> Outcome:
        owner = (config.client_id, config.provider)
        outcome = _Run(shop, config, landing, feeds, now, streams, drain_only, owner in waiting).go(states.get(owner))
        # a drain asks the provider for nothing new, so it proves nothing about the connection
        told = not (outcome.skipped or drain_only)
        # also writes what is old, should nobody have anything to add for a while
        landing.add([], _state(outcome, config.owner) if told else None)
        if on_done:
            on_done(outcome)
        return outcome

    with ThreadPoolExecutor(max_workers=workers) as pool:
        outcomes = list(pool.map(run, configs))
    landing.flush()
    return outcomes


def _state(outcome: Outcome, owner: str) -> ConnectionState:
    return ConnectionState(
        client_id=outcome.client_id,
        provider=outcome.provider,
        state=outcome.state,
        owner=owner,
        reason=outcome.reason,
        fix=outcome.fix,
        retry_at=stamp(outcome.retry_at) if outcome.retry_at else None,
        records_last_run=outcome.landed.total(),
        options_print=outcome.options_print,
    )


# ---- what is committed with the segments ----


@dataclass
class _Progress:
    """What a feed may remember once everything added with and before it is durable: records landed, and its cursor if it
    has one for this page."""

    state: FeedState
    stream: str
    landed: Sequence[tuple[Record, bytes]]
    cursor: Cursor | None = None  # None: the feed's cursor stays as it is


@dataclass
class _Drained:
    """Inbox rows whose records are in the segments."""

    ids: list[int]
    quarantined: list[tuple[inbox.Stored, Sequence[tuple[str, bytes]]]]


def _committer(engine: Engine, now: datetime) -> Callable[[list[Segment], list[object]], None]:
    def commit(segments: list[Segment], done: list[object]) -> None:
        cursors: dict[int, tuple[FeedState, Cursor | None, list[str]]] = {}
        for one in done:
            if isinstance(one, _Progress):
                state, cursor, touched = cursors.get(id(one.state), (one.state, one.state.cursor, []))
                for record, key in one.landed:
                    state.seen.landed(one.stream, record, key, now)
                    touched.append(f"{one.stream}/{record.record_id}")
                cursors[id(state)] = (state, cursor if one.cursor is None else one.cursor, touched)
        with engine.begin() as connection:
            note_segments(connection, segments, now)
            moved = [
                (state, cursor)
                for state, cursor, touched in cursors.values()
                if commit_feed(connection, state, cursor, touched, now)
            ]
            # a connection is called good in the transaction that makes its last records durable, and not at the end of the run
            save_states_in(connection, [one for one in done if isinstance(one, ConnectionState)], now)
            for one in done:
                if isinstance(one, _Drained):
                    inbox.mark_drained(connection, one.ids, now)
                    for event, problems in one.quarantined:
                        inbox.mark_quarantined(connection, event, problems, now)
        for state, cursor in moved:
            state.moved(cursor)

    return commit


# ---- one connection ----


class _Run:
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
        if self._must_wait(before):
            assert before is not None  # noqa: S101  (_must_wait says so)
            self.outcome.skipped, self.outcome.state = True, before.state
            self.outcome.reason, self.outcome.fix = before.reason, before.fix
            return self.outcome
        failures: list[ConnectorError] = []
        for step in self._steps(connector):
            try:
                step()
            except ConnectorError as error:
                failures.append(error)
                if isinstance(error, ConfigError | RateLimited):
                    break  # the next feed would meet the same refusal
            except Exception as error:
                log.exception("%s: unexpected failure", self.config.name)
                what = f"an unexpected failure ({type(error).__name__})."
                failures.append(
                    ConnectorError(what, connection=self.config.name, fix="See the log; report it if it repeats.")
                )
        if failures:
            return self._failed(failures)
        return self.outcome

    def _steps(self, connector: Connector) -> Iterable[Callable[[], None]]:
        if not self.drain_only:
            for feed, streams in connector.feeds().items():
                if self.streams is None or any((connector.provider, stream) in self.streams for stream in streams):
                    yield lambda feed=feed: self._pull(connector, feed)  # type: ignore[misc]
        if connector.rereads:
            self.known = dict((self._feed(_again(connector)).cursor or {}).get("known", {}))
        yield lambda: self._drain(connector)
        if connector.rereads and not self.drain_only:
            yield lambda: self._reread(connector)

    def _must_wait(self, before: ConnectionState | None) -> bool:
        """Has the provider asked us to come back later, or is a person needed and nothing has changed?"""
        if before is None or self.drain_only or before.options_print != self.outcome.options_print:
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

    def _news(self, page: Page, state: FeedState) -> tuple[Batch, _Progress]:
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
        return self._batch(page.stream, landed, "pull"), _Progress(state, page.stream, landed, page.cursor)

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

    def _drain(self, connector: Connector) -> None:
        """Bring waiting webhooks to landing: the records they carry, and a refetch of what they only hint at."""
        owner = (self.config.client_id, self.config.provider)
        feeds = {stream: feed for feed, streams in connector.feeds().items() for stream in streams}
        after = 0
        while events := inbox.pending(self.shop.engine, *owner, limit=DRAIN, after=after):
            after = events[-1].id
            hints: dict[str, dict[str, None]] = defaultdict(dict)
            drained = _Drained([], [])
            known_before = len(self.known)
            for event in events:
                received = _read(connector, event)
                for stream, record in received.records:
                    if stream == connector.rereads:
                        made_at = record.occurred_at or event.request.received_at
                        self.known.setdefault(record.record_id, [made_at.isoformat(), ""])
                    self._add(feeds, stream, [record], "webhook", event.request.received_at)
                for stream, record_id in received.refetch:
                    read_since = (stream, record_id) in self.pulled and event.request.received_at < self.started
                    if not read_since:
                        hints[stream][record_id] = None
                if received.quarantine:
                    drained.quarantined.append((event, received.quarantine))
                else:
                    drained.ids.append(event.id)
            for stream, ids in hints.items():
                for page in connector.refetch(stream, list(ids), now=self.now):
                    batch, progress = self._news(page, self._feed(feeds.get(page.stream, page.stream)))
                    self.landing.add([batch], progress)
            self.outcome.webhooks += len(events)
            self.outcome.quarantined += len(drained.quarantined)
            if (
                len(self.known) > known_before
            ):  # never later than the events are drained: nothing else tells of these again
                again = self._feed(_again(connector))
                self.landing.add([], _Progress(again, connector.rereads, (), {"known": dict(self.known)}))
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
            self.landing.add([], _Progress(state, connector.rereads, (), {"known": young}))

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
        progress = _Progress(self._feed(feeds[stream]), stream, landed) if stream in feeds else None
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
