"""Changing fields of a HubSpot contact so that it can be taken back.

A plan (`ContactUpdate`) holds every field as it was and as it shall be; the caller keeps it before anything is written. HubSpot
has no compare-and-set, so the contact is read just before each write, and only fields that still are as planned are touched: what
people changed meanwhile stays, when delivering and when rolling back. Between that read and the write lie some 100 ms in which a
person's change would be lost; HubSpot offers nothing against that, and its property history shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from connectors.base import ConnectorError, ProviderDown, Rejected
from connectors.delivery import Change, ContactUpdate, Diff, Receipt, RolledBack, Unconfirmed, Undeliverable
from connectors.hubspot.account import HubSpotAccount

STAGE = "lifecyclestage"  # by API it only moves forward; to go back it must be cleared first


class _Contact(msgspec.Struct, rename="camel"):
    id: str
    properties: dict[str, str | None]
    updated_at: datetime | None = None


class Handoff:
    def __init__(self, api: HubSpotAccount, *, settles: timedelta) -> None:
        self.api, self.settles = api, settles

    def plan(self, key: str, contact_id: str, values: Mapping[str, str]) -> ContactUpdate:
        """The update that would give the contact these values, with the before-image. Changes nothing."""
        now = self._read(contact_id, values).properties
        missing = sorted(set(values) - set(now))
        if missing:  # HubSpot leaves out what it does not know
            raise self._refused(f"HubSpot contacts have no property {', '.join(missing)}.")
        changes = [
            Change(name, now[name], value) for name, value in values.items() if not _same(name, now[name], value)
        ]
        return ContactUpdate(key, contact_id, tuple(changes))

    def deliver(self, update: ContactUpdate) -> Receipt:
        """Write the fields that still are as they were planned."""
        begun = self.api.http.clock.now()
        contact = self._read(update.contact_id, _names(update))
        already, due, skipped = _sorted(update, contact.properties)
        if skipped and not due and not already:
            raise Undeliverable(
                "people have changed all of these fields meanwhile.",
                connection=self.api.connection,
                fix="Nothing was changed. Look at the contact in HubSpot; plan the handoff anew if it is still wanted.",
                reason="superseded",
            )
        if due:
            values = {change.field: change.after or "" for change in due}
            contact = self._write(contact, values, update, begun)
        return self._receipt(contact, update, written=due, already=already, skipped=skipped)

    def find(self, update: ContactUpdate, *, since: datetime) -> Receipt | None:
        contact = self._read(update.contact_id, _names(update))
        there, due, skipped = _sorted(update, contact.properties)
        if there or not update.changes:  # a write is all or nothing: fields that differ were changed by people since
            return self._receipt(contact, update, written=there, already=[], skipped=[*due, *skipped])
        if self.api.http.clock.now() < since + self.settles:
            raise self._unconfirmed(update.key, since)
        return None

    def preview(self, update: ContactUpdate) -> Diff:
        contact = self._read(update.contact_id, _names(update))
        _, due, _ = _sorted(update, contact.properties)
        return Diff("hubspot", "update" if due else "nothing", f"contact {contact.id}", tuple(due))

    def rollback(self, update: ContactUpdate) -> RolledBack:
        """Make the fields as they were before, but for those that people have changed since."""
        begun = self.api.http.clock.now()
        contact = self._read(update.contact_id, _names(update))
        back = ContactUpdate(update.key, update.contact_id, tuple(_reversed(change) for change in update.changes))
        already, due, skipped = _sorted(back, contact.properties)
        values = {change.field: change.after or "" for change in due}
        if values.get(STAGE):
            contact = self._write(contact, {STAGE: ""}, back, begun)
        if values:
            self._write(contact, values, back, begun)
        return RolledBack(_fields(due), _fields(already), _fields(skipped))

    # ---- calls ----

    def _read(self, contact_id: str, names: Mapping[str, object]) -> _Contact:
        path = self.api.path("objects", f"/contacts/{contact_id}")
        try:
            return self.api.get(path, _Contact, params={"properties": ",".join(names)})
        except Rejected as error:
            if error.status == 404:
                raise self._refused("the contact is no longer in HubSpot.", error) from None
            raise

    def _write(self, contact: _Contact, values: Mapping[str, str], update: ContactUpdate, begun: datetime) -> _Contact:
        """Never repeated: between two tries somebody may have changed a field. Without an answer, the contact tells."""
        try:
            answer = self.api.write(
                "PATCH", self.api.path("objects", f"/contacts/{contact.id}"), {"properties": dict(values)}
            )
            return msgspec.json.decode(answer.body, type=_Contact)
        except Rejected as error:
            raise self._refused(f"HubSpot refused the change: {error.what}", error) from None
        except (ProviderDown, msgspec.DecodeError) as error:
            if isinstance(error, ProviderDown) and not error.maybe_done:
                raise
        try:
            now = self._read(contact.id, values)
        except ConnectorError:
            raise self._unconfirmed(update.key, begun) from None
        if any(not _same(name, now.properties.get(name), value) for name, value in values.items()):
            raise self._unconfirmed(update.key, begun)
        return now

    # ---- words ----

    def _receipt(
        self,
        contact: _Contact,
        update: ContactUpdate,
        *,
        written: list[Change],
        already: list[Change],
        skipped: list[Change],
    ) -> Receipt:
        facts = {"written": _fields(written), "already": _fields(already), "skipped": _fields(skipped)}
        return Receipt("hubspot", contact.id, "delivered", contact.updated_at or self.api.http.clock.now(), facts)

    def _unconfirmed(self, key: str, sent_at: datetime) -> Unconfirmed:
        return Unconfirmed(
            "HubSpot did not say whether it changed the contact, and does not show it yet.",
            connection=self.api.connection,
            key=key,
            sent_at=sent_at,
            ask_at=sent_at + self.settles,
        )

    def _refused(self, what: str, error: Rejected | None = None) -> Undeliverable:
        return Undeliverable(
            what,
            connection=self.api.connection,
            fix="Nothing was changed. Look at the contact and its properties in HubSpot.",
            reason="target" if error and error.status == 404 else "content",
            status=error.status if error else 0,
            code=error.code if error else "",
        )


def _sorted(update: ContactUpdate, now: Mapping[str, str | None]) -> tuple[list[Change], list[Change], list[Change]]:
    """(already as it shall be, still as it was, changed by somebody else)."""
    already, due, skipped = [], [], []
    for change in update.changes:
        value = now.get(change.field)
        if _same(change.field, value, change.after):
            already.append(change)
        elif _same(change.field, value, change.before):
            due.append(change)
        else:
            skipped.append(change)
    return already, due, skipped


def _same(field: str, one: str | None, other: str | None) -> bool:
    """HubSpot keeps no difference between empty and missing, and writes e-mail addresses in lower case."""
    one, other = one or "", other or ""
    return one.lower() == other.lower() if field == "email" else one == other


def _reversed(change: Change) -> Change:
    return Change(change.field, change.after, change.before)


def _names(update: ContactUpdate) -> dict[str, None]:
    return dict.fromkeys(change.field for change in update.changes)


def _fields(changes: list[Change]) -> tuple[str, ...]:
    return tuple(change.field for change in changes)
