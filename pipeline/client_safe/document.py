"""What a client comes to read, as data: words in sections, and the figures that the words may name.

Stored as canonical JSON, so that equal content is equal text and has one hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Unit = Literal["count", "cents", "rate", "seconds", "points"]


@dataclass(frozen=True)
class Figure:
    """A stored fact. `shown` is the one way it is written in a text; `value` is in `unit` (a rate is from 0 to 1)."""

    figure_id: str
    label: str
    value: float | None
    unit: Unit
    shown: str
    query: str  # the model it was read from, e.g. client_safe.safe_figures
    data_until: str  # UTC
    k: int | None = None  # how many people it speaks of, at least; not shown to clients


@dataclass(frozen=True)
class Section:
    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """The words. `made_by_ai` is said to the reader."""

    title: str
    opening: str
    sections: tuple[Section, ...]
    made_by_ai: bool = False

    @property
    def text(self) -> str:
        """All of it as plain text, line by line: what is searched for numbers and for personal data."""
        parts = [self.title, self.opening]
        for section in self.sections:
            parts += [section.heading, *section.lines]
        return "\n".join(parts)


@dataclass(frozen=True)
class SourceState:
    """How far a client may trust a source: in words a client understands."""

    name: str
    state: Literal["complete", "late", "paused", "not connected"]
    data_until: str | None
    says: str


@dataclass(frozen=True)
class Finding:
    """Why a draft may not be published. A wrong figure must be edited away; personal data a person may clear, with a reason."""

    kind: Literal["figure", "personal_data"]
    where: str  # "title", "opening", "section 2, line 1"
    what: str  # in words, never quoting what it found
    excerpt: str  # masked
    cleared_by: str | None = None
    cleared_because: str | None = None

    @property
    def finding_id(self) -> str:
        return digest([self.kind, self.where, self.what, self.excerpt])[:16]


@dataclass(frozen=True)
class Draft:
    """Everything an approval binds. `key` is the same for the same facts and the same way of writing."""

    client_id: str
    kind: Literal["week", "month"]
    period_start: str
    period_end: str
    content: Content
    figures: tuple[Figure, ...]
    sources: tuple[SourceState, ...]
    query_hash: str
    snapshot_hash: str
    template_version: str
    redaction_version: str
    made_by: Literal["rule", "ai", "person"]
    author: str
    findings: tuple[Finding, ...] = field(default=())

    @property
    def bound_hash(self) -> str:
        """Over the text, the figures, the query text, the input snapshot, the template and the redaction rules."""
        return digest(
            [
                self.client_id,
                self.kind,
                self.period_start,
                asdict(self.content),
                [asdict(figure) for figure in self.figures],
                [asdict(source) for source in self.sources],
                self.query_hash,
                self.snapshot_hash,
                self.template_version,
                self.redaction_version,
            ]
        )


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: object) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def content_json(content: Content) -> str:
    return canonical(asdict(content))


def read_content(text: str) -> Content:
    raw: dict[str, Any] = json.loads(text)
    sections = tuple(Section(each["heading"], tuple(each["lines"])) for each in raw["sections"])
    return Content(raw["title"], raw["opening"], sections, raw["made_by_ai"])


def figures_json(figures: Sequence[Figure]) -> str:
    return canonical([asdict(figure) for figure in figures])


def read_figures(text: str) -> tuple[Figure, ...]:
    return tuple(Figure(**each) for each in json.loads(text))


def sources_json(sources: Sequence[SourceState]) -> str:
    return canonical([asdict(source) for source in sources])


def read_sources(text: str) -> tuple[SourceState, ...]:
    return tuple(SourceState(**each) for each in json.loads(text))


def findings_json(findings: Sequence[Finding]) -> str:
    return canonical([asdict(finding) for finding in findings])


def read_findings(text: str) -> tuple[Finding, ...]:
    return tuple(Finding(**each) for each in json.loads(text))
