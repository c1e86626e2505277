"""Searching everything in a folder for words that must not be there: files as bytes, Parquet unpacked, databases by page and by
table."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq

_SHORTEST = 6  # a word is told by its first six letters, all places of a file at once
_CHUNK = 8 * 1024 * 1024
_MIXED = np.uint64(0x9E3779B97F4A7C15)


class Canaries:
    """`words` are looked for in any case."""

    def __init__(self, words: Collection[str]) -> None:
        self.words = {word for word in words if len(word) >= _SHORTEST}
        self._by_start: dict[bytes, set[bytes]] = defaultdict(set)
        self._may_start = np.zeros(1 << 24, dtype=bool)
        for word in self.words:
            folded = word.encode().lower()
            self._by_start[folded[:_SHORTEST]].add(folded)
            self._may_start[_starts(folded[:_SHORTEST])] = True

    def in_bytes(self, data: bytes) -> set[str]:
        data, found = data.lower(), set()
        for begin in range(0, len(data), _CHUNK):
            part = data[begin : begin + _CHUNK + _SHORTEST - 1]
            if len(part) < _SHORTEST:
                continue
            for at in begin + np.flatnonzero(self._may_start[_starts(part)]):
                for word in self._by_start.get(data[at : at + _SHORTEST], ()):
                    if data.startswith(word, at):
                        found.add(word.decode())
        return found

    def in_folder(self, folder: Path, *, leave_out: Collection[str] = ()) -> Mapping[str, set[str]]:
        """What was found, by file (and table)."""
        found: dict[str, set[str]] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if (
                path.is_symlink()
                or not path.is_file()
                or any(name == one or name.startswith(f"{one}/") for one in leave_out)
            ):
                continue
            for part, data in _parts(path):
                if hit := self.in_bytes(data):
                    found.setdefault(f"{name}{part}", set()).update(hit)
        return found


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    raw = path.read_bytes()
    yield "", raw
    if path.suffix == ".parquet":
        for column in pq.read_table(path).to_pydict().values():
            yield "", "\x00".join(str(value) for value in column).encode(errors="replace")
    elif raw[8:12] == b"DUCK":
        yield from _duckdb(path)
    elif raw.startswith(b"SQLite format 3"):
        yield from _sqlite(path)
    elif raw.startswith(b"\x1f\x8b"):
        yield "", gzip.decompress(raw)


def _duckdb(path: Path) -> Iterator[tuple[str, bytes]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
        for schema, table in tables:
            rows = connection.execute(f'select * from "{schema}"."{table}"')
            while some := rows.fetchmany(20_000):
                yield f": {schema}.{table}", repr(some).encode(errors="replace")


def _sqlite(path: Path) -> Iterator[tuple[str, bytes]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for name in names:
            for row in connection.execute(f'select * from "{name}"'):
                yield f": {name}", b"\x00".join(_bytes(value) for value in row)
    finally:
        connection.close()


def _bytes(value: object) -> bytes:
    """Dagster packs some of its columns."""
    if not isinstance(value, bytes):
        return str(value).encode(errors="replace")
    try:
        return value + zlib.decompress(value)
    except zlib.error:
        return value


def _starts(data: bytes) -> np.ndarray:
    """For each place, where in a table of 2^24 its first six bytes belong."""
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    places = len(bytes_) - _SHORTEST + 1
    packed = np.zeros(places, dtype=np.uint64)
    for i in range(_SHORTEST):
        packed = (packed << np.uint64(8)) | bytes_[i : i + places]
    return ((packed * _MIXED) >> np.uint64(40)).astype(np.int64)
