"""What a request to CallRail's API asks for: dates, filters, fields. What it would not understand is ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from connectors.sandbox.callrail.render import CALL_DEFAULTS, FORM_EXTRAS, TALK_EXTRAS, Account, Json
from connectors.sandbox.provider import Request


def positive(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) > 0 else None


def json_object(body: bytes) -> Json | None:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def day_or_time(text: str, account: Account, *, end: bool) -> datetime | None:
    """A moment to compare with; None for what CallRail would not understand (and then ignores)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) == 10:
        moment = moment.replace(tzinfo=account.zone) + (timedelta(days=1, microseconds=-1) if end else timedelta(0))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def filters(request: Request) -> dict[str, Any]:
    """Filters with a value CallRail knows; anything else is ignored."""
    known: dict[str, dict[str, tuple[str, Any]]] = {
        "direction": {"inbound": ("direction", "inbound"), "outbound": ("direction", "outbound")},
        "answered": {"true": ("answered", True), "false": ("answered", False)},
        "answer_status": {
            "answered": ("answered", True),
            "missed": ("answered", False),
            "voicemail": ("voicemail", True),
        },
        "lead_status": {s: ("lead_status", s) for s in ("good_lead", "not_a_lead")}
        | {"not_scored": ("lead_status", None)},
    }
    found = dict(known[k][v] for k, v in request.params if k in known and v in known[k])
    found |= {key: request.param(key) for key in ("tracker_id", "source") if request.param(key)}
    tags = [value for key, value in request.params if key in ("tags", "tags[]")]
    return {**found, "tags": tags} if tags else found


def matches(row: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    return all(
        set(value) <= set(row["tags"]) if key == "tags" else row.get(key) == value for key, value in asked.items()
    )


def projected(stream: str, request: Request) -> Callable[[Json], Json]:
    """Defaults are always there; other fields only when asked for."""
    asked = {name for key, value in request.params if key == "fields" for name in value.split(",")}
    if stream == "calls":
        wanted = asked | set(CALL_DEFAULTS.split())
        return lambda row: {key: value for key, value in row.items() if key in wanted}
    hidden = set((FORM_EXTRAS if stream == "form_submissions" else TALK_EXTRAS).split()) - asked
    return lambda row: {key: value for key, value in row.items() if key not in hidden}
