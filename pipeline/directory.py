"""Who is served, how their connections stand, which rules are in force and what is on hold, as files that dbt reads: the
agency's own side of the warehouse."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.registry import reads_from
from pipeline.clients import ClientConfig
from pipeline.follow_up.export import NO_RULES, RuleRows
from pipeline.follow_up.hold_export import HOLDS, NO_HOLDS, WARNINGS, HoldRows
from pipeline.follow_up.zones import state_prefixes
from pipeline.store.connections import ConnectionState

_CLIENTS = ("client_id", "name", "timezone", "owner", "joined_on", "high_value_cents")
_NUMBERS = ("high_value_cents", "records_last_run", "released", "left_over")
_PLACES = ("kind", "prefix", "state")
_CONNECTIONS = (
    "client_id",
    "provider",
    "state",
    "reason",
    "fix",
    "owner",
    "since",
    "last_attempt_at",
    "last_success_at",
    "retry_at",
    "records_last_run",
)


def write_directory(
    folder: Path,
    clients: list[ClientConfig],
    states: dict[tuple[str, str], ConnectionState],
    rules: RuleRows = NO_RULES,
    holds: HoldRows = NO_HOLDS,
) -> None:
    """Replace `clients.parquet`, `connections.parquet`, the files of the rules and the holds, and `us_places.parquet`. Every
    configured connection that is read from has a row, synced or not."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "clients.parquet", _CLIENTS, [_of_client(one) for one in clients])
    rows = []
    for client in clients:
        for connection in client.connections:
            if not reads_from(connection.provider):
                continue
            state = states.get((client.client_id, connection.provider)) or ConnectionState(
                client.client_id,
                connection.provider,
                "never_synced",
                connection.owner,
                reason="It has not been synced yet.",
                fix="Run `leadtrail sync`.",
            )
            rows.append({name: getattr(state, name) for name in _CONNECTIONS})
    _write(folder / "connections.parquet", _CONNECTIONS, rows)
    rules.write(folder)
    _write(folder / "holds.parquet", HOLDS, holds.holds)
    _write(folder / "connection_warnings.parquet", WARNINGS, holds.warnings)
    _write(folder / "us_places.parquet", _PLACES, [dict(zip(_PLACES, row, strict=True)) for row in state_prefixes()])


def _of_client(client: ClientConfig) -> dict[str, object]:
    set_for_follow_up = {"high_value_cents": client.follow_up.high_value_cents}
    return {name: set_for_follow_up.get(name, getattr(client, name, None)) for name in _CLIENTS}


def _write(path: Path, columns: tuple[str, ...], rows: Sequence[dict[str, object]]) -> None:
    schema = pa.schema([(name, pa.int64() if name in _NUMBERS else pa.string()) for name in columns])
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)
    os.replace(temporary, path)
