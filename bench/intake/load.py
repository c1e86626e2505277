"""The sender: a fixed rate whatever the answers, over plain sockets. An answer's time counts from when its request was due, not
from when there was a connection for it: a server that stalls makes everyone behind it wait, and that is what providers see."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bench.intake.events import Sent


@dataclass
class Result:
    """By request: the status (0: none), and the seconds from due to answered."""

    statuses: list[int]
    seconds: list[float]
    late: float = 0.0  # the most that the sender itself was behind
    took: float = 0.0


class _Line(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load, self._number, self._due = load, -1, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._load.free.append(self)

    def send(self, number: int, due: float, wire: bytes) -> None:
        self._number, self._due = number, due
        self._transport.write(wire)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        # head and body of an answer may come apart, or the body with the next head: only the first lines matter
        at = data.find(b"HTTP/1.1 ")
        if self._number >= 0 and at >= 0:
            self._load.answered(self._number, int(data[at + 9 : at + 12]), self._due)
            self._number = -1
            self._load.free.append(self)
            self._load.pump()

    def connection_lost(self, problem: Exception | None) -> None:
        if self._number >= 0:
            self._load.answered(self._number, 0, self._due)


class Load:
    def __init__(self, port: int, requests: Sequence[Sent], rate: float, connections: int) -> None:
        self._port, self._requests, self._rate, self._connections = port, requests, rate, connections
        self.free: deque[_Line] = deque()
        self._queue: deque[tuple[int, float]] = deque()
        self._open = len(requests)
        self._done = asyncio.Event()
        self.result = Result([0] * len(requests), [0.0] * len(requests))

    async def run(self) -> Result:
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
        began, sent = time.perf_counter(), 0
        while sent < len(self._requests):
            now = time.perf_counter()
            due = min(int((now - began) * self._rate) + 1, len(self._requests))
            for number in range(sent, due):
                at = began + number / self._rate
                self.result.late = max(self.result.late, now - at)
                self._queue.append((number, at))
            sent = due
            self.pump()
            await asyncio.sleep(0.001)
        await asyncio.wait_for(self._done.wait(), 60)
        self.result.took = time.perf_counter() - began
        return self.result

    def pump(self) -> None:
        while self._queue and self.free:
            number, due = self._queue.popleft()
            self.free.popleft().send(number, due, self._requests[number].wire)

    def answered(self, number: int, status: int, due: float) -> None:
        self.result.statuses[number], self.result.seconds[number] = status, time.perf_counter() - due
        self._open -= 1
        if not self._open:
            self._done.set()
