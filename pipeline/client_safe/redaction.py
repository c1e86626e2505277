"""Personal data in what a client is about to read: found, masked where it is sure, and left to a person where it is not.

First what is known of the client's customers, then what is personal by its form, then what only looks like a name. Masked
words are scanned again; what is still found blocks publishing until a person has edited it away or cleared it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files

from pipeline.client_safe.document import Content, Finding, Section
from pipeline.client_safe.hits import Hit, apart
from pipeline.client_safe.known_values import SHORT_NUMBER, STREET_KINDS, KnownValues
from pipeline.client_safe.personal_patterns import patterns
from pipeline.client_safe.spelling import Word, as_spoken, as_written, runs
from pipeline.client_safe.unseen_names import starts_here, unseen_names
from pipeline.client_safe.vocabulary import TRADE, common_words, names_text, names_that_are_words

_REFERENCE = frozenset(
    """invoice invoices inv order orders estimate est job jobs quote receipt ticket lead number no nr num po ref reference #
    document doc""".split()  # noqa: SIM905
)
_RULES = ("known_values", "personal_patterns", "redaction", "spelling", "unseen_names", "vocabulary")


@cache
def _version() -> str:
    rules = [files("pipeline.client_safe").joinpath(f"{name}.py").read_text(encoding="utf-8") for name in _RULES]
    return hashlib.sha256("\x1f".join([*rules, names_text()]).encode()).hexdigest()[:16]


REDACTION_VERSION = _version()  # an approval binds it: other rules, another look


def find_personal_data(text: str, known: KnownValues, *, where: str = "text") -> list[Finding]:
    """Every place that holds personal data, or may. Nothing found is quoted."""
    return [
        Finding("personal_data", f"{where}, character {hit.start + 1}", _says(hit), _masked(text[hit.start : hit.end]))
        for hit in hits(text, known)
    ]


def find_in(content: Content, known: KnownValues) -> list[Finding]:
    """The same, piece by piece, so that a person finds the place."""
    return [finding for where, text in _pieces(content) for finding in find_personal_data(text, known, where=where)]


def redact(content: Content, known: KnownValues) -> Content:
    """The same words with what is surely personal data masked. What only looks like a name stays, for a person to judge."""
    return replace(
        content,
        title=mask(content.title, known),
        opening=mask(content.opening, known),
        sections=tuple(
            Section(mask(section.heading, known), tuple(mask(line, known) for line in section.lines))
            for section in content.sections
        ),
    )


def mask(text: str, known: KnownValues) -> str:
    for hit in reversed(hits(text, known)):
        if hit.is_sure:
            text = f"{text[: hit.start]}[{hit.what}]{text[hit.end :]}"
    return text


def hits(text: str, known: KnownValues) -> list[Hit]:
    words = as_written(text)
    own = [(words[first].start, words[last].end) for first, last in _runs_in(known.allowed, text, words, known.longest)]
    found = [*_known(text, words, known), *patterns(text), *unseen_names(text, known.allowed_words)]
    return apart(hit for hit in found if not _is_own(text, hit, own))


def _is_own(text: str, hit: Hit, own: list[tuple[int, int]]) -> bool:
    said = text[hit.start : hit.end]
    start, end = hit.end - len(said.lstrip("(+# ")), hit.start + len(said.rstrip(").,# "))
    return any(first <= start and end <= last for first, last in own)


# ---- known values ----


def _runs_in(keys: set[str], text: str, words: list[Word], longest: int) -> list[tuple[int, int]]:
    return [(first, last) for joined, first, last in runs(words, text, longest) if joined in keys]


def _known(text: str, written: list[Word], known: KnownValues) -> Iterator[Hit]:
    for words in (written, as_spoken(written)):
        for joined, first, last in runs(words, text, known.longest):
            what = known.values.get(joined)
            if what is None or (len(joined) == 7 and _is_count(text, words[first], words[last])):
                continue
            if what == "address":
                last = _to_end_of_street(words, last)
            yield Hit(words[first].start, words[last].end, what)
        yield from _short_orders(text, words, known)
    yield from _parts_of_names(text, written, known)


def _is_count(text: str, first: Word, last: Word) -> bool:
    """1,234,567 and $5,556,160 are no phone numbers without area code."""
    return first.folded.isdigit() and (
        "," in text[first.start : last.end] or text[first.start - 1 : first.start] == "$"
    )


def _to_end_of_street(words: list[Word], last: int) -> int:
    for following in range(last + 1, min(last + 3, len(words))):
        if words[following].folded in STREET_KINDS:
            return following
    return last


def _short_orders(text: str, words: list[Word], known: KnownValues) -> Iterator[Hit]:
    """1004 is a count, invoice 1004 is somebody's."""
    for joined, first, last in runs(words, text, SHORT_NUMBER):
        said = first and words[first - 1].folded in _REFERENCE
        if said and joined in known.orders and not _is_count(text, words[first], words[last]):
            yield Hit(words[first].start, words[last].end, "order number")


def _parts_of_names(text: str, words: list[Word], known: KnownValues) -> Iterator[Hit]:
    """One part of a name. If it is an ordinary word too, its capital within a sentence tells."""
    for i, word in enumerate(words):
        if word.folded not in known.name_parts or word.folded in known.allowed_words or word.folded in TRADE:
            continue
        capital = text[word.start].isupper()
        ordinary = word.folded in names_that_are_words() or word.folded in common_words() or len(word.folded) < 4
        starts = starts_here(text, word.start)
        beside = i + 1 < len(words) and words[i + 1].folded in known.name_parts
        if not ordinary or (capital and (beside or not starts)):
            yield Hit(word.start, word.end, "name")


# ---- telling ----


def _pieces(content: Content) -> Iterator[tuple[str, str]]:
    yield "title", content.title
    yield "opening", content.opening
    for number, section in enumerate(content.sections, 1):
        yield f"section {number}, heading", section.heading
        for at, line in enumerate(section.lines, 1):
            yield f"section {number}, line {at}", line


def _says(hit: Hit) -> str:
    if hit.is_sure:
        article = "An" if hit.what[0] in "aeo" else "A"
        return f"{article} {hit.what}. Edit it away, or clear this if it is nobody's."
    return f"{hit.what[0].upper()}{hit.what[1:]}. Edit it away, or clear this if it is no person."


def _masked(found: str) -> str:
    """Its shape: enough to find it, not enough to know it."""
    return "".join("•" if c.isalnum() and (c.isdigit() or i) else c for i, c in enumerate(found))
