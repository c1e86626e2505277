"""The built town, backed up, restored on another machine and built again from landing."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from tests.e2e.conftest import Home, leadtrail


def prints(home: Path) -> dict[str, tuple[int, int]]:
    """Of each table of what happened, how many rows it has and a hash over all of them."""
    with duckdb.connect(str(home / "analytics.duckdb"), read_only=True) as analytics:
        tables = analytics.execute(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema in ('timeline', 'attribution') order by 1"
        ).fetchall()
        return {
            table: analytics.execute(f"select count(*), bit_xor(hash(one)) from {table} as one").fetchone()
            for (table,) in tables
        }


@pytest.mark.soak
def test_a_restored_home_builds_the_same_rows(built_home: Home, tmp_path: Path) -> None:
    made = built_home.leadtrail("backup", str(tmp_path / "backup"))
    assert made.returncode == 0, made.stderr
    new = tmp_path / "new"
    new.mkdir()
    keyless = leadtrail(new, "restore", str(tmp_path / "backup"))
    assert keyless.returncode == 1
    assert "needs the key with the id" in keyless.stderr
    shutil.copy(built_home.path / "store.key", new / "store.key")
    shutil.copy(built_home.path / "secrets.env", new / "secrets.env")
    assert leadtrail(new, "restore", str(tmp_path / "backup")).returncode == 0
    assert "each sealed with the one before" in leadtrail(new, "audit", "verify").stdout
    built = leadtrail(new, "rebuild", timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    before = prints(built_home.path)
    assert sum(count for count, _ in before.values()) > 1_000
    assert prints(new) == before
    site = [path / "site" for path in (tmp_path / "a", tmp_path / "b")]
    for home, folder in zip((built_home.path, new), site, strict=True):
        assert leadtrail(home, "portal", "export", str(folder)).returncode == 0
    pages = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.html")} for folder in site]
    assert pages[0] == pages[1] != {}
