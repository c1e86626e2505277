"""A warehouse file that cannot be opened is said at once, with what to do, and is not touched; one that is held, after a wait."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, build, drop_warehouse, wait_for_file

VERSION_AT = 12  # in a DuckDB file: the number of its storage version


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = Settings.from_env({"LEADTRAIL_HOME": str(tmp_path)})
    with duckdb.connect(str(settings.warehouse)) as connection:
        connection.execute("create table leads as select 1 as lead_id")
    return settings


def test_c14_a_file_that_this_duckdb_cannot_read_is_left_alone(home: Settings) -> None:
    newer = bytearray(home.warehouse.read_bytes())
    struct.pack_into("<Q", newer, VERSION_AT, 9999)
    home.warehouse.write_bytes(newer)
    with pytest.raises(BuildFailed, match=r"cannot be opened.*not touched.*newer DuckDB.*upgrade.*leadtrail rebuild"):
        build(home)
    assert home.warehouse.read_bytes() == newer


def test_c11_a_damaged_file_is_said_and_forgotten_when_a_rebuild_is_asked_for(home: Settings) -> None:
    home.warehouse.write_bytes(b"not a database " * 1000)
    with pytest.raises(BuildFailed, match="cannot be opened"):
        build(home)
    drop_warehouse(home)
    assert not home.warehouse.exists()


HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder(home: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's tool that has the file open, only to read. Closing its input ends it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.warehouse)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as tool:
        assert tool.stdout
        assert tool.stdout.readline()
        yield tool
        tool.kill()


def test_c4_a_file_that_somebody_holds_is_waited_for_then_the_process_is_named(
    home: Settings, holder: subprocess.Popen[bytes]
) -> None:
    began = time.monotonic()
    with pytest.raises(
        BuildFailed, match=rf"held open by process {holder.pid} \(python.*Close that program and run it again"
    ):
        wait_for_file(home, patience=1)
    assert time.monotonic() - began >= 1


def test_c4_a_file_that_somebody_lets_go_of_in_time_is_built(home: Settings, holder: subprocess.Popen[bytes]) -> None:
    assert holder.stdin
    threading.Timer(0.7, holder.stdin.close).start()
    wait_for_file(home, patience=20)
    duckdb.connect(str(home.warehouse)).close()
