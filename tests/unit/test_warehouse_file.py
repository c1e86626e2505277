"""A warehouse file that cannot be opened is said at once, with what to do, and is not touched."""

from __future__ import annotations

import struct
from pathlib import Path

import duckdb
import pytest

from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, build, drop_warehouse

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
