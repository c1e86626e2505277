"""One home, made by the command a stranger types first; every end-to-end test reads it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LEADTRAIL = [sys.executable, "-m", "pipeline.cli"]


@dataclass(frozen=True)
class Home:
    """A home after `leadtrail run`. `said` is what the command printed."""

    path: Path
    said: str

    def leadtrail(self, *args: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return leadtrail(self.path, *args, timeout=timeout)


def leadtrail(home: Path, *args: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LEADTRAIL_", "DAGSTER_"))}
    environment |= {"LEADTRAIL_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [*LEADTRAIL, *args], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
    )


RUN = ("run", "--seed", "11", "--clients", "2", "--months", "2", "--leads-per-month", "20")


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Home:
    """Made once, whatever the number of workers: who comes second waits."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "made"
    folder.mkdir(exist_ok=True)
    said = folder / "said"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            said.write_text(_run(folder / "home"))
    return Home(folder / "home", said.read_text())


def _run(path: Path) -> str:
    done = leadtrail(path, *RUN, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
