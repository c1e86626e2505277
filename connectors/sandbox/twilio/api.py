"""The 2010-04-01 REST API over the town's messages: Basic auth, form bodies, and every path a messaging client uses.

A list has no other top-level key than its records and the paging keys: the official SDK takes the one that is left over.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

from connectors.base import Secret
from connectors.sandbox.facts import Client, Sms, Town
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, World, json_reply
from connectors.sandbox.twilio import lists
from connectors.sandbox.twilio.accounts import EMPTY, Account, open_account, whole_second
from connectors.sandbox.twilio.messages import Message, opt_out_type
from connectors.sandbox.twilio.refusals import Refusal, refused
from connectors.sandbox.twilio.sending import create
from connectors.sandbox.twilio.webhooks import pushes

ALWAYS_ASKED = timedelta(days=399)  # what a careful reader asks for; the API keeps a day more
LIVE = 1_000_000_000  # messages made while the sandbox runs are numbered after all of the town's
SERVICES = "/v1/Services"  # at Twilio on the host messaging.twilio.com
PATH = re.compile(r"/2010-04-01/Accounts(?:/(?P<account>\w+)(?P<rest>/.*)?)?\.json")


class SandboxTwilio(SandboxProvider):
    name = "twilio"
    at_root = "2010-04-01"  # `next_page_uri` and its like

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        texts: dict[str, list[Sms]] = defaultdict(list)
        for sms in town.sms:
            texts[sms.client_id].append(sms)
        self.accounts = {
            client.client_id: open_account(client, texts[client.client_id], self._secret) for client in town.clients
        }
        self._keys = {
            pair: account
            for account in self.accounts.values()
            for pair in ((account.sid, account.auth_token), (account.key_sid, account.key_secret))
        }
        self._fates: dict[str, int] = {}
        self._made = 0

    def _secret(self, *parts: object) -> str:
        return self.world.secret("twilio", *parts)

    # ---- what the town's clients hold ----

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        account = self.accounts[client.client_id]
        return {
            "account_sid": account.sid,
            "auth_token": Secret(account.auth_token),
            "sms_numbers": (client.sms_phone,),
            "messaging_service_sid": account.service,
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        account = self.accounts[client.client_id]
        return {"account_sid": account.sid, "auth_token": account.auth_token, "from": client.sms_phone}

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        now = self.world.now()
        for client_id, account in self.accounts.items():
            yield client_id, "phone_numbers", account.number_sid, ""
            for message in account.mailbox.created:
                if message.created >= now - ALWAYS_ASKED:
                    yield client_id, "messages", message.sid, message.person_id
                for status in self._pushed(message):
                    yield client_id, "message_events", f"{message.sid}:{status}", message.person_id

    def pushes(self) -> Iterator[Push]:
        now = self.world.now()
        for account in self.accounts.values():
            for message in account.mailbox.created:
                if self._pushed(message):
                    yield from pushes(account.client, message, account.signer, now)

    def _pushed(self, message: Message) -> list[str]:
        """Statuses that are posted: a message made through the API is followed only if it asked for that."""
        if message.direction == "inbound":
            return ["received"]
        if message.live and not message.callback:
            return []
        return list(dict.fromkeys(status for _, status in message.steps(self.world.now())))

    # ---- control, for tests ----

    def fate(self, to: str, error_code: int | None) -> None:
        """How messages to this number will end: an error code, STUCK, or None for delivered."""
        self._fates[to] = error_code or 0

    def campaign(self, client_id: str, status: str | None) -> None:
        """How the client's 10DLC campaign stands from now on; None: it has none."""
        self.accounts[client_id].campaign = status

    def inbound(self, client_id: str, phone: str, body: str, *, media: int = 0) -> Message:
        """Someone texts the client now."""
        account = self.accounts[client_id]
        now = whole_second(self.world.now())
        number = self._next()
        message = Message(
            sid="SM" + self._secret("live", number, now),
            account_sid=account.sid,
            direction="inbound",
            sender=phone,
            to=account.client.sms_phone,
            body=body,
            created=now,
            walk=[(now, "received")],
            seq=LIVE + number,
            opt_out_type=opt_out_type(body),
            media=["ME" + self._secret("media", number, i) for i in range(media)],
            live=True,
        )
        account.mailbox.add(message)
        return message

    def report(self, sid: str, status: str, error_code: int | None = None) -> None:
        """The carrier tells now what became of a message."""
        now = whole_second(self.world.now())
        message = next(
            box.by_sid[sid] for box in (account.mailbox for account in self.accounts.values()) if sid in box.by_sid
        )
        message.walk = [*message.steps(now), (now, status)]
        message.error_code = error_code
        message.touch(now)

    def _next(self) -> int:
        self._made += 1
        return self._made

    # ---- the API ----

    def handle(self, request: Request) -> Reply:
        try:
            account = self._authenticated(request)
            path = PATH.fullmatch(request.path)
            if request.path.startswith(SERVICES):
                reply = self._campaigns(request, account)
            elif path and path["account"] in (None, account.sid):
                reply = self._resource(request, account, path["account"], path["rest"] or "")
            else:
                reply = self._media_file(request, account)
        except Refusal as refusal:
            reply = refused(refusal.code)
        return Reply(
            reply.status,
            reply.body,
            {"twilio-request-id": "RQ" + self._secret("request", self._next()), **reply.headers},
        )

    def error(self, status: int, request: Request) -> Reply:
        return refused({401: 20003, 429: 20429}.get(status, 20500))

    def _authenticated(self, request: Request) -> Account:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            raise Refusal(20003) from None
        account = self._keys.get((user, password)) if scheme == "Basic" else None
        if account is None:
            raise Refusal(20003)
        return account

    def _resource(self, request: Request, account: Account, account_sid: str | None, rest: str) -> Reply:
        parts = rest.strip("/").split("/") if rest else []
        if not parts:
            _only(request, "GET")
            return (
                json_reply(account.shown()) if account_sid else lists.one_page(request, "accounts", [account.shown()])
            )
        if parts[0] == "IncomingPhoneNumbers":
            _only(request, "GET")
            return self._numbers(request, account, parts[1:])
        if "/".join(parts) in EMPTY:
            _only(request, "GET")
            return lists.one_page(request, EMPTY["/".join(parts)], [])
        if parts[0] == "Messages" and len(parts) == 1:
            if request.method == "GET":
                return lists.messages(request, account.mailbox, self.world.now(), self.slice)
            _only(request, "POST")
            return self._create(request, account)
        message = account.mailbox.by_sid.get(parts[1]) if parts[0] == "Messages" else None
        if message is None:
            raise Refusal(20404)
        return self._one(request, account, message, parts[2:])

    def _campaigns(self, request: Request, account: Account) -> Reply:
        if request.path != f"{SERVICES}/{account.service}/Compliance/Usa2p":
            raise Refusal(20404)
        _only(request, "GET")
        meta = {"page": 0, "page_size": 50, "key": "compliance", "next_page_url": None, "previous_page_url": None}
        return json_reply({"compliance": account.campaigns(), "meta": meta})

    def _create(self, request: Request, account: Account) -> Reply:
        now = whole_second(self.world.now())
        number = self._next()
        secret = self._secret("live", number, now)
        message = create(request, account, number=LIVE + number, now=now, fates=self._fates, secret=secret)
        account.mailbox.add(message)
        form = {**dict(request.form), "From": message.sender}
        self.world.wrote("twilio", "message", {"sid": message.sid, "client_id": account.client.client_id, **form})
        return _json(message.shown(now), 201)

    def _one(self, request: Request, account: Account, message: Message, rest: list[str]) -> Reply:
        if rest == ["Feedback"]:
            _only(request, "POST")
            return self._feedback(request, message)
        if rest and rest[0] == "Media":
            _only(request, "GET")
            return self._media(request, message, rest[1:])
        if rest:
            raise Refusal(20404)
        if request.method == "DELETE":
            account.mailbox.remove(message)
            self.world.wrote("twilio", "message_deleted", {"sid": message.sid})
            return Reply(204)
        if request.method == "POST":
            self._update(dict(request.form), message)
        else:
            _only(request, "GET")
        return _json(message.shown(self.world.now()), 200)

    def _update(self, form: dict[str, str], message: Message) -> None:
        now = whole_second(self.world.now())
        if form.get("Status") == "canceled":
            if message.steps(now)[-1][1] != "scheduled":
                raise Refusal(30409)
            message.walk = [message.walk[0], (now, "canceled")]
        if form.get("Body") == "":
            message.body, message.media = "", []
        message.touch(now)
        self.world.wrote("twilio", "message_updated", {"sid": message.sid, **form})

    def _feedback(self, request: Request, message: Message) -> Reply:
        outcome = dict(request.form).get("Outcome", "confirmed")
        if outcome not in ("confirmed", "unconfirmed"):
            raise Refusal(20001)
        self.world.wrote("twilio", "feedback", {"sid": message.sid, "outcome": outcome})
        now = format_datetime(whole_second(self.world.now()))
        shown = {
            "account_sid": message.account_sid,
            "message_sid": message.sid,
            "outcome": outcome,
            "uri": request.path,
        }
        return json_reply({**shown, "date_created": now, "date_updated": now}, 201)

    def _media(self, request: Request, message: Message, rest: list[str]) -> Reply:
        made = format_datetime(message.created)
        root = f"/2010-04-01/Accounts/{message.account_sid}/Messages/{message.sid}/Media"
        items = {
            sid: {
                "account_sid": message.account_sid,
                "content_type": "image/jpeg",
                "date_created": made,
                "date_updated": made,
                "parent_sid": message.sid,
                "sid": sid,
                "uri": f"{root}/{sid}.json",
            }
            for sid in message.media
        }
        if not rest:
            return lists.one_page(request, "media_list", list(items.values()))
        if rest[0] not in items:
            raise Refusal(20404)
        return json_reply(items[rest[0]])

    def _media_file(self, request: Request, account: Account) -> Reply:
        """The file itself: Twilio sends the reader on to short-lived storage on another host."""
        path = re.fullmatch(r"/2010-04-01/Accounts/(\w+)/Messages/(\w+)/Media/(\w+)", request.path)
        message = account.mailbox.by_sid.get(path[2]) if path and path[1] == account.sid else None
        if not path or message is None or path[3] not in message.media:
            raise Refusal(20404)
        return Reply(307, b"", {"location": f"https://media.twiliocdn.example/{account.sid}/{path[3]}"})

    def _numbers(self, request: Request, account: Account, rest: list[str]) -> Reply:
        if rest and rest != [account.number_sid]:
            raise Refusal(20404)
        if rest:
            return json_reply(account.number())
        wanted = request.param("PhoneNumber")
        shown = [account.number()] if wanted in account.client.sms_phone else []
        return lists.one_page(request, "incoming_phone_numbers", shown)


def _only(request: Request, method: str) -> None:
    if request.method != method:
        raise Refusal(20004)


def _json(body: bytes, status: int) -> Reply:
    return Reply(status, body, {"content-type": "application/json"})
