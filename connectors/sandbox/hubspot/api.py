"""HubSpot's API over the town: versions, credentials, scopes, limits, paging. Objects are in objects_api.py.

Every family of calls is mounted twice: `/crm/v3/objects/…` (v4 for associations) and `/crm/objects/2026-03/…`.
Controls for tests are plain attributes: `search_lag`, `search_cap`, `search_per_second`, `burst`, `refuse_unique_tasks` and
`scripted`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import unquote
from uuid import UUID

from connectors.base import Secret
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.hubspot import associations_api, events, objects_api
from connectors.sandbox.hubspot.bodies import problem
from connectors.sandbox.hubspot.call import Call
from connectors.sandbox.hubspot.portal import Facts, Portal
from connectors.sandbox.hubspot.schema import kind_of, property_body, scope_of
from connectors.sandbox.hubspot.search import BadSearch
from connectors.sandbox.hubspot.writes import Refused, make_property
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, World, json_reply

CLASSIC, DATED = ("v3", "v4"), ("2025-09", "2026-03", "2026-09")
BURST_WINDOW = 10.0


class SandboxHubSpot(SandboxProvider):
    name: ClassVar[str] = "hubspot"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.search_lag = 0.0  # seconds until search shows a change
        self.search_cap = 10_000
        self.search_per_second = 0  # 0: not limited
        self.burst = 0  # calls in 10 s; 0: not limited
        self.refuse_unique_tasks = False
        self.scripted: list[
            tuple[str, Reply]
        ] = []  # (substring of the path, answer), used up in order, nothing is done
        self._tokens = {self.token(client): client for client in town.clients}
        self._portals: dict[str, Portal] = {}
        self._facts: dict[str, Facts] | None = None
        self._recent: dict[tuple[str, bool], deque[float]] = {}
        self._asked = 0

    # ---- the town's side ----

    def token(self, client: Client) -> str:
        return f"pat-na1-{UUID(self.world.secret('hubspot', 'token', client.client_id))}"

    def client_secret(self, client: Client) -> str:
        return str(UUID(self.world.secret("hubspot", "app", client.client_id)))

    def portal(self, client_id: str) -> Portal:
        """One client's account; made when first asked for."""
        if client_id not in self._portals:
            client = next(client for client in self.town.clients if client.client_id == client_id)
            self._portals[client_id] = Portal(client, self._by_client().get(client_id, Facts()), self.world.now)
        return self._portals[client_id]

    def _by_client(self) -> dict[str, Facts]:
        if self._facts is None:
            facts = {client.client_id: Facts() for client in self.town.clients}
            for contact in self.town.contacts:
                facts[contact.client_id].contacts.append(contact)
            for deal in self.town.deals:
                facts[deal.client_id].deals.append(deal)
            for task in self.town.crm_tasks:
                facts[task.client_id].tasks.append(task)
            self._facts = facts
        return self._facts

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        return {
            "access_token": Secret(self.token(client)),
            "client_secret": Secret(self.client_secret(client)),
            "portal_id": str(self.portal(client.client_id).portal_id),
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {"access_token": self.token(client)}

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for client in self.town.clients:
            yield from _records(client.client_id, self.portal(client.client_id))

    def pushes(self) -> Iterator[Push]:
        for client in self.town.clients:
            portal = self.portal(client.client_id)
            yield from events.pushes(
                portal, self._by_client()[client.client_id], self.client_secret(client), self.world
            )

    # ---- requests ----

    def handle(self, request: Request) -> Reply:
        self._asked += 1
        for i, (part, reply) in enumerate(self.scripted):
            if part in request.path:
                del self.scripted[i]
                return reply
        try:
            reply = self._answer(request)
        except Refused as refused:
            reply = self.refuse(refused.status, refused.category, refused.message, **refused.more)
        except BadSearch as bad:
            reply = self.refuse(400, "VALIDATION_ERROR", f"There was a problem with the request: {bad}")
        return reply

    def _answer(self, request: Request) -> Reply:
        portal = self._authenticate(request)
        searching = request.path.endswith("/search")
        limited = self._limit(portal, searching)
        if limited:
            return limited
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        family, version, rest = _family(parts)
        body = self._json(request)
        call = Call(self, portal, request, version, rest, body)
        reply = self._routed(family, call)
        return reply if searching else replace(reply, headers={**reply.headers, **self._quota(portal)})

    def _routed(self, family: str, call: Call) -> Reply:
        match family, call.rest:
            case "account-info", ["details"]:
                return json_reply(_account(call.portal))
            case "account-info", ["api-usage", "daily", *_]:
                usage = {"name": "private-apps-api-calls-daily", "usageLimit": 650_000, "currentUsage": self._asked}
                return json_reply({"results": [{**usage, "fetchStatus": "SUCCESS"}]})
            case "owners", [] | [_] if call.method == "GET":
                return self._owners(call, *call.rest)
            case "pipelines", [kind, *rest] if call.method == "GET":
                return self._pipelines(call, kind, rest)
            case "pipelines-v1", [kind] if call.method == "GET" and kind_of(kind) == "deals":
                return json_reply({"results": [_before_v3(one, "pipelineId") for one in call.portal.pipelines()]})
            case "schemas", [] if call.method == "GET":  # nobody in town has made objects of their own
                return json_reply({"results": []})
            case "properties", [_] | [_, _]:
                return self._properties(call, *call.rest)
            case "objects", [kind, number, "associations", *rest] if kind_of(kind):
                return associations_api.one(call, call.kind(kind), number, rest)
            case "objects", [kind, *rest] if kind_of(kind):
                return objects_api.answer(call, call.kind(kind), rest)
            case "associations", [kind, to_kind, *rest] if kind_of(kind) and kind_of(to_kind):
                return associations_api.batch(call, call.kind(kind), call.kind(to_kind), rest)
        raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")

    def _authenticate(self, request: Request) -> Portal:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client = self._tokens.get(token) if scheme.lower() == "bearer" else None
        if client is None:
            text = "Authentication credentials not found. This API supports OAuth 2.0 authentication"
            raise Refused(401, "INVALID_AUTHENTICATION", text)
        return self.portal(client.client_id)

    def _json(self, request: Request) -> Any:
        if request.method not in ("POST", "PUT", "PATCH") or not request.body:
            return {}
        wrong = problem(request.method, request.body)
        if wrong:
            raise Refused(400, "VALIDATION_ERROR", f"Invalid input JSON on line 1, column 1: {wrong}")
        return json.loads(request.body)

    # ---- limits ----

    def _limit(self, portal: Portal, searching: bool) -> Reply | None:
        now = self.world.now().timestamp()
        recent = self._recent.setdefault((portal.client.client_id, searching), deque())
        window, allowed = (1.0, self.search_per_second) if searching else (BURST_WINDOW, self.burst)
        while recent and recent[0] <= now - window:
            recent.popleft()
        if allowed and len(recent) >= allowed:
            return self.too_many("secondly" if searching else "TEN_SECONDLY_ROLLING")
        recent.append(now)
        return None

    def too_many(self, policy: str) -> Reply:
        """A 429. That of search names no policy."""
        if policy == "secondly":
            return self.refuse(429, "RATE_LIMITS", "You have reached your secondly limit.")
        words = "daily" if policy == "DAILY" else policy.lower()
        body = {
            "status": "error",
            "message": f"You have reached your {words} limit.",
            "errorType": "RATE_LIMIT",
            "correlationId": self._correlation(),
            "policyName": policy,
            "requestId": self._correlation(),
        }
        return json_reply(body, 429)

    def _quota(self, portal: Portal) -> dict[str, str]:
        used, limit = len(self._recent[portal.client.client_id, False]), self.burst or 100
        return {
            "x-hubspot-ratelimit-max": str(limit),
            "x-hubspot-ratelimit-remaining": str(max(0, limit - used)),
            "x-hubspot-ratelimit-interval-milliseconds": "10000",
            "x-hubspot-ratelimit-daily": "650000",
            "x-hubspot-ratelimit-daily-remaining": str(max(0, 650_000 - self._asked)),
        }

    # ---- errors ----

    def refuse(self, status: int, category: str, message: str, **more: Any) -> Reply:
        body = {
            "status": "error",
            "message": message,
            "correlationId": self._correlation(),
            **more,
            "category": category,
        }
        return json_reply(body, status)

    def _correlation(self) -> str:
        return str(UUID(self.world.secret("hubspot", "correlation", self._asked)))

    def error(self, status: int, request: Request) -> Reply:
        if status == 401:
            return self.refuse(
                401, "INVALID_AUTHENTICATION", "Authentication credentials not found. The token was revoked."
            )
        if status == 429:
            return self.too_many("secondly" if request.path.endswith("/search") else "TEN_SECONDLY_ROLLING")
        return self.refuse(status, "INTERNAL_ERROR", "internal error")

    # ---- small families ----

    def _owners(self, call: Call, number: str = "") -> Reply:
        call.need("crm.objects.owners.read")
        owners = call.portal.owners(archived=call.flag("archived"))
        if number:
            found = [one for one in owners if one["id"] == number]
            if not found:
                raise Refused(404, "OBJECT_NOT_FOUND", f"Owner with ID {number} does not exist.")
            return json_reply(found[0])
        email = call.request.param("email").lower()
        if email:
            owners = [one for one in owners if one["email"].lower() == email]
        start, limit = call.offset(), call.limit(default=100, most=500)
        page, _ = self.slice(owners, start, limit, call.request)
        body: dict[str, Any] = {"results": page}
        if start + limit < len(owners):
            body["paging"] = call.paging(str(start + limit))
        return json_reply(body)

    def _pipelines(self, call: Call, kind: str, rest: list[str]) -> Reply:
        """All of them, one, its stages, or one stage: each step of the path goes one level down."""
        if kind_of(kind) == "deals":
            call.need("crm.objects.deals.read")
        found: Any = call.portal.pipelines() if kind_of(kind) == "deals" else []
        for i, part in enumerate(rest):
            if i % 2 == 0:
                found = next((one for one in found if one["id"] == part), {})
            else:
                found = found.get("stages") if part == "stages" else None
            if not found:
                raise Refused(404, "OBJECT_NOT_FOUND", f"No pipeline or stage {part}")
        return json_reply({"results": found} if isinstance(found, list) else found)

    def _properties(self, call: Call, kind_name: str, name: str = "") -> Reply:
        kind = call.kind(kind_name)
        known, unique = call.portal.properties[kind], call.portal.unique[kind]
        if call.method == "POST" and not name:
            call.need("crm.schemas.contacts.write")
            made = make_property(call.portal, kind, call.body, refuse_unique=self.refuse_unique_tasks)
            call.wrote("property", {"object": kind, "property": made["name"], "unique": made["hasUniqueValue"]})
            return json_reply(made, 201)
        if call.method != "GET":
            raise Refused(405, "METHOD_NOT_ALLOWED", "method not allowed")
        call.need(f"crm.objects.{scope_of(kind)}.read")
        if name and name not in known:
            raise Refused(404, "OBJECT_NOT_FOUND", f"Property {name} does not exist")
        described = [property_body(kind, one, known[one], unique=one in unique) for one in ([name] if name else known)]
        return json_reply(described[0] if name else described if call.version == "v2" else {"results": described})


def _family(parts: list[str]) -> tuple[str, str, list[str]]:
    """(family, version, the rest) of a classic or a dated path."""
    match parts:
        case ["crm", version, family, *rest] if version in CLASSIC:
            return family, version, rest
        case ["crm", family, version, *rest] if version in DATED:
            return family, version, rest
        case ["account-info", version, *rest] if version in (*CLASSIC, *DATED):
            return "account-info", version, rest
        case ["properties", "v1" | "v2", kind, "properties"] | [kind, "v2", "properties"]:
            return "properties", "v2", [kind]
        case ["crm-pipelines", "v1", "pipelines", *rest]:
            return "pipelines-v1", "v1", rest
    return "", "", []


def _before_v3(one: dict[str, Any], key: str) -> dict[str, Any]:
    """A pipeline or stage as v1 gives it, which published connectors still read."""
    made, changed = (round(datetime.fromisoformat(one[name]).timestamp() * 1000) for name in ("createdAt", "updatedAt"))
    old = {name: value for name, value in one.items() if name in ("label", "displayOrder", "metadata")}
    old |= {key: one["id"], "createdAt": made, "updatedAt": changed, "active": not one["archived"]}
    if "stages" in one:
        old |= {"objectType": "DEAL", "objectTypeId": "0-3", "default": one["id"] == "default"}
        old["stages"] = [_before_v3(stage, "stageId") for stage in one["stages"]]
    return old


def _account(portal: Portal) -> dict[str, Any]:
    offset = portal.now().astimezone(portal.zone).utcoffset()
    minutes = int(offset.total_seconds() // 60) if offset else 0
    return {
        "portalId": portal.portal_id,
        "accountType": "STANDARD",
        "timeZone": portal.client.timezone,
        "companyCurrency": "USD",
        "additionalCurrencies": [],
        "utcOffset": f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}",
        "utcOffsetMilliseconds": minutes * 60_000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }


def _records(client_id: str, portal: Portal) -> Iterator[tuple[str, str, str, str]]:
    for archived in (False, True):
        for owner in portal.owners(archived=archived):
            yield client_id, "owners", owner["id"], ""
    for pipeline in portal.pipelines():
        yield client_id, "pipelines", pipeline["id"], ""
    for kind in ("contacts", "deals", "tasks"):
        for obj in portal.store[kind].values():
            person = obj.fact.person_id if obj.fact else ""
            yield client_id, kind, str(obj.id), person
            if kind != "contacts" and not obj.archived:
                yield client_id, {"deals": "deal_contacts", "tasks": "task_contacts"}[kind], str(obj.id), person
