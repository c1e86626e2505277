"""Associations: of one object (v3 and v4 shapes), and in batches."""

from __future__ import annotations

from typing import Any

from connectors.sandbox.hubspot import writes
from connectors.sandbox.hubspot.call import Call
from connectors.sandbox.hubspot.rendering import iso
from connectors.sandbox.hubspot.schema import ASSOCIATIONS, SINGULAR, scope_of
from connectors.sandbox.hubspot.writes import Refused
from connectors.sandbox.provider import Reply, json_reply

MOST_READ, MOST_WRITTEN, PER_PAGE = 1_000, 2_000, 500


def one(call: Call, kind: str, number: str, rest: list[str]) -> Reply:
    """`/{type}/{id}/associations/…`"""
    call.need(f"crm.objects.{scope_of(kind)}.{'read' if call.method == 'GET' else 'write'}")
    obj = writes.find(call.portal, kind, number)
    if obj is None:
        raise writes.not_found(kind, number)
    match call.method, rest:
        case "GET", [to_kind]:
            return _list(call, kind, obj.id, call.kind(to_kind))
        case "PUT", ["default", to_kind, to]:
            return _put(call, kind, obj.id, call.kind(to_kind), to)
        case "PUT", [to_kind, to] if call.version != "v3":
            for label in call.body if isinstance(call.body, list) else []:
                _check_type(kind, call.kind(to_kind), label.get("associationTypeId"), label.get("associationCategory"))
            return _put(call, kind, obj.id, call.kind(to_kind), to, 201)
        case "PUT", [to_kind, to, type_id] if call.version == "v3":
            wanted = int(type_id) if type_id.isdecimal() else type_id
            if wanted != f"{SINGULAR[kind]}_to_{SINGULAR[call.kind(to_kind)]}":
                _check_type(kind, call.kind(to_kind), wanted, "HUBSPOT_DEFINED")
            _put(call, kind, obj.id, call.kind(to_kind), to)
            return json_reply(call.portal.body(obj, (), (), [call.kind(to_kind)]))
        case "DELETE", [to_kind, to, *_]:
            call.portal.unlink(kind, obj.id, call.kind(to_kind), int(to))
            call.wrote("association.archive", {"from": [kind, str(obj.id)], "to": [call.kind(to_kind), to]})
            return Reply(204)
    raise Refused(405, "METHOD_NOT_ALLOWED", "method not allowed")


def batch(call: Call, kind: str, to_kind: str, rest: list[str]) -> Reply:
    """`/associations/{from}/{to}/…`"""
    reading = rest in (["batch", "read"], ["labels"])
    call.need(f"crm.objects.{scope_of(kind)}.{'read' if reading else 'write'}")
    match call.method, rest:
        case "POST", ["batch", "read"]:
            return _read(call, kind, to_kind)
        case "POST", ["batch", "create"] | ["batch", "associate", "default"]:
            return _write(call, kind, to_kind)
        case "POST", ["batch", "archive"]:
            for link in _inputs(call, MOST_WRITTEN):
                for to in link.get("to", []):
                    call.portal.unlink(kind, int(link["from"]["id"]), to_kind, int(to["id"]))
                    call.wrote("association.archive", {"from": [kind, link["from"]["id"]], "to": [to_kind, to["id"]]})
            return Reply(204)
        case "GET", ["labels"]:
            return json_reply({"results": [_type(kind, to_kind)]})
    raise Refused(404, "OBJECT_NOT_FOUND", "resource not found")


def _type(kind: str, to_kind: str) -> dict[str, Any]:
    return {"category": "HUBSPOT_DEFINED", "typeId": ASSOCIATIONS.get((kind, to_kind), 0), "label": None}


def _target(kind: str, to_kind: str, to: int) -> dict[str, Any]:
    return {"toObjectId": to, "associationTypes": [_type(kind, to_kind)]}


def _check_type(kind: str, to_kind: str, type_id: object, category: object) -> None:
    if category == "HUBSPOT_DEFINED" and type_id != ASSOCIATIONS.get((kind, to_kind)):
        raise Refused(400, "VALIDATION_ERROR", f"{type_id} is not an association type from {kind} to {to_kind}")


def _list(call: Call, kind: str, number: int, to_kind: str) -> Reply:
    ids = call.portal.links[kind, to_kind].get(number, [])
    start, limit = call.offset(), call.limit(default=PER_PAGE, most=PER_PAGE)
    some = ids[start : start + limit]
    if call.version == "v3":
        results: list[Any] = [{"id": str(to), "type": f"{SINGULAR[kind]}_to_{SINGULAR[to_kind]}"} for to in some]
    else:
        results = [_target(kind, to_kind, to) for to in some]
    body: dict[str, Any] = {"results": results}
    if start + limit < len(ids):
        body["paging"] = call.paging(str(start + limit))
    return json_reply(body)


def _put(call: Call, kind: str, number: int, to_kind: str, to: str, status: int = 200) -> Reply:
    if not to.isdecimal() or call.portal.get(to_kind, int(to)) is None:
        raise writes.not_found(to_kind, to)
    call.portal.link(kind, number, to_kind, int(to))
    call.wrote("association", {"from": [kind, str(number)], "to": [to_kind, to]})
    pair = {"from": {"id": str(number)}, "to": {"id": to}, "associationSpec": _spec(kind, to_kind)}
    return json_reply({"status": "COMPLETE", "results": [pair]}, status)


def _spec(kind: str, to_kind: str) -> dict[str, Any]:
    return {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": ASSOCIATIONS.get((kind, to_kind), 0)}


def _inputs(call: Call, most: int) -> list[dict[str, Any]]:
    inputs = call.body.get("inputs")
    if not isinstance(inputs, list) or len(inputs) > most:
        raise Refused(400, "VALIDATION_ERROR", f"inputs must be a list of at most {most}")
    return inputs


def _read(call: Call, kind: str, to_kind: str) -> Reply:
    """207 is the normal answer as soon as one input has no association."""
    results, errors = [], []
    for one in _inputs(call, MOST_READ):
        key, start = str(one.get("id", "")), int(one.get("after") or 0)
        ids = call.portal.links[kind, to_kind].get(int(key), []) if key.isdecimal() else []
        if not ids:
            errors.append(_none(kind, to_kind, key))
            continue
        result: dict[str, Any] = {
            "from": {"id": key},
            "to": [_target(kind, to_kind, to) for to in ids[start : start + PER_PAGE]],
        }
        if start + PER_PAGE < len(ids):
            result["paging"] = {"next": {"after": str(start + PER_PAGE), "link": f"?after={start + PER_PAGE}"}}
        results.append(result)
    return _reply(call, results, errors)


def _none(kind: str, to_kind: str, key: str) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {SINGULAR[to_kind]} is associated with {SINGULAR[kind]} {key}.",
        "context": {"fromObjectId": [key], "fromObjectType": [SINGULAR[kind]], "toObjectType": [SINGULAR[to_kind]]},
    }


def _write(call: Call, kind: str, to_kind: str) -> Reply:
    results = []
    for link in _inputs(call, MOST_WRITTEN):
        number, to = str((link.get("from") or {}).get("id", "")), str((link.get("to") or {}).get("id", ""))
        for label in link.get("types") or []:
            _check_type(kind, to_kind, label.get("associationTypeId"), label.get("associationCategory"))
        for what, key in ((kind, number), (to_kind, to)):
            if not key.isdecimal() or call.portal.get(what, int(key)) is None:
                raise writes.not_found(what, key)
        call.portal.link(kind, int(number), to_kind, int(to))
        call.wrote("association", {"from": [kind, number], "to": [to_kind, to]})
        results.append({"fromObjectId": int(number), "toObjectId": int(to), "labels": []})
    return _reply(call, results, [], 201)


def _reply(call: Call, results: list[Any], errors: list[Any], status: int = 200) -> Reply:
    now = iso(round(call.portal.now().timestamp() * 1000))
    body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return json_reply(body, 207 if errors else status)
