"""What may be told of one client's week or month, read from client_safe.duckdb and from nowhere else.

`query_hash` changes with the SQL that decides the figures, `snapshot_hash` with the figures themselves: not with the time at
which either was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from connectors.registry import CONNECTORS, connector_class
from pipeline.client_safe.document import Figure, SourceState, Unit, digest
from pipeline.client_safe.shown import FEW, NOT_SHOWN, label_of, shown
from pipeline.settings import Settings

Kind = Literal["week", "month"]
Row = Mapping[str, Any]
MODELS = Path(__file__).parents[2] / "dbt_project" / "models"
# what decides a figure: these models, and what they read in metrics
QUERIES = (
    "intermediate/metrics/int_person_weeks.sql",
    "marts/client_safe/safe_figures.sql",
    "marts/client_safe/safe_improvement.sql",
    "marts/client_safe/safe_periods.sql",
    "marts/client_safe/safe_sources.sql",
    "marts/metrics/client_periods.sql",
    "marts/metrics/improvement.sql",
    "marts/metrics/period_figures.sql",
)
FIGURES, IMPROVEMENT = "client_safe.safe_figures", "client_safe.safe_improvement"


class NoFacts(Exception):
    """Nothing can be told of a period. The message says why and what to do."""


@dataclass(frozen=True)
class Period:
    client_id: str
    kind: Kind
    start: str
    end: str  # the day after the last


@dataclass(frozen=True)
class Told:
    """One figure of a period, or why it is not shown: few, subtraction (see safe_figures) or recounted (see `withhold`)."""

    name: str  # calls, leads, leads_by_channel, ...
    part: str
    figure: Figure
    why_not: str = ""
    leaves_out_few: bool = False


@dataclass(frozen=True)
class Improvement:
    """A metric since joining against before. The figures are None where there is too little to go by."""

    metric: str
    better: str
    verdict: str
    is_headline: bool
    figures: Mapping[str, Figure]  # before, after, low, high, months


@dataclass(frozen=True)
class Facts:
    period: Period
    told: tuple[Told, ...]
    before: tuple[Told, ...]  # the same figures of the period before
    improvements: tuple[Improvement, ...]
    sources: tuple[SourceState, ...]
    query_hash: str
    snapshot_hash: str

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All that a text about the period may name."""
        of_improvement = [figure for one in self.improvements for figure in one.figures.values()]
        return tuple(
            [
                *(one.figure for one in self.told),
                *(one.figure for one in self.before if one.figure.value is not None),
                *of_improvement,
            ]
        )

    def get(self, name: str) -> Told | None:
        """The figure of that name for the period as a whole; of money in several currencies the largest."""
        found = [one for one in self.told if one.name == name and one.part == "all"]
        return max(found, key=lambda one: one.figure.value or 0, default=None)


def due_periods(settings: Settings, *, now: datetime) -> list[Period]:
    """Of each client the last week and the last month that are over. What ended long ago is history."""
    with _opened(settings) as read:
        rows = read(
            "select client_id, kind, period_start, period_end from client_safe.safe_periods order by period_start"
        )
    oldest = {"week": now.date() - timedelta(days=15), "month": now.date() - timedelta(days=62)}
    last = {(row["client_id"], row["kind"]): _period(row) for row in rows if row["period_end"] > oldest[row["kind"]]}
    return sorted(last.values(), key=lambda one: (one.client_id, one.kind))


def read_facts(settings: Settings, client_id: str, kind: Kind, period_start: str) -> Facts:
    """Raises NoFacts."""
    with _opened(settings) as read:
        of_client = "where client_id = $client"
        periods = read(
            f"select * from client_safe.safe_periods {of_client} and kind = $kind order by period_start",  # noqa: S608
            client=client_id,
            kind=kind,
        )
        starts = [str(row["period_start"]) for row in periods]
        if period_start not in starts:
            raise NoFacts(
                f"{client_id}: the {kind} of {period_start} is not over, or nothing is known of it. "
                "`leadtrail summaries list` shows what can be written about."
            )
        place = starts.index(period_start)
        in_order = f"{of_client} and kind = $kind order by figure_id"
        rows = read(f"select * from {FIGURES} {in_order}", client=client_id, kind=kind)  # noqa: S608
        changes = read(f"select * from {IMPROVEMENT} {of_client} order by metric", client=client_id)  # noqa: S608
        sources = read(f"select * from client_safe.safe_sources {of_client} order by provider", client=client_id)  # noqa: S608
    ours = [row for row in rows if str(row["period_start"]) == period_start]
    if not ours:
        raise NoFacts(f"{client_id}: nothing is counted yet, so there is nothing to write about.")
    earlier = starts[place - 1] if place else ""
    return Facts(
        period=_period(periods[place]),
        told=tuple(_told(row, period_start) for row in ours),
        before=tuple(
            _told(row, period_start)
            for row in rows
            if str(row["period_start"]) == earlier and row["part"] == "all" and not row["leaves_out_few"]
        ),
        improvements=tuple(_improvement(row) for row in changes) if kind == "month" else (),
        sources=tuple(_source(row) for row in sources),
        query_hash=query_hash(),
        snapshot_hash=_snapshot(ours),
    )


def figures_of(settings: Settings, client_id: str) -> dict[str, Figure]:
    """What would be told today of every week and month, by figure_id."""
    with _opened(settings) as read:
        rows = read(f"select * from {FIGURES} where client_id = $client", client=client_id)  # noqa: S608
    return {row["figure_id"]: _told(row, str(row["period_start"])).figure for row in rows}


def read_hashes(
    settings: Settings, periods: Iterable[tuple[str, str, str]]
) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(query_hash, snapshot_hash) of each (client, kind, first day) as of now. A period nothing is known of is left out."""
    found, query = {}, query_hash()
    with _opened(settings) as read:
        for client_id, kind, start in periods:
            rows = read(
                f"select * from {FIGURES} where client_id = $client and kind = $kind and period_start = $start",  # noqa: S608
                client=client_id,
                kind=kind,
                start=start,
            )
            if rows:
                found[client_id, kind, start] = (query, _snapshot(rows))
    return found


def withhold(facts: Facts, ids: Iterable[str]) -> Facts:
    """The same without these figures: since they were last published they changed for fewer people than may be told of."""
    gone = set(ids)

    def hide(one: Told) -> Told:
        if one.figure.figure_id not in gone:
            return one
        return replace(
            one,
            figure=replace(one.figure, value=None, k=None, shown=NOT_SHOWN),
            why_not="recounted",
            leaves_out_few=False,
        )

    before = tuple(one for one in facts.before if one.figure.figure_id not in gone)
    return replace(facts, told=tuple(hide(one) for one in facts.told), before=before)


def query_hash() -> str:
    """Of the SQL, without comments and spacing."""
    texts = []
    for name in QUERIES:
        sql = re.sub(r"--[^\n]*|\{#.*?#\}", " ", (MODELS / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        texts.append(" ".join(sql.split()))
    settings = (MODELS.parent / "dbt_project.yml").read_text(encoding="utf-8")
    return digest([*texts, re.findall(r"^ +client_safe_k: (\d+)", settings, re.MULTILINE)])


def _snapshot(rows: Sequence[Row]) -> str:
    """Of what is told. Improvement is told as of the day of writing: that later months are added to it voids nothing."""
    kept = ("figure_id", "unit", "currency", "value", "k", "leaves_out_few", "is_suppressed", "suppressed_because")
    return digest(sorted([row[name] for name in kept] for row in rows))


def _period(row: Row) -> Period:
    return Period(row["client_id"], row["kind"], str(row["period_start"]), str(row["period_end"]))


def _told(row: Row, period_start: str) -> Told:
    value = None if row["value"] is None else float(row["value"])
    start = date.fromisoformat(str(row["period_start"]))
    label = label_of(row["figure"], row["part"], row["currency"])
    if str(start) != period_start:
        label += " before"
    words = (
        shown(value, row["unit"], row["currency"], leaves_out_few=row["leaves_out_few"])
        if value is not None
        else (FEW if row["suppressed_because"] == "few" else NOT_SHOWN)
    )
    figure = Figure(
        row["figure_id"], label, value, row["unit"], words, FIGURES, _utc(row["data_until"]) or "", row["k"]
    )
    return Told(row["figure"], row["part"], figure, row["suppressed_because"] or "", row["leaves_out_few"])


def _improvement(row: Row) -> Improvement:
    figures = {}
    if not row["is_suppressed"]:
        low, high = sorted((abs(row["difference_low"]), abs(row["difference_high"])))
        label, until = label_of(row["metric"], "all", None), _utc(row["data_until"]) or ""
        differs: Unit = "points" if row["unit"] == "rate" else row["unit"]
        values: list[tuple[str, float, Unit]] = [
            ("before", row["before_value"], row["unit"]),
            ("after", row["after_value"], row["unit"]),
            ("months", row["matched_months"], "count"),
        ]
        if row["verdict"] in ("improved", "worse"):  # else it may have changed either way
            values += [("low", low, differs), ("high", high, differs)]
        for name, value, unit in values:
            figures[name] = Figure(
                f"{row['figure_id']}|{name}",
                f"{label} {_IMPROVEMENT[name]}",
                float(value),
                unit,
                shown(float(value), unit, "USD"),
                IMPROVEMENT,
                until,
                row["k"],
            )
    return Improvement(row["metric"], row["better"], row["verdict"], row["is_headline"], figures)


_IMPROVEMENT = {
    "before": "before joining",
    "after": "since joining",
    "low": "changed by at least",
    "high": "changed by at most",
    "months": "compared in months",
}
_SAYS = {
    "complete": "Everything is in.",
    "late": "The newest entries are not in yet.",
    "paused": "We are reconnecting it. What came in since is missing.",
    "not connected": "It is not connected yet, so nothing of it is counted.",
}


def _source(row: Row) -> SourceState:
    name = connector_class(row["provider"]).title if row["provider"] in CONNECTORS else row["provider"]
    return SourceState(name, row["state"], _utc(row["data_until"]), _SAYS[row["state"]])


def _utc(at: datetime | None) -> str | None:
    return None if at is None else at.replace(tzinfo=UTC).isoformat(timespec="minutes")


@contextmanager
def _opened(settings: Settings) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    if not settings.client_safe.exists():
        raise NoFacts("Nothing is published that a client may see. Run `leadtrail build`.")
    with duckdb.connect(str(settings.client_safe.resolve()), read_only=True) as connection:

        def read(query: str, **values: Any) -> list[dict[str, Any]]:
            cursor = connection.execute(query, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        yield read
