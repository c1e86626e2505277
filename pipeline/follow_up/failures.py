"""What follows when a provider did not take an output: whose problem it is, and who is told.

the person said stop              suppressed; nothing more goes to that address
the address cannot be reached     the lead's owner is asked to call
our sender may not send           the client's channel is on hold, the lead waits
it was taken for spam             the channel is on hold, a person looks at the words
a task the CRM will not take      goes to the desk
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from connectors.base import ConfigError, ConnectorError, CredentialError, ProviderDown, RateLimited, TransientError
from connectors.delivery import Reason, Unconfirmable, Unconfirmed, Undeliverable
from pipeline.clients import ClientConfig
from pipeline.crash_points import crash_here
from pipeline.follow_up.holding import CARRIERS, to_the_desk
from pipeline.follow_up.published import Published
from pipeline.follow_up.refusals import ask_owner
from pipeline.store import incidents
from pipeline.store.held import move
from pipeline.store.holds import Cause, Hold, open_hold
from pipeline.store.outputs import Claimed, failed, retry, unknown
from pipeline.store.suppressions import suppress

Row = Mapping[str, Any]

ONE_MORE_TRY = timedelta(minutes=30)
ON_HOLD_SOON = timedelta(minutes=5)  # by then the hold is what stops it
A_PERSON_DECIDES = timedelta(days=365)  # nobody asks the provider again: it cannot tell


@dataclass(frozen=True)
class Aftermath:
    """What to do about failures; one for a delivery run."""

    engine: Engine
    published: Published
    clients: Mapping[str, ClientConfig]

    def of_sending(self, claimed: Claimed, error: Exception, now: datetime) -> str:
        """An output's provider raised this. Returns the output's new status."""
        row = claimed.row
        if isinstance(error, Unconfirmed):
            unknown(self.engine, claimed, error.what, now, ask_at=error.ask_at)
            return "unknown"
        if isinstance(error, Unconfirmable):
            unknown(self.engine, claimed, error.what, now, ask_at=now)
            return "unknown"
        if isinstance(error, Undeliverable):
            return self._refused(claimed, error, now)
        if isinstance(error, CredentialError):
            status = retry(self.engine, claimed, "credential", str(error), now, after=ON_HOLD_SOON)
            self._hold(row, CARRIERS[row["channel"]][0], "credential", error, now)
            return status
        if isinstance(error, ConfigError):
            self._incident(row, "config", error, now)
            return retry(self.engine, claimed, "config", str(error), now, after=ON_HOLD_SOON)
        if isinstance(error, RateLimited):
            wait = max(error.retry_at - now, timedelta(seconds=1)) if error.retry_at else None
            return self._again(claimed, "rate_limited", error, now, wait)
        if isinstance(error, TransientError) and not (isinstance(error, ProviderDown) and error.maybe_done):
            return self._again(claimed, "provider_down", error, now, None)
        # its answer was not understood: it may have been taken
        self._incident(row, "not-understood", error, now)
        unknown(self.engine, claimed, _words(error), now)
        return "unknown"

    def not_made(self, claimed: Claimed, error: Exception, now: datetime) -> str:
        """The connection cannot even be used: nothing was sent."""
        if isinstance(error, CredentialError | TransientError):
            return self.of_sending(claimed, error, now)
        self._incident(claimed.row, "config", error, now)
        return retry(self.engine, claimed, "config", _words(error), now, after=ON_HOLD_SOON)

    def cannot_be_told(self, row: Row, error: Unconfirmable, now: datetime) -> None:
        """Nobody will ever know whether it arrived, unless a person looks."""
        action = f"{error.fix} Then: leadtrail outputs resolve {row['output_id']} --sent (or --not-sent)."
        self._ask(row, "unconfirmable", error.what, action, now)

    def undelivered(self, connection: Connection, row: Row, error: Undeliverable, now: datetime) -> None:
        """The provider says that it did not arrive, in the transaction that writes that down."""
        action = _FOLLOWS.get(error.reason)
        if action:
            action(self, connection, row, error, now)
        if row["channel"] in CARRIERS and row["output_type"] == "task":
            self._to_the_desk(connection, row, error, now)
        elif error.reason not in ("opted_out", "sender", "superseded"):
            self._ask_in(connection, row, error.reason, error.what, error.fix, now)

    # ---- inside ----

    def _refused(self, claimed: Claimed, error: Undeliverable, now: datetime) -> str:
        if error.reason == "sender" and claimed.row["output_type"] == "message":
            cause: Cause = "compliance" if claimed.row["channel"] == "text" else "delivery"
            status = retry(self.engine, claimed, "sender", error.what, now, after=ON_HOLD_SOON)
            self._hold(claimed.row, claimed.row["channel"], cause, error, now)
            return status
        if error.reason == "unreachable" and claimed.attempts == 1:
            return self._again(claimed, "unreachable", error, now, ONE_MORE_TRY)

        def follows(connection: Connection) -> None:
            self.undelivered(connection, claimed.row, error, now)
            crash_here("deliver: refused")

        failed(self.engine, claimed, error.reason, error.what, now, then=follows)
        return "failed"

    def _again(self, claimed: Claimed, code: str, error: ConnectorError, now: datetime, after: timedelta | None) -> str:

        def too_late(connection: Connection) -> None:  # somebody must know
            if claimed.row["output_type"] == "task":
                self._to_the_desk(connection, claimed.row, error, now)
            else:
                self._ask_in(connection, claimed.row, code, error.what, "Call or write yourself.", now)

        return retry(self.engine, claimed, code, error.what, now, after=after, in_the_end=too_late)

    def _suppress(self, connection: Connection, row: Row, error: Undeliverable, now: datetime) -> None:
        channel: Any = row["channel"]
        suppress(
            connection,
            row["client_id"],
            row["recipient"],
            channel,
            cause="provider",
            evidence=f"output {row['output_id']}: {error.code or error.reason}",
            now=now,
        )

    def _spam(self, connection: Connection, row: Row, error: Undeliverable, now: datetime) -> None:
        self._hold_in(connection, row, row["channel"], "delivery", error, now)

    def _to_the_desk(self, connection: Connection, row: Row, error: ConnectorError, now: datetime) -> None:
        """A task that cannot be in the CRM is still somebody's task, with its time and its escalations."""
        move(connection, row, "desk_task", f"It could not be put into the CRM: {error.what}", now)

    def _hold(self, row: Row, scope: str, cause: Cause, error: ConnectorError, now: datetime) -> None:
        with self.engine.begin() as connection:
            self._hold_in(connection, row, scope, cause, error, now)
            to_the_desk(connection, now)

    def _hold_in(
        self, connection: Connection, row: Row, scope: str, cause: Cause, error: ConnectorError, now: datetime
    ) -> None:
        owner = self.clients[row["client_id"]].owner
        open_hold(connection, Hold(row["client_id"], scope, cause, error.what, owner, error.fix), now)

    def _incident(self, row: Row, cause: str, error: Exception, now: datetime) -> None:
        with self.engine.begin() as connection:
            incidents.report(
                connection,
                f"delivery|{row['channel']}|{cause}",
                client_id=row["client_id"],
                title=f"{row['channel']} of {row['client_id']} cannot be delivered",
                evidence=_words(error),
                owner=self.clients[row["client_id"]].owner,
                recovery_rule="Mend that; what is still true is then sent by itself.",
                now=now,
            )

    def _ask(self, row: Row, code: str, reason: str, action: str, now: datetime) -> None:
        with self.engine.begin() as connection:
            self._ask_in(connection, row, code, reason, action, now)

    def _ask_in(self, connection: Connection, row: Row, code: str, reason: str, action: str, now: datetime) -> None:
        client = self.clients[row["client_id"]]
        ask_owner(connection, self.published, client, row, code, reason, action, now)


_FOLLOWS: dict[Reason, Callable[[Aftermath, Connection, Row, Undeliverable, datetime], None]] = {
    "opted_out": Aftermath._suppress,
    "filtered": Aftermath._spam,
}


def _words(error: Exception) -> str:
    """An error of our own says something fit to be read; of any other only its kind is known to hold nothing personal."""
    return str(error) if isinstance(error, ConnectorError) else type(error).__name__
