"""A sync that dies by SIGKILL: `python tests/faults/doomed.py POINT N [PROVIDER [CLIENT]]`, at the Nth time it passes POINT.

POINT is "segment" (a file is written, nothing committed), "commit" (just after a commit), "page" (a page was taken in),
"token received" (a rotated token, not yet stored), "token saved" (stored, not yet used), or "-" to live.
Segments are written every few records, so that there is something between two commits to lose.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pipeline.landing
from pipeline.office import Office
from pipeline.store.tokens import StoredVault

POINT, LAST = sys.argv[1], int(sys.argv[2])
passed = 0


def die_after(point: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        die_at(point)
        return result

    return wrapped


def die_at(point: str) -> None:
    global passed
    passed += point == POINT
    if passed == LAST:
        os.kill(os.getpid(), signal.SIGKILL)


pipeline.landing.FLUSH_RECORDS = 20
pipeline.landing.write_segment = die_after("segment", pipeline.landing.write_segment)
pipeline.landing.Landing._write = die_after("commit", pipeline.landing.Landing._write)  # type: ignore[method-assign]
pipeline.landing.Landing.add = die_after("page", pipeline.landing.Landing.add)  # type: ignore[method-assign]

save = StoredVault.save


def save_or_die(self: StoredVault, tokens: Any) -> None:
    die_at("token received")
    save(self, tokens)
    die_at("token saved")


StoredVault.save = save_or_die  # type: ignore[method-assign]

provider, client = [*sys.argv[3:], "", ""][:2]
outcomes = Office.from_env().sync(now=datetime.now(UTC), provider=provider, client=client)
for outcome in outcomes:
    if outcome.state != "ok":
        sys.stdout.write(f"{outcome.client_id}/{outcome.provider} {outcome.state}: {outcome.reason} {outcome.fix}\n")
sys.exit(any(outcome.state != "ok" for outcome in outcomes))
