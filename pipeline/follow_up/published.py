"""What the published warehouse says of follow-up: steps, contacts, and what happened on the timeline. Read only.

A publication never changes; who has it open goes on reading it while a newer one is published (`is_current` tells).
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from pipeline.settings import Settings
from pipeline.store.erasures import Prints

T = TypeVar("T")
Row = dict[str, Any]


class NotPublished(Exception):
    """There is nothing to read yet."""


@dataclass(frozen=True)
class Step:
    """A row of `fct_follow_up_steps`. `former_step_keys`: what its key would have been before leads were merged."""

    step_key: str
    client_id: str
    rule: str
    rule_version: str
    step_id: str
    trigger: str
    trigger_event_id: str
    triggered_at: datetime
    due_at: datetime
    expires_at: datetime
    channel: str
    template: str
    template_version: str
    owner_role: str
    priority: str
    state: str
    why: str
    lead_id: str | None = None
    person_id: str | None = None
    respond_within_seconds: int | None = None
    escalations: str = "[]"
    visit_at: datetime | None = None
    visit_on: date | None = None
    former_step_keys: str = ""
    stopped_by_event_id: str | None = None
    stop_reason: str | None = None
    stopped_at: datetime | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.step_key, *filter(None, (self.former_step_keys or "").split(",")))


@dataclass(frozen=True)
class Contact:
    """A row of `follow_up_contacts`: how a lead is reached, and by what right."""

    client_id: str
    lead_id: str
    person_id: str | None = None
    phone: str | None = None
    email: str | None = None
    given_name: str | None = None
    zip_code: str | None = None
    crm_contact_id: str | None = None
    crm_deal_id: str | None = None
    crm_owner_id: str | None = None
    owner_email: str | None = None
    service: str | None = None
    channel: str | None = None
    amount_cents: int | None = None
    currency: str | None = None
    opened_at: datetime | None = None
    consent_kind: str | None = None
    consent_at: datetime | None = None
    consent_source: str | None = None
    last_inquiry_at: datetime | None = None
    last_purchase_at: datetime | None = None
    last_call_at: datetime | None = None
    last_text_at: datetime | None = None
    last_email_at: datetime | None = None
    last_form_at: datetime | None = None
    email_bounced_at: datetime | None = None
    quote_valid_until: date | None = None


NOBODY = Contact("", "")


class Published:
    """One publication, for any number of threads."""

    def __init__(self, settings: Settings) -> None:
        self._pointer = settings.analytics
        self.prints = Prints(settings)
        self._lock = threading.Lock()
        self._contacts: dict[tuple[str, str], Contact | None] = {}
        if not self._pointer.exists():
            raise NotPublished("Nothing is published yet, so nobody knows what is due. Run `leadtrail build`.")
        self.path: Path = self._pointer.resolve()
        self._connection = duckdb.connect(str(self.path), read_only=True)

    @classmethod
    @contextmanager
    def opened(cls, settings: Settings) -> Iterator[Published]:
        published = cls(settings)
        try:
            yield published
        finally:
            published.close()

    @property
    def is_current(self) -> bool:
        return self._pointer.resolve() == self.path

    def close(self) -> None:
        self._connection.close()

    # ---- steps ----

    def steps_due(self, now: datetime, clients: Collection[str]) -> list[Step]:
        """What these clients' rules ask for by now, and what came too late; not what was stopped in time."""
        asked = (
            "select * from follow_up.fct_follow_up_steps where state in ('due', 'expired') and due_at <= $now "
            "and client_id in (select unnest($clients)) order by due_at, step_key"
        )
        return _made(Step, self._rows(asked, now=_naive(now), clients=sorted(clients)))

    def steps_of(self, keys: Collection[str]) -> list[Step]:
        """The steps that have, or before a merge would have had, one of these keys."""
        if not keys:
            return []
        asked = (
            "select * from follow_up.fct_follow_up_steps where step_key in (select unnest($keys)) "
            "or (former_step_keys <> '' and list_has_any(string_split(former_step_keys, ','), $keys)) order by 1"
        )
        return _made(Step, self._rows(asked, keys=sorted(keys)))

    # ---- leads ----

    def current_leads(self, client_id: str, lead_ids: Iterable[str]) -> dict[str, str]:
        """The lead that each of these ids stands for now: leads are merged and parted."""
        wanted = sorted(set(lead_ids))
        rows = self._rows(
            "select alias_id, min(lead_id) as lead_id from timeline.lead_aliases "
            "where client_id = $client and alias_id in (select unnest($ids)) group by alias_id",
            client=client_id,
            ids=wanted,
        )
        return {**dict(zip(wanted, wanted, strict=True)), **{row["alias_id"]: row["lead_id"] for row in rows}}

    def contact(self, client_id: str, lead_id: str) -> Contact | None:
        """How the lead is reached that this id stands for now."""
        if (client_id, lead_id) not in self._contacts:
            self.know([(client_id, lead_id)])
        return self._contacts[client_id, lead_id]

    def know(self, leads: Iterable[tuple[str, str]]) -> None:
        """Look up the contacts of many leads at once: one by one takes long."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for client_id, lead_id in leads:
            wanted[client_id].add(lead_id)
        for client_id, ids in wanted.items():
            current = self.current_leads(client_id, ids)
            rows = self._rows(
                "select * from follow_up.follow_up_contacts where client_id = $client and lead_id in (select unnest($leads))",
                client=client_id,
                leads=sorted(set(current.values())),
            )
            found = {one.lead_id: one for one in _made(Contact, rows)}
            self._contacts |= {(client_id, lead_id): found.get(current[lead_id]) for lead_id in ids}

    def contacts_of_person(self, client_id: str, person_id: str) -> list[Contact]:
        asked = "select * from follow_up.follow_up_contacts where client_id = $client and person_id = $person"
        return _made(Contact, self._rows(asked, client=client_id, person=person_id))

    def holidays(self, client_id: str) -> set[date]:
        """Days on which the client's office is closed, as entered in the seed of holidays."""
        asked = "select cast(day as date) as day from seeds.holidays where client_id in ('*', $client)"
        return {row["day"] for row in self._rows(asked, client=client_id)}

    # ---- anything else ----

    def events(self, asked: str, **given: Any) -> list[Row]:
        """Rows of a query on the timeline. Times given and got are UTC."""
        return self._rows(asked, **{name: _naive(one) for name, one in given.items()})

    def _rows(self, asked: str, **given: Any) -> list[Row]:
        with self._lock:
            found = self._connection.execute(asked, {name: one for name, one in given.items() if f"${name}" in asked})
            names = [column[0] for column in found.description or ()]
            rows = found.fetchall()
        return [dict(zip(names, map(_aware, row), strict=True)) for row in rows]


def escalations_of(written: str | None) -> Sequence[Mapping[str, Any]]:
    """[{"after_seconds": 900, "to": "backup"}, …] as the step has it."""
    return list(json.loads(written or "[]"))


def _made(kind: type[T], rows: Iterable[Row]) -> list[T]:
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return [kind(**{name: value for name, value in row.items() if name in names}) for row in rows]


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
