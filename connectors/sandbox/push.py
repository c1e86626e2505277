"""Sending webhooks as providers do: exactly the headers they send, over plain connections, with patience.

`http.client`, because a client library adds headers of its own (Angi sends no User-Agent) and costs ten times the work.
"""

from __future__ import annotations

import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime
from threading import Lock
from urllib.parse import urlsplit

from connectors.sandbox.provider import Push

WORKERS = 16
ATTEMPTS = 8
TIMEOUT = 30.0


def send_all(queue: list[tuple[str, Push]], to: str) -> tuple[Counter[str], Counter[str]]:
    """Send (provider, push) pairs from the end of the queue until it is empty; return how many were acknowledged and how many
    refused, by provider. `to` is the intake's address."""
    sent: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    lock = Lock()

    def work(_: int) -> None:
        line = _Line(to)
        while True:
            with lock:
                if not queue:
                    return
                provider, push = queue.pop()
            ok = _deliver(line, f"{to.rstrip('/')}/webhooks/{push.client_id}/{provider}{push.tail}", push)
            with lock:
                (sent if ok else refused)[provider] += 1

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))
    return sent, refused


def _deliver(line: _Line, url: str, push: Push) -> bool:
    for attempt in range(ATTEMPTS):
        try:
            status, body = line.send(push, url)
        except (OSError, http.client.HTTPException):
            line.close()
            status, body = 503, b""
        if status < 300:
            return push.success in body
        if status < 500 and status != 429:
            return False
        time.sleep(0.2 * 2**attempt)
    return False


class _Line:
    """One kept-alive connection."""

    def __init__(self, to: str) -> None:
        parts = urlsplit(to)
        cls = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = cls(parts.netloc, timeout=TIMEOUT)

    def send(self, push: Push, url: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._connection.putrequest(push.method, path, skip_accept_encoding=True)
        for name, value in push.sign(url).items():
            self._connection.putheader(name, value)
        # history is told late: the one header of HTTP for that
        self._connection.putheader("Date", format_datetime(push.at, usegmt=True))
        self._connection.putheader("Content-Length", str(len(push.body)))
        self._connection.endheaders(push.body)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()
