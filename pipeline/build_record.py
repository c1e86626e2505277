"""What the last build came to, in `published/last_build.json`: nobody needs the warehouse to know whose figures are wrong.

A build that fails for one client is not published for anyone (there is one warehouse). The record says for whom it failed, so
that what is sent out can pause for those clients alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.settings import Settings

_FAILED = ("error", "fail", "runtime error")


@dataclass(frozen=True)
class Failure:
    """A test or model that failed. `clients` is None when it cannot be told whose rows are wrong: then it may be anybody's."""

    node: str
    name: str
    kind: str
    model: str
    rows: int | None
    clients: tuple[str, ...] | None
    message: str
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind != "test" or self.rows is None:
            return f"{self.name}: {self.message}"
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        whose = "whose cannot be told" if self.clients is None else f"clients: {', '.join(self.clients)}"
        return f"{self.name} failed: {rows}, {whose}"


@dataclass(frozen=True)
class BuildRecord:
    """`build` is the warehouse's own number. `published` is what people read; `is_published`: it is this build's."""

    build: int
    finished_at: str
    failures: tuple[Failure, ...] = ()
    published: str = ""
    published_at: str = ""
    is_published: bool = False

    @property
    def ok(self) -> bool:
        return not self.failures

    def why(self) -> str:
        """For a person: what failed, and for which client."""
        more = [f"and {len(self.failures) - 20} more"] if len(self.failures) > 20 else []
        return "\n  - ".join(
            ["The build failed; what is published stays as it was.", *map(str, self.failures[:20]), *more]
        )

    @property
    def clients(self) -> set[str] | None:
        """Whose figures failed a test. None: anybody's may have."""
        if any(failure.clients is None for failure in self.failures):
            return None
        return {client for failure in self.failures for client in failure.clients or ()}


def last_build(settings: Settings) -> BuildRecord | None:
    """None before the first build."""
    try:
        read = json.loads(_path(settings).read_text())
    except FileNotFoundError:
        return None
    read.pop("ok")
    failures = tuple(
        Failure(
            **{
                **one,
                "clients": None if one["clients"] is None else tuple(one["clients"]),
                "tags": tuple(one.get("tags", ())),
            }
        )
        for one in read.pop("failures")
    )
    return BuildRecord(**read, failures=failures)


def save(settings: Settings, record: BuildRecord) -> None:
    """Replaced as a whole: a reader sees the old record or the new one."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"ok": record.ok, **asdict(record)}, indent=2) + "\n")
    os.replace(temporary, path)


def note_build(
    settings: Settings,
    target: Path,
    *,
    in_part: bool,
    planned: bool = False,
    problem: str = "",
    results: Sequence[Mapping[str, Any]] | None = None,
) -> BuildRecord:
    """Record a build that has ended, from its results or, without them, what dbt left in its target folder. One that was
    `planned` has done what earlier ones that died had left undone. `problem` is why dbt could not even start. The caller holds
    the warehouse, and dbt has let go of it."""
    before = last_build(settings) or BuildRecord(0, "")
    results = None if problem else results if results is not None else _results(target)
    number = before.build if results is None else build_number(settings)
    failed = [result for result in results or () if result["status"] in _FAILED]
    failures = _failures(settings, target, failed) if failed else []
    if results is None:
        failures.append(_of_dbt(problem or "it ended before it had built anything"))
    if in_part or results is None:  # what was not looked at this time is as good as it was before
        ran = {result["unique_id"] for result in results or () if result["status"] != "skipped"}
        failures += [one for one in before.failures if one.node not in ran and one not in failures]
        if number - before.build > 1 and not planned:
            failures.append(_of_dbt(f"build {number - 1} never ended; build everything once: `leadtrail build`"))
    record = replace(
        before,
        build=number,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        failures=tuple(failures),
        is_published=False,
    )
    save(settings, record)
    return record


def build_number(settings: Settings) -> int:
    """How many builds have been started on this warehouse file."""
    if not settings.warehouse.exists():
        return 0
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        try:
            row = connection.execute("select max(build) from landing.builds").fetchone()
        except duckdb.CatalogException:
            return 0
    return (row and row[0]) or 0


def _path(settings: Settings) -> Path:
    return settings.published / "last_build.json"


def _results(target: Path) -> list[dict[str, Any]] | None:
    try:
        results: list[dict[str, Any]] = json.loads((target / "run_results.json").read_text())["results"]
    except (FileNotFoundError, ValueError):  # none, or half a file: dbt died while it wrote it
        return None
    return results


def _of_dbt(message: str) -> Failure:
    """dbt itself failed: no node did, and nobody's rows can be named."""
    return Failure(node="", name="dbt", kind="build", model="", rows=None, clients=None, message=message)


def _failures(settings: Settings, target: Path, failed: Sequence[Mapping[str, Any]]) -> list[Failure]:
    manifest = json.loads((target / "manifest.json").read_text())
    nodes = {**manifest["nodes"], **manifest["unit_tests"]}
    failures = []
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        for result in failed:
            node = nodes[result["unique_id"]]
            is_test = node["resource_type"] == "test"
            model = (
                nodes.get(node.get("attached_node") or _only(node["depends_on"]["nodes"]) or "") if is_test else None
            )
            clients = _clients(connection, result["compiled_code"], node, model) if is_test else None
            failures.append(
                Failure(
                    node=result["unique_id"],
                    name=node["name"],
                    kind=node["resource_type"].replace("_", " "),
                    model=model["name"] if model else "" if is_test else node.get("model") or node["name"],
                    rows=result["failures"] if is_test and result["status"] == "fail" else None,
                    clients=clients,
                    message=(result["message"] or result["status"]).strip(),
                    tags=tuple(node.get("tags", ())),
                )
            )
    return failures


def _clients(
    connection: duckdb.DuckDBPyConnection, sql: str | None, test: Mapping[str, Any], model: Mapping[str, Any] | None
) -> tuple[str, ...] | None:
    """Whose rows a data test found. Tests of a column return its values: their clients are looked up in the model. Its SQL
    is dbt's own, run once more."""
    if not sql:
        return None
    try:
        found = connection.execute(f"select * from ({sql}) limit 0").description or []  # noqa: S608
        columns = [column[0] for column in found]
        if "client_id" in columns:
            named = f"select distinct client_id from ({sql}) order by 1"  # noqa: S608
        elif model and test.get("column_name"):
            named = (
                "select distinct client_id "  # noqa: S608
                f"from (select client_id, {test['column_name']} as value from {model['relation_name']}) as rows "
                f"semi join (select {_quoted(columns[0])} as value from ({sql})) as failed "
                "on rows.value is not distinct from failed.value order by 1"
            )
        else:
            return None
        return tuple(row[0] if row[0] is not None else "?" for row in connection.execute(named).fetchall()) or None
    except duckdb.Error:
        return None  # the model has no client_id, or the test's SQL does not run


def _only(names: Collection[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
