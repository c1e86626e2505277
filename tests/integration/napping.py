"""Definitions for tests of `leadtrail up`: two jobs in the warehouse's pool, one of which sleeps until a file is there."""

import os
import sys
import time
from pathlib import Path

import dagster as dg


@dg.op(pool="warehouse")
def nap() -> None:
    while not (Path(os.environ["LEADTRAIL_HOME"]) / "wake").exists():
        time.sleep(0.05)


@dg.op(pool="warehouse")
def tick() -> None:
    had = "wave" in sys.modules
    import wave  # noqa: F401  (that nothing else wants)

    with (Path(os.environ["LEADTRAIL_HOME"]) / "ticks").open("a") as file:
        file.write("had it\n" if had else "had to load it\n")


@dg.job(executor_def=dg.in_process_executor)
def sleeping() -> None:
    nap()


@dg.job(executor_def=dg.in_process_executor)
def ticking() -> None:
    tick()


defs = dg.Definitions(jobs=[sleeping, ticking])
