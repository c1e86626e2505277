"""Thumbtack as an emulator: OAuth with rotating refresh tokens, and the v4 partner API (see `thumbtack_pushes` for the rest)."""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from connectors.base import Secret
from connectors.http import basic
from connectors.sandbox.facts import Client, Town
from connectors.sandbox.provider import Reply, Request, World, json_reply
from connectors.sandbox.thumbtack_pushes import WEBHOOK_USER, ThumbtackPushes, iso

ACCESS_LIFE = timedelta(hours=1)
GRACE = timedelta(seconds=60)
SCOPES = frozenset(
    {"supply::negotiations.read", "supply::negotiations.write", "supply::messages.read", "supply::messages.write"}
    | {"supply::users.read", "supply::webhooks.read", "supply::webhooks.write", "supply::businesses.list"}
)
JOB_STATES = {"not_scheduled", "appt_scheduled", "job_complete", "invoice_paid", "customer_cancel", "pro_cancel"}


class SandboxThumbtack(ThumbtackPushes):
    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.scopes: dict[str, frozenset[str]] = {}  # client_id -> what it was granted, if not everything
        self._generation: dict[int, int] = {}  # client n -> the newest refresh token's number
        self._rotated_at: dict[int, datetime] = {}
        self._webhooks: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._rendered: dict[str, bytes] = {}

    # ---- what tests may do to it ----

    def change(self, negotiation_id: str, **values: Any) -> None:
        """Change a lead silently, as Thumbtack does: no event tells of it."""
        for name, value in values.items():
            setattr(self._leads[negotiation_id], name, value)
        self._rendered.pop(negotiation_id, None)

    # ---- identity ----

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        shown = self.credentials(client, root)
        secrets = ("webhook_password", "client_secret", "refresh_token")
        options = {
            key: Secret(value) if key in secrets else value for key, value in shown.items() if key != "business_id"
        }
        return {
            **options,
            "business_ids": (shown["business_id"],),
            "base_url": root,
            "token_url": f"{root}/oauth2/token",
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        return {
            "webhook_user": WEBHOOK_USER,
            "webhook_password": self._webhook_password(client),
            "client_id": self._oauth_client(client)[0],
            "client_secret": self._oauth_client(client)[1],
            "refresh_token": self._token("refresh", client, 0),
            "business_id": self.business_id(client),
        }

    def env(self, root: str) -> dict[str, str]:
        return {**super().env(root), "LEADTRAIL_THUMBTACK_TOKEN_URL": f"{root}/oauth2/token"}

    def _oauth_client(self, client: Client) -> tuple[str, str]:
        return f"leadtrail-{client.n}", self.world.secret("thumbtack", "oauth", client.client_id)

    # ---- OAuth: tokens prove themselves by a MAC, so they outlive a restart ----

    def _token(self, kind: str, client: Client, number: int) -> str:
        text = f"{kind}.{client.n}.{number}"
        key = self.world.secret("thumbtack", "tokens").encode()
        return f"{text}.{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:32]}"

    def _opened(self, kind: str, token: str) -> tuple[Client, int] | None:
        """Whose token it is, and its number, if we made it."""
        for client in self.town.clients:
            parts = token.split(".")
            if len(parts) == 4 and parts[0] == kind and parts[1] == str(client.n) and parts[2].isdigit():
                made = self._token(kind, client, int(parts[2]))
                return (client, int(parts[2])) if hmac.compare_digest(made.encode(), token.encode()) else None
        return None

    def _exchange(self, request: Request) -> Reply:
        form = dict(request.form)
        grant = form.get("grant_type", "")
        if grant == "client_credentials":
            return json_reply({"error": "unauthorized_client", "error_description": "Not for supply scopes."}, 400)
        if grant != "refresh_token":
            return json_reply({"error": "unsupported_grant_type", "error_description": grant}, 400)
        opened = self._opened("refresh", form.get("refresh_token", ""))
        if opened is None or not self._client_is(request, opened[0]):
            error = "invalid_grant" if opened is None else "invalid_client"
            return json_reply(
                {"error": error, "error_description": "The token or client is unknown."}, 400 if opened is None else 401
            )
        client, number = opened
        newest, now = self._generation.get(client.n, 0), self.world.now()
        in_grace = number == newest - 1 and now - self._rotated_at.get(client.n, now - 2 * GRACE) <= GRACE
        if number < newest and not in_grace:
            return json_reply({"error": "invalid_grant", "error_description": "The refresh token was used."}, 400)
        if not in_grace:
            self._generation[client.n] = newest = number + 1
            self._rotated_at[client.n] = now
        return json_reply(
            {
                "access_token": self._token("access", client, int((now + ACCESS_LIFE).timestamp())),
                "refresh_token": self._token("refresh", client, newest),
                "expires_in": int(ACCESS_LIFE.total_seconds()),
                "token_type": "bearer",
                "scope": " ".join(sorted(self.scopes.get(client.client_id, SCOPES) | {"offline_access"})),
            }
        )

    def _client_is(self, request: Request, client: Client) -> bool:
        return hmac.compare_digest(
            request.headers.get("authorization", ""), basic(*self._oauth_client(client))["Authorization"]
        )

    # ---- the API ----

    def handle(self, request: Request) -> Reply:
        if request.path == "/oauth2/token" and request.method == "POST":
            return self._exchange(request)
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["api", "v4"]:
            return self._refuse(404, "not found")
        opened = self._opened("access", request.headers.get("authorization", "").removeprefix("Bearer "))
        if opened is None or opened[1] <= self.world.now().timestamp():
            return self._refuse(401, "the access token is invalid or expired")
        found = self._route(request, parts[2:])
        if found is None:
            return self._refuse(404, "not found")
        scope, answer = found
        if scope not in self.scopes.get(opened[0].client_id, SCOPES):
            return self._refuse(401, f"required scope(s) [{scope}] not found")
        return answer(request, opened[0])

    def _route(self, request: Request, parts: list[str]) -> tuple[str, Callable[[Request, Client], Reply]] | None:
        """The scope a call needs, and who answers it."""
        reads = request.method == "GET"
        match parts:
            case ["users", "self"] if reads:
                return "supply::users.read", self._user
            case ["businesses"] if reads:
                return "supply::businesses.list", self._list_businesses
            case ["businesses", business] if reads:
                return "supply::businesses.list", lambda _, client: self._one_business(client, business)
            case ["businesses", business, "webhooks", "test-negotiation"] if not reads:
                return "supply::webhooks.write", lambda _, client: self._test_negotiation(client, business)
            case ["businesses" | "users" as holder, *rest] if "webhooks" in rest[:2]:
                owner, hook = ("users", rest[1:]) if holder == "users" else (rest[0], rest[2:])
                scope = "supply::webhooks.read" if reads else "supply::webhooks.write"
                return scope, lambda call, client: self._hooks(call, client, owner, "".join(hook))
            case ["negotiations", lead_id] if reads:
                return "supply::negotiations.read", lambda _, client: self._one_lead(client, lead_id)
            case ["negotiations", lead_id, "messages"]:
                scope = "supply::messages.read" if reads else "supply::messages.write"
                return scope, lambda call, client: self._thread(call, client, lead_id)
            case ["negotiations", lead_id, "job-status"] if request.method == "POST":
                return "supply::negotiations.write", lambda call, client: self._job_status(call, client, lead_id)
        return None

    def error(self, status: int, request: Request) -> Reply:
        return self._refuse(
            status, {401: "the access token is invalid", 429: "too many requests"}.get(status, "server error")
        )

    def _refuse(self, status: int, detail: str) -> Reply:
        trace = self.world.secret("trace", len(self.world.ledger), detail)
        return json_reply({"detail": detail, "traceID": trace}, status, {"x-trace-id": trace})

    def _user(self, _: Request, client: Client) -> Reply:
        owner = client.staff[0]
        return json_reply(
            {"userID": self._id(client.n, 1), "email": owner.email, "firstName": owner.given, "lastName": owner.family}
        )

    def _list_businesses(self, _: Request, client: Client) -> Reply:
        return json_reply({"data": [self._business(client)], "pagination": {"limit": 20}})

    def _one_business(self, client: Client, business: str) -> Reply:
        mine = business == self.business_id(client)
        return json_reply(self._business(client)) if mine else self._refuse(404, "business not found")

    def _one_lead(self, client: Client, lead_id: str) -> Reply:
        lead = self._leads.get(lead_id)
        if lead is None or lead.client_id != client.client_id:
            return self._refuse(404, "negotiation not found")
        if lead_id not in self._rendered:
            self._rendered[lead_id] = msgspec.json.encode(self._lead(lead))
        return Reply(200, self._rendered[lead_id], {"content-type": "application/json"})

    def _thread(self, request: Request, client: Client, lead_id: str) -> Reply:
        lead = self._leads.get(lead_id)
        if lead is None or lead.client_id != client.client_id:
            return self._refuse(404, "negotiation not found")
        thread = self._messages[lead_id]
        if request.method == "POST":
            return self._send(request, client, lead_id, thread)
        limit, before, after = request.param("limit", "10"), request.param("sentBefore"), request.param("sentAfter")
        if not limit.isdigit() or not 1 <= int(limit) <= 20:
            return self._refuse(400, "limit must be between 1 and 20")
        try:
            earliest = datetime.fromisoformat(after) if after else datetime.min.replace(tzinfo=UTC)
            latest = datetime.fromisoformat(before) if before else datetime.max.replace(tzinfo=UTC)
        except ValueError:
            return self._refuse(400, "sentBefore and sentAfter are ISO 8601 times")
        start = next((i for i, one in enumerate(thread) if datetime.fromisoformat(one["sentAt"]) < latest), len(thread))
        page, _ = self.slice(thread, start, int(limit), request)
        data = [one for one in page if datetime.fromisoformat(one["sentAt"]) > earliest]
        return json_reply({"data": data, "pagination": {"limit": int(limit)}})

    def _send(self, request: Request, client: Client, lead_id: str, thread: list[dict[str, Any]]) -> Reply:
        text = _json(request).get("text")
        if not isinstance(text, str) or not 1 <= len(text) <= 16_384:
            return self._refuse(400, "text must have 1 to 16384 characters")
        message = {
            "messageID": self._id(len(self.world.ledger) + 1, 9),
            "negotiationID": lead_id,
            "from": "Business",
            "business": {"businessID": self.business_id(client), "displayName": client.name},
            "text": text,
            "attachments": [],
            "sentAt": iso(self.world.now()),
        }
        thread.insert(0, message)
        self.world.wrote("thumbtack", "message", message)
        return json_reply(message)

    def _job_status(self, request: Request, client: Client, lead_id: str) -> Reply:
        lead, body = self._leads.get(lead_id), _json(request)
        if lead is None or lead.client_id != client.client_id:
            return self._refuse(404, "negotiation not found")
        status = body.get("status") or body.get("jobStatus")  # the field's name is not documented
        if status not in JOB_STATES:
            return self._refuse(400, f"the status must be one of {', '.join(sorted(JOB_STATES))}")
        self.world.wrote("thumbtack", "job_status", {"negotiationID": lead_id, "status": status})
        return json_reply({})

    # ---- webhooks ----

    def _hooks(self, request: Request, client: Client, owner: str, webhook_id: str) -> Reply:
        if owner not in ("users", self.business_id(client)):
            return self._refuse(404, "business not found")
        hooks = self._webhooks[f"{client.client_id}:{owner}"]
        if webhook_id and webhook_id not in hooks:
            return self._refuse(404, "webhook not found")
        if request.method == "GET":
            return json_reply(hooks[webhook_id] if webhook_id else {"data": list(hooks.values())})
        if request.method == "DELETE" and webhook_id:
            self.world.wrote("thumbtack", "webhook_deleted", hooks.pop(webhook_id))
            return Reply(204)
        body = _json(request)
        if not str(body.get("webhookURL", "")).startswith("https://") or not body.get("eventTypes"):
            return self._refuse(400, "webhookURL must be https, and eventTypes not empty")
        auth = body.get("auth") or {}
        webhook_id = webhook_id or self._id(len(self.world.ledger) + 1, 4)
        hooks[webhook_id] = {
            "webhookID": webhook_id,
            "webhookURL": body["webhookURL"],
            "enabled": body.get("enabled", True),
            "authType": "Basic" if "username" in auth else "CustomHeader" if "header" in auth else "None",
            "businessID": owner if owner != "users" else "",
            "eventTypes": body["eventTypes"],
        }
        self.world.wrote("thumbtack", "webhook", hooks[webhook_id])
        return json_reply(hooks[webhook_id])

    def _test_negotiation(self, client: Client, business: str) -> Reply:
        if business != self.business_id(client):
            return self._refuse(404, "business not found")
        self._tests.append(self.test_push(client))
        self.world.wrote("thumbtack", "test_negotiation", {"businessID": business})
        return json_reply({})


def _json(request: Request) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
