"""What a quarter of an hour brings to landing: 1,000 records of a home's own mix, spread over its clients and streams.

Half are new versions of records that are known. Half are new records that carry a known person's phone, address or ids, so that
they fall into what is there: harder than a stranger's first call, which touches nothing.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import duckdb
import msgspec

from bench.warehouse.land import END
from connectors.base import Record
from pipeline.landing import Batch, Landing, content_keys

RECORDS = 1000
LATER = timedelta(hours=1)


def land_tick(home: Path, number: int) -> int:
    """Land the tick; returns its number of records. Another number gives another tick."""
    now = END + (1 + number) * LATER
    rows = duckdb.execute(
        """
        select client_id, provider, stream, record_id, payload, occurred_at
        from read_parquet(?)
        where provider not in ('search_console', 'leadtrail')
            and stream not in ('owners', 'pipelines', 'companies', 'trackers', 'phone_numbers')
            and via <> 'observed'
        order by md5(idempotency_key || ?) limit ?
        """,
        [f"{home}/landing/*/*/*.parquet", str(number), RECORDS],
    ).fetchall()
    batches: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for place, (client_id, provider, stream, record_id, payload, occurred_at) in enumerate(rows):
        if place % 2:
            told = {**msgspec.json.decode(payload), "leadtrail_bench": number}
            record = Record(record_id, msgspec.json.encode(told), occurred_at and now, now)
        else:
            new_id = _another(record_id, number)
            record = Record(new_id, payload.replace(record_id, new_id).encode(), occurred_at and now, now)
        batches[client_id, provider, stream].append(record)
    landing = Landing(home / "landing", commit=lambda segments, done: None)
    for owner, records in batches.items():
        landing.add([Batch(*owner, "pull", now, records, content_keys(*owner, records))])
    landing.flush()
    return len(rows)


def _another(record_id: str, number: int) -> str:
    """An id of the same shape that nothing has."""
    turned = record_id[::-1].translate(str.maketrans("0123456789", "9876543210"))
    return f"{turned[::-1]}{number}" if turned == record_id[::-1] else turned[::-1]
