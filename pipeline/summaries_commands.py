"""`leadtrail summaries …`: what clients are to read, and how it stands. Deciding about it is done on the desk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.client_safe.round import make_round, wanted
from pipeline.client_safe.shown import period_name
from pipeline.office import Office
from pipeline.store import summaries as store
from pipeline.store.tenancy import Clients

summaries_app = typer.Typer(help="What clients are to read: drafts, reviews, publications.", no_args_is_help=True)
out = Console()


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


@summaries_app.command("make")
def summaries_make() -> None:
    """Make a round: void approvals whose figures changed, write what is due, publish what is approved. Again changes nothing."""
    office, now = Office.from_env(), datetime.now(UTC)
    made = make_round(office, now=now)
    for what, ids in (
        ("to review", made.proposed),
        ("blocked, see what was found", made.blocked),
        ("approval void: the figures changed", made.voided),
        ("expired: nobody reviewed it in time", made.expired),
        ("published", made.published),
    ):
        for one in ids:
            _say(f"{one}  {what}")
    for why in made.left_out:
        _say(why)
    if made.calls_summed_up:
        _say(f"{made.calls_summed_up} calls summed up for staff")
    if made.proposed or made.blocked:
        _say("Review them on the desk (`leadtrail desk`): nothing is published that a second person has not approved.")
    elif not (made.voided or made.expired or made.published):
        _say("Nothing to do: everything that is over has a draft, and nothing waits to be published.")


@summaries_app.command("list")
def summaries_list(
    client: Annotated[str, typer.Option("--client", help="Only this client_id.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Every version, newest first, and periods that are over and have none."""
    office, now = Office.from_env(), datetime.now(UTC)
    if client:
        office.connections(client=client)  # says so if nobody has this name
    of = Clients(frozenset({client}) if client else None)
    with office.engine.connect() as connection:
        rows = store.listed(connection, of, limit=200)
    kept = ("summary_id", "client_id", "kind", "period_start", "period_end", "version", "status", "made_by", "reason")
    if as_json:
        out.print_json(json.dumps([{name: row[name] for name in (*kept, "created_at", "expires_at")} for row in rows]))
        return
    for row in rows:
        name = period_name(row["kind"], row["period_start"], row["period_end"])
        why = f": {row['reason']}" if row["reason"] else ""
        _say(
            f"{row['summary_id']}  {row['client_id']}  {name}, version {row['version']}  {row['status'].replace('_', ' ')}{why}"
        )
    written = {(row["client_id"], row["kind"], row["period_start"]) for row in rows}
    for one in wanted(office, now=now):
        if (one.client_id, one.kind, one.start) not in written and (not client or one.client_id == client):
            _say(f"{'not written yet':20}  {one.client_id}  {period_name(one.kind, one.start, one.end)}")
    if not rows:
        _say("`leadtrail summaries make` writes them.")
