"""What a sandbox provider is: a pure function from request to reply over the town, plus what it would push.

A provider module holds one subclass. It renders facts in the provider's own wire format, checks credentials as the
provider does, and remembers writes. It knows nothing of sockets: `server.py` does those, and the generic faults.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec

from connectors.sandbox.facts import Client, Town

T = TypeVar("T")
FaultKind = Literal[
    "429",
    "500",
    "500_after_commit",
    "lost_answer",
    "timeout",
    "timeout_after_commit",
    "slow",
    "reset",
    "truncated",
    "revoked_token",
    "duplicate_pages",
    "shifted_pages",
]
# the write is carried out, and the caller never hears of it: at once, or after `seconds`
LOST_ANSWERS = ("lost_answer", "timeout_after_commit")


@dataclass(frozen=True)
class Request:
    """`path` is raw (still percent-encoded), after the provider's prefix, without the query. Header names lower-case.
    `root` is the provider's own base URL on this sandbox, e.g. `http://127.0.0.1:8080/callrail`, for absolute links."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    root: str

    @property
    def params(self) -> list[tuple[str, str]]:
        """Decoded query pairs; repeated keys are kept."""
        return parse_qsl(self.query, keep_blank_values=True)

    def param(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.params if key == name), default)

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, msgspec.json.encode(value), {"content-type": "application/json", **(headers or {})})


@dataclass(frozen=True)
class Push:
    """One webhook of the town's history. `sign(url)` gives the headers for the URL it is sent to (signatures need it).
    `tail` is put after `/webhooks/{client}/{provider}`; it starts with `/` or is empty. `success` is the text without
    which the provider takes even a 200 for a failure."""

    client_id: str
    at: datetime
    body: bytes
    sign: Callable[[str], Mapping[str, str]]
    tail: str = ""
    method: str = "POST"
    success: bytes = b""


@dataclass
class Fault:
    """Applies to the next `times` matching requests (None: until cleared) after skipping `after` of them, each with
    `probability`. `slow` answers late, `timeout` never and does nothing. Those that leave the outcome open (`500_after_commit`,
    `lost_answer`, `timeout_after_commit`) strike calls that wrote something only."""

    kind: FaultKind
    provider: str = ""
    path: str = ""  # substring of the raw path
    times: int | None = 1
    after: int = 0
    probability: float = 1.0
    retry_after: str | int = ""  # for 429: a number of seconds or an HTTP date; "" sends no header
    seconds: float = 2.0  # for slow and the timeouts


class World:
    """What all providers of one sandbox share: faults, the ledger of writes, the clock, and made-up secrets."""

    def __init__(self, seed: int, *, now: Callable[[], datetime] | None = None) -> None:
        self.seed = seed
        self.faults: list[Fault] = []
        self.ledger: list[dict[str, Any]] = []
        self._now = now or (lambda: datetime.now(UTC))
        self._dice = hashlib.sha256(f"dice:{seed}".encode()).digest()

    def now(self) -> datetime:
        return self._now()

    def set_now(self, now: datetime | None) -> None:
        self._now = (lambda: datetime.now(UTC)) if now is None else (lambda: now)

    def secret(self, *parts: object) -> str:
        """32 hex digits that only this seed's sandbox knows; the same at every start."""
        return hmac.new(f"leadtrail-sandbox:{self.seed}".encode(), repr(parts).encode(), "md5").hexdigest()

    def wrote(self, provider: str, kind: str, body: Any) -> None:
        """Remember a write that was accepted: the oracle of every exactly-once test."""
        self.ledger.append({"provider": provider, "kind": kind, "at": self.now().isoformat(), "body": body})

    def struck(self, provider: str, path: str, kinds: Sequence[str]) -> Fault | None:
        """The fault that hits this request, if any; it is used up by asking."""
        for fault in self.faults:
            if fault.kind not in kinds or fault.provider not in ("", provider) or fault.path not in path:
                continue
            if fault.times == 0:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.probability < 1.0:
                self._dice = hashlib.sha256(self._dice).digest()
                if self._dice[0] / 256 >= fault.probability:
                    continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None


class SandboxProvider(ABC):
    """One provider over the whole town. `name` is its key and its path prefix."""

    name: ClassVar[str]
    at_root: ClassVar[str] = ""  # first part of the paths that the provider's own links give from the host's root

    def __init__(self, town: Town, world: World) -> None:
        self.town, self.world = town, world
        self._behind: dict[str, int] = {}  # rows that a list under a page fault has moved down, by what is read

    @abstractmethod
    def handle(self, request: Request) -> Reply:
        """Answer one API call: status, body and headers as the real provider would."""

    def env(self, root: str) -> dict[str, str]:
        """Settings that point Leadtrail here. `root` is this provider's base URL on the sandbox."""
        return {f"LEADTRAIL_{self.name.upper()}_BASE_URL": root}

    @abstractmethod
    def connection(self, client: Client, root: str) -> dict[str, Any]:
        """The client's connection as it stands in the clients file: option -> value, secrets as `connectors.base.Secret`."""

    @abstractmethod
    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        """What the client's own account page would show, in plain text and under the provider's own names."""

    @abstractmethod
    def records(self) -> Iterator[tuple[str, str, str, str]]:
        """(client_id, stream, record_id, person_id) of every record a complete sync ends with; person_id may be ""."""

    def pushes(self) -> Iterator[Push]:
        """Every webhook of the town's history, in any order."""
        return iter(())

    def close(self) -> None:
        """Let go of what it holds beside memory."""
        return None

    def error(self, status: int, request: Request) -> Reply:
        """The provider's own words for a generic failure (429, 500, 401 for a revoked token)."""
        return json_reply(
            {"error": {401: "Unauthorized", 429: "Too Many Requests"}.get(status, "Server Error")}, status
        )

    def slice(self, items: Sequence[T], start: int, size: int, request: Request) -> tuple[Sequence[T], int]:
        """One page of a list and its apparent total. Honours the page faults: `shifted_pages` (a newer record pushed
        everything down by one since the last page) and `duplicate_pages` (the page before comes again)."""
        key = request.path + request.headers.get("authorization", "")
        if start == 0:
            self._behind.pop(key, None)
        elif fault := self.world.struck(self.name, request.path, ("shifted_pages", "duplicate_pages")):
            # what has moved down stays down: a list that moved up again would skip rows, which no provider's does
            further = min(start, 1 if fault.kind == "shifted_pages" else size)
            self._behind[key] = max(self._behind.get(key, 0), further)
        behind = self._behind.get(key, 0)
        first = max(0, start - behind)
        return items[first : first + size], len(items) + behind
