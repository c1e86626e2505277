"""Making a task or a note in HubSpot exactly once. HubSpot has no idempotency key, so there are two ways.

1. Where the account takes a unique property (`prepare` makes it: `leadtrail_key`), our key is in it. HubSpot then refuses a
   second record with the same key, so a create may be repeated, and what people changed in the first one stays.
2. Elsewhere every body ends in the marker `fk:<key>`. What hangs on the contact (or the deal) is read for it, before a create
   and after one that was not answered; if it is not there yet, the outcome is unconfirmed. A record that hangs on nothing can
   only be searched for, and search shows new records late: there "not there" takes ten minutes longer to be sure.

The marker is written in both cases: staging knows our tasks by it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from connectors.base import SETTLES, ConnectorError, CredentialError, Health, ProviderDown, Rejected
from connectors.delivery import (
    Change,
    ContactUpdate,
    Diff,
    Note,
    OwnerTask,
    Reason,
    Receipt,
    Unconfirmed,
    Undeliverable,
)
from connectors.hubspot.account import HubSpotAccount
from connectors.hubspot.handoff import Handoff
from connectors.hubspot.objects import Batch, Paged

KEY_PROPERTY = "leadtrail_key"
TRIES = 3
BATCH = 100
FOUND_AT_ONCE = 200  # search's largest page
SEARCH_LAG = timedelta(minutes=10)
CLOCK_SKEW = timedelta(minutes=1)
KEY = re.compile(r"[A-Za-z0-9_:-]{1,100}")


@dataclass(frozen=True)
class _Kind:
    """`about`: object type -> the association type from our record to it. Direction matters."""

    name: str
    title: str
    body: str
    about: dict[str, int]


TASK = _Kind("tasks", "task", "hs_task_body", {"contacts": 204, "deals": 216})
NOTE = _Kind("notes", "note", "hs_note_body", {"contacts": 202, "deals": 214})


class _Made(msgspec.Struct, rename="camel"):
    id: str
    created_at: datetime | None = None
    properties: dict[str, str | None] = {}


class _Found(Paged):
    results: list[_Made]


class _Property(msgspec.Struct, rename="camel"):
    has_unique_value: bool = False


class _Target(msgspec.Struct, rename="camel"):
    to_object_id: int


class _Targets(Paged):
    results: list[_Target]


class _Owner(msgspec.Struct):
    id: str


class _Owners(Paged):
    results: list[_Owner]


class HubSpotDeliverer:
    """Owner tasks, notes, and changes of contacts (see handoff.py)."""

    def __init__(self, api: HubSpotAccount, *, settles: timedelta = SETTLES) -> None:
        self.api, self.settles = api, settles
        self.handoff = Handoff(api, settles=settles)
        self._unique: dict[str, bool] = {}
        self._owners: dict[str, str] = {}

    # ---- the unique property ----

    def prepare(self) -> Health:
        """Make the unique property on tasks and notes, where the account allows that."""
        lost = []
        for kind in (TASK, NOTE):
            try:
                made = self._has_key(kind) or self._make_key(kind)
            except (Rejected, CredentialError) as error:
                made, why = False, error.what
            else:
                why = f"{KEY_PROPERTY} is not unique."
            self._unique[kind.name] = made
            lost += [] if made else [f"{kind.name.capitalize()} are read back by their marker: {why}"]
        return Health(not lost, " ".join(lost) or f"Tasks and notes are made under the unique property {KEY_PROPERTY}.")

    def _has_key(self, kind: _Kind) -> bool:
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

    def _make_key(self, kind: _Kind) -> bool:
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
        return msgspec.json.decode(answer.body, type=_Property).has_unique_value

    # ---- delivering ----

    def deliver(self, message: OwnerTask | Note | ContactUpdate) -> Receipt:
        if isinstance(message, ContactUpdate):
            return self.handoff.deliver(message)
        kind = _kind(message)
        begun = self.api.http.clock.now()
        unique = self._has_key(kind)
        if not unique and (found := self._marked(kind, message, since=None)):
            return self._receipt(kind, found, new=False)
        body = {"properties": self._properties(kind, message, unique), "associations": _associations(kind, message)}
        for _ in range(TRIES):
            try:
                answer = self.api.write("POST", self.api.path("objects", f"/{kind.name}"), body)
                return self._receipt(kind, msgspec.json.decode(answer.body, type=_Made), new=True)
            except Rejected as error:
                # Which words HubSpot has for a key that is taken is not documented: whether it is there tells.
                if unique and (found := self._by_key(kind, message.key)):
                    return self._receipt(kind, found, new=False)
                raise self._refused(kind, error) from None
            except (ProviderDown, msgspec.DecodeError) as error:
                if isinstance(error, ProviderDown) and not error.maybe_done:
                    raise
                if found := self._read_back(kind, message, begun):
                    return self._receipt(kind, found, new=True)
                if not unique:
                    break
        raise self._unconfirmed(message.key, kind, begun, searched=not _links(message))

    def find(self, message: OwnerTask | Note | ContactUpdate, *, since: datetime) -> Receipt | None:
        if isinstance(message, ContactUpdate):
            return self.handoff.find(message, since=since)
        kind = _kind(message)
        unique = self._has_key(kind)
        # the marker too: it may have been made before the account had the property
        found = (self._by_key(kind, message.key) if unique else None) or self._marked(kind, message, since=since)
        if found:
            return self._receipt(kind, found, new=False)
        too_early = self._unconfirmed(message.key, kind, since, searched=not _links(message))
        if self.api.http.clock.now() < too_early.ask_at:
            raise too_early
        return None

    def preview(self, message: OwnerTask | Note | ContactUpdate) -> Diff:
        if isinstance(message, ContactUpdate):
            return self.handoff.preview(message)
        kind = _kind(message)
        unique = self._has_key(kind)
        if found := self._by_key(kind, message.key) if unique else self._marked(kind, message, since=None):
            return Diff("hubspot", "nothing", f"{kind.title} {found.id}")
        fields = [Change(name, None, value) for name, value in self._properties(kind, message, unique).items()]
        links = [Change(f"associations.{about}", None, to) for about, to in _links(message).items()]
        return Diff("hubspot", "create", kind.title, (*fields, *links))

    # ---- what is written ----

    def _properties(self, kind: _Kind, message: OwnerTask | Note, unique: bool) -> dict[str, str]:
        if not KEY.fullmatch(message.key):
            raise self._wrong("the key has characters that HubSpot could change.", "content")
        # HubSpot takes HTML in a body. The marker is plain text: what it does to HTML comments is not documented.
        text = html.escape(message.body).replace("\n", "<br>")
        fields = {kind.body: f"{text}<br>fk:{message.key}", "hubspot_owner_id": self._owner(message)}
        if isinstance(message, OwnerTask):
            fields |= {
                "hs_timestamp": _instant(message.due_at),
                "hs_task_subject": message.subject,
                "hs_task_status": "NOT_STARTED",
                "hs_task_type": message.kind,
                "hs_task_priority": message.priority,
            }
        else:
            fields["hs_timestamp"] = _instant(message.at)
        if unique:
            fields[KEY_PROPERTY] = message.key
        return {name: value for name, value in fields.items() if value}

    def _owner(self, message: OwnerTask | Note) -> str:
        email = "" if isinstance(message, Note) else message.owner_email.strip().lower()
        if message.owner_id or not email:
            return message.owner_id
        if email not in self._owners:
            owners = self.api.get(self.api.path("owners"), _Owners, params={"email": email, "limit": 10}).results
            if not owners:
                raise self._wrong("no owner in HubSpot has the address this task is for.", "bad_address")
            self._owners[email] = owners[0].id
        return self._owners[email]

    # ---- reading back ----

    def _by_key(self, kind: _Kind, key: str) -> _Made | None:
        path = self.api.path("objects", f"/{kind.name}/{quote(key, safe='')}")
        try:
            return self.api.get(path, _Made, params={"idProperty": KEY_PROPERTY, "properties": KEY_PROPERTY})
        except Rejected as error:
            if error.status != 404:
                raise
            return None

    def _marked(self, kind: _Kind, message: OwnerTask | Note, *, since: datetime | None) -> _Made | None:
        """The record with our marker, on the contact or the deal. On neither: of those made since then, as search shows them."""
        marker = re.compile(rf"\bfk:{re.escape(message.key)}(?![\w:-])")
        about = next(iter(_links(message).items()), None)
        if about:
            pages = self._records_of(kind, *about)
        else:
            pages = self._made_since(kind, since - CLOCK_SKEW) if since else iter(())
        for records in pages:
            for record in records:
                if marker.search(record.properties.get(kind.body) or ""):
                    return record
        return None

    def _records_of(self, kind: _Kind, about: str, number: str) -> Iterator[Sequence[_Made]]:
        ids = self._linked(kind, about, number)
        for start in range(0, len(ids), BATCH):
            inputs = [{"id": one} for one in ids[start : start + BATCH]]
            body = {"properties": [kind.body], "propertiesWithHistory": [], "inputs": inputs}
            found = self.api.post(self.api.path("objects", f"/{kind.name}/batch/read"), Batch, json=body)
            yield [msgspec.json.decode(raw, type=_Made) for raw in found.results]

    def _linked(self, kind: _Kind, about: str, number: str) -> list[str]:
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

    def _made_since(self, kind: _Kind, since: datetime) -> Iterator[Sequence[_Made]]:
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

    def _read_back(self, kind: _Kind, message: OwnerTask | Note, begun: datetime) -> _Made | None:
        """After a create without an answer. That it can't be read now proves nothing either."""
        try:
            unique = self._unique.get(kind.name)
            return self._by_key(kind, message.key) if unique else self._marked(kind, message, since=begun)
        except ConnectorError:
            return None

    # ---- words ----

    def _receipt(self, kind: _Kind, made: _Made, *, new: bool) -> Receipt:
        at = made.created_at or self.api.http.clock.now()
        return Receipt("hubspot", made.id, "delivered", at, {"object": kind.title, "new": new})

    def _unconfirmed(self, key: str, kind: _Kind, sent_at: datetime, *, searched: bool) -> Unconfirmed:
        return Unconfirmed(
            f"HubSpot did not say whether it made the {kind.title}, and does not show it yet.",
            connection=self.api.connection,
            key=key,
            sent_at=sent_at,
            ask_at=sent_at
            + self.settles
            + (SEARCH_LAG if searched and not self._unique.get(kind.name) else timedelta()),
        )

    def _refused(self, kind: _Kind, error: Rejected) -> Undeliverable:
        gone = error.status == 404
        return Undeliverable(
            f"HubSpot refused the {kind.title}: {error.what}",
            connection=self.api.connection,
            fix="Nothing was made. Look whether its contact, deal and owner still exist in HubSpot, and correct the lead.",
            reason="target" if gone else "content",
            status=error.status,
            code=error.code,
        )

    def _wrong(self, what: str, reason: Reason) -> Undeliverable:
        return Undeliverable(
            what, connection=self.api.connection, fix="Nothing was made. Correct the client's owners.", reason=reason
        )


def _kind(message: OwnerTask | Note) -> _Kind:
    return TASK if isinstance(message, OwnerTask) else NOTE


def _links(message: OwnerTask | Note) -> dict[str, str]:
    """Object type -> id of what it is about."""
    given = {"contacts": message.contact_id, "deals": message.deal_id}
    return {about: number for about, number in given.items() if number}


def _associations(kind: _Kind, message: OwnerTask | Note) -> list[dict[str, Any]]:
    return [
        {
            "to": {"id": number},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind.about[about]}],
        }
        for about, number in _links(message).items()
    ]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
