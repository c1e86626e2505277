"""What a build leaves out, and what it never leaves out: real dbt, the real macros and one real stream in a small project."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.build_plan
import pipeline.warehouse
from connectors.base import Record
from pipeline.build_plan import PROJECT, Plan, begin, forget, plan_build
from pipeline.settings import Settings
from pipeline.warehouse import BuildFailed, build, drop_warehouse, keep_manifest, run_dbt
from tests.conftest import NOW
from tests.warehouse import Landed, land

OF_RECORDS = """
{{ config(materialized='incremental', post_hook="{{ note_progress() }}") }}
select record_key, client_id, 'first rule' as made_by from {{ ref('stg_forms__submissions') }}
{% if is_incremental() %}where record_key not in (select record_key from {{ this }}){% endif %}
"""
OF_CLIENTS = """
{{ config(materialized='table') }}
select client_id, count(*) as records from {{ ref('of_records') }} group by client_id
"""
DUE = """
{{ config(materialized='table') }}
select record_key from {{ ref('of_records') }}
"""
TESTS = """
version: 2
groups: [{name: internal, owner: {name: agency}}, {name: client_safe, owner: {name: agency}}]
sources:
  - name: leadtrail
    config: {external_location: "read_parquet('{{ env_var('LEADTRAIL_HOME') }}/directory/{name}.parquet')"}
    tables: [{name: clients}]
exposures:
  - {name: page, type: dashboard, owner: {name: agency}, depends_on: [ref('due')]}
models:
  - name: of_records
    columns: [{name: record_key, data_tests: [unique]}]
  - name: of_clients
    columns: [{name: records, data_tests: [{accepted_values: {arguments: {values: [1, 2, 3], quote: false}}}]}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real macros and the real forms, with a table that builds on and one that does not."""
    folder = tmp_path / "project"
    for name in ("macros", "models/staging/forms"):
        shutil.copytree(PROJECT / name, folder / name)
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT / name, folder)
    models = folder / "models"
    (models / "intermediate").mkdir()
    (models / "intermediate" / "of_records.sql").write_text(OF_RECORDS)
    (models / "intermediate" / "of_clients.sql").write_text(OF_CLIENTS)
    (models / "marts" / "follow_up").mkdir(parents=True)
    (models / "marts" / "follow_up" / "due.sql").write_text(DUE)
    (models / "intermediate" / "all.yml").write_text(TESTS)
    (models / "intermediate" / "int_records.sql").write_text(
        "{{ config(materialized='view') }} select client_id from {{ ref('base_forms__submissions') }}"
    )
    monkeypatch.setattr(pipeline.build_plan, "PROJECT", folder)
    monkeypatch.setattr(pipeline.warehouse, "PROJECT", folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, project: Path) -> Settings:
    """One record landed, everything built."""
    settings = Settings.from_env({"LEADTRAIL_HOME": str(tmp_path / "home")})
    directory(settings, acme="America/Chicago")
    submit(settings, "1")
    build(settings)
    return settings


def directory(settings: Settings, **zones: str) -> None:
    folder = settings.home / "directory"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"client_id": client, "timezone": zone, "joined_on": ""} for client, zone in zones.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "clients.parquet")


def submit(settings: Settings, number: str, client: str = "acme") -> None:
    told = {"content_key": number, "submission_id": number, "name": "Ana Lopez", "submitted_at": NOW.isoformat()}
    later = NOW + timedelta(minutes=30 * int(number))
    record = Record(number, json.dumps({**told, "message": number}).encode(), occurred_at=later, updated_at=later)
    land(settings.home, [Landed(client, "forms", "submissions", record, received_at=later)])


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        return warehouse.execute(query).fetchall()


def test_a_build_without_news_does_nothing(home: Settings) -> None:
    assert build(home).models == 0


def test_news_reaches_every_table_and_every_test_downstream_and_no_view_is_made_again(home: Settings) -> None:
    submit(home, "2")
    assert plan_build(home).nodes is not None
    result = build(home)
    ran = json.loads((home.dbt_target / "run_results.json").read_text())["results"]
    models = {one["unique_id"].split(".")[2] for one in ran if one["unique_id"].startswith("model.")}
    assert models == {"base_forms__submissions", "of_records", "of_clients", "due"}
    assert result.tests >= 4  # those of the staging view too: what it shows has changed
    assert rows(home, "select client_id, records from intermediate.of_clients") == [("acme", 2)]
    assert build(home).models == 0


def test_after_an_upgrade_tables_that_build_on_hold_no_row_of_the_old_rule(home: Settings, project: Path) -> None:
    submit(home, "2")
    model = project / "models" / "intermediate" / "of_records.sql"
    model.write_text(OF_RECORDS.replace("first rule", "second rule"))
    assert plan_build(home).full_refresh
    build(home)
    assert rows(home, "select made_by, count(*) from intermediate.of_records group by 1") == [("second rule", 2)]
    assert build(home).models == 0


@pytest.mark.parametrize("file", ["macros/touched.sql", "seeds/holidays.csv", "dbt_project.yml"])
def test_macros_seeds_and_numbers_of_judgement_are_code(home: Settings, project: Path, file: str) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    with (project / file).open("a") as changed:
        changed.write("\n")
    assert plan_build(home).full_refresh


def test_another_test_is_run_once_over_everything_and_rebuilds_nothing(home: Settings, project: Path) -> None:
    (project / "models" / "intermediate" / "all.yml").write_text(TESTS.replace("[1, 2, 3]", "[1, 2, 3, 4]"))
    plan = plan_build(home)
    assert (plan.full_refresh, plan.nodes) == (False, None)


def test_a_build_that_died_is_followed_by_one_that_leaves_nothing_out(home: Settings) -> None:
    submit(home, "2")
    died = plan_build(home)
    begin(home, died)
    # it died after its first model, which took the news in
    assert run_dbt(home, ["build"], nodes=died.nodes[:1]).success
    assert died.nodes
    assert plan_build(home).nodes == died.nodes
    build(home)
    assert plan_build(home).nodes == ()


def test_a_build_of_everything_that_died_is_followed_by_another_of_everything(home: Settings) -> None:
    forget(home)
    begin(home, Plan(False, None, "", plan_build(home).state))
    assert plan_build(home).nodes is None


@pytest.mark.parametrize("kept", [False, True])
def test_a_build_that_died_while_dbt_wrote_what_the_next_is_planned_from_is_followed_by_one_of_everything(
    home: Settings, kept: bool
) -> None:
    submit(home, "2")
    for file in ("manifest.json", "run_results.json"):
        path = home.dbt_target / file
        path.write_bytes(path.read_bytes()[:-1_000])
    if kept:
        keep_manifest(home)
        shutil.copy(home.dbt_target / "run_results.json", home.dbt_target / "manifest.json")  # torn after it was kept
    assert plan_build(home).nodes is None
    build(home)
    assert plan_build(home).nodes == ()
    submit(home, "3")
    assert plan_build(home).nodes


def test_a_full_refresh_that_died_is_begun_again(home: Settings) -> None:
    begin(home, plan_build(home, full_refresh=True))
    assert plan_build(home).full_refresh


def test_a_failed_test_is_run_again_until_it_passes(home: Settings) -> None:
    for number in ("2", "3", "4"):
        submit(home, number)
    for _ in range(2):
        with pytest.raises(BuildFailed, match="accepted_values"):
            build(home)


def test_after_a_failed_test_only_what_did_not_pass_is_done_again(home: Settings) -> None:
    for number in ("2", "3", "4"):
        submit(home, number)
    with pytest.raises(BuildFailed):
        build(home)
    nodes = plan_build(home).nodes
    assert nodes is not None
    assert len(nodes) == 1
    assert nodes[0].startswith("accepted_values_of_clients")


def test_urgent_news_reaches_what_somebody_waits_for_and_the_next_build_does_the_rest(home: Settings) -> None:
    submit(home, "2")
    urgent = plan_build(home, urgent=True)
    assert urgent.nodes is not None
    assert {"base_forms__submissions", "of_records", "due"} <= set(urgent.nodes)
    assert "of_clients" not in urgent.nodes
    assert any(name.startswith("unique_of_records") for name in urgent.nodes), "its tests are urgent as well"

    build(home, urgent=True)
    assert rows(home, "select count(*) from follow_up.due") == [(2,)]
    assert rows(home, "select records from intermediate.of_clients") == [(1,)]
    assert build(home, urgent=True).models == 0

    left = plan_build(home).nodes
    assert left == urgent.left
    assert "of_clients" in left
    build(home)
    assert rows(home, "select records from intermediate.of_clients") == [(2,)]
    assert build(home).models == 0


def test_a_manifest_that_was_kept_serves_one_command_and_only_for_the_project_it_was_made_of(
    home: Settings, project: Path
) -> None:
    keep_manifest(home)
    submit(home, "2")
    assert set(build(home).built) == {
        f"model.leadtrail.{name}" for name in ("base_forms__submissions", "of_records", "of_clients", "due")
    }
    keep_manifest(home)
    model = project / "models" / "intermediate" / "of_records.sql"
    model.write_text(OF_RECORDS.replace("first rule", "second rule"))
    build(home)
    assert rows(home, "select distinct made_by from intermediate.of_records") == [("second rule",)]


def test_a_client_whose_time_zone_changed_is_computed_again(home: Settings) -> None:
    directory(home, acme="America/Denver")
    assert plan_build(home).full_refresh


def test_a_new_client_is_no_reason_to_begin_again_unless_it_had_records_before(home: Settings) -> None:
    directory(home, acme="America/Chicago", bolt="America/Chicago")
    assert not plan_build(home).full_refresh
    submit(home, "2", client="coil")
    build(home)
    directory(home, acme="America/Chicago", bolt="America/Chicago", coil="America/Chicago")
    assert plan_build(home).full_refresh


@pytest.mark.parametrize("lose", [drop_warehouse, lambda settings: (settings.home / "built.json").unlink()])
def test_without_a_warehouse_or_a_note_of_what_made_it_everything_is_built(
    home: Settings, lose: Callable[[Settings], None]
) -> None:
    lose(home)
    assert plan_build(home).nodes is None
