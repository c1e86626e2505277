"""Erasing a person and keeping no longer than promised: what goes, what stays, on both kinds of store."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, Text, insert, select

from connectors.base import Record, WebhookRequest
from pipeline.landing import Batch, Landing, content_keys
from pipeline.office import Office
from pipeline.privacy import retention
from pipeline.privacy.free_text import BOUND, WRITTEN, bound_texts
from pipeline.privacy.retention import Keep, RetentionMistake, keep_no_longer, read_keep
from pipeline.privacy.sweep import sweep_landing, sweep_logs, sweep_store
from pipeline.settings import Settings
from pipeline.store import audit
from pipeline.store.audit_heads import keep_head, verify_heads
from pipeline.store.engine import stamp
from pipeline.store.erasures import Door, Prints, Tombstones, addresses_in, entomb
from pipeline.store.inbox import Event, store_events
from pipeline.store.outputs import Output, enqueue
from pipeline.store.schema import (
    audit_log,
    holds,
    inbox,
    login_attempts,
    metadata,
    output_log,
    outputs,
    quarantine,
    rule_states,
    segments,
    summary_log,
    suppressions,
    template_versions,
)
from pipeline.store.segments import note_segments
from pipeline.store.suppressions import suppress

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
CLIENT, PHONE, EMAIL = "ridgeline", "+15125550123", "ann.brook@mail.example"


@pytest.fixture
def settings(tmp_path: Path, store_url: str) -> Settings:
    return Settings(tmp_path, tmp_path / "clients.yaml", store_url=store_url, environ={})


@pytest.fixture
def bury(engine: Engine, settings: Settings) -> Callable[..., Tombstones]:
    def bury(*identifiers: str, at: datetime = NOW) -> Tombstones:
        with engine.begin() as connection:
            entomb(connection, Prints(settings), CLIENT, identifiers, by="dana", now=at)
            return Tombstones.read(connection, Prints(settings))

    return bury


def call(record_id: str, text: str, *, at: datetime = NOW - timedelta(days=9)) -> Record:
    return Record(record_id, json.dumps({"id": record_id, "note": text}).encode(), occurred_at=at)


def land(engine: Engine, settings: Settings, *records: Record, stream: str = "calls", client: str = CLIENT) -> None:
    def commit(written, done):
        with engine.begin() as connection:
            note_segments(connection, written, NOW)

    landing = Landing(settings.landing, commit, door=Door(settings, engine).open)
    keys = content_keys(client, "callrail", stream, records)
    landing.add([Batch(client, "callrail", stream, "pull", NOW, records, keys)])
    landing.flush()


def landed(settings: Settings) -> dict[str, str]:
    rows: dict[str, str] = {}
    for path in settings.landing.rglob("*.parquet"):
        table = pq.read_table(path)
        rows |= dict(zip(table["record_id"].to_pylist(), table["payload"].to_pylist(), strict=True))
    return rows


# ---- addresses ----


@pytest.mark.parametrize(
    "written",
    [
        "+15125550123",
        "5125550123",
        "(512) 555-0123",
        "512.555.0123",
        "1 512 555 0123",
        '{"phone":"512-555-0123"}',
        "512/555-0123",
    ],
)
def test_a_phone_is_known_by_its_digits_however_it_is_written(written):
    assert list(addresses_in(written.encode())) == [f"phone:{PHONE}"]


def test_a_long_id_is_no_phone():
    assert addresses_in(b'{"lead_id":"500050007919015895","total":"1234567890123"}') == {}


# ---- landing ----


def test_what_was_erased_stays_out_whoever_sends_it_again(engine, settings, bury):
    bury("record:callrail/calls/C1", f"phone:{PHONE}")
    land(engine, settings, call("C1", "about the boiler"), call("C2", "call 512-555-0123"), call("C3", "somebody else"))
    assert set(landed(settings)) == {"C3"}


def test_what_happens_after_an_erasure_is_a_new_matter_and_comes_in(engine, settings, bury):
    bury(f"phone:{PHONE}")
    land(engine, settings, call("C9", "call 512-555-0123", at=NOW + timedelta(hours=1)))
    assert set(landed(settings)) == {"C9"}


def test_another_clients_records_of_the_same_phone_are_that_clients_business(engine, settings, bury):
    bury(f"phone:{PHONE}")
    land(engine, settings, call("C2", "call 512-555-0123"), client="lakeside")
    assert set(landed(settings)) == {"C2"}


def test_somebody_elses_record_only_loses_the_address(engine, settings, bury):
    bury("mention:callrail/calls/C4", f"phone:{PHONE}")
    land(engine, settings, call("C4", "or my neighbour, 512-555-0123"))
    assert json.loads(landed(settings)["C4"]) == {"id": "C4", "note": "or my neighbour, 000-000-0000"}


def test_landing_is_rewritten_without_the_erased_and_its_ledger_follows(engine, settings, bury):
    land(engine, settings, call("C1", "call 512-555-0123"), call("C3", "somebody else"))
    land(engine, settings, call("C5", "another file"))
    before = {path: path.read_bytes() for path in settings.landing.rglob("*.parquet")}
    tombstones = bury("record:callrail/calls/C1", f"phone:{PHONE}")
    assert sweep_landing(settings, engine, tombstones, now=NOW) == 1
    assert set(landed(settings)) == {"C3", "C5"}
    files = {str(path.relative_to(settings.landing)) for path in settings.landing.rglob("*.parquet")}
    with engine.connect() as connection:
        assert set(connection.execute(select(segments.c.name)).scalars()) == files
    untouched = [path for path in before if path.exists()]
    assert len(untouched) == 1  # a file without them stays as it is, byte for byte
    assert untouched[0].read_bytes() == before[untouched[0]]


def test_a_sweep_killed_before_the_old_file_went_is_finished_by_the_next(engine, settings, bury):
    land(engine, settings, call("C1", "call 512-555-0123"), call("C3", "somebody else"))
    [old] = settings.landing.rglob("*.parquet")
    content = old.read_bytes()
    tombstones = bury("record:callrail/calls/C1")
    sweep_landing(settings, engine, tombstones, now=NOW)
    old.write_bytes(content)  # as if the unlink had not happened
    old.with_suffix(".tmp").write_bytes(content[:100])  # or the write had been cut short
    sweep_landing(settings, engine, tombstones, now=NOW)
    assert set(landed(settings)) == {"C3"}
    assert not list(settings.landing.rglob("*.tmp"))


# ---- the store ----


def webhook(engine: Engine, key: str, body: bytes) -> None:
    request = WebhookRequest("https://x.example/webhooks?a=1", {"x": "y"}, body, NOW)
    store_events(engine, [Event(CLIENT, "twilio", key, request)])


def test_webhooks_outputs_and_quarantine_lose_what_they_said_of_the_erased_and_nobody_elses(engine, settings, bury):
    webhook(engine, "a", b"From=%2B15125550123&Body=hello")
    webhook(engine, "b", b"From=%2B15125550199&Body=hello")
    with engine.begin() as connection:
        values = {"client_id": CLIENT, "provider": "twilio", "reason": "odd", "quarantined_at": stamp(NOW)}
        connection.execute(insert(quarantine).values(inbox_id=99, payload=b"ann.brook@mail.example", **values))
        wanted = [
            _output("o1", PHONE, "L1"),
            _output("o2", "+15125550199", "L2"),
            _output("o3", "owner@x.example", "L1"),
        ]
        enqueue(connection, wanted, NOW)
    counts = sweep_store(engine, bury(f"phone:{PHONE}", f"email:{EMAIL}", "lead:L1"), now=NOW)
    assert counts == {
        "webhooks": 1,
        "quarantined": 1,
        "outputs": 2,
        "suppressions": 0,
        "call summaries": 0,
        "notes of staff": 0,
    }
    with engine.connect() as connection:
        bodies = {row.dedupe_key: (row.body, row.state) for row in connection.execute(select(inbox))}
        rows = {row.idempotency_key: row for row in connection.execute(select(outputs))}
        said = [
            row.what
            for row in connection.execute(select(output_log).where(output_log.c.output_id == rows["o1"].output_id))
        ]
    assert bodies == {"a": (b"", "erased"), "b": (b"From=%2B15125550199&Body=hello", "stored")}
    assert (rows["o1"].status, rows["o1"].payload, rows["o1"].recipient, rows["o1"].lead_id) == (
        "cancelled",
        "{}",
        "",
        None,
    )
    assert (rows["o2"].status, rows["o2"].recipient) == ("pending", "+15125550199")
    assert rows["o3"].payload == "{}"
    assert said == ["queued", "cancelled"]


def test_who_does_not_want_to_be_written_to_is_still_not_written_to_after_being_forgotten(engine, settings, bury):
    with engine.begin() as connection:
        suppress(connection, CLIENT, PHONE, "text", cause="keyword", evidence="event", now=NOW)
        suppress(connection, CLIENT, "+15125550199", "text", cause="keyword", evidence="event", now=NOW)
    tombstones = bury(f"phone:{PHONE}")
    sweep_store(engine, tombstones, now=NOW)
    sweep_store(engine, tombstones, now=NOW)
    with engine.connect() as connection:
        held = {row.address: row.state for row in connection.execute(select(suppressions))}
    assert held == {Prints(settings).address(CLIENT, PHONE): "standing", "+15125550199": "standing"}
    assert PHONE[2:] not in str(held)


def test_a_print_says_nothing_without_the_key(tmp_path):
    here, there = (Settings(tmp_path / name, tmp_path / "clients.yaml", environ={}) for name in ("a", "b"))
    assert Prints(here).of(CLIENT, f"phone:{PHONE}") != Prints(there).of(CLIENT, f"phone:{PHONE}")
    assert Prints(here).of(CLIENT, f"phone:{PHONE}") == Prints(here).of(CLIENT, f"phone:{PHONE}")
    assert Prints(here).of(CLIENT, f"phone:{PHONE}") != Prints(here).of("lakeside", f"phone:{PHONE}")


def test_the_stores_file_keeps_no_page_of_what_was_swept(tmp_path):
    settings = Settings(tmp_path, tmp_path / "clients.yaml", store_url=f"sqlite:///{tmp_path / 'store.db'}", environ={})
    engine = Office(settings).engine
    webhook(engine, "a", b"secret words of ann.brook@mail.example " * 200)
    with engine.begin() as connection:
        entomb(connection, Prints(settings), CLIENT, [f"email:{EMAIL}"], by="dana", now=NOW)
        tombstones = Tombstones.read(connection, Prints(settings))
    sweep_store(engine, tombstones, now=NOW)
    for path in tmp_path.glob("store.db*"):
        assert b"ann.brook" not in path.read_bytes(), path
    assert sqlite3.connect(tmp_path / "store.db").execute("pragma integrity_check").fetchone() == ("ok",)


# ---- what staff wrote ----

NAMED = ("name:annobrook", "name:obrookann")
WROTE = "Ann O’Brook rang (512.555.0123, ann.brook@mail.example): thank ann o'brook, and Dana Moss."
WITHOUT = "xxx x’xxxxx rang (000.000.0000, xxx.xxxxx@xxxx.xxxxxxx): thank xxx x'xxxxx, and Dana Moss."


def hold_with(note: str, client: str = CLIENT) -> dict[str, object]:
    columns = ("hold_id", "client_id", "scope", "cause", "evidence", "owner", "recovery_rule", "opened_at")
    return {**dict.fromkeys(columns, f"{client} x"), "client_id": client, "note": note}


def test_what_staff_wrote_of_the_erased_is_blotted_where_it_stands_and_the_rest_stays(engine, settings, bury):
    with engine.begin() as connection:
        connection.execute(insert(holds), [hold_with(WROTE), hold_with(WROTE, "lakeside")])
        said = {"seq": 1, "summary_id": "s", "client_id": CLIENT, "at": "", "who": "dana", "what": "commented"}
        connection.execute(insert(summary_log), {**said, "reason": "Brook, not O'Brook, Ann.", "bound_hash": ""})
        state = {"seq": 1, "client_id": "", "rule": "r", "version": "v", "state": "paused", "at": "", "by": "dana"}
        connection.execute(insert(rule_states), {**state, "note": WROTE})
    tombstones = bury(f"phone:{PHONE}", f"email:{EMAIL}", *NAMED)
    assert sweep_store(engine, tombstones, now=NOW)["notes of staff"] == 3
    assert sweep_store(engine, tombstones, now=NOW)["notes of staff"] == 0
    with engine.connect() as connection:
        notes = {row.client_id: row.note for row in connection.execute(select(holds))}
        assert notes == {CLIENT: WITHOUT, "lakeside": WROTE}  # another client's customer is that client's business
        assert connection.execute(select(summary_log.c.reason)).scalars().all() == ["Brook, not x'xxxxx, xxx."]
        assert connection.execute(select(rule_states.c.note)).scalars().all() == [WITHOUT]


def test_the_audit_log_forgets_the_erased_and_still_holds(engine, settings, bury, tmp_path):
    with engine.begin() as connection:
        audit.note(connection, "dana", "hold.cleared", "h1", {"why": WROTE, "of": ["José Ann O’Brook"]}, NOW)
        audit.note(connection, "dana", "hold.cleared", "h2", {"why": "because"}, NOW)
    keep_head(engine, tmp_path, b"k" * 32, NOW)
    sweep_store(engine, bury(f"phone:{PHONE}", f"email:{EMAIL}", *NAMED), now=NOW)
    sweep_store(engine, bury("name:danamoss", at=NOW + timedelta(days=1)), now=NOW)
    with engine.connect() as connection:
        rows = connection.execute(select(audit_log).order_by(audit_log.c.seq)).all()
    assert json.loads(rows[0].detail) == {"why": WITHOUT.replace("Dana Moss", "xxxx xxxx"), "of": ["José xxx x’xxxxx"]}
    assert [(row.action, row.subject) for row in rows[2:]] == [("audit.blotted", "1")] * 2
    assert audit.verify(engine) == (4, None)
    assert verify_heads(engine, tmp_path, b"k" * 32) == (1, None)
    for words in ('{"why": "nothing"}', rows[1].detail):  # by other hands it is found, as before
        with engine.begin() as connection:
            connection.execute(audit_log.update().where(audit_log.c.seq == 1).values(detail=words))
        broken = audit.verify(engine)[1]
        assert broken is not None
        assert broken.seq == 1


def test_what_a_decision_stands_on_is_named_for_a_person_to_mend(engine, settings, bury):
    with engine.begin() as connection:
        written = {"client_id": CLIENT, "template": "hello", "version": "v1", "added_at": "", "added_by": "dana"}
        connection.execute(insert(template_versions), {**written, "content": json.dumps({"body": f"Ask {PHONE}"})})
        connection.execute(insert(template_versions), {**written, "version": "v2", "content": "{}"})
    with engine.connect() as connection:
        assert bound_texts(connection, bury(f"phone:{PHONE}")) == [f"template_versions {CLIENT} hello v1"]


def test_every_column_in_which_somebody_may_write_is_searched_or_said_here_not_to_be(engine):
    """A table added later brings columns of its own."""
    not_written_by_hand = {
        "feeds.cursor", "inbox.url", "inbox.tail", "inbox.headers", "outputs.source", "outputs.payload",
        "outputs.recovery_rule", "holds.recovery_rule", "incidents.recovery_rule", "summaries.figures", "summaries.sources",
        "summaries.findings", "summaries.source", "summaries.recovery_rule", "publications.sources", "publications.source",
        "publications.recovery_rule", "rule_replays.summary", "accounts.clients", "erasures.evidence", "call_summaries.words",
    }  # fmt: skip
    texts = {
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.c
        if isinstance(column.type, Text)
    }
    searched = {f"{table.name}.{name}" for table, names in WRITTEN.items() for name in names}
    searched |= {f"{table.name}.content" for table in BOUND} | {"audit_log.subject", "audit_log.detail"}
    assert texts - searched == not_written_by_hand


def test_a_log_line_that_named_the_erased_goes_and_the_rest_stays(settings, bury):
    settings.logs.mkdir()
    log = settings.logs / "intake.log"
    log.write_text("started\nTraceback ann.brook@mail.example\nstopped\n")
    with log.open("ab") as writer:  # whoever writes it goes on
        assert sweep_logs(settings, CLIENT, bury(f"email:{EMAIL}")) == 1
        writer.write(b"more\n")
    assert log.read_text() == "started\nstopped\nmore\n"


def _output(key: str, recipient: str, lead: str) -> Output:
    return Output(
        idempotency_key=key,
        output_type="message",
        client_id=CLIENT,
        lead_id=lead,
        channel="text",
        priority=2,
        owner="dana@x.example",
        source="rule@1",
        recipient=recipient,
        payload={"body": "Hello Ann"},
        due_at=NOW,
        expires_at=NOW + timedelta(days=1),
        recovery_rule="retry",
    )


# ---- retention ----


def test_what_is_past_its_time_goes_and_what_is_not_stays(engine, settings):
    office = Office(settings)
    webhook(engine, "old", b"old words")
    webhook(engine, "new", b"new words")
    webhook(engine, "waits", b"waiting words")
    with engine.begin() as connection:
        for key, days in (("old", 31), ("new", 29), ("waits", 400)):
            state = "stored" if key == "waits" else "drained"
            values = {"state": state, "state_at": stamp(NOW - timedelta(days=days))}
            connection.execute(inbox.update().where(inbox.c.dedupe_key == key).values(values))
        for days in (89, 91):
            attempt = {"realm": "desk", "account": "x", "address": "y", "outcome": "wrong"}
            connection.execute(insert(login_attempts).values(at=stamp(NOW - timedelta(days=days)), **attempt))
    settings.logs.mkdir()
    for name, days in (("old.log", 31), ("new.log", 1)):
        (settings.logs / name).write_text("a line\n")
        at = (NOW - timedelta(days=days)).timestamp()
        os.utime(settings.logs / name, (at, at))
    done = keep_no_longer(office, now=NOW)
    assert (done["webhooks"], done["sign-ins"], done["logs"], done["people"]) == (1, 1, 1, 0)
    with engine.connect() as connection:
        bodies = {row.dedupe_key: row.body for row in connection.execute(select(inbox))}
    assert bodies == {"old": b"", "new": b"new words", "waits": b"waiting words"}
    assert {path.name for path in settings.logs.iterdir()} == {"new.log", "new.2026-03-02.log"}
    assert keep_no_longer(office, now=NOW)["webhooks"] == 0  # the second time there is nothing to do


def published(settings: Settings, held: list[tuple[str, str | None, str, datetime | None]]) -> None:
    """(client, person or nobody, record, when it happened); without a time, the record says who somebody is and nothing more."""
    with duckdb.connect(str(settings.analytics)) as analytics:
        names = "client_id varchar, person_id varchar, provider varchar, stream varchar, record_id varchar"
        analytics.execute("create schema timeline")
        analytics.execute(f"create table timeline.record_identity ({names}, first_known_at timestamp)")
        analytics.execute(f"create table timeline.fct_lead_events ({names}, occurred_at timestamp)")
        for client, person, record, at in held:
            stream = "trackers" if record.startswith("T") else "calls"
            table, when = ("fct_lead_events", at) if at else ("record_identity", NOW - timedelta(days=1_500))
            row = [client, person, "callrail", stream, record, when.replace(tzinfo=None)]
            analytics.execute(f"insert into timeline.{table} values (?, ?, ?, ?, ?, ?)", row)


def test_people_unheard_of_for_years_go_whole_what_is_nobodys_by_its_age_and_who_came_back_stays_whole(
    engine, settings, monkeypatch
):
    rebuilt: list[datetime] = []
    monkeypatch.setattr(retention, "rebuild_and_forget", lambda office, *, now: rebuilt.append(now))
    long_ago, lately = NOW - timedelta(days=1_300), NOW - timedelta(days=300)
    ids = ("ann-1", "ann-2", "ann-3", "bob-1", "bob-2", "cat-1", "both-1", "old", "new", "T1")
    land(engine, settings, *(call(one, "words") for one in ids))
    land(engine, settings, call("ann-1", "words"), client="lakeside")
    land(engine, settings, call("T1", "words"), stream="trackers")
    published(
        settings,
        [
            (CLIENT, "ann", "ann-1", None), (CLIENT, "ann", "ann-2", long_ago), (CLIENT, "ann", "ann-3", long_ago),
            (CLIENT, "bob", "bob-1", long_ago), (CLIENT, "bob", "bob-2", lately), (CLIENT, "cat", "cat-1", None),
            (CLIENT, "ann", "both-1", long_ago), (CLIENT, "bob", "both-1", long_ago), (CLIENT, "cat", "T1", None),
            ("lakeside", "ann", "ann-1", lately), (CLIENT, None, "old", long_ago), (CLIENT, None, "new", lately),
        ],
    )  # fmt: skip
    office, everything = Office(settings), landed_of(settings)
    said: list[str] = []
    assert keep_no_longer(office, now=NOW, tell=said.append, dry_run=True)["people"] == 5
    assert said == ["ridgeline: records of people unheard of since January 2023: callrail calls 5."]
    assert landed_of(settings) == everything
    with engine.connect() as connection:
        assert connection.execute(select(audit_log)).all() == []
    assert rebuilt == []
    assert keep_no_longer(office, now=NOW)["people"] == 5
    gone = ("ann-1", "ann-2", "ann-3", "cat-1", "old")
    assert everything - landed_of(settings) == {(CLIENT, "calls", one) for one in gone}
    assert rebuilt == [NOW]
    keep_no_longer(office, now=NOW)  # as after one that was killed before the warehouse was built anew
    assert rebuilt == [NOW, NOW]


def landed_of(settings: Settings) -> set[tuple[str, str, str]]:
    rows: set[tuple[str, str, str]] = set()
    for path in settings.landing.rglob("*.parquet"):
        table = pq.read_table(path, columns=["client_id", "stream", "record_id"])
        rows |= {tuple(row.values()) for row in table.to_pylist()}
    return rows


def test_how_long_is_a_setting_and_a_mistake_in_it_deletes_nothing(settings):
    assert read_keep(settings) == Keep()
    assert read_keep(replace(settings, keep_days="webhooks=14, logs=7")) == Keep(webhooks=14, logs=7)
    for wrong in ("webhook=3", "logs=0", "logs=soon", "logs"):
        with pytest.raises(RetentionMistake, match="Nothing was deleted"):
            read_keep(replace(settings, keep_days=wrong))


# ---- exports ----


def test_nothing_writes_a_spreadsheet_in_which_a_customers_text_could_become_a_formula():
    """Whoever adds such an export has to put a quote before cells that begin with = + - @, and to say so here."""
    writes = re.compile(
        r"csv\.writer|DictWriter|\.to_csv|\.to_excel|openpyxl|xlsxwriter|write_csv|text/csv|format\s+csv", re.IGNORECASE
    )
    root = Path(__file__).parent.parent.parent
    code = [
        path
        for folder in ("pipeline", "connectors")
        for path in (root / folder).rglob("*.py")
        if "sandbox" not in path.parts
    ]
    pages = [*(root / "pipeline").rglob("*.html"), *(root / "dbt_project").rglob("*.sql")]
    assert len(code) > 100
    assert [str(path.relative_to(root)) for path in (*code, *pages) if writes.search(path.read_text())] == []
