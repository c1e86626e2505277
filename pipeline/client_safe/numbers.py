"""Every number in a text is a stored fact, written as that fact is written; or a day of the period. Else it is a finding.

Words for numbers count as numbers. What a number stands beside counts too: "48 calls" is wrong where 48 are the booked jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.client_safe.document import Content, Figure, Finding
from pipeline.client_safe.shown import NOT_SHOWN, end_of, ways_to_name

_WORDS = "|".join(
    """zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundreds? thousands? millions? dozens? half halves halved
    doubled? twice tripled? thrice thirds? quarters? quadrupled tenfold percent""".split()  # noqa: SIM905
)
_NUMBER = re.compile(
    rf"[+\-−]?[$€£¥]?\s?\d[\d.,:/]*\d%?|[$€£¥]?\d%?|[¼-¾²³¹⅐-ↈ①-⓿]|\b(?:{_WORDS})\b"
    r"|\bone\b(?=\s+(?:call|lead|job|customer|person|client|message|payment|in\b|of\s+(?:your|the)\s+(?:calls|leads|jobs)))",
    re.IGNORECASE,
)
_MASK = "\x00"


def wrong_numbers(content: Content, figures: Sequence[Figure]) -> list[Finding]:
    """What is no stored fact, each with where it stands and which figure it may have been meant to be."""
    days = _days(figures)
    return [
        Finding("figure", where, what, excerpt)
        for where, text in _pieces(content)
        for what, excerpt in _wrong(text, figures, days)
    ]


def _pieces(content: Content) -> Iterator[tuple[str, str]]:
    yield "title", content.title
    yield "opening", content.opening
    for number, section in enumerate(content.sections, 1):
        yield f"section {number}, heading", section.heading
        for line_number, line in enumerate(section.lines, 1):
            yield f"section {number}, line {line_number}", line


def _wrong(text: str, figures: Sequence[Figure], days: set[str]) -> Iterator[tuple[str, str]]:
    """(what is wrong, the number or a mask of it)."""
    known = {figure.shown for figure in figures if figure.shown != NOT_SHOWN}
    left, places = text, []
    for phrase in sorted({*known, *days}, key=len, reverse=True):
        if not _NUMBER.search(phrase):
            continue
        exactly = re.compile(rf"(?<![\w$€£¥.,:/%+−-]){re.escape(phrase)}(?![\w%]|[.,:/]\d|-\d)", re.IGNORECASE)
        for found in exactly.finditer(left):
            if phrase in known:
                places.append((found.start(), found.end(), phrase))
        left = exactly.sub(lambda found: _MASK * len(found[0]), left)
    for found in _NUMBER.finditer(left):
        yield f"a number that is no stored figure{_meant(text, figures)}", _excerpt(found[0])
    for start, end, phrase in places:
        beside = _named_beside(text, start, end, figures)
        if beside and all(figure.shown != phrase for figure in beside):
            yield f"a number of something else; {_listed(beside)}", _excerpt(phrase)


def _days(figures: Sequence[Figure]) -> set[str]:
    """Figures are named by client, kind and first day: these are the days a text may speak of."""
    ways = set()
    for figure in figures:
        parts = figure.figure_id.split("|")
        if len(parts) > 3 and parts[1] in ("week", "month") and not figure.label.endswith(" before"):
            ways |= ways_to_name(parts[1], parts[2], end_of(parts[1], parts[2]))
    return ways


def _named_beside(text: str, start: int, end: int, figures: Sequence[Figure]) -> list[Figure]:
    """The figures whose name stands right before or after: "calls: 48" or "48 calls"."""
    before, after = text[:start].lower(), text[end:].lower()
    found: dict[int, list[Figure]] = {}
    for figure in figures:
        label = figure.label.removeprefix("leads from ").removesuffix(" before").lower()
        if re.search(rf"(?:^|\W){re.escape(label)}:?\s+$", before) or re.match(rf"\s+{re.escape(label)}(?!\w)", after):
            found.setdefault(len(label), []).append(figure)
    return found[max(found)] if found else []


def _meant(text: str, figures: Sequence[Figure]) -> str:
    named = [one for one in figures if re.search(rf"(?<!\w){re.escape(one.label.lower())}(?!\w)", text.lower())]
    longest = max((len(one.label) for one in named), default=0)
    beside = [one for one in named if len(one.label) == longest]
    return f"; {_listed(beside)}" if beside else ""


def _listed(figures: Sequence[Figure]) -> str:
    return ", ".join(f"{figure.figure_id} is {figure.shown}" for figure in figures[:3])


def _excerpt(number: str) -> str:
    """A long one may be somebody's phone number."""
    return number if sum(c.isdigit() for c in number) < 7 else "…"
