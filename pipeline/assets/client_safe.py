"""What clients read, as assets: what may be told, drafts of it, what people decided, what was published. Each calls what does
the work and shows counts; words and figures of clients stay out of Dagster."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Column, Table, func, select

from pipeline.client_safe.facts import NoFacts
from pipeline.client_safe.round import Round, end_what_changed, publish_approved, wanted, write_due
from pipeline.office import Office
from pipeline.store.schema import publications as publication_rows
from pipeline.store.schema import summaries

OWNER = "team:client-success"
GROUP = "client_safe"
FACTS, DRAFTS, REVIEWS, PUBLICATIONS = (
    dg.AssetKey([GROUP, name]) for name in ("facts", "drafts", "reviews", "publications")
)
MODELS = [dg.AssetKey([GROUP, f"safe_{name}"]) for name in ("figures", "improvement", "periods", "sources")]


def client_safe_assets() -> list[dg.AssetsDefinition]:
    return [facts, drafts, reviews, publications]


@dg.asset(
    key=FACTS,
    deps=[*MODELS, dg.AssetKey(["operations", "published_warehouse"])],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"duckdb"},
    description="What may be told each client about the weeks and months that are over. Where it changed since somebody approved "
    "it, the approval is void, and what is published says that it is being re-reviewed.",
)
def facts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office, made, now = Office.from_env(), Round(), datetime.now(UTC)
    try:
        end_what_changed(office, made, now=now)
        periods = wanted(office, now=now)
    except NoFacts as nothing:
        context.log.warning(str(nothing))
        periods = []
    return dg.MaterializeResult(
        metadata={
            "periods": len(periods),
            "by client": dict(Counter(one.client_id for one in periods)),
            "approvals void": len(made.voided),
            "expired": len(made.expired),
        }
    )


@dg.asset(
    key=DRAFTS,
    deps=[FACTS],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"python"},
    description="A text for each period that is over, written from its figures alone, with every number held against them and "
    "searched for personal data. What is found blocks it until a person has looked.",
)
def drafts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office, made = Office.from_env(), Round()
    try:
        write_due(office, made, now=datetime.now(UTC))
    except NoFacts as nothing:
        context.log.warning(str(nothing))
    return dg.MaterializeResult(
        metadata={
            "written": len(made.proposed) + len(made.blocked),
            "of these blocked": len(made.blocked),
            "left out": len(made.left_out),
            "calls summed up": made.calls_summed_up,
        }
    )


@dg.asset(
    key=REVIEWS,
    deps=[DRAFTS],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"sqlite"},
    description="How the versions stand: blocked, in review, approved, published, in re-review, replaced, revoked, rejected, "
    "edited, outdated, expired. One row per client and status.",
)
def reviews() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={"by client and status": _standing(summaries, summaries.c.client_id, summaries.c.status)}
    )


@dg.asset(
    key=PUBLICATIONS,
    deps=[REVIEWS],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"sqlite"},
    description="What clients read: versions that a second person approved, once the time for undoing it is over.",
)
def publications() -> dg.MaterializeResult:
    office, made = Office.from_env(), Round()
    publish_approved(office, made, now=datetime.now(UTC))
    rows = publication_rows.c
    return dg.MaterializeResult(
        metadata={
            "published now": len(made.published),
            "by client and status": _standing(publication_rows, rows.client_id, rows.status),
        }
    )


def _standing(table: Table, *columns: Column[str]) -> dg.TableMetadataValue:
    query = select(*columns, func.count().label("count")).select_from(table).group_by(*columns).order_by(*columns)
    with Office.from_env().engine.connect() as connection:
        rows: Iterable[tuple[str, str, int]] = [tuple(row) for row in connection.execute(query)]  # type: ignore[misc]
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({"client": client, "status": status, "count": count}) for client, status, count in rows
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("client", "string"), dg.TableColumn("status", "string"), dg.TableColumn("count", "int")]
        ),
    )
