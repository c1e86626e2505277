"""Which column comes from which: read off the compiled SQL once for each version of a model, then kept.

dagster-dbt can do this too, but works it out again at every build; here it is cached under the SQL's own hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.landing import SCHEMA

log = logging.getLogger("leadtrail.lineage")

_VALUES = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\b\d+\b")  # and comments, in which an apostrophe means nothing
_AMONG = re.compile(r"[\w.\"]+ in \(0(?:\s*,\s*0)*\)")  # where nothing is new, a build asks for `false`
Parents = dict[str, list[tuple[str, str]]]
"""Column -> (relation "schema.table" or source "provider.stream", column) it is made of."""


def parents_of(
    node: Mapping[str, Any], columns: list[str], compiled: str, tables: Mapping[str, Any], cache: Path
) -> Parents:
    """The parents of a model's columns. `tables`: {schema: {table: {column: type}}} of the warehouse."""
    name = str(node["name"])
    compiled = compiled.replace(
        '__fresh"."', '"."'
    )  # what a model has just made of the same rows (macros/handed_on.sql)
    if name.startswith("base_"):
        return _from_landing(name, columns)
    # values differ from build to build (how far a model has come, and what is new), and no column hangs on them
    same = node.get("raw_code", "") + _AMONG.sub("false", _VALUES.sub("0", compiled))
    path = cache / f"{name}-{hashlib.sha256(same.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_read_off(name, compiled, tables)))
    kept = json.loads(path.read_text())
    return {column: [(parent, of) for parent, of in parents] for column, parents in kept.items()}


def _from_landing(name: str, columns: list[str]) -> Parents:
    """Base models are one macro: envelope columns pass through, everything else is read out of the payload."""
    source = name.removeprefix("base_").replace("__", ".", 1)
    envelope = set(SCHEMA.names)
    made_of = {
        "record_key": ["client_id", "record_id"],
        "is_absent": ["via", "received_at"],
        "absent_since": ["via", "received_at"],
    }
    return {
        column: [(source, of) for of in made_of.get(column, [column if column in envelope else "payload"])]
        for column in columns
    }


def _read_off(name: str, compiled: str, tables: Mapping[str, Any]) -> Parents:
    import sqlglot  # here, because only a changed model needs it
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    try:
        query = qualify(
            sqlglot.parse_one(compiled.replace('"warehouse".', ""), dialect="duckdb"),
            schema=dict(tables),
            dialect="duckdb",
            validate_qualify_columns=False,
        )
        scope = build_scope(query)
        return {column: sorted(_leaves(scope, i, {})) for i, column in enumerate(query.named_selects)}
    except SqlglotError as error:
        log.warning("the column lineage of %s could not be read off: %s", name, error)
        return {}


def _leaves(scope: Any, number: int, known: dict[tuple[int, int], set[tuple[str, str]]]) -> set[tuple[str, str]]:
    """The table columns that the scope's column `number` is made of, through its subqueries and unions."""
    from sqlglot import exp

    key = (id(scope), number)
    if key in known:
        return known[key]
    known[key] = found = set()
    for branch in scope.set_operation_scopes or []:
        found |= _leaves(branch, number, known)
    selects = scope.expression.selects
    if scope.set_operation_scopes or number >= len(selects):
        return found
    for column in selects[number].find_all(exp.Column):
        found |= _origin(scope, column, known)
    return found


def _origin(scope: Any, column: Any, known: dict[tuple[int, int], set[tuple[str, str]]]) -> set[tuple[str, str]]:
    from sqlglot import exp

    source = scope.sources.get(column.table)
    if isinstance(source, exp.Table):
        return {(f"{source.db}.{source.name}", column.name)}
    if source is None:
        return set()
    if isinstance(source.expression, exp.Lateral):  # the elements of an array are made of the array
        return {leaf for inner in source.expression.find_all(exp.Column) for leaf in _origin(scope, inner, known)}
    names = source.expression.named_selects
    return _leaves(source, names.index(column.name), known) if column.name in names else set()
