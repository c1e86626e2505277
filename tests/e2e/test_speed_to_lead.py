"""A missed call becomes a task in the CRM, through `leadtrail up` and ordinary Dagster runs. How fast, `make bench` says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT


@pytest.mark.soak
def test_every_missed_call_of_a_past_customer_is_one_task_in_the_crm(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = ["-m", "bench.speed_to_lead", "--calls", "4", "--every", "5", "--no-sync", "--json", str(figures)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert figures.exists(), done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert (found["arrived"], found["wrong"]) == (4, {})
