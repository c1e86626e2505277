"""Definitions for tests of `leadtrail up`: two jobs in the warehouse's pool, one of which sleeps until a file is there."""

import os
import time
from pathlib import Path

import dagster as dg


@dg.op(pool="warehouse")
def nap() -> None:
    while not (Path(os.environ["LEADTRAIL_HOME"]) / "wake").exists():
        time.sleep(0.05)


@dg.op(pool="warehouse")
def tick() -> None:
    pass


@dg.job(executor_def=dg.in_process_executor)
def sleeping() -> None:
    nap()


@dg.job(executor_def=dg.in_process_executor)
def ticking() -> None:
    tick()


defs = dg.Definitions(jobs=[sleeping, ticking])
