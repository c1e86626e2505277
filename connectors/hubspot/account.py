"""One HubSpot account: where things are, how fast it may be asked, and what its refusals mean.

    classic  /crm/v3/objects/contacts     /crm/v4/associations/deals/contacts     /account-info/v3/details
    dated    /crm/objects/2026-03/contacts  /crm/associations/2026-03/deals/contacts  /account-info/2026-03/details

Bodies are the same in both; the classic paths end in 2027, so the version is one setting. Search has its own limit, five a
second for the whole HubSpot account, and gives no headers to see it coming.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from connectors.base import ConfigError, ConnectorError, CredentialError, RateLimited, Rejected, Secret
from connectors.http import Account, Http, Limit, Response, StaticAuth, Wait, retry_after

T = TypeVar("T")

VERSIONS = ("v3", "2026-03", "2026-09")

BURST = Limit(95, 10.0)  # the smallest plan's is 100, for each app
SEARCHES = Limit(4, 1.0)  # HubSpot's is 5, for all apps of the account together

TEN_SECONDS, ONE_SECOND = 10.0, 1.0
LOCKED_WAIT = 2.0
LONGEST_WAIT = 120.0
MOVING = 477
MALFORMED_TOKEN = 530


class _Detail(msgspec.Struct):
    context: dict[str, list[str]] = {}


class Refusal(msgspec.Struct, rename="camel"):
    """An error body. HubSpot asks to treat every member as optional."""

    message: str = ""
    category: str = ""
    correlation_id: str = ""
    policy_name: str = ""
    errors: list[_Detail] = []

    @property
    def scopes(self) -> list[str]:
        return sorted({scope for error in self.errors for scope in error.context.get("requiredGranularScopes", [])})

    @property
    def reference(self) -> str:
        return f" HubSpot's correlation id: {self.correlation_id}." if self.correlation_id else ""


class Portal(msgspec.Struct, rename="camel"):
    """The account a token belongs to. HubSpot calls it a portal or a hub."""

    portal_id: int
    time_zone: str = ""


class HubSpotAccount(Account):
    """Calls to one HubSpot account with one token."""

    def __init__(self, http: Http, *, connection: str, base_url: str, token: Secret, version: str) -> None:
        if version not in VERSIONS:
            raise ConfigError(
                f"api_version {version!r} is not known.",
                connection=connection,
                fix=f"Use one of {', '.join(VERSIONS)}.",
            )
        fingerprint = hashlib.sha256(token.reveal().encode()).hexdigest()[:16]
        super().__init__(
            http,
            connection=connection,
            base_url=base_url,
            auth=StaticAuth({"Authorization": f"Bearer {token.reveal()}"}),
            limits=[BURST],
            quota_key=f"hubspot:{fingerprint}",
        )
        self.version = version
        self.zone: tzinfo = UTC
        self._searches = http.limiter(f"hubspot-search:{fingerprint}", [SEARCHES])

    def path(self, family: str, rest: str = "") -> str:
        """Where a family of calls lives: `path("objects", "/deals/search")`."""
        if self.version == "v3":
            return f"/crm/{'v4' if family == 'associations' else 'v3'}/{family}{rest}"
        return f"/crm/{family}/{self.version}{rest}"

    def portal(self) -> Portal:
        """Whose token this is. Its time zone says when the daily limit starts anew."""
        portal = self.get(f"/account-info/{self.version}/details", Portal)
        try:
            self.zone = ZoneInfo(portal.time_zone)
        except (ValueError, OSError):  # no such zone, or none named
            self.zone = UTC
        return portal

    def search(self, object_type: str, into: type[T], *, body: dict[str, Any]) -> T:
        self._pause(self._searches.take())
        return self.post(self.path("objects", f"/{object_type}/search"), into, json=body)

    def write(self, method: str, path: str, body: Any, *, retry: bool = False) -> Response:
        """A call that changes something. Only one that may safely happen twice is retried."""
        content, headers = msgspec.json.encode(body), {"Content-Type": "application/json"}
        return self.request(method, path, content=content, headers=headers, retry=retry)

    # ---- what a refusal means ----

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        status = response.status
        if status < 400:
            return super().judge(response)
        said = _refusal(response.body)
        if status == 429:
            return self._limited(response, said)
        if status == MOVING:
            return self._moving(response)
        if status in (401, MALFORMED_TOKEN):
            return CredentialError(
                f"HubSpot refuses the access token ({status} {said.category}).{said.reference}",
                connection=self.connection,
                fix="Create a new token in the HubSpot app's settings, store it, then run `leadtrail check`.",
            )
        if status == 403:
            return self._forbidden(said)
        if status == 423:
            return Wait("the record is locked (423)", max(LOCKED_WAIT, self._asked(response)), unprocessed=True)
        if status >= 500 or status in (408, 425):
            return super().judge(response)
        return Rejected(
            f"HubSpot refused the request ({status} {said.category}).{said.reference}",
            connection=self.connection,
            fix="Nothing was changed; run `leadtrail doctor` and report this if it stays.",
            status=status,
            code=said.category,
        )

    def _limited(self, response: Response, said: Refusal) -> Wait | ConnectorError:
        if said.policy_name == "DAILY":
            return RateLimited(
                "the HubSpot account has used up its calls for today (429 DAILY).",
                connection=self.connection,
                fix="The sync goes on by itself after midnight there; if it repeats, other apps use the same quota.",
                retry_at=self._midnight(),
            )
        # a search over its limit names no policy: "secondly" is only in the words, and one second is right for it
        pause = TEN_SECONDS if said.policy_name else ONE_SECOND
        why = f"too many requests (429 {said.policy_name or 'secondly'})"
        return Wait(why, max(pause, self._asked(response)), unprocessed=True)

    def _moving(self, response: Response) -> Wait | ConnectorError:
        """477: HubSpot is moving the account to another data centre, for up to a day."""
        pause = self._asked(response) or LOCKED_WAIT
        if pause <= LONGEST_WAIT:
            return Wait("HubSpot is moving the account (477)", pause, unprocessed=True)
        return RateLimited(
            "deferred: HubSpot is moving the account to another data centre (477).",
            connection=self.connection,
            fix="No action is needed; the sync goes on by itself afterwards.",
            retry_at=self.http.clock.now() + timedelta(seconds=pause),
        )

    def _forbidden(self, said: Refusal) -> ConnectorError:
        if not said.scopes:
            return CredentialError(
                f"HubSpot forbids this call (403 {said.category}).{said.reference}",
                connection=self.connection,
                fix="Check the app's scopes in HubSpot, then run `leadtrail check`.",
            )
        scopes = ", ".join(said.scopes)
        return CredentialError(
            f"the HubSpot token lacks a scope (403 MISSING_SCOPES): {scopes}.",
            connection=self.connection,
            fix=f"Add {scopes} to the app in HubSpot, then run `leadtrail check`.",
        )

    def _asked(self, response: Response) -> float:
        return retry_after(response, self.http.clock.now()) or 0.0

    def _midnight(self) -> datetime:
        there = self.http.clock.now().astimezone(self.zone)
        return (there + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def _refusal(body: bytes) -> Refusal:
    try:
        return msgspec.json.decode(body, type=Refusal)
    except msgspec.DecodeError:  # includes ValidationError: an error page of a proxy, or a new shape
        return Refusal()
