"""What ingest costs: CPU seconds per million records from HTTP to typed columns, ours and others', in one run on one machine.

    python -m bench.ingest [--records 200000] [--rounds 2] [--peers limit,dlt,pyairbyte,ours] [--json FILE]

Every contender reads the same calls (40 fields, 1.7 kB) from the same loopback server, in processes of its own, in rounds that
take turns. CPU is what the operating system counted for those processes and their children, start-up included; the best round
counts, because whatever else the machine does can only add to it. The peers run in environments of their own under
.leadtrail-bench/, installed from peers-*.lock at first use. Ends with an error if a target is missed or a peer could not run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = ROOT / ".leadtrail-bench"
PEERS = {"dlt": "peer_dlt.py", "pyairbyte": "peer_airbyte.py"}
UNPREPARED = shutil.ignore_patterns(
    "landing", "warehouse.*", "dbt", "logs"
)  # leaves the empty store, and the statement
WARM_UP = 500  # records each contender reads once before it is measured, so that nobody pays for compiling its modules

# ours may cost at most this share of theirs
SHARE = {"dlt": 1 / 5, "pyairbyte": 1 / 12, "limit": 1.8}
MOST_MEMORY = 500.0  # MB
TINY_SYNCS = 12_000
MOST_TINY = 20.0  # CPU seconds
YARDSTICK = 10_000_000


class Failed(Exception):
    """A process did not do what it should."""


@dataclass
class Cost:
    """CPU seconds of each round, and the largest memory of any process (MB)."""

    cpu: list[float] = field(default_factory=list)
    memory: float = 0.0

    def add(self, cpu: float, memory: float) -> None:
        self.cpu.append(cpu)
        self.memory = max(self.memory, memory)


@dataclass(frozen=True)
class Verdict:
    target: str
    reached: str
    passed: bool


# ---- running ----


def run(command: Sequence[str | Path], log: Path) -> tuple[float, float, str]:
    """CPU seconds and peak memory (MB) of a process with its children, and what it printed."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("w+") as output:
        process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environ)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise Failed("\n".join(text.strip().splitlines()[-15:]) or f"exit code {process.returncode}")
    # ru_maxrss: kilobytes on Linux, bytes on macOS
    return used.ru_utime + used.ru_stime, used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2), text


@contextmanager
def serving(records: int) -> Iterator[str]:
    """The server with so many calls; yields its origin."""
    command = [sys.executable, "-m", "bench.ingest.server", str(records)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def commands(contender: str, home: Path, origin: str, records: int) -> list[list[str | Path]]:
    """What a contender runs, one process after the other."""
    common: list[str | Path] = ["--home", home, "--records", str(records)]
    if contender == "ours":
        return [
            [sys.executable, "-m", "bench.ingest.ours", "calls", "--origin", origin, *common],
            [sys.executable, "-m", "bench.ingest.stage", *common],
        ]
    if contender == "limit":
        return [[sys.executable, "-m", "bench.ingest.limit", "--origin", origin, *common]]
    return [[python_of(contender), HERE / PEERS[contender], "--origin", origin, *common]]


def measure(contender: str, work: Path, prepared: Path, origin: str, records: int) -> tuple[float, float]:
    """One round: CPU seconds and peak memory."""
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    if contender == "ours":
        shutil.copytree(prepared, home, ignore=UNPREPARED)
    cpu = memory = 0.0
    for command in commands(contender, home, origin, records):
        used, peak, _ = run(command, work / "log")
        cpu, memory = cpu + used, max(memory, peak)
    shutil.rmtree(home)
    return cpu, memory


def measure_tiny(work: Path, prepared: Path, rounds: int) -> tuple[Cost, dict[str, int]]:
    """Twelve thousand small syncs in one process, some times over from the same state: what they cost and did."""
    first, home, cost = work / "first-tick", work / "tick", Cost()
    shutil.copytree(prepared, first, ignore=UNPREPARED)
    command: list[str | Path] = [sys.executable, "-m", "bench.ingest.ours"]
    with serving(0) as origin:
        run([*command, "first-tick", "--origin", origin, "--home", first], work / "log")
        for _ in range(rounds):
            shutil.copytree(first, home)
            count_requests(origin, "/_count" if cost.cpu else "/_round")
            cpu, memory, text = run([*command, "tick", "--origin", origin, "--home", home], work / "log")
            cost.add(cpu, memory)
            shutil.rmtree(home)
        requests = count_requests(origin, "/_count")
    done = {**json.loads(text.splitlines()[-1]), "requests": requests}
    if done["streams"] < TINY_SYNCS:
        raise Failed(f"only {done['streams']} of {TINY_SYNCS} streams had news")
    return cost, done


def count_requests(origin: str, path: str) -> int:
    """The number of requests since the last time we asked. After `/_round` the tiny accounts serve new records."""
    with urllib.request.urlopen(f"{origin}{path}") as answer:
        return int(answer.read())


# ---- the peers' environments ----


def python_of(peer: str) -> Path:
    return ENVIRONMENTS / peer / "bin" / "python"


def install(peer: str) -> None:
    """Make the peer's environment if there is none, or if its lock has changed."""
    lock = HERE / f"peers-{'airbyte' if peer == 'pyairbyte' else peer}.lock"
    folder, digest = ENVIRONMENTS / peer, hashlib.sha256(lock.read_bytes()).hexdigest()
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == digest:
        return
    print(f"Installing {peer} from {lock.name} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    installer = [uv, "pip", "install", "--python", python_of(peer)] if uv else [python_of(peer), "-m", "pip", "install"]
    made = subprocess.run([sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), folder], check=False)
    if (
        made.returncode
        or subprocess.run([*installer, "--quiet", "--require-hashes", "-r", lock], check=False).returncode
    ):
        raise Failed("its environment could not be installed (is there a network?)")
    mark.write_text(digest)


# ---- the verdict ----


def yardstick() -> float:
    """CPU seconds of a fixed piece of work. Shared machines have been seen to take twice as long from one hour to the next."""
    began = time.process_time()
    number = 0
    while number < YARDSTICK:
        number += 1
    return time.process_time() - began


def judge(costs: dict[str, Cost], tiny: Cost | None) -> list[Verdict]:
    verdicts = []
    if "ours" in costs:
        ours = min(costs["ours"].cpu)
        for other, share in SHARE.items():
            if other in costs:
                ratio = ours / min(costs[other].cpu)
                wanted = f"1/{1 / share:.0f} of {other}" if share < 1 else f"{share} x {other}"
                got = f"1/{1 / ratio:.1f}" if ratio < 1 else f"{ratio:.2f} x"
                verdicts.append(Verdict(f"at most {wanted}", got, ratio <= share))
        memory = costs["ours"].memory
        verdicts.append(Verdict(f"at most {MOST_MEMORY:.0f} MB", f"{memory:.0f} MB", memory <= MOST_MEMORY))
    if tiny:
        cpu = min(tiny.cpu)
        verdicts.append(Verdict(f"{TINY_SYNCS:,} tiny syncs in {MOST_TINY:.0f} s", f"{cpu:.1f} s", cpu <= MOST_TINY))
    return verdicts


def show(
    costs: dict[str, Cost], records: int, tiny: Cost | None, done: dict[str, int], verdicts: list[Verdict]
) -> None:
    print(f"\n{'':<10} {'cs/M best':>10} {'median':>8} {'x limit':>8} {'x ours':>8} {'peak MB':>8}")
    for name, cost in sorted(costs.items(), key=lambda item: min(item[1].cpu)):
        best, middle = (each * 1e6 / records for each in (min(cost.cpu), statistics.median(cost.cpu)))
        shares = [f"{min(cost.cpu) / min(costs[o].cpu):8.2f}" if o in costs else f"{'':>8}" for o in ("limit", "ours")]
        print(f"{name:<10} {best:>10.1f} {middle:>8.1f} {shares[0]} {shares[1]} {cost.memory:>8.0f}")
    if tiny:
        print(
            f"\n{done['streams']:,} tiny syncs: {min(tiny.cpu):.1f} s of CPU, {tiny.memory:.0f} MB "
            f"({done['records']:,} records, {done['requests']:,} requests)"
        )
    print()
    for verdict in verdicts:
        print(f"{'met   ' if verdict.passed else 'MISSED'}  {verdict.target}: {verdict.reached}")


def compare(
    contenders: list[str], work: Path, prepared: Path, records: int, rounds: int
) -> tuple[dict[str, Cost], list[str]]:
    """The costs of all contenders, and why some are missing."""
    costs: dict[str, Cost] = {}
    skipped: list[str] = []
    with serving(WARM_UP) as origin:
        for name in list(contenders):
            try:
                if name in PEERS:
                    install(name)
                measure(name, work, prepared, origin, WARM_UP)
                costs[name] = Cost()
            except Failed as error:
                skipped.append(f"{name} was left out: {error}")
    with serving(records) as origin:
        for number in range(rounds):
            for name, cost in costs.items():
                used = measure(name, work, prepared, origin, records)
                cost.add(*used)
                print(f"round {number + 1}: {name:<10} {used[0]:6.1f} s of CPU, {used[1]:5.0f} MB", flush=True)
    return costs, skipped


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description="What ingest costs, ours and others'.")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", default="limit,dlt,pyairbyte,ours", help="contenders, separated by commas")
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()
    contenders = args.peers.split(",")
    if unknown := set(contenders) - {*PEERS, "limit", "ours"}:
        parser.error(f"nobody is called {', '.join(sorted(unknown))}; there are ours, limit, {', '.join(PEERS)}")
    ENVIRONMENTS.mkdir(exist_ok=True)
    tiny, done = Cost(), dict[str, int]()
    before = yardstick()
    with tempfile.TemporaryDirectory(dir=ENVIRONMENTS) as folder:
        work, prepared = Path(folder), Path(folder) / "prepared"
        if "ours" in contenders:
            dbt, _, _ = run([sys.executable, "-m", "bench.ingest.ours", "prepare", "--home", prepared], work / "log")
            print(f"dbt itself took {dbt:.1f} s of CPU over one record; not counted below", flush=True)
        costs, skipped = compare(contenders, work, prepared, args.records, args.rounds)
        if "ours" in costs:
            tiny, done = measure_tiny(work, prepared, args.rounds)
    pace = (before, yardstick())
    verdicts = judge(costs, tiny if tiny.cpu else None)
    show(costs, args.records, tiny if tiny.cpu else None, done, verdicts)
    print(
        f"\nThe machine counted to {YARDSTICK:,} in {pace[0]:.2f} s of CPU before all this, in {pace[1]:.2f} s after it."
    )
    print(*skipped, sep="\n", file=sys.stderr)
    if args.json:
        results: dict[str, Any] = {
            "records": args.records,
            "costs": {name: asdict(cost) for name, cost in costs.items()},
            "tiny": {**asdict(tiny), **done},
            "verdicts": [asdict(verdict) for verdict in verdicts],
            "skipped": skipped,
            "yardstick": pace,
        }
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if not skipped and all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
