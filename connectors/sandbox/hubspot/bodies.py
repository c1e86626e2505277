"""The shapes of request bodies. HubSpot refuses a body of another shape before it looks at what it says."""

from __future__ import annotations

from typing import Any

import msgspec

Key = str | int | None


class Label(msgspec.Struct):
    associationCategory: str | None = None
    associationTypeId: int | None = None


class Ref(msgspec.Struct):
    id: str | int


class Link(msgspec.Struct):
    to: Ref
    types: list[Label]


class Input(msgspec.Struct, rename={"from_": "from"}):
    """One object or association of a batch."""

    id: Key = None
    idProperty: str | None = None
    properties: dict[str, Any] | None = None
    associations: list[Link] | None = None
    after: str | int | None = None
    from_: Ref | None = None
    to: Ref | list[Ref] | None = None
    types: list[Label] | None = None


class Filter(msgspec.Struct):
    propertyName: str
    operator: str
    value: str | int | float | bool | None = None
    highValue: str | int | float | None = None
    values: list[str | int | float | bool] | None = None


class Group(msgspec.Struct):
    filters: list[Filter] = []


class Sort(msgspec.Struct):
    propertyName: str
    direction: str = "ASCENDING"


class Body(msgspec.Struct):
    """Every body but a list of labels: of a write, a batch, a search, a merge."""

    properties: dict[str, Any] | list[str] | None = None
    propertiesWithHistory: list[str] | None = None
    associations: list[Link] | None = None
    inputs: list[Input] | None = None
    filterGroups: list[Group] | None = None
    filters: list[Filter] | None = None
    sorts: list[Sort | str] | None = None
    query: str | None = None
    limit: int | None = None
    after: str | int | None = None
    idProperty: str | None = None
    objectId: Key = None
    primaryObjectId: Key = None
    objectIdToMerge: Key = None


def problem(method: str, body: bytes) -> str:
    """What is wrong with its shape; nothing if it can be read. A number may come as text."""
    try:
        msgspec.json.decode(body, type=list[Label] | Body if method == "PUT" else Body, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error)
    return ""
