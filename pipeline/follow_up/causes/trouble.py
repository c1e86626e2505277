"""What the finders of causes are given and what they bring back, and the numbers they go by (docs/decisions/holds.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy import Engine, case

from pipeline.settings import Settings
from pipeline.store.schema import outputs

if TYPE_CHECKING:
    from pipeline.clients import ClientConfig


@dataclass(frozen=True)
class Thresholds:
    # import
    unread_after: timedelta = timedelta(hours=2)  # a source that could not be read for this long: eight tries in vain
    usual_day_at_least: int = 20  # of fewer rows a day chance alone makes days that look like trouble
    short_day_share: float = 0.2  # a day with no more than this of the usual rows
    short_file_share: float = 0.5  # an export with less than this of the rows an earlier one had
    unreadable_at_least: int = 5  # records (or webhooks) that could not be read ...
    unreadable_share: float = 0.2  # ... and their share in what came last
    unreadable_within: timedelta = timedelta(days=1)
    # delivery
    last_outputs: int = 20  # of a client and channel, each counted as it stands
    outputs_within: timedelta = timedelta(hours=6)
    failing_at_least: int = 5
    failing_share: float = 0.5
    rest: timedelta = timedelta(minutes=15)  # then it is tried again, slowly
    # compliance
    filtered_at_least: int = 3  # texts that carriers took for spam within a day
    filtered_within: timedelta = timedelta(days=1)
    asked_in_vain: timedelta = timedelta(days=1)  # how the registration stands: after this nobody knows
    # a warning, not a hold
    token_ends_within: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Trouble:
    """A cause that was seen. `seen_at` is the time of the newest fact it rests on: a hold that was cleared after it is not
    opened again for it. `passes`: trying again after a rest may find it gone."""

    client_id: str
    scope: str
    evidence: str
    seen_at: datetime
    passes: bool = False


@dataclass(frozen=True)
class House:
    """What there is to look at. `cleared` says when each client|scope|cause was last cleared."""

    engine: Engine
    settings: Settings
    clients: Sequence[ClientConfig]
    now: datetime
    cleared: Mapping[str, str] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)

    @cached_property
    def connections(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.client_id, each.provider) for one in self.clients for each in one.connections)

    def owner(self, client_id: str) -> str:
        return next((one.owner for one in self.clients if one.client_id == client_id), self.agency)

    @property
    def agency(self) -> str:
        """Who answers for what is no single client's."""
        named = [one.follow_up.agency_owner or one.owner for one in self.clients]
        return next(iter(named), "agency")

    def dealt_with(self, client_id: str, scope: str, cause: str) -> str:
        """Until when what was seen has been dealt with; "" if nothing has."""
        return self.cleared.get(f"{client_id}|{scope}|{cause}", "")

    def published(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the published warehouse. Nothing before the first publication, or before the models that are asked for."""
        if not self.settings.analytics.exists():
            return []
        with duckdb.connect(str(self.settings.analytics), read_only=True) as warehouse:
            try:
                return warehouse.execute(sql, values).fetchall()
            except (
                duckdb.CatalogException,
                duckdb.BinderException,
            ):  # published before there was such a model or column
                return []


# by which way an attempt went: a task that is on the desk and was tried elsewhere has been moved from the CRM
TRIED_BY = case((outputs.c.channel == "desk_task", "crm_task"), else_=outputs.c.channel)

Finder = Callable[[House], list[Trouble]]
