"""The raw records, as append-only Parquet segments: landing/<provider>/<stream>/<time-ordered name>.parquet.

One row is one record as received (columns: SCHEMA). Writing needs no lock: every segment is a new file, written as `.tmp`,
fsynced, renamed, its directory fsynced, and only then are the cursors of what it holds committed to the store, in one
transaction. A crash at any point loses at most work that will be fetched again. Nothing here opens DuckDB.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.base import Record
from connectors.broken_text import mended_utf8

FLUSH_RECORDS = 50_000
FLUSH_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 20.0
ROW_GROUP = 20_000

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_UTC_MICROS = pa.timestamp("us")
_LABEL = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("client_id", _LABEL),
        ("provider", _LABEL),
        ("stream", _LABEL),
        ("record_id", pa.string()),
        ("occurred_at", _UTC_MICROS),  # when it happened (UTC), null if the provider does not say
        ("updated_at", _UTC_MICROS),  # the provider's own last change
        ("received_at", _UTC_MICROS),  # when we knew
        ("via", _LABEL),  # pull | webhook | import | observed
        ("batch_id", _LABEL),
        ("idempotency_key", pa.string()),
        ("payload", pa.string()),  # the provider's JSON, byte for byte
    ]
)


@dataclass(frozen=True)
class Segment:
    """A finished file. `name` is its path under landing/."""

    name: str
    provider: str
    stream: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Batch:
    """Records of one stream that arrived together, and the content key of each."""

    client_id: str
    provider: str
    stream: str
    via: str
    received_at: datetime
    records: Sequence[Record]
    keys: Sequence[bytes]


class Filter(Protocol):
    """What leaves out of a batch what may not be kept."""

    def filtered(self, batch: Batch) -> Batch: ...


class Landing:
    """Buffers batches of many syncs and writes them in shared segments. Thread-safe.

    `commit(segments, done)` must store the segments' names and apply every `done` in one transaction; it is called after the
    files are durable. Segments are closed when they are large, or old: nobody waits for another client's backfill.
    """

    def __init__(
        self,
        root: Path,
        commit: Callable[[list[Segment], list[object]], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        door: Callable[[], AbstractContextManager[Filter]] | None = None,
    ) -> None:
        self.root, self._commit, self._monotonic = root, commit, monotonic
        self._door = door or nullcontext
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], list[Batch]] = defaultdict(list)
        self._done: list[object] = []
        self._records = self._bytes = 0
        self._written_at = monotonic()

    def add(self, batches: Sequence[Batch], done: object | None = None) -> None:
        """Take batches, and what to commit once they (and everything before them) are durable."""
        with self._lock:
            for batch in batches:
                if batch.records:
                    self._open[batch.provider, batch.stream].append(batch)
                    self._records += len(batch.records)
                    self._bytes += sum([len(record.payload) for record in batch.records])
            if done is not None:
                self._done.append(done)
            old = self._monotonic() - self._written_at >= FLUSH_SECONDS
            if old or self._records >= FLUSH_RECORDS or self._bytes >= FLUSH_BYTES:
                self._write()

    def flush(self) -> None:
        """Make everything taken so far durable."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._open or self._done:
            with self._door() as door:  # what may not come in is left out here, and nothing is rewritten meanwhile
                self._commit(self._segments(door), self._done)
        self._open.clear()
        self._done = []
        self._records = self._bytes = 0
        self._written_at = self._monotonic()

    def _segments(self, door: Filter | None) -> list[Segment]:
        written = []
        for (provider, stream), batches in sorted(self._open.items()):
            kept = [one for one in (door.filtered(batch) if door else batch for batch in batches) if one.records]
            if kept:
                written.append(write_segment(self.root, provider, stream, _table(kept)))
        return written


def write_segment(root: Path, provider: str, stream: str, table: pa.Table) -> Segment:
    """Write a table of SCHEMA as a new segment, durably. Returns once it would survive a power cut."""
    folder = root / provider / stream
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for parent in (folder.parent, root):
            _fsync(parent)
    name = segment_name()
    temporary, final = folder / f"{name}.tmp", folder / f"{name}.parquet"
    with temporary.open("wb") as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            compression_level=1,
            row_group_size=ROW_GROUP,
            use_dictionary=["client_id", "provider", "stream", "via", "batch_id"],
        )
        file.flush()
        os.fsync(file.fileno())
    with temporary.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = temporary.stat().st_size
    temporary.rename(final)
    _fsync(folder)
    return Segment(f"{provider}/{stream}/{name}.parquet", provider, stream, table.num_rows, size, digest)


def segment_name() -> str:
    """Time-ordered and unique across processes and machines."""
    return f"{int(datetime.now(UTC).timestamp() * 1000):012x}-{secrets.token_hex(5)}"


def content_keys(client_id: str, provider: str, stream: str, records: Sequence[Record]) -> list[bytes]:
    """The idempotency key of each record: 16 bytes over whose it is and what it says. Equal content, equal key."""
    owner = hashlib.sha256(f"{client_id}\x1f{provider}\x1f{stream}\x1f".encode())
    keys = []
    for record in records:
        content = owner.copy()
        content.update(record.record_id.encode())
        content.update(record.payload)
        keys.append(content.digest()[:16])
    return keys


# ---- Arrow columns, built from buffers: pa.array() on lists is slower, and imports pandas where it is installed ----


def _table(batches: list[Batch]) -> pa.Table:
    batches = sorted(batches, key=lambda batch: batch.client_id)  # stable: a client's rows stay together, in order
    sizes = [len(batch.records) for batch in batches]
    records = [record for batch in batches for record in batch.records]
    batch_ids = [f"{batch.received_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}-{i}" for i, batch in enumerate(batches)]
    received = [_micros(batch.received_at) for batch in batches]
    columns = [
        _labels([batch.client_id for batch in batches], sizes),
        _labels([batch.provider for batch in batches], sizes),
        _labels([batch.stream for batch in batches], sizes),
        _texts([record.record_id.encode() for record in records]),
        _times([_micros(record.occurred_at) for record in records]),
        _times([_micros(record.updated_at) for record in records]),
        _times([at for at, size in zip(received, sizes, strict=True) for _ in range(size)]),
        _vias(batches, sizes),
        _labels(batch_ids, sizes),
        _texts([key.hex().encode() for batch in batches for key in batch.keys]),
        _payloads([record.payload for record in records]),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _vias(batches: list[Batch], sizes: list[int]) -> pa.Array:
    if not any(record.absent for batch in batches for record in batch.records):
        return _labels([batch.via for batch in batches], sizes)
    vias = ["observed" if record.absent else batch.via for batch in batches for record in batch.records]
    return _labels(vias, [1] * len(vias))


def _labels(values: Sequence[str], sizes: Sequence[int]) -> pa.Array:
    """A dictionary column from runs: `values[i]` repeated `sizes[i]` times."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(values))}
    indices = array("i")
    for value, size in zip(values, sizes, strict=True):
        indices.extend(array("i", [numbers[value]]) * size)
    return pa.DictionaryArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(indices), [None, pa.py_buffer(indices)]),
        _texts([value.encode() for value in numbers]),
    )


def _texts(values: Sequence[bytes | msgspec.Raw]) -> pa.Array:
    try:
        offsets = array("i", accumulate(map(len, values), initial=0))  # type: ignore[arg-type]
    except OverflowError:
        raise ValueError("a segment may hold at most 2 GB of text") from None
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _payloads(payloads: Sequence[bytes | msgspec.Raw]) -> pa.Array:
    """The payloads as text. One that is not UTF-8 would make its whole segment unreadable, so it is mended."""
    column = _texts(payloads)
    try:
        column.validate(full=True)
        return column
    except pa.ArrowInvalid:
        return _texts([mended_utf8(bytes(payload)) for payload in payloads])


def _times(micros: Sequence[int | None]) -> pa.Array:
    if None not in micros:
        return pa.Array.from_buffers(_UTC_MICROS, len(micros), [None, pa.py_buffer(array("q", micros))])  # type: ignore[arg-type]
    valid = bytearray((len(micros) + 7) // 8)
    for i, value in enumerate(micros):
        if value is not None:
            valid[i >> 3] |= 1 << (i & 7)
    data = array("q", [value or 0 for value in micros])
    return pa.Array.from_buffers(_UTC_MICROS, len(micros), [pa.py_buffer(bytes(valid)), pa.py_buffer(data)])


def _micros(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
