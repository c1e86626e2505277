"""CallRail's API v3 over the town: token, three ways of paging, fields on request, spam that vanishes, and its webhooks.

Filters that CallRail does not understand are ignored, as the real one does; a range older than 25 months is refused.
"""

from __future__ import annotations

import base64
import hmac
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec

from connectors.base import Secret
from connectors.sandbox.callrail.query import day_or_time, filters, json_object, matches, positive, projected
from connectors.sandbox.callrail.render import Account, Json
from connectors.sandbox.facts import Call, Client, Fact, FormFill, TextThread, Town
from connectors.sandbox.provider import Push, Reply, Request, SandboxProvider, World, json_reply

RETENTION = timedelta(days=758)
PATHS = {"calls": "calls", "form_submissions": "form_submissions", "text-messages": "text_messages"}
LIST_KEYS = {"text_messages": "conversations"}
WRITABLE = {
    "calls": {"note", "tags", "append_tags", "lead_status", "customer_name", "spam"},
    "form_submissions": {"note", "tags", "value", "lead_status"},
}
NOT_FOUND = json_reply({"error": "Not found"}, 404)
FORBIDDEN = json_reply({"error": "You do not have permission"}, 403)


@dataclass
class Item:
    """One dated record: the fact, what was changed about it since, and whether it was marked as spam."""

    id: str
    at: datetime
    fact: Any
    spam: bool = False
    edits: Json = field(default_factory=dict)


@dataclass
class Book:
    """All of one account. Lists are kept by time, oldest first, without spam."""

    account: Account
    streams: dict[str, dict[str, Item]] = field(default_factory=lambda: {stream: {} for stream in PATHS.values()})
    lists: dict[str, tuple[list[datetime], list[Item]]] = field(default_factory=dict)
    calls_of: Counter[str] = field(default_factory=Counter)
    active: bool = True
    visible: bool = True

    def add(self, stream: str, fact: Any) -> Item:
        at = fact.messages[-1][0] if stream == "text_messages" and fact.messages else fact.at
        item = Item(self.account.record_id(stream, fact.n), at, fact, spam=stream == "calls" and fact.spam)
        self.streams[stream][item.id] = item
        self.lists.pop(stream, None)
        if stream == "calls":
            self.calls_of[fact.phone] += 1
        return item

    def listed(self, stream: str) -> tuple[list[datetime], list[Item]]:
        if stream not in self.lists:
            items = sorted((item for item in self.streams[stream].values() if not item.spam), key=lambda item: item.at)
            self.lists[stream] = [item.at for item in items], items
        return self.lists[stream]

    def render(self, stream: str, item: Item, *, whole: bool = False) -> Json:
        if stream == "calls":
            return self.account.call(item.fact, self.calls_of[item.fact.phone]) | item.edits
        if stream == "form_submissions":
            return self.account.form(item.fact) | item.edits
        return self.account.conversation(item.fact, whole=whole) | item.edits


class SandboxCallRail(SandboxProvider):
    name: ClassVar[str] = "callrail"

    def __init__(self, town: Town, world: World) -> None:
        super().__init__(town, world)
        self.clients = {client.client_id: client for client in town.clients}
        self._facts: dict[tuple[str, str], list[Fact]] = defaultdict(list)
        for stream, facts in (("calls", town.calls), ("text_messages", town.threads)):
            for fact in facts:
                self._facts[fact.client_id, stream].append(fact)
        for form in town.forms:
            if form.via == "callrail":
                self._facts[form.client_id, "form_submissions"].append(form)
        self._books: dict[str, Book] = {}
        self._by_key = {self._account(client).api_key: client for client in town.clients}

    # ---- who is who ----

    def _account(self, client: Client, root: str = "https://api.callrail.com") -> Account:
        return Account(client, self.world, root)

    def book(self, client_id: str, root: str = "https://api.callrail.com") -> Book:
        if client_id not in self._books:
            book = self._books[client_id] = Book(self._account(self.clients[client_id], root))
            for stream in PATHS.values():
                for fact in self._facts[client_id, stream]:
                    book.add(stream, fact)
        return self._books[client_id]

    def connection(self, client: Client, root: str) -> dict[str, Any]:
        account = self._account(client, root)
        return {
            "account_id": account.id,
            "api_key": Secret(account.api_key),
            "company_ids": (account.company_id,),
            "signing_key": Secret(account.signing_key),
        }

    def credentials(self, client: Client, root: str) -> dict[str, Any]:
        account = self._account(client, root)
        return {"api_key": account.api_key, "account_id": account.id}

    def records(self) -> Iterator[tuple[str, str, str, str]]:
        for client_id, client in self.clients.items():
            book = self.book(client_id)
            if book.visible:
                yield client_id, "companies", book.account.company_id, ""
                yield from (
                    (client_id, "trackers", book.account.record_id("trackers", line.n), "") for line in client.lines
                )
            for stream in PATHS.values():
                for item in book.listed(stream)[1]:
                    yield client_id, stream, item.id, item.fact.person_id

    # ---- controls for tests ----

    def edit(self, client_id: str, stream: str, record_id: str, **values: Any) -> None:
        """Somebody changes a record in CallRail; also a way to give it an odd value."""
        self.book(client_id).streams[stream][record_id].edits.update(values)

    def mark_spam(self, client_id: str, record_id: str, *, spam: bool = True) -> None:
        book = self.book(client_id)
        book.streams["calls"][record_id].spam = spam
        book.lists.pop("calls", None)

    def add(self, stream: str, fact: Call | FormFill | TextThread) -> str:
        """A new record comes in; returns its id."""
        return self.book(fact.client_id).add(stream, fact).id

    def add_message(self, client_id: str, record_id: str, at: datetime, direction: str, text: str) -> None:
        book = self.book(client_id)
        item = book.streams["text_messages"][record_id]
        item.fact.messages.append((at, direction, text))
        item.at = at
        book.lists.pop("text_messages", None)

    def hide_company(self, client_id: str, *, hidden: bool = True) -> None:
        """The key's user loses the company: nothing of it is listed, and nothing says so."""
        self.book(client_id).visible = not hidden

    def disable_company(self, client_id: str) -> None:
        self.book(client_id).active = False

    # ---- requests ----

    def handle(self, request: Request) -> Reply:
        client = self._caller(request)
        if client is None:
            return json_reply({"error": "HTTP Token: Access denied."}, 401)
        if request.method not in ("GET", "POST", "PUT", "DELETE"):
            return json_reply({"error": "Method not allowed"}, 405)
        book = self.book(client.client_id, request.root)
        book.account.root = request.root
        if request.path == "/v3/a.json" and request.method == "GET":
            account = {
                "id": book.account.id,
                "name": client.name,
                "outbound_recording_enabled": True,
                "hipaa_account": False,
            }
            return self._page(request, "accounts", [account], lambda item: item)
        match = re.fullmatch(r"/v3/a/([^/]+)/([a-z_-]+)(?:/([A-Za-z0-9]+))?(?:/(recording))?\.json", request.path)
        if not match or match[1] != book.account.id:
            return NOT_FOUND
        _, resource, record_id, part = match.groups()
        if resource in PATHS:
            return self._dated(request, book, PATHS[resource], record_id, part)
        return self._plain(request, book, resource, record_id)

    def _caller(self, request: Request) -> Client | None:
        match = re.fullmatch(r'Token token=("?)([^"]+)\1', request.headers.get("authorization", ""))
        return self._by_key.get(match[2]) if match else None

    def _plain(self, request: Request, book: Book, resource: str, record_id: str | None) -> Reply:
        """Short lists that are given whole."""
        account, client = book.account, book.account.client
        if resource == "companies":
            rows = [account.company(active=book.active)]
        elif resource == "trackers":
            rows = [account.tracker(line) for line in client.lines]
        elif resource == "users":
            rows = [account.user(n) for n in range(len(client.staff))]
        elif resource == "tags":
            names = sorted({tag for item in book.streams["calls"].values() for tag in item.fact.tags})
            level = {
                "tag_level": "company",
                "color": "gray1",
                "background_color": "gray1",
                "company_id": account.company_id,
                "status": "enabled",
                "created_at": account.company(active=True)["created_at"],
            }
            rows = [{"id": n, "name": name, **level} for n, name in enumerate(names, 1)]
        else:
            return NOT_FOUND
        if request.method != "GET":
            return FORBIDDEN
        rows = rows if book.visible else []
        if record_id:
            return next((json_reply(row) for row in rows if str(row["id"]) == record_id), NOT_FOUND)
        status = request.param("status")
        if status in ("active", "disabled"):
            rows = [row for row in rows if row.get("status", "active") == status]
        return self._page(request, resource, rows, lambda row: row)

    def _dated(self, request: Request, book: Book, stream: str, record_id: str | None, part: str | None) -> Reply:
        if record_id is None:
            if request.method == "POST":
                return self._send_text(request, book) if stream == "text_messages" else FORBIDDEN
            return self._list(request, book, stream)
        item = book.streams[stream].get(record_id)
        if item is None or item.spam or not book.visible:
            return NOT_FOUND
        if part:
            return (
                json_reply({"url": f"https://app.callrail.com/recordings/{record_id}.mp3"})
                if stream == "calls"
                else NOT_FOUND
            )
        if request.method == "PUT" and stream in WRITABLE:
            return self._update(request, book, stream, item)
        if request.method != "GET":
            return FORBIDDEN
        return json_reply(projected(stream, request)(book.render(stream, item, whole=True)))

    # ---- lists ----

    def _list(self, request: Request, book: Book, stream: str) -> Reply:
        start, end = self._range(request, book.account)
        if start is not None and start < self.world.now() - RETENTION:
            return json_reply({"error": "Data is retained for 25 months. Please revise the date range."}, 400)
        times, items = book.listed(stream)
        first = bisect_left(times, start) if start else 0
        last = bisect_right(times, end) if end else len(items)
        chosen = items[first:last][::-1] if book.visible else []
        if request.param("order") == "asc" and request.param("sort"):
            chosen.reverse()
        company = request.param("company_id")
        if company.startswith("COM") and company != book.account.company_id:
            chosen = []
        asked = filters(request)
        if asked:
            chosen = [item for item in chosen if matches(book.render(stream, item), asked)]
        project = projected(stream, request)
        return self._page(
            request,
            LIST_KEYS.get(stream, stream),
            chosen,
            lambda item: project(book.render(stream, item)),
            stream == "calls",
        )

    def _page(
        self, request: Request, key: str, rows: list[Any], render: Callable[[Any], Json], may_be_relative: bool = False
    ) -> Reply:
        size = min(250, positive(request.param("per_page")) or 100)
        relative = may_be_relative and request.param("relative_pagination") == "true"
        number = (positive(request.param("offset")) or 0) + 1 if relative else positive(request.param("page")) or 1
        shown, total = self.slice(rows, (number - 1) * size, size, request)
        more = number * size < total
        others = [(k, v) for k, v in dict(reversed(request.params)).items() if k not in ("page", "offset")]
        turn = ("offset", str(number)) if relative else ("page", str(number + 1))
        link = f"{request.root}{request.path}?{urlencode([*others, turn])}" if more else None
        body = [render(row) for row in shown]
        if relative:
            return json_reply({"per_page": size, "next_page": link, "has_next_page": more, key: body})
        totals = {"page": number, "per_page": size, "total_pages": -(-total // size), "total_records": total}
        return json_reply({**totals, key: body}, headers={"link": f'<{link}>; rel="next"'} if link else None)

    def _range(self, request: Request, account: Account) -> tuple[datetime | None, datetime | None]:
        """Both ends inclusive; a bare day is one of the company's zone. Without dates: the last 30 days."""
        start = day_or_time(request.param("start_date"), account, end=False)
        end = day_or_time(request.param("end_date"), account, end=True)
        if start is None and end is None:
            now = self.world.now()
            days = {"today": 1, "last_7_days": 7, "all_time": 9999}.get(request.param("date_range"), 30)
            return now - timedelta(days=days), None
        return start, end

    # ---- writes ----

    def _update(self, request: Request, book: Book, stream: str, item: Item) -> Reply:
        asked = json_object(request.body)
        if asked is None:
            return json_reply({"error": "Invalid JSON"}, 400)
        if stream == "calls" and asked.get("value") is not None:
            return json_reply({"error": "Internal Server Error"}, 500)  # as documented users met it
        known = {key: value for key, value in asked.items() if key in WRITABLE[stream] and value is not None}
        if known.pop("spam", False) is True:
            self.mark_spam(book.account.client.client_id, item.id)
        if "append_tags" in known:
            tags = book.render(stream, item)["tags"]
            more = known.pop("append_tags")
            known["tags"] = [*tags, *(tag for tag in more if tag not in tags)] if isinstance(more, list) else tags
        item.edits.update({key: None if value == "" else value for key, value in known.items()})
        self.world.wrote(self.name, f"update_{stream}", {"id": item.id, **asked})
        return json_reply(projected(stream, request)(book.render(stream, item, whole=True)))

    def _send_text(self, request: Request, book: Book) -> Reply:
        asked = json_object(request.body) or {}
        if asked.get("company_id") != book.account.company_id or not asked.get("content"):
            return json_reply({"error": "company_id and content are required"}, 400)
        phone = asked.get("customer_phone_number")
        item = next((i for i in book.streams["text_messages"].values() if i.fact.phone == phone), None)
        if item is None:
            return FORBIDDEN
        self.add_message(book.account.client.client_id, item.id, self.world.now(), "outgoing", str(asked["content"]))
        self.world.wrote(self.name, "text_message", asked)
        return json_reply(book.render("text_messages", item, whole=True), 201)

    # ---- webhooks ----

    def pushes(self) -> Iterator[Push]:
        for client_id in self.clients:
            book = self.book(client_id)
            for item in book.streams["calls"].values():
                body = book.account.call_event(book.render("calls", item), item.fact.n)
                yield self._push(book, "/post_call", item.at + timedelta(seconds=item.fact.seconds + 90), body)
            for item in book.streams["form_submissions"].values():
                yield self._push(book, "/form", item.at, book.account.form_event(book.render("form_submissions", item)))
            for item in book.streams["text_messages"].values():
                for position, (at, direction, _) in enumerate(item.fact.messages):
                    tail = "/text_received" if direction == "incoming" else "/text_sent"
                    yield self._push(book, tail, at, book.account.text_event(item.fact, position))

    def _push(self, book: Book, tail: str, at: datetime, event: Json) -> Push:
        body = msgspec.json.encode(event)
        signature = base64.b64encode(hmac.digest(book.account.signing_key.encode(), body, "sha1")).decode()
        headers = {"signature": signature, "content-type": "application/json"}
        return Push(book.account.client.client_id, at, body, lambda url: headers, tail)
