"""Searching everything in a folder for words that must not be there: files as bytes, Parquet unpacked, databases by page and by
table."""

from __future__ import annotations

import gzip
import re
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

_SHORTEST = 6


class Canaries:
    """`words` are looked for in any case; a word is told in one pass by its first letters, however many there are."""

    def __init__(self, words: Collection[str]) -> None:
        self._by_start: dict[bytes, set[bytes]] = defaultdict(set)
        self.words = {word for word in words if len(word) >= _SHORTEST}
        for word in self.words:
            folded = word.lower().encode()
            self._by_start[folded[:_SHORTEST]].add(folded)
        self._start = re.compile(b"(?=(" + b"|".join(map(re.escape, sorted(self._by_start))) + b"))") if words else None

    def in_bytes(self, data: bytes) -> set[str]:
        if self._start is None:
            return set()
        data = data.lower()
        if len(self._by_start) > 500:  # an alternation of thousands is slower than looking up every place
            return self._many(data)
        return {
            word.decode()
            for match in self._start.finditer(data)
            for word in self._by_start[match[1]]
            if data.startswith(word, match.start())
        }

    def _many(self, data: bytes) -> set[str]:
        found = set()
        starts = self._by_start
        for at in range(len(data) - _SHORTEST + 1):
            words = starts.get(data[at : at + _SHORTEST])
            if words:
                found |= {word.decode() for word in words if data.startswith(word, at)}
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
