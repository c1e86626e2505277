"""What the next build has to do: all of it from landing, all of it building on, or only what news has reached.

    full refresh   the code has changed since the warehouse was built (models, macros, seeds), or what is known of a client has:
                   tables that build on what they hold would keep rows made by the old rule
    everything     the last build did not end well, or somebody else built, or tests or settings have changed
    news           tables that hang on something new, and the tests of all that hangs on it. Views are the same text as before
    urgent news    of these, what the timeline and follow-up hang on: a missed call does not wait for attribution

What was built is noted in the home when a build ends, with what it left or could not do; the next one does that too. What it has
to do is noted when it begins: one that dies is followed by one that leaves nothing out, and one that was to build everything
by another of everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from pipeline.settings import Settings

PROJECT = Path(__file__).parent.parent / "dbt_project"
CODE = (".sql", ".csv")  # what decides rows; .yml describes and tests them
CODE_FOLDERS = ("models", "macros", "seeds")
# unit tests say the same whatever the rows are: they are run when the code is tested, not when a warehouse is built
BUILD = ("build", "--exclude-resource-type", "unit_test")
NEVER = "none"  # no code has this print
FIXED = ("timezone", "joined_on", "high_value_cents")  # what rows made earlier have taken from the clients file
URGENT = ("timeline", "follow_up")  # schemas that somebody waits for


@dataclass(frozen=True)
class Plan:
    """`nodes` are names for dbt to select; None is everything, and none at all is nothing to do. `left` is for the next build."""

    full_refresh: bool
    nodes: tuple[str, ...] | None
    why: str
    state: Mapping[str, Any]  # all that decides what is built, except landing, as it was when the build was planned
    left: tuple[str, ...] = ()


def plan_build(settings: Settings, *, full_refresh: bool = False, urgent: bool = False) -> Plan:
    """The caller holds `sole_writer`."""
    built, now = _read(settings), _state(settings)
    if full_refresh:
        return Plan(True, None, "it was asked for", now)
    if not settings.warehouse.exists():
        return Plan(False, None, "there is no warehouse yet", now)
    if built.get("code") != now["code"]:
        return Plan(True, None, "models, macros or seeds are not those the warehouse was built with", now)
    if changed := _changed_clients(built.get("clients", {}), now["clients"]):
        return Plan(
            True, None, f"the time zone, joining day or high value of {', '.join(changed[:5])} has changed", now
        )
    try:
        with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
            return _build_on(settings, warehouse, built, now, urgent)
    except duckdb.Error:  # dbt will say what is wrong with it
        return Plan(False, None, "the warehouse cannot be read", now)


def begin(settings: Settings, plan: Plan) -> None:
    """Note that a build is under way, and what it has to do: if it dies, the next one does that. A full refresh that dies halfway
    has left tables of both kinds."""
    if plan.nodes is not None:
        with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
            number = _build_number(warehouse)
        begun = {"build": number, "begun": number + 1, "under_way": plan.nodes, "pending": plan.left}
        _write(settings, {**plan.state, **begun})
        return
    code = NEVER if plan.full_refresh and settings.warehouse.exists() else plan.state["code"]
    _write(settings, {"code": code, "clients": plan.state["clients"]})


def finish(settings: Settings, plan: Plan, ended: Mapping[str, bool]) -> None:
    """Note how the build ended: for each node's name, whether it was built or passed. What did not is done by the next one."""
    if plan.full_refresh and not all(ended.values()):
        return  # tables of both kinds: it is begun again
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        number = _build_number(warehouse)
    pending = sorted({*plan.left, *(name for name, ok in ended.items() if not ok)})
    _write(settings, {**plan.state, "build": number, "pending": pending})


def forget(settings: Settings) -> None:
    _note(settings).unlink(missing_ok=True)


def read_manifest(settings: Settings) -> Any:
    """What dbt last wrote of the project. None if nothing is there, or half a file: dbt died while it wrote it."""
    try:
        return json.loads((settings.dbt_target / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def files_of(project: Path) -> Iterable[Path]:
    """What the project is made of, in order."""
    for path in sorted(project.rglob("*")):
        if path.suffix in (".sql", ".yml", ".csv") and "target" not in path.relative_to(project).parts:
            yield path


def print_of_project() -> str:
    """Changes with the project's files and with dbt: what was parsed under another print is not what is there."""
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-duckdb')}".encode())
    for path in files_of(PROJECT):
        digest.update(f"{path.relative_to(PROJECT)}\x00".encode() + path.read_bytes())
    return digest.hexdigest()


# ---- what has changed ----


def _build_on(
    settings: Settings,
    warehouse: duckdb.DuckDBPyConnection,
    built: Mapping[str, Any],
    now: Mapping[str, Any],
    urgent: bool,
) -> Plan:
    if new := sorted(now["clients"].keys() - built.get("clients", {}).keys()):
        known = _known_clients(warehouse, new)
        if known:
            return Plan(True, None, f"{', '.join(known[:5])} had records before it was among the clients", now)
    graph = read_manifest(settings)
    if _build_number(warehouse) not in (built.get("build"), built.get("begun")) or graph is None:
        return Plan(False, None, "the last build did not end well, or was not of everything", now)
    if built.get("project") != now["project"]:
        return Plan(False, None, "tests or settings have changed", now)
    changed = {
        f"leadtrail.{name}" for name, print_ in now["directory"].items() if print_ != built["directory"].get(name)
    }
    changed |= _streams_with_news(settings.landing, warehouse)
    died = set(built.get("under_way", ()))  # some of it was built and not tested: that is not left for later
    todo = _reached(graph, changed) | set(built.get("pending", ())) | died
    first = todo & (_urgent(graph) | died) if urgent else todo
    why = f"{'urgent ' if urgent else ''}news of {len(changed)} sources"
    return Plan(False, tuple(sorted(first)), why, now, tuple(sorted(todo - first)))


def _streams_with_news(landing: Path, warehouse: duckdb.DuckDBPyConnection) -> set[str]:
    """`provider.stream` of those with a segment that their base model has not read."""
    read: dict[str, set[str]] = {}
    for model, segment in warehouse.execute("select model, segment from landing.loaded_segments").fetchall():
        read.setdefault(model, set()).add(segment)
    news = set()
    for folder in landing.glob("*/*/"):
        name = f"{folder.parent.name}/{folder.name}"
        known = read.get(f"base_{folder.parent.name}__{folder.name}", set())
        if any(f"{name}/{path.name}" not in known for path in folder.glob("*.parquet")):
            news.add(name.replace("/", "."))
    return news


def _reached(manifest: Mapping[str, Any], changed: set[str]) -> set[str]:
    """Names of the tables and tests downstream of the changed sources."""
    children, nodes = manifest["child_map"], manifest["nodes"]
    todo = [one for one in manifest["sources"] if one.split(".", 2)[2] in changed]
    seen: set[str] = set()
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += children.get(one, ())
    return {
        node["name"]
        for node in (nodes[one] for one in seen if one in nodes)
        if node["resource_type"] == "test"
        or (node["resource_type"] == "model" and node["config"]["materialized"] not in ("view", "ephemeral"))
    }


def _urgent(manifest: Mapping[str, Any]) -> set[str]:
    """Names of what somebody waits for, of all it is made from, and of the tests that need nothing else."""
    parents, nodes = manifest["parent_map"], manifest["nodes"]
    todo = [one for one, node in nodes.items() if node["resource_type"] == "model" and node["schema"] in URGENT]
    seen: set[str] = set()
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += parents.get(one, ())
    tests = {
        one for one, node in nodes.items() if node["resource_type"] == "test" and seen.issuperset(parents.get(one, ()))
    }
    return {nodes[one]["name"] for one in seen | tests if one in nodes}


def _changed_clients(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(client for client, facts in before.items() if now.get(client) != facts)


def _known_clients(warehouse: duckdb.DuckDBPyConnection, clients: list[str]) -> list[str]:
    """Which of them have records already."""
    query = "select distinct client_id from intermediate.int_records where client_id in (select unnest(?)) order by 1"
    return [client for (client,) in warehouse.execute(query, [clients]).fetchall()]


def _build_number(warehouse: duckdb.DuckDBPyConnection) -> int:
    row = warehouse.execute("select max(build) from landing.builds").fetchone()
    return int(row[0]) if row and row[0] is not None else 0


# ---- the note ----


def _note(settings: Settings) -> Path:
    return settings.home / "built.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        return dict(json.loads(_note(settings).read_text()))
    except (OSError, ValueError):
        return {}


def _write(settings: Settings, state: Mapping[str, Any]) -> None:
    temporary = _note(settings).with_suffix(".tmp")
    temporary.write_text(json.dumps(state))
    temporary.replace(_note(settings))


def _state(settings: Settings) -> dict[str, Any]:
    """All that decides what a build makes, except landing."""
    engine = f"{version('dbt-core')} {version('dbt-duckdb')} {version('duckdb')}"
    code = hashlib.sha256()
    project = hashlib.sha256(f"{engine} {settings.home}".encode())  # views name the home
    for path in files_of(PROJECT):
        inside = path.relative_to(PROJECT)
        content = f"{inside}\x00".encode() + path.read_bytes()
        project.update(content)
        if (inside.parts[0] in CODE_FOLDERS and path.suffix in CODE) or inside.name == "dbt_project.yml":
            code.update(content)
    directory, clients = settings.home / "directory", {}
    prints = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.parquet"))}
    if "clients" in prints:
        rows = pq.read_table(directory / "clients.parquet").to_pylist()
        clients = {row["client_id"]: [row.get(name) for name in FIXED] for row in rows}
    return {"code": code.hexdigest(), "project": project.hexdigest(), "clients": clients, "directory": prints}
