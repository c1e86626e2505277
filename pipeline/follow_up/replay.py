"""Replay: what a rule would have asked for in the past, found by the very statement that says what is due now.

dbt compiled `fct_follow_up_steps` when the warehouse was last built, and that statement reads its rules from two files only. A
replay gives it two others: the version in question, enabled for the whole period, beside the rules whose urgent tasks go first.
The statement knows nothing before it was known, so neither does a replay.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.follow_up.export import RuleRows, rule_row, step_rows
from pipeline.follow_up.intervals import HOUSE, Interval, Move
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.standing import Standing, courses, in_force_for
from pipeline.follow_up.template_book import TemplateLog
from pipeline.store.engine import stamp

MODEL = "fct_follow_up_steps"
NOW = "~"  # later than any time: what is approved or in force at this moment


class CannotReplay(Exception):
    """There is nothing to replay with or against. The message says what to do."""


@dataclass(frozen=True)
class Period:
    """Triggers known in it go through the rule: from its start until just before its end."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class History:
    """What is replayed against: the published warehouse, and the statement that decides what is due."""

    analytics: Path
    statement: str

    @classmethod
    def of(cls, analytics: Path, dbt_target: Path) -> History:
        """Of the last build. Raises CannotReplay if there was none."""
        compiled = sorted(
            dbt_target.rglob(f"compiled/**/{MODEL}.sql"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        if not compiled or not analytics.exists():
            raise CannotReplay("There is no history to replay against yet. Run `leadtrail sync` and `leadtrail build`.")
        return cls(analytics.resolve(), compiled[0].read_text())

    def open(self) -> duckdb.DuckDBPyConnection:
        """Under the name that dbt wrote into the statement, and read-only."""
        connection = duckdb.connect()
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"attach '{str(self.analytics).replace(chr(39), chr(39) * 2)}' as warehouse (read_only)")
        return connection

    def steps(self, connection: duckdb.DuckDBPyConnection, rows: RuleRows, rule: str) -> list[dict[str, Any]]:
        """What the statement says about one rule, with these rules in place of those in force; in order of time."""
        with tempfile.TemporaryDirectory() as folder:
            rows.write(Path(folder))
            statement = self.statement
            for name in ("follow_up_rules", "follow_up_rule_steps"):
                parts = re.split(rf"read_parquet\('[^']*/{name}\.parquet'\)", statement)
                if len(parts) == 1:
                    raise CannotReplay("The last build was made by an older Leadtrail. Run `leadtrail build` first.")
                statement = f"read_parquet('{folder}/{name}.parquet')".join(parts)
            asked = f"select * from ({statement}) where rule = ? order by due_at, step_key"  # noqa: S608  (dbt's own)
            try:
                found = connection.execute(asked, [rule])
            except duckdb.CatalogException as error:
                raise CannotReplay(
                    f"The published warehouse lacks what a replay reads ({error.args[0].splitlines()[0]}). "
                    "Run `leadtrail build` first."
                ) from None
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def rows_in_period(
    rule: Rule, whose: str, client_ids: Iterable[str], period: Period, templates: TemplateLog
) -> RuleRows:
    """A version as if it had been enabled for the whole period, for each of these clients."""
    interval = Interval(whose, rule.version, stamp(period.start), stamp(period.end), NOW)
    rules, steps = [], []
    for client_id in client_ids:
        rules.append(rule_row(client_id, rule, interval, "enabled"))
        steps += step_rows(client_id, rule, templates, pinned_at=NOW)
    return RuleRows(rules, steps)


def urgent_rows(standing: Standing, client_ids: Iterable[str], period: Period, *, besides: str) -> RuleRows:
    """The other rules whose urgent tasks come before any sequence: as they were in force, and before that as they were first."""
    rules: list[Mapping[str, Any]] = []
    steps: list[Mapping[str, Any]] = []
    for client_id in client_ids:
        for name, course in courses(standing.moves, client_id).items():
            seen: set[str] = set()
            for number, interval in enumerate(course.intervals):
                rule = standing.contents[(interval.whose, name, interval.version)]
                if name == besides or all(step.priority != "urgent" for step in rule.steps):
                    continue
                if number == 0:
                    interval = replace(interval, enabled_from=min(interval.enabled_from, stamp(period.start)))
                rules.append(rule_row(client_id, rule, interval, course.state))
                if rule.version not in seen:
                    steps += step_rows(client_id, rule, standing.approvals, pinned_at=interval.pinned_at)
                seen.add(rule.version)
    return RuleRows(rules, steps)


def who_follows(moves: Sequence[Move], client_ids: Sequence[str], rule: str, whose: str) -> list[str]:
    """Those of these clients whom a version would serve: a client's own that client, the house's whoever has none in force."""
    if whose != HOUSE:
        return [client_id for client_id in client_ids if client_id == whose]
    found = ((client_id, in_force_for(moves, client_id, rule)) for client_id in client_ids)
    return [client_id for client_id, version in found if version is None or version.client_id == HOUSE]
