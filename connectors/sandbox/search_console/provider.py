"""Search Console over the town: both sign-ins, the list of properties, and the report with its late and withheld figures.

The agency has one service account that sees every client's properties. A client has two: the domain, and the URL prefix
`https://www.<domain>/`, which knows only the pages under it. `knobs` turns on what is rare in reality.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.base import Secret
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Reply, Request, SandboxProvider, World, json_reply
from connectors.sandbox.search_console.demand import PROVISIONAL_DAYS, Search, searches, young
from connectors.sandbox.search_console.key import private_key
from connectors.sandbox.search_console.query import KEYS, PACIFIC, Asked, Refused, passes, read_query, render

RETENTION_DAYS = 490  # about 16 months
HOURLY_DAYS = 10
STREAMS = {"by_date": "date", "by_page": "page", "by_query": "query", "by_device": "device", "by_country": "country"}
EMAIL = "reports@leadtrail-sandbox.iam.gserviceaccount.com"
LIMITS = "Learn about usage limits: https://developers.google.com/webmaster-tools/v3/limits."
QPS = f"Search Analytics QPS quota exceeded. {LIMITS}"
LOAD = f"Search Analytics load quota exceeded. {LIMITS}"
CACHED = 2000


@dataclass
class Knobs:
    """What a test may turn. `fail_next` is (status, reason, message) for the next report calls, used up in order."""

    permissions: dict[str, str] = field(default_factory=dict)  # property -> level; "" hides it
    fail_next: list[tuple[int, str, str]] = field(default_factory=list)
    row_cap: int = 50_000  # rows a day
    page_overlap: int = 0  # rows of the page before that come again
    short_pages: int = 0  # rows fewer than asked for on every page
    snake_case_metadata: bool = False
    sign_in_refused: bool = False


class SandboxSearchConsole(SandboxProvider):
    name = "search_console"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.knobs = Knobs()
        self._clients = {url: client for client in town.clients for url in properties(client)}
        self._days: dict[tuple[int, date, int], list[Search]] = {}
        self._reports: dict[Any, list[bytes]] = {}
        self._set: dict[tuple[str, date], list[Search]] = {}

    # ---- control ----

    def set_day(self, site: str, day: date, found: list[Search]) -> None:
        """From now on this property answers for this day with exactly these facts."""
        self._set[site, day] = found
        self._reports.clear()

    def today(self) -> date:
        return self.world.now().astimezone(PACIFIC).date()

    def provisional_from(self) -> date:
        return self.today() - timedelta(days=PROVISIONAL_DAYS)

    # ---- what the sandbox promises ----

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {
            "site_urls": [properties(client)[0]],
            "service_account": Secret(json.dumps(self.service_account(root))),
            "history_days": len(self._history()),
            "calls_per_minute": 1_000_000,  # nobody counts them here
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {
            "service_account": self.service_account(root),
            "authorized_user": {"type": "authorized_user", "token_uri": root + "/token", **self.user_credentials()},
            "site_urls": [properties(client)[0]],
        }

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for client in self.town.clients:
            for day in self._history():
                for stream, dimension in STREAMS.items():
                    yield client.client_id, stream, f"{properties(client)[0]}|{dimension}|{day}", ""

    def _history(self) -> list[date]:
        """The days a first load brings: from the town's first to yesterday, as far back as a connection asks by default."""
        first, today = self.town.start.astimezone(PACIFIC).date(), self.today()
        length = min(480, max(1, (today - first).days))
        return [today - timedelta(days=back) for back in range(length, 0, -1)]

    def service_account(self, root: str) -> dict[str, str]:
        """The key file, with this sandbox as the place to sign in."""
        return {
            "type": "service_account",
            "project_id": "leadtrail-sandbox",
            "private_key_id": self.world.secret("search_console", "key"),
            "private_key": self._key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "client_email": EMAIL,
            "client_id": str(int(self.world.secret("search_console", "client"), 16))[:21],
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": root + "/token",
            "universe_domain": "googleapis.com",
        }

    def user_credentials(self) -> dict[str, str]:
        """A person's consent, for the other way to sign in."""
        return {
            "client_id": self.world.secret("search_console", "app") + ".apps.googleusercontent.com",
            "client_secret": "GOCSPX-" + self.world.secret("search_console", "app secret"),
            "refresh_token": "1//" + self.world.secret("search_console", "refresh"),
        }

    # ---- requests ----

    def handle(self, request: Request) -> Reply:
        if request.path == "/token":
            return self._sign_in(dict(request.form))
        if not self._signed_in(request.headers.get("authorization", "")):
            return self.error(401, request)
        # split before decoding: a property is one segment, whatever slashes it holds
        parts = [unquote(part) for part in request.path.removeprefix("/webmasters/v3").strip("/").split("/")]
        match request.method, parts:
            case "GET", ["sites"]:
                entries = [entry for url in self._clients if (entry := self._entry(url))]
                return json_reply({"siteEntry": entries} if entries else {})
            case "GET", ["sites", site]:
                entry = self._entry(site)
                return json_reply(entry) if entry else self._forbidden(site)
            case "GET", ["sites", site, "sitemaps"]:  # nobody in town has handed one in
                return json_reply({}) if self._entry(site) else self._forbidden(site)
            case "POST", ["sites", site, "searchAnalytics", "query"]:
                return self._query(site, request)
        return failure(404, "notFound", "Requested entity was not found.")

    def error(self, status: int, request: Request) -> Reply:
        if status == 401:
            return failure(401, "authError", "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        if status == 429:
            return failure(429, "rateLimitExceeded", "Rate Limit Exceeded", "RESOURCE_EXHAUSTED")
        return failure(status, "backendError", "Backend Error", "INTERNAL")

    def _entry(self, site: str) -> dict[str, str] | None:
        level = self.knobs.permissions.get(site, "siteFullUser" if site in self._clients else "")
        return {"siteUrl": site, "permissionLevel": level} if level else None

    def _forbidden(self, site: str) -> Reply:
        message = (
            f"User does not have sufficient permission for site '{site}'. "
            "See also: https://support.google.com/webmasters/answer/2451999."
        )
        return failure(403, "forbidden", message, "PERMISSION_DENIED")

    # ---- signing in ----

    def _sign_in(self, form: Mapping[str, str]) -> Reply:
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            problem = self._wrong_assertion(form.get("assertion", ""))
        elif form.get("grant_type") == "refresh_token":
            user = self.user_credentials()
            if (form.get("client_id"), form.get("client_secret")) != (user["client_id"], user["client_secret"]):
                return json_reply({"error": "invalid_client", "error_description": "Unauthorized"}, 401)
            problem = "" if form.get("refresh_token") == user["refresh_token"] else "Bad Request"
        else:
            return json_reply({"error": "unsupported_grant_type", "error_description": "Invalid grant_type"}, 400)
        if self.knobs.sign_in_refused:
            problem = "Token has been expired or revoked."
        if problem:
            return json_reply({"error": "invalid_grant", "error_description": problem}, 400)
        ends = int(self.world.now().timestamp()) + 3599
        token = f"ya29.{ends}.{self.world.secret('search_console', 'access', ends)}"
        return json_reply({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _wrong_assertion(self, assertion: str) -> str:
        try:
            signed, _, signature = assertion.rpartition(".")
            head, claims = (json.loads(_decoded(part)) for part in signed.split("."))
            self._key().public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return "Invalid JWT Signature."
        if head.get("alg") != "RS256" or claims.get("iss") != EMAIL:
            return "Invalid grant: account not found"
        # `aud` is not looked at: clients send Google's URL or that of the key file. Nor is the time of day, which a test
        # may have moved; only the lifetime.
        if not 0 < claims.get("exp", 0) - claims.get("iat", 0) <= 3600:
            return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        return "" if "auth/webmasters" in claims.get("scope", "") else "Invalid scope"

    def _signed_in(self, authorization: str) -> bool:
        """Any token this seed ever issued, until it ends: a restart forgets nobody."""
        scheme, _, token = authorization.partition(" ")
        prefix, _, rest = token.partition(".")
        ends, _, proof = rest.partition(".")
        if scheme != "Bearer" or prefix != "ya29" or not ends.isdigit():
            return False
        return (
            proof == self.world.secret("search_console", "access", int(ends))
            and int(ends) > self.world.now().timestamp()
        )

    def _key(self) -> rsa.RSAPrivateKey:
        return private_key(self.world.secret("search_console", "rsa"))

    # ---- the report ----

    def _query(self, site: str, request: Request) -> Reply:
        if self.knobs.fail_next:
            return failure(*self.knobs.fail_next.pop(0))
        entry = self._entry(site)
        if entry is None or entry["permissionLevel"] == "siteUnverifiedUser":
            return self._forbidden(site)
        try:
            asked = read_query(request.body)
        except Refused as problem:
            return failure(400, "invalidParameter", str(problem), "INVALID_ARGUMENT")
        rows = self._page(self._rows(site, asked), asked, request)
        body = b'{"rows":[' + b",".join(rows) + b"]," if rows else b"{"
        body += b'"responseAggregationType":"%s"' % (b"byPage" if asked.by_page else b"byProperty")
        return Reply(200, body + self._metadata(asked) + b"}", {"content-type": "application/json; charset=UTF-8"})

    def _metadata(self, asked: Asked) -> bytes:
        first = max(asked.first, self.provisional_from())
        if asked.state != "all" or "date" not in asked.dimensions or asked.last < first:
            return b""
        name = "first_incomplete_date" if self.knobs.snake_case_metadata else "firstIncompleteDate"
        return f',"metadata":{{"{name}":"{first}"}}'.encode()

    def _page(self, rows: list[bytes], asked: Asked, request: Request) -> list[bytes]:
        size = asked.limit - self.knobs.short_pages
        start = asked.start // asked.limit * size + asked.start % asked.limit
        if start >= len(rows) + self.knobs.page_overlap:
            return []
        return list(self.slice(rows, max(0, start - self.knobs.page_overlap), size, request)[0])

    def _rows(self, site: str, asked: Asked) -> list[bytes]:
        key = (site, self.today(), self.knobs.row_cap, asked._replace(start=0, limit=0))
        if key not in self._reports:
            if len(self._reports) >= CACHED:
                self._reports.clear()
            self._reports[key] = self._report(site, asked)
        return self._reports[key]

    def _report(self, site: str, asked: Asked) -> list[bytes]:
        """Rows as Google sends them: by date alone in order of days, else most clicks first, the best `row_cap` a day."""
        groups: dict[tuple[str, ...], list[float]] = {}
        keys = [KEYS[name] for name in asked.dimensions]
        asks_queries = "query" in asked.dimensions or any(name == "query" for name, _, _ in asked.filters)
        for day in self._served(asked):
            for search in self._day(site, day):
                if asks_queries and search.withheld:
                    continue
                for page in (search.page, search.beside) if asked.by_page and search.beside else (search.page,):
                    if asked.filters and not all(passes(search, page, rule) for rule in asked.filters):
                        continue
                    sums = groups.setdefault(tuple([key(day, search, page) for key in keys]), [0, 0, 0.0])
                    sums[0] += search.clicks if page is search.page else 0
                    sums[1] += search.impressions
                    sums[2] += search.impressions * search.position
        by_day = asked.dimensions == ("date",)
        ranked = sorted(groups.items()) if by_day else sorted(groups.items(), key=lambda row: -row[1][0])
        return [
            render(key, *sums) for key, sums in ranked[: self.knobs.row_cap * ((asked.last - asked.first).days + 1)]
        ]

    def _served(self, asked: Asked) -> Iterator[date]:
        """The days of a request that have data for it."""
        today = self.today()
        oldest = max(self.town.start.astimezone(PACIFIC).date(), today - timedelta(days=RETENTION_DAYS))
        if asked.state == "hourly_all":
            oldest = max(oldest, today - timedelta(days=HOURLY_DAYS))
        newest = self.provisional_from() - timedelta(days=1) if asked.state == "final" else today
        if asked.kind != "web" or "searchAppearance" in asked.dimensions:
            return
        day, last = max(asked.first, oldest), min(asked.last, newest)
        while day <= last:
            yield day
            day += timedelta(days=1)

    def _day(self, site: str, day: date) -> list[Search]:
        if (site, day) in self._set:
            return self._set[site, day]
        client, age = self._clients[site], (self.today() - day).days
        key = (client.n, day, min(age, PROVISIONAL_DAYS + 1))
        if key not in self._days:
            if len(self._days) >= CACHED:
                self._days.clear()
            final = searches(self.town.seed, client, day)
            self._days[key] = young(final, age) if age <= PROVISIONAL_DAYS else final
        if site.startswith("sc-domain:"):
            return self._days[key]
        return [search for search in self._days[key] if search.page.startswith(site)]


def properties(client: Client) -> tuple[str, str]:
    """A client's properties; the first is the one that is connected."""
    return f"sc-domain:{client.domain}", f"https://www.{client.domain}/"


def failure(status: int, reason: str, message: str, name: str = "") -> Reply:
    """Google's envelope around every error."""
    domain = "usageLimits" if "xceeded" in reason else "global"
    error = {"code": status, "message": message, "errors": [{"message": message, "domain": domain, "reason": reason}]}
    return json_reply({"error": {**error, **({"status": name} if name else {})}}, status)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
