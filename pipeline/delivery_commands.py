"""`leadtrail emit`, `deliver`, `outputs …`, `handoff …`, `opt-outs …`, `audit …`: what is due, queued, and what became of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import select

from pipeline.clients import ClientsFileError
from pipeline.office import Office
from pipeline.store import audit as audit_store
from pipeline.store import outputs as queue
from pipeline.store.erasures import Prints
from pipeline.store.schema import outputs, suppressions
from pipeline.store.suppressions import lift, suppress
from pipeline.store.unconfirmed import resolve_unknown

app = typer.Typer()
outputs_app = typer.Typer(help="Everything that was queued: tasks, messages, handoffs.", no_args_is_help=True)
handoff_app = typer.Typer(help="Changes to CRM contacts: planned, shown, taken back.", no_args_is_help=True)
opt_outs_app = typer.Typer(help="Who must not be written to, and words that may mean so.", no_args_is_help=True)
audit_app = typer.Typer(help="Who did what: a log in which nothing can be changed unnoticed.", no_args_is_help=True)
app.add_typer(outputs_app, name="outputs")
app.add_typer(handoff_app, name="handoff")
app.add_typer(opt_outs_app, name="opt-outs")
app.add_typer(audit_app, name="audit")
out = Console()

Which = Annotated[str, typer.Argument(help="Its id, or how it begins.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who does it.")]
ClientOption = Annotated[str, typer.Option("--client", help="Only this client_id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
PRIORITIES = ("urgent", "owner", "answer", "nurture")


def _now() -> datetime:
    return datetime.now(UTC)


def _say(line: str) -> None:
    out.print(escape(line), highlight=False, soft_wrap=True)


def _json(what: Any) -> None:
    sys.stdout.write(json.dumps(what, indent=2, default=str) + "\n")


@app.command()
def emit(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be queued; queue nothing.")] = False,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="CLIENT/RULE that may queue any number at once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue the tasks and messages that are due by the published follow-up steps, each once."""
    from pipeline.follow_up import emit as emission
    from pipeline.follow_up.detect import detect_holds

    office, now = Office.from_env(), _now()
    pairs = {(client, rule) for client, _, rule in (one.partition("/") for one in allow or ())}
    if not dry_run:
        detect_holds(office, now=now)
    done = emission.emit(office, now=now, allow=pairs, dry_run=dry_run)
    if as_json:
        queued = [
            {"client_id": client, "rule": rule, "priority": PRIORITIES[priority], "outputs": count}
            for (client, rule, priority), count in sorted(done.queued.items())
        ]
        waits = [{"client_id": client, "rule": rule, "outputs": n} for (client, rule), n in done.too_many.items()]
        _json({"queued": queued, "ended": done.ended, "too_many": waits, "left_out": done.left_out, "dry_run": dry_run})
    else:
        for (client, rule, priority), count in sorted(done.queued.items()):
            _say(f"{client}  {rule}  {PRIORITIES[priority]}  {count}")
        verb = "would be queued" if dry_run else "queued"
        _say(
            f"{done.queued.total()} {verb}, {done.ended['expired']} came too late, {done.cancelled} taken back, "
            f"{done.escalated} escalated, {done.taken_up} taken up."
        )
        for client, rule in sorted(done.paused):
            _say(f"{client}  {rule} is paused; what it asks for waits.")
    for client, why in sorted(done.left_out.items()):
        _say(f"✗ {client} was left out: {why}. Mend it, then `leadtrail build`.")
    for (client, rule), count in sorted(done.too_many.items()):
        _say(
            f"✗ {client}  {rule} asks for {count} at once; none was queued. "
            f"`leadtrail emit --allow {client}/{rule}` lets them go."
        )
    if done.left_out or done.too_many:
        raise typer.Exit(1)


@app.command()
def deliver(
    seconds: Annotated[float, typer.Option(min=1, help="Stop taking up more after this long.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Deliver what is queued and due, ask for what nobody knows of, and land what became of it."""
    from pipeline.follow_up import deliver as delivery
    from pipeline.follow_up.detect import detect_holds
    from pipeline.follow_up.outcomes import land_outcomes

    office = Office.from_env()
    detect_holds(office, now=_now())
    done = delivery.deliver(office, seconds=seconds)
    landed = land_outcomes(office, now=_now())
    if as_json:
        _json({"outcomes": done.outcomes, "asked": done.asked, "recovered": done.recovered, "landed": landed})
        return
    said = [f"{count} {what}" for what, count in sorted(done.outcomes.items())]
    _say(f"{', '.join(said) or 'Nothing was due'}; {landed} outcomes landed.")
    if done.asked:
        _say(
            f"Asked for what may have arrived: {', '.join(f'{count} {what}' for what, count in sorted(done.asked.items()))}."
        )


# ---- outputs ----


@outputs_app.command("list")
def list_outputs(
    client: ClientOption = "",
    status: Annotated[str, typer.Option(help=f"One of {', '.join(queue.STATUSES)}.")] = "",
    rule: Annotated[str, typer.Option(help="Only what this rule asked for.")] = "",
    lead: Annotated[str, typer.Option(help="Only this lead's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List outputs, newest first: what, for whom, how it stands and why."""
    office = Office.from_env()
    if status and status not in queue.STATUSES:
        raise ClientsFileError(f"There is no status {status!r}; there are {', '.join(queue.STATUSES)}.")
    if client:
        office.connections(client=client)  # a client that does not exist is a mistake, not an empty list
    query = select(outputs).order_by(outputs.c.created_at.desc(), outputs.c.output_id)
    for column, wanted in (("client_id", client), ("status", status), ("rule", rule), ("lead_id", lead)):
        if wanted:
            query = query.where(outputs.c[column] == wanted)
    with office.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query.limit(limit)).mappings()]
    if as_json:
        _json([_shown(row) for row in rows])
        return
    table = Table("id", "client", "what", "rule", "due (UTC)", "status", "why", box=None)
    for row in rows:
        why = row["reason_code"].replace("_", " ")
        what = f"{PRIORITIES[row['priority']]} {row['channel'].replace('_', ' ')}"
        due = row["due_at"][:16].replace("T", " ")
        table.add_row(row["output_id"][:12], row["client_id"], what, row["rule"], due, row["status"], why)
    out.print(table)
    _say(f"{len(rows)} outputs. `leadtrail outputs show ID` says what happened to one.")


@outputs_app.command("show")
def show_output(which: Which, as_json: AsJson = False) -> None:
    """Show one output: where it comes from, what it says, and everything that happened to it."""
    from pipeline.follow_up.look_up import find_output

    office = Office.from_env()
    row = find_output(office, which)
    with office.engine.connect() as connection:
        happened = [dict(one) for one in queue.history(connection, row["output_id"])]
    payload = json.loads(row["payload"])
    if as_json:
        _json({**_shown(row), "recipient": row["recipient"], "says": payload, "history": happened})
        return
    for name, value in _shown(row).items():
        if value not in (None, ""):
            _say(f"{name:18} {value}")
    _say(f"{'to':18} {row['recipient'] or row['owner']}")
    _say(f"\n{payload.get('subject', '')}\n{payload.get('body', '')}\n".replace("\n\n\n", "\n\n"))
    for one in happened:
        _say(f"{one['at'][:19].replace('T', ' ')}  {one['what']}  {one['code']}  {one['detail']}".rstrip())


@outputs_app.command("ack")
def acknowledge(which: Which, by: By = "somebody") -> None:
    """Say that somebody takes a task up: it is not escalated any more, and what waited behind it may go."""
    from pipeline.follow_up.escalations import take_up
    from pipeline.follow_up.look_up import find_output

    office, now = Office.from_env(), _now()
    row = find_output(office, which)
    with office.engine.begin() as connection:
        taken = take_up(connection, row["output_id"], now, because=f"By {by}.")
        if taken:
            audit_store.note(connection, by, "output.acknowledged", row["output_id"], {}, now)
    _say(f"{row['output_id'][:12]} is taken up." if taken else f"{row['output_id'][:12]} was taken up before.")


@outputs_app.command("resolve")
def resolve(
    which: Which,
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="Whether it arrived; not sent: it goes again.")],
    by: By = "somebody",
) -> None:
    """Say whether an output arrived that its provider cannot be asked for."""
    from pipeline.follow_up.look_up import NoSuchOutput, find_output

    office, now = Office.from_env(), _now()
    row = find_output(office, which)
    found = row["provider_ref"] or f"seen by {by}" if sent else None
    if not resolve_unknown(office.engine, row["output_id"], found, by, now):
        raise NoSuchOutput(f"{row['output_id'][:12]} is {row['status']}; only what is unknown is to be resolved.")
    with office.engine.begin() as connection:
        audit_store.note(connection, by, "output.resolved", row["output_id"], {"sent": sent}, now)
    _say(f"{row['output_id'][:12]} {'was delivered' if sent else 'goes again with the next delivery'}.")


@outputs_app.command("prepare")
def prepare(client: ClientOption = "") -> None:
    """Set up at the providers what delivering well needs: in HubSpot, the property that makes a second task impossible."""
    from connectors.registry import connector_class

    office = Office.from_env()
    for config in office.connections(client=client):
        if connector_class(config.provider).delivers:
            health = office.connector(config.client_id, config.provider).deliverer().prepare()
            _say(f"{'✓' if health.ok else '!'} {config.name}: {health.message} {health.fix}".rstrip())


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what it says and to whom."""
    return {name: value for name, value in row.items() if name not in ("payload", "recipient")}


# ---- handoffs ----


@handoff_app.command("plan")
def plan(
    contact: Annotated[str, typer.Argument(help="The contact's id in the CRM.")],
    values: Annotated[list[str], typer.Argument(help="field=value, as many as are to change.")],
    client: Annotated[str, typer.Option("--client", help="Whose contact it is.")],
    by: By = "somebody",
) -> None:
    """Queue a change of a CRM contact's fields. Nothing is written before it is delivered."""
    from pipeline.follow_up.handoffs import plan_handoff

    wanted = dict(one.partition("=")[::2] for one in values)
    output_id = plan_handoff(Office.from_env(), client, contact, wanted, by=by, now=_now())
    if output_id is None:
        _say("The contact has these values already; nothing was queued.")
    else:
        _say(
            f"Queued as {output_id[:12]}. `leadtrail handoff diff {output_id[:12]}` shows it, `leadtrail deliver` does it."
        )


@handoff_app.command("diff")
def show_diff(which: Which) -> None:
    """Show what delivering an output would change at its provider now. Changes nothing."""
    from pipeline.follow_up.handoffs import diff

    found = diff(Office.from_env(), which)
    _say(f"{found.provider}: {found.action} {found.target}")
    for change in found.changes:
        _say(
            f"  {change.field}: {change.before!r} → {change.after!r}"
            if change.before
            else f"  {change.field}: {change.after!r}"
        )


@handoff_app.command("rollback")
def roll_back(which: Which, by: By = "somebody") -> None:
    """Take a delivered handoff back, field by field, where nobody changed the contact since."""
    from pipeline.follow_up.handoffs import roll_back as take_back

    back = take_back(Office.from_env(), which, by=by, now=_now())
    for what, fields in (
        ("restored", back.restored),
        ("as before already", back.already),
        ("changed since: left", back.skipped),
    ):
        if fields:
            _say(f"{what}: {', '.join(fields)}")


# ---- opt-outs ----


@opt_outs_app.command("list")
def list_opt_outs(
    client: ClientOption = "",
    everything: Annotated[bool, typer.Option("--all", help="Those that were lifted too.")] = False,
) -> None:
    """List the addresses that are not written to, and those under review."""
    query = select(suppressions).order_by(suppressions.c.state, suppressions.c.since)
    if client:
        query = query.where(suppressions.c.client_id == client)
    if not everything:
        query = query.where(suppressions.c.state != "lifted")
    with Office.from_env().engine.connect() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        _say(
            f"{row.client_id}  {row.address}  {row.channel}  {row.state.replace('_', ' ')}  since {row.since[:10]}  {row.cause}"
        )
    _say(f"{len(rows)} addresses.")


@opt_outs_app.command("confirm")
def confirm(
    address: Annotated[str, typer.Argument(help="The phone (+1512…) or e-mail address.")],
    client: Annotated[str, typer.Option("--client", help="Who may not write to it.")],
    by: By = "somebody",
) -> None:
    """Record that somebody does not want to be written to, on any channel."""
    office = Office.from_env()
    office.connections(client=client)
    channel: Any = "email" if "@" in address else "text"
    with office.engine.begin() as connection:
        suppress(connection, client, address.lower(), channel, cause="person", evidence=f"said to {by}", now=_now())
    _say("Recorded: nothing more is sent there.")


@opt_outs_app.command("lift")
def lift_opt_out(
    address: Annotated[str, typer.Argument(help="The phone (+1512…) or e-mail address.")],
    client: Annotated[str, typer.Option("--client", help="Who may write to it again.")],
    why: Annotated[str, typer.Option("--why", help="How you know that they allow it.")],
    by: By = "somebody",
) -> None:
    """Record that somebody may be written to again, or never forbade it."""
    office = Office.from_env()
    office.connections(client=client)
    channel: Any = "email" if "@" in address else "text"
    with office.engine.begin() as connection:
        known_as = (address.lower(), Prints(office.settings).address(client, address.lower()))  # the second if erased
        lifted = [
            lift(connection, client, way, one, by=by, evidence=why, now=_now())
            for way in known_as
            for one in (channel, "any")
        ]
    _say("Recorded: they may be written to again." if any(lifted) else "Nothing stood against that address.")


# ---- audit ----


@audit_app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Check that no row of the audit log was changed, left out or put in; name the first that was."""
    count, broken = Office.from_env().audit()
    if as_json:
        _json(
            {
                "rows": count,
                "first_bad_row": broken.seq if broken else None,
                "problem": broken.problem if broken else "",
            }
        )
    elif broken is None:
        _say(f"✓ {count} rows, each sealed with the one before.")
    else:
        _say(f"✗ Row {broken.seq} of the audit log does not hold: {broken.problem}. {count} rows before it do.")
        _say("  Keep the store as it is and compare it with a backup; somebody changed it outside Leadtrail.")
    if broken is not None:
        raise typer.Exit(1)
