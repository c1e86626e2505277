"""The house keeps its own rules: models, sources, settings. (Which way imports may go is checked by `lint-imports`.)"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from connectors.registry import CONNECTORS, connector_class
from pipeline.follow_up.causes.privacy import TAG
from pipeline.manifest import manifest_path
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
# models about the raw records themselves, whatever they say; and a form that is sent twice is told by its raw fields
ABOUT_RECORDS = ("quarantine", "source_coverage", "int_records", "int_events__forms")
OWN = "leadtrail"  # what people decide and what was frozen lands like records, but no connector brings it
STREAMS = {(name, stream.name): stream for name in CONNECTORS for stream in connector_class(name).streams}

# ---- models ----


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    read: dict[str, Any] = json.loads(manifest_path(Settings.from_env({"LEADTRAIL_HOME": str(home)})).read_bytes())
    return read


@pytest.fixture(scope="module")
def models(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By name."""
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def test_checks_of_privacy_are_tagged_so_that_a_hold_follows(manifest: Mapping[str, Any]) -> None:
    tagged = {node["name"] for node in manifest["nodes"].values() if TAG in node["tags"]}
    assert tagged == {
        "what_is_said_of_problems_holds_no_personal_data",
        "what_clients_may_be_told_speaks_of_five_people_or_more",
    }


def staged(models: Mapping[str, Mapping[str, Any]], prefix: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(name, provider, model) of the staging models whose name starts so."""
    for name, model in models.items():
        if name.startswith(prefix):
            yield name, name.removeprefix(prefix).partition("__")[0], model


def needs(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, name) of what a model reads."""
    return [(kind, name) for kind, _, name in (node.split(".", 2) for node in model["depends_on"]["nodes"])]


def test_every_model_says_what_one_row_is(models: Mapping[str, Mapping[str, Any]]) -> None:
    assert len(models) > 60
    assert [name for name, model in models.items() if "One row per " not in model["description"]] == []


def test_staging_models_are_named_and_filed_by_provider(models: Mapping[str, Mapping[str, Any]]) -> None:
    found = 0
    for name, model in models.items():
        if not model["path"].startswith("staging/"):
            assert not name.startswith(("stg_", "base_")), name
            continue
        found += 1
        _, provider, *rest = Path(model["path"]).parts
        prefix = "base_" if rest[0] == "base" else "stg_"
        assert name.startswith(f"{prefix}{provider}__"), name
        assert provider in (*CONNECTORS, OWN)
        assert rest[-1] == f"{name}.sql"
    assert found > 60


def test_staging_reads_sources_through_base_models_and_nothing_else(models: Mapping[str, Mapping[str, Any]]) -> None:
    for name, provider, model in staged(models, "base_"):
        stream = name.partition("__")[2]
        assert needs(model) == [("source", f"{provider}.{stream}")], name
    for name, provider, model in staged(models, "stg_"):
        assert needs(model), name
        for kind, read in needs(model):
            assert (kind, read.startswith(f"base_{provider}__")) == ("model", True), f"{name} reads {read}"


def test_above_staging_nothing_reads_raw_records(models: Mapping[str, Mapping[str, Any]]) -> None:
    """But for the models about the raw records themselves. What the agency says of itself is a source of its own."""
    for name, model in models.items():
        if model["path"].startswith("staging/") or name in ABOUT_RECORDS:
            continue
        for kind, read in needs(model):
            assert not read.startswith("base_"), f"{name} reads {read}"
            assert kind != "source" or read.startswith("leadtrail."), f"{name} reads {read}"


def test_every_staging_model_has_one_tested_key(
    manifest: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]
) -> None:
    tested: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and node.get("test_metadata") and node.get("attached_node"):
            assert node["config"]["enabled"]
            model = node["attached_node"].split(".")[-1]
            tested[model][node["test_metadata"]["name"]].add(node["column_name"])
    keyed = {name: tested[name]["is_key"] for name, _, _ in staged(models, "stg_")}
    assert keyed
    assert [name for name, keys in keyed.items() if not keys] == []


def test_the_sources_are_exactly_the_streams_in_the_same_words(manifest: Mapping[str, Any]) -> None:
    sources = {
        (node["source_name"], node["name"]): node["description"].strip()
        for node in manifest["sources"].values()
        if node["source_name"] != "leadtrail"
    }
    assert sources.keys() == STREAMS.keys()
    differ = {
        key: (sources[key], STREAMS[key].description) for key in sources if sources[key] != STREAMS[key].description
    }
    assert differ == {}


def test_every_stream_has_a_base_model_and_the_list_of_them_is_complete(models: Mapping[str, Any]) -> None:
    macro = (ROOT / "dbt_project" / "macros" / "base_models.sql").read_text()
    listed = re.findall(r"^ +'(base_\w+)',$", macro, re.MULTILINE)
    assert sorted(listed) == sorted(name for name in models if name.startswith("base_"))
    of_providers = [name for name in listed if not name.startswith(f"base_{OWN}__")]
    assert sorted(of_providers) == sorted(f"base_{provider}__{stream}" for provider, stream in STREAMS)


# ---- connectors ----


@pytest.mark.parametrize("name", CONNECTORS)
def test_a_connector_says_what_it_is(name: str) -> None:
    connector = connector_class(name)
    assert connector.provider == name
    assert connector.title
    assert len({stream.name for stream in connector.streams}) == len(connector.streams)
    for stream in connector.streams:
        assert stream.description.endswith("."), stream.name
    pulls = any(stream.arrives == "pull" for stream in connector.streams)
    assert bool(connector.cron) == (pulls or bool(connector.rereads))
    module = importlib.import_module(f"connectors.{name}")
    documented = module.__doc__ or importlib.import_module(f"connectors.{name}.connector").__doc__ or ""
    assert len(documented) > 200, "the module says what it reads and which facts of the provider shaped it"


# ---- settings ----


def settings_read() -> set[str]:
    in_settings = set(re.findall(r'"(LEADTRAIL_[A-Z_]+[A-Z])"', (ROOT / "pipeline" / "settings.py").read_text()))
    options = {name: {field.name for field in fields(connector_class(name).Options)} for name in CONNECTORS}
    overrides = {
        f"LEADTRAIL_{name}_{option}".upper()
        for name, known in options.items()
        for option in ("base_url", "token_url")
        if option in known
    }
    return in_settings | overrides


def test_the_example_lists_exactly_the_settings_that_are_read() -> None:
    example = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^(?:# )?(LEADTRAIL_[A-Z_]+)=", example, re.MULTILINE)
    assert sorted(listed) == sorted(settings_read())


def test_no_setting_is_read_behind_the_settings_back() -> None:
    """What is said in code or dbt of a setting is in the example too; LEADTRAIL_SANDBOX is the demo's own, between processes."""
    suffixes = {".py", ".sql", ".yml", ".yaml", ".md"}
    known = settings_read() | {"LEADTRAIL_SANDBOX"}
    for folder in ("pipeline", "connectors", "dbt_project", "docs"):
        for path in (ROOT / folder).rglob("*"):
            made_up = path.name == "adding-a-provider.md"  # its provider does not exist
            if path.suffix in suffixes and path.is_file() and not made_up:
                said = set(re.findall(r"\bLEADTRAIL_[A-Z_]+[A-Z]\b", path.read_text()))
                assert said - known == set(), path
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")]:
        for read in re.findall(
            r"os\.(?:environ\.get|getenv)\(\"([A-Z_]+)|os\.environ\[\"([A-Z_]+)\"\](?! =)", path.read_text()
        ):
            assert not "".join(read).startswith("LEADTRAIL_"), f"{path} reads {read}"


# ---- files ----


def kept_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_knows_the_machine_it_was_written_on_or_where_packages_came_from() -> None:
    folders = "|".join(["home", "Users", "workspace", "work", "root"])
    machine = re.compile(rf"(?<![\w.}}/:-])/(?:{folders})/[a-z.]\w+")
    for path in kept_files():
        content = path.read_text(errors="replace")
        found = machine.search(content)
        assert not found, f"{path.relative_to(ROOT)}: {found and found[0]}"
        if path.name in ("requirements.lock", "pyproject.toml"):
            assert not re.search(r"index-url|find-links|https?://", content), path.name


def test_the_lock_file_has_every_direct_dependency_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=~! ]", one)[0].lower().replace("_", "-") for one in wanted}
    lock = (ROOT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==\S+.*\\\n +(--hash=sha256:)", lock, re.MULTILINE))
    assert names - pinned.keys() == set()
