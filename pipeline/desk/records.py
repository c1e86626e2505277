"""What a provider really sent: every version of a record, from landing, byte for byte."""

from __future__ import annotations

from datetime import UTC

import duckdb

from pipeline.desk.seen import DeskVisit
from pipeline.desk.visits import NotFound
from pipeline.store.segments import live_segments

MOST = 50  # versions of one record
Row = dict[str, object]


def versions(visit: DeskVisit, client_id: str, provider: str, stream: str, record_id: str) -> list[Row]:
    """Newest first: {received_at, via, batch_id, payload}. Raises NotFound for a client who is not theirs."""
    if client_id not in visit.sees:
        raise NotFound
    folder = visit.desk.office.settings.landing
    live = [folder / name for name, _ in live_segments(visit.desk.reads, provider, stream)]
    files = [str(path) for path in live if path.exists()]
    if not files:
        return []
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(
            "select received_at, via, batch_id, payload from read_parquet($files) "
            "where client_id = $client and record_id = $record order by received_at desc, batch_id desc limit $most",
            {"files": files, "client": client_id, "record": record_id, "most": MOST},
        ).fetchall()
    return [
        {"received_at": received.replace(tzinfo=UTC), "via": via, "batch_id": batch, "payload": payload}
        for received, via, batch, payload in found
    ]
