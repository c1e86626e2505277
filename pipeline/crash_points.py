"""The named places where a process may be killed in a test: between two steps that must not be torn apart unnoticed.

Nothing happens unless CRASH_AT names the point (`name`, or `name#3` for the third time it is passed). The tests take
their list of points from here, so a point without a test cannot be added.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

POINTS = (
    "emit: read",  # what is due has been read
    "emit: queued",  # the queue has it
    "deliver: claimed",
    "deliver: about to send",  # said so, provider not called
    "deliver: sent",  # the provider has it, we have not written that down
    "deliver: recorded",
    "deliver: refused",  # for good; that, and what follows from it, is about to be written down
    "outcomes: landed",
)
ERASURE_POINTS = (
    "erase: noted",  # what is to go is known, and stays out
    "erase: landing rewritten",
    "erase: store swept",
    "erase: warehouse dropped",
    "erase: published",  # older copies are still there
)
_passed: Counter[str] = Counter()
_lock = threading.Lock()


def crash_here(point: str) -> None:
    """Die by SIGKILL if a test asks for it here."""
    wanted = os.environ.get("CRASH_AT")
    if not wanted:
        return
    name, _, times = wanted.rpartition("#") if "#" in wanted else (wanted, "", "1")
    if name != point:
        return
    with _lock:
        _passed[point] += 1
        if _passed[point] == int(times):
            os.kill(os.getpid(), signal.SIGKILL)
