"""The same timeline by the plain script (peer.sql), in a process of its own. Prints one line of JSON: what it took."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
SEEDS = HERE.parent.parent / "dbt_project" / "seeds"
THREADS = 2  # as dbt's profile has


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True, help="a DuckDB file, made anew")
    args = parser.parse_args()
    args.into.unlink(missing_ok=True)
    script = (HERE / "peer.sql").read_text()
    for name, folder in (("landing", args.home / "landing"), ("directory", args.home / "directory"), ("seeds", SEEDS)):
        script = script.replace(f"{{{name}}}", str(folder))
    wall, cpu = time.monotonic(), time.process_time()
    longest = []
    with duckdb.connect(str(args.into), config={"threads": THREADS}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for statement in duckdb.extract_statements(script):
            began = time.monotonic()
            connection.execute(statement)
            longest.append([" ".join(statement.query.split()[:5]), round(time.monotonic() - began, 2)])
    longest.sort(key=lambda one: -one[1])
    took = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu, "longest": longest[:12]}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
