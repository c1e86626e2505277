"""One HubSpot account: a client's contacts, deals, tasks, staff and pipeline, as facts of the town plus what was written.

Objects stay facts until someone asks for them: properties are made when a page is rendered.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors.sandbox.facts import DEAL_STAGES, Client, Contact, CrmTask, Deal, Fact, Staff
from connectors.sandbox.hubspot.rendering import FROM_FACT, Properties, contact_id, deal_id, iso, ms, task_id
from connectors.sandbox.hubspot.schema import (
    DEFAULT,
    DEFAULTS,
    NUMBERS,
    PROPERTIES,
    SINGULAR,
    changed_property,
    created_property,
)

# HubSpot's default stage ids are words; pipelines made later have numbers. Labels are each business's own.
STAGE_WORDS = ("appointmentscheduled", "presentationscheduled", "contractsent", "closedwon", "closedlost")
STAGE_LABELS = (
    ("Appointment Scheduled", "Presentation Scheduled", "Contract Sent", "Closed Won", "Closed Lost"),
    ("New inquiry", "Estimate sent", "Job booked", "Paid / done", "Lost"),
    ("Fresh lead", "Quoted", "On the schedule", "Won", "Dead"),
)
PROBABILITY = ("0.2", "0.4", "0.8", "1.0", "0.0")

FIRST_WRITTEN = 70_000_000_001


@dataclass(slots=True)
class Obj:
    """One object. Times are epoch milliseconds. `written` overrides what the fact says; `history`: property -> (time, value)."""

    kind: str
    id: int
    created: int
    updated: int
    fact: Fact | None = None
    written: Properties = field(default_factory=dict)
    history: dict[str, list[tuple[int, str | None]]] = field(default_factory=dict)
    archived: int = 0


@dataclass
class Facts:
    """What the town knows of one client."""

    contacts: list[Contact] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)
    tasks: list[CrmTask] = field(default_factory=list)


class Portal:
    def __init__(self, client: Client, facts: Facts, now: Callable[[], datetime]) -> None:
        self.client, self.now = client, now
        self.portal_id = 40_000_000 + client.n
        self.zone = ZoneInfo(client.timezone)
        self.scopes = {
            f"crm.objects.{kind}.{way}" for kind in ("contacts", "deals", "companies") for way in ("read", "write")
        }
        self.scopes |= {"crm.objects.owners.read", "crm.schemas.contacts.read", "crm.schemas.contacts.write"}
        self.properties = {kind: dict(known) for kind, known in PROPERTIES.items()}
        self.unique: dict[str, set[str]] = defaultdict(set)
        self.labels = list(STAGE_LABELS[client.n % len(STAGE_LABELS)])
        self.archived_staff: set[int] = set()
        self.merged: dict[int, int] = {}
        self.absorbed: dict[int, list[int]] = defaultdict(list)
        self.links: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        self.store: dict[str, dict[int, Obj]] = {kind: {} for kind in NUMBERS}
        self._ids: dict[tuple[str, bool], list[int]] = {}
        self._changes: dict[str, list[tuple[int, int]]] = {}
        self._new_ids = itertools.count(FIRST_WRITTEN)
        self._load(facts)

    # ---- from facts ----

    def _load(self, facts: Facts) -> None:
        for contact in facts.contacts:
            if contact.merged_into:
                self.note_merge(contact_id(contact.merged_into), contact_id(contact.n))
                continue
            self._keep("contacts", contact_id(contact.n), contact, contact.archived)
        contacts = self.store["contacts"]
        for deal in facts.deals:
            made = self._keep("deals", deal_id(deal.n), deal, deal.archived)
            made.history["dealstage"] = [(ms(at), self.stage_id(stage)) for at, stage in deal.stages]
            made.updated = max(made.updated, made.history["dealstage"][-1][0]) if deal.stages else made.updated
            self._relate("deals", made, self.survivor(contact_id(deal.contact)), contacts)
        for task in facts.tasks:
            made = self._keep("tasks", task_id(task.n), task, False)
            self._relate("tasks", made, self.survivor(contact_id(task.contact)), contacts)

    def _keep(self, kind: str, number: int, fact: Fact, archived: bool) -> Obj:
        changed = ms(fact.changed_at)
        made = Obj(kind, number, ms(fact.at), changed, fact, archived=changed if archived else 0)
        self.store[kind][number] = made
        return made

    def _relate(self, kind: str, made: Obj, contact: int, contacts: Mapping[int, Obj]) -> None:
        known = contacts.get(contact)
        if known and not known.archived and not made.archived:
            self.link(kind, made.id, "contacts", contact)

    def note_merge(self, primary: int, gone: int) -> None:
        self.merged[gone] = primary
        self.absorbed[primary].append(gone)

    def survivor(self, contact: int) -> int:
        while contact in self.merged:
            contact = self.merged[contact]
        return contact

    def stage_id(self, key: str) -> str:
        position = DEAL_STAGES.index(key)
        if self.client.n % 2 == 0:
            return STAGE_WORDS[position]
        return str(1_190_000_000 + self.client.n * 100 + position)

    def owner_id(self, staff: Staff) -> str:
        return str(64_000_000 + staff.n)

    # ---- reading ----

    def get(self, kind: str, number: int) -> Obj | None:
        """The live object, if there is one."""
        found = self.store[kind].get(number)
        return found if found and not found.archived else None

    def ids(self, kind: str, *, archived: bool = False) -> list[int]:
        """In numeric order."""
        key = (kind, archived)
        if key not in self._ids:
            self._ids[key] = sorted(
                number for number, obj in self.store[kind].items() if bool(obj.archived) == archived
            )
        return self._ids[key]

    def changed_between(self, kind: str, low: int, high: int) -> Iterator[Obj]:
        """Live objects whose last change lies in [low, high]."""
        if kind not in self._changes:
            self._changes[kind] = sorted(
                (obj.updated, number) for number, obj in self.store[kind].items() if not obj.archived
            )
        changes = self._changes[kind]
        for i in range(bisect_left(changes, (low, -1)), len(changes)):
            if changes[i][0] > high:
                return
            yield self.store[kind][changes[i][1]]

    def values(self, obj: Obj) -> Properties:
        """All its properties; absent means empty."""
        values = FROM_FACT[obj.kind](obj.fact, self) if obj.fact and obj.kind in FROM_FACT else {}
        values.update(obj.written)
        values["hs_object_id"] = str(obj.id)
        values[created_property(obj.kind)] = iso(obj.created)
        values["hs_lastmodifieddate"] = values[changed_property(obj.kind)] = iso(obj.updated)
        if obj.kind == "deals":
            stage = self.stages().get(values.get("dealstage") or "", "")
            values["hs_is_closed"] = "true" if stage in ("1.0", "0.0") else "false"
            values["hs_is_closed_won"] = "true" if stage == "1.0" else "false"
        elif obj.kind == "tasks":
            values["hs_task_is_completed"] = "true" if values.get("hs_task_status") == "COMPLETED" else "false"
        elif obj.kind == "contacts":
            values["hs_merged_object_ids"] = ";".join(map(str, self.absorbed.get(obj.id, ()))) or None
            values["hs_searchable_calculated_phone_number"] = "".join(filter(str.isdigit, values.get("phone") or ""))[
                -10:
            ]
        return values

    def body(
        self, obj: Obj, wanted: Sequence[str] = (), history: Sequence[str] = (), associations: Sequence[str] = ()
    ) -> dict[str, Any]:
        """As the objects API gives it. A property the account does not have is left out; an empty one is null."""
        values, known = self.values(obj), self.properties[obj.kind]
        names = dict.fromkeys((*wanted, "hs_object_id", changed_property(obj.kind), created_property(obj.kind)))
        body: dict[str, Any] = {
            "id": str(obj.id),
            "properties": {
                name: values.get(name)
                for name in (names if wanted else DEFAULTS.get(obj.kind, DEFAULT))
                if name in known
            },
        }
        if history:
            body["propertiesWithHistory"] = {name: self.past(obj, name, values) for name in history if name in known}
        body |= {"createdAt": iso(obj.created), "updatedAt": iso(obj.updated), "archived": bool(obj.archived)}
        if obj.archived:
            body["archivedAt"] = iso(obj.archived)
        linked = {kind: self.links[obj.kind, kind].get(obj.id) for kind in associations}
        if any(linked.values()):
            body["associations"] = {
                kind: {"results": [{"id": str(to), "type": f"{SINGULAR[obj.kind]}_to_{SINGULAR[kind]}"} for to in ids]}
                for kind, ids in linked.items()
                if ids
            }
        body["url"] = f"https://app.hubspot.com/contacts/{self.portal_id}/record/{NUMBERS[obj.kind]}/{obj.id}"
        return body

    def past(self, obj: Obj, name: str, values: Properties) -> list[dict[str, Any]]:
        """Newest first."""
        steps = obj.history.get(name) or ([(obj.created, values[name])] if values.get(name) is not None else [])
        return [
            {"value": value or "", "timestamp": iso(at), "sourceType": "CRM_UI", "sourceId": "userId:9000001"}
            for at, value in reversed(steps)
        ]

    # ---- changing (tests call these too) ----

    def add(self, kind: str, values: Properties, *, at: datetime | None = None, number: int = 0) -> Obj:
        when = ms(at or self.now())
        made = Obj(kind, number or next(self._new_ids), when, when, written=dict(values))
        if values.get("dealstage"):
            made.history["dealstage"] = [(when, values["dealstage"])]
        self.store[kind][made.id] = made
        self._forget(kind)
        return made

    def edit(self, kind: str, number: int, values: Properties, *, at: datetime | None = None) -> Obj:
        obj, when = self.store[kind][number], ms(at or self.now())
        stage = values.get("dealstage")
        if stage and stage != self.values(obj).get("dealstage"):
            obj.history.setdefault("dealstage", []).append((when, stage))
        obj.written.update(values)
        obj.updated = max(obj.updated, when)
        self._forget(kind)
        return obj

    def archive(self, kind: str, number: int) -> None:
        """To the recycle bin, which also ends its associations."""
        self.store[kind][number].archived = ms(self.now())
        for other in NUMBERS:
            for to in list(self.links[kind, other].get(number, ())):
                self.unlink(kind, number, other, to)
        self._forget(kind)

    def restore(self, kind: str, number: int) -> None:
        self.store[kind][number].archived = 0
        self._forget(kind)

    def purge(self, kind: str, number: int) -> None:
        self.archive(kind, number)
        del self.store[kind][number]
        self._forget(kind)

    def merge(self, primary: int, gone: int) -> Obj:
        """Contact `gone` becomes part of `primary`."""
        for kind in NUMBERS:
            for to in list(self.links["contacts", kind].get(gone, ())):
                self.link("contacts", primary, kind, to)
        self.purge("contacts", gone)
        self.note_merge(primary, gone)
        return self.edit("contacts", primary, {})

    def link(self, kind: str, number: int, to_kind: str, to: int) -> None:
        for one, ones, other, others in ((kind, number, to_kind, to), (to_kind, to, kind, number)):
            ids = self.links[one, other][ones]
            if others not in ids:
                ids.append(others)

    def unlink(self, kind: str, number: int, to_kind: str, to: int) -> None:
        for one, ones, other, others in ((kind, number, to_kind, to), (to_kind, to, kind, number)):
            ids = self.links[one, other].get(ones, [])
            if others in ids:
                ids.remove(others)

    def _forget(self, kind: str) -> None:
        self._ids.pop((kind, False), None)
        self._ids.pop((kind, True), None)
        self._changes.pop(kind, None)

    # ---- people and pipeline ----

    def owners(self, *, archived: bool) -> list[dict[str, Any]]:
        return [
            {
                "id": self.owner_id(staff),
                "email": staff.email,
                "type": "PERSON",
                "firstName": staff.given,
                "lastName": staff.family,
                "userId": None if archived else 9_000_000 + staff.n,
                "userIdIncludingInactive": 9_000_000 + staff.n,
                "createdAt": iso(ms(self.client.joined_at)),
                "updatedAt": iso(ms(self.client.joined_at)),
                "archived": archived,
            }
            for staff in self.client.staff
            if (staff.n in self.archived_staff) == archived
        ]

    def stages(self) -> dict[str, str]:
        """Stage id -> probability."""
        return {self.stage_id(key): chance for key, chance in zip(DEAL_STAGES, PROBABILITY, strict=True)}

    def pipelines(self) -> list[dict[str, Any]]:
        joined = iso(ms(self.client.joined_at))
        stages = [
            {
                "label": label,
                "displayOrder": i,
                "metadata": {"isClosed": "true" if chance in ("1.0", "0.0") else "false", "probability": chance},
                "id": stage,
                "createdAt": joined,
                "updatedAt": joined,
                "archived": False,
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            }
            for i, (label, (stage, chance)) in enumerate(zip(self.labels, self.stages().items(), strict=True))
        ]
        return [
            {
                "label": "Sales Pipeline",
                "displayOrder": 0,
                "id": "default",
                "stages": stages,
                "createdAt": joined,
                "updatedAt": joined,
                "archived": False,
            }
        ]
