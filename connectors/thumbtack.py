"""Thumbtack: leads, messages and reviews, pushed; with partner access also re-read one by one.

    pushed events  -> thumbtack.leads, .messages, .reviews, .lead_updates
    GET /api/v4/negotiations/{id} and its /messages  -> the same leads and messages (way B)
    a hand-made CSV -> thumbtack.imported_leads

Facts that shaped this:
- A lead and its opening message share the negotiationID, so a message is known by its messageID only.
- Three wire shapes exist (self-serve v4, partner v4, legacy v1) and may run side by side: the shape of the body decides,
  not the URL. Of a v4 push the record is `data`, byte for byte, so a later re-read of an unchanged lead is identical.
- There are no status events and no list endpoint: charge, refund and status are seen only by reading known leads again.
- Pushes carry no signature: proof is Basic auth or one agreed header, and a random last part of the URL.
- A legacy message for a lead unknown to us should be answered 202. Whether we know it is a question for the store, and the
  answer must not wait for it: we say 200 and keep the message, which finds its lead by id whenever that arrives.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import msgspec

from connectors.base import (
    Accepted,
    Answer,
    ConfigError,
    Connector,
    ConnectorError,
    CredentialError,
    Health,
    Page,
    Received,
    Record,
    Rejected,
    Secret,
    SignatureError,
    Stream,
    WebhookRequest,
    body_key,
)
from connectors.csv_export import ExportFormat
from connectors.http import Account, Budget, Http, Limit, Response, StaticAuth, Wait, basic
from connectors.oauth import InvalidGrant, MemoryVault, RotatingToken, Tokens, TokenVault
from connectors.thumbtack_events import business_of, instant, is_test, json_object, message_record, read, text_of

log = logging.getLogger("leadtrail.thumbtack")

UNSET = Secret("")
MESSAGE_PAGE = 20  # the API's maximum
# Refunds can be asked for 45 days; there is no event for any change, so these are the moments worth a look.
REREAD_AFTER = tuple(timedelta(hours=h) for h in (1, 24, 3 * 24, 7 * 24, 21 * 24, 46 * 24))
REREAD_UNTIL = timedelta(days=60)
# Limits are not published; one call a second on average is what the page advises.
LIMITS = (Limit(60, 60.0),)

EXPORT = ExportFormat(
    fields={
        "lead_id": ("lead id", "negotiation id", "lead number", "id"),
        "name": ("customer name", "customer", "name", "contact"),
        "phone": ("phone number", "customer phone", "phone"),
        "email": ("email address", "customer email", "email"),
        "created_at": ("created at", "lead date", "date", "created", "contacted"),
        "task": ("category", "service", "job", "task", "request"),
        "fee": ("lead price", "lead cost", "price", "cost", "fee"),
        "credit": ("refund", "credit", "refunded"),
    },
    stream="imported_leads",
)


@dataclass(frozen=True)
class ThumbtackOptions:
    webhook_user: str = ""
    webhook_password: Secret = UNSET
    webhook_header: str = ""
    webhook_header_value: Secret = UNSET
    path_token: Secret = UNSET
    business_ids: tuple[str, ...] = ()
    client_id: str = ""
    client_secret: Secret = UNSET
    refresh_token: Secret = UNSET
    base_url: str = "https://api.thumbtack.com"
    token_url: str = "https://auth.thumbtack.com/oauth2/token"  # noqa: S105  (a URL, not a token)


class _Api(Account):
    def expired(self, response: Response) -> bool:
        # A missing scope is a 401 too; a new token would have the same scopes and cost a rotation.
        return response.status == 401 and b"required scope" not in response.body

    def judge(self, response: Response) -> Any:
        if response.status == 401 and b"required scope" in response.body:
            return CredentialError(
                "Thumbtack says that the authorisation lacks a scope.",
                connection=self.connection,
                fix="Authorise again with supply::negotiations.read, supply::messages.read, supply::users.read, "
                "supply::businesses.list and offline_access; then run `leadtrail check`.",
            )
        return super().judge(response)


class _TokenEndpoint(Account):
    def judge(self, response: Response) -> Any:
        if response.status in (400, 401) and _oauth_error(response.body) == "invalid_grant":
            raise InvalidGrant
        if response.status == 200 and not _is_json(response.body):
            # the new refresh token is lost with it; the old one is good for some seconds more
            return Wait("the token endpoint's answer was cut off")
        return super().judge(response)


class Thumbtack(Connector):
    provider: ClassVar[str] = "thumbtack"
    title: ClassVar[str] = "Thumbtack"
    Options: ClassVar[type] = ThumbtackOptions
    cron: ClassVar[str] = "15 * * * *"
    rereads: ClassVar[str] = "leads"
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream(
            "leads", "People who contacted the business on Thumbtack, what they want and what the lead cost.", "push"
        ),
        Stream("messages", "What customer and business wrote to each other on Thumbtack.", "push"),
        Stream("reviews", "Reviews that customers left on Thumbtack.", "push"),
        Stream(
            "lead_updates", "Later news of a lead's price and charge, sent by the older Thumbtack integration.", "push"
        ),
        Stream(
            "imported_leads",
            "Thumbtack leads from a file the client made by hand, for time before the webhook.",
            "import",
        ),
    )

    def __init__(
        self, options: ThumbtackOptions, *, connection: str, http: Http, vault: TokenVault | None = None
    ) -> None:
        super().__init__(options, connection=connection, http=http, vault=vault)
        token_url = urlsplit(options.token_url)
        self._token_path = token_url.path
        self._token_endpoint = _TokenEndpoint(
            http,
            connection=connection,
            base_url=f"{token_url.scheme}://{token_url.netloc}",
            auth=StaticAuth(basic(options.client_id, options.client_secret.reveal())),
            # A repeat with the same token is safe only in the provider's 60 seconds of grace.
            budget=Budget(attempts=3, wait=20.0, deadline=15.0),
        )
        token = RotatingToken(
            connection=connection,
            vault=vault or MemoryVault(),
            configured=options.refresh_token,
            exchange=self._exchange,
            clock=http.clock,
        )
        self.api = _Api(http, connection=connection, base_url=options.base_url, auth=token, limits=LIMITS)

    @property
    def can_read(self) -> bool:
        """Way B: partner access, so known leads can be read again."""
        return bool(self.options.client_id and self.options.refresh_token)

    def _exchange(self, refresh_token: str) -> Tokens:
        answer = self._token_endpoint.request(
            "POST", self._token_path, form={"grant_type": "refresh_token", "refresh_token": refresh_token}, retry=True
        )
        try:
            token = msgspec.json.decode(answer.body, type=_TokenReply)
        except msgspec.DecodeError:
            raise ConfigError(
                "the token endpoint answered something that is no token.",
                connection=self.connection,
                fix="Check the token URL setting, then run `leadtrail check`.",
            ) from None
        ends = self.http.clock.now() + timedelta(seconds=token.expires_in)
        return Tokens(token.access_token, ends, refresh_token=token.refresh_token)

    # ---- is it working ----

    def check(self) -> Health:
        if not self._has_proof():
            return Health(False, "No webhook proof is configured, so every push is refused.", _PROOF_FIX)
        if not self.can_read:
            return Health(True, "Waiting for webhooks. Without partner access, charges and refunds cannot be seen.")
        try:
            user = self.api.get("/api/v4/users/self", dict[str, Any])
            listed = self.api.get("/api/v4/businesses", _Businesses).data
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        ids = [text_of(business.get("businessID")) for business in listed]
        missing = [business for business in self.options.business_ids if business not in ids]
        if missing:
            return Health(
                False,
                f"The Thumbtack user does not manage business {', '.join(missing)}.",
                "Correct `business_ids`, or authorise as a user of that business.",
                {"businesses": ids},
            )
        return Health(
            True, f"Reads {len(ids)} business(es).", details={"user": text_of(user.get("userID")), "businesses": ids}
        )

    # ---- reading again (way B) ----

    def due_rereads(
        self, known: Iterable[tuple[str, datetime]], now: datetime, last_reread: Mapping[str, datetime]
    ) -> list[str]:
        """Which leads to read again now, newest first. `known`: lead ids with the time they were made (for a lead known only
        from a message: that message's time). A lead is due once for each moment in REREAD_AFTER."""
        if not self.can_read:
            return []
        due = []
        for lead_id, made_at in known:
            passed = [made_at + after for after in REREAD_AFTER if made_at + after <= now]
            if passed and now - made_at < REREAD_UNTIL and last_reread.get(lead_id, made_at) < passed[-1]:
                due.append((made_at, lead_id))
        return [lead_id for _, lead_id in sorted(due, reverse=True)]

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        """Leads as they are now, each followed by its messages. One that Thumbtack does not find is passed over: a legacy
        id need not exist in v4, so its absence proves nothing."""
        if stream != "leads" or not self.can_read:
            yield from super().refetch(stream, record_ids, now=now)
            return
        for lead_id in record_ids:
            path = f"/api/v4/negotiations/{quote(lead_id, safe='')}"
            try:
                payload = bytes(self.api.get(path, msgspec.Raw))
            except Rejected as refusal:
                if refusal.status != 404:
                    raise
                log.warning("%s: a known lead is not found through the API; its last state stays", self.connection)
                continue
            lead = json_object(payload)
            made_at = instant(lead.get("createdAt") or lead.get("createTime"))
            # Read by us just now: it is newer than any push, whenever that arrives.
            yield Page("leads", [Record(lead_id, payload, occurred_at=made_at, updated_at=now)])
            yield from self._messages(path + "/messages")

    def _messages(self, path: str) -> Iterator[Page]:
        """All messages of a lead. Pages are cut by time; whether the bounds are exclusive is not documented, so each page
        overlaps the one before by a second and what was seen is left out. Order is read off the first page."""
        seen: set[str] = set()
        bounds: dict[str, Any] = {}
        backwards = True
        while True:
            data = self.api.get(path, _MessagePage, params={"limit": MESSAGE_PAGE, **bounds}).data
            messages = [message_record(bytes(raw)) for raw in data]
            fresh = [message for message in messages if message.record_id not in seen]
            seen.update(message.record_id for message in fresh)
            if fresh:
                yield Page("messages", fresh)
            times = [message.occurred_at for message in messages if message.occurred_at]
            if len(data) < MESSAGE_PAGE or not times:
                return
            if not bounds:
                backwards = times[0] >= times[-1]
            # A page that holds nothing new means more than a page within one second: step over the overlap.
            overlap = timedelta(seconds=1) if fresh else -timedelta(seconds=1)
            if backwards:
                bounds = {"sentBefore": _iso(min(times) + overlap)}
            else:
                bounds = {"sentAfter": _iso(max(times) - overlap)}

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        self._prove(request)
        try:
            event = read(request.body)
        except ValueError:
            return Accepted("unreadable:" + body_key(request.body), Answer(400))
        return Accepted(event.key or "unknown:" + body_key(request.body), Answer(200))

    def receive(self, request: WebhookRequest) -> Received:
        try:
            event = read(request.body)
        except ValueError:
            return Received(quarantine=[("the body is not a JSON object", request.body)])
        if not event.stream:
            return Received(quarantine=[(event.problem, request.body)])
        if is_test(event.fields):
            return Received(quarantine=[("Thumbtack's test delivery", request.body)])
        business = business_of(event.fields)
        if self.options.business_ids and business and business not in self.options.business_ids:
            return Received(
                quarantine=[("it belongs to a Thumbtack business that is not one of this client's", request.body)]
            )
        record = Record(
            event.record_id,
            event.payload,
            occurred_at=event.happened_at or request.sent_at,
            updated_at=event.changed_at,
        )
        return Received(records=[(event.stream, record)])

    def _has_proof(self) -> bool:
        options = self.options
        basic_set = bool(options.webhook_user and options.webhook_password)
        return basic_set or bool(options.webhook_header and options.webhook_header_value) or bool(options.path_token)

    def _prove(self, request: WebhookRequest) -> None:
        """The path token, if there is one, always; and Basic or the header, whichever are set (the self-serve and the
        partner webhook of one business may differ)."""
        options = self.options
        if not self._has_proof():
            raise SignatureError(f"no webhook proof is configured. {_PROOF_FIX}")
        if options.path_token and not _same(request.tail.strip("/").split("/")[0], options.path_token.reveal()):
            raise SignatureError("the path token is missing or wrong")
        expected = []
        if options.webhook_user and options.webhook_password:
            header = basic(options.webhook_user, options.webhook_password.reveal())
            expected.append(("authorization", header["Authorization"]))
        if options.webhook_header and options.webhook_header_value:
            expected.append((options.webhook_header.lower(), options.webhook_header_value.reveal()))
        if expected and not any([_same(request.headers.get(name, ""), value) for name, value in expected]):
            raise SignatureError("the user and password, or the agreed header, are missing or wrong")

    # ---- files ----

    def read_export(self, rows: Iterator[Mapping[str, str]], *, mapping: Mapping[str, str]) -> Iterator[Page]:
        return EXPORT.read(rows, mapping=mapping, connection=self.connection)


_PROOF_FIX = (
    "Set webhook_user and webhook_password, or webhook_header and its value, or path_token; the same at Thumbtack."
)


class _Businesses(msgspec.Struct):
    data: list[dict[str, Any]]


class _MessagePage(msgspec.Struct):
    data: list[msgspec.Raw]


class _TokenReply(msgspec.Struct):
    access_token: str
    expires_in: int = 3600
    refresh_token: str = ""


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True


def _oauth_error(body: bytes) -> str:
    try:
        return text_of(json_object(body).get("error"))
    except ValueError:
        return ""
