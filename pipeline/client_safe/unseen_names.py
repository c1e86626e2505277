"""Names of people whom nobody told us of, without a model: by lists of names, and by capitals where a summary has none.

A summary's own words are few. Within a sentence of it a capital is a month, a channel, the client's own name, or a person.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pipeline.client_safe.hits import Hit
from pipeline.client_safe.spelling import Word, as_written
from pipeline.client_safe.vocabulary import TRADE, common_words, names, names_that_are_words

_TITLES = frozenset("mr mrs ms mx miss dr sir madam señor señora".split())  # noqa: SIM905
# what a sentence, a list item or a cell begins after; "Mr." and "A." end none
_STARTS = re.compile(r"(?:^|(?<!\b[A-Za-z])(?<!\b[DM][rsx])(?<!\bMrs)\.|[!?:;•–—*\"“(\[/|\n]|\s-)\s*[\"“'‘(]?$")
_TOGETHER = re.compile(r"^(?:[ \u00a0'’\-]|, ?|\. ?)?$")  # what stands between the parts of one name


def unseen_names(text: str, allowed: Collection[str]) -> Iterator[Hit]:
    start = 0
    for line in text.split("\n"):
        for first, last in _names(line, allowed):
            yield Hit(start + first, start + last, "what looks like a name", is_sure=False)
        start += len(line) + 1


def starts_here(text: str, at: int) -> bool:
    """Does a sentence, or something like one, start at this place? Then a capital says nothing."""
    return bool(_STARTS.search(text, 0, at))


def _names(line: str, allowed: Collection[str]) -> Iterator[tuple[int, int]]:
    words = [word for word in as_written(line) if word.folded.isalpha()]
    is_title = _is_title(line, words)
    told = [_tells(line, words, i, is_title, allowed) for i in range(len(words))]
    for i in range(len(words)):  # a name beside a name: "Bill Garcia", "rose garcia"
        if not told[i] and words[i].folded in names_that_are_words() and _ours(words[i], allowed):
            told[i] = any(_beside(line, words, i, j) and told[j] for j in (i - 1, i + 1))
    for i in range(len(words) - 1):  # "Xochitl Okonkwo" at the start of a sentence
        word = words[i]
        after = words[i + 1]
        by_capital = told[i + 1] and after.folded not in names() and line[after.start].isupper()
        if not told[i] and by_capital and line[word.start].isupper() and _beside(line, words, i, i + 1):
            told[i] = _ours(word, allowed) and word.folded not in common_words()
    i = 0
    while i < len(words):
        if told[i]:
            first = i
            while i + 1 < len(words) and told[i + 1] and _beside(line, words, i, i + 1):
                i += 1
            yield words[first].start, words[i].end
        i += 1


def _tells(line: str, words: list[Word], i: int, is_title: bool, allowed: Collection[str]) -> bool:
    word = words[i]
    if not _ours(word, allowed):
        return False
    if i and words[i - 1].folded in _TITLES and line[words[i - 1].end : word.start].strip(". ") == "":
        return len(word.folded) > 1
    if len(word.folded) < 2 or word.folded in _TITLES:
        return False
    if word.folded in names():
        return True
    if (
        i
        and len(words[i - 1].folded) == 1
        and line[words[i - 1].end : word.start] == ". "
        and line[word.start].isupper()
    ):
        return True  # "A. Cooper"
    if not line[word.start].isupper() or is_title or word.folded in common_words() or starts_here(line, word.start):
        return False
    shout = line[word.start : word.end].isupper()
    return not (shout and len(word.folded) <= 4 and word.folded not in names_that_are_words())


def _ours(word: Word, allowed: Collection[str]) -> bool:
    """Could it be a name at all, or is it a word of ours?"""
    return word.folded not in TRADE and word.folded not in allowed


def _beside(line: str, words: list[Word], i: int, j: int) -> bool:
    if not 0 <= min(i, j) < max(i, j) < len(words):
        return False
    return bool(_TOGETHER.match(line[words[min(i, j)].end : words[max(i, j)].start]))


def _is_title(line: str, words: list[Word]) -> bool:
    """A heading with capitals on most of its words: capitals say nothing there."""
    long = [word for word in words if len(word.folded) > 3]
    return (
        len(long) >= 2
        and all(line[word.start].isupper() for word in long)
        and not line.rstrip().endswith((".", "!", "?"))
    )
