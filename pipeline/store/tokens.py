"""Rotating OAuth tokens of a connection: sealed in the store, refreshed by one process at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Engine, bindparam, delete, select, update

from connectors.oauth import Tokens
from pipeline.store.engine import add, stamp
from pipeline.store.schema import leases
from pipeline.store.sealed import Sealed

LEASE = timedelta(minutes=5)  # longer than a refresh may take with all its attempts

# built once: every renewal runs them, and building them takes longer than running them
_HELD = select(leases).where(leases.c.name == bindparam("of_name")).with_for_update()
_RELEASE = delete(leases).where(leases.c.name == bindparam("of_name"), leases.c.holder == bindparam("of_holder"))


class StoredVault:
    """A `TokenVault` in the store. The lock is a lease: one that a process of this machine left when it died is taken over at
    once, one of another machine when it ends."""

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
                connection.execute(_RELEASE, {"of_name": self._name, "of_holder": holder})

    def _take(self, holder: str) -> bool:
        now = self._now()
        values = {"holder": holder, "expires_at": stamp(now + LEASE)}
        with self._engine.begin() as connection:
            held = connection.execute(_HELD, {"of_name": self._name}).first()
            if held is not None and (held.expires_at < stamp(now) or _is_dead(held.holder)):
                taken = (leases.c.name == self._name, leases.c.holder == held.holder)
                return connection.execute(update(leases).where(*taken).values(**values)).rowcount == 1
            return add(connection, leases, {"name": self._name, **values})


def _is_dead(holder: str) -> bool:
    """Was it a process of this machine that is no more?"""
    host, _, rest = holder.partition(":")
    process = rest.partition(":")[0]
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # alive, and somebody else's
        return False
    return False
