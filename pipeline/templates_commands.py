"""`leadtrail templates …`: the words of follow-up, and who approved them."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from pipeline.follow_up import template_book
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.shelves import SHIPPED_BY
from pipeline.follow_up.template_book import NotAllowed, TemplateLog
from pipeline.rules_console import AsJson, By, Client, WhichVersion, Why, now_utc, office_of, out, say

templates_app = typer.Typer(help="The words of follow-up: versions and approvals.", no_args_is_help=True)


@templates_app.command("list")
def templates_list(as_json: AsJson = False) -> None:
    """Every version of every template that is not withdrawn, and who approved it."""
    office = office_of()
    with office.engine.connect() as connection:
        kept, log = template_book.templates_kept(connection), TemplateLog.read(connection)
    last = {(move.client_id, move.template, move.version): move for move in log.moves}
    rows = [
        {
            "template": name,
            "whose": whose,
            "version": version,
            "channel": kept[(whose, name, version)].channel,
            "class": kept[(whose, name, version)].message_class,
            "state": move.state,
            "by": move.by,
            "at": move.at,
        }
        for (whose, name, version), move in sorted(last.items(), key=lambda one: (one[0][1], one[0][0], one[1].at))
        if move.state != "withdrawn"
    ]
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table(box=None, header_style="bold")
    table.add_column("template", no_wrap=True)
    for title in ("version", "channel", "class", "state", "by", "at"):
        table.add_column(title)
    for row in rows:
        state = {"approved": "[green]approved[/green]", "draft": "[yellow]draft[/yellow]"}[row["state"]]
        name = f"{row['template']}{' of ' if row['whose'] else ''}{row['whose']}"
        table.add_row(name, row["version"], row["channel"], row["class"], state, row["by"], row["at"][:10])
    out.print(table)
    if not rows:
        say("No templates yet. `leadtrail rules init` adds those that Leadtrail ships.")


@templates_app.command("show")
def templates_show(
    template: Annotated[str, typer.Argument()], client: Client = HOUSE, version: WhichVersion = ""
) -> None:
    """What a version says: what somebody who approves it reads."""
    office = office_of(client)
    with office.engine.connect() as connection:
        which = template_book.find_version(connection, client, template, version)
        said = template_book.templates_kept(connection)[(client, template, which)]
        author = template_book.author_of(connection, client, template, which)
    say(f"{template}@{which}, {said.channel}, {said.message_class}, written by {author}")
    say(f"\n{f'Subject: {said.subject}' if said.subject else ''}\n{said.body}".rstrip())


@templates_app.command("approve")
def templates_approve(
    by: By,
    templates: Annotated[list[str] | None, typer.Argument(help="Names of templates.", show_default=False)] = None,
    client: Client = HOUSE,
    version: WhichVersion = "",
    why: Why = "",
    shipped: Annotated[
        bool, typer.Option("--shipped", help="All that Leadtrail ships and nobody has decided on yet.")
    ] = False,
) -> None:
    """Approve words; nobody approves their own. Rules take them up when they are next enabled or resumed."""
    office = office_of(client)
    with office.engine.begin() as connection:
        chosen = [(name, template_book.find_version(connection, client, name, version)) for name in templates or ()]
        if shipped:
            chosen += [
                (one.template, one.version) for one in TemplateLog.read(connection).drafts() if one.by == SHIPPED_BY
            ]
        for name, which in chosen:
            template_book.approve(connection, client, name, which, by=by, note=why, now=now_utc())
    if not chosen:
        raise NotAllowed("Nothing to approve was named. `leadtrail templates list` shows what there is.")
    say(f"Approved: {', '.join(f'{name}@{which}' for name, which in chosen)}.")


@templates_app.command("withdraw")
def templates_withdraw(
    template: Annotated[str, typer.Argument()],
    by: By,
    client: Client = HOUSE,
    version: WhichVersion = "",
    why: Why = "",
) -> None:
    """Withdraw words: what carries them is refused from now on, also what is queued."""
    office = office_of(client)
    with office.engine.begin() as connection:
        which = template_book.find_version(connection, client, template, version)
        template_book.withdraw(connection, client, template, which, by=by, note=why, now=now_utc())
    say(f"{template}@{which} is withdrawn.")
