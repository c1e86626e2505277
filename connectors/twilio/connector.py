"""Twilio: text messages and their numbers, pulled; what happens to them, pushed.

    GET Messages.json              -> twilio.messages
    GET IncomingPhoneNumbers.json  -> twilio.phone_numbers
    webhooks (inbound, status)     -> twilio.message_events
    GET Compliance/Usa2p           how the client's 10DLC campaign stands (on the host messaging.twilio.com)

Facts that shaped this:
- REST may use an API key, but webhooks are always signed with the account's auth token: both can be configured.
- Several clients may share an account. Then `sms_numbers` says which numbers are this client's, and messages of other
  numbers are not landed here; `check` counts them.
- Status callbacks come in any order and more than once, and say nothing of when: what is known is when they came.
- Opt-out kind and geography exist only in the inbound webhook, not in the message that the API lists.
- Sending has no idempotency key. A send whose outcome is unknown is never repeated; deliver.py reads back first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Literal

import msgspec

from connectors.base import (
    SETTLES,
    Accepted,
    Answer,
    Connector,
    ConnectorError,
    Cursor,
    Health,
    Page,
    ProviderDown,
    Received,
    Record,
    Registration,
    Rejected,
    Said,
    Secret,
    Stream,
    WebhookRequest,
    absent,
    body_key,
)
from connectors.delivery import TextMessage
from connectors.http import Budget, Http, StaticAuth, basic
from connectors.oauth import TokenVault
from connectors.twilio.account import Item, TwilioAccount, pages, record
from connectors.twilio.deliver import TwilioDeliverer
from connectors.twilio.history import fetch, read_history
from connectors.twilio.signature import fields, verify

log = logging.getLogger("leadtrail.twilio")

SAY_NOTHING = Answer(200, b'<?xml version="1.0" encoding="UTF-8"?><Response/>', "text/xml")
# what Twilio calls a campaign that carriers take texts of, will or will not, or do no more; any other word is not known to us
CAMPAIGN: dict[str, Literal["approved", "pending", "rejected", "withdrawn"]] = {
    "VERIFIED": "approved",
    "PENDING": "pending",
    "IN_PROGRESS": "pending",
    "FAILED": "rejected",
    "SUSPENDED": "withdrawn",
    "DELETED": "withdrawn",
    "EXPIRED": "withdrawn",
}
TOLL_FREE = tuple(
    f"+1{code}" for code in (800, 833, 844, 855, 866, 877, 888)
)  # verified in another way, like short codes
OPTED_OUT = "21610"  # the error of a text to somebody who said STOP


@dataclass(frozen=True)
class TwilioOptions:
    account_sid: str
    auth_token: Secret
    api_key_sid: str = ""
    api_key_secret: Secret = field(default=Secret(""))
    sms_numbers: tuple[str, ...] = ()
    messaging_service_sid: str = ""
    base_url: str = "https://api.twilio.com"


class Twilio(Connector):
    provider: ClassVar[str] = "twilio"
    title: ClassVar[str] = "Twilio"
    Options: ClassVar[type] = TwilioOptions
    delivers: ClassVar[tuple[type, ...]] = (TextMessage,)
    cron: ClassVar[str] = "*/15 * * * *"
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("phone_numbers", "Numbers the client sends and receives text messages with."),
        Stream("messages", "Text messages to and from customers, with delivery status and cost."),
        Stream("message_events", "Every inbound-message webhook and status callback, as it came.", "push"),
    )

    def __init__(self, options: TwilioOptions, *, connection: str, http: Http, vault: TokenVault | None = None) -> None:
        super().__init__(options, connection=connection, http=http, vault=vault)
        user, password = options.account_sid, options.auth_token
        if options.api_key_sid:
            user, password = options.api_key_sid, options.api_key_secret
        self.api = TwilioAccount(
            http, connection=connection, base_url=options.base_url, auth=StaticAuth(basic(user, password.reveal()))
        )
        self.messaging = TwilioAccount(  # a region or a test server of one host has the other beside it
            http,
            connection=connection,
            base_url=options.base_url.replace("://api.", "://messaging.", 1),
            auth=self.api.auth,
            budget=Budget(attempts=2, wait=10, deadline=20),
        )
        self._path = f"/2010-04-01/Accounts/{options.account_sid}"

    # ---- health ----

    def check(self) -> Health:
        try:
            owned = {item.phone_number for _, item in self._numbers()}
            newest = next(pages(self.api, self.options.account_sid, "Messages", size=100)).items
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        others = sum(not self.mine(item) for _, item in newest)
        details = {"numbers": len(owned), "recent_messages": len(newest), "recent_messages_of_other_numbers": others}
        # Short codes have no "+" and are not in this list.
        missing = [number for number in self.options.sms_numbers if number.startswith("+") and number not in owned]
        if missing:
            return Health(
                False,
                f"{len(missing)} of {len(self.options.sms_numbers)} numbers in sms_numbers are not in this Twilio account.",
                "Correct sms_numbers, or connect the account that owns them.",
                details,
            )
        return Health(True, f"Twilio answers; the account has {len(owned)} numbers.", details=details)

    def registration(self) -> Registration:
        """How the 10DLC campaign of the messaging service stands. Without a service there is nothing to ask for."""
        service, numbers = self.options.messaging_service_sid, self.options.sms_numbers
        needs = [one for one in numbers if one.startswith("+1") and not one.startswith(TOLL_FREE)]
        if not service or (numbers and not needs):
            return Registration("not_needed")
        try:
            found = self.messaging.get(f"/v1/Services/{service}/Compliance/Usa2p", _Campaigns).compliance
        except Rejected as refused:
            return Registration("unknown", f"refused ({refused.status}, code {refused.code or 'none'})")
        # a service has one campaign; of one that was registered anew an old one may still be listed
        stand = [Registration(CAMPAIGN.get(each.campaign_status, "unknown"), each.campaign_status) for each in found]
        approved = (one for one in stand if one.state == "approved")
        return next(approved, stand[0] if stand else Registration("unknown", "no campaign"))

    # ---- pull ----

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        if feed == "phone_numbers":
            yield self._all_numbers(cursor, now)
            return
        skipped = 0

        def mine(item: Item) -> bool:
            nonlocal skipped
            own = self.mine(item)
            skipped += not own
            return own

        yield from read_history(self.api, self.options.account_sid, cursor, mine=mine, now=now)
        if skipped:
            log.info("%s: left out %d messages of numbers that are not in sms_numbers", self.connection, skipped)

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        if stream != "messages":
            raise NotImplementedError(f"{self.provider} cannot refetch {stream}")
        found = fetch(self.api, self.options.account_sid, record_ids, now)
        yield Page("messages", [record for record, item in found if item is None or self.mine(item)])

    def _all_numbers(self, cursor: Cursor | None, now: datetime) -> Page:
        """The whole list in one page: only all of it tells which numbers are gone."""
        records = [record(raw, item) for raw, item in self._numbers() if self._is_ours(item.phone_number)]
        current = [each.record_id for each in records]
        gone = [absent(sid, now) for sid in (cursor or {}).get("sids", []) if sid not in current]
        return Page("phone_numbers", [*records, *gone], {"sids": current})

    def _numbers(self) -> Iterator[tuple[msgspec.Raw, Item]]:
        for page in pages(self.api, self.options.account_sid, "IncomingPhoneNumbers"):
            yield from page.items

    def _is_ours(self, number: str | None) -> bool:
        return not self.options.sms_numbers or number in self.options.sms_numbers

    def mine(self, item: Item) -> bool:
        """Ours by number; a message that waits for the service to choose its sender, by service."""
        service = self.options.messaging_service_sid
        return self._is_ours(item.to if item.direction == "inbound" else item.sender) or (
            bool(service) and item.messaging_service_sid == service
        )

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        verify(request, self.options.auth_token.reveal())
        event = _Event.of(request)
        answer = SAY_NOTHING if event.inbound else Answer(204)
        if not event.key or event.form.get("AccountSid") != self.options.account_sid or not self.mine(event.item):
            return Accepted(event.key or body_key(request.body), answer)
        return Accepted(event.key, answer, event.said(request.sent_at))

    def receive(self, request: WebhookRequest) -> Received:
        event = _Event.of(request)
        payload = msgspec.json.encode(event.form)
        if not event.key:
            return Received(quarantine=[("a Twilio webhook without a message id or status", payload)])
        if event.form.get("AccountSid") != self.options.account_sid:
            return Received(quarantine=[("a Twilio webhook of another account", payload)])
        if not self.mine(event.item):
            return Received(quarantine=[("a message of a number that is not this client's", payload)])
        came = Record(event.key, payload, occurred_at=request.sent_at)
        # An answer from a customer should not wait for the next poll; for a status the event itself says all.
        return Received([("message_events", came)], refetch=[("messages", event.item.sid)] if event.inbound else ())

    # ---- sending ----

    def deliverer(self, *, settles: timedelta = SETTLES) -> TwilioDeliverer:
        return TwilioDeliverer(self, settles=settles)

    def form(self, to: str, body: str, *, from_: str, status_callback: str) -> list[tuple[str, str]]:
        """What is posted to send a text. `from_=""` lets the messaging service choose the sender."""
        sender = ("From", from_) if from_ else ("MessagingServiceSid", self.options.messaging_service_sid)
        return [("To", to), sender, ("Body", body), *([("StatusCallback", status_callback)] if status_callback else [])]

    def send(self, to: str, body: str, *, from_: str, status_callback: str = "") -> Item:
        """Send one text; the message as Twilio took it.

        Raises Rejected if Twilio refuses it (code 21610: the person opted out) and ProviderDown; with `maybe_done` its outcome
        is unknown, and only reading back may follow (deliver.py). Only "too many requests" and calls that never reached Twilio
        are repeated: Twilio did not process those.
        """
        form = self.form(to, body, from_=from_, status_callback=status_callback)
        answer = self.api.request("POST", f"{self._path}/Messages.json", form=form)
        try:
            return msgspec.json.decode(answer.body, type=Item)
        except msgspec.DecodeError:
            raise ProviderDown(
                "Twilio took the message, but its answer was cut off.",
                connection=self.connection,
                fix="It is read back before anything is sent again; no action is needed.",
                maybe_done=True,
            ) from None


class _Campaign(msgspec.Struct):
    campaign_status: str = ""


class _Campaigns(msgspec.Struct):
    compliance: list[_Campaign]


@dataclass(frozen=True)
class _Event:
    """A webhook's form. `key` is the same for every delivery of one event; "" if it cannot be told."""

    form: dict[str, str | list[str]]
    key: str
    inbound: bool
    item: Item

    @classmethod
    def of(cls, request: WebhookRequest) -> _Event:
        form: dict[str, str | list[str]] = {}
        for name, value in fields(request):
            before = form.get(name)
            form[name] = value if before is None else [*([before] if isinstance(before, str) else before), value]

        def text(*names: str) -> str:
            return next((value for name in names if isinstance(value := form.get(name), str) and value), "")

        sid, status = text("MessageSid", "SmsSid", "SmsMessageSid"), text("MessageStatus", "SmsStatus")
        inbound = "MessageStatus" not in form and status in ("received", "receiving", "")
        item = Item(
            sid=sid,
            direction="inbound" if inbound else "outbound",
            sender=text("From"),
            to=text("To"),
            messaging_service_sid=text("MessagingServiceSid"),
        )
        what = "received" if inbound else status
        return cls(form, f"{sid}:{what}" if sid and what else "", inbound, item)

    def said(self, at: datetime) -> tuple[Said, ...]:
        """The customer's words, with what Twilio took them for; of a text that was refused because they opted out, that."""
        about = f"twilio:message_events:{self.key}"
        if not self.inbound:
            stopped = self.form.get("ErrorCode") == OPTED_OUT
            return (Said("text", about, at, self.item.to or "", told="stop"),) if stopped else ()
        taken: dict[str, Literal["", "stop", "start", "help"]] = {"STOP": "stop", "START": "start", "HELP": "help"}
        told = taken.get(str(self.form.get("OptOutType", "")).upper(), "")
        body = self.form.get("Body", "")
        text = body if isinstance(body, str) else "\n".join(body)
        return (Said("text", about, at, self.item.sender or "", text, told),)
