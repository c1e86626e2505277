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
from datetime import UTC, datetime, timedelta
from typing import Any

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
from connectors.hubspot.objects import Paged
from connectors.hubspot.our_records import KEY_PROPERTY, NOTE, TASK, Kind, Made, OurRecords, links_of

TRIES = 3
SEARCH_LAG = timedelta(minutes=10)
KEY = re.compile(r"[A-Za-z0-9_:-]{1,100}")


class _Owner(msgspec.Struct):
    id: str


class _Owners(Paged):
    results: list[_Owner]


class HubSpotDeliverer:
    """Owner tasks, notes, and changes of contacts (see handoff.py)."""

    def __init__(self, api: HubSpotAccount, *, settles: timedelta = SETTLES) -> None:
        self.api, self.settles = api, settles
        self.ours = OurRecords(api)
        self.handoff = Handoff(api, settles=settles)
        self._owners: dict[str, str] = {}

    # ---- the unique property ----

    def prepare(self) -> Health:
        """Make the unique property on tasks and notes, where the account allows that."""
        lost = []
        for kind in (TASK, NOTE):
            try:
                made = self.ours.has_key(kind) or self.ours.make_key(kind)
            except (Rejected, CredentialError) as error:
                made, why = False, error.what
            else:
                why = f"{KEY_PROPERTY} is not unique."
            lost += [] if made else [f"{kind.name.capitalize()} are read back by their marker: {why}"]
        return Health(not lost, " ".join(lost) or f"Tasks and notes are made under the unique property {KEY_PROPERTY}.")

    # ---- delivering ----

    def deliver(self, message: OwnerTask | Note | ContactUpdate) -> Receipt:
        if isinstance(message, ContactUpdate):
            return self.handoff.deliver(message)
        kind = _kind(message)
        begun = self.api.http.clock.now()
        unique = self.ours.has_key(kind)
        if not unique and (found := self.ours.marked(kind, message, since=None)):
            return self._receipt(kind, found, new=False)
        body = {"properties": self._properties(kind, message, unique), "associations": _associations(kind, message)}
        for _ in range(TRIES):
            try:
                answer = self.api.write("POST", self.api.path("objects", f"/{kind.name}"), body)
                return self._receipt(kind, msgspec.json.decode(answer.body, type=Made), new=True)
            except Rejected as error:
                # Which words HubSpot has for a key that is taken is not documented: whether it is there tells.
                if unique and (found := self.ours.by_key(kind, message.key)):
                    return self._receipt(kind, found, new=False)
                raise self._refused(kind, message, error) from None
            except (ProviderDown, msgspec.DecodeError) as error:
                if isinstance(error, ProviderDown) and not error.maybe_done:
                    raise
                if found := self._read_back(kind, message, begun, unique):
                    return self._receipt(kind, found, new=True)
                if not unique:
                    break
        raise self._unconfirmed(message.key, kind, begun, searched=not unique and not links_of(message))

    def find(self, message: OwnerTask | Note | ContactUpdate, *, since: datetime) -> Receipt | None:
        if isinstance(message, ContactUpdate):
            return self.handoff.find(message, since=since)
        kind = _kind(message)
        unique = self.ours.has_key(kind)
        # the marker too: it may have been made before the account had the property
        found = (self.ours.by_key(kind, message.key) if unique else None) or self.ours.marked(
            kind, message, since=since
        )
        if found:
            return self._receipt(kind, found, new=False)
        too_early = self._unconfirmed(message.key, kind, since, searched=not unique and not links_of(message))
        if self.api.http.clock.now() < too_early.ask_at:
            raise too_early
        return None

    def preview(self, message: OwnerTask | Note | ContactUpdate) -> Diff:
        if isinstance(message, ContactUpdate):
            return self.handoff.preview(message)
        kind = _kind(message)
        unique = self.ours.has_key(kind)
        if found := self.ours.by_key(kind, message.key) if unique else self.ours.marked(kind, message, since=None):
            return Diff("hubspot", "nothing", f"{kind.title} {found.id}")
        fields = [Change(name, None, value) for name, value in self._properties(kind, message, unique).items()]
        links = [Change(f"associations.{about}", None, to) for about, to in links_of(message).items()]
        return Diff("hubspot", "create", kind.title, (*fields, *links))

    # ---- what is written ----

    def _properties(self, kind: Kind, message: OwnerTask | Note, unique: bool) -> dict[str, str]:
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

    def _read_back(self, kind: Kind, message: OwnerTask | Note, begun: datetime, unique: bool) -> Made | None:
        """After a create without an answer. That it can't be read now proves nothing either."""
        try:
            return self.ours.by_key(kind, message.key) if unique else self.ours.marked(kind, message, since=begun)
        except ConnectorError:
            return None

    # ---- words ----

    def _receipt(self, kind: Kind, made: Made, *, new: bool) -> Receipt:
        at = made.created_at or self.api.http.clock.now()
        return Receipt("hubspot", made.id, "delivered", at, {"object": kind.title, "new": new})

    def _unconfirmed(self, key: str, kind: Kind, sent_at: datetime, *, searched: bool) -> Unconfirmed:
        return Unconfirmed(
            f"HubSpot did not say whether it made the {kind.title}, and does not show it yet.",
            connection=self.api.connection,
            key=key,
            sent_at=sent_at,
            ask_at=sent_at + self.settles + (SEARCH_LAG if searched else timedelta()),
        )

    def _refused(self, kind: Kind, message: OwnerTask | Note, error: Rejected) -> Undeliverable:
        gone = self.ours.gone(links_of(message))  # HubSpot's refusal does not tell reliably
        return Undeliverable(
            f"HubSpot refused the {kind.title}: {error.what}{f' The {gone} it is about is gone.' if gone else ''}",
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


def _kind(message: OwnerTask | Note) -> Kind:
    return TASK if isinstance(message, OwnerTask) else NOTE


def _associations(kind: Kind, message: OwnerTask | Note) -> list[dict[str, Any]]:
    return [
        {
            "to": {"id": number},
            "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind.about[about]}],
        }
        for about, number in links_of(message).items()
    ]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
