"""The warehouse's file damaged, made by a newer DuckDB, or on a full disk: said clearly, nothing lost, mended by one command."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, build, drop_warehouse
from tests.conftest import NOW
from tests.records import call
from tests.warehouse import Landed, land, staged

CALLS = "+stg_callrail__calls"
VERSION_AT = 12  # in a DuckDB file: the number of its storage version


def some_calls(first: int, count: int) -> list[Landed]:
    return [
        call("acme", str(number), NOW + timedelta(minutes=number), f"+1512555{number % 10_000:04}")
        for number in range(first, first + count)
    ]


def staged_calls(settings: Settings) -> list[tuple[object, ...]]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return connection.execute("select * from staging.stg_callrail__calls order by record_key").fetchall()


def settings_of(home: Path) -> Settings:
    return Settings.from_env({"LEADTRAIL_HOME": str(home)})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("home")
    staged(folder, some_calls(0, 3), CALLS).close()
    return settings_of(folder)


def test_c14_a_file_of_a_newer_duckdb_is_not_touched_and_the_message_says_what_to_do(home: Settings) -> None:
    whole = home.warehouse.read_bytes()
    newer = bytearray(whole)
    struct.pack_into("<Q", newer, VERSION_AT, 9999)
    home.warehouse.write_bytes(newer)
    try:
        with pytest.raises(BuildFailed, match=r"version number 9999.*not touched.*upgrade.*leadtrail rebuild"):
            build(home)
        assert home.warehouse.read_bytes() == newer
    finally:
        home.warehouse.write_bytes(whole)


def test_c11_a_damaged_file_is_said_at_once_and_made_anew_from_landing_to_the_same_rows(home: Settings) -> None:
    before = staged_calls(home)
    home.warehouse.write_bytes(b"not a database " * 1000)
    with pytest.raises(BuildFailed, match="cannot be opened"):
        build(home)
    drop_warehouse(home)
    build(home, select=[CALLS])
    assert staged_calls(home) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_c5_a_disk_that_fills_up_fails_the_build_and_what_was_built_stays_until_there_is_room(small_disk: Path) -> None:
    staged(small_disk, some_calls(0, 3), CALLS).close()
    settings = settings_of(small_disk)
    before = staged_calls(settings)
    land(small_disk, some_calls(3, 20_000))
    filler = small_disk / "filler"
    free = int(subprocess.check_output(["df", "--output=avail", "-B1", str(small_disk)], text=True).split()[-1])
    filler.write_bytes(b"\0" * (free - 1_000_000))
    with pytest.raises(BuildFailed):
        build(settings, select=[CALLS])
    assert staged_calls(settings) == before
    filler.unlink()
    build(settings, select=[CALLS])
    assert len(staged_calls(settings)) == 20_003
