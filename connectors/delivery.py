"""Delivering: what Leadtrail hands to a provider, what it gets back, and what it knows when nothing came back.

Every message carries a key of ours that names it for ever. A deliverer takes the key to the provider as far as the provider
lets it, and after an answer that never came it looks before it does anything again. What it can't find out it says:

    Receipt          the provider has it
    Undeliverable    the provider does not have it and never will; `reason` says whose problem that is
    TransientError   the provider surely does not have it; later may be better
    Unconfirmed      it was sent and nobody knows yet: `find` it from `ask_at` on, never send it again before
    Unconfirmable    it was sent and the provider can't tell: a person decides

Messages hold personal data. They don't print it, and no error or log line of a deliverer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from connectors.base import ConnectorError, Health, Rejected

State = Literal["delivered", "accepted"]
Reason = Literal[
    "opted_out",  # the person said stop: suppress
    "bad_address",  # no such number, mailbox or owner, or one that can't take this: use another way
    "unreachable",  # for now: one more try later is worth it
    "blocked",  # the recipient's side refuses us
    "filtered",  # taken for spam: stop the campaign, a person looks
    "sender",  # our number, domain or account may not send: hold the client's channel, not the lead
    "content",  # the message itself is wrong
    "target",  # the record it is about is gone
    "superseded",  # people changed all of it meanwhile
    "other",
]


# ---- what is delivered ----


def _private(default: Any = None) -> Any:
    """A field that does not print itself. `None` as default: required."""
    return field(repr=False) if default is None else field(repr=False, default=default)


@dataclass(frozen=True)
class OwnerTask:
    """A task for a person of the client, in their CRM. Text is plain text. `owner_id` is the CRM's own; else `owner_email` is
    looked up there."""

    key: str
    due_at: datetime
    subject: str = _private()
    body: str = _private()
    owner_email: str = _private("")
    owner_id: str = ""
    kind: Literal["CALL", "TODO", "EMAIL"] = "TODO"
    priority: Literal["LOW", "MEDIUM", "HIGH"] = "MEDIUM"
    contact_id: str = ""
    deal_id: str = ""


@dataclass(frozen=True)
class Note:
    """Something worth knowing, on a contact or a deal. `at` is when it happened."""

    key: str
    at: datetime
    body: str = _private()
    contact_id: str = ""
    deal_id: str = ""
    owner_id: str = ""


@dataclass(frozen=True)
class TextMessage:
    """A text. `sender` is the number it comes from; "" lets the client's messaging service choose."""

    key: str
    to: str = _private()
    body: str = _private()
    sender: str = ""
    status_callback: str = ""


@dataclass(frozen=True)
class EmailMessage:
    """An e-mail. What is not yet in the text, `postal_address` and `unsubscribe_url`, is put under it: the law asks for both.
    `sender` "" is the connection's own address."""

    key: str
    to: str = _private()
    subject: str = _private()
    text: str = _private()
    html: str = _private("")
    sender: str = ""
    sender_name: str = ""
    reply_to: str = ""
    unsubscribe_url: str = _private("")
    postal_address: str = ""


@dataclass(frozen=True)
class Change:
    """One field, as it was and as it shall be. None: it was not there."""

    field: str
    before: str | None = _private("")
    after: str | None = _private("")


@dataclass(frozen=True)
class ContactUpdate:
    """Fields of a CRM contact to be changed: the plan, and with it the before-image. Store it before it is delivered."""

    key: str
    contact_id: str
    changes: tuple[Change, ...] = ()


# ---- what comes back ----


@dataclass(frozen=True)
class Receipt:
    """The provider has it under `provider_ref`. `delivered`: it is where it should be; `accepted`: the provider goes on with it
    and tells later. `facts` are what the provider said of it, without personal data."""

    provider: str
    provider_ref: str
    state: State
    at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diff:
    """What delivering would do, field by field; nothing was changed to find out. `nothing`: the provider has it already."""

    provider: str
    action: Literal["create", "update", "send", "nothing"]
    target: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class RolledBack:
    """Names of the fields that are as before again, that already were, and that people have changed since: those stay."""

    restored: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


class Undeliverable(Rejected):
    """The provider refused this message for good; nothing was delivered. `reason` says what follows from it."""

    def __init__(
        self, what: str, *, connection: str, fix: str, reason: Reason, status: int = 0, code: str = ""
    ) -> None:
        super().__init__(what, connection=connection, fix=fix, status=status, code=code)
        self.reason: Reason = reason


class Unconfirmed(ConnectorError):
    """We sent it and do not know whether it was taken. Ask `find` with `since=sent_at` at `ask_at` or later."""

    def __init__(self, what: str, *, connection: str, key: str, sent_at: datetime, ask_at: datetime) -> None:
        fix = "It is looked up at the provider before anything is sent again; no action is needed."
        super().__init__(what, connection=connection, fix=fix)
        self.key, self.sent_at, self.ask_at = key, sent_at, ask_at


class Unconfirmable(ConnectorError):
    """The provider cannot tell whether it has the message, now or later."""

    def __init__(self, what: str, *, connection: str, fix: str, key: str) -> None:
        super().__init__(what, connection=connection, fix=fix)
        self.key = key


# ---- who delivers ----

M = TypeVar("M", contravariant=True)


class Deliverer(Protocol[M]):
    def prepare(self) -> Health:
        """Set up at the provider what delivering well needs; safe to repeat. Not ok is no fault: the words say what is lost."""

    def deliver(self, message: M) -> Receipt:
        """Hand it over once. Raises what the head of this module says."""

    def find(self, message: M, *, since: datetime) -> Receipt | None:
        """Ask the provider for it by our key; `since` is when it was first tried. None: it is surely not there, and may be
        delivered. Raises Unconfirmed (too early to say) or Unconfirmable."""

    def preview(self, message: M) -> Diff:
        """What `deliver` would do now. Changes nothing."""
