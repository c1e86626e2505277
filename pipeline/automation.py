"""When does it run? Everything that answers that is on this page; cadences come from the providers themselves."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from connectors.registry import CONNECTORS, connector_class, reads_from
from pipeline.client_safe.round import what_waits as summaries_that_wait
from pipeline.follow_up_watch import what_waits
from pipeline.office import Office
from pipeline.run_failures import take_in_runs
from pipeline.tags import BACKGROUND, ONLY_NEWS

# after the quarter-hour syncs have landed; one build serves them all
BUILD_CRON = "8,23,38,53 * * * *"
FOLLOW_UP_CRON = "*/5 * * * *"  # should the sensor be off or broken, nothing waits longer than this
# a week ends on a Sunday, and a month's report comes when the week in which it ends is over: on a Monday of its first days
WEEKLY_CRON, MONTHLY_CRON = "30 6 * * 1", "45 6 1-7 * *"
RECONCILE_CRON = "45 * * * *"  # for providers that only push
RETENTION_CRON = "20 2 * * *"
VERIFY_CRON = "10 6 * * *"
MAX_SYNC_SECONDS = 3600  # a run that hangs is failed after this, and its slot freed
MAX_BUILD_SECONDS = 3600
MAX_FOLLOW_UP_SECONDS = 1800

FOLLOW_UP = "follow_up_now"
LOOK_SECONDS = (
    8.0  # a tick looks this long: Dagster starts one at most every five seconds, and a missed call waits for it
)
PAUSE = 0.3
STEPS_PAUSE = 2.0  # between looks at the published file; whether a hold is over is looked at once a tick
FIRST_RETRY, LONGEST_RETRY = 15, 300  # seconds until the same work, still there after a run, is tried again
AT_WORK = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RUNNING = dg.DefaultScheduleStatus.RUNNING


def jobs() -> list[Any]:
    """Besides those of the schedules."""
    return [follow_up_job, summaries_job, verify_job, build_job()]


def schedules() -> list[dg.ScheduleDefinition]:
    ours = [_build_schedule(), _retention_schedule(), _follow_up_schedule(), *_summary_schedules(), _verify_schedule()]
    return [*_sync_schedules(), *ours]


def sensors() -> list[dg.SensorDefinition]:
    return [follow_up_sensor, decisions_sensor, failures_sensor]


# ---- background: syncs and builds ----


def _sync_schedules() -> list[dg.ScheduleDefinition]:
    """Each provider at its own pace."""
    return [
        dg.ScheduleDefinition(
            name=f"{provider}_schedule",
            job=dg.define_asset_job(
                f"sync_{provider}",
                selection=dg.AssetSelection.groups(provider),
                description=f"Bring what is new at {connector_class(provider).title} to landing, for every client.",
                tags={"dagster/max_runtime": str(MAX_SYNC_SECONDS), BACKGROUND: "sync"},
                executor_def=dg.in_process_executor,
            ),
            cron_schedule=connector_class(provider).cron or RECONCILE_CRON,
            execution_timezone="America/Los_Angeles",
            default_status=_RUNNING,
        )
        for provider in CONNECTORS
        if reads_from(provider)
    ]


def build_job() -> Any:
    """For a person, and for the first time: everything. It shows in each asset when it was last made."""
    models = dg.AssetSelection.all() - dg.AssetSelection.groups(*filter(reads_from, CONNECTORS))
    return dg.define_asset_job(
        "build_warehouse",
        selection=models - _follow_up_assets() - _summary_assets() - _RETENTION - _VERIFICATION,
        description="Build and test every model, and publish the result if all tests pass.",
        tags={"dagster/max_runtime": str(MAX_BUILD_SECONDS), BACKGROUND: "build"},
        executor_def=dg.in_process_executor,
    )


def _build_schedule() -> dg.ScheduleDefinition:
    """What news has reached, a few minutes after each sync."""
    return dg.ScheduleDefinition(
        name="build_schedule",
        job=dg.define_asset_job(
            "build_news",
            selection=dg.AssetSelection.assets(["operations", "published_warehouse"]),
            description="Build and test what news has reached, and publish the result if all tests pass.",
            tags={"dagster/max_runtime": str(MAX_BUILD_SECONDS), BACKGROUND: "build", ONLY_NEWS: "true"},
            executor_def=dg.in_process_executor,
        ),
        cron_schedule=BUILD_CRON,
        default_status=_RUNNING,
    )


_RETENTION = dg.AssetSelection.assets(["privacy", "retention"])
# looks at what runs, not at what was built: a schedule of its own asks, or a person
_VERIFICATION = dg.AssetSelection.checks(
    dg.AssetCheckKey(dg.AssetKey(["client_safe", "publications"]), "the_running_system_is_verified")
)


def _retention_schedule() -> dg.ScheduleDefinition:
    """At night: once a month it builds the warehouse anew."""
    return dg.ScheduleDefinition(
        name="retention_schedule",
        job=dg.define_asset_job(
            "retention",
            selection=_RETENTION,
            description="Delete personal data that is past its time.",
            tags={"dagster/max_runtime": str(MAX_BUILD_SECONDS), BACKGROUND: "build"},
            executor_def=dg.in_process_executor,
        ),
        cron_schedule=RETENTION_CRON,
        execution_timezone="America/Los_Angeles",
        default_status=_RUNNING,
    )


# ---- what somebody waits for ----


def _follow_up_assets() -> dg.AssetSelection:
    names = ("news", "steps_due", "tasks", "deliveries", "outcomes")
    return dg.AssetSelection.assets(*(["follow_up", name] for name in names))


follow_up_job = dg.define_asset_job(
    FOLLOW_UP,
    selection=_follow_up_assets(),
    description="Bring waiting webhooks into the timeline, and emit and deliver what is due by them.",
    tags={"dagster/max_runtime": str(MAX_FOLLOW_UP_SECONDS), "dagster/priority": "10"},
    executor_def=dg.in_process_executor,
)


def _follow_up_schedule() -> dg.ScheduleDefinition:
    """The safety net under the sensor, and what looks for holds when nothing happens."""

    @dg.schedule(name="follow_up_schedule", job=follow_up_job, cron_schedule=FOLLOW_UP_CRON, default_status=_RUNNING)
    def follow_up_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if _at_work(context.instance):
            return dg.SkipReason("A run is at work.")
        return dg.RunRequest()

    return follow_up_schedule


@dg.sensor(
    name="follow_up_sensor",
    job=follow_up_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run within seconds when a webhook waits, an output's time has come, a step is due or a hold's cause "
    "is gone. Correctness does not rest on it: the schedule does the same every five minutes.",
)
def follow_up_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    office, began = Office.from_env(), time.monotonic()
    steps_at, with_holds = 0.0, True
    while True:
        if not _at_work(context.instance):
            with_steps = time.monotonic() >= steps_at
            steps_at = time.monotonic() + STEPS_PAUSE if with_steps else steps_at
            now = datetime.now(UTC)
            if waiting := what_waits(office, now=now, steps=with_steps, holds=with_holds):
                # the mark is of everything, or the same work would be told from itself
                waiting = waiting if with_steps and with_holds else what_waits(office, now=now)
                attempt = _attempt(context.cursor, waiting.mark, now)
                if attempt is not None:
                    cursor = {"mark": waiting.mark, "attempt": attempt, "at": now.timestamp()}
                    context.update_cursor(json.dumps(cursor))
                    key = f"{waiting.mark}:{attempt}"
                    return dg.RunRequest(run_key=key, tags={"leadtrail/waiting": str(waiting)})
            with_holds = False
        if time.monotonic() - began >= LOOK_SECONDS:
            return dg.SkipReason("Nothing waits that a run could do.")
        time.sleep(PAUSE)


def _at_work(instance: dg.DagsterInstance) -> bool:
    return instance.get_runs_count(dg.RunsFilter(job_name=FOLLOW_UP, statuses=AT_WORK)) > 0


def _attempt(cursor: str | None, mark: str, now: datetime) -> int | None:
    """Which attempt at this work a run would be; None: what the last one left is not to be tried again yet."""
    last = json.loads(cursor or "{}")
    if last.get("mark") != mark:
        return 0
    tried = int(last["attempt"])
    waited = now.timestamp() - last["at"]
    return tried + 1 if waited >= min(FIRST_RETRY * 2**tried, LONGEST_RETRY) else None


# ---- what clients read ----


def _summary_assets() -> dg.AssetSelection:
    names = ("facts", "drafts", "reviews", "publications")
    return dg.AssetSelection.assets(*(["client_safe", name] for name in names)).without_checks()


summaries_job = dg.define_asset_job(
    "client_summaries",
    selection=_summary_assets(),
    description="Write what is due for clients, void what changed, publish what was approved.",
    tags={"dagster/max_runtime": str(MAX_FOLLOW_UP_SECONDS)},
    executor_def=dg.in_process_executor,
)


def _summary_schedules() -> list[dg.ScheduleDefinition]:
    return [
        dg.ScheduleDefinition(
            name=f"{name}_summaries_schedule",
            job=summaries_job,
            cron_schedule=cron,
            execution_timezone="America/Los_Angeles",
            default_status=_RUNNING,
        )
        for name, cron in {"weekly": WEEKLY_CRON, "monthly": MONTHLY_CRON}.items()
    ]


verify_job = dg.define_asset_job(
    "verify",
    selection=_VERIFICATION,
    description="Look at the running system from outside, as after a change.",
    executor_def=dg.in_process_executor,
)


def _verify_schedule() -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="verify_schedule", job=verify_job, cron_schedule=VERIFY_CRON, default_status=_RUNNING
    )


@dg.sensor(
    name="decisions_sensor",
    job=summaries_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a run when an approval can no longer be undone, a review has expired, or figures changed that somebody "
    "had approved.",
)
def decisions_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    now = datetime.now(UTC)
    if not (waiting := summaries_that_wait(Office.from_env(), now=now)):
        return dg.SkipReason("No decision waits to be carried out.")
    # should a run leave it undone, another tries after five minutes
    mark = hashlib.sha256("\n".join(waiting).encode()).hexdigest()[:16]
    return dg.RunRequest(run_key=f"{mark}:{int(now.timestamp()) // 300}", tags={"leadtrail/waiting": str(len(waiting))})


@dg.sensor(
    name="failures_sensor",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Opens one incident for each cause of failed runs, with an owner and what to do, and resolves it when the job "
    "succeeds again.",
)
def failures_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    taken, cursor = take_in_runs(context.instance, Office.from_env().engine, context.cursor, now=datetime.now(UTC))
    context.update_cursor(cursor)
    return dg.SkipReason(f"{taken.failed} failed and {taken.succeeded} successful runs taken in.")
