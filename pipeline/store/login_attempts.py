"""Guessing passwords is slow: attempts are counted by account and by where they come from, both as keyed hashes.

Nobody can lock others out. Wrong guesses from one address stop that address: for this account soon, for all accounts later.
Wrong guesses at one account from many addresses stop addresses that never signed in to it, not the ones its owner uses.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from pipeline.store.engine import stamp
from pipeline.store.schema import login_attempts

WINDOW = timedelta(minutes=15)
AT_ONE_ACCOUNT = 5  # wrong ones from one address, since it was last right
FROM_ONE_ADDRESS = 30  # wrong ones at any accounts
FROM_ANYWHERE = 50  # wrong ones at one account; more than a forgetful person makes on three devices
KNOWN_FOR = timedelta(days=30)


@dataclass(frozen=True)
class Attempt:
    """`wait` > 0: refused without looking at the password."""

    attempt_id: int
    wait: timedelta = timedelta(0)


class Throttle:
    """`key` is secret: whoever reads the table learns neither accounts nor addresses."""

    def __init__(self, key: bytes, realm: str) -> None:
        self._key, self._realm = key, realm

    def begin(self, connection: Connection, account: str, address: str, now: datetime) -> Attempt:
        """Count an attempt before the password is looked at, so that many at once are many. In a transaction of its own."""
        who, where = self._hash("account", account.strip().lower()), self._hash("address", address)
        connection.execute(delete(login_attempts).where(login_attempts.c.at < stamp(now - KNOWN_FOR)))
        wait = self._wait(connection, who, where, now)
        row = {"at": stamp(now), "realm": self._realm, "account": who, "address": where}
        row["outcome"] = "throttled" if wait else "wrong"
        made = connection.execute(insert(login_attempts).returning(login_attempts.c.id), row).scalar_one()
        return Attempt(made, wait)

    def right(self, connection: Connection, attempt: Attempt) -> None:
        """The password was right."""
        where = login_attempts.c.id == attempt.attempt_id
        connection.execute(update(login_attempts).where(where).values(outcome="ok"))

    def _wait(self, connection: Connection, who: str, where: str, now: datetime) -> timedelta:
        account, address = login_attempts.c.account == who, login_attempts.c.address == where
        since = connection.execute(
            select(func.max(login_attempts.c.at)).where(self._mine, account, address, login_attempts.c.outcome == "ok")
        ).scalar()
        limits = [((account, address), AT_ONE_ACCOUNT, since)]
        if since is None:  # an address from which they signed in lately is not held up by what others do
            limits += [((address,), FROM_ONE_ADDRESS, None), ((account,), FROM_ANYWHERE, None)]
        return max((self._until(connection, *limit, now) for limit in limits), default=now) - now

    def _until(
        self,
        connection: Connection,
        where: tuple[ColumnElement[bool], ...],
        most: int,
        since: str | None,
        now: datetime,
    ) -> datetime:
        """When fewer than `most` wrong ones will lie within the window."""
        after = max(stamp(now - WINDOW), since or "")
        query = (
            select(login_attempts.c.at)
            .where(self._mine, *where, login_attempts.c.outcome == "wrong", login_attempts.c.at > after)
            .order_by(login_attempts.c.at.desc())
            .offset(most - 1)
            .limit(1)
        )
        at = connection.execute(query).scalar()
        return max(datetime.fromisoformat(at) + WINDOW, now) if at else now

    @property
    def _mine(self) -> ColumnElement[bool]:
        return login_attempts.c.realm == self._realm

    def _hash(self, kind: str, value: str) -> str:
        return hmac.new(self._key, f"{kind}\n{value}".encode(), hashlib.sha256).hexdigest()
