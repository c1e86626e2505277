"""A transcript as it may leave the house: without what is known of the client's customers, what is personal by its form, what
looks like a name, and any number of three digits or more.

A summary is judged by a person before anybody reads it, a transcript that goes to a model by nobody: so what is doubtful is
masked too. People dictate a number in pieces, over several turns, so each piece counts. A price or a
time of day keeps its figures.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from pipeline.client_safe.hits import Hit, apart
from pipeline.client_safe.known_values import KnownValues
from pipeline.client_safe.redaction import hits
from pipeline.client_safe.spelling import Word, as_spoken, as_written
from pipeline.client_safe.spelling import apart as far_apart

_UNSEEN = ("Cf", "Co")  # signs that hide words, or part them
# prices and times of day
_KEPT = re.compile(
    r"\$\d{1,3}(?:,\d{3})*(?:\.\d\d)?(?!\d)|\$\d{4,6}(?!\d)|(?<![\d.,-])\d{1,6} (?:dollars?|bucks)\b"
    r"|(?<![\d:])\d{1,2}:\d{2}(?![\d:])",
    re.IGNORECASE,
)
_PIECE = 3  # digits


def masked_transcript(text: str, known: KnownValues) -> str:
    text = "".join(c for c in text if unicodedata.category(c) not in _UNSEEN)
    for hit in reversed(apart([*hits(text, known), *_pieces(text)])):
        text = f"{text[: hit.start]}[{hit.what if hit.is_sure else 'name'}]{text[hit.end :]}"
    return text


def _pieces(text: str) -> Iterator[Hit]:
    """Runs of digits, typed or said, that may be a part of somebody's number."""
    text = _KEPT.sub(lambda kept: "x" * len(kept[0]), text)
    run: list[Word] = []
    for word in [*as_spoken(as_written(text)), None]:
        if run and (word is None or not word.folded.isdigit() or far_apart(text, run[-1], word)):
            if sum(len(one.folded) for one in run) >= _PIECE:
                yield Hit(run[0].start, run[-1].end, "number")
            run = []
        if word and word.folded.isdigit():
            run.append(word)
