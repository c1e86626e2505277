"""`leadtrail erase` and `leadtrail retention`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.office import Office

app = typer.Typer()
out = Console()


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


@app.command()
def erase(
    person: Annotated[str, typer.Argument(help="An email, a phone, or the id of a lead or a person.")],
    client: Annotated[str, typer.Option("--client", help="Whose customer it is.")],
    by: Annotated[str, typer.Option("--by", help="Who decides; it is kept in the audit log.")],
) -> None:
    """Erase one person from everything we keep, and keep them out. Run it again if it was interrupted."""
    from pipeline.privacy.erase import erase as erase_person

    done = erase_person(Office.from_env(), client, person, by=by, now=datetime.now(UTC), tell=_say)
    _say(
        f"Erased: {done.records:,} records, {done.leads} leads. {done.mentions} records of others had their address blotted out."
    )
    _say(
        ", ".join(f"{what}: {count:,}" for what, count in done.taken.items())
        + ". The warehouse was built anew and published."
    )
    for one in done.bound:
        _say(f"Still names them, as a decision stands on its words: {one}. Write it anew, or revoke it.")
    _say("Erase them at the providers as well: what happens from now on is a new matter. Backups are yours to age out.")


@app.command()
def retention(dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False) -> None:
    """Delete what is kept no longer than its class allows. Dagster does this every night."""
    from pipeline.privacy.retention import keep_no_longer

    done = keep_no_longer(Office.from_env(), now=datetime.now(UTC), tell=_say, dry_run=dry_run)
    verb = "Would delete" if dry_run else "Deleted"
    _say(f"{verb}: " + ", ".join(f"{what} {count:,}" for what, count in done.items()) + ".")
