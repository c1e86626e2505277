"""What the commands of the rule book share: how they are asked, and how they answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.clients import ClientsFileError
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.standing import Standing
from pipeline.office import Office

out = Console()

Client = Annotated[str, typer.Option("--client", help="This client's own; the house's if left out.")]
By = Annotated[str, typer.Option("--by", help="Who does it.")]
Why = Annotated[str, typer.Option("--why", help="Why, in a sentence.")]
RuleName = Annotated[str, typer.Argument(help="The rule's name.", show_default=False)]
WhichVersion = Annotated[str, typer.Option("--version", help="A version, or its beginning; the newest if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


def now_utc() -> datetime:
    return datetime.now(UTC)


def say(line: str) -> None:
    """As it is: brackets in it are no markup, and its lines are not broken up."""
    out.print(escape(line), highlight=False, soft_wrap=True)


def office_of(client_id: str = "") -> Office:
    """Raises ClientsFileError if there is no such client."""
    office = Office.from_env()
    if client_id and client_id not in {one.client_id for one in office.clients()}:
        raise ClientsFileError(f"There is no client {client_id!r} in {office.settings.clients_file}.")
    return office


def houses_rules(standing: Standing) -> dict[str, Rule]:
    """The house's rules as they were added last, or as they are in force."""
    names = {rule for whose, rule, _ in standing.contents if whose == HOUSE}
    return {name: standing.rule_of(standing.find_version(HOUSE, name)) for name in names}
