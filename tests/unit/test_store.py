"""The operational store's promises, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, select, text, update

from connectors.base import Record, WebhookRequest, absent
from connectors.oauth import Tokens
from pipeline.landing import Segment, content_keys
from pipeline.store import inbox
from pipeline.store.connections import ConnectionState, load_states, save_states
from pipeline.store.engine import HEAD, StoreProblem, open_store, stamp
from pipeline.store.feeds import ABSENT, FEW, KEEP, FeedState, Seen, commit_feed, load_feeds
from pipeline.store.schema import inbox as inbox_table
from pipeline.store.schema import leases, metadata, quarantine, secrets
from pipeline.store.sealed import KeyProblem, Sealed, load_key
from pipeline.store.segments import (
    forget_segments,
    live_segments,
    note_compaction,
    note_segments,
    segment_streams,
    superseded_segments,
)
from pipeline.store.tokens import LEASE, StoredVault
from tests.conftest import FakeClock

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
KEY = bytes(range(32))


def together(work: Callable[[int], object], workers: int = 8) -> list[object]:
    """Run at the same moment, in threads."""
    barrier = threading.Barrier(workers)

    def one(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(workers)))


# ---- schema ----


def test_the_migrations_make_exactly_the_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    folder = Path(str(importlib.util.find_spec("pipeline.store.engine").origin)).parent / "migrations" / "versions"
    revisions = {}
    for file in folder.glob("*.py"):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        revisions[module.revision] = module.down_revision
    assert {HEAD} == set(revisions) - set(revisions.values())


def test_three_processes_may_open_a_new_store_at_once(fresh_url: str) -> None:
    code = "import sys; from pipeline.store.engine import open_store; open_store(sys.argv[1])"
    running = [
        subprocess.Popen([sys.executable, "-c", code, fresh_url], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [(one.communicate(timeout=60)[1], one.returncode) for one in running] == [(b"", 0)] * 3


def test_a_store_of_a_newer_leadtrail_is_left_alone(fresh_url: str) -> None:
    engine = open_store(fresh_url)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreProblem, match=r"made by a newer Leadtrail \(its schema is 9999.*Upgrade Leadtrail"):
        open_store(fresh_url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("somewhere", "LEADTRAIL_STORE_URL is not usable"),
        ("oracle+nothing://x", "LEADTRAIL_STORE_URL is not usable"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", r"The store postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/x cannot be"),
        ("sqlite:////proc/nowhere/store.db", "The store's folder /proc/nowhere cannot be made"),
    ],
)
def test_a_store_that_cannot_be_opened_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(StoreProblem, match=said) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_sqlite_keeps_what_it_has_committed_through_a_power_cut(tmp_path: Path) -> None:
    """WAL with synchronous=FULL (2); NORMAL may lose the last commits."""
    with open_store(f"sqlite:///{tmp_path}/store.db").connect() as connection:
        assert [connection.execute(text(f"pragma {name}")).scalar() for name in ("journal_mode", "synchronous")] == [
            "wal",
            2,
        ]


# ---- feeds ----


def commit(engine: Engine, state: FeedState, cursor: dict[str, object], touched: tuple[str, ...] = ()) -> bool:
    with engine.begin() as connection:
        moved = commit_feed(connection, state, cursor, touched, NOW)
    if moved:
        state.moved(cursor)
    return moved


def loaded(engine: Engine) -> FeedState:
    return load_feeds(engine, [("a", "callrail")])["a", "callrail", "calls"]


def record(number: int, payload: bytes = b"{}", at: datetime = NOW) -> Record:
    return Record(str(number), payload, occurred_at=at, updated_at=at)


def key(one: Record) -> bytes:
    return content_keys("a", "callrail", "calls", [one])[0]


def test_a_feed_comes_back_as_it_was_committed(engine: Engine) -> None:
    state = FeedState("a", "callrail", "calls")
    one = record(1)
    state.seen.landed("calls", one, key(one), NOW)
    assert commit(engine, state, {"since": "2026-03-01", "page": None, "é": [1.5, True]})
    assert commit(engine, state, {"since": "2026-03-02"})
    back = loaded(engine)
    assert (back.cursor, back.version) == ({"since": "2026-03-02"}, 2)
    assert back.seen.last("calls", one) == key(one)[:8]


def test_only_the_asked_connections_feeds_are_loaded(engine: Engine) -> None:
    for client, provider, feed in (("a", "callrail", "calls"), ("b", "callrail", "calls"), ("a", "twilio", "messages")):
        commit(engine, FeedState(client, provider, feed), {})
    assert set(load_feeds(engine, [("a", "callrail")])) == {("a", "callrail", "calls")}
    assert set(load_feeds(engine, [("a", "callrail"), ("b", "twilio")])) == {("a", "callrail", "calls")}
    assert load_feeds(engine, []) == {}


def test_of_two_processes_that_read_the_same_feed_the_first_moves_it(engine: Engine) -> None:
    """The second has landed its records all the same; the feed only forgets what it knew of those."""
    one, two = record(1), record(2)
    start = FeedState("a", "callrail", "calls")
    for each in (one, two):
        start.seen.landed("calls", each, key(each), NOW)
    commit(engine, start, {"at": 0})
    first, second = loaded(engine), loaded(engine)
    assert commit(engine, first, {"at": 20})
    assert not commit(engine, second, {"at": 10}, ("calls/2",))
    now = loaded(engine)
    assert now.cursor == {"at": 20}
    assert now.seen.last("calls", one) == key(one)[:8]
    assert now.seen.last("calls", two) is None
    assert not commit(engine, first, {"at": 30}), "its version is old now"
    assert commit(engine, loaded(engine), {"at": 30})


def test_eight_first_syncs_at_once_make_one_feed(engine: Engine) -> None:
    states = [FeedState("a", "callrail", "calls") for _ in range(8)]
    moved = together(lambda number: commit(engine, states[number], {"by": number}))
    assert moved.count(True) == 1
    assert loaded(engine).cursor == {"by": moved.index(True)}


def test_a_commit_that_fails_moves_nothing_and_can_be_repeated(engine: Engine) -> None:
    state = FeedState("a", "callrail", "calls")
    with contextlib.suppress(RuntimeError), engine.begin() as connection:
        commit_feed(connection, state, {"at": 1}, (), NOW)
        raise RuntimeError
    assert load_feeds(engine, [("a", "callrail")]) == {}
    assert commit(engine, state, {"at": 1})


# ---- what has been seen ----


def is_news(seen: Seen, one: Record) -> bool:
    """As the sync decides it."""
    if seen.last("calls", one) == (ABSENT if one.absent else key(one)[:8]):
        return False
    seen.landed("calls", one, key(one), NOW)
    return True


def test_a_record_that_goes_back_to_what_it_was_is_news() -> None:
    seen = Seen()
    versions = [b"A", b"A", b"B", b"A", b"A", b"B"]
    assert [is_news(seen, record(1, version)) for version in versions] == [True, False, True, True, False, True]
    again = Seen(seen.pack(NOW))
    assert not is_news(again, record(1, b"B"))
    assert is_news(again, record(2, b"B"))


def test_an_absence_is_news_once_and_so_is_the_return() -> None:
    seen = Seen()
    gone = absent("1", NOW)
    assert [is_news(seen, one) for one in (record(1), gone, gone, record(1), gone)] == [True, True, False, True, True]


def test_old_records_are_forgotten_only_when_there_are_many() -> None:
    long_ago = NOW - KEEP - timedelta(days=2)
    few = Seen()
    assert is_news(few, record(0, at=long_ago))
    assert not is_news(Seen(few.pack(NOW)), record(0, at=long_ago))
    many = Seen()
    for number in range(FEW + 1):
        is_news(many, record(number, at=NOW if number else long_ago))
    again = Seen(many.pack(NOW))
    assert is_news(again, record(0, at=long_ago))
    assert not is_news(again, record(1))


# ---- inbox ----


def event(dedupe_key: str, client: str = "a", body: bytes = b"{}", at: datetime = NOW) -> inbox.Event:
    request = WebhookRequest(
        "https://h/webhooks/a/forms", {"content-type": "text/é"}, body, at, method="PUT", tail="/x y"
    )
    return inbox.Event(client, "forms", dedupe_key, request)


def receipts(engine: Engine) -> dict[tuple[str, str], int]:
    query = select(inbox_table.c.client_id, inbox_table.c.dedupe_key, inbox_table.c.receipts)
    with engine.connect() as connection:
        return {(row.client_id, row.dedupe_key): row.receipts for row in connection.execute(query)}


def test_an_event_is_stored_once_and_its_repeats_are_counted(engine: Engine) -> None:
    later = NOW + timedelta(hours=1)
    inbox.store_events(engine, [event("1"), event("2"), event("1"), event("1", client="b")])
    inbox.store_events(engine, [event("1", body=b"other words", at=later), event("3")])
    assert receipts(engine) == {("a", "1"): 3, ("a", "2"): 1, ("b", "1"): 1, ("a", "3"): 1}
    with engine.connect() as connection:
        row = connection.execute(select(inbox_table).where(inbox_table.c.receipts == 3)).one()
    assert (row.body, row.received_at, row.last_receipt_at) == (b"{}", stamp(NOW), stamp(later))


def test_eight_deliveries_at_once_are_one_event(engine: Engine) -> None:
    together(lambda number: inbox.store_events(engine, [event("1"), event(f"own-{number}")]))
    found = receipts(engine)
    assert found.pop(("a", "1")) == 8
    assert sorted(found.values()) == [1] * 8


def test_an_event_comes_back_as_it_was_stored(engine: Engine) -> None:
    body = bytes(range(256)) * 4
    inbox.store_events(engine, [event("1", body=body)])
    (stored,) = inbox.pending(engine, "a", "forms", limit=10)
    assert stored.request == event("1", body=body).request


@pytest.mark.parametrize("odd", ["k" * 50_000, "a\x00b", "日本 🏠"])
def test_any_key_can_be_stored_and_stays_different_from_others(engine: Engine, odd: str) -> None:
    inbox.store_events(engine, [event(odd), event(odd + "x"), event(odd)])
    assert sorted(receipts(engine).values()) == [1, 2]


def test_events_wait_in_order_until_they_are_drained_or_put_aside(engine: Engine) -> None:
    inbox.store_events(engine, [event(str(number)) for number in range(5)] + [event("1", client="b")])
    assert inbox.waiting(engine) == {("a", "forms"): 5, ("b", "forms"): 1}
    first = inbox.pending(engine, "a", "forms", limit=2)
    rest = inbox.pending(engine, "a", "forms", limit=10, after=first[-1].id)
    assert [one.id for one in first + rest] == sorted(one.id for one in first + rest)
    assert len(rest) == 3
    with engine.begin() as connection:
        inbox.mark_drained(connection, [one.id for one in first], NOW)
        inbox.mark_quarantined(connection, rest[0], [("why", b"\xff"), ("and why", b"")], NOW)
    assert inbox.waiting(engine) == {("a", "forms"): 2, ("b", "forms"): 1}
    with engine.connect() as connection:
        kept = connection.execute(select(quarantine).order_by(quarantine.c.id)).all()
    assert [(row.inbox_id, row.reason, row.payload) for row in kept] == [
        (rest[0].id, "why", b"\xff"),
        (rest[0].id, "and why", b""),
    ]
    inbox.store_events(engine, [event("0")])
    assert inbox.waiting(engine)["a", "forms"] == 2, "a repeat of what is drained does not wait again"


def test_more_events_than_one_statement_takes_are_drained(engine: Engine) -> None:
    inbox.store_events(engine, [event(str(number)) for number in range(1201)])
    events = inbox.pending(engine, "a", "forms", limit=2000)
    with engine.begin() as connection:
        inbox.mark_drained(connection, [one.id for one in events], NOW)
    assert inbox.waiting(engine) == {}


# ---- leases and tokens ----


@pytest.fixture
def vault(engine: Engine, clock: FakeClock) -> Callable[[str], StoredVault]:
    return lambda name: StoredVault(engine, Sealed(engine, KEY), name, clock.now)


def test_tokens_come_back_and_are_sealed(engine: Engine, vault: Callable[[str], StoredVault]) -> None:
    assert vault("a/quickbooks").load() is None
    tokens = Tokens("canary-access", NOW, "canary-refresh")
    vault("a/quickbooks").save(tokens)
    assert vault("a/quickbooks").load() == tokens
    assert vault("b/quickbooks").load() is None
    with engine.connect() as connection:
        assert b"canary" not in connection.execute(select(secrets.c.sealed)).scalar_one()


def test_only_one_holds_the_lock_at_a_time(vault: Callable[[str], StoredVault]) -> None:
    inside, most = [0], [0]

    def work(_: int) -> None:
        with vault("a/quickbooks").lock():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            inside[0] -= 1

    together(work, 4)
    assert most == [1]


def test_the_lock_of_a_dead_process_is_taken_over_after_its_lease(
    engine: Engine, vault: Callable[[str], StoredVault], clock: FakeClock
) -> None:
    def lease(expires_at: datetime) -> None:
        with engine.begin() as connection:
            connection.execute(leases.delete())
            connection.execute(
                insert(leases).values(name="oauth:a/quickbooks", holder="dead", expires_at=stamp(expires_at))
            )

    def holder() -> str | None:
        with engine.connect() as connection:
            return connection.execute(select(leases.c.holder)).scalar()

    lease(clock.now() + LEASE)
    assert not vault("a/quickbooks")._take("me")
    assert vault("b/quickbooks")._take("me"), "another connection's lock is free"
    clock.advance(LEASE.total_seconds() + 1)
    assert vault("a/quickbooks")._take("me")
    lease(clock.now() - timedelta(seconds=1))
    with vault("a/quickbooks").lock():
        lease(clock.now() + LEASE)  # ours ran out meanwhile, and somebody else has taken it
    assert holder() == "dead", "their lock is not ours to free"


# ---- secrets ----


def test_a_secret_is_stored_replaced_listed_and_forgotten(engine: Engine) -> None:
    sealed = Sealed(engine, KEY)
    versions = {sealed.version()}
    sealed.put("B", "one", NOW)
    versions.add(sealed.version())
    sealed.put("B", "zwei é", NOW + timedelta(seconds=1))
    versions.add(sealed.version())
    sealed.put("A", "", NOW)
    sealed.put("oauth:a/quickbooks", "tokens", NOW + timedelta(hours=1))
    assert (sealed.get("B"), sealed.get("A"), sealed.get("C")) == ("zwei é", "", None)
    assert sealed.names() == ["A", "B", "oauth:a/quickbooks"]
    assert (sealed.remove("A"), sealed.remove("A")) == (True, False)
    assert sealed.names() == ["B", "oauth:a/quickbooks"]
    assert len(versions) == 3
    assert sealed.version() in versions, "a rotated token is no change of settings"


def test_a_row_moved_to_another_name_does_not_open(engine: Engine) -> None:
    sealed = Sealed(engine, KEY)
    sealed.put("A_TOKEN", "canary", NOW)
    with engine.begin() as connection:
        assert b"canary" not in connection.execute(select(secrets.c.sealed)).scalar_one()
        connection.execute(update(secrets).values(name="B_TOKEN"))
    with pytest.raises(KeyProblem, match="B_TOKEN does not open with this key"):
        sealed.get("B_TOKEN")


def test_a_changed_row_or_another_key_does_not_open(engine: Engine) -> None:
    sealed = Sealed(engine, KEY)
    sealed.put("A", "canary", NOW)
    with pytest.raises(KeyProblem, match="Set LEADTRAIL_KEY"):
        Sealed(engine, KEY[::-1]).get("A")
    with engine.begin() as connection:
        value = connection.execute(select(secrets.c.sealed)).scalar_one()
        connection.execute(update(secrets).values(sealed=value[:-1] + bytes([value[-1] ^ 1])))
    with pytest.raises(KeyProblem):
        sealed.get("A")


def test_eight_writers_of_one_secret_leave_one_of_theirs(engine: Engine) -> None:
    sealed = Sealed(engine, KEY)
    together(lambda number: sealed.put("A", str(number), NOW))
    assert sealed.get("A") in set("01234567")


def test_the_key_is_of_the_environment_or_a_private_file_made_once(tmp_path: Path) -> None:
    keys = together(lambda _: load_key("", tmp_path / "home"))
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert stat.S_IMODE((tmp_path / "home" / "store.key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "home") == ["store.key"]
    assert load_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", tmp_path) == bytes(32)
    for bad in ("hunter2", "AAAA", "A" * 44):
        with pytest.raises(KeyProblem, match="must be 32 bytes in base64") as caught:
            load_key(bad, tmp_path)
        assert bad not in str(caught.value)


# ---- connections and segments ----


def test_a_connection_keeps_since_when_and_its_last_success(engine: Engine) -> None:
    def save(state: str, hour: int, owner: str = "dana") -> ConnectionState:
        save_states(engine, [ConnectionState("a", "callrail", state, owner)], NOW + timedelta(hours=hour))
        return load_states(engine)["a", "callrail"]

    def at(hour: int) -> str:
        return stamp(NOW + timedelta(hours=hour))

    assert (save("failing", 0).since, load_states(engine)["a", "callrail"].last_success_at) == (at(0), None)
    again = save("failing", 1)
    assert (again.since, again.last_attempt_at) == (at(0), at(1))
    assert (save("ok", 2).since, save("ok", 3).since) == (at(2), at(2))
    failed = save("needs_person", 4, owner="lee")
    assert (failed.since, failed.last_success_at, failed.owner) == (at(4), at(3), "lee")
    save_states(engine, [], NOW)


def test_two_processes_may_save_the_same_connections(engine: Engine) -> None:
    names = [f"client-{number}" for number in range(20)]
    together(lambda number: save_states(engine, [ConnectionState(n, "callrail", "ok", "dana") for n in names], NOW), 4)
    assert {client for client, _ in load_states(engine)} == set(names)


def test_the_ledger_of_segments_through_a_compaction(engine: Engine) -> None:
    def segment(number: int, stream: str = "calls") -> Segment:
        return Segment(f"callrail/{stream}/{number:04}.parquet", "callrail", stream, 1, number, "sha")

    with engine.begin() as connection:
        note_segments(connection, [], NOW)
        note_segments(connection, [segment(number) for number in range(1100)] + [segment(0, "companies")], NOW)
    assert segment_streams(engine) == [("callrail", "calls"), ("callrail", "companies")]
    live = live_segments(engine, "callrail", "calls")
    assert live == [(segment(number).name, number) for number in range(1100)]
    big = segment(5000)
    note_compaction(engine, big, [name for name, _ in live], NOW)
    assert live_segments(engine, "callrail", "calls") == [(big.name, 5000)]
    assert superseded_segments(engine, NOW) == []
    old = superseded_segments(engine, NOW + timedelta(seconds=1))
    assert len(old) == 1100
    forget_segments(engine, old)
    assert superseded_segments(engine, NOW + timedelta(days=1)) == []


def test_nothing_is_written_if_the_transaction_fails(engine: Engine) -> None:
    """Segments, cursors and drained webhooks of one page are committed together or not at all."""
    inbox.store_events(engine, [event("1")])
    (stored,) = inbox.pending(engine, "a", "forms", limit=1)
    with contextlib.suppress(RuntimeError), engine.begin() as connection:
        note_segments(connection, [Segment("p/s/1.parquet", "p", "s", 1, 1, "sha")], NOW)
        commit_feed(connection, FeedState("a", "callrail", "calls"), {"at": 1}, (), NOW)
        inbox.mark_drained(connection, [stored.id], NOW)
        raise RuntimeError
    assert segment_streams(engine) == []
    assert load_feeds(engine, [("a", "callrail")]) == {}
    assert inbox.waiting(engine) == {("a", "forms"): 1}
