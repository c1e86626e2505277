"""1,000 records more in landing, of a home's own mix, spread over its clients and streams.

Half are new versions of records that are known. Half are new records that carry a known person's phone, address or ids, so that
they fall into what is there: harder than a stranger's first call, which touches nothing.

news   made of what changed last, as a sync of the last hours brings it
late   made of records of the whole year: as after an import, or when a provider corrects what it said long ago
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Literal

import duckdb
import msgspec

from bench.warehouse.land import END
from connectors.base import Record
from pipeline.landing import Batch, Landing, content_keys

RECORDS = 1000
LATER = timedelta(hours=1)


def land_tick(home: Path, number: int, kind: Literal["news", "late"]) -> int:
    """Land the tick; returns its number of records. Another number gives another tick."""
    now = END + (1 + number) * LATER
    rows = duckdb.execute(
        """
        select client_id, provider, stream, record_id, payload, occurred_at
        from read_parquet(?)
        where provider not in ('search_console', 'leadtrail')
            and stream not in ('owners', 'pipelines', 'companies', 'trackers', 'phone_numbers')
            and via <> 'observed' and received_at < ?
        order by case when ? then coalesce(updated_at, occurred_at) end desc nulls last, md5(idempotency_key || ?)
        limit ? offset ?
        """,
        [
            *(f"{home}/landing/*/*/*.parquet", END + LATER, kind == "news", str(number)),
            *(RECORDS, number * RECORDS if kind == "news" else 0),
        ],
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
