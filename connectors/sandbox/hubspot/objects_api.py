"""CRM objects: list, get, search, batch, and single writes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from connectors.sandbox.hubspot import writes
from connectors.sandbox.hubspot.call import Call
from connectors.sandbox.hubspot.portal import Obj
from connectors.sandbox.hubspot.rendering import iso
from connectors.sandbox.hubspot.schema import NUMBERS, kind_of, scope_of
from connectors.sandbox.hubspot.search import search
from connectors.sandbox.hubspot.writes import Refused
from connectors.sandbox.provider import Reply, json_reply

LONGEST_URL = 15_000
LONGEST_SEARCH = 3_000


def answer(call: Call, kind: str, rest: list[str]) -> Reply:
    reading = call.method == "GET" or rest in (["search"], ["batch", "read"])
    call.need(f"crm.objects.{scope_of(kind)}.{'read' if reading else 'write'}")
    match call.method, rest:
        case "GET", []:
            return _list(call, kind)
        case "POST", []:
            made = writes.create(call.portal, kind, _properties(call.body), call.body.get("associations") or [])
            call.wrote_object(made, "", call.body)
            return json_reply(call.portal.body(made), 201)
        case "POST", ["search"]:
            return _search(call, kind)
        case "POST", ["batch", verb] if verb in _BATCH:
            return _BATCH[verb](call, kind)
        case "POST", ["merge"] if kind == "contacts":
            return _merge(call)
        case "POST", ["gdpr-delete"] if kind == "contacts":
            gone = _find(call, kind, call.body.get("objectId"), call.body.get("idProperty") or "")
            call.wrote_object(gone, ".gdpr-delete", {})
            call.portal.purge(kind, gone.id)
            return Reply(204)
        case _, [number]:
            return _one(call, kind, number)
    raise Refused(405, "METHOD_NOT_ALLOWED", "method not allowed")


def _list(call: Call, kind: str) -> Reply:
    if len(call.request.query) > LONGEST_URL:
        raise Refused(414, "VALIDATION_ERROR", "URI too long")
    wanted, history = call.names("properties"), call.names("propertiesWithHistory")
    limit = call.limit(default=10, most=50 if history else 100)
    ids = call.portal.ids(kind, archived=call.flag("archived"))
    start = bisect_left(ids, call.offset())
    first = max(0, start - _repeated(call, start, limit))
    linked = [known for name in call.names("associations") if (known := kind_of(name))]
    store = call.portal.store[kind]
    body: dict[str, Any] = {
        "results": [call.portal.body(store[number], wanted, history, linked) for number in ids[first : first + limit]]
    }
    if first + limit < len(ids):
        body["paging"] = call.paging(str(ids[first + limit]))
    return json_reply(body)


def _repeated(call: Call, start: int, limit: int) -> int:
    """How many records of the page before come again: this list goes by id, so faulty paging can repeat but not skip."""
    if start == 0:
        return 0
    fault = call.sandbox.world.struck("hubspot", call.request.path, ("shifted_pages", "duplicate_pages"))
    return 0 if fault is None else 1 if fault.kind == "shifted_pages" else limit // 2


def _one(call: Call, kind: str, number: str) -> Reply:
    id_property = call.request.param("idProperty")
    if call.method == "GET":
        obj = _stored(call, kind, number, id_property)
        linked = [known for name in call.names("associations") if (known := kind_of(name))]
        return json_reply(call.portal.body(obj, call.names("properties"), call.names("propertiesWithHistory"), linked))
    obj = _find(call, kind, number, id_property)
    if call.method == "PATCH":
        writes.update(call.portal, obj, _properties(call.body))
        call.wrote_object(obj, ".update", call.body)
        return json_reply(call.portal.body(obj, list(_properties(call.body))))
    if call.method == "DELETE":
        call.portal.archive(kind, obj.id)
        call.wrote_object(obj, ".archive", {})
        return Reply(204)
    raise Refused(405, "METHOD_NOT_ALLOWED", "method not allowed")


def _stored(call: Call, kind: str, number: str, id_property: str) -> Obj:
    """For reading: the old id of a merged contact answers with the one it was merged into."""
    if call.flag("archived"):
        archived = call.portal.store[kind].get(int(number)) if number.isdecimal() else None
        if archived is None or not archived.archived:
            raise writes.not_found(kind, number)
        return archived
    if kind == "contacts" and number.isdecimal() and not id_property:
        number = str(call.portal.survivor(int(number)))
    return _find(call, kind, number, id_property)


def _find(call: Call, kind: str, key: object, id_property: str = "") -> Obj:
    obj = writes.find(call.portal, kind, key, id_property)
    if obj is None:
        raise writes.not_found(kind, key)
    return obj


def _merge(call: Call) -> Reply:
    primary = _find(call, "contacts", call.body.get("primaryObjectId"))
    gone = _find(call, "contacts", call.body.get("objectIdToMerge"))
    call.portal.merge(primary.id, gone.id)
    call.wrote("contact.merge", {"id": str(primary.id), "merged": str(gone.id)})
    return json_reply(call.portal.body(primary))


def _search(call: Call, kind: str) -> Reply:
    body = call.body
    if len(call.request.body) > LONGEST_SEARCH:
        raise Refused(400, "VALIDATION_ERROR", "The request body is longer than 3000 characters")
    limit, after = int(body.get("limit") or 10), str(body.get("after") or "0")
    if not 0 < limit <= 200 or not after.isdecimal():
        raise Refused(400, "VALIDATION_ERROR", "limit must be between 1 and 200 and after a page token")
    start, cap = int(after), call.sandbox.search_cap
    if start >= cap:
        raise Refused(400, "VALIDATION_ERROR", f"There was a problem with the request: paging ends at {cap} results")
    newest = (
        round((call.sandbox.world.now().timestamp() - call.sandbox.search_lag) * 1000)
        if call.sandbox.search_lag
        else 10**15
    )
    found = search(call.portal, kind, body, newest=newest)
    wanted = body.get("properties") or []
    reply: dict[str, Any] = {
        "total": min(len(found), cap) if start == 0 else len(found),
        "results": [call.portal.body(obj, wanted) for obj in found[start : start + limit]],
    }
    if start + limit < len(found):
        reply["paging"] = {"next": {"after": str(start + limit)}}
    return json_reply(reply)


# ---- batch ----


def _inputs(call: Call) -> list[dict[str, Any]]:
    inputs = call.body.get("inputs")
    if not isinstance(inputs, list) or len(inputs) > 100:
        raise Refused(400, "VALIDATION_ERROR", "inputs must be a list of at most 100")
    return inputs


def _batch_reply(call: Call, results: list[Any], errors: list[dict[str, Any]], status: int = 200) -> Reply:
    now = iso(round(call.portal.now().timestamp() * 1000))
    body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return json_reply(body, 207 if errors else status)


def _missing(kind: str, ids: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": f"Could not get some {NUMBERS[kind]} objects, they may be deleted or not exist. Check that ids are valid.",
        "context": {"ids": ids},
    }


def _batch_read(call: Call, kind: str) -> Reply:
    wanted, history = call.body.get("properties") or [], call.body.get("propertiesWithHistory") or []
    inputs, archived = _inputs(call), call.flag("archived")
    if history and len(inputs) > 50:
        raise Refused(400, "VALIDATION_ERROR", "at most 50 inputs with propertiesWithHistory")
    results, missing = [], []
    for key in dict.fromkeys(str(one.get("id", "")) for one in inputs):
        obj = call.portal.store[kind].get(int(key)) if archived and key.isdecimal() else None
        if not archived:
            obj = writes.find(call.portal, kind, key, call.body.get("idProperty") or "")
        if obj is None or bool(obj.archived) != archived:
            missing.append(key)
        else:
            results.append(call.portal.body(obj, wanted, history))
    results.reverse()  # the order of the inputs is not kept, and nobody should count on it
    return _batch_reply(call, results, [_missing(kind, missing)] if missing else [])


def _batch_create(call: Call, kind: str) -> Reply:
    """All or nothing, unless every input has a trace id to report its error by."""
    inputs = _inputs(call)
    traced = all(one.get("objectWriteTraceId") for one in inputs)
    results, errors = [], []
    for one in inputs:
        try:
            made = writes.create(call.portal, kind, _properties(one), one.get("associations") or [])
        except Refused as refused:
            if not traced:
                raise
            errors.append(_partial(refused, {"objectWriteTraceId": [one["objectWriteTraceId"]]}))
        else:
            call.wrote_object(made, "", one)
            results.append(call.portal.body(made))
    return _batch_reply(call, results, errors, 201)


def _batch_update(call: Call, kind: str) -> Reply:
    results, missing = [], []
    for one in _inputs(call):
        key = str(one.get("id", ""))
        obj = writes.find(call.portal, kind, key, one.get("idProperty") or "")
        if obj is None and key.isdecimal():
            missing.append(key)
        elif obj is not None:  # an e-mail without idProperty changes nothing and says nothing
            writes.update(call.portal, obj, _properties(one))
            call.wrote_object(obj, ".update", one)
            results.append(call.portal.body(obj, list(_properties(one))))
    return _batch_reply(call, results, [_missing(kind, missing)] if missing else [])


def _batch_upsert(call: Call, kind: str) -> Reply:
    inputs = _inputs(call)
    keys = [(one.get("idProperty") or "", str(one.get("id", "")).lower()) for one in inputs]
    if len(set(keys)) < len(keys):
        raise Refused(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input")
    results = []
    for one in inputs:
        id_property = str(one.get("idProperty") or "hs_object_id")
        obj = writes.find(call.portal, kind, one.get("id", ""), id_property)
        given = {**_properties(one), id_property: str(one.get("id", ""))}
        new = obj is None
        obj = writes.create(call.portal, kind, given, []) if obj is None else writes.update(call.portal, obj, given)
        call.wrote_object(obj, "" if new else ".update", {"properties": given})
        results.append({**call.portal.body(obj, list(given)), "new": new})
    return _batch_reply(call, results, [])


def _batch_archive(call: Call, kind: str) -> Reply:
    for one in _inputs(call):
        obj = writes.find(call.portal, kind, one.get("id", ""))
        if obj:
            call.portal.archive(kind, obj.id)
            call.wrote_object(obj, ".archive", {})
    return Reply(204)


_BATCH: dict[str, Callable[[Call, str], Reply]] = {
    "read": _batch_read,
    "create": _batch_create,
    "update": _batch_update,
    "upsert": _batch_upsert,
    "archive": _batch_archive,
}


def _partial(refused: Refused, context: dict[str, Any]) -> dict[str, Any]:
    return {"status": "error", "category": refused.category, "message": refused.message, "context": context}


def _properties(body: Any) -> dict[str, Any]:
    given = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise Refused(400, "VALIDATION_ERROR", "Invalid input JSON: properties are required")
    return given
