"""The report call: reading what is asked, as strictly as Google does, and writing rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from connectors.sandbox.search_console.demand import Search

PACIFIC = ZoneInfo("America/Los_Angeles")
DIMENSIONS = ("date", "query", "page", "country", "device", "searchAppearance", "hour")
TYPES = ("web", "image", "video", "news", "discover", "googlenews")


class Asked(NamedTuple):
    """A valid report request."""

    first: date
    last: date
    dimensions: tuple[str, ...]
    by_page: bool
    kind: str
    state: str
    filters: tuple[tuple[str, str, str], ...]
    start: int
    limit: int


class _Filter(msgspec.Struct, omit_defaults=True):
    dimension: str | None = None
    operator: str | None = None
    expression: str = ""


class _Group(msgspec.Struct, omit_defaults=True):
    filters: list[_Filter] | None = None


class _Body(msgspec.Struct, rename="camel", omit_defaults=True):
    """The shape of the body; enums and numbers are checked by hand."""

    start_date: str = ""
    end_date: str = ""
    dimensions: list[str] | None = None
    type: str | None = None
    search_type: str | None = None
    data_state: str | None = None
    aggregation_type: str | None = None
    dimension_filter_groups: list[_Group] | None = None
    start_row: int | None = None
    row_limit: int | None = None


class Refused(Exception):
    """A request that Google answers with 400."""


def read_query(body: bytes) -> Asked:
    """Check a body as Google does. Unknown keys pass; enums may be `byPage` or `BY_PAGE`."""
    try:
        asked = msgspec.to_builtins(msgspec.json.decode(body or b"{}", type=_Body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"Invalid JSON payload received. {error}") from None
    first, last = _day_of(asked, "startDate"), _day_of(asked, "endDate")
    if first > last:
        raise Refused("startDate must not be after endDate.")
    dimensions = tuple(_known(name, DIMENSIONS, "dimension") for name in asked.get("dimensions") or ())
    state = {"hourlyall": "hourly_all"}.get(
        _plain(asked.get("dataState") or "final"), _plain(asked.get("dataState") or "final")
    )
    if state not in ("final", "all", "hourly_all"):
        raise Refused(f"Invalid value at 'data_state': {state}")
    if "hour" in dimensions and state != "hourly_all":
        raise Refused("Dimension 'hour' needs dataState 'hourly_all'.")
    kind = _plain(asked.get("type") or asked.get("searchType") or "web")
    if kind not in TYPES or (kind in ("discover", "googlenews") and "query" in dimensions):
        raise Refused(f"Invalid value at 'type': {kind}")
    filters = tuple(
        _filter(one) for group in asked.get("dimensionFilterGroups") or () for one in group.get("filters") or ()
    )
    page_wanted = "page" in dimensions or any(name == "page" for name, _, _ in filters)
    aggregation = _plain(asked.get("aggregationType") or "auto")
    if aggregation not in ("auto", "byproperty", "bypage", "bynewsshowcasepanel"):
        raise Refused(f"Invalid value at 'aggregation_type': {aggregation}")
    if page_wanted and aggregation == "byproperty":
        raise Refused("'BY_PROPERTY' is not a valid aggregation type in the context of the request.")
    start, limit = _number(asked, "startRow", 0, 0, None), _number(asked, "rowLimit", 1000, 1, 25_000)
    return Asked(first, last, dimensions, page_wanted or aggregation == "bypage", kind, state, filters, start, limit)


def _plain(value: object) -> str:
    return str(value).replace("_", "").lower()


def _known(value: object, among: tuple[str, ...], what: str) -> str:
    found = next((name for name in among if _plain(name) == _plain(value)), None)
    if found is None:
        raise Refused(f"Invalid value for {what}: {value}")
    return found


def _day_of(asked: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(asked[name])
    except (KeyError, TypeError, ValueError):
        raise Refused(f"Invalid value for {name}: it must be a date like 2026-01-31.") from None


def _number(asked: Mapping[str, Any], name: str, default: int, least: int, most: int | None) -> int:
    value = asked.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        raise Refused(f"Invalid value for {name}: {value}.")
    return value


def _filter(one: Mapping[str, Any]) -> tuple[str, str, str]:
    name = _known(one.get("dimension"), ("query", "page", "country", "device", "searchAppearance"), "filter dimension")
    operator = _known(one.get("operator") or "equals", tuple(OPERATORS), "operator")
    return name, operator, str(one.get("expression", ""))


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda value, asked: value == asked,
    "notEquals": lambda value, asked: value != asked,
    "contains": lambda value, asked: asked in value,
    "notContains": lambda value, asked: asked not in value,
    "includingRegex": lambda value, asked: re.search(asked, value) is not None,
    "excludingRegex": lambda value, asked: re.search(asked, value) is None,
}

KEYS: dict[str, Callable[[date, Search, str], str]] = {
    "date": lambda day, search, page: day.isoformat(),
    "query": lambda day, search, page: search.query,
    "page": lambda day, search, page: page,
    "country": lambda day, search, page: search.country,
    "device": lambda day, search, page: search.device,
    "searchAppearance": lambda day, search, page: "",
    "hour": lambda day, search, page: datetime(day.year, day.month, day.day, search.hour, tzinfo=PACIFIC).isoformat(),
}


def passes(search: Search, page: str, rule: tuple[str, str, str]) -> bool:
    name, operator, asked = rule
    return OPERATORS[operator](KEYS[name](date.min, search, page).lower(), asked.lower())


def render(key: tuple[str, ...], clicks: float, impressions: float, weighted: float) -> bytes:
    row: dict[str, Any] = {"keys": key} if key else {}
    figures = {
        "clicks": clicks,
        "impressions": impressions,
        "ctr": clicks / impressions,
        "position": weighted / impressions,
    }
    return msgspec.json.encode({**row, **figures})
