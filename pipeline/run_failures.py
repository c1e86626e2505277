"""Runs that ended become incidents, or resolve them: one for each cause, however many runs show it.

Dagster's own run-status sensors take in five runs a tick: in a storm of failures they are hours late. This reads runs in the
order in which they ended, many at a time, and remembers how far it has come.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from sqlalchemy import Engine

from pipeline.follow_up.incidents import failure_incident, job_succeeded

A_TICK = 500  # runs
SECONDS = 10.0
LOOK_BACK = 3600.0  # at the first tick
OWNERS = {"build_news": "team:data", "build_warehouse": "team:data"}
OWNER = "team:client-success"
ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


@dataclass
class Taken:
    failed: int = 0
    succeeded: int = 0


def take_in_runs(
    instance: dg.DagsterInstance, engine: Engine, cursor: str | None, *, now: datetime
) -> tuple[Taken, str]:
    """Take in runs that ended after the cursor, oldest first. Returns the new cursor. Doing it twice counts symptoms twice."""
    since = float(cursor) if cursor else now.timestamp() - LOOK_BACK
    records = instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, updated_after=datetime.fromtimestamp(since, UTC)),
        limit=A_TICK,
        order_by="update_timestamp",
        ascending=True,
    )
    taken, began = Taken(), time.monotonic()
    for record in records:
        _take_in(instance, engine, record.dagster_run, taken, now)
        since = record.update_timestamp.timestamp()
        if time.monotonic() - began > SECONDS:
            break
    return taken, repr(since)


def _take_in(instance: dg.DagsterInstance, engine: Engine, run: dg.DagsterRun, taken: Taken, now: datetime) -> None:
    with engine.begin() as connection:
        if run.status == dg.DagsterRunStatus.SUCCESS:
            taken.succeeded += 1
            job_succeeded(connection, job=run.job_name, now=now)
            return
        taken.failed += 1
        step, error_class = cause_of(instance, run.run_id)
        owner = OWNERS.get(run.job_name, OWNER)
        failure_incident(
            connection, run_id=run.run_id, job=run.job_name, step=step, error_class=error_class, owner=owner, now=now
        )


def cause_of(instance: dg.DagsterInstance, run_id: str) -> tuple[str, str]:
    """The first step that failed, and the kind of its error; never its words, which may quote a person's."""
    kinds = {dg.DagsterEventType.STEP_FAILURE}
    for record in instance.get_records_for_run(run_id, of_type=kinds, limit=1).records:
        event = record.event_log_entry.dagster_event
        error = event.step_failure_data.error if event else None
        while error is not None and error.cause is not None:
            error = error.cause
        return (event.step_key or "" if event else "", (error.cls_name if error else None) or "unknown error")
    return "", "its process was gone or was stopped"
