"""`leadtrail holds …` and `leadtrail incidents …`: what is paused and why, what that holds back, and how it ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Connection

from pipeline.clients import ClientsFileError
from pipeline.follow_up.detect import detect_holds, open_by_hand
from pipeline.follow_up.holding import Row, scopes_of
from pipeline.follow_up.release import PER_HOUR, held_by, plan_release, release
from pipeline.office import Office
from pipeline.store.holds import CAUSES, Cause, Hold, all_holds, find_hold, open_holds
from pipeline.store.incidents import find_incident, open_incidents, resolve

holds_app = typer.Typer(help="What is on hold: why, whose it is, what it holds back.", no_args_is_help=True)
incidents_app = typer.Typer(help="What went wrong and is somebody's to mend.", no_args_is_help=True)
out, err = Console(), Console(stderr=True)

ClientOption = Annotated[str, typer.Option("--client", help="Only this client_id.")]
Which = Annotated[str, typer.Argument(help="Its id, or how it begins.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who does it.")]
Why = Annotated[str, typer.Option("--why", help="Why, in a sentence.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]


def _now() -> datetime:
    return datetime.now(UTC)


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


def _problem(words: str) -> typer.Exit:
    err.print(f"[red]✗[/red] {escape(words)}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


def _only(found: Sequence[Row], given: str, what: str) -> Row:
    if len(found) != 1:
        many = f"{len(found)} {what}s begin" if found else f"No {what} begins"
        raise _problem(f"{many} with {given!r}. `leadtrail {what}s list` shows their ids.")
    return found[0]


# ---- holds ----


@holds_app.command("detect")
def holds_detect() -> None:
    """Look for causes now: open what is new, end what is over. Emission and delivery do the same before they begin."""
    done = detect_holds(Office.from_env(), now=_now())
    for key in done.opened:
        _say(f"on hold: {key.replace('|', ', ')}")
    for key in done.cleared:
        _say(f"ended: {key.replace('|', ', ')}")
    for key in done.clearable:
        _say(f"its cause is gone, a person may end it: {key.replace('|', ', ')}")
    for cause in done.not_looked:
        _say(f"could not be looked for: {cause} (see the log)")
    _say(f"{done.to_the_desk} tasks went from the CRM to the desk. `leadtrail holds list` shows what stands.")
    if done.not_looked:
        raise typer.Exit(1)


@holds_app.command("list")
def holds_list(
    client: ClientOption = "",
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Holds that stand, oldest first."""
    with Office.from_env().engine.connect() as connection:
        found = (all_holds if everything else open_holds)(connection, client)
        counts = {hold["hold_id"]: len(held_by(connection, hold)) for hold in found if hold["open_key"]}
    if as_json:
        out.print_json(json.dumps([{**hold, "holds_back": counts.get(hold["hold_id"], 0)} for hold in found]))
        return
    for hold in found:
        state = f"until {hold['cleared_at'][:16]} UTC" if hold["cleared_at"] else "now"
        held = f", {counts[hold['hold_id']]} outputs wait" if hold["hold_id"] in counts else ""
        _say(
            f"{hold['hold_id'][:8]}  {hold['client_id']}: {hold['scope']} ({hold['cause']}), from {hold['opened_at'][:16]} UTC "
            f"{state}{held}"
        )
        _say(f"          {hold['evidence']}")
        if hold["clearable_at"] and not hold["cleared_at"]:
            _say(f"          Its cause is gone since {hold['clearable_at'][:16]} UTC: {hold['clearable_because']}")
    _say("Next: `leadtrail holds show ID`." if found else "Nothing is on hold.")


@holds_app.command("show")
def holds_show(hold_id: Which) -> None:
    """One hold: evidence, how it ends, what it holds back, and what its end would come to."""
    now = _now()
    with Office.from_env().engine.connect() as connection:
        hold = _only(find_hold(connection, hold_id), hold_id, "hold")
        held = held_by(connection, hold) if hold["open_key"] else []
        plan = plan_release(connection, hold, now) if hold["open_key"] else None
    _say(f"{hold['hold_id']}  {hold['client_id']}: {hold['scope']} ({hold['cause']})")
    _say(f"from:     {hold['opened_at']} by {hold['opened_by']}")
    _say(f"evidence: {hold['evidence']}")
    _say(f"owner:    {hold['owner']}")
    _say(f"ends:     {hold['recovery_rule']}")
    if plan is None:
        _say(f"ended:    {hold['cleared_at']} by {hold['cleared_by']}: {hold['note']}")
        _say(f"          {hold['released'] or 0} outputs let go, {hold['left_over'] or 0} no longer true")
        return
    kinds = Counter((row["channel"], row["rule"]) for row in held)
    _say(f"holds:    {len(held)} outputs" + (":" if held else ""))
    for (channel, rule), count in sorted(kinds.items()):
        _say(f"          {count} {channel} of {rule or 'no rule'}")
    for row in held[:20]:
        _say(f"          {row['output_id']}  due {row['due_at'][:16]}, true until {row['expires_at'][:16]}")
    until = f", the last at {plan.until:%Y-%m-%d %H:%M} UTC" if plan.until else ""
    _say(f"if ended now: {len(plan.go)} go back to be judged again, {PER_HOUR} an hour{until};")
    _say(f"              {len(plan.left_over)} are no longer true and go on {hold['owner']}'s list")


@holds_app.command("clear")
def holds_clear(hold_id: Which, by: By, why: Why) -> None:
    """End a hold. What is still true is judged again in turn; what is too old goes on its owner's list."""
    office, now = Office.from_env(), _now()
    with office.engine.begin() as connection:
        hold = _only(find_hold(connection, hold_id), hold_id, "hold")
        plan = release(connection, hold, now, by=by, note=why) if hold["open_key"] else None
    if plan is None:
        _say(f"It ended {hold['cleared_at'] or 'just now'}; nothing was done.")
        return
    _say(
        f"Ended. {len(plan.go)} outputs go back to be judged again, {len(plan.left_over)} went on {hold['owner']}'s list."
    )


@holds_app.command("open")
def holds_open(
    client: Annotated[str, typer.Option("--client", help="Whose work to pause.")],
    scope: Annotated[str, typer.Option("--scope", help="A channel, a provider, or all.")],
    by: By,
    why: Why,
    cause: Annotated[str, typer.Option("--cause", help=f"One of {', '.join(CAUSES)}.")] = "delivery",
) -> None:
    """Pause work by hand. Only a person ends it."""
    office = Office.from_env()
    owner = next((one.owner for one in office.clients() if one.client_id == client), "")
    office.connections(client=client)  # raises ClientsFileError for a client that is none
    scopes = next((scopes_of(one) for one in office.clients() if one.client_id == client), [])
    if cause not in CAUSES or scope not in scopes:
        raise ClientsFileError(f"--cause is one of {', '.join(CAUSES)}; --scope is one of {', '.join(sorted(scopes))}.")
    known: Cause = cause  # type: ignore[assignment]
    hold = Hold(client, scope, known, why, owner, f"{by} opened it; a person ends it with `leadtrail holds clear`.")
    with office.engine.begin() as connection:
        opened = open_by_hand(connection, hold, by=by, now=_now())
    if not opened:
        _say("That is on hold already. `leadtrail holds list` says why.")
        raise typer.Exit(1)
    _say(f"{scope} of {client} is on hold. `leadtrail holds clear` ends it.")


# ---- incidents ----


@incidents_app.command("list")
def incidents_list(client: ClientOption = "", as_json: AsJson = False) -> None:
    """Incidents that are open, oldest first."""
    with Office.from_env().engine.connect() as connection:
        found = open_incidents(connection, client)
    if as_json:
        out.print_json(json.dumps([dict(one) for one in found]))
        return
    for one in found:
        _say(f"{one['incident_id'][:8]}  {one['title']}, {one['symptoms']} symptoms since {one['opened_at'][:16]} UTC")
        _say(f"          {one['evidence']}")
        _say(f"          {one['owner']}: {one['recovery_rule']}")
    if not found:
        _say("No incident is open.")


@incidents_app.command("resolve")
def incidents_resolve(incident_id: Which, by: By) -> None:
    """Say that it is mended. If it is not, its next symptom opens a new one."""
    with Office.from_env().engine.begin() as connection:
        one = _only(find_incident(connection, incident_id), incident_id, "incident")
        done = bool(one["open_key"]) and _resolve(connection, one, by)
    _say("Resolved." if done else f"It was resolved {one['resolved_at']} by {one['resolved_by']}.")


def _resolve(connection: Connection, one: Row, by: str) -> bool:
    client_id, _, cause = one["open_key"].partition("|")
    return resolve(connection, cause, _now(), client_id=client_id, by=by)
