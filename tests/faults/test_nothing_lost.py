"""One small agency through a week of trouble: what the town served is in landing and in staging, once, whatever happened.

The story is told once (module fixture), because each build costs seconds; each test reads one promise off it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete

from connectors.hubspot.kinds import Kind
from connectors.sandbox.run import RunningSandbox, start_sandbox
from connectors.twilio.account import pages
from pipeline.compaction import GRACE, Compacted, compact
from pipeline.store.schema import feeds
from pipeline.warehouse import drop_warehouse, run_dbt
from tests.faults.homes import SMALL, Home, Key, fail, push_everything, served, watched

DAY = timedelta(days=1)
WEEK = timedelta(days=7, minutes=1)
FAULTS = {"429": 0.06, "500": 0.08, "reset": 0.05, "truncated": 0.07, "duplicate_pages": 0.15, "shifted_pages": 0.15}
MOST_RUNS = 12
Dump = dict[str, Counter[str]]


@dataclass(repr=False)
class Story:
    sandbox: RunningSandbox
    home: Home
    runs: dict[str, int] = field(default_factory=dict)  # syncs it took each day until all was well
    struck: Counter[str] = field(default_factory=Counter)
    dumps: dict[str, Dump] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # of landing
    compactions: list[Compacted] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)  # records the tests ask for
    pushed: set[Key] = field(default_factory=set)
    fresh: dict[Key, str] = field(default_factory=dict)  # what a new home gets at the end: record -> content key

    @property
    def told(self) -> set[Key]:
        """Every record that the town has told of: served on asking, or pushed."""
        return served(self.sandbox, "pull") | self.pushed

    @property
    def client(self) -> str:
        return self.sandbox.town.clients[0].client_id


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        small_pages(patch)
        sandbox = start_sandbox(**SMALL)
        try:
            told = Story(sandbox, Home(sandbox, tmp_path_factory.mktemp("home")))
            tell(told, Home(sandbox, tmp_path_factory.mktemp("fresh")))
            yield told
        finally:
            sandbox.stop()


def small_pages(patch: pytest.MonkeyPatch) -> None:
    """The town is small; so must be the pages, or there would be no second one to shift or to cut."""
    patch.setattr("connectors.callrail.connector.PER_PAGE", 10)
    patch.setattr("connectors.quickbooks.connector.PAGE", 10)
    patch.setattr("connectors.hubspot.objects.SEARCH_PAGE", 10)
    patch.setattr("connectors.search_console.property.PAGE_ROWS", 100)
    patch.setattr(Kind, "page", 10)
    patch.setitem(pages.__kwdefaults__, "size", 10)


def tell(story: Story, fresh: Home) -> None:
    sandbox, home = story.sandbox, story.home
    push_everything(home)
    story.pushed = served(sandbox, "push")
    sandbox.world.set_now(datetime.now(UTC))
    drift(story)
    sync_through_faults(story, "first day")
    story.dumps["first day"] = built(home)
    change_the_town(story)
    sandbox.world.set_now(sandbox.world.now() + DAY)
    sync_through_faults(story, "second day")
    story.dumps["second day"] = built(home)
    change_it_back(story)
    sandbox.world.set_now(
        sandbox.world.now() + WEEK
    )  # some changes touch no modified date; they are looked for once a week
    sync_through_faults(story, "last day")
    story.dumps["last day"] = built(home)

    note_landing(story, "last day")
    now = sandbox.world.now()
    story.compactions.append(compact(home.settings.landing, home.engine, now=now, enough=2))
    note_landing(story, "compacted")
    with home.engine.begin() as connection:
        connection.execute(delete(feeds))
    # said in the same moment, which batch said it first would be a tie
    sandbox.world.set_now(now + timedelta(seconds=1))
    assert all(outcome.state == "ok" for outcome in home.sync().values())
    note_landing(story, "landed again")
    story.dumps["landed again"] = built(home)
    story.compactions.append(compact(home.settings.landing, home.engine, now=now + 1.5 * GRACE, enough=2))
    story.compactions.append(compact(home.settings.landing, home.engine, now=now + 3 * GRACE, enough=2))
    note_landing(story, "compacted again")
    drop_warehouse(home.settings)
    story.dumps["rebuilt"] = built(home)

    move_in(fresh, home)
    assert all(outcome.state == "ok" for outcome in fresh.sync().values())
    story.fresh = content_keys(fresh)


def move_in(fresh: Home, home: Home) -> None:
    """A home that knows how to sign in (QuickBooks' tokens have rotated) and has read nothing yet."""
    with sqlite3.connect(home.path / "store.db") as old, sqlite3.connect(fresh.path / "store.db") as new:
        old.backup(new)
    shutil.copy(home.path / "store.key", fresh.path)
    with fresh.engine.begin() as connection:
        connection.execute(delete(feeds))


def drift(story: Story) -> None:
    """A provider changes its mind about its own records."""
    callrail, quickbooks = story.sandbox.providers["callrail"], story.sandbox.providers["quickbooks"]
    calls = callrail.book(story.client).listed("calls")[1]
    story.named |= {"bad call": calls[-1].id, "odd call": calls[-2].id, "good call": calls[-3].id}
    callrail.edit(story.client, "calls", calls[-1].id, start_time="soon")
    callrail.edit(story.client, "calls", calls[-2].id, duration="a while")
    invoices = sorted(quickbooks.books(story.client).shelves["Invoice"].rows)
    story.named |= {"new field": invoices[0], "edited": invoices[1]}
    quickbooks.mutate(story.client, "Invoice", invoices[0], MoodOfCustomer={"score": 7})
    # no event tells of this: only looking again does
    story.named["refunded"] = next(
        lead.negotiation_id for lead in reversed(story.sandbox.town.thumbtack_leads) if lead.client_id == story.client
    )
    story.sandbox.providers["thumbtack"].change(story.named["refunded"], charge_state="Refunded")


def change_the_town(story: Story) -> None:
    """What a day brings, deletions included."""
    providers, client, now = story.sandbox.providers, story.client, story.sandbox.world.now()
    books, portal, callrail = providers["quickbooks"], providers["hubspot"].portal(client), providers["callrail"]
    books.mutate(client, "Invoice", story.named["edited"], Balance=12.34)
    payments = sorted(key for key, row in books.books(client).shelves["Payment"].rows.items() if not row.deleted)
    books.delete(client, "Payment", payments[0])
    books.add(client, "Customer", {"DisplayName": "Nora New"})
    contacts = portal.ids("contacts")
    portal.edit("contacts", contacts[0], {"city": "Elsewhere"})
    portal.archive("contacts", contacts[1])
    portal.add("contacts", {"firstname": "Nora", "lastname": "New"})
    call = callrail.book(client).listed("calls")[1][-3]
    assert call.id == story.named["good call"]
    callrail.mark_spam(client, call.id)
    callrail.add("calls", replace(call.fact, n=90_001, at=now - timedelta(hours=1)))
    story.named |= {"archived": str(contacts[1]), "payment": payments[0]}
    story.named["message"] = providers["twilio"].inbound(client, "+15125550142", "Is Tuesday fine?").sid


def change_it_back(story: Story) -> None:
    """What was gone comes back; what was edited is as it was."""
    portal = story.sandbox.providers["hubspot"].portal(story.client)
    portal.restore("contacts", int(story.named["archived"]))
    portal.edit("contacts", int(story.named["archived"]), {})
    story.sandbox.providers["quickbooks"].mutate(story.client, "Invoice", story.named["edited"], Balance=0)


def sync_through_faults(story: Story, day: str) -> None:
    for kind, probability in FAULTS.items():
        for provider in story.sandbox.providers:
            # Thumbtack's old token is good for 60 s after a rotation, and pauses of others move this clock further
            path = "/api/" if provider == "thumbtack" else ""
            how = {"retry_after": "2"} if kind == "429" else {}
            fail(story.sandbox, kind, provider=provider, path=path, times=None, probability=probability, **how)
    fail(story.sandbox, "500", provider="hubspot", path="/deals", times=5)  # one outage that no retry outlasts
    with watched(story.sandbox) as calls:
        for runs in range(1, MOST_RUNS + 1):
            outcomes = story.home.sync().values()
            story.runs[day] = runs
            if all(outcome.state == "ok" for outcome in outcomes):
                break
            # past the time a provider asked us to wait for, but not a person's pause
            story.sandbox.world.set_now(story.sandbox.world.now() + timedelta(minutes=15))
        else:
            raise AssertionError([(o.client_id, o.provider, o.reason) for o in outcomes if o.state != "ok"])
    story.struck.update(call.fault for call in calls if call.fault)
    story.sandbox.world.faults.clear()


def built(home: Home) -> Dump:
    """Every row of every staging relation and of the quarantine, as text."""
    home.office.write_directory()
    result = run_dbt(home.settings, ["run", "--select", "staging", "quarantine"])
    assert result.success, [(node.node.name, node.message) for node in result.result if str(node.status) != "success"]
    with duckdb.connect(str(home.settings.warehouse), read_only=True) as warehouse:
        names = warehouse.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('staging', 'operations')"
        ).fetchall()
        return {
            name: Counter(map(repr, warehouse.execute(f'select * from "{schema}"."{name}"').fetchall()))
            for schema, name in names
        }


def note_landing(story: Story, when: str) -> None:
    story.files[when], story.rows[when] = len(story.home.segments()), story.home.landed().total()


def content_keys(home: Home) -> dict[Key, str]:
    columns = ["client_id", "provider", "stream", "record_id", "via", "idempotency_key"]
    keys: dict[Key, str] = {}
    for path in home.segments():
        table = pq.read_table(path, columns=columns)
        for client, provider, stream, record_id, via, key in zip(*(table[c].to_pylist() for c in columns), strict=True):
            if via != "observed":
                keys[client, provider, stream, record_id] = key
    return keys


def warehouse(story: Story, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(story.home.settings.warehouse), read_only=True) as connection:
        return connection.execute(query, list(values)).fetchall()


def in_staging(story: Story) -> dict[Key, tuple[str, bool]]:
    """Every row of every base model: its content key, and whether the provider still serves it."""
    found: dict[Key, tuple[str, bool]] = {}
    for name in story.dumps["rebuilt"]:
        if name.startswith("base_"):
            provider, _, stream = name.removeprefix("base_").partition("__")
            for client, record_id, key, absent in warehouse(
                story, f"select client_id, record_id, idempotency_key, is_absent from staging.{name}"
            ):
                assert (client, provider, stream, record_id) not in found, "one record, two rows"
                found[client, provider, stream, record_id] = key, absent
    return found


def unequal(one: Dump, other: Dump) -> dict[str, tuple[list[str], list[str]]]:
    """Relations that differ, with rows that only one of the dumps has."""
    return {
        name: (list((one[name] - other[name]).elements())[:3], list((other[name] - one[name]).elements())[:3])
        for name in one
        if one[name] != other.get(name)
    }


# ---- oracle 1: nothing lost, nothing twice ----


def test_the_faults_did_strike_and_cost_runs(story: Story) -> None:
    assert set(story.struck) == {"429", "500", "reset"}
    assert min(story.struck.values()) > 20
    assert max(story.runs.values()) > 1, "no run failed: the faults are too mild to prove anything"


def test_every_record_the_town_served_is_in_landing(story: Story) -> None:
    assert story.told - set(story.home.landed()) == set()


def test_every_stream_was_put_to_the_test(story: Story) -> None:
    streams = {(provider, stream) for _, provider, stream, _ in story.told}
    assert len(streams) >= 24
    assert len({client for client, *_ in story.told}) == 2


def test_a7_every_record_is_in_staging_once_whatever_came_twice(story: Story) -> None:
    staged = in_staging(story)  # asserts that no record has two rows
    assert story.told - {key for key, (_, absent) in staged.items() if not absent} == set()
    assert story.rows["last day"] > len(staged), "nothing came twice: this town proves nothing about duplicates"


def test_what_is_in_staging_and_no_longer_served_is_gone_at_the_provider(story: Story) -> None:
    extra = {key: value for key, value in in_staging(story).items() if key not in story.told}
    assert extra
    landed: dict[Key, str] = {}
    for path in story.home.segments():
        table = pq.read_table(
            path, columns=["client_id", "provider", "stream", "record_id", "idempotency_key", "payload"]
        )
        landed |= {tuple(row[:5]): row[5] for row in zip(*(c.to_pylist() for c in table.columns), strict=True)}  # type: ignore[misc]
    for key, (content, absent) in extra.items():
        payload = landed[*key, content]
        assert absent or '"status":"Deleted"' in payload or '"archived":true' in payload, key


def test_staging_holds_what_a_new_home_would_get_today(story: Story) -> None:
    """Not only every record: every record in its present state."""
    staged = in_staging(story)
    pulled = {key: content for key, content in story.fresh.items() if key in served(story.sandbox, "pull")}
    assert len(pulled) > 900
    assert {key for key, content in pulled.items() if staged[key][0] != content} == set()


# ---- A6: the shape of records drifts ----


def test_a6_a_new_field_is_kept_in_raw_and_breaks_nothing(story: Story) -> None:
    rows = [
        payload
        for path in (story.home.settings.landing / "quickbooks" / "invoices").glob("*.parquet")
        for record_id, payload in zip(
            *pq.read_table(path, columns=["record_id", "payload"]).to_pydict().values(), strict=True
        )
        if record_id == story.named["new field"]
    ]
    assert rows
    assert all('"MoodOfCustomer":{"score":7}' in row for row in rows)
    [(rejected, total)] = warehouse(
        story,
        "select rejected_because, total_cents from staging.base_quickbooks__invoices where client_id = ? and record_id = ?",
        story.client,
        story.named["new field"],
    )
    assert rejected is None
    assert total > 0


def test_a6_a_record_without_a_required_value_is_put_aside_with_the_reason_and_the_rest_loads(story: Story) -> None:
    rows = warehouse(
        story,
        "select record_id, disposition, reason from operations.quarantine where provider = 'callrail' and stream = 'calls'",
    )
    assert set(rows) == {
        (story.named["bad call"], "rejected", "started_at is not a time with its offset"),
        (story.named["odd call"], "value dropped", "duration_seconds is not a whole number"),
    }
    calls = {record_id for (record_id,) in warehouse(story, "select record_id from staging.base_callrail__calls")}
    shown = {call_id for (call_id,) in warehouse(story, "select call_id from staging.stg_callrail__calls")}
    assert calls - shown == {story.named["bad call"]}


# ---- what changed is seen, what vanished is kept and marked ----


def test_edits_and_deletes_of_each_day_arrived(story: Story) -> None:
    def row(table: str, name: str, columns: str) -> tuple[Any, ...]:
        [found] = warehouse(
            story,
            f"select {columns} from staging.base_{table} where client_id = ? and record_id = ?",
            story.client,
            story.named[name],
        )
        return found

    assert row("callrail__calls", "good call", "is_absent") == (True,)
    assert row("hubspot__contacts", "archived", "is_absent") == (False,)
    assert row("quickbooks__payments", "payment", "provider_status") == ("Deleted",)
    assert row("quickbooks__invoices", "edited", "balance_cents") == (0,)
    assert row("thumbtack__leads", "refunded", "charge_state") == ("Refunded",)
    assert row("twilio__messages", "message", "body") == ("Is Tuesday fine?",)


# ---- oracles 4 to 6: landing again, building again, compacting ----


def test_landing_everything_again_changes_no_row(story: Story) -> None:
    assert story.rows["landed again"] > story.rows["compacted"] + 900
    assert unequal(story.dumps["last day"], story.dumps["landed again"]) == {}


def test_builds_day_by_day_equal_one_build_of_everything(story: Story) -> None:
    assert unequal(story.dumps["first day"], story.dumps["second day"]), "the days brought no news"
    assert unequal(story.dumps["second day"], story.dumps["last day"])
    assert unequal(story.dumps["last day"], story.dumps["rebuilt"]) == {}
    assert set(story.dumps["last day"]) == set(story.dumps["rebuilt"])


def test_compaction_keeps_every_row_and_has_fewer_files(story: Story) -> None:
    first, second, third = story.compactions
    assert first.written < first.merged
    assert first.deleted == 0, "a reader may still have listed the files"
    assert story.files["compacted"] == story.files["last day"] + first.written
    assert second.deleted == first.merged, "a day later nobody reads the replaced files any more"
    assert third.deleted == second.merged
    assert third.merged == 0, "there is nothing left to merge"
    assert story.files["compacted again"] < story.files["last day"]
    streams = {path.parent for path in story.home.segments()}
    assert story.files["compacted again"] == len(streams)


def test_no_compaction_loses_a_row(story: Story) -> None:
    # each row of the last day is there twice until its old file goes
    assert story.rows["compacted"] == story.rows["last day"] * 2 - single_rows(story)
    assert story.rows["compacted again"] == story.rows["landed again"] - (
        story.rows["compacted"] - story.rows["last day"]
    )


def single_rows(story: Story) -> int:
    """Rows of the last day that were in the only file of their stream, and so were not copied."""
    return story.rows["last day"] * 2 - story.rows["compacted"]
