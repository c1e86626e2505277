"""What staff wrote themselves, in which somebody who was erased may be named: comments, reasons, notes, evidence, the audit log.

A phone or an email in any usual spelling, and a full name, are blotted out where they stand; the rest of the sentence stays. What
a decision is bound to by its hash (an approved text, a version of a rule) is left as it is and named, for a person to mend.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, select, update

from pipeline.client_safe.spelling import as_written, runs
from pipeline.store import audit, schema
from pipeline.store.erasures import Tombstones

LONGEST_NAME = 40
WRITTEN: dict[Table, tuple[str, ...]] = {
    schema.summaries: ("reason",),
    schema.summary_log: ("reason",),
    schema.publications: ("reason",),
    schema.holds: ("evidence", "clearable_because", "note"),
    schema.incidents: ("title", "evidence"),
    schema.outputs: ("reason",),
    schema.output_log: ("detail",),
    schema.rule_states: ("note",),
    schema.template_states: ("note",),
    schema.suppressions: ("evidence",),
    schema.connections: ("reason", "fix"),
    schema.quarantine: ("reason",),
    schema.verifications: ("checks",),
}
BOUND = (schema.summaries, schema.publications, schema.rule_versions, schema.template_versions)  # by their `content`


class Mentions:
    """Of the erased people of these clients, in a text."""

    def __init__(self, tombstones: Tombstones, clients: Collection[str]) -> None:
        self._tombstones, self._clients = tombstones, clients
        self._names: dict[str, bool] = {}

    def blotted(self, text: str) -> str:
        """The text without them, else as it is. JSON stays JSON, also where it spells letters as codes."""
        if "\\u" in text:
            try:
                said = json.loads(text)
            except ValueError:
                return self._plain(text)
            without = self._within(said)
            return text if without == said else json.dumps(without, sort_keys=True)
        return self._plain(text)

    def are_in(self, text: str) -> bool:
        return self.blotted(text) != text

    def _within(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._plain(value)
        if isinstance(value, list):
            return [self._within(one) for one in value]
        return {name: self._within(one) for name, one in value.items()} if isinstance(value, dict) else value

    def without_addresses(self, text: str) -> str:
        for client_id in self._clients:
            text = self._tombstones.blot(client_id, text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
        return text

    def _plain(self, text: str) -> str:
        text = self.without_addresses(text)
        for start, end in self._names_in(text):
            text = text[:start] + "".join("x" if c.isalpha() else c for c in text[start:end]) + text[end:]
        return text

    def _names_in(self, text: str) -> Iterator[tuple[int, int]]:
        words = as_written(text)
        for joined, first, last in runs(words, text, LONGEST_NAME):
            if last > first and self._is_name(joined):
                yield words[first].start, words[last].end

    def _is_name(self, joined: str) -> bool:
        known = self._names.get(joined)
        if known is None:
            known = any(self._tombstones.has(client_id, f"name:{joined}") for client_id in self._clients)
            self._names[joined] = known
        return known


def sweep_free_text(connection: Connection, tombstones: Tombstones, *, now: datetime) -> int:
    """Returns how many texts were changed."""
    mentions = {client_id: Mentions(tombstones, [client_id]) for client_id in tombstones.clients}
    anybody = Mentions(tombstones, sorted(tombstones.clients))  # for rows of the whole house
    changed = 0
    for table, names in WRITTEN.items():
        for row, new in _changed(connection, table, names, mentions, anybody):
            which = [column == row[column.name] for column in table.primary_key]
            connection.execute(update(table).where(*which).values(new))
            changed += 1
    for row, new in _changed(connection, schema.audit_log, ("subject", "detail"), mentions, anybody):
        audit.blot(connection, row["seq"], {**row, **new}, now)
        changed += 1
    return changed


def _changed(
    connection: Connection, table: Table, names: Collection[str], mentions: Mapping[str, Mentions], anybody: Mentions
) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Rows that name them, each with what it says without."""
    found = []
    for row in _rows(connection, table, names):
        # another client's customers are that client's business
        of_whom = mentions.get(row["client_id"]) if row.get("client_id") else anybody
        if of_whom is None:
            continue
        new = {name: of_whom.blotted(row[name]) for name in names if row[name] and of_whom.are_in(row[name])}
        if new:
            found.append((row, new))
    return found


def bound_texts(connection: Connection, tombstones: Tombstones) -> list[str]:
    """What still names them because a decision stands on its words."""
    found = []
    anybody = Mentions(tombstones, sorted(tombstones.clients))
    for table in BOUND:
        for row in _rows(connection, table, ("content",)):
            ours = not row["client_id"] or row["client_id"] in tombstones.clients
            if ours and anybody.are_in(row["content"]):
                found.append(
                    f"{table.name} {' '.join(str(row[key.name]) for key in table.primary_key)}".replace("  ", " ")
                )
    return found


def _rows(connection: Connection, table: Table, names: Collection[str]) -> Iterator[dict[str, Any]]:
    wanted: dict[str, Column[Any]] = {column.name: column for column in table.primary_key}
    wanted |= {name: table.c[name] for name in ("client_id", *names) if name in table.c}
    for row in connection.execute(select(*wanted.values()).execution_options(yield_per=5_000)).mappings():
        yield dict(row)
