"""How much the intake takes: of one request, of one connection in a while, and of everything at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

MB = 1024 * 1024


@dataclass(frozen=True)
class Caps:
    """What is more than this is refused, and nothing of it is stored. A connection may send `burst` events at once and
    `per_second` for ever: far more than any provider does, and too little to fill the disk in a night."""

    body: int = MB
    path: int = 2_000  # bytes of path and query
    headers: int = 100
    header_bytes: int = 32_768
    body_seconds: float = 20.0  # for a body to arrive; no provider waits longer for its answer
    reading: int = 128 * MB  # bytes of all bodies that are in memory
    waiting: int = 5_000  # events that wait for the disk; of one connection half as many
    per_second: float = 500.0
    burst: float = 60_000.0


class Rate:
    """Token buckets, one for each key."""

    def __init__(self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._left: dict[tuple[str, str], tuple[float, float]] = {}

    def wait(self, key: tuple[str, str]) -> float:
        """0 if one more may come now (it is counted), else the seconds until it may."""
        now = self._clock()
        left, at = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        if left < 1:
            self._left[key] = (left, now)
            return (1 - left) / self._per_second
        self._left[key] = (left - 1, now)
        return 0.0
