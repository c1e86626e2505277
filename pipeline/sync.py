"""Sync: every connection, its feeds and its waiting webhooks, from provider to landing. Knows nothing of Dagster.

One process does many syncs: a few threads over one HTTP pool, one shared set of open segments. A connection that fails is
recorded as that connection's state and changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from sqlalchemy import Engine

from connectors.base import Cursor
from pipeline.clients import ConnectionConfig
from pipeline.connection_run import ConnectionRun, Drained, Outcome, Progress
from pipeline.landing import Landing, Segment
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState, load_states, save_states_in
from pipeline.store.engine import stamp
from pipeline.store.erasures import Door
from pipeline.store.feeds import FeedState, commit_feed, load_feeds
from pipeline.store.segments import note_segments
from pipeline.workshop import Workshop

WORKERS = 8


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
    door = Door(shop.settings, shop.engine).open
    landing = Landing(shop.settings.landing, commit=_committer(shop.engine, now), door=door)
    waiting = inbox.waiting(shop.engine)

    def run(config: ConnectionConfig) -> Outcome:
        owner = (config.client_id, config.provider)
        outcome = ConnectionRun(shop, config, landing, feeds, now, streams, drain_only, owner in waiting).go(
            states.get(owner)
        )
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


def _committer(engine: Engine, now: datetime) -> Callable[[list[Segment], list[object]], None]:
    def commit(segments: list[Segment], done: list[object]) -> None:
        cursors: dict[int, tuple[FeedState, Cursor | None, list[str]]] = {}
        for one in done:
            if isinstance(one, Progress):
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
                if isinstance(one, Drained):
                    inbox.mark_drained(connection, one.ids, now)
                    for event, problems in one.quarantined:
                        inbox.mark_quarantined(connection, event, problems, now)
        for state, cursor in moved:
            state.moved(cursor)

    return commit
