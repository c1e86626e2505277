"""Rotating OAuth tokens of a connection: sealed in the store, refreshed by one process at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Engine, delete, update

from connectors.oauth import Tokens
from pipeline.store.engine import add, stamp
from pipeline.store.schema import leases
from pipeline.store.sealed import Sealed

LEASE = timedelta(seconds=60)


class StoredVault:
    """A `TokenVault` in the store. The lock is a lease: a process that dies holding it delays the others by a minute at most."""

    def __init__(self, engine: Engine, sealed: Sealed, connection: str, clock: Callable[[], datetime]) -> None:
        self._engine, self._sealed, self._now = engine, sealed, clock
        self._name = f"oauth:{connection}"

    def load(self) -> Tokens | None:
        text = self._sealed.get(self._name)
        return msgspec.json.decode(text, type=Tokens) if text else None

    def save(self, tokens: Tokens) -> None:
        self._sealed.put(self._name, msgspec.json.encode(tokens).decode(), self._now())

    @contextmanager
    def lock(self) -> Iterator[None]:
        holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        while not self._take(holder):
            time.sleep(0.05)
        try:
            yield
        finally:
            with self._engine.begin() as connection:
                connection.execute(delete(leases).where(leases.c.name == self._name, leases.c.holder == holder))

    def _take(self, holder: str) -> bool:
        now = self._now()
        values = {"holder": holder, "expires_at": stamp(now + LEASE)}
        with self._engine.begin() as connection:
            expired = (leases.c.name == self._name, leases.c.expires_at < stamp(now))
            if connection.execute(update(leases).where(*expired).values(**values)).rowcount:
                return True
            return add(connection, leases, {"name": self._name, **values})
