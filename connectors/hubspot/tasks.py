"""Making a task in HubSpot exactly once. HubSpot has no idempotency key, so there are two ways.

1. `create_task` sends once and never repeats. If the outcome is unknown (ProviderDown), the caller asks `find_task` before it
   does anything else: every task carries a marker, and the contact's tasks are read through its associations. Search is no
   help here, it shows new records late.
2. Where the account takes a unique property on tasks (`probe_unique_task_property`), `upsert_tasks` may be repeated at will.
   Replaying one would overwrite what people changed since, so a caller with a receipt does not.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from connectors.base import ContractChanged, CredentialError, Health, Rejected
from connectors.hubspot.account import HubSpotAccount
from connectors.hubspot.objects import Batch, Paged

KEY_PROPERTY = "leadtrail_key"
TASK_TO_CONTACT, TASK_TO_DEAL = 204, 216
BATCH = 100


@dataclass(frozen=True)
class TaskDraft:
    """A task to be made. `key` is ours and names it for ever; `text` is plain text."""

    key: str
    contact_id: str
    subject: str
    text: str
    due_at: datetime
    owner_id: str = ""
    deal_id: str = ""
    kind: Literal["CALL", "TODO", "EMAIL"] = "TODO"
    priority: Literal["LOW", "MEDIUM", "HIGH"] = "MEDIUM"

    def properties(self) -> dict[str, str]:
        # The marker is plain text: HubSpot takes HTML in this field, and what it does to HTML comments is not documented.
        fields = {
            "hs_timestamp": self.due_at.isoformat(timespec="milliseconds"),
            "hs_task_subject": self.subject,
            "hs_task_body": f"{html.escape(self.text)}<br>fk:{self.key}",
            "hs_task_status": "NOT_STARTED",
            "hs_task_type": self.kind,
            "hs_task_priority": self.priority,
            "hubspot_owner_id": self.owner_id,
        }
        return {name: value for name, value in fields.items() if value}

    def links(self) -> list[tuple[str, str, int]]:
        """(object type, id, association type) of what the task is about."""
        deal = [("deals", self.deal_id, TASK_TO_DEAL)] if self.deal_id else []
        return [("contacts", self.contact_id, TASK_TO_CONTACT), *deal]


class _Made(msgspec.Struct):
    id: str


class _Property(msgspec.Struct, rename="camel"):
    has_unique_value: bool = False


class _Upserted(msgspec.Struct):
    id: str
    properties: dict[str, str | None]


class _Target(msgspec.Struct, rename="camel"):
    to_object_id: int


class _Targets(Paged):
    results: list[_Target]


class TaskWriter:
    def __init__(self, api: HubSpotAccount) -> None:
        self.api = api

    def create_task(self, draft: TaskDraft) -> str:
        """Make the task and return its id. ProviderDown: it may exist, look with `find_task`. Rejected: it does not, and
        will not (a contact that is gone, a wrong value): a person must look."""
        associations = [
            {"to": {"id": to}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind}]}
            for _, to, kind in draft.links()
        ]
        body = {"properties": draft.properties(), "associations": associations}
        return msgspec.json.decode(self.api.write("POST", self.api.path("objects", "/tasks"), body).body, type=_Made).id

    def find_task(self, contact_id: str, key: str) -> str | None:
        """The id of the task we made for this contact under this key, if it exists."""
        marker = re.compile(rf"\bfk:{re.escape(key)}(?![\w-])")
        ids = self._tasks_of(contact_id)
        for start in range(0, len(ids), BATCH):
            body = {
                "properties": ["hs_task_body"],
                "propertiesWithHistory": [],
                "inputs": [{"id": one} for one in ids[start : start + BATCH]],
            }
            found = self.api.post(self.api.path("objects", "/tasks/batch/read"), Batch, json=body)
            for task in (msgspec.json.decode(raw, type=_Upserted) for raw in found.results):
                if marker.search(task.properties.get("hs_task_body") or ""):
                    return task.id
        return None

    def _tasks_of(self, contact_id: str) -> list[str]:
        family = "/crm/v4/objects" if self.api.version == "v3" else self.api.path("objects")
        ids: list[str] = []
        params: dict[str, Any] = {"limit": 500}
        while True:
            page = self.api.get(f"{family}/contacts/{contact_id}/associations/tasks", _Targets, params=params)
            ids += [str(target.to_object_id) for target in page.results]
            if not page.after:
                return ids
            params["after"] = page.after

    def probe_unique_task_property(self) -> Health:
        """Whether this account takes a unique property on tasks, which is made if it is not there yet. Not ok is no fault:
        tasks are then made one by one and read back by their marker."""
        path = self.api.path("properties", "/tasks")
        try:
            try:
                unique = self.api.get(f"{path}/{KEY_PROPERTY}", _Property).has_unique_value
            except Rejected as error:
                if error.status != 404:
                    raise
                unique = self._make_property(path)
        except (Rejected, CredentialError) as error:
            return Health(False, f"Tasks are made one by one and read back by their marker: {error.what}")
        if not unique:
            return Health(
                False, f"Tasks are made one by one and read back by their marker: {KEY_PROPERTY} is not unique."
            )
        return Health(True, f"Tasks are made under the unique property {KEY_PROPERTY}.")

    def _make_property(self, path: str) -> bool:
        body = {
            "name": KEY_PROPERTY,
            "label": "Leadtrail key",
            "groupName": "task",
            "type": "string",
            "fieldType": "text",
            "hasUniqueValue": True,
        }
        return msgspec.json.decode(self.api.write("POST", path, body).body, type=_Property).has_unique_value

    def upsert_tasks(self, drafts: Sequence[TaskDraft]) -> dict[str, str]:
        """Make those that do not exist yet; key -> id. Only where `probe_unique_task_property` is ok. Safe to repeat."""
        ids: dict[str, str] = {}
        unique = list({draft.key: draft for draft in drafts}.values())  # one key twice would reject the whole batch
        for start in range(0, len(unique), BATCH):
            batch = unique[start : start + BATCH]
            inputs = [{"id": d.key, "idProperty": KEY_PROPERTY, "properties": d.properties()} for d in batch]
            path = self.api.path("objects", "/tasks/batch/upsert")
            answer = msgspec.json.decode(self.api.write("POST", path, {"inputs": inputs}, retry=True).body, type=Batch)
            for task in (msgspec.json.decode(raw, type=_Upserted) for raw in answer.results):
                ids[task.properties.get(KEY_PROPERTY) or ""] = task.id
        lost = [draft.key for draft in unique if draft.key not in ids]
        if lost:
            raise ContractChanged(
                f"{len(lost)} of {len(unique)} tasks were not made.",
                connection=self.api.connection,
                fix="It is safe to send them again; if it stays, look at the first of them by hand.",
            )
        self._link(unique, ids)
        return ids

    def _link(self, drafts: Sequence[TaskDraft], ids: dict[str, str]) -> None:
        """An upsert cannot carry associations. These calls may be repeated."""
        family = "/crm/v4/objects" if self.api.version == "v3" else self.api.path("objects")
        for draft in drafts:
            for kind, to, _ in draft.links():
                path = f"{family}/tasks/{ids[draft.key]}/associations/default/{kind}/{to}"
                self.api.request("PUT", path, retry=True)
