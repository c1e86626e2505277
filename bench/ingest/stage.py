"""Our typed table of calls: the very statement dbt compiles for a first load, run by DuckDB over what `ours` has landed.

Only the path of the one segment it was compiled with is replaced by those that landed. A process of its own, as in a real build;
dbt itself (imports, parsing, tests) is left out: it is paid once for a build of all clients and models together.

DuckDB takes the memory it is allowed. Unbounded it would keep some 800 MB of this; within MEMORY it takes a tenth longer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import duckdb

MEMORY = "300MB"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args()
    segments = ", ".join(
        f"'{path}'" for path in sorted((args.home / "landing" / "callrail" / "calls").glob("*.parquet"))
    )
    statement = (args.home / "statement.sql").read_text().replace("{segments}", segments)
    with duckdb.connect(str(args.home / "warehouse.duckdb"), config={"memory_limit": MEMORY}) as warehouse:
        warehouse.execute("set TimeZone = 'UTC'")
        warehouse.execute("create schema staging")
        warehouse.execute(f"create table staging.calls as {statement}")
        found, whole, days = warehouse.execute(
            "select count(*), count(*) filter (where rejected_because is null and dropped_values is null), "
            "count(distinct cast(started_at as date)) from staging.calls"
        ).fetchall()[0]
    if not found == whole == args.records or days < min(args.records, 365):
        raise SystemExit(
            f"{found} of {args.records} calls are staged, {whole} of them without a problem, of {days} days"
        )


if __name__ == "__main__":
    sys.exit(main())
