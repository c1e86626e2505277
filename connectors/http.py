"""The one HTTP client: caps, retries, rate limits and scrubbed logs. The only module that names httpx.

`Http` is shared by every connection of a process (a new TLS context costs more than forty small requests).
`Account` is one connection's view of it: base URL, credential, quota, and what each answer means.
"""

from __future__ import annotations

import base64
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from connectors.base import ConnectorError, ContractChanged, CredentialError, ProviderDown, RateLimited, Rejected
from connectors.broken_text import mended_json

log = logging.getLogger("leadtrail.http")
# They would log full URLs and answer headers, and those hold phone numbers and keys.
for noisy in ("httpx", "httpcore"):
    logging.getLogger(noisy).setLevel(logging.WARNING)

MEGABYTE = 1024 * 1024
T = TypeVar("T")
Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


class Clock:
    """Time as the transport sees it. Tests pass one that jumps instead of sleeping."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


_writing_until: ContextVar[datetime | None] = ContextVar("writing_until", default=None)


@contextmanager
def writing_until(at: datetime) -> Iterator[None]:
    """Nothing is written to a provider in here from `at` on: by then the work may have been given to somebody else."""
    token = _writing_until.set(at)
    try:
        yield
    finally:
        _writing_until.reset(token)


def stop_if_late(clock: Clock, connection: str) -> None:
    """Called as late before a write as can be."""
    until = _writing_until.get()
    if until is not None and clock.now() >= until:
        raise ProviderDown(
            "this process was held up for too long before it could send; nothing was sent.",
            connection=connection,
            fix="It is tried again; no action is needed unless it repeats.",
        )


class Response(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes
    url: str


@dataclass(frozen=True)
class Budget:
    """What one call may cost: `attempts` tries, `wait` seconds of waiting in all, `deadline` seconds for one answer,
    `max_bytes` of (decompressed) body."""

    attempts: int = 5
    wait: float = 120.0
    deadline: float = 60.0
    max_bytes: int = 64 * MEGABYTE


class Wait(NamedTuple):
    """Verdict: try again, after `seconds` (None: our own back-off). `why` is for the log and the final error.
    `unprocessed`: the provider promises that it did nothing with the call, so even a write may be repeated."""

    why: str
    seconds: float | None = None
    unprocessed: bool = False


class Limit(NamedTuple):
    """At most `calls` in any `seconds`, for one account."""

    calls: int
    seconds: float


class Limiter:
    """Keeps every limit in any window of time; callers of all threads share it. (A token bucket that starts full would
    let almost twice the calls through in its first window.)"""

    def __init__(self, limits: Sequence[Limit], clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: list[tuple[Limit, deque[float]]] = [(limit, deque(maxlen=limit.calls)) for limit in limits]

    def take(self) -> float:
        """Take one call; return the seconds to wait before making it."""
        with self._lock:
            now = turn = self._clock.monotonic()
            for limit, taken in self._windows:
                if len(taken) == limit.calls:
                    turn = max(turn, taken[0] + limit.seconds)
            for _, taken in self._windows:
                taken.append(turn)
            return turn - now


class Auth(Protocol):
    """Puts the credential on a call, and may renew it once when the provider answers 401."""

    def headers(self) -> Mapping[str, str]: ...
    def renew(self, refused: Mapping[str, str]) -> bool:
        """The call with these headers was refused. True: a new credential is ready, replay the call."""


class StaticAuth:
    """A credential that does not change by itself."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def headers(self) -> Mapping[str, str]:
        return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        return False


class Http:
    """One pool of connections for the process. Thread-safe. Redirects are never followed: they would carry keys along."""

    def __init__(
        self, *, clock: Clock | None = None, transport: httpx.BaseTransport | None = None, connections: int = 32
    ) -> None:
        self.clock = clock or Clock()
        self.client = httpx.Client(
            transport=transport,
            follow_redirects=False,
            timeout=httpx.Timeout(30.0, connect=10.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "leadtrail"},
        )
        self._limiters: dict[str, Limiter] = {}
        self._lock = threading.Lock()

    def limiter(self, key: str, limits: Sequence[Limit]) -> Limiter:
        """The limiter of an account: the same one for every connection that shares the account's quota."""
        with self._lock:
            if key not in self._limiters:
                self._limiters[key] = Limiter(limits, self.clock)
            return self._limiters[key]

    def close(self) -> None:
        self.client.close()


class Account:
    """Calls to one provider as one account. Subclass and override `judge` where the provider has its own meanings."""

    def __init__(
        self,
        http: Http,
        *,
        connection: str,
        base_url: str,
        auth: Auth,
        limits: Sequence[Limit] = (),
        quota_key: str = "",
        budget: Budget | None = None,
    ) -> None:
        self.http, self.connection, self.auth = http, connection, auth
        self.base_url = base_url.rstrip("/")
        self.budget = budget or Budget()
        self.calls = 0
        self._limiter = http.limiter(quota_key or f"{connection}:{self.base_url}", limits)

    # ---- calls ----

    def get(self, path: str, into: type[T], *, params: Params | None = None) -> T:
        """GET JSON, decoded into a msgspec type. Truncated JSON is retried; a wrong shape is a ContractChanged."""
        return self._decoded("GET", path, into, params=params)

    def post(self, path: str, into: type[T], *, json: Any, params: Params | None = None) -> T:
        """POST that only reads (a search): retried like a GET."""
        return self._decoded("POST", path, into, params=params, content=msgspec.json.encode(json))

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        content: bytes | None = None,
        form: Params | None = None,
        headers: Mapping[str, str] | None = None,
        retry: bool | None = None,
    ) -> Response:
        """One call, judged. `retry` defaults to True for GET only: a write is never repeated blindly."""
        repeat = method == "GET" if retry is None else retry
        return self._attempts(method, path, params=params, content=content, form=form, headers=headers, repeat=repeat)[
            0
        ]

    def _decoded(self, method: str, path: str, into: type[T], **call: Any) -> T:
        decoder = msgspec.json.Decoder(into)
        extra = {"Accept": "application/json"}  # QuickBooks answers XML to whoever does not ask for JSON
        if call.get("content") is not None:
            extra["Content-Type"] = "application/json"
        _, value = self._attempts(method, path, headers=extra, repeat=True, decoder=decoder, **call)
        return value  # type: ignore[no-any-return]

    # ---- what an answer means ----

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        """None: fine. Wait: try again. An error: stop. Order matters less than honesty: never call a failure fine."""
        status = response.status
        if 200 <= status < 300:
            return None
        if status == 401:
            return CredentialError(
                "the provider refuses the credential (401).",
                connection=self.connection,
                fix="Check that the key is right and still active, then run `leadtrail check`.",
            )
        if status == 403:
            return CredentialError(
                "the credential lacks a right (403).",
                connection=self.connection,
                fix="Give its user or scope access, then run `leadtrail check`.",
            )
        if status == 429:
            return Wait("too many requests (429)", retry_after(response, self.http.clock.now()))
        if status in (408, 423, 425) or status >= 500:
            return Wait(f"the provider answered {status}", retry_after(response, self.http.clock.now()))
        return Rejected(
            f"the provider refused the request ({status}).",
            connection=self.connection,
            fix="Nothing was changed; run `leadtrail doctor` and report this if it stays.",
            status=status,
        )

    def expired(self, response: Response) -> bool:
        """Whether this refusal may mean that the access token has ended, so that renewing it is worth one try."""
        return response.status == 401

    def own(self, url: str) -> str:
        """A provider-given link, as a path under our base URL. Links to another host are refused: they would get our key."""
        base, link = urlsplit(self.base_url), urlsplit(url)
        # A relative link must be a path: ".evil.example" or "@evil.example" put after our host would name another one.
        relative = not link.scheme and not link.netloc and url.startswith("/")
        if not relative and (link.scheme, link.netloc) != (base.scheme, base.netloc):
            raise ContractChanged(
                f"the provider links to another host ({link.netloc}).",
                connection=self.connection,
                fix="The link was not followed. Check the base URL setting.",
            )
        return url if link.scheme else f"{base.scheme}://{base.netloc}{url}"

    # ---- the loop ----

    def _attempts(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        content: bytes | None = None,
        form: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool,
        decoder: msgspec.json.Decoder[Any] | None = None,
    ) -> tuple[Response, Any]:
        budget = self.budget
        url = path if path.startswith("http") else self.base_url + path
        waited, attempt, renewed = 0.0, 0, False
        while True:
            attempt += 1
            credential = self.auth.headers()
            self._pause(self._limiter.take())
            verdict: Wait | ConnectorError | None
            try:
                response = self._send(method, url, params, content, form, {**credential, **(headers or {})})
                if not renewed and self.expired(response) and self.auth.renew(credential):
                    renewed, attempt = True, attempt - 1
                    continue
                verdict = self.judge(response)
                if verdict is None:
                    try:
                        return response, _read(decoder, response.body) if decoder else None
                    except msgspec.ValidationError as error:
                        raise ContractChanged(
                            f"the answer to {method} {urlsplit(url).path} has a new shape ({error}).",
                            connection=self.connection,
                            fix="Nothing was stored and the cursor did not move; the connector needs a change.",
                        ) from None
                    except msgspec.DecodeError:
                        verdict = Wait("the answer was cut off or is not JSON")
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                verdict = Wait(f"the connection failed ({type(error).__name__})", unprocessed=True)  # nothing was sent
            except (httpx.TransportError, httpx.DecodingError) as error:
                verdict = Wait(f"the connection failed ({type(error).__name__})")
            except _TooSlow:
                verdict = Wait(f"the answer took longer than {budget.deadline:.0f} s")
            if isinstance(verdict, ConnectorError):
                raise verdict
            pause = verdict.seconds if verdict.seconds is not None else _backoff(attempt)
            limited = verdict.why.startswith("too many")
            if not (repeat or verdict.unprocessed) or attempt >= budget.attempts or waited + pause > budget.wait:
                raise self._gave_up(verdict, attempt, pause, limited, repeat)
            log.info("%s: %s, waiting %.1f s (attempt %d)", self.connection, verdict.why, pause, attempt)
            self._pause(pause)
            waited += pause

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.http.clock.sleep(seconds)

    def _gave_up(self, verdict: Wait, attempt: int, pause: float, limited: bool, repeat: bool) -> ConnectorError:
        tries = f"after {attempt} attempt{'s' if attempt > 1 else ''}"
        if limited:
            return RateLimited(
                f"{verdict.why} {tries}.",
                connection=self.connection,
                fix="The next scheduled run goes on from the same place; no action is needed unless it repeats.",
                retry_at=self.http.clock.now() + timedelta(seconds=pause),
            )
        maybe_done = not repeat and not verdict.unprocessed
        outcome = " It is unknown whether the provider carried out this write." if maybe_done else ""
        return ProviderDown(
            f"{verdict.why} {tries}.{outcome}",
            connection=self.connection,
            fix="The next scheduled run goes on from the same place; no action is needed unless it repeats.",
            maybe_done=maybe_done,
        )

    def _send(
        self,
        method: str,
        url: str,
        params: Params | None,
        content: bytes | None,
        form: Params | None,
        headers: Mapping[str, str],
    ) -> Response:
        clock, client, budget = self.http.clock, self.http.client, self.budget
        started = clock.monotonic()
        data = httpx.QueryParams(form).__str__().encode() if form is not None else content  # type: ignore[arg-type]
        if form is not None:
            headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        # made here because httpx, given URL and params apart, parses both twice: a tenth of the cost of a small request
        target = httpx.URL(url) if params is None else httpx.URL(url, params=params)
        request = client.build_request(method, target, content=data, headers=headers)
        if method != "GET" and _writing_until.get() is not None:
            request.extensions["trace"] = self._before_write
        self.calls += 1
        response = client.send(request, stream=True)
        try:
            chunks, size = [], 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > budget.max_bytes:
                    raise ContractChanged(
                        f"the answer to {method} {urlsplit(url).path} is larger than {budget.max_bytes // MEGABYTE} MB.",
                        connection=self.connection,
                        fix="Nothing was stored; ask for less at a time.",
                    )
                if clock.monotonic() - started > budget.deadline:
                    raise _TooSlow
                chunks.append(chunk)
        finally:
            response.close()
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        log.debug(
            "%s: %s %s -> %d, %d bytes, %.0f ms",
            self.connection,
            method,
            urlsplit(url).path,
            response.status_code,
            size,
            1000 * (clock.monotonic() - started),
        )
        return Response(response.status_code, response.headers, body, str(request.url))

    def _before_write(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore says what it does: connecting may take long, so the last moment is when it has done that."""
        if event.endswith(".send_request_headers.started"):
            stop_if_late(self.http.clock, self.connection)


def _read(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:
        mended = mended_json(body)
        if mended == body:
            raise
        return decoder.decode(mended)


class _TooSlow(Exception):
    pass


def _backoff(attempt: int) -> float:
    """0.5, 1, 2 … seconds, capped at 30, with jitter so that clients do not return in step."""
    return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311


def retry_after(response: Response, now: datetime) -> float | None:
    """Seconds the provider asks us to wait: `Retry-After` as a number or an HTTP date. Never less than it says."""
    value: str | None = response.headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def basic(user: str, password: str) -> dict[str, str]:
    """An HTTP Basic Authorization header."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
