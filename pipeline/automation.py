"""When does it run? Everything that answers that is on this page; cadences come from the providers themselves."""

from __future__ import annotations

import dagster as dg

from connectors.registry import CONNECTORS, connector_class, reads_from
from pipeline.office import Office
from pipeline.store.inbox import newest_waiting
from pipeline.tags import WEBHOOKS_ONLY

# after the quarter-hour syncs have landed; one build serves them all
BUILD_CRON = "8,23,38,53 * * * *"
RECONCILE_CRON = "45 * * * *"  # for providers that only push: should the sensor be off, nothing waits longer than this
DRAIN_SECONDS = 30
MAX_SYNC_SECONDS = 3600  # a run that died with its machine is failed after this, and its slot freed
MAX_BUILD_SECONDS = 3600

_RUNNING = dg.DefaultScheduleStatus.RUNNING


def sync_schedules() -> list[dg.ScheduleDefinition]:
    """Each provider at its own pace."""
    return [
        dg.ScheduleDefinition(
            name=f"{provider}_schedule",
            job=dg.define_asset_job(
                f"sync_{provider}",
                selection=dg.AssetSelection.groups(provider),
                description=f"Bring what is new at {connector_class(provider).title} to landing, for every client.",
                tags={"dagster/max_runtime": str(MAX_SYNC_SECONDS)},
                executor_def=dg.in_process_executor,
            ),
            cron_schedule=connector_class(provider).cron or RECONCILE_CRON,
            execution_timezone="America/Los_Angeles",
            default_status=_RUNNING,
        )
        for provider in CONNECTORS
        if reads_from(provider)
    ]


def build_schedule() -> dg.ScheduleDefinition:
    """The models, a few minutes after each sync."""
    return dg.ScheduleDefinition(
        name="build_schedule",
        job=dg.define_asset_job(
            "build_warehouse",
            selection=dg.AssetSelection.all() - dg.AssetSelection.groups(*filter(reads_from, CONNECTORS)),
            description="Build and test every model, and publish the result if all tests pass.",
            tags={"dagster/max_runtime": str(MAX_BUILD_SECONDS)},
            executor_def=dg.in_process_executor,
        ),
        cron_schedule=BUILD_CRON,
        default_status=_RUNNING,
    )


def inbox_sensors() -> list[dg.SensorDefinition]:
    """A webhook that waits becomes a run: first of its provider's assets, then of everything built on them."""
    return [_inbox_sensor(provider) for provider in CONNECTORS if reads_from(provider)]


def _inbox_sensor(provider: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{provider}_inbox",
        job=dg.define_asset_job(
            f"drain_{provider}",
            selection=dg.AssetSelection.groups(provider).downstream(),
            description=f"Bring waiting webhooks of {connector_class(provider).title} to landing and build on them.",
            tags={"dagster/max_runtime": str(MAX_SYNC_SECONDS), WEBHOOKS_ONLY: "true"},
            executor_def=dg.in_process_executor,
        ),
        minimum_interval_seconds=DRAIN_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run when webhooks wait in the inbox. Correctness does not rest on it: any sync drains them.",
    )
    def inbox_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        count, newest = newest_waiting(Office.from_env().engine, provider)
        if newest <= int(
            context.cursor or 0
        ):  # what waits still was looked at before: it needs its provider, or a person
            return dg.SkipReason("No new webhooks wait.")
        active = context.instance.get_runs_count(
            dg.RunsFilter(
                job_name=f"drain_{provider}", statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED]
            )
        )
        if active:
            return dg.SkipReason(f"{count} webhooks wait; a run is already at work.")
        context.update_cursor(str(newest))
        return dg.RunRequest(tags={"leadtrail/webhooks_waiting": str(count)})

    return inbox_sensor
