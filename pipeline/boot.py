"""What a hard kill left behind in Dagster, put right before its daemon starts: runs that nobody runs, and the slots they hold."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from pipeline.processes import is_alive, pid_of
from pipeline.supervisor import end
from pipeline.tags import PROCESS

UNFINISHED = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True)
class Swept:
    """Runs that were marked as failed, and runs that had ended but held a slot of a pool."""

    failed: tuple[str, ...]
    freed: tuple[str, ...]


def sweep(instance: dg.DagsterInstance) -> Swept:
    """Fail every run whose process is gone (killed, or the machine was started again) and free its slots. A run that waits in
    the queue has no process yet: it starts as soon as the daemon does. One that is still at work is left alone."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    dead = [run for run in runs if not is_alive(run.tags.get(PROCESS, ""))]
    for run in dead:
        instance.report_run_failed(
            run,
            "Its process was gone when Leadtrail was started again: it was killed, or the machine was. What it had committed "
            "stays; the next run does the rest.",
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    at_work = {run.run_id for run in runs} - {run.run_id for run in dead}
    return Swept(tuple(run.run_id for run in dead), tuple(_free_abandoned_slots(instance, at_work)))


def stop_runs(instance: dg.DagsterInstance) -> None:
    """End the runs that are at work: they are processes of their own, and outlive what started them."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    end([pid_of(run.tags[PROCESS]) for run in runs if is_alive(run.tags.get(PROCESS, ""))])


def _free_abandoned_slots(instance: dg.DagsterInstance, at_work: set[str]) -> list[str]:
    """A run that was killed between its end and giving back its slot holds it still."""
    storage = instance.event_log_storage
    holders = {
        holder
        for pool in storage.get_concurrency_keys()
        for info in [storage.get_concurrency_info(pool)]
        for holder in (*info.active_run_ids, *info.pending_run_ids)
    }
    abandoned = sorted(holders - at_work)
    for run_id in abandoned:
        storage.free_concurrency_slots_for_run(run_id)
    return abandoned
