"""Which version of a rule was in force for a client, and when: worked out from what people did to it, in the order they did it.

A client's own enabled version takes the place of the house's of the same name. A pause ends no interval: a lead that comes
during it belongs to the version, and what is still true when the pause ends is emitted then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

HOUSE = ""  # the client_id of the house's own rules and templates
HOUSES_VERSION = ""  # moves of a client at this version are about the house's rule, as far as this client goes


@dataclass(frozen=True)
class Move:
    """A row of `rule_states`."""

    client_id: str
    rule: str
    version: str
    state: str
    at: str
    by: str = ""
    note: str = ""


@dataclass(frozen=True)
class Interval:
    """`whose` is the client_id the version was added under: the client's, or the house's. `pinned_at`: its templates are those
    that were approved then."""

    whose: str
    version: str
    enabled_from: str
    enabled_until: str | None
    pinned_at: str


@dataclass(frozen=True)
class Course:
    """What one rule was to one client: its intervals, oldest first, and how it stands now."""

    intervals: tuple[Interval, ...]
    state: Literal["enabled", "paused", "retired"]
    silenced: frozenset[str] = frozenset()

    def is_silent(self, version: str) -> bool:
        """Whether leads in flight on this version get nothing for now. Who paused a version and then replaced or retired it did
        not mean it to go on."""
        return self.state == "paused" or version in self.silenced


@dataclass
class _Side:
    """The house's rule, or the client's own, while the log is read."""

    version: str | None = None
    pinned: dict[str, str] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)  # also those that were paused when they were replaced or retired

    @property
    def is_paused(self) -> bool:
        return self.version in self.paused

    def take(self, move: Move) -> None:
        if move.state == "enabled":
            self.version, self.pinned[move.version] = move.version, move.at
            self.paused.discard(move.version)
        elif move.state == "paused":
            self.paused.add(move.version)
        elif move.state == "retired" and move.version == self.version:
            self.version = None


def course(moves: Iterable[Move], client_id: str) -> Course:
    """The course of one rule for one client. `moves` are those of this rule by the house and by this client, in order."""
    house, own = _Side(), _Side()
    left_out = False  # the client pauses the house's rule for itself
    taken_up_at = ""  # when the client last took up the house's rule for itself
    spans: list[tuple[str, str, str]] = []  # whose, version, from
    ends: list[str | None] = []
    for move in moves:
        if move.client_id == HOUSE:
            house.take(move)
        elif move.version == HOUSES_VERSION:
            left_out = move.state == "paused"
            taken_up_at = taken_up_at if left_out else move.at
        else:
            own.take(move)
        side, whose = (own, client_id) if own.version else (house, HOUSE)
        now = (whose, side.version) if side.version else None
        before = spans[-1][:2] if spans and ends[-1] is None else None
        if now == before:
            continue
        if before:
            ends[-1] = move.at
        if now and side.version:
            spans.append((whose, side.version, move.at))
            ends.append(None)
    intervals = [
        Interval(whose, version, start, end, _pinned_at(own if whose else house, whose, version, taken_up_at))
        for (whose, version, start), end in zip(spans, ends, strict=True)
        if start != end  # replaced in the same moment: it was never in force
    ]
    of_house = {one.version for one in intervals if one.whose == HOUSE}
    silenced = frozenset(own.paused | (of_house if left_out else house.paused))
    if not spans or ends[-1] is not None:
        return Course(tuple(intervals), "retired", silenced)
    is_paused = own.is_paused if own.version else house.is_paused or left_out
    return Course(tuple(intervals), "paused" if is_paused else "enabled", silenced)


def _pinned_at(side: _Side, whose: str, version: str, taken_up_at: str) -> str:
    return side.pinned[version] if whose else max(side.pinned[version], taken_up_at)
