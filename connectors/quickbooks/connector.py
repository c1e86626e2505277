"""QuickBooks Online: customers, estimates, invoices and the money that came in for them.

    POST token_url                                a one-hour access token; the refresh token rotates
    GET  /v3/company/{realm}/query?query=SELECT   complete listings, in order of LastUpdatedTime
    GET  /v3/company/{realm}/cdc?changedSince=    every change and delete of the last 30 days, all entities at once
    GET  /v3/company/{realm}/{entity}/{id}        one record; code 610 says that it is gone

One feed serves all streams. First every entity is listed; from then on one call of change data capture an hour tells
of everything (reads are metered: seven queries each time would cost seven times as much). A listing starts again
wherever capture may have missed a delete: after 29 days without success, when an answer is full (1000 objects, and it
has no second page), or when the weekly count differs from the ids we know.

Listings go by key, not by offset: a row that is edited meanwhile moves to the end and would push others past an offset.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from connectors.base import (
    Accepted,
    Connector,
    ConnectorError,
    ContractChanged,
    ContractError,
    Cursor,
    Health,
    Page,
    ProviderDown,
    RateLimited,
    Received,
    Record,
    Rejected,
    Secret,
    Stream,
    WebhookRequest,
)
from connectors.http import Http, Limit
from connectors.oauth import MemoryVault, RotatingToken, TokenVault
from connectors.quickbooks import webhooks
from connectors.quickbooks.company import CAPTURE_LIMIT, IDS_PER_QUERY, PAGE, Company
from connectors.quickbooks.progress import Listing, Progress, Table
from connectors.quickbooks.token import TokenEndpoint
from connectors.quickbooks.wire import ENTITIES, STREAMS, QuickBooksAccount, Row, literal

IDLE = timedelta(days=1)  # a company without changes must not drift out of capture's 30 days
SLOW_FROM = 0.9  # of the monthly budget: from here on one poll a day
SLOW = timedelta(days=1)
MOST_LEFT_OUT = 10  # rows of one listing that QuickBooks fails on, before we take it for an outage
UNSET = Secret("")


@dataclass(frozen=True)
class QuickBooksOptions:
    """`webhook_token` is the app's verifier token. `monthly_call_budget` is this connection's share of the app's
    metered reads (0: unlimited)."""

    realm_id: str
    client_id: str
    client_secret: Secret
    refresh_token: Secret
    webhook_token: Secret = UNSET
    monthly_call_budget: int = 0
    base_url: str = "https://quickbooks.api.intuit.com"
    token_url: str = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105


class QuickBooks(Connector):
    """One company of a client."""

    provider: ClassVar[str] = "quickbooks"
    title: ClassVar[str] = "QuickBooks Online"
    cron: ClassVar[str] = "5 * * * *"
    Options: ClassVar[type] = QuickBooksOptions
    streams: ClassVar[tuple[Stream, ...]] = (
        Stream("customers", "People and jobs the client bills, active or not.", feed="changes"),
        Stream("estimates", "Quotes the client wrote, with their status.", feed="changes"),
        Stream("invoices", "Work that was billed, with what is still owed.", feed="changes"),
        Stream("payments", "Money received, and the invoices it was applied to.", feed="changes"),
        Stream("sales_receipts", "Work that was sold and paid at once.", feed="changes"),
        Stream("credit_memos", "Credits that reduce what a customer owes.", feed="changes"),
        Stream("refund_receipts", "Money given back to customers.", feed="changes"),
    )

    def __init__(
        self, options: QuickBooksOptions, *, connection: str, http: Http, vault: TokenVault | None = None
    ) -> None:
        super().__init__(options, connection=connection, http=http, vault=vault)
        endpoint = TokenEndpoint(
            http,
            connection=connection,
            url=options.token_url,
            client_id=options.client_id,
            client_secret=options.client_secret,
        )
        token = RotatingToken(
            connection=connection,
            vault=vault or MemoryVault(),
            configured=options.refresh_token,
            exchange=endpoint.exchange,
            clock=http.clock,
        )
        account = QuickBooksAccount(
            http,
            connection=connection,
            base_url=options.base_url,
            auth=token,
            limits=(Limit(495, 60.0),),  # Intuit's is 500 a minute for one company
            quota_key=f"quickbooks:{options.base_url}:{options.realm_id}",
        )
        self.company = Company(account, options.realm_id)
        self._tallied = 0

    def check(self) -> Health:
        try:
            name = self.company.name()
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        message = f'Reads the company "{name}" in QuickBooks.'
        if not self.options.webhook_token:
            message += " Webhooks are off (no webhook_token): changes arrive with the hourly poll."
        return Health(True, message, details={"company": name, "webhooks": bool(self.options.webhook_token)})

    # ---- webhooks ----

    def accept(self, request: WebhookRequest) -> Accepted:
        return webhooks.accept(request, self.options.webhook_token, self.connection)

    def receive(self, request: WebhookRequest) -> Received:
        return webhooks.receive(request, self.options.realm_id)

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        """The named records; one that QuickBooks no longer has (610) comes as absent."""
        for start in range(0, len(record_ids), IDS_PER_QUERY):
            rows = self.company.read(ENTITIES[stream], record_ids[start : start + IDS_PER_QUERY], now)
            yield Page(stream, [row.record for row in rows])

    # ---- the changes feed ----

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        progress = Progress.read(cursor, ENTITIES.values())
        self._slow_down(progress, now)
        progress.start_over_after_gap(now)
        failed: dict[str, str] = {}
        yield from self._listings(progress, failed, now)
        yield from self._changes(progress, now)
        if progress.count_is_due(now):
            for entity, table in progress.tables.items():
                if table.listing is None and self.company.count(entity) not in (None, len(table.known)):
                    table.list_again()
            progress.counted_at = now
            yield self._saved("customers", (), progress, now)
        yield from self._listings(progress, failed, now)
        if failed:
            names = "; ".join(f"{STREAMS[entity]} ({why})" for entity, why in failed.items())
            raise ContractError(
                f"QuickBooks does not deliver all of {names}. Everything else was read.",
                connection=self.connection,
                fix="A refused list is asked for again each run, a row left out each week; report it if it stays.",
            )

    def _listings(self, progress: Progress, failed: dict[str, str], now: datetime) -> Iterator[Page]:
        for entity, table in progress.tables.items():
            if table.listing and entity not in failed:
                try:
                    left_out = yield from self._list(entity, table, table.listing, progress, now)
                except Rejected as error:
                    failed[entity] = f"code {error.code or error.status}"
                else:
                    if left_out:
                        failed[entity] = f"it fails on {left_out} of the rows"

    def _list(
        self, entity: str, table: Table, listing: Listing, progress: Progress, now: datetime
    ) -> Generator[Page, None, int]:
        """Every row of an entity, oldest change first; then those we knew and did not meet again. Returns how many rows
        had to be left out because QuickBooks fails on them: pages are halved until the bad row is alone."""
        stream, edge, size, left_out = STREAMS[entity], set[bytes](), PAGE, 0
        pages: deque[list[str]] = deque(maxlen=3)
        while True:
            self._stop_at_budget(progress, now)
            try:
                rows, told_at = self.company.query(entity, *_listing_clauses(listing, size))
            except ProviderDown:
                if not self.company.account.system_fault or left_out == MOST_LEFT_OUT:
                    raise
                self.company.count(entity)  # fails too if all of QuickBooks is down, and then this is no bad row
                if size == 1:
                    listing.position, left_out, size = listing.position + 1, left_out + 1, PAGE
                else:
                    size //= 2
                continue
            progress.since = progress.since or told_at or now
            records = [row.record for row in rows]
            listing.ids.add(_ids(records))
            fresh = [record for record in records if bytes(record.payload) not in edge]
            if len(records) < size:
                break
            edge = _advance(listing, records)
            yield self._saved(stream, fresh, progress, now)
            pages.append(_ids(records))
            if pages.count(pages[0]) == pages.maxlen:  # twice is what a full page of one second looks like
                raise self._endless(stream)
        yield Page(stream, fresh)
        unmet = sorted(record_id for record_id in table.known if record_id not in listing.ids)
        for start in range(0, len(unmet), IDS_PER_QUERY):
            rows = self.company.read(entity, unmet[start : start + IDS_PER_QUERY], now)
            listing.ids.add(row.record.record_id for row in rows if not row.is_deleted)
            yield Page(stream, [row.record for row in rows])
        table.known, table.listing = listing.ids, None
        yield self._saved(stream, (), progress, now)
        return left_out

    def _endless(self, stream: str) -> ContractChanged:
        return ContractChanged(
            f"QuickBooks gives the same page of {stream} again and again.",
            connection=self.connection,
            fix="What was read is kept; the next run tries again. Report this if it stays.",
        )

    def _changes(self, progress: Progress, now: datetime) -> Iterator[Page]:
        """What changed since the last poll. A full answer is asked for again entity by entity, and one that is full
        even then makes us list the entity."""
        entities = [entity for entity, table in progress.tables.items() if table.listing is None]
        if not entities:
            return
        since = newest = progress.since or now
        changes, told_at = self.company.capture(entities, since)
        if sum(map(len, changes.values())) >= CAPTURE_LIMIT:
            for entity in entities:
                changes.update(self.company.capture([entity], since)[0])
                if len(changes[entity]) >= CAPTURE_LIMIT:
                    progress.tables[entity].list_again()
        for entity, rows in changes.items():
            if rows:
                yield Page(STREAMS[entity], self._confirmed(entity, progress.tables[entity], rows, now))
            newest = max([newest, *(row.record.updated_at for row in rows if row.record.updated_at)])
        told_at = told_at or now
        # never past QuickBooks' own clock; an idle company follows a day behind it
        progress.since = min(max(newest, told_at - IDLE), told_at)
        progress.polled_at = now
        yield self._saved(STREAMS[entities[0]], (), progress, now)

    def _confirmed(self, entity: str, table: Table, rows: Iterable[Row], now: datetime) -> list[Record]:
        """The records of a capture answer. A delete of a record we know is looked up first: capture has been seen to
        report records as deleted that were only updated (DotNET SDK #189)."""
        kept = []
        for row in rows:
            if row.is_deleted and row.record.record_id in table.known:
                found = self.company.read_one(entity, row.record.record_id, now)
                row = row if found.is_deleted else found
            kept.append(row)
        for row in kept:
            if row.is_deleted:
                table.known.discard(row.record.record_id)
        table.known.add(_ids(row.record for row in kept if not row.is_deleted))
        return [row.record for row in kept]

    # ---- what is remembered ----

    def _saved(self, stream: str, records: Sequence[Record], progress: Progress, now: datetime) -> Page:
        self._tally(progress, now)
        return Page(stream, records, progress.cursor())

    def _tally(self, progress: Progress, now: datetime) -> None:
        """Count the calls since the last tally towards the calendar month."""
        month = now.strftime("%Y-%m")
        if progress.month != month:
            progress.month, progress.calls = month, 0
        calls = self.company.account.calls
        progress.calls, self._tallied = progress.calls + calls - self._tallied, calls

    def _slow_down(self, progress: Progress, now: datetime) -> None:
        """From 90 % of the month's budget on, poll once a day."""
        self._tally(progress, now)
        self._stop_at_budget(progress, now)
        budget = self.options.monthly_call_budget
        if budget and progress.calls >= SLOW_FROM * budget and progress.polled_at and now < progress.polled_at + SLOW:
            raise self._over_budget(progress, "polls are down to one a day", progress.polled_at + SLOW)

    def _stop_at_budget(self, progress: Progress, now: datetime) -> None:
        self._tally(progress, now)
        if 0 < self.options.monthly_call_budget <= progress.calls:
            first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            raise self._over_budget(progress, "polls are stopped", (first + timedelta(days=32)).replace(day=1))

    def _over_budget(self, progress: Progress, consequence: str, retry_at: datetime) -> RateLimited:
        return RateLimited(
            f"{progress.calls} of this month's {self.options.monthly_call_budget} QuickBooks calls are used; {consequence}.",
            connection=self.connection,
            fix="Raise monthly_call_budget if Intuit's plan allows more; else it returns to normal next month.",
            retry_at=retry_at,
        )


def _listing_clauses(listing: Listing, size: int) -> tuple[list[str], str]:
    conditions = [f"MetaData.LastUpdatedTime >= {literal(listing.after)}"] if listing.after else []
    return conditions, f" ORDERBY MetaData.LastUpdatedTime STARTPOSITION {listing.position} MAXRESULTS {size}"


def _advance(listing: Listing, records: Sequence[Record]) -> set[bytes]:
    """Move on to where a full page ended; return what the next page will show again.

    A full page of one and the same second (an import) leaves no later key to go on from, only a position in it.
    """
    last = max((record.updated_at for record in records if record.updated_at), default=None)
    last = last.replace(microsecond=0) if last else listing.after
    if last == listing.after:
        listing.position += len(records)
        return set()
    listing.after, listing.position = last, 1
    return {bytes(record.payload) for record in records if not last or (record.updated_at or last) >= last}


def _ids(records: Iterable[Record]) -> list[str]:
    return [record.record_id for record in records if not record.record_id.startswith("sha256:")]
