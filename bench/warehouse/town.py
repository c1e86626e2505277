"""Homes of a given size: parts of one large town, made once and kept under .leadtrail-bench/, linked together.

A larger home holds a smaller one's clients and more; the mix of records is the same, so only the size differs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.warehouse.land import END, LEADS_PER_MONTH, MONTHS, SEED
from pipeline.directory import write_directory

ROOT = Path(__file__).parent.parent.parent
KEPT = ROOT / ".leadtrail-bench" / "warehouse"
CLIENTS = 10  # in a part
RECORDS = 250_000  # about, in a part
PROCESSES = 2


def make_home(home: Path, parts: int, seed: int = SEED) -> int:
    """A home that holds the first parts, landed and not yet built; its number of records."""
    folders = make_parts(parts, seed)
    shutil.rmtree(home, ignore_errors=True)
    (home / "directory").mkdir(parents=True)
    records = 0
    for folder in folders:
        for segment in sorted((folder / "landing").rglob("*.parquet")):
            linked = home / segment.relative_to(folder)
            linked.parent.mkdir(parents=True, exist_ok=True)
            os.link(segment, linked)
            records += pq.read_metadata(segment).num_rows
    for name, schema in _directory(folders[0]).items():
        owned = "client_id" in schema.names  # the rest is the same for everybody
        rows = pa.concat_tables(
            [pq.read_table(one / "directory" / name) for one in (folders if owned else folders[:1])]
        )
        pq.write_table(rows, home / "directory" / name)
    return records


def make_parts(parts: int, seed: int = SEED) -> list[Path]:
    with ThreadPoolExecutor(PROCESSES) as pool:
        return list(pool.map(lambda number: _part(number, seed), range(parts)))


def _part(number: int, seed: int) -> Path:
    folder = KEPT / (f"part-{number}" if seed == SEED else f"seed-{seed}-part-{number}")
    done, made_of = folder / "done", f"{seed} {END.date()} {MONTHS} months, {LEADS_PER_MONTH} leads"
    if not done.exists() or done.read_text() != made_of or _directory(folder) != _directory_today():
        first, clients = str(number * CLIENTS), str(CLIENTS)
        command = [sys.executable, "-m", "bench.warehouse.land", "--seed", str(seed)]
        subprocess.run([*command, "--folder", folder, "--first", first, "--clients", clients], cwd=ROOT, check=True)
        done.write_text(made_of)
    return folder


def _directory(folder: Path) -> dict[str, pa.Schema]:
    return {file.name: pq.read_schema(file) for file in sorted((folder / "directory").glob("*.parquet"))}


def _directory_today() -> dict[str, pa.Schema]:
    """What dbt expects of a directory; a part that was made before it grew a file or a column is made again."""
    with tempfile.TemporaryDirectory() as empty:
        write_directory(Path(empty) / "directory", [], {})
        return _directory(Path(empty))
