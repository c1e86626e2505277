"""One asset for each stream of each provider: `[provider, stream]`, the raw records in landing."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
from sqlalchemy import func, select

from connectors.base import Connector, Stream
from connectors.registry import CONNECTORS, connector_class, reads_from
from pipeline.connection_run import Outcome
from pipeline.landing import SCHEMA
from pipeline.office import Office
from pipeline.store.connections import load_states
from pipeline.store.schema import segments

OWNER = "team:client-success"
CHECK = "every_client_synced"
_COLUMNS = {
    "client_id": "Whose record it is.",
    "provider": "Where it came from.",
    "stream": "What kind of record it is.",
    "record_id": "The provider's own id.",
    "occurred_at": "When it happened (UTC).",
    "updated_at": "The provider's last change to it (UTC).",
    "received_at": "When we first knew this version (UTC).",
    "via": "How it came: pull, webhook, import, or our own observation that it is gone.",
    "batch_id": "What arrived together.",
    "idempotency_key": "Equal content has an equal key.",
    "payload": "The provider's JSON, byte for byte. Internal: never shown to a client.",
}
_TABLE_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn(
            field.name,
            str(field.type.value_type if pa.types.is_dictionary(field.type) else field.type),
            description=_COLUMNS[field.name],
        )
        for field in SCHEMA
    ]
)


def raw_assets() -> list[dg.AssetsDefinition]:
    """The raw assets of every provider in the registry."""
    return [_provider_assets(connector_class(provider)) for provider in CONNECTORS if reads_from(provider)]


def _provider_assets(connector: type[Connector]) -> dg.AssetsDefinition:
    names = {stream.name: dg.AssetKey([connector.provider, stream.name]) for stream in connector.streams}

    @dg.multi_asset(
        name=f"{connector.provider}_sync",
        specs=[_spec(connector, stream) for stream in connector.streams],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                description="Every client's connection finished its last sync. Those that did not are named.",
            )
            for key in names.values()
        ],
        can_subset=True,
    )
    def sync_provider(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        selected = context.op_execution_context.selected_asset_keys
        wanted = {(connector.provider, name) for name, key in names.items() if key in selected}
        office = Office.from_env()
        outcomes = office.sync(now=datetime.now(UTC), provider=connector.provider, streams=wanted)
        for outcome in outcomes:
            if outcome.state != "ok":
                context.log.warning(f"{outcome.client_id}: {outcome.state}. {outcome.reason} {outcome.fix}")
        for name, key in names.items():
            if key in selected:
                yield _result(office, connector.provider, name, key, outcomes)

    return sync_provider


def _spec(connector: type[Connector], stream: Stream) -> dg.AssetSpec:
    ways = {"pull": "pulled on a schedule", "push": "pushed by webhook", "import": "imported from a file"}
    return dg.AssetSpec(
        key=[connector.provider, stream.name],
        group_name=connector.provider,
        description=f"{stream.description}\n\nRaw records from {connector.title}, {ways[stream.arrives]}. "
        "One row per received version.",
        owners=[OWNER],
        kinds={"python", "parquet"},
        metadata={"dagster/column_schema": _TABLE_SCHEMA, "arrives": stream.arrives},
    )


def _result(
    office: Office, provider: str, stream: str, key: dg.AssetKey, outcomes: Sequence[Outcome]
) -> dg.MaterializeResult:
    unfinished = {one.client_id: f"{one.state}: {one.reason} {one.fix}" for one in outcomes if one.state != "ok"}
    return dg.MaterializeResult(
        asset_key=key,
        metadata={
            "dagster/row_count": landed_records(office, provider, stream),
            "new_records": sum(one.landed[stream] for one in outcomes),
            "served_by_provider": sum(one.served[stream] for one in outcomes),
            "clients": len(outcomes),
            "unfinished_clients": len(unfinished),
            "slowest_client_lag_minutes": _lag_minutes(office, provider),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not unfinished,
                check_name=CHECK,
                asset_key=key,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={client: dg.MetadataValue.text(why) for client, why in sorted(unfinished.items())[:20]},
            )
        ],
    )


def landed_records(office: Office, provider: str, stream: str) -> int:
    """How many records of a stream landing holds."""
    query = select(func.coalesce(func.sum(segments.c.records), 0)).where(
        segments.c.provider == provider, segments.c.stream == stream, segments.c.superseded_by.is_(None)
    )
    with office.engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _lag_minutes(office: Office, provider: str) -> float:
    """Minutes since the client that waits longest was last read in full."""
    lags = [
        (datetime.now(UTC) - datetime.fromisoformat(state.last_success_at)).total_seconds() / 60
        for (_, name), state in load_states(office.engine).items()
        if name == provider and state.last_success_at
    ]
    return round(max(lags, default=0.0), 1)
