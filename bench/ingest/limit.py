"""The least it can cost: curl writes every page to one file, and one DuckDB statement makes 35 typed columns of it.

No cursor, no retries, no raw record kept, no latest version, no bad value named: it shows how much of the cost is the task's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import duckdb

PAGE = 250
COLUMNS = {
    "VARCHAR": """id direction company_id company_time_zone person_id call_type customer_name customer_phone_number customer_city
        customer_state customer_country zip_code tracking_phone_number business_phone_number lead_status note call_summary source
        source_name medium campaign keywords landing_page_url utm_source utm_campaign gclid device_type recording""",
    "TIMESTAMPTZ": "start_time created_at",
    "BOOLEAN": "answered first_call",
    "BIGINT": "duration prior_calls total_calls",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--origin", required=True)
    parser.add_argument("--records", type=int, required=True)
    args = parser.parse_args()
    args.home.mkdir(parents=True, exist_ok=True)
    pages = args.home / "pages.json"
    last = -(-args.records // PAGE)
    url = f"{args.origin}/v3/a/ACC1/calls.json?per_page={PAGE}&page=[1-{last}]"
    with pages.open("wb") as file:
        subprocess.run(["curl", "--silent", "--fail", url], check=True, stdout=file)
    struct = json.dumps({name: kind for kind, names in COLUMNS.items() for name in names.split()})
    with duckdb.connect(str(args.home / "limit.duckdb")) as db:
        db.execute(
            f"""
            create table calls as
            select unnest(from_json(call, '{struct}'))
            from (
                select unnest(json_extract(json, '$.calls[*]')) as call
                from read_json_objects('{pages}', format = 'unstructured', maximum_object_size = 67108864)
            )
            """
        )
        (found,) = db.execute("select count(*) from calls where start_time is not null").fetchall()[0]
    if found != args.records:
        raise SystemExit(f"{found} of {args.records} calls arrived")


if __name__ == "__main__":
    sys.exit(main())
