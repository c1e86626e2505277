"""A place in a text that holds, or may hold, personal data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """`is_sure`: it may be masked without asking. What only looks like personal data is left for a person to judge."""

    start: int
    end: int
    what: str
    is_sure: bool = True


def apart(hits: Iterable[Hit]) -> list[Hit]:
    """Overlapping hits as one, in order; what is sure of any of them is sure of all."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda one: (one.start, -one.end)):
        if kept and hit.start < kept[-1].end:
            last = kept[-1]
            named = last if (last.is_sure, last.end - last.start) >= (hit.is_sure, hit.end - hit.start) else hit
            kept[-1] = Hit(last.start, max(last.end, hit.end), named.what, last.is_sure or hit.is_sure)
        else:
            kept.append(hit)
    return kept
