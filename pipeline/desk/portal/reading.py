"""What a client reads: a row of `publications`, as a page shows it. Nothing else of ours is read here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from pipeline.client_safe.document import Content, SourceState, read_content, read_sources
from pipeline.client_safe.shown import period_name

AT_A_GLANCE = ("leads", "booked_jobs", "revenue", "calls", "missed_calls", "response_time")
MOST_AT_A_GLANCE = 4


@dataclass(frozen=True)
class ShownFigure:
    label: str
    shown: str


@dataclass(frozen=True)
class Shown:
    """A publication. `content` is None where it was withdrawn, or is being reviewed again."""

    publication_id: str
    status: str  # published | in_re_review | revoked
    reason: str
    kind: str
    period: str
    title: str
    content: Content | None
    glance: tuple[ShownFigure, ...]
    sources: tuple[SourceState, ...]
    published_on: str
    status_on: str
    data_until: str

    @property
    def is_readable(self) -> bool:
        return self.content is not None


def read(row: RowMapping) -> Shown:
    stored: dict[str, Any] = json.loads(row["content"])
    content = read_content(json.dumps(stored["words"]))
    readable = row["status"] == "published"
    sources = read_sources(row["sources"])
    # the whole is as recent as the source that is furthest behind
    until = min((source.data_until for source in sources if source.data_until), default="")
    return Shown(
        publication_id=row["publication_id"],
        status=row["status"],
        reason=row["reason"],
        kind=row["kind"],
        period=period_name(row["kind"], row["period_start"], row["period_end"]),
        title=content.title if readable else "",
        content=content if readable else None,
        glance=_glance(stored["figures"]) if readable else (),
        sources=sources if readable else (),
        published_on=day(row["published_at"]),
        status_on=day(row["status_at"]),
        data_until=day(until),
    )


def _glance(figures: list[dict[str, str]]) -> tuple[ShownFigure, ...]:
    """The figures that come first. Parts of a figure (one channel, say) do not."""
    whole = {}
    for figure in figures:
        _, _, _, name, *part = [*figure["figure_id"].split("|"), "", "", ""][:5]
        if name and part in ([""], ["all"]):
            whole.setdefault(name, ShownFigure(figure["label"], figure["shown"]))
    return tuple(whole[name] for name in AT_A_GLANCE if name in whole)[:MOST_AT_A_GLANCE]


def day(stamp: str) -> str:
    """A stored time as a day, in words. Empty stays empty."""
    if not stamp:
        return ""
    when = datetime.fromisoformat(stamp)
    return f"{when:%B} {when.day}, {when.year}"
