"""What every connector is made of: streams, pages, records, webhooks, and errors a person can act on.

A connector speaks one provider's wire protocol and knows nothing of Dagster, dbt or a database. It is handed
its options, an HTTP client and (for rotating credentials) a token vault; it hands back pages of raw records.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

if TYPE_CHECKING:
    from connectors.delivery import Deliverer
    from connectors.http import Http
    from connectors.oauth import TokenVault

Cursor = dict[str, Any]
"""JSON-serialisable state of one feed. Only the connector that wrote it reads it."""

# How long after its first try a write without an answer may yet be carried out. Our own wait for an answer ends after a minute;
# until then "not there" proves nothing.
SETTLES = timedelta(minutes=2)


# ---- what went wrong, and who must do something ------------------------------------------------------------


class ConnectorError(Exception):
    """Something a caller can act on. `connection` is `client/provider`; `fix` is the next step for a person.

    Messages are shown to operators and logged: they never hold a secret or personal data.
    """

    def __init__(self, what: str, *, connection: str, fix: str) -> None:
        super().__init__(f"{connection}: {what} {fix}")
        self.what, self.connection, self.fix = what, connection, fix


class ConfigError(ConnectorError):
    """Stop, and tell a person: no retry will help."""


class CredentialError(ConfigError):
    """The provider refuses our credential or our right to read something."""


class TransientError(ConnectorError):
    """Stop for now; the same call may work later. Nothing is lost: the cursor has not moved."""


class RateLimited(TransientError):
    """The provider asks us to wait longer than this run may. `retry_at` is when to come back (UTC)."""

    def __init__(self, what: str, *, connection: str, fix: str, retry_at: datetime | None = None) -> None:
        super().__init__(what, connection=connection, fix=fix)
        self.retry_at = retry_at


class ProviderDown(TransientError):
    """The provider did not give a usable answer within the budget of attempts and time. `maybe_done`: it was asked to change
    something, and nobody knows whether it did."""

    def __init__(self, what: str, *, connection: str, fix: str, maybe_done: bool = False) -> None:
        super().__init__(what, connection=connection, fix=fix)
        self.maybe_done = maybe_done


class ContractError(ConnectorError):
    """Stop: the provider, or our reading of it, has changed. An engineer must look."""


class ContractChanged(ContractError):
    """An answer has a shape this connector does not know."""


class Rejected(ContractError):
    """The provider refused this one request as wrong (4xx). `status` is the HTTP status, `code` the provider's own."""

    def __init__(self, what: str, *, connection: str, fix: str, status: int, code: str = "") -> None:
        super().__init__(what, connection=connection, fix=fix)
        self.status, self.code = status, code


class SignatureError(Exception):
    """A webhook that does not prove where it came from. Nothing of it is stored."""


# ---- secrets -----------------------------------------------------------------------------------------------


class Secret:
    """A string that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(•••)"


# ---- records -----------------------------------------------------------------------------------------------


class Record(msgspec.Struct, frozen=True, gc=False):
    """One provider record. `payload` is the provider's JSON, byte for byte.

    `occurred_at` is when it happened, `updated_at` the provider's own last change (None if it has none); both
    timezone-aware. `record_id` is the provider's own id as text, unique within (client, stream). `absent` marks an
    observation of ours (see `absent()`).
    """

    record_id: str
    payload: bytes | msgspec.Raw
    occurred_at: datetime | None = None
    updated_at: datetime | None = None
    absent: bool = False


class Page(msgspec.Struct, frozen=True, gc=False):
    """Records of one stream, and the feed's cursor once they are durable. `cursor=None`: nothing to remember yet."""

    stream: str
    records: Sequence[Record]
    cursor: Cursor | None = None


def absent(record_id: str, seen_at: datetime) -> Record:
    """An observation of ours, not the provider's words: the record is no longer served.

    Staging marks the record hidden or deleted and keeps it. `seen_at` is when we noticed.
    """
    payload = msgspec.json.encode({"_observed": "absent", "id": record_id, "at": seen_at.astimezone(UTC)})
    return Record(record_id, payload, occurred_at=None, updated_at=seen_at, absent=True)


# ---- webhooks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WebhookRequest:
    """A webhook as it arrived. `url` is the public URL the provider called; `tail` what follows `/{client}/{provider}`.

    `headers` has lower-case names. `body` is the raw bytes: signatures are checked over these, never over a re-encoding.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
    method: str = "POST"
    tail: str = ""

    @property
    def sent_at(self) -> datetime:
        """When it was sent, as far as it says (the `Date` header of HTTP): a delivery that waited in a queue, or history that is
        sent again. `received_at` if it does not say, or says what cannot be."""
        try:
            said = parsedate_to_datetime(self.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError):
            return self.received_at
        return min(said, self.received_at)


@dataclass(frozen=True)
class Answer:
    """The HTTP answer this provider takes as "received"."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Said:
    """What a person said about being written to, as a webhook brought it. `words` are their own: what they mean is decided
    elsewhere. `told` is what the provider says has happened. `about` names the record that says so."""

    channel: Literal["text", "email"]
    about: str
    at: datetime
    address: str = field(repr=False)
    words: str = field(repr=False, default="")
    told: Literal["", "stop", "start", "help", "complaint", "bounce"] = ""


@dataclass(frozen=True)
class Accepted:
    """A verified webhook. `dedupe_key` is the same for every delivery of the same event, for ever. What was `said` must be in
    force before the webhook is answered."""

    dedupe_key: str
    answer: Answer = Answer()
    said: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Received:
    """What a stored webhook means: records it carries itself, and (stream, record_id) hints worth a refetch.

    `quarantine` is (reason, payload) for parts that could not be understood; they are kept, shown and re-readable.
    """

    records: Sequence[tuple[str, Record]] = ()
    refetch: Sequence[tuple[str, str]] = ()
    quarantine: Sequence[tuple[str, bytes]] = ()


def body_key(body: bytes) -> str:
    """Dedupe key of a webhook that carries no event id of its own."""
    return hashlib.sha256(body).hexdigest()


# ---- connectors --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """One kind of record. `description` is a business sentence (it is what the catalogue shows).

    `feed` names the pull that serves it; several streams may share one feed (one call that answers for all).
    `arrives` tells how: pulled, pushed by webhook, or imported from a file.
    """

    name: str
    description: str
    arrives: Literal["pull", "push", "import"] = "pull"
    feed: str = ""

    @property
    def feed_name(self) -> str:
        return self.feed or self.name


@dataclass(frozen=True)
class Health:
    """Whether a connection works, in words for the person who must act. `details` holds counts and names, no secrets."""

    ok: bool
    message: str
    fix: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Registration:
    """How the permit stands without which carriers do not take a client's texts. `said` is the provider's own word for it."""

    state: Literal["not_needed", "approved", "pending", "rejected", "withdrawn", "unknown"]
    said: str = ""


class Connector(ABC):
    """One client's connection to one provider."""

    provider: ClassVar[str]
    title: ClassVar[str]
    streams: ClassVar[tuple[Stream, ...]]
    Options: ClassVar[type]
    """A frozen dataclass. Fields typed `Secret` are secrets; fields without a default are required."""

    # the kinds of message (connectors/delivery.py) that can be handed to it
    delivers: ClassVar[tuple[type, ...]] = ()

    # how often a pull is worth its quota; a five-field cron expression, or "" if nothing is pulled
    cron: ClassVar[str] = ""

    # a pushed stream whose records change at the provider without any event, so that we must look again (see `due_rereads`)
    rereads: ClassVar[str] = ""

    # what `receive` needs of a webhook beside its body: anything else may be a credential, and is not stored
    kept_headers: ClassVar[tuple[str, ...]] = ("content-type",)
    keeps_tail: ClassVar[bool] = False

    def __init__(self, options: Any, *, connection: str, http: Http, vault: TokenVault | None = None) -> None:
        self.options, self.connection, self.http, self.vault = options, connection, http, vault

    @classmethod
    def feeds(cls) -> dict[str, tuple[str, ...]]:
        """Feed name -> the streams it serves, in the order they should be pulled."""
        feeds: dict[str, tuple[str, ...]] = {}
        for stream in cls.streams:
            if stream.arrives == "pull":
                feeds[stream.feed_name] = (*feeds.get(stream.feed_name, ()), stream.name)
        return feeds

    @abstractmethod
    def check(self) -> Health:
        """Try the credential and the rights we need. Raises nothing: the answer is the Health."""

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        """Yield pages of everything new since `cursor` (None: from the start). A plain generator, safe to repeat."""
        raise NotImplementedError(f"{self.provider} has nothing to pull")

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        """Yield the named records as the provider has them now. For webhooks that are only a hint."""
        raise NotImplementedError(f"{self.provider} cannot refetch {stream}")

    def due_rereads(
        self, known: Iterable[tuple[str, datetime]], now: datetime, last_reread: Mapping[str, datetime]
    ) -> list[str]:
        """Ids of `rereads` records to refetch now. `known`: every id with the time it was made."""
        return []

    def accept(self, request: WebhookRequest) -> Accepted:
        """Verify the signature over the raw body and say what to answer. Raises SignatureError. No network, no parsing
        beyond what the dedupe key needs: this runs before the event is stored."""
        raise NotImplementedError(f"{self.provider} sends no webhooks")

    def kept(self, request: WebhookRequest) -> WebhookRequest:
        """The accepted webhook as it is stored for `receive`: nothing in it proves where it came from any more. A
        provider that puts its proof into the body takes it out here."""
        ends = request.tail.count("/")
        path = request.url.partition("?")[0]
        return replace(
            request,
            url=path.rsplit("/", ends)[0] if ends and not self.keeps_tail else path,
            headers={name: request.headers[name] for name in (*self.kept_headers, "date") if name in request.headers},
            tail=request.tail if self.keeps_tail else "",
        )

    def receive(self, request: WebhookRequest) -> Received:
        """Read a stored, verified webhook. Never raises for bad content: what can't be read is quarantined."""
        raise NotImplementedError(f"{self.provider} sends no webhooks")

    def deliverer(self, *, settles: timedelta = SETTLES) -> Deliverer[Any]:
        """What hands our messages to this provider. `settles`: after how long "not there" is certain."""
        raise NotImplementedError(f"nothing can be delivered to {self.provider}")

    def registration(self) -> Registration:
        """Whether this client's texts may go this way, as the provider says now. Raises ConnectorError if it does not say."""
        return Registration("not_needed")

    def read_export(self, rows: Iterator[Mapping[str, str]], *, mapping: Mapping[str, str]) -> Iterator[Page]:
        """Read rows of a CSV the client exported by hand. `mapping`: our field -> their column name."""
        raise NotImplementedError(f"{self.provider} has no file import")
