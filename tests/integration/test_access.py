"""What a client may see is made of figures, never of a lead, a person or a record: dbt refuses anything else before it builds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.manifest import manifest_path
from pipeline.settings import Settings
from pipeline.warehouse import PROJECT, dbt_environment

SAFE = "models/marts/client_safe/safe_leads.sql"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    read: dict[str, Any] = json.loads(manifest_path(Settings.from_env({"LEADTRAIL_HOME": str(home)})).read_bytes())
    return read


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the dbt project, to offend in."""
    copy = tmp_path_factory.mktemp("project") / "dbt_project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))
    (copy / SAFE).parent.mkdir(exist_ok=True)
    return copy


def parse(project: Path, sql: str) -> tuple[bool, str]:
    """Parse the project with this client-safe model in it: whether dbt takes it, and what it says."""
    (project / SAFE).write_text(sql)
    settings = Settings.from_env({"LEADTRAIL_HOME": str(project.parent / "home")})
    environment = {**os.environ, **dbt_environment(settings), "DBT_PROJECT_DIR": str(project)}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), "parse"], env=environment, capture_output=True, text=True
    )
    return done.returncode == 0, " ".join(done.stdout.split())


@pytest.mark.parametrize("read", ["ref('fct_lead_events')", "source('leadtrail', 'clients')"])
def test_a_client_safe_model_that_reads_an_internal_one_does_not_parse(project: Path, read: str) -> None:
    passes, said = parse(project, f"select client_id from {{{{ {read} }}}}")
    assert not passes
    assert "safe_leads is client-safe and may not read" in said


def test_an_intermediate_model_stays_private_even_if_listed_by_mistake_and_listed_figures_do_not(project: Path) -> None:
    settings = project / "dbt_project.yml"
    settings.write_text(
        settings.read_text().replace("client_safe_may_read:\n", "client_safe_may_read:\n    - int_leads\n")
    )
    (project / SAFE).with_name("safe_figures.sql").write_text("select client_id from {{ ref('fct_metrics') }}")
    passes, said = parse(project, "select client_id from {{ ref('int_leads') }}")
    assert not passes
    assert "safe_leads attempted to reference node model.leadtrail.int_leads" in said
    assert "private to the 'internal' group" in said
    assert "safe_figures" not in said


def test_every_model_is_internal_unless_its_folder_says_that_clients_may_see_it(manifest: dict[str, Any]) -> None:
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) > 100
    for model in models:
        is_safe = "client_safe" in model["fqn"][1:-1]
        assert model["config"]["group"] == ("client_safe" if is_safe else "internal"), model["name"]
        assert (model["schema"] == "client_safe") == is_safe, model["name"]
        assert (model["access"] == "private") == (model["fqn"][1] in ("staging", "intermediate")), model["name"]


def test_what_clients_may_be_shown_names_no_lead_person_or_record(manifest: dict[str, Any]) -> None:
    named = {"lead_id", "person_id", "event_id", "record_id", "phone", "email", "name", "text"}
    project = (PROJECT / "dbt_project.yml").read_text()
    listed = project.partition("client_safe_may_read:\n")[2].partition("\n  #")[0]
    may_read = [line.strip(" -") for line in listed.splitlines()]
    nodes = {node["name"]: node for node in manifest["nodes"].values()}
    assert len(may_read) > 5
    for name in may_read:
        assert not named & set(nodes[name]["columns"]), name


SAFE_COLUMNS = {
    "safe_periods": "client_id kind period_start period_end",
    "safe_figures": "figure_id client_id kind period_start figure part unit currency value k leaves_out_few is_suppressed "
    "suppressed_because data_until",
    "safe_improvement": "figure_id client_id metric unit better is_headline verdict label joined_on matched_months before_value "
    "after_value difference_low difference_high k is_suppressed data_until",
    "safe_sources": "source_key client_id provider state data_until",
}


def test_client_safe_models_hold_the_listed_columns_and_can_hold_no_other(manifest: dict[str, Any]) -> None:
    """No id of a lead, a person or a record, and no words of customers: a new column is somebody's decision, here."""
    safe = {node["name"]: node for node in manifest["nodes"].values() if "client_safe" in node["fqn"][1:-1]}
    safe = {name: node for name, node in safe.items() if node["resource_type"] == "model"}
    assert {name: " ".join(node["columns"]) for name, node in safe.items()} == SAFE_COLUMNS
    assert [name for name, node in safe.items() if not node["contract"]["enforced"]] == []
    assert [name for name, node in safe.items() if node["config"]["materialized"] != "table"] == []


def test_every_mart_has_a_reader_and_every_reader_an_owner(manifest: dict[str, Any]) -> None:
    exposures = manifest["exposures"].values()
    read = {node for exposure in exposures for node in exposure["depends_on"]["nodes"]}
    marts = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["fqn"][1] == "marts"
    ]
    assert [mart["name"] for mart in marts if mart["unique_id"] not in read] == []
    assert {"analysts", "follow_up", "desk", "client_portal"} <= {exposure["name"] for exposure in exposures}
    assert all(exposure["owner"]["name"] and exposure["description"] for exposure in exposures)
