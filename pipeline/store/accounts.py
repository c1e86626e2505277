"""Who may sign in, as what, and whose data they may see.

Staff (admin, client_success, analyst) use the desk; role client uses the portal and sees one client. Whatever takes something
away from an account (disabling it, another role or other clients, another password) ends its sessions in the same transaction.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Engine, delete, select, update

from pipeline.store import audit
from pipeline.store.engine import add, stamp
from pipeline.store.schema import accounts, login_links, sessions

Role = Literal["admin", "client_success", "analyst", "client"]
ROLES: tuple[Role, ...] = get_args(Role)
STAFF: tuple[Role, ...] = ("admin", "client_success", "analyst")
EVERY_CLIENT = "*"
SHORTEST, LONGEST = 12, 256  # of a password; a longer one is only a way to keep us busy
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[a-z0-9.-]{1,190}")
_hasher = PasswordHasher()  # argon2id, with the cost that RFC 9106 asks for
_NOBODYS = _hasher.hash(uuid.uuid4().hex)  # checked where there is no account, so that both take as long


class AccountProblem(Exception):
    """The account cannot be made or changed so. Nothing was changed; the message says what to do."""


@dataclass(frozen=True)
class Account:
    account_id: str
    email: str
    name: str
    role: Role
    clients: frozenset[str]  # ids, or EVERY_CLIENT
    has_password: bool
    created_at: str
    created_by: str
    disabled_at: str | None

    @property
    def is_staff(self) -> bool:
        return self.role in STAFF


def add_account(
    connection: Connection,
    email: str,
    *,
    name: str,
    role: str,
    clients: Collection[str],
    by: str,
    now: datetime,
    password: str | None = None,
) -> Account:
    """Make an account, in the caller's transaction. Without a password it signs in elsewhere (OpenID Connect) or by link."""
    email = normal_email(email)
    checked, seen = _checked(role, clients)
    row = {
        "account_id": uuid.uuid4().hex,
        "email": email,
        "name": name.strip() or email,
        "role": checked,
        "clients": json.dumps(sorted(seen)),
        "password_hash": None if password is None else _hashed(password),
        "created_at": stamp(now),
        "created_by": by,
        "disabled_at": None,
    }
    if not add(connection, accounts, row):
        raise AccountProblem(f"{email} has an account already. `leadtrail accounts list` shows it.")
    audit.note(connection, by, "account.added", email, {"role": role, "clients": sorted(seen)}, now)
    return _made(row)


def all_accounts(connection: Connection) -> list[Account]:
    rows = connection.execute(select(accounts).order_by(accounts.c.role, accounts.c.email)).mappings()
    return [_made(row) for row in rows]


def find_account(connection: Connection, email: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.email == email.strip().lower())).mappings().first()
    return _made(row) if row else None


def the_account(connection: Connection, email: str) -> Account:
    """Raises AccountProblem if there is none."""
    found = find_account(connection, email)
    if found is None:
        raise AccountProblem(f"There is no account {email}. `leadtrail accounts list` shows those there are.")
    return found


def account_of(connection: Connection, account_id: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.account_id == account_id)).mappings().first()
    return _made(row) if row else None


def password_is(engine: Engine, email: str, password: str) -> Account | None:
    """The account that may sign in with this, or None. Takes as long for an account that does not exist, and holds up nobody: the
    password is looked at outside of any transaction."""
    query = select(accounts).where(accounts.c.email == email.strip().lower())
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    kept = row["password_hash"] if row and row["password_hash"] else _NOBODYS
    try:
        _hasher.verify(kept, password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return None
    return None if row is None or kept == _NOBODYS or row["disabled_at"] else _made(row)


def set_password(connection: Connection, email: str, password: str, *, by: str, now: datetime) -> None:
    account = the_account(connection, email)
    _change(connection, account, {"password_hash": _hashed(password)})
    audit.note(connection, by, "account.password_set", account.email, {}, now)


def set_role(
    connection: Connection, email: str, *, role: str, clients: Collection[str], by: str, now: datetime
) -> None:
    account = the_account(connection, email)
    checked, seen = _checked(role, clients)
    _change(connection, account, {"role": checked, "clients": json.dumps(sorted(seen))})
    audit.note(connection, by, "account.role_set", account.email, {"role": role, "clients": sorted(seen)}, now)


def disable(connection: Connection, email: str, *, by: str, now: datetime) -> bool:
    """Nobody signs in with it any more. False if that was so already."""
    account = the_account(connection, email)
    if account.disabled_at:
        return False
    _change(connection, account, {"disabled_at": stamp(now)})
    audit.note(connection, by, "account.disabled", account.email, {}, now)
    return True


def normal_email(email: str) -> str:
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise AccountProblem(f"{email!r} is not an email address; write it like dana@your-agency.example.")
    return email


def _change(connection: Connection, account: Account, values: Mapping[str, Any]) -> None:
    """Change an account and end whatever it is signed in with, links not yet used too."""
    connection.execute(update(accounts).where(accounts.c.account_id == account.account_id).values(**values))
    for table in (sessions, login_links):
        connection.execute(delete(table).where(table.c.account_id == account.account_id))


def _checked(role: str, clients: Collection[str]) -> tuple[Role, frozenset[str]]:
    seen = frozenset(clients)
    known = next((one for one in ROLES if one == role), None)
    if known is None:
        raise AccountProblem(f"There is no role {role!r}; there are {', '.join(ROLES)}.")
    if known == "client" and (len(seen) != 1 or EVERY_CLIENT in seen):
        raise AccountProblem("An account of role client sees exactly one client: name it with --client.")
    if known == "admin" and seen != {EVERY_CLIENT}:
        raise AccountProblem("An admin sees every client; leave --client out, or choose another role.")
    if not seen or (EVERY_CLIENT in seen and len(seen) > 1):
        raise AccountProblem("Name the clients that the account may see, or none for all of them.")
    return known, seen


def _hashed(password: str) -> str:
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccountProblem(
            f"A password has {SHORTEST} to {LONGEST} characters; this one has {len(password)}. A few words in a row are easy "
            "to remember."
        )
    return _hasher.hash(password)


def _made(row: Mapping[Any, Any]) -> Account:
    return Account(
        account_id=row["account_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        clients=frozenset(json.loads(row["clients"])),
        has_password=row["password_hash"] is not None,
        created_at=row["created_at"],
        created_by=row["created_by"],
        disabled_at=row["disabled_at"],
    )
