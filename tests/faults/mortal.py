"""The whole way in one process that may be killed at any moment: sync -> build -> publish -> emit -> deliver -> outcomes.

`python tests/faults/mortal.py` reads lines `{"now": ISO, "die": [phase, seconds] or null}` and forks a child for each, which has
everything imported already and is killed so long after it began that phase. Answers `{"code": int, "said": text}`; the code
of a death is -9.
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

import dbt.cli.main  # noqa: F401  (imported once, before the forks)

from connectors.http import Clock, Http
from pipeline.follow_up.deliver import deliver
from pipeline.follow_up.emit import emit
from pipeline.follow_up.opt_outs import take_opt_outs
from pipeline.follow_up.outcomes import land_outcomes
from pipeline.office import Office
from pipeline.publishing import publish
from pipeline.sync import sync
from pipeline.warehouse import build
from pipeline.workshop import Workshop

MOST_SECONDS = 300


class StartedAt(Clock):
    """Real time that began at another moment."""

    def __init__(self, start: datetime) -> None:
        self._start, self._began = start, time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._began)


def cycle(now: datetime) -> None:
    office, clock = Office.from_env(), StartedAt(now)
    shop = Workshop(office.settings, office.engine, http=Http(clock=clock))
    phase("sync")
    sync(shop, office.connections(), now=now)
    phase("build")
    office.write_directory()
    build(office.settings, urgent=True)
    phase("publish")
    publish(office.settings)
    phase("emit")
    take_opt_outs(office, now=now)
    emit(office, now=clock.now())
    phase("deliver")
    deliver(office, clock=clock, seconds=20)
    phase("outcomes")
    land_outcomes(office, now=clock.now())


def phase(name: str) -> None:
    os.write(1, f"@{name}\n".encode())


def run(now: datetime, die: tuple[str, float] | None) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        try:
            cycle(now)
        except BaseException:
            os.write(1, traceback.format_exc().encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    said, deadline = b"", time.monotonic() + MOST_SECONDS
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, min(0.02, deadline - time.monotonic())))
        if ready:
            part = os.read(reading, 65536)
            if not part:
                break
            said += part
            if die and f"@{die[0]}\n".encode() in part:
                deadline = time.monotonic() + die[1]
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            break
    _, status = os.waitpid(child, 0)
    os.close(reading)
    return {"code": os.waitstatus_to_exitcode(status), "said": said.decode(errors="replace")[-4000:]}


for line in sys.stdin:
    asked = json.loads(line)
    sys.stdout.write(json.dumps(run(datetime.fromisoformat(asked["now"]), asked["die"])) + "\n")
    sys.stdout.flush()
