"""Rotating credentials: one refresh at a time per connection, and the new pair is durable before it is used."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from connectors.base import CredentialError, Secret
from connectors.http import Clock


@dataclass(frozen=True)
class Tokens:
    """An access token with its end (UTC), the refresh token that comes after it, and the one before (kept as a fallback).

    `seed` is a fingerprint of the refresh token a person configured: when they configure another, theirs wins.
    `reconnect_by` is when the refresh token ends if it is not renewed, where the provider says so.
    """

    access_token: str
    expires_at: datetime
    refresh_token: str = ""
    previous_refresh_token: str = ""
    seed: str = ""
    reconnect_by: datetime | None = None

    def __repr__(self) -> str:
        return f"Tokens(expires_at={self.expires_at})"


class TokenVault(Protocol):
    """Where a connection's tokens live. `lock()` holds off every other process that would refresh the same ones."""

    def load(self) -> Tokens | None: ...
    def save(self, tokens: Tokens) -> None: ...
    def lock(self) -> AbstractContextManager[None]: ...


class MemoryVault:
    """For a connector used on its own, and for tests: forgets everything when the process ends."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self.tokens = tokens
        self._lock = threading.Lock()

    def load(self) -> Tokens | None:
        return self.tokens

    def save(self, tokens: Tokens) -> None:
        self.tokens = tokens

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self._lock:
            yield


class InvalidGrant(Exception):
    """The provider says a refresh token is dead."""


MOST_TRIES = 4  # refresh tokens of one renewal, before the configured one is the last

Exchange = Callable[[str], Tokens]
"""Trade a refresh token for new Tokens. Raises InvalidGrant if the provider says it is dead."""


class RotatingToken:
    """A bearer token that is renewed through the vault: once for all processes, saved before it is used.

    Renewal tries the stored refresh token, then one that another process or a person stored meanwhile, then the one
    before; each once. After that only a person can reconnect.
    """

    margin = timedelta(minutes=5)

    def __init__(
        self, *, connection: str, vault: TokenVault, configured: Secret, exchange: Exchange, clock: Clock
    ) -> None:
        self._connection, self._vault, self._exchange, self._clock = connection, vault, exchange, clock
        self._configured = configured.reveal()
        self._seed = hashlib.sha256(self._configured.encode()).hexdigest()[:16]

    def headers(self) -> Mapping[str, str]:
        tokens = self._mine(self._vault.load())
        if tokens is None or tokens.expires_at - self._clock.now() < self.margin:
            tokens = self._renewed(stale=tokens.access_token if tokens else "")
        return {"Authorization": f"Bearer {tokens.access_token}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        self._renewed(stale=refused.get("Authorization", "").removeprefix("Bearer "))
        return True

    def _mine(self, tokens: Tokens | None) -> Tokens | None:
        """Stored tokens that descend from the refresh token configured now (a reconnect starts a new line)."""
        return tokens if tokens and tokens.seed == self._seed else None

    def _untried(self, tried: Sequence[str]) -> str:
        """The next refresh token worth a try; "" if there is none. The vault is read each time: a person or a process that
        does not share our lock may have stored a newer one meanwhile."""
        stored = self._mine(self._vault.load())
        candidates = [stored.refresh_token, stored.previous_refresh_token] if stored and len(tried) < MOST_TRIES else []
        return next((token for token in (*candidates, self._configured) if token and token not in tried), "")

    def _renewed(self, *, stale: str) -> Tokens:
        with self._vault.lock():
            stored = self._mine(self._vault.load())
            if stored and stored.access_token != stale and stored.expires_at - self._clock.now() >= self.margin:
                return stored  # another process was faster
            tried: list[str] = []
            while refresh_token := self._untried(tried):
                tried.append(refresh_token)
                try:
                    fresh = self._exchange(refresh_token)
                except InvalidGrant:
                    continue
                fresh = replace(
                    fresh,
                    refresh_token=fresh.refresh_token or refresh_token,
                    previous_refresh_token=refresh_token,
                    seed=self._seed,
                )
                self._vault.save(fresh)
                return fresh
        raise CredentialError(
            "the provider no longer accepts the refresh token.",
            connection=self._connection,
            fix="Reconnect: authorise again, put the new refresh token where the old one is, and run `leadtrail check`.",
        )
