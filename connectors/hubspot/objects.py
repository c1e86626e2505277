"""Reading CRM objects: by list, by id, and which have changed.

    GET  /objects/{type}                     everything, in order of id; no filter, no end
    POST /objects/{type}/search              ids of what changed in a window
    POST /objects/{type}/batch/read          the objects themselves, with the history of chosen properties
    POST /associations/{type}/contacts/batch/read

Search is only asked for ids. Its index lags behind, it gives no history, and a body over 3,000 characters is refused; so the
objects are read by id. It also ends at offset 10,000, so pages go by id, never by offset: rows that share one timestamp (a bulk
import) would otherwise be read for ever or cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from connectors.base import ContractChanged, ProviderDown, Record, absent
from connectors.hubspot.account import HubSpotAccount
from connectors.hubspot.kinds import Kind
from connectors.hubspot.records import record

SEARCH_PAGE = 200
EMPTY_PAGES = 3


class _Next(msgspec.Struct):
    after: str


class _Paging(msgspec.Struct):
    next: _Next | None = None


class Paged(msgspec.Struct, kw_only=True):
    """The last page has no `paging`. Its `link` is never followed: it is absolute and could carry our token to another host."""

    paging: _Paging | None = None

    @property
    def after(self) -> str:
        return self.paging.next.after if self.paging and self.paging.next else ""


class Listing(Paged):
    results: list[msgspec.Raw]


class Trail:
    """The pages of one list so far. One that comes back to a page, or brings nothing page after page, would never end."""

    def __init__(self, api: HubSpotAccount, what: str, begun_at: str = "") -> None:
        self._api, self._what, self._been, self._empty = api, what, {begun_at}, 0

    def after(self, page: Paged, items: Sequence[msgspec.Raw]) -> str:
        """Where the page after the one with these items starts; "" at the end."""
        self._empty = 0 if items else self._empty + 1
        if page.after and (page.after in self._been or self._empty == EMPTY_PAGES):
            raise ContractChanged(
                f"the list of {self._what} does not come to an end.",
                connection=self._api.connection,
                fix="Stopped instead of reading it for ever; the next run goes on from the same place.",
            )
        self._been.add(page.after)
        return page.after


class _Found(msgspec.Struct):
    id: str


class _Search(Paged):
    results: list[_Found]


class Batch(msgspec.Struct):
    """Answer of a batch call: 200, or 207 when a part of it failed, which is in `errors` and nowhere else."""

    results: list[msgspec.Raw]
    errors: list[msgspec.Raw] = []


class BatchError(msgspec.Struct, rename="camel"):
    category: str = ""
    sub_category: str = ""
    context: dict[str, list[str]] = {}


class _Property(msgspec.Struct):
    name: str


class _Properties(msgspec.Struct):
    results: list[_Property]


class _From(msgspec.Struct):
    id: str


class _Link(Paged):
    from_: msgspec.Raw = msgspec.field(name="from")
    to: list[msgspec.Raw]


def missing_properties(api: HubSpotAccount, kind: Kind) -> list[str]:
    """Properties we ask for that this account does not have, required ones first."""
    there = {known.name for known in api.get(api.path("properties", f"/{kind.name}"), _Properties).results}
    return [name for name in kind.properties if name not in there]


def require_properties(api: HubSpotAccount, kind: Kind) -> None:
    missing = [name for name in missing_properties(api, kind) if name in kind.required]
    if missing:
        raise ContractChanged(
            f"the HubSpot account has no property {', '.join(missing)} on {kind.name}.",
            connection=api.connection,
            fix="Nothing was read. If it was renamed or removed in HubSpot, restore it; else the connector needs a change.",
        )


def listed(
    api: HubSpotAccount, kind: Kind, *, archived: bool, after: str, only_ids: bool = False
) -> Iterator[tuple[list[Record], str]]:
    """Pages of the whole list from `after` on, each with where the next one starts ("" at the end)."""
    trail = Trail(api, kind.name, after)
    while True:
        params = {
            "limit": 100 if only_ids else kind.page,
            "archived": "true" if archived else "false",
            "properties": "hs_object_id" if only_ids else ",".join(kind.properties),
        }
        if kind.history and not only_ids:
            params["propertiesWithHistory"] = ",".join(kind.history)
        if after:
            params["after"] = after
        page = api.get(api.path("objects", f"/{kind.name}"), Listing, params=params)
        after = trail.after(page, page.results)
        yield [record(raw) for raw in page.results], after
        if not after:
            return


def changed(api: HubSpotAccount, kind: Kind, *, since: datetime, until: datetime, last_id: str) -> Iterator[list[str]]:
    """Ids of what changed in the window, in numeric order from `last_id` on."""
    while True:
        # The specification calls all five members required though the live API does not: always send them.
        body: dict[str, Any] = {
            "filterGroups": [
                {
                    "filters": [
                        {
                            "propertyName": kind.changed,
                            "operator": "BETWEEN",
                            "value": _ms(since),
                            "highValue": _ms(until),
                        },
                        {"propertyName": "hs_object_id", "operator": "GT", "value": last_id},
                    ]
                }
            ],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": ["hs_object_id"],
            "limit": SEARCH_PAGE,
            "after": "0",
        }
        found = api.search(kind.name, _Search, body=body)
        ids = [item.id for item in found.results]
        if not ids:
            return
        numbers = [int(one) if one.isdecimal() else -1 for one in (last_id, *ids)]
        if any(earlier >= later for earlier, later in pairwise(numbers)):
            raise ContractChanged(
                f"a search of {kind.name} does not come in order of id.",
                connection=api.connection,
                fix="Reading on could skip records, so it stopped; the cursor did not move. The connector needs a change.",
            )
        last_id = ids[-1]
        yield ids
        if not found.after:
            return


def read(api: HubSpotAccount, kind: Kind, ids: Iterable[str], *, now: datetime) -> tuple[list[Record], list[str]]:
    """The named objects as they are now, and which of them are live. A deleted one comes as its archived self; one that is
    not even archived (purged, or merged into another) as an observation that it is gone."""
    records: list[Record] = []
    live: list[str] = []
    wanted = list(dict.fromkeys(ids))  # HubSpot refuses some batches that name an id twice
    for start in range(0, len(wanted), kind.page):
        found, missing = _batch(api, kind, wanted[start : start + kind.page], archived=False)
        records += found
        live += [one.record_id for one in found]
        if missing:
            archived, missing = _batch(api, kind, missing, archived=True)
            records += archived
            records += [absent(one, now) for one in missing]
    return records, live


def _batch(api: HubSpotAccount, kind: Kind, ids: Sequence[str], *, archived: bool) -> tuple[list[Record], list[str]]:
    """Objects by id, and the ids HubSpot does not have. Results are matched by id: their order means nothing."""
    body = {
        "properties": kind.properties,
        "propertiesWithHistory": kind.history,
        "inputs": [{"id": one} for one in ids],
    }
    params = {"archived": "true" if archived else "false"}
    answer = api.post(api.path("objects", f"/{kind.name}/batch/read"), Batch, json=body, params=params)
    for error in answer.errors:
        _only(api, error, "OBJECT_NOT_FOUND", f"{kind.name} by id")
    found = [record(raw) for raw in answer.results]
    got = {one.record_id for one in found}
    return found, [one for one in ids if one not in got]


def links(api: HubSpotAccount, kind: Kind, ids: Sequence[str]) -> list[Record]:
    """Who each object belongs to: one record for each, holding HubSpot's answer about it.

    "No contact is associated" is an answer too: it comes as an error inside a 207 and is kept, or a removed link would stay
    for ever. An object with more contacts than fit one answer gets all of them in one record.
    """
    path = api.path("associations", f"/{kind.name}/contacts/batch/read")
    answers: dict[str, bytes | msgspec.Raw] = {}
    so_far: dict[str, list[msgspec.Raw]] = {}
    inputs: list[dict[str, str]] = [{"id": one} for one in dict.fromkeys(ids)]
    trails: dict[str, Trail] = {}
    while inputs:
        batch, inputs = api.post(path, Batch, json={"inputs": inputs}), []
        for raw in batch.results:
            link = msgspec.json.decode(raw, type=_Link)
            one = msgspec.json.decode(link.from_, type=_From, strict=False).id
            to = so_far.setdefault(one, [])
            to += link.to
            whole = len(to) == len(link.to)
            answers[one] = raw if whole else msgspec.json.encode({"from": link.from_, "to": to})
            if link.after:
                trail = trails.setdefault(one, Trail(api, f"contacts of one of the {kind.name}"))
                inputs.append({"id": one, "after": trail.after(link, link.to)})
        for raw in batch.errors:
            error = _only(api, raw, "NO_ASSOCIATIONS_FOUND", f"contacts of {kind.name}")
            answers.update({one: raw for one in error.context.get("fromObjectId", []) if one not in answers})
    return [Record(one, payload) for one, payload in answers.items()]


def _only(api: HubSpotAccount, raw: msgspec.Raw, expected: str, what: str) -> BatchError:
    """An error inside a 207, if it is the one that only says "there is none"."""
    error = msgspec.json.decode(raw, type=BatchError)
    if error.category == expected or error.sub_category.endswith(expected):
        return error
    raise ProviderDown(
        f"reading {what} failed in part ({error.sub_category or error.category}).",
        connection=api.connection,
        fix="Nothing of that batch was stored; the next scheduled run goes on from the same place.",
    )


def _ms(at: datetime) -> str:
    return str(round(at.timestamp() * 1000))
