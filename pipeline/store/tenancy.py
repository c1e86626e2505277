"""Whose rows an account may see. Every read for a person's eyes takes one of these; there is no default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, String, cast, literal, true


@dataclass(frozen=True)
class Clients:
    """Some clients, or (`ids` is None) every one."""

    ids: frozenset[str] | None

    @classmethod
    def of(cls, ids: Iterable[str]) -> Clients:
        """From an account's list: `*` is every client."""
        named = frozenset(ids)
        return cls(None if "*" in named else named)

    def __contains__(self, client_id: object) -> bool:
        return self.ids is None or client_id in self.ids

    def own(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        """The condition that a row is theirs."""
        if self.ids is None:
            return true()
        return cast(column, String).in_(sorted(self.ids)) if self.ids else literal(False)
