"""Sync: every connection, its feeds and its waiting webhooks, from provider to landing. Knows nothing of Dagster.

One process does many syncs: a few threads over one HTTP pool, one shared set of open segments. A connection that fails is
recorded as that connection's state and changes nothing for the others.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection as StoreConnection
from sqlalchemy import Engine, insert

from connectors.base import (
    ConfigError,
    Connector,
    ConnectorError,
    Cursor,
    Page,
    RateLimited,
    Record,
    TransientError,
)
from connectors.http import Http
from connectors.registry import connector_class
from pipeline.clients import ClientsFileError, ConnectionConfig, Lookup, build_options, options_print, secret_lookup
from pipeline.landing import Batch, Landing, Segment, content_keys
from pipeline.settings import Settings
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState, load_states, save_states
from pipeline.store.engine import stamp
from pipeline.store.feeds import ABSENT, FeedState, commit_feed, load_feeds
from pipeline.store.schema import segments as segments_table
from pipeline.store.sealed import Sealed, load_key
from pipeline.store.tokens import StoredVault

log = logging.getLogger("leadtrail.sync")

WORKERS = 8
DRAIN = 500  # webhooks read from the inbox at a time
# a connection that only a person can mend is tried again when its settings change, or this often: never a retry storm
NEEDS_PERSON_PAUSE = timedelta(minutes=30)


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
        options = build_options(config, self.settings, self.lookup)
        vault = StoredVault(self.engine, self.sealed, config.name, self.http.clock.now)
        connector = connector_class(config.provider)(options, connection=config.name, http=self.http, vault=vault)
        return connector, options_print(config, options)


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

    def run(config: ConnectionConfig) -> Outcome:
        outcome = _Run(shop, config, landing, feeds, now, streams, drain_only).go(
            states.get((config.client_id, config.provider))
        )
        if on_done:
            on_done(outcome)
        return outcome

    with ThreadPoolExecutor(max_workers=workers) as pool:
        outcomes = list(pool.map(run, configs))
    landing.flush()
    owners = {(config.client_id, config.provider): config.owner for config in configs}
    save_states(shop.engine, [_state(o, owners[o.client_id, o.provider]) for o in outcomes if not o.skipped], now)
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
    """A feed's cursor, valid once everything added before it is durable."""

    state: FeedState
    cursor: Cursor


@dataclass
class _Drained:
    """Inbox rows whose records are in the segments."""

    ids: list[int]
    quarantined: list[tuple[inbox.Stored, Sequence[tuple[str, bytes]]]]


def _committer(engine: Engine, now: datetime) -> Callable[[list[Segment], list[object]], None]:
    def commit(segments: list[Segment], done: list[object]) -> None:
        with engine.begin() as connection:
            _note_segments(connection, segments, now)
            newest: dict[int, _Progress] = {}
            for one in done:
                if isinstance(one, _Progress):
                    newest[id(one.state)] = one
                elif isinstance(one, _Drained):
                    inbox.mark_drained(connection, one.ids, now)
                    for event, problems in one.quarantined:
                        inbox.mark_quarantined(connection, event, problems, now)
            for progress in newest.values():
                commit_feed(connection, progress.state, progress.cursor, now)

    return commit


def _note_segments(connection: StoreConnection, segments: list[Segment], now: datetime) -> None:
    if segments:
        connection.execute(insert(segments_table), [{**s.__dict__, "created_at": stamp(now)} for s in segments])


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
    ) -> None:
        self.shop, self.config, self.landing, self.feeds, self.now = shop, config, landing, feeds, now
        self.streams, self.drain_only = streams, drain_only
        self.outcome = Outcome(config.client_id, config.provider)
        self.pulled: set[tuple[str, str]] = set()

    def go(self, before: ConnectionState | None) -> Outcome:
        try:
            connector, self.outcome.options_print = self.shop.connector(self.config)
        except ClientsFileError as error:
            return self._ended("needs_person", str(error), "Mend the clients file, then run `leadtrail check`.")
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
        yield lambda: self._drain(connector)

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
        key = (self.config.client_id, self.config.provider, feed)
        state = self.feeds.setdefault(key, FeedState(*key))
        for page in connector.pull(feed, state.cursor, now=self.now):
            batch = self._batch(page, state, "pull", self.shop.http.clock.now())
            self.landing.add([batch], None if page.cursor is None else _Progress(state, page.cursor))

    def _batch(self, page: Page, state: FeedState, via: str, received_at: datetime) -> Batch:
        """The page's records that say something new, with their content keys."""
        self.outcome.served[page.stream] += len(page.records)
        keys = content_keys(self.config.client_id, self.config.provider, page.stream, page.records)
        records, kept = [], []
        for record, key in zip(page.records, keys, strict=True):
            self.pulled.add((page.stream, record.record_id))
            last = state.seen.last(page.stream, record)
            if last == (ABSENT if record.absent else key[:8]):
                continue
            state.seen.landed(page.stream, record, key, self.now)
            # served again after an absence: a new version even if its content is the old one
            kept.append(bytes(a ^ 0xFF for a in key) if last == ABSENT else key)
            records.append(record)
        self.outcome.landed[page.stream] += len(records)
        return Batch(self.config.client_id, self.config.provider, page.stream, via, received_at, records, kept)

    # ---- webhooks ----

    def _drain(self, connector: Connector) -> None:
        """Bring waiting webhooks to landing: the records they carry, and a refetch of what they only hint at."""
        after = 0
        while events := inbox.pending(
            self.shop.engine, self.config.client_id, self.config.provider, limit=DRAIN, after=after
        ):
            after = events[-1].id
            batches: list[Batch] = []
            hints: dict[str, dict[str, None]] = defaultdict(dict)
            drained = _Drained([], [])
            for event in events:
                received = connector.receive(event.request)
                batches += self._carried(event, received.records)
                for stream, record_id in received.refetch:
                    if (stream, record_id) not in self.pulled or self.drain_only:
                        hints[stream][record_id] = None
                if received.quarantine:
                    drained.quarantined.append((event, received.quarantine))
                else:
                    drained.ids.append(event.id)
            for stream, ids in hints.items():
                batches += self._refetched(connector, stream, list(ids))
            self.outcome.webhooks += len(events)
            self.outcome.quarantined += len(drained.quarantined)
            self.landing.add(batches, drained)

    def _carried(self, event: inbox.Stored, records: Sequence[tuple[str, Record]]) -> list[Batch]:
        batches = []
        for stream, record in records:
            keys = content_keys(event.client_id, event.provider, stream, [record])
            batches.append(
                Batch(event.client_id, event.provider, stream, "webhook", event.request.received_at, [record], keys)
            )
            self.outcome.landed[stream] += 1
            self.outcome.served[stream] += 1
        return batches

    def _refetched(self, connector: Connector, stream: str, ids: list[str]) -> list[Batch]:
        batches = []
        for page in connector.refetch(stream, ids, now=self.now):
            keys = content_keys(self.config.client_id, self.config.provider, page.stream, page.records)
            self.outcome.landed[page.stream] += len(page.records)
            self.outcome.served[page.stream] += len(page.records)
            received_at = self.shop.http.clock.now()
            batches.append(
                Batch(self.config.client_id, self.config.provider, page.stream, "pull", received_at, page.records, keys)
            )
        return batches

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
        log.warning("%s: %s %s", self.config.name, reason, fix)
        return self.outcome


def _severity(error: ConnectorError) -> int:
    order: list[type[Any]] = [ConfigError, RateLimited, TransientError]
    return next((i for i, kind in enumerate(order) if isinstance(error, kind)), len(order))
