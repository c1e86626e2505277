"""What the warehouse costs: dbt against one plain DuckDB script for the same rows, how it grows, and a tick of 1,000 new records.

    python -m bench.warehouse [--sizes 4,20] [--rounds 1] [--json FILE]

A size is a number of parts of a large made-up town, some 250,000 records each (ten clients, twelve months): 4 parts are a million
records, 20 are five. The town is made once, by the sandbox's providers and the real connectors, and kept under .leadtrail-bench/.
Every run is a process of its own with 2 threads and DuckDB's own memory limit; the best round counts.

The ratio and the growth compare what both make, the timeline: dbt's models up to `fct_lead_events` and `int_leads`, seeds
included, tests left out. A build of every model with all tests is timed beside it, and so are the part of a tick that
somebody waits for, with its tests, and a tick of late news of the whole year. At the smallest size rows are compared with the
script's and, after the ticks, every table with one built from nothing. Ends with an error if a target is missed or rows differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from bench.warehouse.tick import land_tick
from bench.warehouse.town import KEPT, ROOT, make_home

SLOWER = 2.0  # dbt's time over the script's
GROWTH = 5.5  # of dbt's time, for five times the records
TICK = 8.0  # seconds of dbt
TICK_GROWTH = 1.5
TABLES = {"timeline.fct_lead_events": "fct_lead_events", "intermediate.int_leads": "int_leads"}  # ours, the script's


@dataclass(frozen=True)
class Verdict:
    target: str
    reached: str
    passed: bool


def run(module: str, *args: str | Path) -> dict[str, Any]:
    """The JSON that a module prints last; how busy the machine was is noted beside it."""
    command = [sys.executable, "-m", f"bench.warehouse.{module}", *map(str, args)]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    took: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return {**took, "load": round(os.getloadavg()[0], 1)}


def measure(parts: int, rounds: int) -> dict[str, Any]:
    home, peer = KEPT / f"home-{parts}", KEPT / f"peer-{parts}.duckdb"
    records = make_home(home, parts)
    print(f"{records:,} records", flush=True)
    took: dict[str, Any] = {"records": records, "peer": [], "timeline": []}
    for _ in range(rounds):
        took["peer"].append(said("plain script", run("peer", "--home", home, "--into", peer)))
        took["timeline"].append(said("dbt, the same", run("ours", "timeline", "--home", home)))
    took["different"] = differences(home / "warehouse.duckdb", peer, TABLES)
    print(f"  rows that differ: {took['different']}", flush=True)
    took["full"] = said("dbt, all and tested", run("ours", "full", "--home", home))
    land_tick(home, 0, "news")
    took["tested"] = said("tick, tested", run("ours", "tested", "--home", home))
    land_tick(home, 1, "news")
    took["urgent"] = said("tick, urgent, tested", run("ours", "urgent", "--home", home))
    run("ours", "tested", "--home", home)  # the rest of it
    land_tick(home, 2, "late")
    took["late"] = said("late news, not tested", run("ours", "tick", "--home", home))
    land_tick(home, 3, "news")
    took["tick"] = said("tick, not tested", run("ours", "tick", "--home", home))
    return took


def differences_to_rebuilt(home: Path) -> dict[str, int]:
    """The same of every table after the ticks, against what is built from nothing out of the same landing."""
    again = home.with_name(f"{home.name}-again")
    shutil.rmtree(again, ignore_errors=True)
    for folder in ("landing", "directory"):
        shutil.copytree(home / folder, again / folder, copy_function=os.link)
    run("ours", "rebuilt", "--home", again)
    with duckdb.connect(str(again / "warehouse.duckdb"), read_only=True) as rebuilt:
        tables = rebuilt.execute("select schema_name || '.' || table_name, schema_name from duckdb_tables()").fetchall()
    compared = {table: table for table, schema in tables if schema != "landing"}
    different = differences(home / "warehouse.duckdb", again / "warehouse.duckdb", compared)
    shutil.rmtree(again)
    print(
        f"  rows of {len(compared)} tables that differ from a rebuilt warehouse: {sum(different.values())}", flush=True
    )
    return {table: rows for table, rows in different.items() if rows}


def differences(ours: Path, theirs: Path, tables: Mapping[str, str]) -> dict[str, int]:
    """Rows that only one side has. tables: name of ours -> name of theirs."""
    found = {}
    with duckdb.connect(str(ours), read_only=True) as warehouse:
        warehouse.execute(f"attach '{theirs}' as theirs (read_only)")
        for table, other in tables.items():
            columns = ", ".join(f'"{name}"' for name, *_ in warehouse.execute(f"describe {table}").fetchall())
            here, there = f"select {columns} from {table}", f"select {columns} from theirs.{other}"
            row = warehouse.execute(
                f"select count(*) from (({here} except all {there}) union all ({there} except all {here}))"
            ).fetchone()
            found[table] = row[0] if row else -1
    return found


def said(what: str, took: dict[str, Any]) -> dict[str, Any]:
    counts = f", {took['models']} models, {took['tests']} tests" if "models" in took else ""
    print(f"  {what:<20} {took['wall']:7.1f} s, {took['cpu']:7.1f} s of CPU{counts} (load {took['load']})", flush=True)
    return took


def best(took: list[dict[str, Any]]) -> float:
    return float(min(one["wall"] for one in took))


def judge(sizes: dict[int, dict[str, Any]]) -> list[Verdict]:
    verdicts = []
    for took in sizes.values():
        ratio = best(took["timeline"]) / best(took["peer"])
        name = f"{took['records']:,} records: at most {SLOWER} x the plain script"
        verdicts.append(Verdict(name, f"{ratio:.2f} x", ratio <= SLOWER))
    first, last = sizes[min(sizes)], sizes[max(sizes)]
    different = sum(first["different"].values())
    verdicts.append(Verdict("the same rows as the plain script", f"{different} differ", different == 0))
    different = sum(first["different_to_rebuilt"].values())
    verdicts.append(Verdict("after the ticks, the same rows as rebuilt", f"{different} differ", different == 0))
    tick = float(last["tick"]["wall"])
    verdicts.append(Verdict(f"a tick on {last['records']:,} in {TICK:.0f} s of dbt", f"{tick:.1f} s", tick <= TICK))
    if len(sizes) > 1:
        growth = best(last["timeline"]) / best(first["timeline"])
        allowed = GROWTH / 5 * last["records"] / first["records"]
        verdicts.append(Verdict(f"growth at most {allowed:.1f} x", f"{growth:.2f} x", growth <= allowed))
        growth = tick / first["tick"]["wall"]
        verdicts.append(Verdict(f"the tick grows at most {TICK_GROWTH} x", f"{growth:.2f} x", growth <= TICK_GROWTH))
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.warehouse", description="What the warehouse costs.")
    parser.add_argument("--sizes", default="4,20", help="numbers of parts, separated by commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()
    sizes = {parts: measure(parts, args.rounds) for parts in sorted(map(int, args.sizes.split(",")))}
    smallest = min(sizes)
    sizes[smallest]["different_to_rebuilt"] = differences_to_rebuilt(KEPT / f"home-{smallest}")
    verdicts = judge(sizes)
    print()
    for verdict in verdicts:
        print(f"{'met   ' if verdict.passed else 'MISSED'}  {verdict.target}: {verdict.reached}")
    if args.json:
        results = {"sizes": sizes, "verdicts": [asdict(verdict) for verdict in verdicts]}
        args.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
