"""Speed to lead: from a webhook's arrival to the owner's task in the CRM, through ordinary Dagster runs, while a full sync runs.

    python -m bench.speed_to_lead [--calls 50] [--every 8] [--home DIR] [--no-sync]

Past customers call and nobody answers: urgent leads, whose owner gets a task at once. Everything is as in production:
`leadtrail up` with its schedules, signed CallRail webhooks into the intake, the shipped rules in force, tasks made in the
sandbox's HubSpot over HTTP. Beside it, all the time, an empty home is synced in full from the same providers. Prints how long it
took and where the time went, and ends with an error if 95 of 100 took longer than the limit, or a task is missing or twice there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import httpx
from sqlalchemy import select

from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.schema import outputs

ROOT = Path(__file__).parent.parent.parent
LIMIT = 20.0  # seconds, for 95 of 100
RULE = "urgent-owner-task"
PARTS = ("waiting for a run", "starting it", "building", "publishing and deciding", "delivering")
# what is known of each call, for the one that has no task
STATES = """
    select events.record_id, any_value(coalesce('its step is ' || steps.state, 'on the timeline, but no step')) as state
    from timeline.fct_lead_events as events
    left join follow_up.fct_follow_up_steps as steps on events.event_id = steps.trigger_event_id and steps.rule = $rule
    where events.provider = 'callrail' and events.record_id in (select unnest($calls))
    group by events.record_id
"""
LEADTRAIL = [sys.executable, "-m", "pipeline.cli"]


@dataclass
class Journey:
    """One missed call; moments are seconds since 1970."""

    call_id: str
    acknowledged: float
    created: float = 0.0  # the run
    started: float = 0.0
    built: float = 0.0
    queued: float = 0.0  # the output
    in_crm: float = 0.0

    @property
    def took(self) -> float:
        return self.in_crm - self.acknowledged

    @property
    def parts(self) -> list[float]:
        moments = [self.acknowledged, self.created, self.started, self.built, self.queued, self.in_crm]
        return [after - before for before, after in pairwise(moments)]


@dataclass
class Run:
    created: float
    started: float
    built: float
    ended: float


@dataclass
class Bench:
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    def command(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*LEADTRAIL, *args], cwd=ROOT, env={**self.env, **more}, capture_output=True, text=True, timeout=1800
        )
        if done.returncode:
            raise SystemExit(f"leadtrail {' '.join(args)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--every", type=float, default=8.0, help="seconds between calls, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="a home that `leadtrail run` made; it is copied (default: makes one)")
    parser.add_argument("--no-sync", action="store_true", help="without a full sync beside it")
    parser.add_argument("--keep", type=Path, help="keep the home here afterwards")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leadtrail-speed-") as folder:
        bench = _prepare(Path(folder), args.home)
        journeys, lost, syncs = _measure(bench, args)
        if args.keep:
            shutil.copytree(bench.home, args.keep, symlinks=True)
    ok = _report(journeys, lost, syncs, args)
    sys.exit(0 if ok else 1)


def _prepare(folder: Path, template: Path | None) -> Bench:
    """A home with a town, built, its rules in force. The town is served by us: people must call in it."""
    home = folder / "home"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LEADTRAIL_", "DAGSTER_"))}
    bench = Bench(home, {**env, "LEADTRAIL_HOME": str(home)})
    if template:
        shutil.copytree(template, home, symlinks=True)
        link = home / "analytics.duckdb"
        target = link.resolve().name
        link.unlink()
        link.symlink_to(Path("published") / target)
        bench.command("build")  # it may have been made by older models
    else:
        print("making a town …", flush=True)
        bench.command("run", "--seed", "7", "--clients", "3", "--months", "6")
    (home / "town.json").rename(home / "bench-town.json")  # so that `leadtrail up` does not serve it itself
    return bench


def _measure(bench: Bench, args: argparse.Namespace) -> tuple[list[Journey], Counter[str], int]:
    dice = random.Random(args.seed)
    with _town(bench) as town, _up(bench) as intake:
        said = json.loads(town.stdout.readline()) if town.stdout else {}
        if said["callers"] < args.calls:
            raise SystemExit(f"The town has only {said['callers']} past customers: ask for fewer calls.")
        _call(town, intake, said["callers"] - 1)  # the first run after a start loads more than any later one
        _wait_for_quiet(bench)
        stop, synced = threading.Event(), Counter[str]()
        beside = threading.Thread(target=_sync_in_full, args=(bench, stop, synced), daemon=True)
        if not args.no_sync:
            beside.start()
            time.sleep(5)
        journeys = []
        for number in range(args.calls):
            told = _call(town, intake, number)
            journeys.append(Journey(told["call_id"], told["acknowledged"]))
            print(f"\r{number + 1} of {args.calls} calls", end="", flush=True)
            time.sleep(dice.uniform(0.5, 1.5) * args.every)
        print()
        _wait_for_quiet(bench)
        stop.set()
        if not args.no_sync:
            beside.join(timeout=300)
        ledger = httpx.get(f"{said['origin']}/_sandbox/ledger", timeout=60).json()
        lost = _trace(bench, journeys, ledger)
    return journeys, lost, synced["done"]


# ---- what runs ----


@contextmanager
def _town(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.speed_to_lead.town", str(bench.home)],
        cwd=ROOT,
        env=bench.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _call(town: subprocess.Popen[str], intake: str, caller: int) -> dict[str, Any]:
    assert town.stdin
    assert town.stdout
    town.stdin.write(json.dumps({"caller": caller, "to": intake}) + "\n")
    town.stdin.flush()
    line = town.stdout.readline()
    if not line:
        raise SystemExit("the town has ended; its error is above")
    return dict(json.loads(line))


@contextmanager
def _up(bench: Bench) -> Iterator[str]:
    port, intake, desk, portal = (_free_port() for _ in range(4))
    log = (bench.home / "up.log").open("wb")
    command = [*LEADTRAIL, "up", "--port", str(port), "--intake-port", str(intake)]
    command += ["--desk-port", str(desk), "--portal-port", str(portal)]
    process = subprocess.Popen(command, cwd=ROOT, env=bench.env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while b"Dagster http" not in (bench.home / "up.log").read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"leadtrail up did not start:\n{(bench.home / 'up.log').read_text()}")
            time.sleep(0.5)
        while not (bench.home / "dagster" / "run_starter").exists():
            time.sleep(0.5)
        print(f"Dagster: http://127.0.0.1:{port}", flush=True)
        yield f"http://127.0.0.1:{intake}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def _sync_in_full(bench: Bench, stop: threading.Event, synced: Counter[str]) -> None:
    """One full sync after the other, each of an empty home, until told to stop."""
    while not stop.is_set():
        with tempfile.TemporaryDirectory(prefix="leadtrail-full-sync-") as folder:
            for name in ("clients.yaml", "secrets.env"):
                shutil.copy(bench.home / name, folder)
            process = subprocess.Popen(
                [*LEADTRAIL, "sync"],
                cwd=ROOT,
                env={**bench.env, "LEADTRAIL_HOME": folder},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # as the launcher starts one
            )
            while process.poll() is None:
                if stop.wait(0.2):
                    process.kill()
            synced["done"] += process.returncode == 0
            process.wait()


def _wait_for_quiet(bench: Bench, seconds: float = 240) -> None:
    """Until no run is at work and no webhook waits, for a while. At first: whatever schedules had missed is caught up with."""
    deadline, calm = time.monotonic() + seconds, 0
    while time.monotonic() < deadline and calm < 8:
        busy = _scalar(bench, "dagster/history/runs.db", "select count(*) from runs "
                       "where status in ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED')")  # fmt: skip
        waiting = _scalar(bench, "store.db", "select count(*) from inbox where state = 'stored'")
        calm = 0 if busy or waiting else calm + 1
        time.sleep(0.5)


def _scalar(bench: Bench, file: str, query: str) -> int:
    import sqlite3

    with sqlite3.connect(bench.home / file, timeout=30) as connection:
        return int(connection.execute(query).fetchone()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- what came of it ----


def _trace(bench: Bench, journeys: Sequence[Journey], ledger: Sequence[dict[str, Any]]) -> Counter[str]:
    """Fill in the moments of each journey. Returns what went wrong, counted."""
    settings = Settings.from_env({"LEADTRAIL_HOME": str(bench.home)})
    query = (
        select(outputs).where(outputs.c.rule == RULE).order_by(outputs.c.created_at.desc())
    )  # the first counts, not its escalation
    with Office(settings).engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    with duckdb.connect(str(settings.analytics.resolve()), read_only=True) as published:
        ids = [row["trigger_event_id"] for row in rows]
        records: dict[str, str] = dict(
            published.execute(
                "select event_id, record_id from timeline.fct_lead_events "
                "where event_id in (select unnest($ids)) and provider = 'callrail' and stream = 'calls'",
                {"ids": ids},
            ).fetchall()
        )
        calls = [one.call_id for one in journeys]
        states: dict[str, str] = dict(published.execute(STATES, {"calls": calls, "rule": RULE}).fetchall())
    by_call = {records[row["trigger_event_id"]]: row for row in rows if row["trigger_event_id"] in records}
    made: dict[tuple[str, str], list[float]] = {}  # numbers of tasks are an account's own
    for entry in ledger:
        if entry["provider"] == "hubspot" and entry["kind"] == "task":
            task = entry["body"]["client_id"], str(entry["body"]["id"])
            made.setdefault(task, []).append(datetime.fromisoformat(entry["at"]).timestamp())
    runs, wrong = _runs(bench), Counter[str]()
    for one in journeys:
        row = by_call.get(one.call_id)
        if row is None:
            wrong[f"calls without a task in the queue ({states.get(one.call_id, 'not on the timeline')})"] += 1
        elif (row["client_id"], row["provider_ref"]) not in made:
            why = row["reason_code"] or row["reason"]
            wrong[f"tasks not in the CRM but {row['status']} as {row['channel']} {why}".rstrip()] += 1
        else:
            moments = made[row["client_id"], row["provider_ref"]]
            wrong["tasks made twice"] += len(moments) > 1
            one.queued, one.in_crm = datetime.fromisoformat(row["created_at"]).timestamp(), moments[0]
            run = next((run for run in runs if run.started <= one.queued <= run.ended), None)
            if run is None:
                wrong["tasks outside of a run"] += 1
            else:
                # who calls while a run is being made is taken along by it
                one.created = max(one.acknowledged, run.created)
                one.started = max(one.created, run.started)
                one.built = max(one.started, run.built)
    return +wrong


def _runs(bench: Bench) -> list[Run]:
    os.environ["DAGSTER_HOME"] = str(bench.home / "dagster")
    os.environ["LEADTRAIL_HOME"] = str(bench.home)
    import dagster as dg

    found = []
    with dg.DagsterInstance.get() as instance:
        for record in instance.get_run_records(dg.RunsFilter(job_name="follow_up_now")):
            if record.start_time and record.end_time:
                kinds = {dg.DagsterEventType.STEP_SUCCESS}
                steps = instance.all_logs(record.dagster_run.run_id, of_type=kinds)
                built = next((one.timestamp for one in steps if one.step_key == "follow_up__news"), record.end_time)
                found.append(Run(record.create_timestamp.timestamp(), record.start_time, built, record.end_time))
    return found


def _report(journeys: Sequence[Journey], lost: Counter[str], syncs: int, args: argparse.Namespace) -> bool:
    arrived = [one for one in journeys if one.in_crm]
    took = sorted(one.took for one in arrived)
    figures: dict[str, Any] = {
        "calls": len(journeys),
        "arrived": len(arrived),
        "wrong": dict(lost),
        "full_syncs": syncs,
    }
    if took:
        figures |= {f"p{share}": round(_share(took, share), 1) for share in (50, 90, 95, 100)}
    print(f"{len(arrived)} of {len(journeys)} missed calls became a task in the CRM; {syncs} full syncs beside it.")
    for what, count in lost.items():
        print(f"  {count} {what}")
    if took:
        told = ", ".join(f"{name} {figures[name]} s" for name in ("p50", "p90", "p95", "p100"))
        print(f"From webhook to task: {told} (limit: p95 {LIMIT:.0f} s)")
        print("Where the time goes (seconds):          p50    p95   mean")
        for place, name in enumerate(PARTS):
            parts = sorted(one.parts[place] for one in arrived)
            figures[name] = [
                round(value, 1) for value in (_share(parts, 50), _share(parts, 95), statistics.mean(parts))
            ]
            print(f"  {name:32}" + "".join(f"{value:7.1f}" for value in figures[name]))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))
    return not lost and bool(took) and figures["p95"] <= LIMIT


def _share(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    return values[max(0, -(-len(values) * percent // 100) - 1)]


if __name__ == "__main__":
    main()
