"""`leadtrail portal …`: links that sign clients in, and their pages as files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.desk.portal.export import export
from pipeline.office import Office
from pipeline.store import sessions
from pipeline.store.accounts import AccountProblem, the_account

portal_app = typer.Typer(
    help="What clients see: links that sign them in, and their pages as files.", no_args_is_help=True
)


@portal_app.command("link")
def portal_link(
    email: Annotated[str, typer.Argument(help="The client's account.", show_default=False)],
    at: Annotated[str, typer.Option("--at", help="The portal's address.")] = "",
) -> None:
    """Print a link that signs this client in, once, for twenty minutes. Send it by a way that reaches only them."""
    office = Office.from_env()
    with office.engine.begin() as connection:
        account = the_account(connection, email)
        if account.role not in sessions.PORTAL.roles or account.disabled_at:
            raise AccountProblem(f"{email} is no client's account that is in use; the portal is for those.")
        token = sessions.make_login_link(connection, account, datetime.now(UTC))
    address = at.rstrip("/") or office.settings.portal_url or "http://127.0.0.1:8930"
    typer.echo(f"{address}/link/{token}")


@portal_app.command("export")
def portal_export(
    folder: Annotated[Path, typer.Argument(help="Where to write; one folder for each client in it.")],
    client: Annotated[str, typer.Option(help="Only this client.")] = "",
) -> None:
    """Write what the portal shows as a static site. What is withdrawn later is withdrawn there by the next export."""
    office = Office.from_env()
    for one in office.clients():
        if client in ("", one.client_id):
            count = export(office.engine, folder, one.client_id, one.name)
            typer.echo(f"{folder / one.client_id}: {count} summar{'y' if count == 1 else 'ies'}")
