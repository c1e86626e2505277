"""Emit, deliver and land outcomes in a process that may be killed.

`python tests/faults/doomed_delivery.py` reads lines `{"now": ISO, "crash_at": POINT or "", "die_after": seconds or null}`, forks
a child for each, and answers `{"code": int, "said": text}`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from datetime import datetime, timedelta
from typing import Any

from connectors.http import Clock
from pipeline.follow_up.deliver import deliver
from pipeline.follow_up.emit import emit
from pipeline.follow_up.outcomes import land_outcomes
from pipeline.office import Office


class StartedAt(Clock):
    """Real time that began at another moment."""

    def __init__(self, start: datetime) -> None:
        self._start, self._began = start, time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._began)


def live(now: datetime) -> None:
    office, clock = Office.from_env(), StartedAt(now)
    emit(office, now=clock.now())
    deliver(office, clock=clock, seconds=20)
    land_outcomes(office, now=clock.now())


def run(now: datetime, crash_at: str, die_after: float | None) -> dict[str, Any]:
    reading, writing = os.pipe()
    deadline = time.monotonic() + (die_after if die_after is not None else 60)
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        os.environ["CRASH_AT"] = crash_at
        try:
            live(now)
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    said = b""
    while select.select([reading], [], [], 0)[0] and (part := os.read(reading, 65536)):
        said += part
    os.close(reading)
    return {"code": os.waitstatus_to_exitcode(status), "said": said.decode(errors="replace")[-2000:]}


for line in sys.stdin:
    asked = json.loads(line)
    answer = run(datetime.fromisoformat(asked["now"]), asked["crash_at"], asked["die_after"])
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
