"""`leadtrail replay`: what a rule would have sent, before anybody enables it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.rule_book import note_replay
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.shelves import read_shelf
from pipeline.follow_up.standing import Standing, Version
from pipeline.follow_up.template_book import NotAllowed
from pipeline.follow_up.template_file import Template
from pipeline.rules_console import AsJson, WhichVersion, houses_rules, now_utc, office_of, out, say

Asked = tuple[str, Rule, Mapping[str, Template]]  # whose, the rule, templates that nobody has added yet


def replay_command(
    start: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).", show_default=False)
    ],
    end: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day (UTC).", show_default=False)
    ],
    rule: Annotated[str, typer.Argument(help="The rule's name; every rule if left out.", show_default=False)] = "",
    client: Annotated[
        str, typer.Option("--client", help="For this client alone, by its own version if it has one.")
    ] = "",
    version: WhichVersion = "",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, help="A rule's file that nobody has added yet, or a folder of it and its templates."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Who looks at it; whoever is logged in, if left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """What a rule would have sent in the past, knowing at each moment only what was known then. Sends nothing."""
    from pipeline.follow_up.replay import CannotReplay, History, Period  # duckdb takes time others need not pay
    from pipeline.follow_up.replay_run import replay, summary

    office = office_of(client)
    period = Period(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC) + timedelta(days=1))
    if period.end <= period.start:
        raise CannotReplay("--to is before --from.")
    history = History.of(office.settings.analytics, office.settings.dbt_target)
    clients = [one for one in office.clients() if client in ("", one.client_id)]
    with office.engine.begin() as connection:  # a short one: others wait for it
        standing = Standing.read(connection)
    houses = houses_rules(standing) if client else None
    asked = _from_file(file, rule, client, houses, standing) if file else _from_book(rule, client, version, standing)
    told: list[dict[str, Any]] = []
    for whose, said, templates in asked:
        try:
            shown = summary(replay(standing, history, said, whose, clients, period, templates=templates))
        except CannotReplay as problem:
            if rule:
                raise
            say(f"{said.rule} is left out: {problem}")
            continue
        seen_for = Version(client or whose, said.rule, said.version)
        with office.engine.begin() as connection:
            note_replay(
                connection,
                seen_for,
                from_at=period.start,
                to_at=period.end,
                by=by or getuser(),
                summary=shown,
                now=now_utc(),
            )
        told.append(shown)
    if as_json:
        out.print_json(json.dumps(told[0] if rule else told))
    elif rule:
        _print_one(told[0], asked[0][1].title)
    else:
        _print_all(told)


def _from_file(
    file: Path, rule: str, client: str, houses: Mapping[str, Rule] | None, standing: Standing
) -> list[Asked]:
    shelf = read_shelf(file, in_place_of=houses)
    shelf.check_words(lambda name: standing.words_now(client, name))
    if rule and rule not in shelf.rules:
        raise NotAllowed(f"{file} has no rule {rule}; it has {', '.join(shelf.rules) or 'none'}.")
    return [(client, one, shelf.templates) for name, one in shelf.rules.items() if rule in ("", name)]


def _from_book(rule: str, client: str, beginning: str, standing: Standing) -> list[Asked]:
    """The client's own versions if it has any of that name, else the house's."""
    names = {name for whose, name, _ in standing.contents if whose in (HOUSE, client)}
    found = []
    for name in [rule] if rule else sorted(names):
        whose = client if any(one[:2] == (client, name) for one in standing.contents) else HOUSE
        version = standing.find_version(whose, name, beginning)
        found.append((whose, standing.rule_of(version), {}))
    return found


def _print_one(told: Mapping[str, Any], title: str) -> None:
    from pipeline.replay_report import hours_of_day, replay_lines, steps_table

    say(f"{told['rule']}@{told['version']}: {title}\n")
    out.print(steps_table(told))
    say("")
    for line in replay_lines(told):
        say(line)
    if told["by_hour"]:
        say("When, on the client's clock:")
        for line in hours_of_day(told):
            say(line)
    _print_lacking(told["lacking"])


def _print_all(told: list[dict[str, Any]]) -> None:
    from pipeline.replay_report import period_in_words, rules_table

    if not told:
        say("There are no rules yet. `leadtrail rules init` adds those that Leadtrail ships.")
        return
    say(f"{period_in_words(told[0])}, each rule by itself would have sent:\n")
    out.print(rules_table(told))
    _print_lacking(sorted({lack for one in told for lack in one["lacking"] if not lack.startswith("template ")}))
    if any(lack.startswith("template ") for one in told for lack in one["lacking"]):
        _print_lacking(["not all templates are approved: `leadtrail templates list`"])


def _print_lacking(lacking: list[str]) -> None:
    for lack in lacking:
        out.print(f"[yellow]![/yellow] {escape(lack)}", highlight=False, soft_wrap=True)
