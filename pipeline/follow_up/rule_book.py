"""The rule book: every version of every rule, how it stands, and who moved it there.

draft -> replayed -> enabled -> paused -> retired. Nobody can enable what nobody has seen replayed, nor what would send words
that nobody approved. Each move is a row that is only ever added, and a row of the sealed audit log, in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, select

from pipeline.follow_up.intervals import HOUSE, Course, Move, course
from pipeline.follow_up.rule_file import Rule
from pipeline.store.schema import rule_states, rule_versions


def rule_contents(connection: Connection) -> dict[tuple[str, str, str], Rule]:
    """Every version: (client_id, rule, version) -> what it says."""
    table = rule_versions.c
    rows = connection.execute(select(table.client_id, table.rule, table.version, table.content))
    return {(row.client_id, row.rule, row.version): Rule.from_kept(row.content) for row in rows}


def moves_of(connection: Connection) -> list[Move]:
    """Everything that was done to rules, in order."""
    columns = [rule_states.c[name] for name in Move.__dataclass_fields__]
    rows = connection.execute(select(*columns).order_by(rule_states.c.seq)).mappings()
    return [Move(**row) for row in rows]


def courses(moves: Iterable[Move], client_id: str) -> dict[str, Course]:
    """How each rule went for a client, by its name."""
    by_rule: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        if move.client_id in (HOUSE, client_id):
            by_rule[move.rule].append(move)
    return {rule: course(its_moves, client_id) for rule, its_moves in sorted(by_rule.items())}
