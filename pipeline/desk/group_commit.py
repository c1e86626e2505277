"""Events become durable in groups: one transaction for hundreds, so that a burst costs one wait for the disk for all of them.

Each connection has a line of its own and the groups take from all lines in turn: one that floods us makes nobody else wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from connectors.base import Said
from pipeline.desk.opt_outs_at_the_door import Wish, heed, read_wish
from pipeline.store.inbox import Also, Event, store_events

log = logging.getLogger("leadtrail.intake")

MAX_GROUP = 500

# an event, and what was said in it about being written to
Arrival = tuple[Event, Sequence[Said]]
Waiting = tuple[Arrival, asyncio.Future[bool]]


class GroupCommit:
    """`store` returns once its event, and the opt-out in it, are durable (True), or could not be stored (False)."""

    def __init__(self, engine: Engine, *, most: int) -> None:
        self._engine, self._most = engine, most
        self._lines: dict[tuple[str, str], deque[Waiting]] = {}
        self._waiting = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()

    def has_room(self, client_id: str, provider: str) -> bool:
        line = self._lines.get((client_id, provider), ())
        return self._waiting < self._most and len(line) < self._most // 2

    async def store(self, event: Event, said: Sequence[Said] = ()) -> bool:
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._lines.setdefault((event.client_id, event.provider), deque()).append(((event, said), future))
        self._waiting += 1
        self._wake.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            group = self._next_group()
            if not self._lines:
                self._wake.clear()
            stored = await asyncio.to_thread(store_arrivals, self._engine, [arrival for arrival, _ in group])
            for (_, future), durable in zip(group, stored, strict=True):
                if not future.done():
                    future.set_result(durable)

    def _next_group(self) -> list[Waiting]:
        """The oldest of each line in turn."""
        group: list[Waiting] = []
        while self._lines and len(group) < MAX_GROUP:
            owner = next(iter(self._lines))
            line = self._lines.pop(owner)
            group.append(line.popleft())
            if line:
                self._lines[owner] = line  # to the end of the round
        self._waiting -= len(group)
        return group


def store_arrivals(engine: Engine, arrivals: Sequence[Arrival]) -> list[bool]:
    """Which of them are durable now. If the store itself fails, none; if it is something in one of them, the others are."""
    try:
        store_events(engine, [event for event, _ in arrivals], _also(arrivals))
        return [True] * len(arrivals)
    except Exception as failure:
        # only the kind: the words may quote what was sent
        log.error("could not store %d webhooks together: %s", len(arrivals), type(failure).__name__)
        if isinstance(failure, OperationalError) or len(arrivals) == 1:
            return [False] * len(arrivals)
    return [stored for arrival in arrivals for stored in store_arrivals(engine, [arrival])]


def _also(arrivals: Sequence[Arrival]) -> dict[int, Also]:
    """What the events change besides the inbox, by their place. Reading words takes time: it happens before the transaction."""
    also: dict[int, Also] = {}
    for place, (event, said) in enumerate(arrivals):
        wishes = [wish for one in said if (wish := read_wish(one))]
        if wishes:
            also[place] = _heeding(event, wishes)
    return also


def _heeding(event: Event, wishes: Sequence[Wish]) -> Also:
    def follow(connection: Connection) -> None:
        for wish in wishes:
            heed(connection, event.client_id, wish, event.request.received_at)

    return follow
