"""Everything Dagster shows, wired on one page. Loading needs no secrets and opens no warehouse."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource

from pipeline.assets.client_safe import client_safe_assets
from pipeline.assets.follow_up import follow_up_assets
from pipeline.assets.privacy import retention
from pipeline.assets.raw import raw_assets
from pipeline.assets.verification import running_system
from pipeline.assets.warehouse import warehouse_assets
from pipeline.automation import jobs, schedules, sensors
from pipeline.manifest import manifest_path
from pipeline.settings import Settings
from pipeline.warehouse import PROJECT, export_dbt_environment, keep_manifest

_settings = Settings.from_env()
export_dbt_environment(_settings)

defs = dg.Definitions(
    assets=[
        *raw_assets(),
        *warehouse_assets(manifest_path(_settings)),
        *follow_up_assets(),
        *client_safe_assets(),
        retention,
    ],
    asset_checks=[running_system],
    jobs=jobs(),
    schedules=schedules(),
    sensors=sensors(),
    resources={
        "dbt": DbtCliResource(
            project_dir=str(PROJECT),
            profiles_dir=str(PROJECT),
            dbt_executable=str(Path(sys.executable).with_name("dbt")),  # ours, whatever is on PATH
        )
    },
    executor=dg.in_process_executor,
)


def warm() -> None:
    """What runs will want besides these definitions; for a process that is copied for each run."""
    keep_manifest(_settings)
