"""HubSpot's search language over one portal. Groups are OR-ed, filters within a group AND-ed; one sort is honoured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from connectors.sandbox.hubspot.portal import Obj, Portal
from connectors.sandbox.hubspot.schema import changed_property, created_property, kind_of

MAX_GROUPS, MAX_FILTERS, MAX_ALL_FILTERS = 5, 6, 18
FOREVER = 10**15
_SEARCHABLE = (
    "email",
    "firstname",
    "lastname",
    "phone",
    "dealname",
    "hs_task_subject",
    "hs_note_body",
    "name",
    "subject",
)
Test = Callable[[Obj], bool]


class BadSearch(Exception):
    """What HubSpot answers with a 400."""


def search(portal: Portal, kind: str, body: dict[str, Any], *, newest: int) -> list[Obj]:
    """Everything that matches, in order. Objects changed after `newest` are not in the index yet."""
    groups = [group.get("filters") or [] for group in body.get("filterGroups") or []]
    if len(groups) > MAX_GROUPS or any(len(group) > MAX_FILTERS for group in groups):
        raise BadSearch(f"at most {MAX_GROUPS} filter groups of {MAX_FILTERS} filters")
    if sum(map(len, groups)) > MAX_ALL_FILTERS:
        raise BadSearch(f"at most {MAX_ALL_FILTERS} filters")
    if body.get("filters"):
        groups.append(body["filters"])
    found: dict[int, Obj] = {}
    for group in groups or [[]]:
        tests = [_test(portal, kind, one) for one in group]
        low, high = _window(kind, group)
        for obj in portal.changed_between(kind, low, min(high, newest)):
            if all(test(obj) for test in tests):
                found[obj.id] = obj
    query = str(body.get("query") or "").lower()
    matching = [obj for obj in found.values() if not query or _mentions(portal, obj, query)]
    return _sorted(portal, kind, matching, body.get("sorts") or [])


def _window(kind: str, group: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """The span of changes a group can match at all, so that not every object need be looked at."""
    low, high = -1, FOREVER
    for one in group:
        if one.get("propertyName") != changed_property(kind):
            continue
        if one.get("operator") in ("BETWEEN", "GT", "GTE"):
            low = max(low, int(number(one.get("value"))))
        if one.get("operator") == "BETWEEN":
            high = min(high, int(number(one.get("highValue"))))
        if one.get("operator") in ("LT", "LTE"):
            high = min(high, int(number(one.get("value"))))
    return low, high


def _test(portal: Portal, kind: str, one: dict[str, Any]) -> Test:
    name, operator = str(one.get("propertyName", "")), str(one.get("operator", ""))
    if name.startswith("associations."):
        return _linked(portal, kind, name, one)
    type_ = portal.properties[kind].get(name)
    if type_ is None:
        raise BadSearch(f"Property {name!r} does not exist")
    read = _reader(portal, kind, name)
    if operator == "HAS_PROPERTY":
        return lambda obj: read(obj) not in (None, "")
    if operator == "NOT_HAS_PROPERTY":
        return lambda obj: read(obj) in (None, "")
    if operator in ("IN", "NOT_IN"):
        values = one.get("values")
        if not isinstance(values, list) or not values:
            raise BadSearch(f"operator {operator} requires values")
        # string values given in upper case match nothing, as in HubSpot
        wanted = {str(value) for value in values}
        fold = type_ not in ("enumeration", "number", "datetime")
        inside: Test = lambda obj: (str(read(obj) or "").lower() if fold else str(read(obj))) in wanted  # noqa: E731
        return inside if operator == "IN" else lambda obj: not inside(obj)
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        pattern = str(one.get("value", "")).lower()
        has: Test = lambda obj: any(fnmatchcase(token, pattern) for token in _tokens(read(obj)))  # noqa: E731
        return has if operator == "CONTAINS_TOKEN" else lambda obj: not has(obj)
    return _compared(read, operator, one, type_)


def _compared(read: Callable[[Obj], Any], operator: str, one: dict[str, Any], type_: str) -> Test:
    """EQ, NEQ and the orders: numbers and times as numbers, ids above all; text without regard to case."""
    convert = (
        number if type_ in ("number", "datetime") else (str if type_ == "enumeration" else lambda v: str(v).lower())
    )
    if one.get("value") in (None, ""):
        raise BadSearch(f"operator {operator} requires a value")
    value = convert(one["value"])
    if operator == "BETWEEN":
        high = convert(one.get("highValue"))
        compare: Callable[[Any], bool] = lambda given: value <= given <= high  # noqa: E731
    else:
        orders: dict[str, Callable[[Any], bool]] = {
            "EQ": lambda given: given == value,
            "NEQ": lambda given: given != value,
            "LT": lambda given: given < value,
            "LTE": lambda given: given <= value,
            "GT": lambda given: given > value,
            "GTE": lambda given: given >= value,
        }
        if operator not in orders:
            raise BadSearch(f"unknown operator {operator}")
        compare = orders[operator]

    def test(obj: Obj) -> bool:
        given = read(obj)
        if given in (None, ""):
            return operator == "NEQ"
        try:
            return bool(compare(convert(given)))
        except BadSearch:  # text in a number's place: HubSpot's own data can hold it after an import
            return False

    return test


def _linked(portal: Portal, kind: str, name: str, one: dict[str, Any]) -> Test:
    other = kind_of(name.removeprefix("associations."))
    if other is None:
        raise BadSearch(f"unknown association {name}")
    values = {int(number(value)) for value in one.get("values") or [one.get("value")]}
    return lambda obj: bool(values & set(portal.links[kind, other].get(obj.id, ())))


def _reader(portal: Portal, kind: str, name: str) -> Callable[[Obj], Any]:
    if name == "hs_object_id":
        return lambda obj: obj.id
    if name in (changed_property(kind), "hs_lastmodifieddate"):
        return lambda obj: obj.updated
    if name == created_property(kind):
        return lambda obj: obj.created
    return lambda obj: portal.values(obj).get(name)


def _sorted(portal: Portal, kind: str, found: list[Obj], sorts: list[Any]) -> list[Obj]:
    if not sorts:
        return sorted(found, key=lambda obj: obj.id)
    first = sorts[0]
    if isinstance(first, str):
        name, descending = first.lstrip("-"), first.startswith("-")
    else:
        name, descending = str(first.get("propertyName")), first.get("direction") == "DESCENDING"
    read, numeric = _reader(portal, kind, name), portal.properties[kind].get(name) in ("number", "datetime")

    def key(obj: Obj) -> Any:
        value = read(obj)
        return (0, 0, obj.id) if value in (None, "") else (1, number(value) if numeric else str(value).lower(), obj.id)

    return sorted(found, key=key, reverse=descending)


def _mentions(portal: Portal, obj: Obj, query: str) -> bool:
    values = portal.values(obj)
    return any(query in str(values.get(name) or "").lower() for name in _SEARCHABLE)


def _tokens(value: Any) -> list[str]:
    text = str(value or "").lower()
    return [text, *re.split(r"[^\w]+", text)]


def number(value: Any) -> float:
    """A number, or a time as epoch milliseconds; ISO text is taken too."""
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return datetime.fromisoformat(str(value)).timestamp() * 1000
    except ValueError:
        raise BadSearch(f"{value!r} is neither a number nor a time") from None
