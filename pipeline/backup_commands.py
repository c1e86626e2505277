"""`leadtrail backup` and `leadtrail restore`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.backup import back_up
from pipeline.backup import restore as restore_home
from pipeline.office import Office
from pipeline.settings import Settings

app = typer.Typer()


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder, or that of an earlier backup.")],
) -> None:
    """Copy what cannot be made again. Everything may go on running."""
    office = Office.from_env()
    made = back_up(office, folder.absolute(), now=datetime.now(UTC))
    typer.echo(f"Copied to {folder}: {made.records} ({made.bytes / 1e6:,.1f} MB).")
    secret = [f"the key with the id {made.key} ({'LEADTRAIL_KEY' if office.settings.key else 'store.key'})"]
    if office.settings.secrets_file:
        secret.append(f"the secrets file ({office.settings.secrets_file.name})")
    typer.echo(f"Not copied, keep it elsewhere: {' and '.join(secret)}. Without the key the backup cannot be restored.")


@app.command()
def restore(folder: Annotated[Path, typer.Argument(help="A backup.")]) -> None:
    """Make a home from a backup, where LEADTRAIL_HOME says: it must be empty, but for the key."""
    settings = Settings.from_env()
    made = restore_home(settings, folder.absolute())
    typer.echo(
        f"Restored to {settings.home}, as of {made.made_at[:19]} UTC: {made.records}; counts and audit log are equal."
    )
    typer.echo("Next: put the secrets file there, then `leadtrail doctor`, `leadtrail sync`, `leadtrail build`.")
