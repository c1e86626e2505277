"""A text as its words, however they are spelled: folded, numbers said in words as digits, each with its place in the text.

Two readings: as written, and as spoken ("three one two", "singh at mailbox dot example"). A value is looked for as a run of
words without what stands between them, so that "(916) 555-6160", "9165556160" and "nine one six ..." are one spelling.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+|\d+|#")
_BETWEEN = 5  # characters between two words of one value: more is another value

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_DIGITS = {word: str(i) for i, word in enumerate(f"{_ONES} eighteen nineteen".split())} | {"oh": "0", "o": "0"}
_TENS = {word: str(i) for i, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}  # noqa: SIM905
_TIMES = {"double": 2, "triple": 3}
# said between the parts of a number or an address
_SAID = frozenset(("at", "dot", "dash", "point", "hyphen", "period", "underscore", "area", "code", "space"))


@dataclass(frozen=True)
class Word:
    """`folded` is what it is compared by."""

    folded: str
    start: int
    end: int
    is_spoken: bool = False  # a digit that stands there as a word


def fold(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def key(text: str) -> str:
    """The words of a value, run together: what it is looked up by."""
    return "".join(word.folded for word in as_written(text) if word.folded != "#")


def as_written(text: str) -> list[Word]:
    return [Word(fold(found[0]), found.start(), found.end()) for found in _WORD.finditer(text)]


def as_spoken(words: Sequence[Word]) -> list[Word]:
    """Numbers in words become digits; what is only said between parts is left out."""
    spoken: list[Word] = []
    i = 0
    while i < len(words):
        word, following = words[i], words[i + 1] if i + 1 < len(words) else None
        said = word.folded
        if said in _TIMES and following and (digit := _digit(following.folded)):
            spoken.append(Word(digit * _TIMES[said], word.start, following.end, True))
            i += 1
        elif said in _TENS:
            unit = _DIGITS.get(following.folded, "") if following and following.start - word.end <= 1 else ""
            if len(unit) == 1 and unit != "0" and following:
                spoken.append(Word(_TENS[said] + unit, word.start, following.end, True))
                i += 1
            else:
                spoken.append(Word(_TENS[said] + "0", word.start, word.end, True))
        elif said in _DIGITS:
            spoken.append(Word(_DIGITS[said], word.start, word.end, True))
        elif said == "hundred" and spoken and spoken[-1].is_spoken:
            spoken.append(Word("00", word.start, word.end, True))
        elif said not in _SAID:
            spoken.append(word)
        i += 1
    return spoken


def _digit(said: str) -> str:
    digit = _DIGITS.get(said, said)
    return digit if len(digit) == 1 and digit.isdigit() else ""


def runs(words: Sequence[Word], text: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """Every run of words close together, as (their key, first word, last word), up to `longest` characters."""
    for first, word in enumerate(words):
        joined = word.folded
        last = first
        while len(joined) <= longest:
            yield joined, first, last
            last += 1
            if last == len(words) or apart(text, words[last - 1], words[last]):
                break
            joined += words[last].folded if words[last].folded != "#" else ""


def apart(text: str, before: Word, after: Word) -> bool:
    """Are these words of two values? What was said between them ("dot", "area code") does not count as distance."""
    between = text[before.end : after.start]
    return "\n" in between or sum(not c.isalpha() for c in between) > _BETWEEN
