"""`leadtrail rules …`, `leadtrail templates …` and `leadtrail replay`: how client success owns what is sent."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection

from pipeline.clients import ClientsFileError
from pipeline.follow_up import rule_book, template_book
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.rule_book import Version, find_version
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.shelves import DEFAULTS, SHIPPED_BY, Shelf, read_shelf
from pipeline.follow_up.template_book import NotAllowed, TemplateLog
from pipeline.office import Office

rules_app = typer.Typer(help="Follow-up rules: versions, states, who moved them.", no_args_is_help=True)
templates_app = typer.Typer(help="The words of follow-up: versions and approvals.", no_args_is_help=True)
out = Console()

Client = Annotated[str, typer.Option("--client", help="This client's own; the house's if left out.")]
By = Annotated[str, typer.Option("--by", help="Who does it.")]
Why = Annotated[str, typer.Option("--why", help="Why, in a sentence.")]
RuleName = Annotated[str, typer.Argument(help="The rule's name.", show_default=False)]
RuleNames = Annotated[list[str], typer.Argument(help="Names of rules.", show_default=False)]
WhichVersion = Annotated[str, typer.Option("--version", help="A version, or its beginning; the newest if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], show_default=False)]


def _now() -> datetime:
    return datetime.now(UTC)


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


def _office(client_id: str = "") -> Office:
    """Checks that there is such a client."""
    office = Office.from_env()
    if client_id and client_id not in {one.client_id for one in office.clients()}:
        raise ClientsFileError(f"There is no client {client_id!r} in {office.settings.clients_file}.")
    return office


# ---- rules ----


@rules_app.command("init")
def rules_init() -> None:
    """Add the rules and templates that Leadtrail ships, as drafts of the house. Doing it again adds only what is new."""
    office = _office()
    shelf = read_shelf(DEFAULTS)
    with office.engine.begin() as connection:
        rules, templates = _add(connection, shelf, client_id=HOUSE, by=SHIPPED_BY, why="shipped")
    shipped = f"{len(shelf.rules)} rules and {len(shelf.templates)} templates are shipped"
    _say(f"{len(rules)} rules and {len(templates)} templates added as drafts; {shipped}.")
    _say(
        "Next: `leadtrail templates show NAME`, `leadtrail templates approve NAME… --by YOU`, `leadtrail replay RULE`."
    )


@rules_app.command("add")
def rules_add(
    path: Annotated[Path, typer.Argument(exists=True, help="A .yaml or .liquid file, or a folder of them.")],
    by: By,
    client: Client = HOUSE,
    why: Why = "",
) -> None:
    """Add rules and templates from files, as drafts. A client's, once enabled, take the place of the house's."""
    office = _office(client)
    with office.engine.begin() as connection:
        houses = _newest_rules(connection) if client else None
        rules, templates = _add(connection, read_shelf(path, in_place_of=houses), client_id=client, by=by, why=why)
    for one in (*templates, *rules):
        _say(f"added {one}, a draft")
    if not rules and not templates:
        _say("All of it is there already; nothing was added.")
    if templates:
        _say("Next: somebody else approves the words: `leadtrail templates approve NAME --by …`.")
    if rules:
        _say(f"Next: `leadtrail replay {rules[0].rule}{_of(client)} --from … --to …`.")


@rules_app.command("list")
def rules_list(
    client: Annotated[str, typer.Option("--client", help="As this client has them.")] = "", as_json: AsJson = False
) -> None:
    """Every rule: which version is in force, and which wait."""
    office = _office(client)
    with office.engine.connect() as connection:
        rows = rule_book.overview(connection, client)
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
        _say("No rules yet. `leadtrail rules init` adds those that Leadtrail ships.")


@rules_app.command("show")
def rules_show(rule: RuleName, client: Client = HOUSE, version: WhichVersion = "") -> None:
    """What a version says, and everything that was done to the rule."""
    office = _office(client)
    with office.engine.connect() as connection:
        which = find_version(connection, client, rule, version)
        said = rule_book.rule_contents(connection)[(which.client_id, rule, which.version)]
        moves = [one for one in rule_book.moves_of(connection, rule) if one.client_id in (HOUSE, client)]
    out.print(_written(said), markup=False, highlight=False)
    for move in moves:
        whose = f"{move.client_id or 'house'}@{move.version}" if move.version else f"{move.client_id}, of the house's"
        _say(f"{move.at[:16]}  {move.state:9} {whose}  by {move.by}{f': {move.note}' if move.note else ''}")


@rules_app.command("diff")
def rules_diff(
    rule: RuleName,
    client: Client = HOUSE,
    version: WhichVersion = "",
    against: Annotated[str, typer.Option(help="The version in force, if left out.")] = "",
) -> None:
    """What differs between two versions of a rule."""
    office = _office(client)
    with office.engine.connect() as connection:
        new = find_version(connection, client, rule, version)
        whose, old_version = client, against
        if not against:
            in_force = rule_book.in_force_for(connection, client, rule)
            if in_force is None:
                raise NotAllowed(
                    f"No version of {rule} is in force, so there is nothing to compare with. Use --against."
                )
            whose, old_version = in_force.client_id, in_force.version
        old = find_version(connection, whose, rule, old_version)
        contents = rule_book.rule_contents(connection)
    sides = [_written(contents[(one.client_id, one.rule, one.version)]).splitlines() for one in (old, new)]
    lines = list(difflib.unified_diff(*sides, str(old), str(new), lineterm=""))
    out.print("\n".join(lines) or f"{old} and {new} say the same.", markup=False, highlight=False)


@rules_app.command("enable")
def rules_enable(rules: RuleNames, by: By, client: Client = HOUSE, version: WhichVersion = "", why: Why = "") -> None:
    """Put versions in force from now on; leads in flight keep theirs. All of them or, if one may not be enabled, none."""
    office = _office(client)
    with office.engine.begin() as connection:
        enabled = [find_version(connection, client, rule, version) for rule in rules]
        for which in enabled:
            rule_book.enable(connection, which, by=by, note=why, now=_now())
    for which in enabled:
        _say(f"{which} is enabled.")
    _say("The next build takes it in.")


@rules_app.command("pause")
def rules_pause(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Emit nothing of a rule until it is resumed; with --client, for this client alone."""
    office = _office(client)
    with office.engine.begin() as connection:
        which = rule_book.pause(connection, client, rule, by=by, note=why, now=_now())
    _say(f"{which} is paused{_for(client)}. What is too late when it is resumed is not sent.")
    _say(f"`leadtrail rules resume {rule}{_of(client)} --by …` resumes it.")


@rules_app.command("resume")
def rules_resume(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Go on with a paused rule."""
    office = _office(client)
    with office.engine.begin() as connection:
        which = rule_book.resume(connection, client, rule, by=by, note=why, now=_now())
    _say(f"{which} goes on{_for(client)}.")


@rules_app.command("retire")
def rules_retire(rule: RuleName, by: By, client: Client = HOUSE, version: WhichVersion = "", why: Why = "") -> None:
    """End a version (the one in force, if none is named). Leads in flight finish, unless it was paused before."""
    office = _office(client)
    with office.engine.begin() as connection:
        in_force = rule_book.in_force(rule_book.moves_of(connection, rule), client, rule)
        which = find_version(connection, client, rule, version or in_force or "")
        rule_book.retire(connection, which, by=by, note=why, now=_now())
    _say(f"{which} is retired.")


@rules_app.command("rollback")
def rules_rollback(rule: RuleName, by: By, client: Client = HOUSE, why: Why = "") -> None:
    """Go back to the version that was enabled before."""
    office = _office(client)
    with office.engine.begin() as connection:
        which = rule_book.roll_back(connection, client, rule, by=by, note=why, now=_now())
    _say(f"{which} is in force again{_for(client)}. The next build takes it in.")


# ---- templates ----


@templates_app.command("list")
def templates_list(as_json: AsJson = False) -> None:
    """Every version of every template that is not withdrawn, and who approved it."""
    office = _office()
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
        _say("No templates yet. `leadtrail rules init` adds those that Leadtrail ships.")


@templates_app.command("show")
def templates_show(
    template: Annotated[str, typer.Argument()], client: Client = HOUSE, version: WhichVersion = ""
) -> None:
    """What a version says: what somebody who approves it reads."""
    office = _office(client)
    with office.engine.connect() as connection:
        which = template_book.find_version(connection, client, template, version)
        said = template_book.templates_kept(connection)[(client, template, which)]
        author = template_book.author_of(connection, client, template, which)
    _say(f"{template}@{which}, {said.channel}, {said.message_class}, written by {author}")
    _say(f"\n{f'Subject: {said.subject}' if said.subject else ''}\n{said.body}".rstrip())


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
    office = _office(client)
    with office.engine.begin() as connection:
        chosen = [(name, template_book.find_version(connection, client, name, version)) for name in templates or ()]
        if shipped:
            chosen += [
                (one.template, one.version) for one in TemplateLog.read(connection).drafts() if one.by == SHIPPED_BY
            ]
        for name, which in chosen:
            template_book.approve(connection, client, name, which, by=by, note=why, now=_now())
    if not chosen:
        raise NotAllowed("Nothing to approve was named. `leadtrail templates list` shows what there is.")
    _say(f"Approved: {', '.join(f'{name}@{which}' for name, which in chosen)}.")


@templates_app.command("withdraw")
def templates_withdraw(
    template: Annotated[str, typer.Argument()],
    by: By,
    client: Client = HOUSE,
    version: WhichVersion = "",
    why: Why = "",
) -> None:
    """Withdraw words: what carries them is refused from now on, also what is queued."""
    office = _office(client)
    with office.engine.begin() as connection:
        which = template_book.find_version(connection, client, template, version)
        template_book.withdraw(connection, client, template, which, by=by, note=why, now=_now())
    _say(f"{template}@{which} is withdrawn.")


# ---- replay ----


def replay_command(
    rule: RuleName,
    start: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).", show_default=False)
    ],
    end: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day (UTC).", show_default=False)
    ],
    client: Annotated[
        str, typer.Option("--client", help="For this client alone, by its own version if it has one.")
    ] = "",
    version: WhichVersion = "",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, help="A rule's file that nobody has added yet, or a folder of it and its templates."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who looks at it; kept with what it showed.")] = "",
    as_json: AsJson = False,
) -> None:
    """What a rule would have sent in the past, knowing at each moment only what was known then. Sends nothing."""
    from pipeline.follow_up.replay import (
        CannotReplay,
        History,
        Period,
    )  # duckdb takes time that other commands need not pay
    from pipeline.follow_up.replay_run import replay, summary
    from pipeline.replay_report import hours_of_day, replay_lines, replay_table

    office = _office(client)
    start, end = start.replace(tzinfo=UTC), end.replace(tzinfo=UTC) + timedelta(days=1)
    if end <= start:
        raise CannotReplay("--to is before --from.")
    history = History.of(office.settings.analytics, office.settings.dbt_target)
    clients = [one for one in office.clients() if client in ("", one.client_id)]
    with office.engine.begin() as connection:
        shelf = read_shelf(file, in_place_of=_newest_rules(connection) if client else None) if file else Shelf()
        if file and rule not in shelf.rules:
            raise CannotReplay(f"{file} has no rule {rule}; it has {', '.join(shelf.rules) or 'none'}.")
        whose, said = _to_replay(connection, client, rule, version, shelf)
        replayed = replay(connection, history, said, whose, clients, Period(start, end), templates=shelf.templates)
        told = summary(replayed)
        seen_for = Version(client or whose, rule, said.version)
        rule_book.note_replay(
            connection, seen_for, from_at=start, to_at=end, by=by or "unnamed", summary=told, now=_now()
        )
    if as_json:
        out.print_json(json.dumps(told))
        return
    _say(f"{rule}@{said.version}: {said.title}\n")
    out.print(replay_table(told))
    _say("")
    for line in replay_lines(told):
        _say(line)
    if told["by_hour"]:
        _say("When, on the client's clock:")
        for line in hours_of_day(told):
            _say(line)
    for lack in told["lacking"]:
        out.print(f"[yellow]![/yellow] {escape(lack)}", highlight=False, soft_wrap=True)


def _to_replay(connection: Connection, client: str, rule: str, version: str, shelf: Shelf) -> tuple[str, Rule]:
    if shelf.rules:
        return client, shelf.rules[rule]
    which = find_version(connection, client if rule_book.has(connection, client, rule) else HOUSE, rule, version)
    return which.client_id, rule_book.rule_contents(connection)[(which.client_id, rule, which.version)]


# ---- what the commands share ----


def _add(connection: Connection, shelf: Shelf, *, client_id: str, by: str, why: str) -> tuple[list[Version], list[str]]:
    templates = [
        f"{client_id or 'house'}/{one.name}@{one.version}"
        for one in shelf.templates.values()
        if template_book.add_template(connection, one, client_id=client_id, by=by, now=_now(), note=why)
    ]
    rules = [
        Version(client_id, one.rule, one.version)
        for one in shelf.rules.values()
        if rule_book.add_rule(connection, one, client_id=client_id, by=by, now=_now(), note=why)
    ]
    return rules, templates


def _newest_rules(connection: Connection) -> dict[str, Rule]:
    """The house's rules: those in force, else as they were added last."""
    contents = rule_book.rule_contents(connection)
    names = {rule for whose, rule, _ in contents if whose == HOUSE}
    return {name: contents[(HOUSE, name, find_version(connection, HOUSE, name, "").version)] for name in names}


def _written(rule: Rule) -> str:
    return yaml.safe_dump(rule.written(), sort_keys=False, allow_unicode=True).rstrip()


def _of(client_id: str) -> str:
    return f" --client {client_id}" if client_id else ""


def _for(client_id: str) -> str:
    return f" for {client_id}" if client_id else ""
