"""What is personal by its form, whoever it belongs to: Presidio's pattern recognisers, called one by one without its engine
(no model is loaded, nothing is downloaded), and ours for what they do not know: numbers and addresses as people say them, US
street addresses, keys and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pipeline.client_safe.hits import Hit
from pipeline.client_safe.known_values import STREET_KINDS
from pipeline.client_safe.spelling import Word, apart, as_spoken, as_written
from pipeline.client_safe.vocabulary import TRADE, common_words

PRESIDIO = {
    "EMAIL_ADDRESS": "email address",
    "PHONE_NUMBER": "phone number",
    "CREDIT_CARD": "card number",
    "US_SSN": "social security number",
    "IP_ADDRESS": "network address",
    "IBAN_CODE": "account number",
}
ENOUGH = 0.4  # Presidio's scores below this are guesses that need a word beside them

_SPOKEN_EMAIL = re.compile(
    r"[\w.+-]+\s*(?:\(at\)|\[at\]|\{at\}|\bat\b|@)\s*[\w-]+(?:\s*(?:\(dot\)|\[dot\]|\bdot\b|\.)\s*[a-z]{2,}\b)+",
    re.IGNORECASE,
)
_TOKENS = (
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"),
    re.compile(
        r"\b(?:sk|pk|rk|pat|ghp|gho|xox[abprs]|whsec|bearer|basic|token|key|secret)[-_ :=]{1,2}[\w.~+/=-]{16,}",
        re.IGNORECASE,
    ),
    re.compile(r"(?<![\w/+=-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{20,}"),
)
_LOCAL = re.compile(r"(?<![\w$.,-])[2-9]\d{2}[-.][0-9]\d{3}(?![\w%-]|[.,]\d)")
_PO_BOX = re.compile(r"\bp\.?\s*o\.?\s*box\s+\d+", re.IGNORECASE)
_FLAT = frozenset(("apt", "apartment", "unit", "suite", "ste", "#", "lot", "floor"))
# street kinds that are ordinary words as well: of these, the name before them decides
_ORDINARY_KINDS = frozenset(
    ("way", "place", "drive", "court", "lane", "run", "pass", "row", "walk", "path", "square", "circle", "st")
)


@cache
def _recognisers() -> Sequence[Any]:
    """They take seconds to import: at the first text, not at the first import."""
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        UsSsnRecognizer,
    )

    class AnyHost(EmailRecognizer):
        """Any host will do. Presidio asks a list of public suffixes, which it would fetch from the network."""

        def validate_result(self, pattern_text: str) -> None:
            return None

    return (
        AnyHost(),
        PhoneRecognizer(supported_regions=("US",)),
        CreditCardRecognizer(),
        UsSsnRecognizer(),
        IpRecognizer(),
        IbanRecognizer(),
    )


def patterns(text: str) -> Iterator[Hit]:
    for recogniser in _recognisers():
        for found in recogniser.analyze(text, list(PRESIDIO), None):
            if found.score >= ENOUGH and not _is_amount(text, found.start, found.end):
                yield Hit(found.start, found.end, PRESIDIO[found.entity_type])
    for found in _SPOKEN_EMAIL.finditer(text):
        if "@" in found[0] or re.search(r"\b(dot|at[)\]}])|[(\[{]at", found[0], re.IGNORECASE):
            yield Hit(found.start(), found.end(), "email address")
    for pattern in _TOKENS:
        yield from (Hit(found.start(), found.end(), "key or token") for found in pattern.finditer(text))
    yield from (Hit(found.start(), found.end(), "phone number") for found in _LOCAL.finditer(text))
    yield from (Hit(found.start(), found.end(), "address") for found in _PO_BOX.finditer(text))
    words = as_spoken(as_written(text))
    yield from _numbers(text, words)
    yield from _addresses(text, words)


def _is_amount(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start] == "$" or text[end : end + 1] == "%"


# ---- numbers as they are typed and said ----


def _numbers(text: str, words: Sequence[Word]) -> Iterator[Hit]:
    for run in _runs_of_digits(text, words):
        for first in range(len(run)):
            part = run[first:]
            for last in range(len(part), 0, -1):
                what = _kind(part[:last])
                if what and not _is_amount(text, part[0].start, part[last - 1].end):
                    yield Hit(part[0].start, part[last - 1].end, what)
                    break


def _runs_of_digits(text: str, words: Sequence[Word]) -> Iterator[list[Word]]:
    run: list[Word] = []
    for word in words:
        if not word.folded.isdigit() or (run and apart(text, run[-1], word)):
            if run:
                yield run
            run = []
        if word.folded.isdigit():
            run.append(word)
    if run:
        yield run


def _kind(words: Sequence[Word]) -> str:
    """What this run of digits is, all of it; "" if nothing that we know."""
    digits = "".join(word.folded for word in words)
    spoken = sum(word.is_spoken for word in words)
    groups = tuple(len(word.folded) for word in words)
    if 13 <= len(digits) <= 19 and len(groups) != 2 and _luhn(digits):
        return "card number"
    ten = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
    if len(ten) == 10 and ten[0] not in "01":
        grouped = groups[1:] if groups[0] == 1 and len(digits) == 11 else groups
        if spoken or grouped in ((10,), (11,), (3, 7), (6, 4), (3, 3, 4), (3, 3, 2, 2), (2, 2, 2, 2, 2)):
            return "phone number"
    if len(digits) == 7 and spoken == len(words) >= 4 and digits[0] not in "01":
        return "phone number"
    return ""


def _luhn(digits: str) -> bool:
    total = sum(
        int(digit) * 2 // 10 + int(digit) * 2 % 10 if i % 2 else int(digit) for i, digit in enumerate(reversed(digits))
    )
    return total % 10 == 0 and len(set(digits)) > 1


# ---- US street addresses ----


def _addresses(text: str, words: Sequence[Word]) -> Iterator[Hit]:
    """A number, one to four words, a kind of street: "3189 N Canyon Ct, Apt 4", "thirty one eighty nine canyon court"."""
    for i, word in enumerate(words):
        if not word.folded.isdigit() or len(word.folded) > 6:
            continue
        if i and words[i - 1].folded.isdigit() and not apart(text, words[i - 1], word):
            continue
        at = i + 1
        while at < len(words) and words[at].folded.isdigit() and not apart(text, words[at - 1], words[at]):
            at += 1
        for last in range(at + 1, min(at + 5, len(words))):
            if any(
                apart(text, before, after) or _ends(text, before, after)
                for before, after in pairwise(words[i : last + 1])
            ):
                break
            if words[last].folded in STREET_KINDS and _names_a_street(text, words[at:last], words[last]):
                yield Hit(word.start, words[_with_flat(words, last)].end, "address")
                break


def _ends(text: str, before: Word, after: Word) -> bool:
    """Does a sentence or a clause end between these words? A point after a short word ("N. Oak St.") ends none."""
    between = text[before.end : after.start]
    return any(mark in between for mark in ";:!?()%$") or ("." in between and len(before.folded) > 2) or "," in between


def _names_a_street(text: str, name: Sequence[Word], kind: Word) -> bool:
    said = [word.folded for word in name]
    if any(word in common_words() for word in said):
        return False
    capital = all(text[word.start].isupper() or text[word.start].isdigit() for word in (*name, kind))
    return capital or not (kind.folded in _ORDINARY_KINDS and any(word in TRADE for word in said))


def _with_flat(words: Sequence[Word], last: int) -> int:
    after = last + 1
    while after < len(words) and words[after].folded in _FLAT:
        after += 1
    return min(after, len(words) - 1) if after > last + 1 else last
