"""One build as the product does it, in a process of its own. Prints one line of JSON: what it took.

timeline   the models up to the leads and their events, from nothing, without tests: what the plain script makes as well
full       every model and test, from nothing: `leadtrail build` on a new home, without publishing
tested     `leadtrail build` after 1,000 new records
tick       the same without tests; afterwards the models that took longest
urgent     what somebody waits for after 1,000 new records, with its tests: from the records to what is due
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.build_plan import plan_build
from pipeline.settings import Settings
from pipeline.warehouse import build, drop_warehouse, run_dbt, sole_writer

TIMELINE = ("+fct_lead_events", "+int_leads")
TESTS = ("test", "unit_test")


def make(settings: Settings, args: Sequence[str], nodes: Sequence[str] | None = None) -> None:
    """Build models without tests."""
    without_tests = [word for kind in TESTS for word in ("--exclude-resource-type", kind)]
    with sole_writer(settings):
        outcome = run_dbt(settings, ["build", *args, *without_tests], nodes=nodes)
    if not outcome.success:
        raise SystemExit(f"dbt failed: {outcome.exception or 'see its log'}")


def nodes(settings: Settings) -> list[tuple[str, str, float]]:
    """Kind, name and seconds of each node of the last run, the longest first."""
    results = json.loads((settings.dbt_target / "run_results.json").read_text())["results"]
    parts = [(*one["unique_id"].split(".")[:3:2], one["execution_time"]) for one in results]
    return sorted(parts, key=lambda part: -part[2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("timeline", "full", "tested", "tick", "urgent"))
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    settings = Settings.from_env({"LEADTRAIL_HOME": str(args.home)})
    if args.what in ("timeline", "full"):
        drop_warehouse(settings)
    import dbt.cli.main  # noqa: F401  (2.7 s that a running Dagster or a longer command pays once)

    wall, cpu = time.monotonic(), time.process_time()
    if args.what == "timeline":
        make(settings, ["--select", *TIMELINE])
    elif args.what == "tick":
        make(settings, [], plan_build(settings).nodes)
    else:
        build(settings, urgent=args.what == "urgent")
    took: dict[str, Any] = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    ran = nodes(settings)
    took["models"] = sum(kind == "model" for kind, _, _ in ran)
    took["tests"] = sum(kind in TESTS for kind, _, _ in ran)
    took["test_seconds"] = sum(seconds for kind, _, seconds in ran if kind in TESTS)
    took["longest"] = [[name, round(seconds, 2)] for kind, name, seconds in ran if kind not in TESTS][:12]
    print(json.dumps(took))


if __name__ == "__main__":
    main()
