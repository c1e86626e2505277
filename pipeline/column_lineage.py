"""Which column comes from which: read off the compiled SQL once for each version of a model, then kept.

dagster-dbt can do this too, but works it out again at every build; here it is cached under the SQL's own hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.landing import SCHEMA

log = logging.getLogger("leadtrail.lineage")

Parents = dict[str, list[tuple[str, str]]]
"""Column -> (relation "schema.table" or source "provider.stream", column) it is made of."""


def parents_of(
    node: Mapping[str, Any], columns: list[str], compiled: str, tables: Mapping[str, Any], cache: Path
) -> Parents:
    """The parents of a model's columns. `tables`: {schema: {table: {column: type}}} of the warehouse."""
    name = str(node["name"])
    if name.startswith("base_"):
        return _from_landing(name, columns)
    path = cache / f"{name}-{hashlib.sha256(compiled.encode()).hexdigest()[:16]}.json"
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
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage
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
        found: Parents = {}
        for column in query.named_selects:
            tree = lineage(column, query, schema=None, scope=scope, dialect="duckdb", copy=False)
            leaves = {
                (f"{node.expression.db}.{node.expression.name}", node.name.rpartition(".")[2].strip('"'))
                for node in tree.walk()
                if isinstance(node.expression, exp.Table) and node.expression.db
            }
            found[column] = sorted(leaves)
        return found
    except SqlglotError as error:
        log.warning("the column lineage of %s could not be read off: %s", name, error)
        return {}
