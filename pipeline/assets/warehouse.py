"""The dbt models as assets with their tests as checks, and the published copy that everyone reads."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets

from pipeline.baseline import settle_baselines
from pipeline.build_plan import BUILD, begin, finish, plan_build
from pipeline.build_record import BuildRecord, last_build, note_build
from pipeline.column_lineage import parents_of
from pipeline.compaction import compact
from pipeline.office import Office
from pipeline.publishing import SERVED, publish
from pipeline.settings import Settings
from pipeline.tags import ONLY_NEWS
from pipeline.warehouse import BuildFailed, BuildResult, build, sole_writer, wait_for_file

POOL = "warehouse"  # one writer at a time: its limit is 1 in dagster.yaml
OWNER = "team:data"


class Translator(DagsterDbtTranslator):
    """Groups by layer or area, so that the graph reads from left to right."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        if dbt_resource_props["resource_type"] == "source":
            return "leadtrail" if dbt_resource_props["source_name"] == "leadtrail" else None
        if dbt_resource_props["resource_type"] == "seed":
            return "seeds"
        layer, *area = dbt_resource_props["fqn"][1:-1]
        if layer == "staging" and area:
            return f"{area[0]}_staging"
        return str(area[0] if layer == "marts" and area else layer)

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        return [OWNER]


def warehouse_assets(manifest: Path) -> list[dg.AssetsDefinition]:
    """The models, and the copy published from them."""

    @dbt_assets(manifest=manifest, name="warehouse", dagster_dbt_translator=Translator(), pool=POOL)
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        office = Office.from_env()
        office.write_directory()
        with sole_writer(office.settings):
            wait_for_file(office.settings)
            plan = plan_build(office.settings)
            # what is selected is built, all of it: every asset shows when it was last made
            refresh = ["--full-refresh"] if plan.full_refresh else []
            context.log.info(f"Building {'from landing' if refresh else 'on what there is'}: {plan.why}.")
            begin(office.settings, plan)
            invocation = dbt.cli([*BUILD, *refresh], context=context)
            yield from _described(
                invocation.stream(), invocation.target_path, office.settings, in_part=context.is_subset
            )
            if not context.is_subset:  # reached only if every model and test passed
                finish(office.settings, plan, {})

    @dg.asset(
        key=["operations", "published_warehouse"],
        deps=[spec.key for spec in models.specs if spec.key.path[0] in SERVED and "base_" not in spec.key.path[-1]],
        group_name="operations",
        owners=[OWNER],
        kinds={"duckdb"},
        pool=POOL,
        description="The warehouse people read (analytics.duckdb): a copy made only when every model and test has passed. The "
        "schedule builds first what news has reached.",
    )
    def published_warehouse(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        office = Office.from_env()
        if ONLY_NEWS in context.run.tags:
            build_news(context, office)
        settle_baselines(office.settings, office.engine, now=datetime.now(UTC))
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


def build_news(context: dg.AssetExecutionContext, office: Office, *, urgent: bool = False) -> BuildResult:
    """Build what news has reached, as `leadtrail build` does, and report in Dagster what was made: all of the models would take
    too long. Raises BuildFailed."""
    office.write_directory()
    failed_before = _failed_tests(office.settings)
    try:
        result = build(office.settings, urgent=urgent)
    except BuildFailed as failed:
        if failed.result:
            _report(context, office.settings, failed.result, failed_before)
        raise
    _report(context, office.settings, result, failed_before)
    return result


def _failed_tests(settings: Settings) -> set[str]:
    record = last_build(settings)
    return {failure.node for failure in record.failures} if record else set()


def _report(
    context: dg.AssetExecutionContext, settings: Settings, result: BuildResult, failed_before: Collection[str]
) -> None:
    """The models that a build made, with rows, columns and column lineage; tests that failed, and those that do so no more."""
    target, translator = settings.dbt_target, Translator()
    nodes = json.loads((target / "manifest.json").read_text())["nodes"]
    for unique_id, metadata in _table_metadata(result.built, nodes, target, settings).items() if result.built else ():
        context.log_event(dg.AssetMaterialization(translator.get_asset_key(nodes[unique_id]), metadata=metadata))
    for unique_id, passed in result.tested.items():
        model = nodes.get(nodes[unique_id].get("attached_node") or "")
        if model and (not passed or unique_id in failed_before):
            context.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=translator.get_asset_key(model), check_name=nodes[unique_id]["name"], passed=passed
                )
            )


def _described(events: Iterable[Any], target: Path, settings: Settings, *, in_part: bool) -> Iterator[Any]:
    """dbt's events: the materialized models with rows, columns and column lineage, failed tests with whose rows they found. The
    warehouse can be read only once dbt has let go of it, so events wait until then; what was built before a failure is
    reported all the same."""
    waiting: list[Any] = []
    failure: Exception | None = None
    try:
        waiting.extend(events)
    except Exception as error:
        failure = error
    record = note_build(settings, target, in_part=in_part)
    shown = {event.metadata["unique_id"].value for event in waiting if isinstance(event, dg.Output)}
    nodes = json.loads((target / "manifest.json").read_text())["nodes"] if shown else {}
    metadata = _table_metadata(shown, nodes, target, settings) if shown else {}
    for event in waiting:
        if isinstance(event, dg.Output):
            more = metadata.get(event.metadata["unique_id"].value, {})
            yield dg.Output(None, event.output_name, metadata={**event.metadata, **more})
        elif isinstance(event, dg.AssetCheckResult) and not event.passed:
            yield _naming_clients(event, record)
        else:
            yield event
    if failure and not record.ok:
        raise dg.Failure(record.why(), metadata={one.name: str(one) for one in record.failures}) from failure
    if failure:
        raise failure


def _naming_clients(check: dg.AssetCheckResult, record: BuildRecord) -> dg.AssetCheckResult:
    """A failed test, with whose rows it found."""
    node = (check.metadata or {})["unique_id"].value
    found = next((failure for failure in record.failures if failure.node == node), None)
    if found is None:
        return check  # a warning
    clients = "cannot be told" if found.clients is None else ", ".join(found.clients)
    return dg.AssetCheckResult(
        passed=False,
        asset_key=check.asset_key,
        check_name=check.check_name,
        severity=check.severity,
        description=str(found),
        metadata={**(check.metadata or {}), "clients": clients},
    )


def _table_metadata(
    unique_ids: Collection[str], nodes: Mapping[str, Any], target: Path, settings: Settings
) -> dict[str, dict[str, Any]]:
    """Row count, columns and column lineage of models, by dbt's unique_id."""
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        tables = _columns(connection)
        out = {}
        for unique_id in unique_ids:
            node = nodes[unique_id]
            schema, table = node["schema"], node["alias"]
            columns = tables.get(schema, {}).get(table, {})
            rows = connection.execute(f'select count(*) from "{schema}"."{table}"').fetchone()  # noqa: S608
            compiled = target / "compiled" / node["package_name"] / node["original_file_path"]
            parents = (
                {}
                if node["resource_type"] == "seed"
                else parents_of(node, list(columns), compiled.read_text(), tables, settings.dbt_target / "lineage")
            )
            out[unique_id] = {
                "dagster/row_count": rows[0] if rows else 0,
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(
                            name, type_, description=node["columns"].get(name, {}).get("description") or None
                        )
                        for name, type_ in columns.items()
                    ]
                ),
                "dagster/column_lineage": dg.TableColumnLineage(
                    {
                        column: [dg.TableColumnDep(dg.AssetKey(of.split(".")), name) for of, name in made_of]
                        for column, made_of in parents.items()
                        if made_of
                    }
                ),
            }
    return out


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, dict[str, str]]]:
    tables: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for schema, table, column, type_ in connection.execute(
        "select table_schema, table_name, column_name, data_type from information_schema.columns order by ordinal_position"
    ).fetchall():
        tables[schema][table][column] = type_
    return tables
