"""The two kinds of operational store, for everything that promises to be the same on both."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from pipeline.store.engine import open_store
from pipeline.store.schema import metadata


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


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    made: str = request.getfixturevalue("postgres")("store")
    return made


@pytest.fixture(scope="module")
def opened(store_url: str) -> Iterator[Engine]:
    engine = open_store(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(opened: Engine) -> Engine:
    """The store, empty."""
    with opened.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    return opened


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'store.db'}"
    made: str = request.getfixturevalue("postgres")(f"new-{request.node.name[:40]}")
    return made
