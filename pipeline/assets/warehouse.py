"""The dbt models as assets with their tests as checks, and the published copy that everyone reads."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets

from pipeline.compaction import compact
from pipeline.office import Office
from pipeline.warehouse import publish, sole_writer

POOL = "warehouse"  # one writer at a time: its limit is 1 in dagster.yaml
OWNER = "team:data"


class Translator(DagsterDbtTranslator):
    """Groups by layer or area, so that the graph reads from left to right."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        folders = dbt_resource_props["fqn"][1:-1]
        if not folders or dbt_resource_props["resource_type"] == "source":
            return None
        return str(folders[1] if folders[0] == "marts" and len(folders) > 1 else folders[0])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return [OWNER]


def warehouse_assets(manifest: Path) -> list[dg.AssetsDefinition]:
    """The models, and the copy published from them."""

    @dbt_assets(manifest=manifest, name="warehouse", dagster_dbt_translator=Translator(), pool=POOL)
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        office = Office.from_env()
        office.write_directory()
        with sole_writer(office.settings):
            yield from dbt.cli(["build"], context=context).stream().fetch_row_counts().fetch_column_metadata()

    @dg.asset(
        key=["operations", "published_warehouse"],
        deps=[
            spec.key
            for spec in models.specs
            if spec.key.path[0] in ("operations", "staging") and "base_" not in spec.key.path[-1]
        ],
        group_name="operations",
        owners=[OWNER],
        kinds={"duckdb"},
        pool=POOL,
        description="The warehouse people read (analytics.duckdb): a copy made only when every model and test has passed.",
    )
    def published_warehouse(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        office = Office.from_env()
        path = publish(office.settings)
        with sole_writer(office.settings):
            merged = compact(office.settings.landing, office.engine, now=datetime.now(UTC))
        with duckdb.connect(str(path), read_only=True) as connection:
            row = connection.execute("select count(*), sum(estimated_size) from duckdb_tables()").fetchone()
        tables, rows = row or (0, 0)
        return dg.MaterializeResult(
            metadata={
                "file": path.name,
                "tables": tables,
                "dagster/row_count": int(rows or 0),
                "landing_files_merged": merged.merged,
                "landing_files_deleted": merged.deleted,
            }
        )

    return [models, published_warehouse]
