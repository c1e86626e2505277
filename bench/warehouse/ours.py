"""One build as the product does it, in a process of its own. Prints one line of JSON: what it took.

timeline   the models up to the leads and their events, from nothing, without tests: what the plain script makes as well
full       every model and test, from nothing: `leadtrail build` on a new home, without publishing
rebuilt    every model from nothing, without tests
tested     `leadtrail build` after 1,000 new records
tick       the same without tests; afterwards the models that took longest
urgent     what somebody waits for after 1,000 new records, with its tests: from the records to what is due

Ticks find the project parsed, as Dagster's runs do (pipeline/run_starter.py); the other two parse it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.build_plan import begin, finish, plan_build
from pipeline.settings import Settings
from pipeline.warehouse import build, drop_warehouse, keep_manifest, run_dbt, sole_writer

TIMELINE = ("+fct_lead_events", "+int_leads")
TESTS = ("test", "unit_test")


WITHOUT_TESTS = [word for kind in TESTS for word in ("--exclude-resource-type", kind)]


def make(settings: Settings, args: Sequence[str], on_event: Callable[[Any], None]) -> None:
    """Build models without tests."""
    with sole_writer(settings):
        outcome = run_dbt(settings, ["build", *args, *WITHOUT_TESTS], on_event=on_event)
    if not outcome.success:
        raise SystemExit(f"dbt failed: {outcome.exception or 'see its log'}")


def tick(settings: Settings, on_event: Callable[[Any], None]) -> None:
    """Build what is new without tests."""
    with sole_writer(settings):
        plan = plan_build(settings)
        begin(settings, plan)
        outcome = run_dbt(settings, ["build", *WITHOUT_TESTS], nodes=plan.nodes, on_event=on_event)
        if not outcome.success:
            raise SystemExit(f"dbt failed: {outcome.exception or 'see its log'}")
        finish(settings, plan, {one.node.name: True for one in outcome.result})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("timeline", "full", "rebuilt", "tested", "tick", "urgent"))
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    settings = Settings.from_env({"LEADTRAIL_HOME": str(args.home)})
    if args.what in ("timeline", "full"):
        drop_warehouse(settings)
    import dbt.cli.main  # noqa: F401  (2.7 s that a running Dagster or a longer command pays once)

    if args.what in ("tested", "tick", "urgent"):
        keep_manifest(settings)
    ran: list[tuple[str, str, float]] = []  # kind, name and seconds of each node

    def note(event: Any) -> None:
        if event.info.name == "NodeFinished":
            one = event.data
            ran.append((one.node_info.resource_type, one.node_info.node_name, one.run_result.execution_time))

    wall, cpu = time.monotonic(), time.process_time()
    if args.what == "timeline":
        make(settings, ["--select", *TIMELINE], note)
    elif args.what == "rebuilt":
        make(settings, [], note)
    elif args.what == "tick":
        tick(settings, note)
    else:
        build(settings, urgent=args.what == "urgent", on_event=note)
    took: dict[str, Any] = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    ran.sort(key=lambda one: -one[2])
    took["models"] = sum(kind == "model" for kind, _, _ in ran)
    took["tests"] = sum(kind in TESTS for kind, _, _ in ran)
    took["test_seconds"] = sum(seconds for kind, _, seconds in ran if kind in TESTS)
    took["longest"] = [[name, round(seconds, 2)] for kind, name, seconds in ran if kind not in TESTS][:12]
    print(json.dumps(took))


if __name__ == "__main__":
    main()
