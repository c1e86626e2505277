"""dbt's manifest, parsed once and then only read: a code location loads it in every process, and parsing takes seconds."""

from __future__ import annotations

import fcntl
from pathlib import Path

from pipeline.build_plan import print_of_project, read_manifest
from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, run_dbt


def manifest_path(settings: Settings) -> Path:
    """The manifest of the project as it is now; parsed first if a file of the project has changed."""
    path, print_file = settings.dbt_target / "manifest.json", settings.dbt_target / "manifest.print"
    settings.dbt_target.mkdir(parents=True, exist_ok=True)
    wanted = print_of_project()
    with (settings.dbt_target / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not print_file.exists() or print_file.read_text() != wanted or read_manifest(settings) is None:
            outcome = run_dbt(settings, ["parse"])
            if not outcome.success:
                raise BuildFailed(f"dbt cannot parse the project: {outcome.exception}")
            print_file.write_text(wanted)
    return path
