"""Building on what is there gives the same rows as building from nothing, whatever arrives, split and ordered however.

Each example is a batch of small worlds, one client each, that land in a few arrivals. dbt builds after each; then everything is
built anew from landing, and every table that builds on must hold the same rows. What was built on must also give every cent of
the books to a channel, by every model. `make soak` tries many more worlds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.compaction import GRACE, compact
from pipeline.landing import Segment
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.store.segments import note_segments
from pipeline.warehouse import drop_warehouse, run_dbt
from tests.conftest import NOW
from tests.integration.small_worlds import World, landed, made_up, smaller, streams
from tests.integration.told_stories import ANA, DAY, FIRST, stories
from tests.records import call
from tests.warehouse import land

BUILT_ON = (
    "config.incremental_strategy:touched",
    "config.incremental_strategy:touched_records",
    "config.materialized:connected_components",
)
MONEY = (
    "int_unowned_money",
    "int_channel_shares",
    "int_data_driven_credit",
    "attribution_models",
    "attribution_by_channel",
)
MONEY_VIEWS = ("fct_attribution_credit",)
MONEY_TESTS = (
    "revenue_of_each_model_is_what_quickbooks_holds_to_the_cent",
    "credit_of_a_conversion_sums_to_one_and_its_revenue_to_what_was_paid",
)
MOST_WORLDS = 40
ARRIVALS = 3


@dataclass(frozen=True)
class Home:
    """A home whose warehouse can be put back to how it was when nothing had landed."""

    settings: Settings
    empty: Path
    money_tests: Mapping[str, str]  # name -> query for what is wrong

    def forget(self) -> None:
        shutil.rmtree(self.settings.landing, ignore_errors=True)
        shutil.copy(self.empty, self.settings.warehouse)

    def build(self, *select: str, full_refresh: bool = False) -> None:
        flags = ["--full-refresh"] if full_refresh else []
        result = run_dbt(
            self.settings,
            [
                "build",
                *flags,
                "--no-write-json",
                "--select",
                *select,
                "--exclude",
                "resource_type:test",
                "resource_type:unit_test",
            ],
        )
        assert result.success, [node.message for node in result.result or []] or result.exception

    def build_news(self, kinds: Collection[str], *also: str, full_refresh: bool = False) -> None:
        """The base models of these streams, and everything that builds on them."""
        bases = [f"base_{kind.replace('.', '__')}" for kind in sorted(kinds)]
        self.build(*bases, *BUILT_ON, *also, full_refresh=full_refresh)

    def wrong_money(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, query in self.money_tests.items():
            for row in self.rows(query):
                found.setdefault(_client_in(row), []).append(f"{name}: {row}")
        return found

    def compared_with_new(self, kinds: Collection[str]) -> dict[str, list[str]]:
        """Client -> what is wrong with its money, and the rows that only building on gives or only building anew."""
        found = self.wrong_money()
        grown = self.settings.home / "grown.duckdb"
        self.settings.warehouse.rename(grown)
        shutil.copy(self.empty, self.settings.warehouse)
        self.build_news(kinds, *MONEY, full_refresh=True)
        with duckdb.connect(":memory:") as both:
            both.execute(
                f"attach '{grown}' as grown (read_only); attach '{self.settings.warehouse}' as anew (read_only)"
            )
            tables = both.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = 'anew' "
                "and schema_name not in ('landing', 'seeds') and table_name <> 'int_open_hours' order by 1, 2"
            ).fetchall()
            for schema, table in tables:
                for side, other in (("grown", "anew"), ("anew", "grown")):
                    result = both.execute(
                        f"select * from {side}.{schema}.{table} except all select * from {other}.{schema}.{table}"
                    )
                    for row in result.fetchall():
                        found.setdefault(_client_in(row), []).append(f"{table}, {side} only: {row}")
        return found

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.settings.warehouse), read_only=True) as warehouse:
            return warehouse.execute(query).fetchall()


def _client_in(row: tuple[object, ...]) -> str:
    client = re.search(r"w\d+|[a-z]+-story", str(row))
    return client[0] if client else "?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    clients = [
        {
            "client_id": f"w{number}",
            "name": f"World {number}",
            "timezone": "America/Chicago",
            "owner": "dana",
            "joined_on": "2026-02-01",
            "high_value_cents": 250_000,
        }
        for number in range(MOST_WORLDS)
    ]
    for story in sorted({record.client_id for record in stories()}):
        clients.append({**clients[0], "client_id": story, "name": story})
    (folder / "directory").mkdir()
    pq.write_table(pa.Table.from_pylist(clients), folder / "directory" / "clients.parquet")
    made = Home(Settings.from_env({"LEADTRAIL_HOME": str(folder)}), folder / "empty.duckdb", {})
    drop_warehouse(made.settings)
    made.build(*(f"+{one}" for one in BUILT_ON), *MONEY, *MONEY_VIEWS, "lead_aliases")
    shutil.copy(made.settings.warehouse, made.empty)
    compiled = run_dbt(made.settings, ["compile", "--no-write-json", "--select", *MONEY_TESTS])
    return replace(made, money_tests={one.node.name: one.node.compiled_code for one in compiled.result})


def differences(home: Home, batch: Sequence[World], *, arrivals: int = ARRIVALS) -> dict[str, list[str]]:
    home.forget()
    everything = [record for number, world in enumerate(batch) for record in landed(f"w{number}", world)]
    for arrival in range(arrivals):
        news = [record for record in everything if record.segment == arrival]
        land(home.settings.home, news)
        last = MONEY if arrival == arrivals - 1 else ()
        home.build_news({f"{record.provider}.{record.stream}" for record in news}, *last)
    return home.compared_with_new(streams(batch))


def smallest(home: Home, world: World) -> tuple[World, list[str]]:
    """A world that still differs and does not if anything more is taken from it. All attempts of a round share one build."""
    rows: list[str] = []
    while True:
        attempts = smaller(world)[:MOST_WORLDS]
        found = differences(home, attempts)
        if not found:
            return world, rows
        client = min(found, key=lambda one: int(one[1:]))
        world, rows = attempts[int(client[1:])], found[client]


def assert_same(home: Home, batch: Sequence[World]) -> None:
    found = differences(home, batch)
    if found:
        differing = [batch[int(client[1:])] for client in sorted(found)]
        world, rows = smallest(home, min(differing, key=len))
        pytest.fail(
            "\n".join([f"{len(differing)} of {len(batch)} worlds differ, for example", *map(repr, world), *rows])
        )


def some_worlds(seed: int) -> list[World]:
    random = Random(seed)
    return [made_up(random, ARRIVALS) for _ in range(MOST_WORLDS)]


@settings(max_examples=1, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_worlds_arriving_in_any_order_end_as_if_built_from_nothing(home: Home, seed: int) -> None:
    assert_same(home, some_worlds(seed))


@pytest.mark.soak
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_a_thousand_worlds_end_as_if_built_from_nothing(home: Home, seed: int) -> None:
    assert_same(home, some_worlds(seed))


# ---- stories, told in three arrivals; then a compaction, a quiet build, and one more call -----------------------

SEEN = {
    "persons": "select client_id, count(distinct person_id) from intermediate.int_identity group by 1",
    "leads": "select client_id, lead_id from intermediate.int_leads",
    "aliases": "select alias_id, lead_id from timeline.lead_aliases",
    "events": "select client_id, event_type from timeline.fct_lead_events",
    "revenue": "select client_id, sum(revenue_cents) from intermediate.int_leads group by 1",
    "known": "select record_id, known_at from timeline.fct_lead_events where client_id = 'restored-story'",
    "no_emails": "select client_id, is_email_opted_out from intermediate.int_leads",
    "classes": "select identity_key, key_class from intermediate.int_keys",
    "holders": "select client_id || ' ' || stream || ' ' || record_id, person_id from intermediate.int_identity inner join "
    "intermediate.int_records using (record_uid, client_id, stream)",
}
LOGS = ("records", "keys", "clusters")


@dataclass(frozen=True)
class Told:
    """What was seen after each arrival (query -> rows), and what later builds touched."""

    seen: list[dict[str, list[tuple[object, ...]]]]
    different: dict[str, list[str]]
    touched_by_compaction: dict[str, int]
    left_in_logs: dict[str, int]
    clusters_of_one_call: list[tuple[object, ...]]

    def one(self, arrival: int, query: str, key: str) -> object:
        return dict(self.seen[arrival][query])[key]

    def leads(self, arrival: int, story: str) -> set[object]:
        return {lead for client, lead in self.seen[arrival]["leads"] if client == story}


@pytest.fixture(scope="module")
def told(home: Home) -> Told:
    home.forget()
    records = list(stories())
    kinds = {f"{record.provider}.{record.stream}" for record in records}
    seen = []
    for arrival in range(3):
        land(home.settings.home, [record for record in records if record.segment == arrival])
        if arrival == 2:  # this build dies when it has the base models
            home.build(*(f"base_{kind.replace('.', '__')}" for kind in sorted(kinds)))
        home.build_news(kinds)
        seen.append({name: home.rows(query) for name, query in SEEN.items()})
    _compact(home)
    home.build_news(kinds)
    touched = _touched(home)
    home.build_news(kinds)
    left = {log: sum(count for (count,) in home.rows(f"select count(*) from landing.touched_{log}")) for log in LOGS}
    land(home.settings.home, [call("merged-story", "9", FIRST + 8 * DAY, ANA)])
    home.build("base_callrail__calls", *(f"base_callrail__calls+,{one}" for one in BUILT_ON), *MONEY)
    clusters = home.rows("select distinct touched from landing.touched_clusters")
    return Told(seen, home.compared_with_new(kinds), touched, left, clusters)


def _compact(home: Home) -> None:
    engine = open_store(home.settings.store_url)
    with engine.begin() as connection:
        files = home.settings.landing.glob("*/*/*.parquet")
        written = [Segment("/".join(file.parts[-3:]), *file.parts[-3:-1], 1, file.stat().st_size, "") for file in files]
        note_segments(connection, written, NOW)
    assert compact(home.settings.landing, engine, now=NOW, enough=2).merged > 10
    assert compact(home.settings.landing, engine, now=NOW + 2 * GRACE, enough=2).deleted > 10
    engine.dispose()


def _touched(home: Home) -> dict[str, int]:
    query = "select count(*) from landing.touched_{} where build = (select max(build) from landing.builds)"
    return {log: sum(count for (count,) in home.rows(query.format(log))) for log in LOGS}  # type: ignore[misc]


def test_the_stories_end_as_if_built_from_nothing(told: Told) -> None:
    assert told.different == {}


def test_a_contact_joins_two_persons_and_its_correction_parts_them_again(told: Told) -> None:
    assert [told.one(arrival, "persons", "merged-story") for arrival in range(3)] == [2, 1, 2]


def test_after_a_merge_the_old_lead_leads_to_the_one_that_stays_and_gets_its_id_back_when_parted(told: Told) -> None:
    before, merged, parted = (told.leads(arrival, "merged-story") for arrival in range(3))
    assert len(before) == 2
    assert len(merged) == 1
    assert merged < before
    assert {told.one(1, "aliases", lead) for lead in before} == merged
    assert parted == before


def test_a_lead_keeps_its_id_when_an_older_event_comes_late(told: Told) -> None:
    assert len(told.leads(0, "late-story")) == 1
    assert told.leads(0, "late-story") == told.leads(1, "late-story")


def test_a_phone_is_shared_while_two_have_it(told: Told) -> None:
    classes = [told.one(arrival, "classes", f"shared-story|phone:{ANA}") for arrival in range(3)]
    assert classes == ["direct", "household", "direct"]
    assert [told.one(arrival, "persons", "shared-story") for arrival in range(3)] == [1, 2, 2]


def test_a_number_lent_again_keeps_its_old_calls_with_whom_it_was_lent_to_then(told: Told) -> None:
    holder = {
        what: told.one(2, "holders", f"lent-story {what}") for what in ("leads 1", "calls 1", "leads 2", "calls 2")
    }
    assert holder["calls 1"] == holder["leads 1"] != holder["leads 2"] == holder["calls 2"]


def test_a_decision_parts_two_until_it_is_taken_back(told: Told) -> None:
    assert [told.one(arrival, "persons", "decided-story") for arrival in range(3)] == [1, 2, 1]


def test_contacts_that_hubspot_merges_become_one_person(told: Told) -> None:
    assert [told.one(arrival, "persons", "absorbed-story") for arrival in range(3)] == [2, 1, 1]


def test_a_renamed_stage_gives_its_deals_another_meaning(told: Told) -> None:
    assert ("renamed-story", "job_booked") not in told.seen[0]["events"]
    assert ("renamed-story", "job_booked") in told.seen[1]["events"]


def test_a_deleted_payment_is_no_revenue(told: Told) -> None:
    assert [told.one(arrival, "revenue", "unpaid-story") for arrival in range(2)] == [25000, 0]


def test_the_bills_of_a_job_are_for_the_customer_it_belongs_to(told: Told) -> None:
    assert [told.one(arrival, "persons", "job-story") for arrival in range(3)] == [2, 1, 2]


def test_when_a_call_was_known_changes_with_the_day_its_stream_was_first_read(told: Told) -> None:
    known = [told.one(arrival, "known", "1") for arrival in range(2)]
    assert known == [(FIRST + 1 * DAY).replace(tzinfo=None), (FIRST + 10 * DAY).replace(tzinfo=None)]


def test_who_opts_in_to_emails_again_is_written_to_until_they_opt_out_again(told: Told) -> None:
    assert [told.one(arrival, "no_emails", "letters-story") for arrival in range(3)] == [True, False, True]


def test_of_two_equal_forms_the_later_goes_when_the_earlier_comes_late(told: Told) -> None:
    assert [told.seen[arrival]["events"].count(("repeated-story", "form_submitted")) for arrival in range(2)] == [1, 1]


def test_two_equal_forms_days_apart_are_two_whichever_of_them_has_news(told: Told) -> None:
    counted = [told.seen[arrival]["events"].count(("again-story", "form_submitted")) for arrival in range(3)]
    assert counted == [1, 2, 2]


def test_a_compaction_touches_nothing(told: Told) -> None:
    assert told.touched_by_compaction == dict.fromkeys(LOGS, 0)


def test_logs_are_empty_once_every_model_has_read_them(told: Told) -> None:
    assert told.left_in_logs == dict.fromkeys(LOGS, 0)


def test_one_call_touches_only_the_cluster_of_its_caller(told: Told) -> None:
    names = [str(name) for (name,) in told.clusters_of_one_call]
    assert names
    assert all("merged-story" in name for name in names)
    assert "merged-story|email:ana@example.com" not in names  # the writer's, parted from the caller's by the correction
