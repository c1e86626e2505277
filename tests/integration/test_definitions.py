"""What analysts see in Dagster: every stream, every model, named, described, owned, checked and scheduled."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from connectors.registry import CONNECTORS, connector_class, reads_from
from pipeline.automation import LOOK_SECONDS
from pipeline.dagster_home import CONFIG
from pipeline.tags import BACKGROUND

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.Definitions]:
    """Loaded as a code location does, in a home without clients or secrets."""
    home = tmp_path_factory.mktemp("home")
    before = dict(os.environ)
    os.environ["LEADTRAIL_HOME"] = str(home)
    from pipeline.definitions import defs

    yield defs
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_each_stream_of_each_provider_is_one_asset_in_its_providers_group(specs: dict[str, dg.AssetSpec]) -> None:
    for provider in CONNECTORS:
        for stream in connector_class(provider).streams:
            spec = specs[f"{provider}/{stream.name}"]
            assert spec.group_name == provider
            assert stream.description in (spec.description or "")
            assert spec.owners
            assert spec.kinds


def test_every_base_model_hangs_on_its_providers_raw_asset_without_glue(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for provider in CONNECTORS:
        for stream in connector_class(provider).streams:
            base = dg.AssetKey(["staging", f"base_{provider}__{stream.name}"])
            assert dg.AssetKey([provider, stream.name]) in graph.get(base).parent_keys


def test_every_model_says_its_grain_and_who_owns_it(specs: dict[str, dg.AssetSpec]) -> None:
    models = {name: spec for name, spec in specs.items() if name.split("/")[0] in ("staging", "operations")}
    assert len(models) > 70
    for name, spec in models.items():
        if name != "operations/published_warehouse":
            assert "One row per" in (spec.description or ""), name
        assert spec.owners, name
        assert spec.group_name not in ("", "default"), name


def test_dbt_tests_are_asset_checks_on_the_models_they_test(definitions: dg.Definitions) -> None:
    keys = {str(key) for key in definitions.resolve_asset_graph().asset_check_keys}
    assert any("is_key_stg_callrail__calls_record_key" in key for key in keys)
    assert any("is_key_stg_hubspot__contacts_record_key" in key for key in keys)


def test_each_provider_has_a_schedule_that_runs_by_itself_at_its_own_pace(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    for provider in filter(reads_from, CONNECTORS):
        schedule = schedules[f"{provider}_schedule"]
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        if connector_class(provider).cron:
            assert schedule.cron_schedule == connector_class(provider).cron
    assert schedules["callrail_schedule"].cron_schedule == "*/15 * * * *"
    assert schedules["quickbooks_schedule"].cron_schedule.endswith("* * * *")
    assert schedules["search_console_schedule"].cron_schedule.split()[2:] == ["*", "*", "*"]


def test_only_one_build_may_write_the_warehouse(definitions: dg.Definitions) -> None:
    pools = {
        node.name: node.pool
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition) and assets.node_def
        for node in [assets.node_def]
    }
    assert pools["warehouse"] == "warehouse"
    assert pools["operations__published_warehouse"] == "warehouse"
    assert pools["follow_up__news"] == "warehouse"


def test_follow_up_is_five_assets_in_one_job_that_goes_first_and_builds_nothing_else(
    definitions: dg.Definitions, specs: dict[str, dg.AssetSpec]
) -> None:
    job = definitions.resolve_job_def("follow_up_now")
    keys = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert keys == {f"follow_up/{name}" for name in ("news", "steps_due", "tasks", "deliveries", "outcomes")}
    assert job.executor_def is dg.in_process_executor, "a process for each step would take seconds"
    assert int(job.tags["dagster/priority"]) > 0
    for key in keys:
        assert specs[key].group_name == "follow_up"
        assert specs[key].owners
        assert specs[key].kinds
        assert len(specs[key].description or "") > 80, "written for people who know the business"
    graph = definitions.resolve_asset_graph()
    assert (
        dg.AssetKey(["follow_up", "fct_follow_up_steps"])
        in graph.get(dg.AssetKey(["follow_up", "steps_due"])).parent_keys
    )
    built = definitions.resolve_job_def("build_warehouse").asset_layer.selected_asset_keys
    assert not {key.to_user_string() for key in built} & keys


def test_what_nobody_waits_for_runs_in_the_background_and_leaves_room_for_what_somebody_does(
    definitions: dg.Definitions,
) -> None:
    jobs = [f"sync_{provider}" for provider in filter(reads_from, CONNECTORS)] + ["build_news", "build_warehouse"]
    assert all(BACKGROUND in definitions.resolve_job_def(name).tags for name in jobs)
    assert BACKGROUND not in definitions.resolve_job_def("follow_up_now").tags
    runs = yaml.safe_load(CONFIG)["concurrency"]["runs"]
    (limit,) = runs["tag_concurrency_limits"]
    assert limit["key"] == BACKGROUND
    assert limit["limit"] < runs["max_concurrent_runs"]


def test_follow_up_has_a_sensor_and_a_schedule_beneath_it_that_run_by_themselves(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert set(sensors) == {"follow_up_sensor", "decisions_sensor", "failures_sensor"}
    assert all(sensor.default_status == dg.DefaultSensorStatus.RUNNING for sensor in sensors.values())
    assert LOOK_SECONDS < 20, "Dagster ends a tick after a minute"
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    assert schedules["follow_up_schedule"].cron_schedule == "*/5 * * * *"
    assert schedules["build_schedule"].job_name == "build_news"


def test_one_clients_failure_never_fails_the_others_and_the_run_names_it(
    definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    from connectors.sandbox.run import start_sandbox

    handle = start_sandbox(
        port=0,
        seed=3,
        clients=2,
        months=1,
        leads_per_month=5,
        end=datetime(2026, 11, 1, tzinfo=UTC),
        providers=["twilio"],
    )
    try:
        for name, value in handle.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LEADTRAIL_HOME", str(tmp_path))
        first, second = (client.client_id for client in handle.town.clients)
        secrets = Path(handle.env["LEADTRAIL_SECRETS_FILE"])
        broken = first.upper().replace("-", "_") + "_TWILIO_AUTH_TOKEN"
        monkeypatch.setenv(broken, "0" * 32)
        assert broken in secrets.read_text()
        with dg.instance_for_test() as instance:
            result = definitions.resolve_job_def("sync_twilio").execute_in_process(instance=instance)
    finally:
        handle.stop()
    assert result.success
    check = next(one for one in result.get_asset_check_evaluations() if one.asset_key.path[-1] == "messages")
    assert not check.passed
    assert list(check.metadata) == [first]
    assert "needs_person" in str(check.metadata[first].value)
    landed = next(
        event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.materialization.asset_key.path == ["twilio", "messages"]
    )
    assert landed["unfinished_clients"].value == 1
    assert int(str(landed["new_records"].value)) > 0, f"{second} is complete"


def test_a_code_location_loads_in_seconds_because_the_manifest_is_parsed_once(
    definitions: dg.Definitions, tmp_path: Path
) -> None:
    from pipeline.manifest import manifest_path
    from pipeline.settings import Settings

    environment = {**os.environ, "LEADTRAIL_HOME": str(tmp_path)}
    manifest = manifest_path(Settings.from_env(environment))
    made_at = manifest.stat().st_mtime_ns
    started = time.monotonic()
    code = "import sys; import pipeline.definitions; print('dbt.parser.manifest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert manifest.stat().st_mtime_ns == made_at
    assert time.monotonic() - started < 20, "seconds on an idle machine; the margin is for a busy one"


def test_the_workspace_file_names_the_definitions() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["module_name"] == "pipeline.definitions"
