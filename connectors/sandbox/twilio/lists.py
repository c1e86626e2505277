"""Lists: filters whose operator is part of the name, and keyset pages, newest first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from connectors.sandbox.provider import Reply, Request, json_reply
from connectors.sandbox.twilio.messages import Mailbox, Message
from connectors.sandbox.twilio.refusals import Refusal

RETENTION = timedelta(days=400)
Slice = Callable[[Sequence[Any], int, int, Request], tuple[Sequence[Any], int]]


def messages(request: Request, box: Mailbox, now: datetime, slice_: Slice) -> Reply:
    filters = {key: value for key, value in request.params if value}
    oldest = now - RETENTION
    if any(key.startswith("DateSent") for key in filters):
        after, before = _window(filters, now)
        if "DateSent>" in filters and after < oldest:  # asking for what is no longer kept is an error
            raise Refusal(20001)
        items, key = box.between(max(after, oldest), before, now), lambda m: (m.sent_at(now), m.seq)
    else:
        items, key = box.since(oldest), lambda m: (m.created, m.seq)
    for name, side in (("To", "to"), ("From", "sender")):
        if name in filters:
            items = [message for message in items if getattr(message, side) == filters[name]]
    start = _start(filters, box, items, key, _size(request))
    return page(request, "messages", items[::-1], start, lambda m: m.shown(now), slice_)


def _start(
    filters: dict[str, str], box: Mailbox, items: list[Message], key: Callable[[Message], Any], size: int
) -> int:
    """Keyset: go on below the message that the token names (PA…), or end above it (PB…), whatever has arrived since."""
    token = filters.get("PageToken", "")
    if not token:
        if filters.get("Page", "0") != "0":
            raise Refusal(20001)
        return 0
    way, named = token[:2], box.known.get(token[2:])
    if way not in ("PA", "PB") or named is None:
        raise Refusal(20001)
    below = len(items) - bisect_left(items, key(named), key=key)
    return below if way == "PA" else max(0, below - 1 - size)


def page(
    request: Request, name: str, items: Sequence[Any], start: int, show: Callable[[Any], bytes], slice_: Slice
) -> Reply:
    size = _size(request)
    number = _number(request.param("Page"), 0)
    shown, total = slice_(items, start, size, request)
    kept = [(key, value) for key, value in request.params if key not in ("Page", "PageToken", "PageSize")]

    def uri(number: int, token: str = "") -> str:
        query = [*kept, ("PageSize", size), ("Page", number), *([("PageToken", token)] if token else [])]
        return f"{request.path}?{urlencode(query)}"

    more = bool(items) and start + size < total
    body = {
        "first_page_uri": uri(0),
        "end": number * size + max(0, len(shown) - 1),
        "next_page_uri": uri(number + 1, "PA" + items[min(start + size, len(items)) - 1].sid) if more else None,
        "page": number,
        "page_size": size,
        "previous_page_uri": uri(number - 1, "PB" + shown[0].sid) if start and shown else None,
        "start": number * size,
        "uri": f"{request.path}?{request.query}" if request.query else uri(0),
        name: [msgspec.Raw(show(item)) for item in shown],
    }
    return json_reply(body)


def one_page(request: Request, name: str, items: list[dict[str, Any]]) -> Reply:
    """A list that is never long."""
    return page(request, name, items, 0, msgspec.json.encode, lambda every, _start, _size, _request: (every, 0))


def _size(request: Request) -> int:
    return min(1000, max(1, _number(request.param("PageSize"), 50)))


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


def _window(filters: dict[str, str], now: datetime) -> tuple[datetime, datetime]:
    """Both ends are included. A plain date means the whole day, UTC."""
    after, before = datetime.min.replace(tzinfo=UTC), now + timedelta(days=1)
    for name, value in filters.items():
        if not name.startswith("DateSent"):
            continue
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise Refusal(20001) from None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        whole_day = len(value) == 10 or name == "DateSent"
        if not name.endswith("<"):
            after = max(after, at)
        if not name.endswith(">"):
            before = min(before, at + timedelta(days=1, seconds=-1) if whole_day else at)
    return after, before
