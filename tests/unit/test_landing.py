"""Landing: what a provider said is written byte for byte, whole or not at all, and committed with its cursor."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.base import Record, absent
from pipeline.landing import FLUSH_RECORDS, SCHEMA, Batch, Landing, Segment, content_keys
from pipeline.store.engine import open_store
from pipeline.store.feeds import FeedState, commit_feed, load_feeds
from pipeline.store.segments import live_segments, note_segments

AT = datetime(2026, 3, 2, 17, 0, 0, 123456, tzinfo=UTC)


class Committed:
    """What was committed, and when: `files` is what lay in landing at that moment."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls, self.files = root, [], []

    def __call__(self, segments: list[Segment], done: list[object]) -> None:
        self.calls.append((segments, list(done)))
        self.files.append({path.relative_to(self.root).as_posix() for path in self.root.rglob("*.parquet")})


@pytest.fixture
def committed(tmp_path: Path) -> Committed:
    return Committed(tmp_path / "landing")


@pytest.fixture
def landing(committed: Committed) -> Landing:
    return Landing(committed.root, commit=committed)


def batch(client: str, records: Sequence[Record], stream: str = "calls", via: str = "pull", at: datetime = AT) -> Batch:
    return Batch(client, "callrail", stream, via, at, records, content_keys(client, "callrail", stream, records))


def read(root: Path, stream: str = "calls") -> list[dict[str, object]]:
    files = sorted((root / "callrail" / stream).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


# ---- what is written ----


def test_the_schema_is_the_raw_record_of_the_design(landing: Landing, committed: Committed) -> None:
    landing.add([batch("a", [Record("1", b"{}")])])
    landing.flush()
    (file,) = committed.root.rglob("*.parquet")
    fields = {field.name: field.type for field in pq.read_schema(file)}
    assert " ".join(fields) == (
        "client_id provider stream record_id occurred_at updated_at received_at via batch_id idempotency_key payload"
    )
    text = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in fields.items()}
    assert {name for name, kind in text.items() if pa.types.is_string(kind)} == set(fields) - {
        "occurred_at",
        "updated_at",
        "received_at",
    }
    assert {str(text[name]) for name in ("occurred_at", "updated_at", "received_at")} == {"timestamp[us]"}
    assert pq.read_schema(file).equals(SCHEMA)
    # what dbt reads it with sees the same
    described = duckdb.sql(f"describe select * from read_parquet('{file}')").fetchall()
    assert [(name, kind) for name, kind, *_ in described] == [
        (name, "TIMESTAMP" if name.endswith("_at") else "VARCHAR") for name in fields
    ]


PAYLOADS = [
    b'{"a":1}',
    b'{ "a" :\t1.0e5 , "b":-0 }\n',
    '{"name":"José 🏠 \u2028 \\u00e9 \\ud83d\\ude00"}'.encode(),
    b'{"a":1,"a":2}',
    b'{"big":12345678901234567890.12345678901234567890}',
    b'{"zero":"a\\u0000b"}',
    b"{}",
    b"",
    b'{"long":"' + b"x" * 3_000_000 + b'"}',
]


def test_payloads_are_byte_exact_in_python_and_in_duckdb(landing: Landing, committed: Committed) -> None:
    landing.add([batch("a", [Record(str(i), payload) for i, payload in enumerate(PAYLOADS)])])
    landing.flush()
    assert [str(row["payload"]).encode() for row in read(committed.root)] == PAYLOADS
    sql = f"select payload from read_parquet('{committed.root}/*/*/*.parquet') order by cast(record_id as integer)"
    assert [row[0].encode() for row in duckdb.sql(sql).fetchall()] == PAYLOADS


def test_times_are_utc_to_the_microsecond_and_may_be_missing(landing: Landing, committed: Committed) -> None:
    denver = datetime(2026, 3, 2, 10, 0, 0, 1, tzinfo=timezone(timedelta(hours=-7)))
    early = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    landing.add([batch("a", [Record("1", b"{}", denver, early), Record("2", b"{}"), Record("3", b"{}", None, AT)])])
    landing.flush()
    rows = read(committed.root)
    assert [row["occurred_at"] for row in rows] == [datetime(2026, 3, 2, 17, 0, 0, 1), None, None]  # noqa: DTZ001
    assert [row["updated_at"] for row in rows] == [early.replace(tzinfo=None), None, AT.replace(tzinfo=None)]
    assert {row["received_at"] for row in rows} == {AT.replace(tzinfo=None)}


def test_ids_clients_and_streams_may_hold_any_text(landing: Landing, committed: Committed) -> None:
    ids = ["é", "日本", "a/b\\c", " ", "", "1" * 1000, "'; drop table"]
    landing.add([batch("ünï", [Record(name, b"{}") for name in ids])])
    landing.flush()
    assert [row["record_id"] for row in read(committed.root)] == ids
    assert {row["client_id"] for row in read(committed.root)} == {"ünï"}


def test_batches_of_many_clients_share_a_segment_sorted_by_client(landing: Landing, committed: Committed) -> None:
    for number, client in enumerate(["b", "c", "a", "b", "a"]):
        landing.add(
            [batch(client, [Record(f"{number}.{i}", b"{}") for i in range(2)], at=AT + timedelta(hours=number))]
        )
    landing.add([batch("a", [Record("t", b"{}")], stream="text_messages", via="webhook")])
    landing.flush()
    rows = read(committed.root)
    assert [(row["client_id"], row["record_id"]) for row in rows] == [
        ("a", "2.0"), ("a", "2.1"), ("a", "4.0"), ("a", "4.1"), ("b", "0.0"), ("b", "0.1"), ("b", "3.0"), ("b", "3.1"),
        ("c", "1.0"), ("c", "1.1"),
    ]  # fmt: skip
    assert len({row["batch_id"] for row in rows}) == 5
    hours = [row["received_at"] - AT.replace(tzinfo=None) for row in rows]
    assert hours == [timedelta(hours=int(str(row["record_id"])[0])) for row in rows]
    assert {(row["provider"], row["stream"], row["via"]) for row in rows} == {("callrail", "calls", "pull")}
    assert [row["via"] for row in read(committed.root, "text_messages")] == ["webhook"]
    segments, _ = committed.calls[0]
    assert [(one.stream, one.records) for one in segments] == [("calls", 10), ("text_messages", 1)]


def test_our_own_observation_is_told_from_the_providers_words(landing: Landing, committed: Committed) -> None:
    landing.add([batch("a", [Record("1", b'{"id":1}'), absent("2", AT)])])
    landing.flush()
    assert [(row["via"], row["record_id"]) for row in read(committed.root)] == [("pull", "1"), ("observed", "2")]


def test_equal_content_has_an_equal_key_and_everything_else_another() -> None:
    def key(
        client: str = "a", provider: str = "p", stream: str = "s", record_id: str = "1", payload: bytes = b"{}"
    ) -> str:
        (made,) = content_keys(client, provider, stream, [Record(record_id, payload, AT)])
        return made.hex()

    assert key() == key()
    others = {
        key(client="b"), key(provider="q"), key(stream="t"), key(record_id="2"), key(payload=b"{ }"),
        key(client="ap", provider=""), key(provider="ps", stream=""),
    }  # fmt: skip
    assert len(others) == 7
    assert key() not in others
    expected = hashlib.sha256(b"a\x1fp\x1fs\x1f" + b"1" + b"{}").hexdigest()[:32]
    assert key() == expected, "keys are for ever: landing written before must stay equal"


def test_the_key_in_the_file_is_the_key(landing: Landing, committed: Committed) -> None:
    one = batch("a", [Record("1", b"{}")])
    landing.add([one])
    landing.flush()
    assert read(committed.root)[0]["idempotency_key"] == one.keys[0].hex()


# ---- whole or not at all ----


def test_nothing_is_written_for_nothing(landing: Landing, committed: Committed) -> None:
    landing.add([batch("a", [])])
    landing.flush()
    assert committed.calls == []
    landing.add([batch("a", [])], "a cursor that moved over nothing new")
    landing.flush()
    assert committed.calls == [([], ["a cursor that moved over nothing new"])]
    assert not committed.root.exists()


def test_what_is_committed_lies_in_landing_already_and_matches_its_digest(
    landing: Landing, committed: Committed
) -> None:
    landing.add([batch("a", [Record("1", b"{}")])], "cursor 1")
    landing.add([batch("b", [Record("2", b"{}")])], "cursor 2")
    landing.flush()
    ((segments, done),) = committed.calls
    assert done == ["cursor 1", "cursor 2"]
    assert committed.files[0] == {segment.name for segment in segments}
    for segment in segments:
        content = (committed.root / segment.name).read_bytes()
        assert (segment.bytes, segment.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert list(committed.root.rglob("*.tmp")) == []


def test_it_does_not_wait_for_the_end_when_there_is_much(landing: Landing, committed: Committed) -> None:
    record = Record("1", b"{}")
    landing.add([batch("a", [record] * (FLUSH_RECORDS - 1))], 1)
    assert committed.calls == []
    landing.add([batch("a", [record])], 2)
    assert [done for _, done in committed.calls] == [[1, 2]]
    landing.add([batch("a", [Record("1", b"x" * 34_000_000)])])
    assert len(committed.calls) == 1
    landing.add([batch("a", [Record("2", b"x" * 34_000_000)])])
    assert len(committed.calls) == 2


def test_a_crash_after_the_file_and_before_the_commit_leaves_readable_rows_and_an_unmoved_cursor(
    tmp_path: Path,
) -> None:
    """The sync of the page is then repeated; staging knows the second copy by its key."""
    engine = open_store(f"sqlite:///{tmp_path}/store.db")
    feed = FeedState("a", "callrail", "calls")
    power_cut = True

    def commit(segments: list[Segment], done: list[object]) -> None:
        with engine.begin() as connection:
            note_segments(connection, segments, AT)
            commit_feed(connection, feed, {"page": 7}, [], AT)
            if power_cut:
                raise RuntimeError("power cut")
        feed.moved({"page": 7})

    page = batch("a", [Record("1", b'{"id":1}')])
    landing = Landing(tmp_path / "landing", commit=commit)
    landing.add([page])
    with pytest.raises(RuntimeError, match="power cut"):
        landing.flush()
    assert load_feeds(engine, [("a", "callrail")]) == {}
    assert live_segments(engine, "callrail", "calls") == []
    assert [row["payload"] for row in read(tmp_path / "landing")] == ['{"id":1}']

    power_cut = False
    again = Landing(tmp_path / "landing", commit=commit)
    again.add([page])
    again.flush()
    assert load_feeds(engine, [("a", "callrail")])["a", "callrail", "calls"].cursor == {"page": 7}
    rows = read(tmp_path / "landing")
    assert len(rows) == 2
    assert len({row["idempotency_key"] for row in rows}) == 1


def test_a_process_killed_while_writing_leaves_only_a_tmp_that_nobody_reads(tmp_path: Path) -> None:
    """Killed at the rename: the file is complete, its name is not."""
    script = f"""
import os, pathlib, sys
from tests.unit.test_landing import *
def die(self, target): os.kill(os.getpid(), 9)
pathlib.Path.rename = die
landing = Landing(pathlib.Path({str(tmp_path / "landing")!r}), commit=lambda segments, done: print("committed"))
landing.add([batch("a", [Record("1", b"{{}}")])])
landing.flush()
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert (run.returncode, run.stdout) == (-9, "")
    (torn,) = (tmp_path / "landing").rglob("*.*")
    assert torn.suffix == ".tmp"
    with pytest.raises(duckdb.IOException, match="No files found"):
        duckdb.sql(f"select * from read_parquet('{tmp_path}/landing/*/*/*.parquet')").fetchall()


def test_two_processes_write_side_by_side(tmp_path: Path, committed: Committed, landing: Landing) -> None:
    other = Landing(committed.root, commit=committed)
    for number in range(20):
        (landing, other)[number % 2].add([batch("a", [Record(str(number), b"{}")])])
        (landing, other)[number % 2].flush()
    assert len({segment.name for segments, _ in committed.calls for segment in segments}) == 20
    assert {row["record_id"] for row in read(committed.root)} == {str(number) for number in range(20)}


def test_a_landing_process_does_not_import_pandas_duckdb_or_dagster() -> None:
    """They take seconds, and one sync runs in a process of its own every quarter of an hour."""
    script = """
import sys, pathlib, tempfile
from connectors.base import Record
from pipeline.landing import Batch, Landing, content_keys
import pipeline.sync
from datetime import UTC, datetime
records = [Record("1", b"{}", datetime.now(UTC))]
with tempfile.TemporaryDirectory() as folder:
    landing = Landing(pathlib.Path(folder), commit=lambda segments, done: None)
    landing.add([Batch("a", "p", "s", "pull", datetime.now(UTC), records, content_keys("a", "p", "s", records))])
    landing.flush()
print([name for name in ("pandas", "duckdb", "dagster", "dbt", "alembic") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        check=True,
    )
    assert run.stdout.strip() == "[]"
