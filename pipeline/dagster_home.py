"""Dagster's own home under ours: no telemetry, one writer for the warehouse, dead runs failed instead of kept for ever."""

from __future__ import annotations

import os

from pipeline.settings import Settings

CONFIG = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 4
  pools:
    default_limit: 1
    granularity: run
run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  free_slots_after_run_end_seconds: 60
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
retention:
  sensor:
    purge_after_days: {skipped: 2, failure: 30, success: 30}
  schedule:
    purge_after_days: 30
"""


def prepare_dagster_home(settings: Settings) -> None:
    """Make it, and point Dagster at it. A file that a person has changed is left alone."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    path = settings.dagster_home / "dagster.yaml"
    if not path.exists():
        path.write_text(CONFIG)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
