"""How much personal data the redaction finds in drafts, and how often it is wrong: recall by kind, and precision.

    python -m bench.redaction [--drafts 1000] [--seed 1] [--misses 0] [--json FILE]

Gold drafts (bench/redaction/gold.py) hold customers' data in every spelling: of known customers, where all of it must be
masked, and of people nobody told us of, where it must be found so that it blocks publishing. A find counts if it touches what was
planted; a mask, only if it covers all of it. Ends with an error if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.redaction.gold import BUSINESS, BUSINESS_PHONE, GoldDraft, Planted, clean_drafts, customers, gold_drafts
from pipeline.client_safe.hits import Hit
from pipeline.client_safe.known_values import KnownValues
from pipeline.client_safe.redaction import hits

TARGETS = {  # known: all of it, always; unseen: the least share found
    "name, cased": 0.97,
    "name, lower": 0.90,
    "phone": 0.999,
    "email": 0.999,
    "card": 0.999,
    "token": 0.999,
    "address": 0.95,
    "given name alone": 0.0,  # measured; an ordinary word in lower case ("hope") cannot be told
}
FALSE_ALARMS = 0.01  # of clean drafts


@dataclass
class Score:
    planted: Counter[tuple[bool, str]] = field(default_factory=Counter)
    found: Counter[tuple[bool, str]] = field(default_factory=Counter)
    misses: list[tuple[str, str]] = field(default_factory=list)
    right: int = 0
    wrong: int = 0

    def recall(self, is_known: bool, entity: str) -> float:
        return self.found[is_known, entity] / max(self.planted[is_known, entity], 1)


def ridgeline(count: int, seed: int) -> KnownValues:
    known = KnownValues()
    known.allow(BUSINESS, BUSINESS_PHONE)
    known.allowed_words.add("chicago")
    for one in customers(seed, count):
        known.add_name(one.name)
        known.add_phone(one.phone)
        known.add_email(one.email)
        known.add_street(one.address)
        known.add_order(one.order)
    return known


def score(drafts: Iterable[GoldDraft], known: KnownValues, into: Score) -> None:
    for draft in drafts:
        found = hits(draft.text, known)
        for planted in draft.planted:
            place = (planted.is_known, planted.entity)
            into.planted[place] += 1
            if (_masked if planted.is_known else _touched)(draft.text, planted, found):
                into.found[place] += 1
            else:
                into.misses.append((f"{planted.entity}: {planted.way}", draft.text[planted.start : planted.end]))
        for hit in found:
            touches = any(hit.start < planted.end and planted.start < hit.end for planted in draft.planted)
            into.right, into.wrong = into.right + touches, into.wrong + (not touches)


def _touched(text: str, planted: Planted, found: list[Hit]) -> bool:
    return any(hit.start < planted.end and planted.start < hit.end for hit in found)


# what stands beside the value in the gold set and says nothing of anybody
_BESIDE = ("mr", "apt", "x", "n", "invoice", "order", "no")


def _masked(text: str, planted: Planted, found: list[Hit]) -> bool:
    """Nothing of it is left that says anything: at most a letter, a kind of street, the word before its number."""
    left = "".join(
        c if not any(hit.is_sure and hit.start <= at < hit.end for hit in found) else " "
        for at, c in enumerate(text[planted.start : planted.end], planted.start)
    )
    words = "".join(c if c.isalnum() else " " for c in left.lower()).split()
    if planted.entity == "address":
        return not any(word.isdigit() and word != "4" for word in words)
    return all(len(word) == 1 or word in _BESIDE or (word == "12" and "x" in left) for word in words)


def main() -> int:
    options = _options()
    known = ridgeline(5_000, options.seed)
    total, began = Score(), time.perf_counter()
    score(gold_drafts(options.seed, options.drafts, customers(options.seed, 5_000), is_known=True), known, total)
    score(gold_drafts(options.seed, options.drafts, (), is_known=False), known, total)
    took = time.perf_counter() - began
    clean = list(clean_drafts(options.seed, options.drafts))
    alarms = [(text, found) for text in clean if (found := hits(text, known))]
    missed = _report(total, alarms, len(clean), took, options.drafts * 2)
    for way, value in total.misses[: options.misses]:
        print(f"  missed {way}: {value}")
    for text, found in alarms[: options.misses]:
        print(f"  false alarm: {[(text[hit.start : hit.end], hit.what) for hit in found]}")
    if options.json:
        rows = {f"{'known' if k else 'unseen'} {e}": total.recall(k, e) for k, e in sorted(total.planted)}
        options.json.write_text(json.dumps({**rows, "false alarms": len(alarms), "drafts": len(clean)}, indent=1))
    return 1 if missed else 0


def _report(total: Score, alarms: list[tuple[str, list[Hit]]], clean: int, took: float, drafts: int) -> int:
    missed = 0
    print(f"{'what':22} {'planted':>8} {'recall':>8}   target")
    for is_known, entity in sorted(total.planted, reverse=True):
        recall, target = total.recall(is_known, entity), 1.0 if is_known else TARGETS[entity]
        ok = recall >= target
        missed += not ok
        name = f"{'known' if is_known else 'unseen'} {entity}"
        mark = "" if ok else "✗"
        print(
            f"{name:22} {total.planted[is_known, entity]:8,} {recall:8.2%}   {'≥' if target < 1 else ' '} {target:.1%} {mark}"
        )
    precision = total.right / max(total.right + total.wrong, 1)
    print(
        f"precision {precision:.2%} of {total.right + total.wrong:,} hits; {len(alarms)} of {clean:,} clean drafts blocked"
    )
    print(f"{took / drafts * 1000:.1f} ms for a draft")
    return missed + (len(alarms) > FALSE_ALARMS * clean)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole: Callable[[str], int] = int
    parser.add_argument("--drafts", type=whole, default=1_000)
    parser.add_argument("--seed", type=whole, default=1)
    parser.add_argument("--misses", type=whole, default=0, help="how many misses and false alarms to show")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
