"""The intake's process: uvicorn, with what it needs to keep up with a burst and to bear callers that mean no good."""

from __future__ import annotations

import sys

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS = 4_000
MOST_HEAD = 65_536  # bytes; whatever the application thinks of the head, it is kept in memory until it ends


class CappedHeads(HttpToolsProtocol):
    """Closes the connection on a head that does not end: the parser itself would read on for ever."""

    _head = 0
    _in_head = False

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > MOST_HEAD:
                self.transport.close()


def serve(application: ASGIApp, *, host: str, port: int) -> None:
    # The thread that writes to the store gives Python's lock away at every row, and gets it back only this long after it asked:
    # 5 ms if left alone, times the rows of a group.
    sys.setswitchinterval(0.0005)
    uvicorn.run(
        application,
        host=host,
        port=port,
        http=CappedHeads,
        limit_concurrency=MOST_CONNECTIONS,
        server_header=False,
        log_level="warning",
        access_log=False,
    )
