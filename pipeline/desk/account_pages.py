"""Accounts: who may sign in, as what, and whose data they see. For admins."""

from __future__ import annotations

from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import BadForm, NotFound
from pipeline.store import accounts
from pipeline.store.accounts import EVERY_CLIENT, ROLES, SHORTEST, Account, AccountProblem


def listed(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        found = accounts.all_accounts(connection)
    found.sort(key=lambda one: bool(one.disabled_at))
    return visit.render("accounts.html", accounts=found, roles=ROLES, every=EVERY_CLIENT, shortest=SHORTEST)


def add(visit: DeskVisit) -> Response:
    """Without a password they sign in elsewhere (OpenID Connect), clients by link."""
    chosen = visit.form.get("client", "")
    sees = [visit.client(chosen).client_id] if chosen else [EVERY_CLIENT]
    with visit.changing() as connection:
        accounts.add_account(
            connection,
            visit.form.get("email", ""),
            name=visit.form.get("name", "")[:200],
            role=visit.form.get("role", ""),
            clients=sees,
            password=visit.form.get("password") or None,
            by=visit.account.email,
            now=visit.now,
        )
    return visit.go("/accounts", "account-added")


def disable(visit: DeskVisit) -> Response:
    account = _account(visit)
    if account.account_id == visit.account.account_id:
        raise BadForm("Nobody disables their own account: another admin does, so that one is left.")
    with visit.changing() as connection:
        accounts.disable(connection, account.email, by=visit.account.email, now=visit.now)
    return visit.go("/accounts", "account-disabled")


def password(visit: DeskVisit) -> Response:
    """A new password, for them to be told. It signs them out everywhere."""
    account = _account(visit)
    if account.disabled_at:
        raise AccountProblem(f"{account.email} is disabled; a password would let nobody in.")
    with visit.changing() as connection:
        typed = visit.form.get("password", "")
        accounts.set_password(connection, account.email, typed, by=visit.account.email, now=visit.now)
    return visit.go("/accounts", "password-set")


def _account(visit: DeskVisit) -> Account:
    with visit.reading() as connection:
        found = accounts.account_of(connection, visit.part("account_id"))
    if found is None:
        raise NotFound
    return found


PAGES = (
    Page("/accounts", listed, needs="accounts"),
    Page("/accounts", add, "POST", "accounts"),
    Page("/accounts/{account_id}/disable", disable, "POST", "accounts"),
    Page("/accounts/{account_id}/password", password, "POST", "accounts"),
)
