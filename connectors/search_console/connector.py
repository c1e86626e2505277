"""Which days to read, and how far we are.

The last days are provisional and may grow, shrink or vanish. They are read and marked, and read again from some days before
the last final one; the cursor never passes a provisional day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

import msgspec

from connectors.base import (
    ConfigError,
    Connector,
    ConnectorError,
    ContractError,
    Cursor,
    Health,
    Page,
    RateLimited,
    Secret,
    Stream,
    TransientError,
)
from connectors.search_console.partitions import ONE_DAY, PACIFIC, Day, read_days, spans_of
from connectors.search_console.property import REPORTS, SITES, Property
from connectors.search_console.sign_in import GoogleToken, Grant, ServiceAccount, SignInError, UserConsent

SCOPE = "https://www.googleapis.com/auth/webmasters.readonly"
UNSET = Secret("")


@dataclass(frozen=True)
class SearchConsoleOptions:
    """`site_urls` exactly as Search Console shows them: `sc-domain:example.com` or `https://www.example.com/`.

    Sign in with a service account, or with `client_id`, `client_secret` and `refresh_token` of a user's consent.
    """

    site_urls: tuple[str, ...]
    service_account: Secret = UNSET
    client_id: Secret = UNSET
    client_secret: Secret = UNSET
    refresh_token: Secret = UNSET
    history_days: int = 480  # Google keeps about 16 months
    lookback_days: int = 5
    calls_per_minute: int = 1200  # Google's quota for one property
    base_url: str = "https://searchconsole.googleapis.com"
    token_url: str = ""  # empty: the `token_uri` of the key, else Google's


class _Site(msgspec.Struct):
    url: str = msgspec.field(name="siteUrl")
    level: str = msgspec.field(default="", name="permissionLevel")


class _Sites(msgspec.Struct):
    entries: list[_Site] = msgspec.field(default_factory=list, name="siteEntry")


class SearchConsole(Connector):
    provider = "search_console"
    title = "Google Search Console"
    streams = (
        Stream("by_date", "Clicks and impressions of a site per day: the only true totals.", feed="performance"),
        Stream("by_page", "Clicks and impressions per day and landing page.", feed="performance"),
        Stream(
            "by_query", "Clicks and impressions per day and search term; rare terms are withheld.", feed="performance"
        ),
        Stream("by_device", "Clicks and impressions per day and kind of device.", feed="performance"),
        Stream("by_country", "Clicks and impressions per day and country of the searcher.", feed="performance"),
    )
    Options: ClassVar[type] = SearchConsoleOptions
    cron = "30 9 * * *"

    def __init__(self, options: SearchConsoleOptions, **rest: Any) -> None:
        super().__init__(options, **rest)
        self._token: GoogleToken | None = None

    # ---- calls ----

    def _account(self, site: str) -> Property:
        if self._token is None:
            self._token = GoogleToken(self.http, self._grant(), connection=self.connection)
        return Property(
            self.http,
            site,
            connection=self.connection,
            token=self._token,
            base_url=self.options.base_url,
            calls_per_minute=self.options.calls_per_minute,
        )

    def _grant(self) -> Grant:
        options: SearchConsoleOptions = self.options
        if options.service_account:
            return ServiceAccount(
                options.service_account, scope=SCOPE, connection=self.connection, token_url=options.token_url
            )
        if options.client_id and options.client_secret and options.refresh_token:
            return UserConsent(
                client_id=options.client_id,
                client_secret=options.client_secret,
                refresh_token=options.refresh_token,
                token_url=options.token_url,
            )
        raise ConfigError(
            "no way to sign in to Google is configured.",
            connection=self.connection,
            fix="Set `service_account`, or `client_id`, `client_secret` and `refresh_token`.",
        )

    # ---- check ----

    def check(self) -> Health:
        try:
            listed = self._account("").get(SITES, _Sites).entries
        except ConnectorError as error:
            return Health(False, error.what, error.fix)
        levels = {site.url: site.level for site in listed}
        wrong = [problem for site in self.options.site_urls if (problem := _problem(site, levels))]
        details = {"properties": {site: levels.get(site, "") for site in self.options.site_urls}}
        if wrong:
            fix = f"Add {self._who()} as a user there, or correct `site_urls`; then run `leadtrail check`."
            return Health(False, " ".join(wrong), fix, details)
        return Health(
            True, f"{len(self.options.site_urls)} of {len(levels)} readable properties are synced.", "", details
        )

    def _who(self) -> str:
        return self._token.grant.who if self._token else ""

    # ---- pull ----

    def pull(self, feed: str, cursor: Cursor | None, *, now: datetime) -> Iterator[Page]:
        """Per property: the days since the last final one, oldest first; then what is left of the history, newest first.

        The cursor says for each property that all days from `backfilled_to` to `final_through` are stored as final.
        """
        cursor, failures = dict(cursor or {}), []
        today = now.astimezone(PACIFIC).date()
        for site in self.options.site_urls:
            try:
                for day, state in self._site(site, cursor.get(site), today):
                    if state:
                        cursor = {**cursor, site: state}
                    for stream, record in day.records[:-1]:
                        yield Page(stream, [record])
                    stream, record = day.records[-1]
                    yield Page(stream, [record], cursor if state else None)
            except SignInError:
                raise  # the same for every property: do not knock again
            except ConnectorError as error:
                failures.append(error)
        if failures:
            raise _together(failures, self.connection)

    def _site(
        self, site: str, state: dict[str, str] | None, today: date
    ) -> Iterator[tuple[Day, dict[str, str] | None]]:
        account, options = self._account(site), self.options
        yesterday, oldest = today - ONE_DAY, today - timedelta(options.history_days)
        final, reached = None, today
        if state:
            final, reached = date.fromisoformat(state["final_through"]), date.fromisoformat(state["backfilled_to"])
            for first, last in spans_of(max(oldest, final - timedelta(options.lookback_days)), yesterday):
                for day in read_days(account, first, last, today=today, newest_first=False):
                    final = max(final, day.date) if day.final else final
                    yield day, _state(final, reached)
        for first, last in reversed(spans_of(oldest, reached - ONE_DAY)):
            for day in read_days(account, first, last, today=today, newest_first=True):
                if final is None and day.final:
                    final = day.date
                yield day, _state(final, day.date) if final else None

    def refetch(self, stream: str, record_ids: Sequence[str], *, now: datetime) -> Iterator[Page]:
        """Read named partitions again: Google now and then corrects days that were final."""
        report = next(report for report in REPORTS if report.stream == stream)
        today = now.astimezone(PACIFIC).date()
        for record_id in record_ids:
            site, _, day_text = record_id.rsplit("|", 2)
            day = date.fromisoformat(day_text)
            account = self._account(site)
            for found in read_days(account, day, day, today=today, newest_first=False, reports=(report,)):
                yield Page(stream, [record for _, record in found.records])


def _state(final: date, reached: date) -> dict[str, str]:
    return {"final_through": final.isoformat(), "backfilled_to": reached.isoformat()}


def _problem(site: str, levels: dict[str, str]) -> str:
    """What keeps a configured property from being read; "" if nothing."""
    if site in levels:
        return f"{site} is not verified for this account." if levels[site] == "siteUnverifiedUser" else ""
    alike = next((other for other in levels if _host(other) == _host(site)), None)
    return f"{site} is not among the properties of this account" + (f"; did you mean {alike}?" if alike else ".")


def _host(site: str) -> str:
    """What a domain property and the four URL forms of one site have in common."""
    bare = site.lower().removeprefix("sc-domain:").removeprefix("https://").removeprefix("http://")
    return bare.removeprefix("www.").rstrip("/")


def _together(failures: list[ConnectorError], connection: str) -> ConnectorError:
    """One error for all properties that failed; of several kinds, the one that needs a person first."""
    if len(failures) == 1 or all(isinstance(failure, RateLimited) for failure in failures):
        return failures[0]
    kinds = (ConfigError, ContractError, TransientError)
    kind = next(kind for kind in kinds if any(isinstance(failure, kind) for failure in failures))
    fixes = dict.fromkeys(failure.fix for failure in failures)
    return kind(" ".join(failure.what for failure in failures), connection=connection, fix=" ".join(fixes))
