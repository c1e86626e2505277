"""`leadtrail accounts …`: who may sign in to the desk and the portal."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.office import Office
from pipeline.store import accounts
from pipeline.store.accounts import EVERY_CLIENT, ROLES, AccountProblem

accounts_app = typer.Typer(help="Who may sign in: staff to the desk, clients to the portal.", no_args_is_help=True)
out = Console()

Email = Annotated[str, typer.Argument(help="Their email address.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who does it; whoever is logged in, if left out.")]


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


def _now() -> datetime:
    return datetime.now(UTC)


def _password(email: str) -> str:
    """Typed twice, or the first line of standard input: never an argument, which every process on the machine can read."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt(f"Password for {email}", hide_input=True, confirmation_prompt=True))


@accounts_app.command("add")
def accounts_add(
    email: Email,
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    name: Annotated[str, typer.Option(help="How they are called.")] = "",
    client: Annotated[
        list[str] | None, typer.Option(help="A client they may see, as often as needed; all clients if left out.")
    ] = None,
    password: Annotated[
        bool, typer.Option("--password/--no-password", help="Without one: they sign in by OpenID Connect or by link.")
    ] = True,
    by: By = "",
) -> None:
    """Make an account. The password is asked for, or read from standard input."""
    office = Office.from_env()
    for one in client or ():
        office.connections(client=one)  # raises ClientsFileError for a client that is none
    typed = _password(email) if password else None
    with office.engine.begin() as connection:
        made = accounts.add_account(
            connection,
            email,
            name=name,
            role=role,
            clients=client or [EVERY_CLIENT],
            password=typed,
            by=by or getpass.getuser(),
            now=_now(),
        )
    _say(f"{made.email} may sign in to the {'desk' if made.is_staff else 'portal'} as {made.role.replace('_', ' ')}.")


@accounts_app.command("list")
def accounts_list() -> None:
    """Every account, and what it may see."""
    with Office.from_env().engine.connect() as connection:
        found = accounts.all_accounts(connection)
    table = Table("email", "name", "role", "clients", "signs in with", "", box=None, header_style="bold")
    for one in found:
        sees = "all" if EVERY_CLIENT in one.clients else ", ".join(sorted(one.clients))
        way = "password" if one.has_password else "link" if one.role == "client" else "OpenID Connect"
        ended = f"disabled {one.disabled_at[:10]}" if one.disabled_at else ""
        table.add_row(escape(one.email), escape(one.name), one.role.replace("_", " "), sees, way, ended)
    out.print(table)
    if not found:
        _say("No accounts yet. `leadtrail accounts add EMAIL --role admin` makes the first.")


@accounts_app.command("disable")
def accounts_disable(email: Email, by: By = "") -> None:
    """End an account: it is signed out everywhere at once, and nobody signs in with it any more."""
    with Office.from_env().engine.begin() as connection:
        done = accounts.disable(connection, email, by=by or getpass.getuser(), now=_now())
    _say(f"{email} is disabled and signed out." if done else f"{email} was disabled before.")


@accounts_app.command("password")
def accounts_password(email: Email, by: By = "") -> None:
    """Set a password, asked for or read from standard input. Ends the account's sessions."""
    office = Office.from_env()
    with office.engine.connect() as connection:
        account = accounts.the_account(connection, email)
    if account.disabled_at:
        raise AccountProblem(f"{email} is disabled; a password would let nobody in.")
    typed = _password(email)
    with office.engine.begin() as connection:
        accounts.set_password(connection, email, typed, by=by or getpass.getuser(), now=_now())
    _say(f"{email} has a new password; whoever was signed in with the old one is signed out.")


@accounts_app.command("role")
def accounts_role(
    email: Email,
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    client: Annotated[list[str] | None, typer.Option(help="A client they may see; all clients if left out.")] = None,
    by: By = "",
) -> None:
    """Change what an account may do and see. Signs it out at once."""
    office = Office.from_env()
    for one in client or ():
        office.connections(client=one)  # raises ClientsFileError for a client that is none
    with office.engine.begin() as connection:
        accounts.set_role(
            connection, email, role=role, clients=client or [EVERY_CLIENT], by=by or getpass.getuser(), now=_now()
        )
    _say(f"{email} is {role.replace('_', ' ')} now, and signed out.")
