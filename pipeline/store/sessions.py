"""Who is signed in: a random token in their browser, its hash here. What ends here has ended: the next request is refused.

The desk and the portal are two realms: a token of one is nothing in the other.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from pipeline.store import audit
from pipeline.store.accounts import STAFF, Account, Role, account_of
from pipeline.store.engine import stamp
from pipeline.store.schema import login_links, sessions

LINK_LIFETIME = timedelta(minutes=20)
_NOTE_EVERY = timedelta(minutes=1)  # when it was last used is written down no more often: pages are read, not written


@dataclass(frozen=True)
class Realm:
    """`idle`: how long nothing may come; `lifetime`: how long it may last at most."""

    name: str
    roles: tuple[Role, ...]
    idle: timedelta
    lifetime: timedelta


DESK = Realm("desk", STAFF, timedelta(hours=2), timedelta(hours=12))
PORTAL = Realm("portal", ("client",), timedelta(days=1), timedelta(days=14))


@dataclass(frozen=True)
class Session:
    account: Account
    csrf: str  # stands in every form
    token_hash: str
    last_seen_at: str


def start(connection: Connection, account: Account, realm: Realm, now: datetime) -> str:
    """Sign in, in the caller's transaction: always a new token. Returns it; it is kept nowhere."""
    if account.disabled_at or account.role not in realm.roles:
        raise PermissionError(f"an account of role {account.role} has no session on the {realm.name}")
    connection.execute(delete(sessions).where(sessions.c.expires_at <= stamp(now)))
    token = secrets.token_urlsafe(32)
    row = {
        "token_hash": _hash(token),
        "realm": realm.name,
        "account_id": account.account_id,
        "csrf": secrets.token_urlsafe(32),
        "created_at": stamp(now),
        "last_seen_at": stamp(now),
        "expires_at": stamp(now + realm.lifetime),
    }
    connection.execute(insert(sessions), row)
    audit.note(connection, account.email, "account.signed_in", realm.name, {}, now)
    return token


def find(connection: Connection, token: str, realm: Realm, now: datetime) -> Session | None:
    """Whose token this is, if they are still signed in."""
    query = select(sessions).where(
        sessions.c.token_hash == _hash(token),
        sessions.c.realm == realm.name,
        sessions.c.expires_at > stamp(now),
        sessions.c.last_seen_at > stamp(now - realm.idle),
    )
    row = connection.execute(query).mappings().first()
    account = account_of(connection, row["account_id"]) if row else None
    if row is None or account is None or account.disabled_at or account.role not in realm.roles:
        return None
    return Session(account, row["csrf"], row["token_hash"], row["last_seen_at"])


def is_stale(session: Session, now: datetime) -> bool:
    """Whether `seen` should be called for it."""
    return session.last_seen_at <= stamp(now - _NOTE_EVERY)


def seen(connection: Connection, session: Session, now: datetime) -> None:
    """It was used just now."""
    where = sessions.c.token_hash == session.token_hash
    connection.execute(update(sessions).where(where).values(last_seen_at=stamp(now)))


def end(connection: Connection, session: Session, now: datetime) -> None:
    """Sign out."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == session.token_hash))
    audit.note(connection, session.account.email, "account.signed_out", "", {}, now)


# ---- links that sign a client in ----


def make_login_link(
    connection: Connection, account: Account, now: datetime, *, lifetime: timedelta = LINK_LIFETIME
) -> str:
    """The token of a link that signs this client in to the portal, once. Returns it; it is kept nowhere. An earlier link that
    nobody used goes on working until it expires: mails arrive in any order."""
    row = {
        "token_hash": _hash(token := secrets.token_urlsafe(32)),
        "account_id": account.account_id,
        "created_at": stamp(now),
        "expires_at": stamp(now + lifetime),
        "used_at": None,
    }
    connection.execute(delete(login_links).where(login_links.c.expires_at <= stamp(now - timedelta(days=1))))
    connection.execute(insert(login_links), row)
    return token


def use_login_link(connection: Connection, token: str, now: datetime, realm: Realm = PORTAL) -> str | None:
    """Sign in with a link, in the caller's transaction. Returns the token of the session, or None if the link was used before, is
    too old or was never made. Call it for a POST only: mail filters open every link."""
    where = (
        login_links.c.token_hash == _hash(token),
        login_links.c.used_at.is_(None),
        login_links.c.expires_at > stamp(now),
    )
    claimed = update(login_links).where(*where).values(used_at=stamp(now)).returning(login_links.c.account_id)
    account_id = connection.execute(claimed).scalar()
    account = account_of(connection, account_id) if account_id else None
    if account is None or account.disabled_at or account.role not in realm.roles:
        return None
    return start(connection, account, realm, now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
