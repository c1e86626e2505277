"""What HubSpot takes and what it refuses: objects, associations, properties."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.sandbox.hubspot.portal import Obj, Portal
from connectors.sandbox.hubspot.rendering import Properties
from connectors.sandbox.hubspot.schema import (
    ASSOCIATIONS,
    NUMBERS,
    OPTIONS,
    READ_ONLY,
    REQUIRED,
    SINGULAR,
    property_body,
)


class Refused(Exception):
    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.category, self.message, self.more = status, category, message, more


def invalid(name: str, error: str, message: str) -> Refused:
    detail = [{"isValid": False, "message": message, "error": error, "name": name, "localizedErrorMessage": message}]
    text = "Property values were not valid: " + json.dumps(detail, separators=(",", ":"))
    return Refused(400, "VALIDATION_ERROR", text)


def not_found(kind: str, number: object) -> Refused:
    return Refused(
        404, "OBJECT_NOT_FOUND", f"Object not found.  objectId are usually numeric: {number} ({SINGULAR[kind]})"
    )


def create(portal: Portal, kind: str, given: Mapping[str, Any], associations: Sequence[Mapping[str, Any]]) -> Obj:
    """All or nothing: a wrong association makes no object."""
    values = _checked(portal, kind, given, None)
    for name in REQUIRED.get(kind, ()):
        if not values.get(name):
            raise invalid(name, "REQUIRED_PROPERTY", f'Property "{name}" is required')
    targets = [target for one in associations for target in _target(portal, kind, one)]
    made = portal.add(kind, values)
    for to_kind, to in targets:
        portal.link(kind, made.id, to_kind, to)
    return made


def update(portal: Portal, obj: Obj, given: Mapping[str, Any]) -> Obj:
    return portal.edit(obj.kind, obj.id, _checked(portal, obj.kind, given, obj))


def find(portal: Portal, kind: str, key: object, id_property: str = "") -> Obj | None:
    """By id, or by the value of a unique property (a contact's e-mail is one)."""
    if not id_property:
        return portal.get(kind, int(str(key))) if str(key).isdecimal() else None
    if id_property not in portal.unique[kind] and (kind, id_property) != ("contacts", "email"):
        message = (
            f"Unable to perform update/upsert by non-unique {NUMBERS[kind]} property {id_property} "
            f"in portal ID {portal.portal_id}"
        )
        raise Refused(400, "VALIDATION_ERROR", message)
    wanted = str(key).lower() if id_property == "email" else str(key)
    return next((obj for obj in _live(portal, kind) if portal.values(obj).get(id_property) == wanted), None)


def make_property(portal: Portal, kind: str, body: Mapping[str, Any], *, refuse_unique: bool) -> dict[str, Any]:
    name, unique = str(body.get("name", "")), bool(body.get("hasUniqueValue"))
    if not name or not body.get("type") or not body.get("fieldType") or not body.get("groupName"):
        raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: name, type, fieldType and groupName are required")
    if name in portal.properties[kind]:
        raise Refused(409, "OBJECT_ALREADY_EXISTS", f"A property named '{name}' already exists.")
    if unique and kind == "tasks" and refuse_unique:
        raise Refused(400, "VALIDATION_ERROR", "Unique properties are not supported for object type 0-27")
    if unique and len(portal.unique[kind]) >= 10:
        raise Refused(400, "VALIDATION_ERROR", "The limit of 10 unique properties is reached")
    portal.properties[kind][name] = str(body["type"])
    if unique:
        portal.unique[kind].add(name)
    return property_body(kind, name, str(body["type"]), unique=unique)


def _live(portal: Portal, kind: str) -> list[Obj]:
    return [portal.store[kind][number] for number in portal.ids(kind)]


def _checked(portal: Portal, kind: str, given: Mapping[str, Any], obj: Obj | None) -> Properties:
    values: Properties = {}
    for name, value in given.items():
        if name not in portal.properties[kind]:
            raise invalid(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
        if name in READ_ONLY:
            raise invalid(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
        text = None if value in (None, "") else (str(value).lower() if isinstance(value, bool) else str(value))
        values[name] = text if text is None else _value(portal, kind, name, text)
    for name in {"email"} if kind == "contacts" else portal.unique[kind]:
        holder = find(portal, kind, values[name], name) if values.get(name) else None
        if holder and holder is not obj and name == "email":
            raise Refused(409, "CONFLICT", f"Contact already exists. Existing ID: {holder.id}")
        if holder and holder is not obj:
            raise invalid(name, "CONFLICTING_UNIQUE_VALUE", f"{values[name]} is already used by {holder.id}")
    return values


def _value(portal: Portal, kind: str, name: str, text: str) -> str:
    if name == "email":
        if "@" not in text:
            raise invalid(name, "INVALID_EMAIL", f"Email address {text} is invalid")
        return text.lower()
    if name in OPTIONS and text not in OPTIONS[name]:
        raise invalid(name, "INVALID_OPTION", f"{text} was not one of the allowed options: {list(OPTIONS[name])}")
    if name == "dealstage" and text not in portal.stages():
        raise invalid(name, "INVALID_OPTION", f"{text} was not one of the allowed options: {list(portal.stages())}")
    if name == "pipeline" and text not in [pipeline["id"] for pipeline in portal.pipelines()]:
        raise invalid(name, "INVALID_OPTION", f"{text} is not a pipeline")
    if name == "hubspot_owner_id" and text not in [
        o["id"] for gone in (False, True) for o in portal.owners(archived=gone)
    ]:
        raise invalid(name, "INVALID_OWNER_ID", f"Owner {text} does not exist")
    if portal.properties[kind][name] == "datetime":
        return _datetime(name, text)
    if portal.properties[kind][name] == "number":
        try:
            float(text)
        except ValueError:
            raise invalid(name, "INVALID_LONG", f"{text} was not a valid number") from None
    return text


def _datetime(name: str, text: str) -> str:
    try:
        at = datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdecimal() else datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name, "INVALID_DATE", f"{text} was not a valid date") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _target(portal: Portal, kind: str, one: Mapping[str, Any]) -> list[tuple[str, int]]:
    """What an association of a create points to. The type id tells the other side's type, and its direction must fit."""
    to = str((one.get("to") or {}).get("id", ""))
    targets = []
    for type_ in one.get("types") or []:
        wanted = type_.get("associationTypeId")
        pair = next((pair for pair, number in ASSOCIATIONS.items() if number == wanted), None)
        if type_.get("associationCategory") == "HUBSPOT_DEFINED" and (pair is None or pair[0] != kind):
            raise Refused(
                400, "VALIDATION_ERROR", f"invalid association type id {wanted} for from object type {NUMBERS[kind]}"
            )
        if pair is None:
            continue
        if not to.isdecimal() or portal.get(pair[1], int(to)) is None:
            raise Refused(400, "VALIDATION_ERROR", f"No {SINGULAR[pair[1]]} with ID {to} exists")
        targets.append((pair[1], int(to)))
    if not targets:
        raise Refused(400, "VALIDATION_ERROR", "an association needs a type")
    return targets
