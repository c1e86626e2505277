"""Write, audit, publish: readers see whole, tested builds only, at any moment; a failure is named with whose it is."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from connectors.base import Record
from pipeline.build_record import last_build, save
from pipeline.doctor import examine
from pipeline.publishing import KEPT, publish
from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, build
from tests.conftest import NOW
from tests.warehouse import Landed, land

FORMS = ["staging.forms"]
SUBMISSIONS = "warehouse.staging.stg_forms__submissions"  # as dbt writes names into views
CLIENTS = ("acme", "bolt", "cole")
MEGABYTE = 1024 * 1024
spawn = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the forms of three clients, staged and tested; copied for each test."""
    home = tmp_path_factory.mktemp("built") / "home"
    land(home, [form(client, number) for client in CLIENTS for number in range(3)])
    build(settings_of(home), select=FORMS)
    return home


@pytest.fixture
def settings(built: Path, tmp_path: Path) -> Settings:
    shutil.copytree(built, tmp_path / "home", symlinks=True)
    return settings_of(tmp_path / "home")


def settings_of(home: Path) -> Settings:
    return Settings.from_env({"LEADTRAIL_HOME": str(home)})


def form(client: str, number: int, said: str = "") -> Landed:
    fields = {"content_key": f"k{number}", "name": f"Ana {number}", "form_id": "quote", "message": said}
    payload = json.dumps(fields).encode()
    return Landed(client, "forms", "submissions", Record(f"f{number}", payload, NOW), via="webhook")


def change(settings: Settings, *statements: str) -> None:
    """Change the warehouse as a build would."""
    with duckdb.connect(str(settings.warehouse)) as warehouse:
        for statement in statements:
            warehouse.execute(statement)


def publish_anew(settings: Settings) -> Path:
    """As after another good build."""
    record = last_build(settings)
    assert record is not None
    save(settings, replace(record, is_published=False))
    return publish(settings)


def read(path: Path, query: str) -> list[Any]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


# ---- what is published ----


def test_what_analysts_read_is_published_under_any_name_and_the_workshop_is_not(settings: Settings) -> None:
    change(
        settings,
        "create schema timeline",
        f"create view timeline.by_form as select form_id, count(*) as n from {SUBMISSIONS} group by form_id",
        "create schema intermediate",
        "create table intermediate.int_secret as select 1 as n",
    )
    path = publish(settings)
    assert settings.analytics.resolve() == path
    for file in (path, settings.analytics):
        assert read(file, "select count(*) from staging.stg_forms__submissions") == [(9,)]
        assert read(file, "select * from timeline.by_form") == [("quote", 9)]
    kinds = "select table_type from information_schema.tables where table_schema = 'timeline'"
    assert read(path, kinds) == [("BASE TABLE",)], "a mart is computed once, not by each reader"
    schemas = read(
        path, "select schema_name from duckdb_schemas() where database_name not in ('system', 'temp') and not internal"
    )
    assert {"staging", "timeline"} <= {name for (name,) in schemas}
    assert not {"intermediate", "landing"} & {name for (name,) in schemas}
    with duckdb.connect() as other:
        other.execute(f"attach '{path}' as theirs (read_only)")
        assert other.execute("select count(*) from theirs.staging.stg_forms__submissions").fetchone() == (9,)


def test_the_client_safe_file_holds_its_own_schema_and_not_one_byte_more(settings: Settings) -> None:
    publish(settings)
    assert not settings.client_safe.exists(), "no client-safe model yet"
    change(
        settings,
        "create schema client_safe",
        f"create view client_safe.safe_forms as select client_id, count(*) as forms from {SUBMISSIONS} group by 1",
    )
    publish_anew(settings)
    assert read(settings.client_safe, "select * from client_safe.safe_forms order by 1") == [(c, 3) for c in CLIENTS]
    tables = "select table_schema, table_name from information_schema.tables"
    assert read(settings.client_safe, tables) == [("client_safe", "safe_forms")]
    assert b"Ana 1" in settings.warehouse.read_bytes()
    assert b"Ana 1" not in settings.client_safe.read_bytes()


def test_nothing_is_published_again_until_something_was_built(settings: Settings) -> None:
    first = publish(settings)
    assert publish(settings) == first
    build(settings, select=FORMS)
    assert publish(settings) != first


def test_what_nobody_tested_is_not_published(settings: Settings) -> None:
    published = publish(settings)
    change(settings, "update landing.builds set build = build + 1")  # a build that was killed, or dbt by hand
    with pytest.raises(BuildFailed, match="leadtrail build"):
        publish(settings)
    assert settings.analytics.resolve() == published
    build(settings, select=FORMS)
    with pytest.raises(BuildFailed, match="never ended"):
        publish(settings)
    assert settings.analytics.resolve() == published


# ---- readers ----


def read_all_the_time(home: str, told: Any, begun: Any, stop: Any) -> None:
    """Connect and query as fast as it goes. Tells how often, and everything that was not as promised."""
    settings, reads, wrong, last = settings_of(Path(home)), 0, [], 0
    begun.set()
    while not stop.is_set():
        try:
            [(left, right)] = read(settings.analytics, "select (select n from timeline.l), (select n from timeline.r)")
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
            continue
        if left != right or left < last:
            wrong.append(f"{left} and {right} after {last}")
        reads, last = reads + 1, left
    told.put((reads, wrong, last))


def test_a_reader_is_never_locked_out_and_never_sees_half_a_build(settings: Settings) -> None:
    change(
        settings,
        "create schema timeline",
        "create table timeline.l as select 0 as n",
        "create table timeline.r as select 0 as n",
    )
    publish(settings)
    told, begun, stop = spawn.Queue(), spawn.Event(), spawn.Event()
    reader = spawn.Process(target=read_all_the_time, args=(str(settings.home), told, begun, stop))
    reader.start()
    assert begun.wait(60), "a process of its own takes seconds to start on a busy machine"
    with closing(duckdb.connect(str(settings.analytics.resolve()), read_only=True)) as patient:
        for number in range(1, 21):
            change(settings, f"update timeline.l set n = {number}", f"update timeline.r set n = {number}")
            publish_anew(settings)
            assert patient.execute("select n from timeline.l").fetchone() == (0,), "who has it open keeps it"
    stop.set()
    reads, wrong, last = told.get(timeout=30)
    reader.join()
    assert wrong == []
    assert reads > 20
    assert last <= 20
    assert read(settings.analytics, "select n from timeline.r") == [(20,)]
    assert len(list(settings.published.glob("analytics-*.duckdb"))) == KEPT


# ---- a publisher that dies ----


def publish_for_ever(home: str) -> None:
    settings = settings_of(Path(home))
    while True:
        publish_anew(settings)


def test_a_publisher_that_is_killed_leaves_the_last_good_copy_and_its_litter_is_cleared_away(
    settings: Settings,
) -> None:
    change(settings, "create schema timeline", "create table timeline.big as select range as n from range(2_000_000)")
    publish(settings)
    littered = lives = 0
    while lives < 6 or (not littered and lives < 60):  # on a busy machine it may not get to its work in time
        lives += 1
        publisher = spawn.Process(target=publish_for_ever, args=(str(settings.home),))
        before = settings.analytics.resolve()
        publisher.start()
        while settings.analytics.resolve() == before:  # it is at work
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.1))
        assert publisher.pid
        os.kill(publisher.pid, signal.SIGKILL)
        publisher.join()
        littered += any(settings.published.glob("*.tmp*"))
        assert read(settings.analytics, "select count(*) from timeline.big") == [(2_000_000,)]
        assert last_build(settings) is not None
    assert littered, "at least one was killed in the middle of its work"
    path = publish_anew(settings)
    assert settings.analytics.resolve() == path
    assert not list(settings.published.glob("*.tmp*"))
    assert not list(settings.home.glob("*.next"))
    assert len(list(settings.published.glob("analytics-*.duckdb"))) == KEPT


# ---- a test that fails ----

BREAKS: dict[str, tuple[str, str, str]] = {
    "a key twice": (
        "update staging.base_forms__submissions set record_key = client_id || ':f0' "
        "where client_id in ('bolt', 'cole') and record_key like '%f1'",
        "is_key_stg_forms__submissions_record_key failed: 2 rows, clients: bolt, cole",
        "bolt, cole",
    ),
    "no key": (
        "update staging.base_forms__submissions set record_key = null "
        "where client_id = 'acme' and record_key like '%f1'",
        "is_key_stg_forms__submissions_record_key failed: 1 row, clients: acme",
        "acme",
    ),
}


@pytest.mark.parametrize("test", sorted(BREAKS))
def test_a_failed_test_keeps_the_last_good_copy_and_names_itself_and_the_clients(settings: Settings, test: str) -> None:
    damage, said, clients = BREAKS[test]
    good = publish(settings)
    change(settings, damage)
    with pytest.raises(BuildFailed) as failed:
        build(settings, select=FORMS)
    assert said in str(failed.value)
    with pytest.raises(BuildFailed, match=said):
        publish(settings)
    assert settings.analytics.resolve() == good

    record = json.loads((settings.published / "last_build.json").read_text())
    assert (record["ok"], record["build"], record["published"]) == (False, 2, good.name)
    [failure] = record["failures"]
    assert (failure["model"], failure["clients"]) == ("stg_forms__submissions", clients.split(", "))
    known = last_build(settings)
    assert known is not None
    assert known.clients == set(clients.split(", "))
    finding = next(one for one in examine(settings, now=NOW) if one.what == "last build")
    assert finding.level == "problem"
    assert said in finding.found

    change(settings, "update staging.base_forms__submissions set record_key = client_id || ':' || record_id")
    build(settings, select=FORMS)
    assert publish(settings) != good
    known = last_build(settings)
    assert known is not None
    assert known.ok
    assert known.clients == set()


def test_in_dagster_a_failed_test_is_a_failed_check_that_names_the_clients(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.definitions import defs
    from pipeline.warehouse import dbt_environment

    change(settings, BREAKS["no key"][0])
    (settings.home / "clients.yaml").write_text(
        "clients: [{client_id: acme, timezone: America/Chicago, owner: dana@agency.example, connections: {}}]"
    )
    for name, value in dbt_environment(settings).items():
        monkeypatch.setenv(name, value)
    models = next(
        one for one in defs.assets or () if isinstance(one, dg.AssetsDefinition) and one.op.name == "warehouse"
    )
    chosen = dg.AssetSelection.assets("staging/stg_forms__submissions")
    with dg.instance_for_test() as instance:
        ran = dg.materialize(
            [models], selection=chosen, resources=defs.resources, instance=instance, raise_on_error=False
        )
    failed = [check for check in ran.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["is_key_stg_forms__submissions_record_key"]
    assert failed[0].metadata["clients"].value == "acme"
    assert not ran.success
    record = last_build(settings)
    assert record is not None
    assert record.clients == {"acme"}


def test_a_build_of_something_else_does_not_make_a_failed_test_pass(settings: Settings) -> None:
    publish(settings)
    change(settings, BREAKS["no key"][0])
    with pytest.raises(BuildFailed):
        build(settings, select=FORMS)
    build(settings, select=["holidays"])
    with pytest.raises(BuildFailed, match="clients: acme"):
        publish(settings)


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As on a disk that is full: whoever writes beyond that is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.soak
def test_c5_a_build_on_a_full_disk_fails_what_is_published_is_readable_and_the_next_build_with_room_is_whole(
    settings: Settings,
) -> None:
    good, count = publish(settings), "select count(*) from staging.stg_forms__submissions"
    photos = random.Random(7)
    land(settings.home, [form("acme", 100 + number, photos.randbytes(500_000).hex()) for number in range(60)])
    with (
        no_file_larger_than(32 * MEGABYTE),
        pytest.raises(BuildFailed, match=r"(?s)base_forms__submissions: .*File too large"),
    ):
        build(settings, select=FORMS)
    with pytest.raises(BuildFailed):
        publish(settings)
    assert settings.analytics.resolve() == good
    assert read(settings.analytics, count) == [(9,)]
    build(settings, select=FORMS)
    publish(settings)
    assert read(settings.analytics, count) == [(69,)]


def test_a_model_that_fails_could_be_anybodys(settings: Settings) -> None:
    change(
        settings,
        "drop view staging.stg_forms__submissions",
        "create table staging.stg_forms__submissions as select 1 as n",
    )
    change(settings, "alter table staging.base_forms__submissions drop column form_id")
    with pytest.raises(BuildFailed, match="stg_forms__submissions: "):
        build(settings, select=["stg_forms__submissions"])
    known = last_build(settings)
    assert known is not None
    assert known.clients is None
