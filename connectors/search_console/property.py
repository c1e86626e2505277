"""The report call for one property: what is asked, how its pages end, and what Google's refusals mean.

    POST /webmasters/v3/sites/{site}/searchAnalytics/query

Paging ends with a page without rows; a short page is not the last one. At most 50,000 rows come for one day, the rest is
silently missing. So pages and queries are asked for day by day, while dates, devices and countries, some 250 values a day
at most, are asked for over many days at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from connectors.base import ConnectorError, ContractChanged, CredentialError, RateLimited, Rejected
from connectors.http import Account, Http, Limit, Response, Wait
from connectors.search_console.sign_in import GoogleToken

SITES = "/webmasters/v3/sites"
PAGE_ROWS = 25_000  # the most Google takes for `rowLimit`
MOST_PAGES = 40  # Google gives 50,000 rows of a day; our longest span has some 10,000
QUOTA_PAUSE = 15.0  # seconds; the quota is counted by the minute, so four pauses outlast it
LOAD_PAUSE = timedelta(minutes=15)  # Google's advice for the short-term load quota
QUOTA_REASONS = ("quotaExceeded", "rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded")


@dataclass(frozen=True)
class Report:
    """One grouping of the figures. `by_span`: so few values a day that many days fit one answer."""

    stream: str
    dimension: str
    aggregation: str = "byProperty"
    by_span: bool = True

    def __post_init__(self) -> None:
        if self.dimension == "page" and self.aggregation == "byProperty":
            raise ValueError("Google refuses to group by page and count by property at once")

    @property
    def dimensions(self) -> tuple[str, ...]:
        if self.dimension == "date":
            return ("date",)
        return ("date", self.dimension) if self.by_span else (self.dimension,)


TOTALS = Report("by_date", "date")
REPORTS = (
    TOTALS,
    Report("by_device", "device"),
    Report("by_country", "country"),
    Report("by_page", "page", aggregation="byPage", by_span=False),
    Report("by_query", "query", by_span=False),
)


class _Metadata(msgspec.Struct):
    """Present if the range holds days that may still change. Google's reference and its wire differ in spelling."""

    camel: date | None = msgspec.field(default=None, name="firstIncompleteDate")
    snake: date | None = msgspec.field(default=None, name="first_incomplete_date")


class Answer(msgspec.Struct):
    rows: list[msgspec.Raw] = []
    aggregation: str = msgspec.field(default="", name="responseAggregationType")
    metadata: _Metadata | None = None


class _Row(msgspec.Struct):
    keys: list[Any] = []


class _Reason(msgspec.Struct):
    reason: str = ""


class _Failure(msgspec.Struct):
    message: str = ""
    errors: list[_Reason] = []


class _Failed(msgspec.Struct):
    error: _Failure


class Property(Account):
    """Calls about one property: it has its own quota, and its own ways to be refused."""

    def __init__(
        self, http: Http, site: str, *, connection: str, token: GoogleToken, base_url: str, calls_per_minute: int
    ) -> None:
        super().__init__(
            http,
            connection=connection,
            base_url=base_url,
            auth=token,
            limits=(Limit(calls_per_minute, 60.0),),
            quota_key=f"search_console:{base_url}:{site}",
        )
        self.site, self._who = site, token.grant.who
        self._path = f"{SITES}/{quote(site, safe='')}/searchAnalytics/query"

    def answers(self, report: Report, first: date, last: date) -> Iterator[tuple[msgspec.Raw, Answer]]:
        """Every page of a report, the last one being without rows."""
        asked = {
            "startDate": first,
            "endDate": last,
            "dimensions": report.dimensions,
            "type": "web",
            "aggregationType": report.aggregation,
            "dataState": "all",
            "rowLimit": PAGE_ROWS,
        }
        start, before, repeats = 0, b"", 0
        while True:
            body = self.post(self._path, msgspec.Raw, json={**asked, "startRow": start})
            answer = self._read(body)
            yield body, answer
            if not answer.rows:
                return
            repeats = repeats + 1 if bytes(body) == before else 0
            if repeats == 2:
                raise self._changed("keeps giving the same page")
            start, before = start + PAGE_ROWS, bytes(body)
            if start == MOST_PAGES * PAGE_ROWS:
                raise self._changed("gives rows without end")

    def _read(self, body: msgspec.Raw) -> Answer:
        try:
            return msgspec.json.decode(body, type=Answer)
        except msgspec.ValidationError as error:
            raise self._changed(f"answers in a new shape ({error})") from None

    def day_of(self, row: msgspec.Raw) -> date:
        try:
            return date.fromisoformat(msgspec.json.decode(row, type=_Row).keys[0])
        except (msgspec.ValidationError, IndexError, TypeError, ValueError):
            raise self._changed("gives rows without the day they were asked by") from None

    def _changed(self, what: str) -> ContractChanged:
        return ContractChanged(
            f"Search Console {what} for {self.site}.",
            connection=self.connection,
            fix="Nothing of it was stored and the cursor did not move; the connector needs a change.",
        )

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        if response.status not in (400, 403):
            return super().judge(response)
        try:
            failure = msgspec.json.decode(response.body, type=_Failed).error
        except msgspec.DecodeError:
            failure = _Failure()
        reason = failure.errors[0].reason if failure.errors else ""
        if response.status == 400:
            return self._rejected(reason)
        if reason in QUOTA_REASONS:
            return self._quota(failure.message)
        return self._forbidden(reason)

    def _rejected(self, reason: str) -> Rejected:
        return Rejected(
            f"Search Console takes a request about {self.site} for wrong (400 {reason}).",
            connection=self.connection,
            fix="Nothing was changed; run `leadtrail doctor` and report this if it stays.",
            status=400,
            code=reason,
        )

    def _quota(self, message: str) -> Wait | RateLimited:
        """Google names the quota in the message alone: `QPS` is over in a minute, `load` is not."""
        if "load quota" not in message:
            return Wait("too many requests (403 quota)", QUOTA_PAUSE)
        return RateLimited(
            f"the load quota of {self.site} is used up.",
            connection=self.connection,
            fix="The next scheduled run goes on from the same place; no action is needed unless it repeats.",
            retry_at=self.http.clock.now() + LOAD_PAUSE,
        )

    def _forbidden(self, reason: str) -> CredentialError:
        if reason == "accessNotConfigured":
            return CredentialError(
                "the Search Console API is switched off in the Google Cloud project of this credential.",
                connection=self.connection,
                fix="Enable it there, wait a few minutes, then run `leadtrail check`.",
            )
        return CredentialError(
            f"{self._who} may not read {self.site or 'the list of properties'} (403 {reason or 'without a reason'}).",
            connection=self.connection,
            fix="Add it as a user of that property in Search Console, or correct `site_urls`; then run `leadtrail check`.",
        )
