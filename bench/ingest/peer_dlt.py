"""dlt's REST source into DuckDB, tuned as far as its settings go: Parquet load files, no child tables, big buffers, one worker.

Runs in its own environment (peers-dlt.lock). With everything at its default it inserts text and takes several times as long.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args()
    args.home.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        {
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
            "DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
            "NORMALIZE__WORKERS": "1",
            "EXTRACT__WORKERS": "1",
            "LOAD__WORKERS": "1",
        }
    )
    import dlt
    import duckdb
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": f"{args.origin}/v3/a/ACC1/",
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": "total_pages"},
            },
            "resources": [
                {
                    "name": "calls",
                    "primary_key": "id",
                    "write_disposition": "append",
                    "endpoint": {"path": "calls.json", "params": {"per_page": 250}, "data_selector": "calls"},
                }
            ],
        },
        max_table_nesting=0,
    )
    database = args.home / "dlt.duckdb"
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(args.home / "pipelines"),
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name="callrail",
    )
    pipeline.run(source, loader_file_format="parquet")
    with duckdb.connect(str(database), read_only=True) as db:
        found, columns = db.execute(
            "select (select count(*) from callrail.calls where start_time is not null), count(*) "
            "from information_schema.columns where table_schema = 'callrail' and table_name = 'calls'"
        ).fetchall()[0]
    if found != args.records or columns < 40:
        raise SystemExit(f"{found} of {args.records} calls arrived, with {columns} columns")


if __name__ == "__main__":
    sys.exit(main())
