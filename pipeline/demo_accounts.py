"""The demo's named accounts: each with a password made for this home, kept in a file that its owner alone can read."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path

from pipeline.demo_rules import APPROVER, STEWARD
from pipeline.office import Office
from pipeline.store.accounts import EVERY_CLIENT, add_account, find_account

ADMIN, ANALYST = "demo-admin@agency.example", "demo-analyst@agency.example"
STAFF = (
    (ADMIN, "Ada Admin", "admin"),
    (APPROVER, "Avery Approver", "client_success"),
    (STEWARD, "Sam Steward", "client_success"),
    (ANALYST, "Ana Analyst", "analyst"),
)


def kept_in(home: Path) -> Path:
    return home / "demo-accounts.txt"


def client_email(client_id: str) -> str:
    return f"owner@{client_id}.example"


def make_demo_accounts(office: Office, *, now: datetime) -> Path:
    """Make those that are missing. Returns where the passwords are; a home that has them keeps them."""
    path = kept_in(office.settings.home)
    lines = []
    with office.engine.begin() as connection:
        for email, name, role in STAFF:
            if find_account(connection, email) is None:
                password = "-".join(secrets.token_hex(3) for _ in range(3))
                given = {"name": name, "role": role, "clients": [EVERY_CLIENT], "by": "leadtrail run", "now": now}
                add_account(connection, email, password=password, **given)  # type: ignore[arg-type]
                lines.append(f"{email}  {password}  desk, {role.replace('_', ' ')}\n")
        for client in office.clients():
            email = client_email(client.client_id)
            if find_account(connection, email) is None:
                add_account(
                    connection,
                    email,
                    name=f"Owner of {client.name}",
                    role="client",
                    clients=[client.client_id],
                    by="leadtrail run",
                    now=now,
                )
                lines.append(f"{email}  leadtrail portal link {email}  portal, {client.name}\n")
        if lines:  # in the transaction: a password that was not written down is nobody's
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.writelines(lines)
    return path
