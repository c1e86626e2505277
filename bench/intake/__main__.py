"""Whether the inbox keeps up with a burst: signed webhooks at a fixed rate, every acknowledged one found again and drained.

    python -m bench.intake [--seconds 10] [--rate 2000] [--clients 8] [--rounds 2] [--json FILE]

`leadtrail intake` runs as its own process on the store that it has by default (SQLite, durable), with real connections, real
signatures and real opt-outs; the sender shares the machine's cores with it. The best round's times count, because whatever else
the machine does can only add to them; lost events count in every round. Ends with an error if a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.intake.events import SECRET, Sent, clients_file, requests
from bench.intake.load import Load, Result
from pipeline.office import Office
from pipeline.settings import Settings

ROOT = Path(__file__).parent.parent.parent
WARM_UP = 300  # requests before the clock starts, of their own connections and statements
CONNECTIONS = 200

P99 = 0.250  # seconds
SUCCESS = 0.999  # of all requests
DRAINED = 60.0  # seconds


@dataclass(frozen=True)
class Round:
    """Seconds, but for the counts. `behind`: the most that the sender itself was late."""

    sent: int
    acknowledged: int
    others: dict[int, int]
    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    longest: float
    behind: float
    lost: int
    twice: int
    stopped: int
    drained: int
    draining: float
    cpu: float
    load: float

    @property
    def missed(self) -> list[str]:
        problems = []
        if self.lost or self.twice:
            problems.append(f"{self.lost} acknowledged events lost, {self.twice} stored twice")
        if self.acknowledged < SUCCESS * self.sent:
            problems.append(f"only {self.acknowledged} of {self.sent} acknowledged")
        if self.p99 > P99:
            problems.append(f"p99 {self.p99 * 1000:.0f} ms")
        if self.drained != self.acknowledged or self.draining > DRAINED:
            problems.append(f"{self.drained} drained in {self.draining:.0f} s")
        return problems


@contextlib.contextmanager
def running_intake(home: Path, clients: int) -> Iterator[tuple[int, int]]:
    """(port, process id)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "clients.yaml").write_text(clients_file(clients))
    environment = {**os.environ, "LEADTRAIL_HOME": str(home), "S": SECRET, "LEADTRAIL_CLIENTS_FILE": ""}
    command = [sys.executable, "-m", "pipeline.cli", "intake", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                if answer.status == 200:
                    yield port, process.pid
                    return
            time.sleep(0.1)
        raise SystemExit("the intake did not start")
    finally:
        process.terminate()
        process.wait()


def run_round(seconds: float, rate: float, clients: int) -> Round:
    with tempfile.TemporaryDirectory(prefix="leadtrail-intake-") as folder:
        home = Path(folder)
        with running_intake(home, clients) as (port, pid):
            count = int(seconds * rate)
            every = list(requests(count + WARM_UP, clients, port))
            uvloop.run(Load(port, every[count:], 1000, CONNECTIONS).run())
            before = cpu_seconds(pid)
            result = uvloop.run(Load(port, every[:count], rate, CONNECTIONS).run())
            cpu = cpu_seconds(pid) - before
        return judged(home, every, count, result, cpu)


def judged(home: Path, every: Sequence[Sent], count: int, result: Result, cpu: float) -> Round:
    acknowledged = [every[number].body for number, status in enumerate(result.statuses) if 200 <= status < 300]
    with contextlib.closing(sqlite3.connect(home / "store.db")) as store:
        kept = Counter(body for (body,) in store.execute("select body from inbox"))
        stopped = store.execute("select count(*) from suppressions where state = 'standing'").fetchone()[0]
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home), "S": SECRET})
    began = time.monotonic()
    outcomes = Office(settings).sync(now=datetime.now(UTC), drain_only=True)
    draining = time.monotonic() - began
    times = sorted(second for second, status in zip(result.seconds, result.statuses, strict=True) if status)
    statuses = Counter(result.statuses)
    return Round(
        sent=count,
        acknowledged=len(acknowledged),
        others={status: many for status, many in statuses.items() if not 200 <= status < 300},
        rate=count / result.took,
        **{name: times[min(int(len(times) * share), len(times) - 1)] for name, share in SHARES.items()},
        longest=times[-1],
        behind=result.late,
        lost=sum(kept[body] == 0 for body in acknowledged),
        twice=sum(many > 1 for many in kept.values()),
        stopped=stopped,
        drained=sum(outcome.webhooks for outcome in outcomes) - WARM_UP,
        draining=draining,
        cpu=cpu,
        load=os.getloadavg()[0],
    )


SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p999": 0.999}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(number: int, one: Round) -> None:
    times = "  ".join(f"{name} {getattr(one, name) * 1000:.0f}" for name in (*SHARES, "longest"))
    print(
        f"round {number}: {one.sent:,} sent at {one.rate:,.0f}/s, {one.acknowledged:,} acknowledged {one.others or ''}"
    )
    print(f"  ms from due to answered: {times}  (the sender was at most {one.behind * 1000:.0f} ms behind)")
    print(f"  {one.lost} lost, {one.twice} stored twice, {one.stopped:,} opt-outs in force; intake CPU {one.cpu:.1f} s")
    print(f"  {one.drained:,} drained to landing in {one.draining:.1f} s; load average {one.load:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rounds = []
    for number in range(1, given.rounds + 1):
        rounds.append(run_round(given.seconds, given.rate, given.clients))
        show(number, rounds[-1])
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in rounds], indent=2))
    lost = [
        f"round {n}: {one.lost} lost, {one.twice} twice" for n, one in enumerate(rounds, 1) if one.lost or one.twice
    ]
    best = min(rounds, key=lambda one: (len(one.missed), one.p99))
    problems = lost + best.missed
    if problems:
        raise SystemExit("✗ missed: " + "; ".join(problems))
    print(f"✓ p99 {best.p99 * 1000:.0f} ms (at most {P99 * 1000:.0f}), nothing acknowledged was lost")


if __name__ == "__main__":
    main()
