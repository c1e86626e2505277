"""Dagster's own home under ours: no telemetry, one writer for the warehouse, dead runs failed instead of kept for ever."""

from __future__ import annotations

import hashlib
import os

from pipeline.settings import Settings

CONFIG = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_launcher:
  module: pipeline.run_launcher
  class: LocalRunLauncher
scheduler:
  module: dagster.core.scheduler
  class: DagsterDaemonScheduler
  config:
    max_catchup_runs: 1  # after a pause each schedule runs once, not once for each time it missed
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
concurrency:
  runs:
    max_concurrent_runs: 6
    # syncs and builds leave room for what somebody waits for
    tag_concurrency_limits:
      - {key: leadtrail/background, limit: 3}
  pools:
    default_limit: 1
    granularity: run
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  cancel_timeout_seconds: 60
  max_runtime_seconds: 3600
  max_resume_run_attempts: 0
  poll_interval_seconds: 15
  free_slots_after_run_end_seconds: 60
# no run is repeated by Dagster: schedules and sensors start the next one, which does what is left
run_retries:
  enabled: false
retention:
  sensor:
    purge_after_days: {skipped: 1, failure: 30, success: 7}
  schedule:
    purge_after_days: 30
"""
# what earlier versions wrote: a file that is still like that is ours to renew
EARLIER = ("407d084486f7506e750b45534cee6a1fab64ebe4b9937461e1d23448c938efdb",)


def prepare_dagster_home(settings: Settings) -> None:
    """Make it, and point Dagster at it. A file that a person has changed is left alone."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    path = settings.dagster_home / "dagster.yaml"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() in EARLIER:
        path.write_text(CONFIG)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
