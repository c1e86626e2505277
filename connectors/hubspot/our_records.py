"""Our own records in HubSpot: known by the unique property where the account has it, and by the marker in their body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from connectors.base import Rejected
from connectors.delivery import Note, OwnerTask
from connectors.hubspot.account import HubSpotAccount
from connectors.hubspot.objects import Batch, Paged

KEY_PROPERTY = "leadtrail_key"
BATCH = 100
FOUND_AT_ONCE = 200  # search's largest page
CLOCK_SKEW = timedelta(minutes=1)


@dataclass(frozen=True)
class Kind:
    """`about`: object type -> the association type from our record to it. Direction matters."""

    name: str
    title: str
    body: str
    about: dict[str, int]


TASK = Kind("tasks", "task", "hs_task_body", {"contacts": 204, "deals": 216})
NOTE = Kind("notes", "note", "hs_note_body", {"contacts": 202, "deals": 214})


class Made(msgspec.Struct, rename="camel"):
    id: str
    created_at: datetime | None = None
    properties: dict[str, str | None] = {}


class _Found(Paged):
    results: list[Made]


class _Property(msgspec.Struct, rename="camel"):
    has_unique_value: bool = False


class _Target(msgspec.Struct, rename="camel"):
    to_object_id: int


class _Targets(Paged):
    results: list[_Target]


class OurRecords:
    def __init__(self, api: HubSpotAccount) -> None:
        self.api = api
        self._unique: dict[str, bool] = {}

    def has_key(self, kind: Kind) -> bool:
        """Whether the property is there and unique. Remembered: it cannot be made unique later."""
        if kind.name not in self._unique:
            try:
                found = self.api.get(self.api.path("properties", f"/{kind.name}/{KEY_PROPERTY}"), _Property)
            except Rejected as error:
                if error.status != 404:
                    raise
                return False
            self._unique[kind.name] = found.has_unique_value
        return self._unique[kind.name]

    def make_key(self, kind: Kind) -> bool:
        if kind.name in self._unique:  # it is there, and not unique
            return False
        body = {
            "name": KEY_PROPERTY,
            "label": "Leadtrail key",
            "groupName": kind.title,
            "type": "string",
            "fieldType": "text",
            "hasUniqueValue": True,
        }
        answer = self.api.write("POST", self.api.path("properties", f"/{kind.name}"), body)
        self._unique[kind.name] = msgspec.json.decode(answer.body, type=_Property).has_unique_value
        return self._unique[kind.name]

    # ---- looking ----

    def by_key(self, kind: Kind, key: str) -> Made | None:
        path = self.api.path("objects", f"/{kind.name}/{quote(key, safe='')}")
        try:
            return self.api.get(path, Made, params={"idProperty": KEY_PROPERTY, "properties": KEY_PROPERTY})
        except Rejected as error:
            if error.status != 404:
                raise
            return None

    def marked(self, kind: Kind, message: OwnerTask | Note, *, since: datetime | None) -> Made | None:
        """The record with our marker, on the contact or the deal. On neither: of those made since then, as search shows them."""
        marker = re.compile(rf"\bfk:{re.escape(message.key)}(?![\w:-])")
        about = next(iter(links_of(message).items()), None)
        if about:
            pages = self._records_of(kind, *about)
        else:
            pages = self._made_since(kind, since - CLOCK_SKEW) if since else iter(())
        for records in pages:
            for record in records:
                if marker.search(record.properties.get(kind.body) or ""):
                    return record
        return None

    def _records_of(self, kind: Kind, about: str, number: str) -> Iterator[Sequence[Made]]:
        ids = self._linked(kind, about, number)
        for start in range(0, len(ids), BATCH):
            inputs = [{"id": one} for one in ids[start : start + BATCH]]
            body = {"properties": [kind.body], "propertiesWithHistory": [], "inputs": inputs}
            found = self.api.post(self.api.path("objects", f"/{kind.name}/batch/read"), Batch, json=body)
            yield [msgspec.json.decode(raw, type=Made) for raw in found.results]

    def _linked(self, kind: Kind, about: str, number: str) -> list[str]:
        family = "/crm/v4/objects" if self.api.version == "v3" else self.api.path("objects")
        path = f"{family}/{about}/{quote(number, safe='')}/associations/{kind.name}"
        ids: list[str] = []
        params: dict[str, Any] = {"limit": 500}
        while True:
            try:
                page = self.api.get(path, _Targets, params=params)
            except Rejected as error:
                if error.status != 404:
                    raise
                return ids  # a contact that is gone has no tasks; making one is refused
            ids += [str(target.to_object_id) for target in page.results]
            if not page.after or page.after == params.get("after"):
                return ids
            params["after"] = page.after

    def _made_since(self, kind: Kind, since: datetime) -> Iterator[Sequence[Made]]:
        """By id, as objects.py does it. Not by words: how HubSpot cuts a text into words is not documented."""
        last = "0"
        while True:
            made = {"propertyName": "hs_createdate", "operator": "GTE", "value": str(int(since.timestamp() * 1000))}
            beyond = {"propertyName": "hs_object_id", "operator": "GT", "value": last}
            page = self.api.search(
                kind.name,
                _Found,
                body={
                    "filterGroups": [{"filters": [made, beyond]}],
                    "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                    "properties": [kind.body],
                    "limit": FOUND_AT_ONCE,
                    "after": "0",
                },
            )
            yield page.results
            if len(page.results) < FOUND_AT_ONCE or page.results[-1].id == last:
                return
            last = page.results[-1].id

    def gone(self, about: dict[str, str]) -> str:
        """Which of these is not in HubSpot any more, in a word; "" if all are."""
        for name, number in about.items():
            try:
                self.api.get(self.api.path("objects", f"/{name}/{quote(number, safe='')}"), Made)
            except Rejected as error:
                if error.status == 404:
                    return name.removesuffix("s")
        return ""


def links_of(message: OwnerTask | Note) -> dict[str, str]:
    """Object type -> id of what it is about."""
    given = {"contacts": message.contact_id, "deals": message.deal_id}
    return {about: number for about, number in given.items() if number}
