"""A PostgreSQL of the tests' own, for everything that must work on it as on SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


def postgres_programs() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[str], str]]:
    """A private cluster on a socket in a folder of its own: `url(name)` makes an empty database."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="lt-pg-") as folder:
        if who:
            shutil.chown(folder, "postgres", "postgres")
        data, quiet = f"{folder}/data", {"check": True, "capture_output": True, "cwd": folder, **who}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "leadtrail", "--auth=trust", "-E", "UTF8", "--no-sync"], **quiet
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
        subprocess.run([programs / "pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start"], **quiet)
        try:
            root = f"postgresql://leadtrail@/postgres?host={folder}"

            def url(name: str) -> str:
                engine = create_engine(root.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
                with engine.connect() as connection:
                    connection.execute(text(f'create database "{name}"'))
                engine.dispose()
                return root.replace("/postgres?", f"/{name}?")

            yield url
        finally:
            subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
