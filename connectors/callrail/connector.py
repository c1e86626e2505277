"""CallRail API v3: companies, trackers, calls, form submissions and text conversations; webhooks as hints.

    GET /v3/a/{account}/companies.json, trackers.json            whole lists, each run
    GET /v3/a/{account}/calls.json, form_submissions.json        by company and window of time
    GET /v3/a/{account}/text-messages.json, then /{id}.json      changed conversations, with their full thread

Provider facts that shaped this: there is no "updated since" filter and no `updated_at`, so edits are found by reading a window
again (7 days each run, 35 days once a day). A key sees what its user sees and nothing says what it does not see, so a company
that vanishes is an error here, never "no calls". Unknown filter values are ignored and everything is returned, so ids are
checked before they are sent and every record's company is compared with the one asked for. Calls marked as spam vanish from
lists and answer 404: they are noted as absent and kept. Webhooks are never retried by CallRail and have another shape than
the API, so each one only names a record to fetch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from connectors.base import (
    Accepted,
    ConfigError,
    Connector,
    ConnectorError,
    ContractChanged,
    ContractError,
    CredentialError,
    Cursor,
    Health,
    Page,
    ProviderDown,
    Received,
    Record,
    Rejected,
    Secret,
    Stream,
    WebhookRequest,
    absent,
    body_key,
)
from connectors.callrail.webhooks import read_event, said, verify
from connectors.callrail.windows import DEEP, RETENTION, deep_is_due, note_absences, slices, window_start, wire
from connectors.callrail.wire import (
    FIELDS,
    LISTS,
    PATHS,
    Api,
    Head,
    NoAccess,
    as_record,
    conversation_mark,
    read_head,
)
from connectors.http import Http, Limit, StaticAuth
from connectors.oauth import TokenVault

PER_PAGE = 250
CONFIRMS = 50  # single look-ups of vanished records in one run; the rest wait for the next run
BATCH = 50  # conversations fetched (one call each) before they are committed

# 80 % of the account's quota of 1,000 an hour and 10,000 a day. The transport's short back-off is enough on top: a quota that
# is counted by the hour is better met by the next run than by waiting inside this one.
LIMITS = (Limit(800, 3600.0), Limit(8000, 86400.0))

NO_KEY = Secret("")


class Refused(ConfigError):
    """CallRail refuses what we asked of one company."""


@dataclass(frozen=True)
class CallRailOptions:
    """`company_ids`: the companies of this client; empty means every active company the key sees."""

    account_id: str
    api_key: Secret
    company_ids: tuple[str, ...] = ()
    signing_key: Secret = NO_KEY
    base_url: str = "https://api.callrail.com"


class CallRail(Connector):
    provider: ClassVar[str] = "callrail"
    title: ClassVar[str] = "CallRail"
    cron: ClassVar[str] = "*/15 * * * *"
    Options: ClassVar[type] = CallRailOptions
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("companies", "The businesses whose calls are tracked, with their time zones."),
        Stream("trackers", "The phone numbers that are advertised, and the marketing source each one stands for."),
        Stream("calls", "Phone calls through tracked numbers: who called, from which source, answered or missed."),
        Stream("form_submissions", "Forms that visitors sent on the client's site, as CallRail caught them."),
        Stream("text_messages", "Text conversations through tracked numbers, each with its full thread."),
    )
    keeps_tail: ClassVar[bool] = True  # it says which event of a call this is; the body does not

    def __init__(self, options: Any, *, connection: str, http: Http, vault: TokenVault | None = None) -> None:
        super().__init__(options, connection=connection, http=http, vault=vault)
        self._visible: tuple[datetime, dict[str, str]] | None = None
        key = options.api_key.reveal()
        self.api = Api(
            http,
            connection=connection,
            base_url=options.base_url,
            auth=StaticAuth({"Authorization": f'Token token="{key}"', "Request-From": "leadtrail"}),
            limits=LIMITS,
            quota_key=f"callrail:{options.base_url}:{options.account_id}",  # the quota is shared by all keys of an account
        )

    def check(self) -> Health:
        try:
            self._check_options()
            companies = self._companies()
        except Rejected as error:
            if error.status != 404:
                return Health(False, error.what, error.fix)
            return Health(
                False,
                "CallRail knows no such account for this API key.",
                "Set account_id to the id that starts with ACC (a company id, COM…, does not work there).",
            )
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        active = [company for company, status in companies.items() if status == "active"]
        details = {"companies": active, "webhooks": bool(self.options.signing_key)}
        missing = [company for company in self.options.company_ids if company not in companies]
        if missing or not active:
            return Health(
                False,
                f"The API key does not see {', '.join(missing) or 'any active company'}.",
                "Give the key's user access to the company in CallRail, or correct company_ids.",
                details,
            )
        hint = "" if self.options.signing_key else " Webhooks are off (no signing_key): news comes every 15 minutes."
        return Health(True, f"CallRail answers; {len(active)} active companies.{hint}", "", details)

    # ---- pull ----

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        self._check_options()
        if feed in ("companies", "trackers"):
            yield from self._whole_list(feed, now)
            return
        read = self._conversations if feed == "text_messages" else self._by_date
        fields = hashlib.sha256(FIELDS[feed].encode()).hexdigest()[:12]
        companies: dict[str, Any] = cursor["companies"] if cursor and cursor["fields"] == fields else {}
        wanted, failures = self._wanted(companies, now)
        for company in wanted:
            try:
                for records, state in read(feed, company, companies.get(company), now):
                    if state is not None:
                        companies = {**companies, company: state}
                    yield Page(feed, records, {"fields": fields, "companies": companies} if state is not None else None)
            except (ProviderDown, Rejected, ContractChanged, NoAccess, Refused) as error:
                failures.append((company, error))
        if failures:
            raise self._partial(feed, failures)

    def _whole_list(self, stream: str, now: datetime) -> Iterator[Page]:
        ours = set(self.options.company_ids)
        visible: dict[str, str] = {}
        for items in self._pages(stream, {}):
            records = []
            for raw in items:
                head = read_head(raw)
                company = head.id if stream == "companies" else head.company.id if head.company else None
                visible[str(head.id)] = head.status or "active"
                if not ours or company in ours:
                    records.append(as_record(stream, raw, head))
            yield Page(stream, records)
        if stream == "companies":
            self._visible = now, visible

    def _by_date(
        self, stream: str, company: str, state: Mapping[str, Any] | None, now: datetime
    ) -> Iterator[tuple[list[Record], dict[str, Any] | None]]:
        """Every record of the company since its cursor, in slices of time, oldest first."""
        old = state or {"until": 0, "deep": "", "seen": {}}
        until, seen = old["until"], old["seen"]
        for window in slices(window_start(state, now), now):
            found: dict[str, int] = {}
            held: list[Record] = []
            for items in self._window_pages(stream, company, window):
                if held:
                    yield held, None
                held = [self._company_record(stream, raw, company) for raw in items]
                found |= {r.record_id: int(r.occurred_at.timestamp()) for r in held if r.occurred_at}
            seen, vanished = note_absences(seen, found, window, now - DEEP)
            # A list that came back short is not proof: only a record that also answers 404 by itself is absent.
            for record_id in vanished[:CONFIRMS]:
                held.append(self._single(stream, record_id, now))
                del seen[record_id]
            until = max(until, *found.values()) if found else until
            done = window[1] == now
            yield (
                held,
                {
                    "until": until,
                    "read_to": int(window[1].timestamp()),
                    "deep": now.date().isoformat() if done else old["deep"],
                    "seen": seen,
                },
            )

    def _window_pages(
        self, stream: str, company: str, window: tuple[datetime, datetime]
    ) -> Iterator[list[msgspec.Raw]]:
        asked = {"company_id": company, "start_date": wire(window[0]), "end_date": wire(window[1])}
        try:
            yield from self._pages(stream, {**asked, "fields": FIELDS[stream]})
        except Rejected as error:
            if error.status not in (400, 422):
                raise
            raise Refused(
                f"CallRail refuses the range of dates from {window[0]:%Y-%m-%d} ({error.status}): most likely its retention "
                "limit of 25 months.",
                connection=self.connection,
                fix="Check this machine's clock; if it is right, the account keeps less history than CallRail documents.",
            ) from None

    def _conversations(
        self, stream: str, company: str, state: Mapping[str, Any] | None, now: datetime
    ) -> Iterator[tuple[list[Record], dict[str, Any] | None]]:
        """Conversations that changed, each with its thread: the list shows only the recent messages.

        Whether the list's dates mean the first or the last message is not documented. So once a day the whole retained time is
        asked for and cut here, and a reply in an old conversation is found either way.
        """
        floor = window_start(state, now)
        old = state or {"until": 0, "read_to": int(floor.timestamp()), "deep": "", "seen": {}}
        deep = deep_is_due(old, now)
        seen, until, changed = dict(old["seen"]), old["until"], []
        for items in self._window_pages(stream, company, (now - RETENTION if deep else floor, now)):
            for raw in items:
                head = read_head(raw)
                self._guard_company(stream, head, company)
                at = int((head.last_message_at or now).timestamp())
                mark = conversation_mark(head)
                if at >= int(floor.timestamp()):
                    until = max(until, at) if head.last_message_at else until
                    if seen.get(str(head.id), [0, ""])[1] != mark:
                        changed.append((at, str(head.id), mark))
        changed.sort()
        for first in range(0, len(changed), BATCH):
            batch = changed[first : first + BATCH]
            records = [self._single(stream, record_id, now) for _, record_id, _ in batch]
            seen |= {record_id: [at, mark] for at, record_id, mark in batch}
            yield records, {**old, "seen": dict(seen)}
        recent = {record_id: entry for record_id, entry in seen.items() if entry[0] >= int((now - DEEP).timestamp())}
        yield [], {"until": until, "read_to": int(now.timestamp()), "deep": now.date().isoformat(), "seen": recent}

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        self._check_options()
        failures: list[tuple[str, ConnectorError]] = []
        for first in range(0, len(record_ids), BATCH):
            records = []
            for record_id in record_ids[first : first + BATCH]:
                try:
                    records.append(self._single(stream, record_id, now))
                except (Rejected, ContractChanged, NoAccess) as error:
                    failures.append((record_id, error))
            yield Page(stream, records)
        if failures:
            raise self._partial(stream, failures)

    # ---- calls to CallRail ----

    def _path(self, stream: str) -> str:
        return f"/v3/a/{self.options.account_id}/{PATHS.get(stream, stream)}"

    def _pages(self, stream: str, params: Mapping[str, str]) -> Iterator[list[msgspec.Raw]]:
        """Pages of a list, in whichever of the two shapes CallRail answers. Pages may overlap; they never leave a gap."""
        path, into = self._path(stream) + ".json", LISTS[stream]
        asked: dict[str, Any] = {**params, "per_page": PER_PAGE}
        if stream == "calls":
            asked["relative_pagination"] = "true"
        answer = self.api.get(path, into, params=asked)
        links: set[str] = set()
        number, last, repeats = 1, None, 0
        while True:
            yield answer.items
            number, link = number + 1, ""
            first = bytes(answer.items[0]) if answer.items else b""
            last, repeats = first, repeats + 1 if first == last else 0
            if answer.has_next_page is not None:
                if not (answer.has_next_page and answer.next_page):
                    return
                link = self.api.own(answer.next_page)
            else:
                full = len(answer.items) >= PER_PAGE if answer.total_pages is None else number <= answer.total_pages
                if not answer.items or not full:
                    return
            if link in links or repeats >= 3:
                raise ContractChanged(
                    f"the list of {stream} answers the same page again and again.",
                    connection=self.connection,
                    fix="What was read is kept; the next run tries again. Report this if it stays.",
                )
            if link:
                links.add(link)
            answer = self.api.get(link, into) if link else self.api.get(path, into, params={**asked, "page": number})

    def _single(self, stream: str, record_id: str, now: datetime) -> Record:
        """One record as it is now, or the note that CallRail no longer serves it."""
        if not re.fullmatch(r"[A-Za-z0-9_]+", record_id):
            raise ContractChanged(
                f"an id of {stream} has characters that no CallRail id has.",
                connection=self.connection,
                fix="It was not sent to CallRail; report this.",
            )
        path = f"{self._path(stream)}/{record_id}.json"
        params = {"fields": FIELDS[stream]} if stream in FIELDS else None
        try:
            raw = self.api.get(path, msgspec.Raw, params=params)
        except Rejected as error:
            if error.status != 404:
                raise
            return absent(record_id, now)
        head = read_head(raw)
        if self.options.company_ids and head.company_id is not None:
            self._guard_company(stream, head, *self.options.company_ids)
        head.id = record_id  # what was asked for is what it is filed under
        return as_record(stream, raw, head)

    def _company_record(self, stream: str, raw: msgspec.Raw, company: str) -> Record:
        head = read_head(raw)
        if head.company_id != company:
            self._guard_company(stream, head, company)
        return as_record(stream, raw, head)

    def _guard_company(self, stream: str, head: Head, *allowed: str) -> None:
        """CallRail ignores a filter it does not understand and answers with everything: another client's calls."""
        if isinstance(head.company_id, str) and head.company_id.startswith("COM") and head.company_id not in allowed:
            raise ContractChanged(
                f"CallRail answered with {stream} of another company ({head.company_id}).",
                connection=self.connection,
                fix="They were not stored. Check company_ids; if it is right, report this.",
            )

    def _companies(self) -> dict[str, str]:
        """Every company the key sees -> its status."""
        heads = [read_head(raw) for items in self._pages("companies", {}) for raw in items]
        return {str(head.id): head.status or "active" for head in heads}

    def _wanted(self, known: Mapping[str, Any], now: datetime) -> tuple[list[str], list[tuple[str, ConnectorError]]]:
        """The companies to read, and those that should be there but that the key does not see (any more)."""
        if (
            self._visible is None or self._visible[0] != now
        ):  # one look for all feeds of a run: the account's quota is small
            self._visible = now, self._companies()
        visible = self._visible[1]
        wanted = list(self.options.company_ids) or [
            company for company, status in visible.items() if status == "active"
        ]
        expected = self.options.company_ids or list(known)
        lost: list[tuple[str, ConnectorError]] = [
            (
                company,
                NoAccess(
                    "the API key does not see this company.",
                    connection=self.connection,
                    fix="Give the key's user access to it in CallRail, or set company_ids to the companies that remain.",
                ),
            )
            for company in expected
            if company not in visible
        ]
        if not wanted and not lost:
            raise CredentialError(
                "the API key sees no active company.",
                connection=self.connection,
                fix="Give the key's user access to the client's company in CallRail, then run `leadtrail check`.",
            )
        return [company for company in wanted if company in visible], lost

    def _partial(self, feed: str, failures: Sequence[tuple[str, ConnectorError]]) -> ConnectorError:
        """One error for what could not be read; everything else was handed over."""
        what = "; ".join(f"{part}: {error.what}" for part, error in failures[:5])
        more = f" (and {len(failures) - 5} more)" if len(failures) > 5 else ""
        worst: type[ConnectorError] = ProviderDown
        for kind, as_kind in (
            (ConfigError, ConfigError),
            (CredentialError, CredentialError),
            (ContractError, ContractChanged),
        ):
            if any(isinstance(error, kind) for _, error in failures):
                worst = as_kind
        fixes = dict.fromkeys(error.fix for _, error in failures)
        return worst(f"{feed} were read only in part. {what}{more}", connection=self.connection, fix=" ".join(fixes))

    def _check_options(self) -> None:
        bad = [
            name
            for name, prefix, value in (
                ("account_id", "ACC", self.options.account_id),
                *(("company_ids", "COM", company) for company in self.options.company_ids),
            )
            if not re.fullmatch(prefix + "[A-Za-z0-9]+", value)
        ]
        if bad:
            raise ConfigError(
                f"{' and '.join(sorted(set(bad)))} does not look like a CallRail id.",
                connection=self.connection,
                fix="An account id starts with ACC and a company id with COM; copy them from CallRail's address bar.",
            )

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        verify(request, self.options.signing_key, self.connection)
        return Accepted(body_key(request.body), said=said(request, self.options.company_ids))

    def receive(self, request: WebhookRequest) -> Received:
        return read_event(request, self.options.company_ids)
