"""How rules stand: read from what was done to them, whether for one decision or for a whole replay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from pipeline.follow_up.intervals import HOUSE, HOUSES_VERSION, Course, Move, course
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.template_book import NotAllowed, TemplateLog, templates_kept
from pipeline.follow_up.template_file import Template
from pipeline.store.schema import rule_replays, rule_states, rule_versions

State = Literal["draft", "replayed", "enabled", "paused", "retired"]
IN_FORCE = ("enabled", "paused")


@dataclass(frozen=True)
class Version:
    """One version of a rule: the house's (client_id "") or a client's own."""

    client_id: str
    rule: str
    version: str

    def __str__(self) -> str:
        return f"{self.client_id or 'house'}/{self.rule}@{self.version}"


@dataclass(frozen=True)
class Standing:
    """Everything the store holds of rules and templates, read at once."""

    moves: Sequence[Move]
    contents: Mapping[tuple[str, str, str], Rule]
    approvals: TemplateLog
    words: Mapping[tuple[str, str, str], Template]

    @classmethod
    def read(cls, connection: Connection) -> Standing:
        return cls(
            moves_of(connection), rule_contents(connection), TemplateLog.read(connection), templates_kept(connection)
        )

    def rule_of(self, version: Version) -> Rule:
        return self.contents[(version.client_id, version.rule, version.version)]

    def find_version(self, client_id: str, rule: str, beginning: str = "") -> Version:
        """The version that begins so. Without a beginning: what was added last or, if that is retired, what is in force.
        Raises NotAllowed."""
        versions = [version for whose, name, version in self.contents if (whose, name) == (client_id, rule)]
        if not versions:
            whose = f"{client_id} has no rule {rule} of its own" if client_id else f"The house has no rule {rule}"
            raise NotAllowed(f"{whose}. `leadtrail rules list` shows what there is.")
        if not beginning:
            newest = versions[-1]
            if states_of(self.moves, client_id, rule).get(newest) == "retired":
                newest = in_force(self.moves, client_id, rule) or newest
            return Version(client_id, rule, newest)
        fitting = [version for version in versions if version.startswith(beginning)]
        if len(fitting) != 1:
            said = f"{len(fitting)} versions of {rule} begin with {beginning}"
            raise NotAllowed(f"{said}; there are {', '.join(versions)}.")
        return Version(client_id, rule, fitting[0])

    def words_now(self, client_id: str, template: str) -> Template | None:
        """What a step would carry that began now: the words in use or, before any are approved, those added last."""
        approved = self.approvals.in_use(client_id, template)
        for whose in (client_id, HOUSE):
            added = [one for (owner, name, _), one in self.words.items() if (owner, name) == (whose, template)]
            if found := [one for one in added if one.version == approved] or (added[-1:] if approved is None else []):
                return found[0]
        return None


def rule_contents(connection: Connection) -> dict[tuple[str, str, str], Rule]:
    """Every version, the one added last at the end: (client_id, rule, version) -> what it says."""
    table = rule_versions.c
    query = select(table.client_id, table.rule, table.version, table.content)
    rows = connection.execute(query.order_by(table.added_at, table.version))
    return {(row.client_id, row.rule, row.version): Rule.from_kept(row.content) for row in rows}


def moves_of(connection: Connection, rule: str = "") -> list[Move]:
    """Everything that was done to rules (or to one), in order."""
    columns = [rule_states.c[name] for name in Move.__dataclass_fields__]
    query = select(*columns).order_by(rule_states.c.seq)
    rows = connection.execute(query.where(rule_states.c.rule == rule) if rule else query).mappings()
    return [Move(**row) for row in rows]


def courses(moves: Iterable[Move], client_id: str) -> dict[str, Course]:
    """How each rule went for a client, by its name."""
    by_rule: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        if move.client_id in (HOUSE, client_id):
            by_rule[move.rule].append(move)
    return {rule: course(its_moves, client_id) for rule, its_moves in sorted(by_rule.items())}


def states_of(moves: Iterable[Move], client_id: str, rule: str) -> dict[str, State]:
    """How each version under this client_id stands, in the order in which they were last moved."""
    states: dict[str, Any] = {}
    for move in moves:
        if (move.client_id, move.rule) == (client_id, rule) and move.version != HOUSES_VERSION:
            states.pop(move.version, None)
            states[move.version] = move.state
    return states


def in_force(moves: Iterable[Move], client_id: str, rule: str) -> str | None:
    """The version under this client_id that is enabled or paused."""
    return next((version for version, state in states_of(moves, client_id, rule).items() if state in IN_FORCE), None)


def in_force_for(moves: Sequence[Move], client_id: str, rule: str) -> Version | None:
    """What is in force for a client: its own version, else the house's."""
    for whose in dict.fromkeys((client_id, HOUSE)):
        if version := in_force(moves, whose, rule):
            return Version(whose, rule, version)
    return None


def overview(connection: Connection, client_id: str = HOUSE) -> list[dict[str, Any]]:
    """Each rule as this client has it. Without a client: the house's rules, and what is different for its clients."""
    moves = moves_of(connection)
    told = []
    for rule, whose in sorted({(move.rule, move.client_id) for move in moves}):
        if client_id and whose not in (HOUSE, client_id):
            continue
        own = [move for move in moves if (move.client_id, move.rule) == (whose, rule)]
        states = states_of(moves, whose, rule)
        version = in_force(moves, whose, rule) or ([*states] or [HOUSES_VERSION])[-1]
        last = [move for move in own if move.version == version][-1]
        state = last.state
        if client_id and whose == HOUSE and state == "enabled":  # as far as this client goes
            course = courses(moves, client_id)[rule]
            state = "replaced" if course.intervals[-1].whose == client_id != HOUSE else course.state
        if version == HOUSES_VERSION and (client_id or state == "enabled"):
            continue  # said of the house's rule above, or nothing is different
        told.append(
            {
                "rule": rule,
                "whose": whose,
                "state": state,
                "version": version,
                "since": last.at,
                "by": last.by,
                "waiting": [
                    {"version": one, "state": waits}
                    for one, waits in states.items()
                    if waits in ("draft", "replayed") and one != version
                ],
            }
        )
    return told


def was_replayed(connection: Connection, version: Version) -> bool:
    table = rule_replays.c
    query = select(table.seq).where(
        table.client_id.in_([version.client_id, HOUSE]),
        table.rule == version.rule,
        table.version == version.version,
    )
    return connection.execute(query.limit(1)).first() is not None


def state_of(connection: Connection, version: Version) -> State | None:
    return states_of(moves_of(connection, version.rule), version.client_id, version.rule).get(version.version)
