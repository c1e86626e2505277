"""HubSpot's streams: what is read when, and what a webhook means.

The first sync lists everything. Later ones search for ids that changed and read those objects. Each window ends a minute before
now, because search shows changes late, and begins ten minutes (once a day: 24 hours) before the last one ended. Once a week the
archived objects and all associations are read again: deletions and changed links do not always touch the modified date.

A token belongs to exactly one HubSpot account ("portal"). With `portal_id` set, a token of another client's account is refused
before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from connectors.base import (
    SETTLES,
    Accepted,
    ConfigError,
    Connector,
    ConnectorError,
    Cursor,
    Health,
    Page,
    Received,
    Record,
    Secret,
    Stream,
    WebhookRequest,
)
from connectors.delivery import ContactUpdate, Note, OwnerTask
from connectors.http import Http
from connectors.hubspot import webhooks
from connectors.hubspot.account import HubSpotAccount, Portal
from connectors.hubspot.deliver import HubSpotDeliverer
from connectors.hubspot.kinds import KINDS, LINKS, Kind
from connectors.hubspot.objects import (
    Listing,
    Trail,
    changed,
    links,
    listed,
    missing_properties,
    read,
    require_properties,
)
from connectors.hubspot.records import record
from connectors.oauth import TokenVault

SETTLE = timedelta(seconds=60)
LOOK_BACK = timedelta(minutes=10)
LONG_LOOK_BACK = timedelta(hours=24)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class HubSpotOptions:
    access_token: Secret
    client_secret: Secret = Secret("")  # noqa: RUF009  (immutable)
    portal_id: str = ""
    api_version: str = "v3"
    base_url: str = "https://api.hubapi.com"


class HubSpot(Connector):
    provider: ClassVar[str] = "hubspot"
    title: ClassVar[str] = "HubSpot"
    cron: ClassVar[str] = "*/15 * * * *"
    Options: ClassVar[type] = HubSpotOptions
    delivers: ClassVar[tuple[type, ...]] = (OwnerTask, Note, ContactUpdate)
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("owners", "People of the business who own contacts, deals and tasks in HubSpot."),
        Stream("pipelines", "Deal pipelines with the stages a deal passes through."),
        Stream("contacts", "People the business knows, with how they first came."),
        Stream("deals", "Jobs the business tries to win, with their value and every stage they reached."),
        Stream("deal_contacts", "Which contacts a deal is for.", feed="deals"),
        Stream("tasks", "Follow-up tasks that staff keep in HubSpot."),
        Stream("task_contacts", "Which contacts a task is about.", feed="tasks"),
    )

    def __init__(
        self, options: HubSpotOptions, *, connection: str, http: Http, vault: TokenVault | None = None
    ) -> None:
        super().__init__(options, connection=connection, http=http, vault=vault)
        self.api = HubSpotAccount(
            http,
            connection=connection,
            base_url=options.base_url,
            token=options.access_token,
            version=options.api_version,
        )
        self._portal: Portal | None = None

    # ---- health ----

    def check(self) -> Health:
        try:
            portal = self._own_portal()
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        problems, left_out = [], {}
        for name, probe in self._probes().items():
            try:
                missing = probe()
            except ConnectorError as error:
                problems.append(error)
            else:
                left_out.update({name: missing} if missing else {})
        details = {
            "portal_id": str(portal.portal_id),
            "time_zone": portal.time_zone,
            "webhooks": "on" if self.options.client_secret else "off: set client_secret to take them",
            "properties this account does not have": left_out,
        }
        if problems:
            fixes = dict.fromkeys(error.fix for error in problems)
            return Health(False, " ".join(error.what for error in problems), " ".join(fixes), details)
        return Health(True, f"HubSpot account {portal.portal_id} answers; all of it can be read.", "", details)

    def _probes(self) -> dict[str, Callable[[], list[str]]]:
        """One cheap read of each thing a sync needs; each says which wanted properties are not there."""

        def objects(kind: Kind) -> list[str]:
            require_properties(self.api, kind)
            self.api.get(self.api.path("objects", f"/{kind.name}"), Listing, params={"limit": 1})
            return missing_properties(self.api, kind)

        def plain(path: str) -> list[str]:
            self.api.get(path, Listing)
            return []

        return {
            **{kind.name: partial(objects, kind) for kind in KINDS.values()},
            "owners": lambda: plain(self.api.path("owners") + "?limit=1"),
            "pipelines": lambda: plain(self.api.path("pipelines", "/deals")),
        }

    def _own_portal(self) -> Portal:
        """Whose account this is, refused if it is not the client's."""
        if self._portal is None:
            portal = self.api.portal()
            if self.options.portal_id and self.options.portal_id != str(portal.portal_id):
                raise ConfigError(
                    f"the token belongs to HubSpot account {portal.portal_id}, not to {self.options.portal_id}.",
                    connection=self.connection,
                    fix="Nothing was read. Give this client its own token, or correct portal_id.",
                )
            self._portal = portal
        return self._portal

    # ---- reading ----

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        self._own_portal()
        if feed == "owners":
            yield from self._owners(now)
        elif feed == "pipelines":
            pipelines = self.api.get(self.api.path("pipelines", "/deals"), Listing)
            yield Page("pipelines", [record(raw) for raw in pipelines.results], {"read_at": _text(now)})
        else:
            yield from self._objects(KINDS[feed], deepcopy(cursor or {}), now)

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        self._own_portal()
        if stream in LINKS:
            yield Page(stream, links(self.api, LINKS[stream], record_ids))
        else:
            yield from self._by_id(KINDS[stream], record_ids, None, now)

    def _owners(self, now: datetime) -> Iterator[Page]:
        """Archived owners too: old deals still name them."""
        for archived in ("false", "true"):
            trail, after = Trail(self.api, "owners"), ""
            while True:
                params = {"limit": 100, "archived": archived, **({"after": after} if after else {})}
                page = self.api.get(self.api.path("owners"), Listing, params=params)
                after = trail.after(page, page.results)
                cursor = {"read_at": _text(now)} if archived == "true" and not after else None
                yield Page("owners", [record(raw) for raw in page.results], cursor)
                if not after:
                    break

    def _objects(self, kind: Kind, state: Cursor, now: datetime) -> Iterator[Page]:
        """`state` is the cursor: `started` and `after` while the first list is read; then `until` (all changes up to then are
        in), `window` while one is being read, `weekly` while the weekly pass is, and `weekly_at`."""
        require_properties(self.api, kind)
        if "until" not in state:
            yield from self._first(kind, state, now)
        if "window" in state:
            yield from self._window(kind, state, now)
        until, end = _time(state["until"]), now - SETTLE
        if end > until:
            back = LOOK_BACK if until.date() == end.date() else LONG_LOOK_BACK
            state["window"] = {"since": _text(until - back), "until": _text(end), "last_id": "0"}
            yield from self._window(kind, state, now)
        if "weekly" in state or "weekly_at" not in state or now - _time(state["weekly_at"]) >= WEEK:
            yield from self._weekly(kind, state, now)

    def _first(self, kind: Kind, state: Cursor, now: datetime) -> Iterator[Page]:
        state.setdefault("started", _text(now))
        for records, after in listed(self.api, kind, archived=False, after=state.get("after", "")):
            state["after"] = after
            if not after:  # what changed since the list began is found by search
                state["until"] = state.pop("started")
                del state["after"]
            yield from self._page(kind, records, [one.record_id for one in records], state)

    def _window(self, kind: Kind, state: Cursor, now: datetime) -> Iterator[Page]:
        window = state["window"]
        since, until = _time(window["since"]), _time(window["until"])
        for ids in changed(self.api, kind, since=since, until=until, last_id=window["last_id"]):
            window["last_id"] = ids[-1]
            yield from self._by_id(kind, ids, state, now)
        state["until"] = window["until"]
        del state["window"]
        yield Page(kind.name, [], deepcopy(state))

    def _weekly(self, kind: Kind, state: Cursor, now: datetime) -> Iterator[Page]:
        # the first time, all links have just been read with the list
        first_step = "links" if kind.links and "weekly_at" in state else "archived"
        weekly = state.setdefault("weekly", {"step": first_step, "after": ""})
        if weekly["step"] == "links":
            for records, after in listed(self.api, kind, archived=False, after=weekly["after"], only_ids=True):
                weekly.update({"after": after} if after else {"step": "archived", "after": ""})
                yield Page(kind.links, links(self.api, kind, [one.record_id for one in records]), deepcopy(state))
        for records, after in listed(self.api, kind, archived=True, after=weekly["after"]):
            weekly["after"] = after
            if not after:
                del state["weekly"]
                state["weekly_at"] = _text(now)
            yield Page(kind.name, records, deepcopy(state))

    def _by_id(self, kind: Kind, ids: Sequence[str], cursor: Cursor | None, now: datetime) -> Iterator[Page]:
        records, live = read(self.api, kind, ids, now=now)
        yield from self._page(kind, records, live, cursor)

    def _page(self, kind: Kind, records: list[Record], live: list[str], cursor: Cursor | None) -> Iterator[Page]:
        """The objects, then their links; the cursor comes with the last, when both are there to be stored."""
        if kind.links:
            yield Page(kind.name, records)
            yield Page(kind.links, links(self.api, kind, live) if live else [], deepcopy(cursor))
        else:
            yield Page(kind.name, records, deepcopy(cursor))

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        webhooks.verify(request, self.options.client_secret)
        return Accepted(webhooks.dedupe_key(request.body))

    def receive(self, request: WebhookRequest) -> Received:
        return webhooks.read_events(request.body, self.options.portal_id)

    # ---- delivering ----

    def deliverer(self, *, settles: timedelta = SETTLES) -> HubSpotDeliverer:
        self._own_portal()
        return HubSpotDeliverer(self.api, settles=settles)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
