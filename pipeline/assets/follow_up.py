"""Follow-up as assets: what arrived, what is due by it, what was emitted, delivered, and what came of it. Each calls what does
the work and shows counts; names, numbers and addresses of people stay out of Dagster."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from sqlalchemy import func, select

from connectors.registry import CONNECTORS, connector_class, reads_from
from pipeline.assets.raw import landed_records
from pipeline.assets.warehouse import POOL, build_news
from pipeline.build_record import last_build
from pipeline.checks import models_tested, models_tested_spec, urgent_first, urgent_first_spec
from pipeline.follow_up.deliver import Delivery, deliver
from pipeline.follow_up.detect import detect_holds
from pipeline.follow_up.emit import Emission, emit
from pipeline.follow_up.outcomes import land_outcomes
from pipeline.follow_up.published import NotPublished, Published
from pipeline.office import Office
from pipeline.publishing import publish
from pipeline.store.engine import stamp
from pipeline.store.schema import outputs
from pipeline.warehouse import BuildFailed, BuildResult

OWNER = "team:client-success"
GROUP = "follow_up"
DELIVER_SECONDS = 60.0
SHOWN = 50  # newest tasks with a link each
NEWS, STEPS_DUE, TASKS, DELIVERIES, OUTCOMES = (
    dg.AssetKey([GROUP, name]) for name in ("news", "steps_due", "tasks", "deliveries", "outcomes")
)
STEPS = dg.AssetKey([GROUP, "fct_follow_up_steps"])
Row = Mapping[str, Any]


def follow_up_assets() -> list[dg.AssetsDefinition]:
    """In the order in which a follow-up run makes them."""
    return [news, steps_due, tasks, deliveries, outcomes]


@dg.asset(
    key=NEWS,
    deps=[
        dg.AssetKey([name, stream.name])
        for name in CONNECTORS
        if reads_from(name)
        for stream in connector_class(name).streams
        if stream.arrives == "push"
    ],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"python", "dbt"},
    pool=POOL,
    description="What has arrived since the last run, brought into every lead's timeline: waiting webhooks are landed, the "
    "models they touch are built and tested, and the result is published. Attribution and metrics follow with the next "
    "scheduled build.",
)
def news(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office = Office.from_env()
    drained = office.sync(now=datetime.now(UTC), drain_only=True)
    for one in drained:
        for stream, count in one.landed.items():
            rows = landed_records(office, one.provider, stream)
            metadata = {"dagster/row_count": rows, "new_records": count, "from": "webhooks"}
            context.log_event(dg.AssetMaterialization([one.provider, stream], metadata=metadata))
    result, why = BuildResult(0, 0, ()), ""
    try:
        result = build_news(context, office, urgent=True)
        publish(office.settings)
    except BuildFailed as failed:
        result, why = failed.result or result, str(failed)
        context.log.error(why)  # whom it concerns is left out of what follows: see the check of the steps
    return dg.MaterializeResult(
        metadata={
            "webhooks": sum(one.webhooks for one in drained),
            "new_records": sum(one.landed.total() for one in drained),
            "models_built": result.models,
            "tests_run": result.tests,
            "published": not why,
        }
    )


@dg.asset(
    key=STEPS_DUE,
    deps=[NEWS, STEPS],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"duckdb"},
    check_specs=[models_tested_spec(STEPS_DUE)],
    description="What the rules ask for now, for each client and rule: steps that are due, planned, waiting behind an urgent "
    "task, stopped because somebody answered, booked, paid or opted out, and expired. One row per client and rule.",
)
def steps_due(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office, now = Office.from_env(), datetime.now(UTC)
    rows = _steps(office, now)
    totals = {state: sum(row[state] for row in rows) for state in STATES}
    return dg.MaterializeResult(
        metadata={**totals, "by client and rule": _table(rows, ("client_id", "rule", *STATES))},
        check_results=[models_tested(last_build(office.settings), STEPS_DUE)],
    )


@dg.asset(
    key=TASKS,
    deps=[STEPS_DUE],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"python"},
    description="Tasks and messages that were queued because a step came due, each once. First what must not go out is "
    "looked for: opt-outs, and the six causes of a hold. Newest tasks come with their lead's timeline and the raw record that "
    "set them off.",
)
def tasks(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office, now = Office.from_env(), datetime.now(UTC)
    holds = detect_holds(office, now=now)
    try:
        emitted = emit(office, now=now)
    except NotPublished as nothing:
        context.log.warning(str(nothing))
        emitted = Emission()
    queued = [
        {"client_id": client, "rule": rule, "priority": priority, "queued": count}
        for (client, rule, priority), count in sorted(emitted.queued.items())
    ]
    return dg.MaterializeResult(
        metadata={
            "queued": sum(emitted.queued.values()),
            "by client, rule and priority": _table(queued, ("client_id", "rule", "priority", "queued")),
            "ended at once": dict(emitted.ended),
            "taken back": emitted.cancelled,
            "escalated": emitted.escalated,
            "taken up": emitted.taken_up,
            "opt-outs": emitted.opt_outs,
            "clients left out": {client: why[:300] for client, why in sorted(emitted.left_out.items())},
            "rules that wait for a person": [f"{client}: {rule}" for client, rule in sorted(emitted.too_many)],
            "holds opened": holds.opened,
            "newest tasks": dg.MetadataValue.md(_newest(office)),
        }
    )


@dg.asset(
    key=DELIVERIES,
    deps=[TASKS],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"python"},
    check_specs=[urgent_first_spec(DELIVERIES)],
    description="What reached the client's CRM, a phone or a mailbox, and what did not, with the reason: each output passes "
    "opt-outs, consent, quiet hours, caps and holds in the moment it is sent. One row per client, status and reason.",
)
def deliveries(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office, began = Office.from_env(), datetime.now(UTC)
    try:
        delivery = deliver(office, seconds=DELIVER_SECONDS)
    except NotPublished as nothing:
        context.log.warning(str(nothing))
        delivery = Delivery()
    rows = _became(office, began)
    return dg.MaterializeResult(
        metadata={
            "delivered": delivery.outcomes["delivered"],
            "outcomes": dict(delivery.outcomes),
            "asked for": dict(delivery.asked),
            "by client, status and reason": _table(rows, ("client_id", "channel", "status", "reason_code", "outputs")),
        },
        check_results=[urgent_first(office.engine, DELIVERIES, now=datetime.now(UTC))],
    )


@dg.asset(
    key=OUTCOMES,
    deps=[DELIVERIES],
    group_name=GROUP,
    owners=[OWNER],
    kinds={"python", "parquet"},
    description="What we did, landed as records: with the next build it stands on the lead's timeline like what anybody did.",
)
def outcomes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    office = Office.from_env()
    count = land_outcomes(office, now=datetime.now(UTC))
    office.keep_audit_head(datetime.now(UTC))
    if count:
        rows = landed_records(office, "leadtrail", "outputs")
        context.log_event(dg.AssetMaterialization(["leadtrail", "outputs"], metadata={"dagster/row_count": rows}))
    return dg.MaterializeResult(metadata={"landed": count})


# ---- what is shown ----

STATES = ("due", "planned", "behind_urgent", "stopped", "expired")
_STEPS = """
    select client_id, rule,
        count(*) filter (where state = 'due' and due_at <= $now) as due,
        count(*) filter (where state = 'due' and due_at > $now or state = 'planned') as planned,
        count(*) filter (where state = 'behind_urgent') as behind_urgent,
        count(*) filter (where state = 'stopped') as stopped,
        count(*) filter (where state = 'expired') as expired
    from follow_up.fct_follow_up_steps group by client_id, rule order by client_id, rule
"""
_RECORDS = """
    select event_id, provider, stream, record_id from timeline.fct_lead_events
    where event_id in (select unnest($ids))
"""


def _steps(office: Office, now: datetime) -> list[Row]:
    try:
        with Published.opened(office.settings) as published:
            return published.events(_STEPS, now=now)
    except NotPublished:
        return []


def _newest(office: Office) -> str:
    """The newest tasks as a table in Markdown: each lead's page on the desk is one click away, its raw records are named."""
    query = select(outputs).where(outputs.c.output_type == "task").order_by(outputs.c.created_at.desc()).limit(SHOWN)
    with office.engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    ids = sorted({row["trigger_event_id"] for row in rows if row["trigger_event_id"]})
    records: dict[str, Row] = {}
    if ids:
        with Published.opened(office.settings) as published:
            records = {row["event_id"]: row for row in published.events(_RECORDS, ids=ids)}
    lines = ["| created | client | rule | priority | status | lead | raw record |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        record = records.get(row["trigger_event_id"] or "")
        raw = f"{record['provider']}/{record['stream']}/{record['record_id']}" if record else ""
        cells = (row["created_at"], row["client_id"], row["rule"] or row["source"], row["priority"], row["status"])
        lines.append(f"| {' | '.join(map(str, cells))} | {_timeline(office, row)} | `{raw}` |")
    return "\n".join(lines)


def _timeline(office: Office, row: Row) -> str:
    """The lead's page on the desk."""
    if not row["lead_id"]:
        return ""
    path = f"/leads/{row['client_id']}/{row['lead_id']}"
    base = office.settings.public_url
    return f"[timeline]({base}{path})" if base else f"`{path}`"


def _became(office: Office, since: datetime) -> list[Row]:
    """What became of outputs that were touched since then."""
    columns = (outputs.c.client_id, outputs.c.channel, outputs.c.status, outputs.c.reason_code)
    query = (
        select(*columns, func.count().label("outputs"))
        .where(outputs.c.status_at >= stamp(since))
        .group_by(*columns)
        .order_by(*columns)
    )
    with office.engine.connect() as connection:
        return list(connection.execute(query).mappings().all())


def _table(rows: Iterable[Row], columns: Sequence[str]) -> dg.TableMetadataValue:
    kept = [row for row, _ in zip(rows, range(200), strict=False)]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: row[name] for name in columns}) for row in kept],
        schema=dg.TableSchema([dg.TableColumn(name, "int" if _is_count(kept, name) else "string") for name in columns]),
    )


def _is_count(rows: Sequence[Row], name: str) -> bool:
    return bool(rows) and isinstance(rows[0][name], int)
