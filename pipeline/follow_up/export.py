"""What the rule book says, as two files that dbt decides from: `follow_up_rules.parquet` and `follow_up_rule_steps.parquet`.

One row for each client, rule and interval in which a version of it was in force, and one for each client, rule, version and step.
The house's rules stand there once for every client that follows them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from sqlalchemy import Connection

from pipeline.follow_up.intervals import Interval
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.standing import courses, moves_of, rule_contents
from pipeline.follow_up.template_book import TemplateLog

_TEXT, _INT, _BOOL = pa.string(), pa.int64(), pa.bool_()
RULES = pa.schema(
    [
        ("client_id", _TEXT),
        ("rule", _TEXT),
        ("rule_version", _TEXT),
        ("title", _TEXT),
        ("trigger", _TEXT),
        ("once_per", _TEXT),
        ("enabled_from", _TEXT),
        ("enabled_until", _TEXT),
        ("state", _TEXT),  # of the rule now: enabled | paused | retired
        ("stops_on", _TEXT),  # lists are |reply|booked|; '' is none
        ("urgencies", _TEXT),
        ("channels", _TEXT),
        ("min_value_cents", _INT),
        ("repeat_customer", _BOOL),
        ("in_hours", _BOOL),
        ("after_joining", _BOOL),
        ("rule_owner", _TEXT),
        ("is_nurture", _BOOL),
        ("states", _TEXT),
    ]
)
STEPS = pa.schema(
    [
        ("client_id", _TEXT),
        ("rule", _TEXT),
        ("rule_version", _TEXT),
        ("step_id", _TEXT),
        ("step_number", _INT),
        ("after_seconds", _INT),
        ("channel", _TEXT),
        ("template", _TEXT),
        ("template_version", _TEXT),
        ("owner_role", _TEXT),
        ("priority", _TEXT),
        ("expires_after_seconds", _INT),
        ("respond_within_seconds", _INT),
        ("escalations", _TEXT),
    ]
)


@dataclass(frozen=True)
class RuleRows:
    """Rows of both files."""

    rules: Sequence[Mapping[str, Any]] = ()
    steps: Sequence[Mapping[str, Any]] = ()

    def write(self, folder: Path) -> None:
        """Replace both files. They are there without rules too: dbt reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema, rows in (
            ("follow_up_rules", RULES, self.rules),
            ("follow_up_rule_steps", STEPS, self.steps),
        ):
            temporary = folder / f"{name}.tmp"
            pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)
            os.replace(temporary, folder / f"{name}.parquet")


NO_RULES = RuleRows()


def rule_rows(connection: Connection, client_ids: Iterable[str]) -> RuleRows:
    """What is and was in force, for each of these clients."""
    contents, templates, moves = rule_contents(connection), TemplateLog.read(connection), moves_of(connection)
    rules: list[dict[str, Any]] = []
    steps: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for client_id in client_ids:
        for name, course in courses(moves, client_id).items():
            for interval in course.intervals:
                rule = contents[(interval.whose, name, interval.version)]
                rules.append(rule_row(client_id, rule, interval, course.state))
                for row in step_rows(client_id, rule, templates, pinned_at=interval.pinned_at):
                    steps[(client_id, name, interval.version, str(row["step_id"]))] = row
    return RuleRows(rules, list(steps.values()))


def rule_row(client_id: str, rule: Rule, interval: Interval, state: str) -> dict[str, Any]:
    when = rule.applies_when
    return {
        "client_id": client_id,
        "rule": rule.rule,
        "rule_version": rule.version,
        "title": rule.title,
        "trigger": rule.trigger,
        "once_per": rule.once_per,
        "enabled_from": interval.enabled_from,
        "enabled_until": interval.enabled_until,
        "state": state,
        "stops_on": _listed(rule.stops_on),
        "urgencies": _listed(when.urgency),
        "channels": _listed(when.channels),
        "min_value_cents": when.min_value_cents,
        "repeat_customer": when.repeat_customer,
        "in_hours": when.in_hours,
        "after_joining": when.after_joining,
        "rule_owner": rule.owner,
        "is_nurture": rule.is_nurture,
        "states": _listed(rule.states),
    }


def step_rows(client_id: str, rule: Rule, templates: TemplateLog, *, pinned_at: str) -> list[dict[str, Any]]:
    return [
        {
            "client_id": client_id,
            "rule": rule.rule,
            "rule_version": rule.version,
            "step_id": step.id,
            "step_number": number,
            "after_seconds": step.after,
            "channel": step.channel,
            "template": step.template,
            "template_version": templates.in_use(client_id, step.template, at=pinned_at) or "",
            "owner_role": step.owner,
            "priority": step.priority,
            "expires_after_seconds": step.expires_after,
            "respond_within_seconds": step.respond_within,
            "escalations": json.dumps([{"after_seconds": one.after, "to": one.to} for one in step.escalate]),
        }
        for number, step in enumerate(rule.steps, 1)
    ]


def _listed(values: Sequence[str]) -> str:
    return f"|{'|'.join(values)}|" if values else ""
