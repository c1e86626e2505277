"""QuickBooks' query language, as far as the real one is known to go: no OR, no JOIN, no field lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r"\s*('(?:\\.|[^'\\])*'|<=|>=|[=<>(),*]|[\w.\-+:]+)")
DEFAULT_PAGE, MAXIMUM_PAGE = 100, 1000


class QueryError(Exception):
    """A statement QuickBooks cannot read."""

    code, message, prefix = "4000", "Error parsing query", "QueryParserError"


class UnknownEntity(QueryError):
    """A statement it can read but not answer."""

    code, message, prefix = "4001", "Invalid query", "QueryValidationError"


@dataclass(frozen=True)
class Condition:
    """`prop` is lower case. `values` has one value, several for IN."""

    prop: str
    operator: str
    values: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        if value is None:
            return False
        if self.operator == "in":
            return _text(value) in self.values
        wanted = self.values[0]
        if self.operator == "like":
            pattern = ".*".join(re.escape(part) for part in wanted.split("%"))
            return re.fullmatch(pattern, _text(value), re.IGNORECASE | re.DOTALL) is not None
        left, right = _comparable(value, wanted)
        return {
            "=": left == right,
            "<": left < right,
            ">": left > right,
            "<=": left <= right,
            ">=": left >= right,
        }[self.operator]


@dataclass(frozen=True)
class Query:
    entity: str  # as written, in any case
    count: bool
    conditions: tuple[Condition, ...]
    order: str  # lower case; "" is none
    descending: bool
    start: int
    size: int


def parse(sql: str) -> Query:
    return _Parser(_tokens(sql)).query()


def _tokens(sql: str) -> list[str]:
    tokens, place, sql = [], 0, sql.strip().rstrip(";")
    while place < len(sql):
        match = _TOKEN.match(sql, place)
        if match is None:
            raise QueryError(f'Encountered " {sql[place : place + 10]!r} " at column {place + 1}.')
        tokens.append(match[1])
        place = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.place = tokens, 0

    def query(self) -> Query:
        self.expect("select")
        count = self.taken("count")
        if count:
            self.expect("(")
        self.expect("*")
        if count:
            self.expect(")")
        self.expect("from")
        entity = self.word()
        conditions = []
        if self.taken("where"):
            conditions.append(self.condition())
            while self.taken("and"):
                conditions.append(self.condition())
        order, descending = "", False
        if self.taken("orderby") or (self.taken("order") and self.expect("by")):
            order = self.word().lower()
            descending = self.taken("desc") or (self.taken("asc") and False)
        start = self.number() if self.taken("startposition") else 1
        size = self.number() if self.taken("maxresults") else DEFAULT_PAGE
        if self.place < len(self.tokens):
            raise QueryError(f'Encountered " {self.peek()} " where the statement should end.')
        # the .NET SDK counts from 0 and is answered
        return Query(entity, count, tuple(conditions), order, descending, max(1, start), min(size, MAXIMUM_PAGE))

    def condition(self) -> Condition:
        prop, operator = self.word().lower(), self.word().lower()
        if operator not in ("=", "<", ">", "<=", ">=", "like", "in"):
            raise QueryError(f'Encountered " {operator} " where an operator should be.')
        if operator != "in":
            return Condition(prop, operator, (self.value(),))
        self.expect("(")
        values = [self.value()]
        while self.taken(","):
            values.append(self.value())
        self.expect(")")
        return Condition(prop, operator, tuple(values))

    def value(self) -> str:
        token = self.word()
        if token.startswith("'"):
            return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
        if token.lower() in ("true", "false") or token.replace(".", "").isdigit():
            return token.lower()
        raise QueryError(f'Encountered " {token} " where a value should be.')

    def number(self) -> int:
        token = self.word()
        if not token.isdigit():
            raise QueryError(f'Encountered " {token} " where a number should be.')
        return int(token)

    def word(self) -> str:
        self.place += 1
        if self.place > len(self.tokens):
            raise QueryError("Encountered the end of the statement.")
        return self.tokens[self.place - 1]

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def taken(self, keyword: str) -> bool:
        if self.peek().lower() == keyword:
            self.place += 1
            return True
        return False

    def expect(self, keyword: str) -> bool:
        if not self.taken(keyword):
            raise QueryError(f'Encountered " {self.peek()} " where " {keyword} " should be.')
        return True


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comparable(value: Any, wanted: str) -> tuple[Any, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value), float(wanted)
        except ValueError:
            pass
    return _text(value), wanted
