"""`leadtrail rules …`: how client success owns what is followed up, and when."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table
from sqlalchemy import Connection

from pipeline.follow_up import rule_book, template_book
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.shelves import DEFAULTS, SHIPPED_BY, Shelf, read_shelf
from pipeline.follow_up.standing import Standing, Version, in_force, in_force_for, overview
from pipeline.follow_up.template_book import NotAllowed
from pipeline.rules_console import (
    AsJson,
    By,
    Client,
    RuleName,
    WhichVersion,
    Why,
    houses_rules,
    now_utc,
    office_of,
    out,
    say,
)

rules_app = typer.Typer(help="Follow-up rules: versions, states, who moved them.", no_args_is_help=True)


@rules_app.command("init")
def rules_init() -> None:
    """Add the rules and templates that Leadtrail ships, as drafts of the house. Doing it again adds only what is new."""
    office = office_of()
    shelf = read_shelf(DEFAULTS)
    with office.engine.begin() as connection:
        rules, templates = _add(connection, shelf, client_id=HOUSE, by=SHIPPED_BY, why="shipped")
    shipped = f"{len(shelf.rules)} rules and {len(shelf.templates)} templates are shipped"
    say(f"{len(rules)} rules and {len(templates)} templates added as drafts; {shipped}.")
    say("Next: `leadtrail templates show NAME`, `leadtrail templates approve NAME… --by YOU`, `leadtrail replay RULE`.")


@rules_app.command("add")
def rules_add(
    path: Annotated[Path, typer.Argument(exists=True, help="A .yaml or .liquid file, or a folder of them.")],
    by: By,
    client: Client = HOUSE,
    why: Why = "",
) -> None:
    """Add rules and templates from files, as drafts. A client's, once enabled, take the place of the house's."""
    office = office_of(client)
    with office.engine.begin() as connection:
        standing = Standing.read(connection)
        shelf = read_shelf(path, in_place_of=houses_rules(standing) if client else None)
        shelf.check_words(lambda name: standing.words_now(client, name))
        rules, templates = _add(connection, shelf, client_id=client, by=by, why=why)
    for one in (*templates, *rules):
        say(f"added {one}, a draft")
    if not rules and not templates:
        say("All of it is there already; nothing was added.")
    if templates:
        say("Next: somebody else approves the words: `leadtrail templates approve NAME --by …`.")
    if rules:
        say(f"Next: `leadtrail replay {rules[0].rule}{_of(client)} --from … --to …`.")


@rules_app.command("list")
def rules_list(
    client: Annotated[str, typer.Option("--client", help="As this client has them.")] = "", as_json: AsJson = False
) -> None:
    """Every rule: which version is in force, and which wait."""
    office = office_of(client)
    with office.engine.connect() as connection:
        rows = overview(connection, client)
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table(box=None, header_style="bold")
    table.add_column("rule", no_wrap=True)
    for title in ("state", "version", "since", "by", "waiting"):
        table.add_column(title)
    marks = {"enabled": "[green]enabled[/green]", "paused": "[yellow]paused[/yellow]"}
    for row in rows:
        name = f"{row['rule']}{' of ' if row['whose'] else ''}{row['whose']}"
        waiting = ", ".join(f"{one['version']} ({one['state']})" for one in row["waiting"])
        since = str(row["since"])[:10]
        table.add_row(name, marks.get(row["state"], row["state"]), row["version"], since, row["by"], waiting)
    out.print(table)
    if not rows:
        say("No rules yet. `leadtrail rules init` adds those that Leadtrail ships.")


@rules_app.command("show")
def rules_show(rule: RuleName, client: Client = HOUSE, version: WhichVersion = "") -> None:
    """What a version says, and everything that was done to the rule."""
    office = office_of(client)
    with office.engine.connect() as connection:
        standing = Standing.read(connection)
    which = standing.find_version(client, rule, version)
    out.print(_written(standing.rule_of(which)), markup=False, highlight=False)
    for move in standing.moves:
        if move.rule != rule or move.client_id not in (HOUSE, client):
            continue
        whose = f"{move.client_id or 'house'}@{move.version}" if move.version else f"{move.client_id}, of the house's"
        say(f"{move.at[:16]}  {move.state:9} {whose}  by {move.by}{f': {move.note}' if move.note else ''}")


@rules_app.command("diff")
def rules_diff(
    rule: RuleName,
    client: Client = HOUSE,
    version: WhichVersion = "",
    against: Annotated[str, typer.Option(help="The version in force, if left out.")] = "",
) -> None:
    """What differs between two versions of a rule."""
    office = office_of(client)
    with office.engine.connect() as connection:
        standing = Standing.read(connection)
    new = standing.find_version(client, rule, version)
    if against:
        old = standing.find_version(client, rule, against)
    elif (now := in_force_for(standing.moves, client, rule)) is not None:
        old = now
    else:
        raise NotAllowed(f"No version of {rule} is in force, so there is nothing to compare with. Use --against.")
    sides = [_written(standing.rule_of(one)).splitlines() for one in (old, new)]
    lines = list(difflib.unified_diff(*sides, str(old), str(new), lineterm=""))
    out.print("\n".join(lines) or f"{old} and {new} say the same.", markup=False, highlight=False)


@rules_app.command("enable")
def rules_enable(
    rules: Annotated[list[str], typer.Argument(help="Names of rules.", show_default=False)],
    by: By,
    client: Client = HOUSE,
    version: WhichVersion = "",
    why: Why = "",
) -> None:
    """Put versions in force from now on; leads in flight keep theirs. All of them or, if one may not be enabled, none."""
    office = office_of(client)
    with office.engine.begin() as connection:
        standing = Standing.read(connection)
        enabled = [standing.find_version(client, rule, version) for rule in rules]
        for which in enabled:
            rule_book.enable(connection, which, by=by, note=why, now=now_utc())
    for which in enabled:
        say(f"{which} is enabled.")
    say("The next build takes it in.")


@rules_app.command("pause")
def rules_pause(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Emit nothing of a rule until it is resumed; with --client, for this client alone."""
    office = office_of(client)
    with office.engine.begin() as connection:
        which = rule_book.pause(connection, client, rule, by=by, note=why, now=now_utc())
    say(f"{which} is paused{_for(client)}. What is too late when it is resumed is not sent.")
    say(f"`leadtrail rules resume {rule}{_of(client)} --by …` resumes it.")


@rules_app.command("resume")
def rules_resume(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Go on with a paused rule."""
    office = office_of(client)
    with office.engine.begin() as connection:
        which = rule_book.resume(connection, client, rule, by=by, note=why, now=now_utc())
    say(f"{which} goes on{_for(client)}.")


@rules_app.command("retire")
def rules_retire(rule: RuleName, by: By, client: Client = HOUSE, version: WhichVersion = "", why: Why = "") -> None:
    """End a version (the one in force, if none is named). Leads in flight finish, unless it was paused before."""
    office = office_of(client)
    with office.engine.begin() as connection:
        standing = Standing.read(connection)
        which = standing.find_version(client, rule, version or in_force(standing.moves, client, rule) or "")
        rule_book.retire(connection, which, by=by, note=why, now=now_utc())
    say(f"{which} is retired.")


@rules_app.command("rollback")
def rules_rollback(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Go back to the version that was enabled before."""
    office = office_of(client)
    with office.engine.begin() as connection:
        which = rule_book.roll_back(connection, client, rule, by=by, note=why, now=now_utc())
    say(f"{which} is in force again{_for(client)}. The next build takes it in.")


def _add(connection: Connection, shelf: Shelf, *, client_id: str, by: str, why: str) -> tuple[list[Version], list[str]]:
    templates = [
        f"{client_id or 'house'}/{one.name}@{one.version}"
        for one in shelf.templates.values()
        if template_book.add_template(connection, one, client_id=client_id, by=by, now=now_utc(), note=why)
    ]
    rules = [
        Version(client_id, one.rule, one.version)
        for one in shelf.rules.values()
        if rule_book.add_rule(connection, one, client_id=client_id, by=by, now=now_utc(), note=why)
    ]
    return rules, templates


def _written(rule: Rule) -> str:
    return yaml.safe_dump(rule.written(), sort_keys=False, allow_unicode=True).rstrip()


def _of(client_id: str) -> str:
    return f" --client {client_id}" if client_id else ""


def _for(client_id: str) -> str:
    return f" for {client_id}" if client_id else ""
