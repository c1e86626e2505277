"""`leadtrail …`: every command says what it did and what to do next, and exits non-zero when it failed."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from pipeline.accounts_commands import accounts_app
from pipeline.backup_commands import app as backup_app
from pipeline.clients import ClientsFileError
from pipeline.delivery_commands import app as delivery_app
from pipeline.holds_commands import holds_app, incidents_app
from pipeline.office import Office
from pipeline.portal_commands import portal_app
from pipeline.privacy.commands import app as privacy_app
from pipeline.replay_command import replay_command
from pipeline.rules_commands import rules_app
from pipeline.settings import Settings
from pipeline.summaries_commands import summaries_app
from pipeline.templates_commands import templates_app

app = typer.Typer(
    name="leadtrail",
    help="Every lead of a home-service business, from first touch to paid invoice, in one traceable timeline.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
clients_app = typer.Typer(help="The clients file: who is served, and how they are connected.", no_args_is_help=True)
secrets_app = typer.Typer(help="Secrets in the encrypted store.", no_args_is_help=True)
app.add_typer(clients_app, name="clients")
app.add_typer(secrets_app, name="secrets")
identity_app = typer.Typer(
    help="Who is who: why records are one person's, and what people decided.", no_args_is_help=True
)
app.add_typer(identity_app, name="identity")
app.add_typer(rules_app, name="rules")
app.add_typer(templates_app, name="templates")
app.add_typer(holds_app, name="holds")
app.add_typer(incidents_app, name="incidents")
app.add_typer(accounts_app, name="accounts")
app.add_typer(summaries_app, name="summaries")
app.add_typer(portal_app, name="portal")
app.add_typer(delivery_app)
app.add_typer(privacy_app)
app.add_typer(backup_app)
app.command("replay")(replay_command)
out, err = Console(), Console(stderr=True)

ClientOption = Annotated[str, typer.Option("--client", help="Only this client_id.")]
ProviderOption = Annotated[str, typer.Option("--provider", help="Only this provider.")]


def main() -> None:
    """The entry point: known problems are one clear message, not a traceback."""
    from sqlalchemy.exc import DBAPIError

    from connectors.base import ConnectorError
    from pipeline.backup import BackupProblem
    from pipeline.client_safe.facts import NoFacts
    from pipeline.demo import AnotherTown
    from pipeline.follow_up.emit import TooMuchNews
    from pipeline.follow_up.look_up import NoSuchOutput
    from pipeline.follow_up.published import NotPublished
    from pipeline.follow_up.replay import CannotReplay
    from pipeline.follow_up.rule_file import RuleMistake
    from pipeline.follow_up.template_book import NotAllowed
    from pipeline.identity_decisions import NotDecided
    from pipeline.imports import ImportFailed
    from pipeline.privacy.retention import RetentionMistake
    from pipeline.privacy.subject import NobodyFound
    from pipeline.store.accounts import AccountProblem
    from pipeline.store.engine import StoreProblem
    from pipeline.store.sealed import KeyProblem
    from pipeline.supervisor import AlreadyUp, DidNotStart
    from pipeline.warehouse import BuildFailed, Busy

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(
            logging.WARNING
        )  # loggers that chat (dagster's) reach the root handler whatever its logger's level
    os.umask(0o077)  # what we write holds people's calls and messages: for the user that runs us alone
    try:
        app()
    except (
        AccountProblem,
        AlreadyUp,
        AnotherTown,
        BackupProblem,
        BuildFailed,
        Busy,
        CannotReplay,
        ClientsFileError,
        ConnectorError,
        DidNotStart,
        ImportFailed,
        KeyProblem,
        NobodyFound,
        NoFacts,
        NotAllowed,
        NoSuchOutput,
        NotDecided,
        NotPublished,
        RetentionMistake,
        RuleMistake,
        StoreProblem,
        TooMuchNews,
    ) as problem:
        _complain(str(problem))
        sys.exit(1)
    except (OSError, DBAPIError) as problem:
        said = problem.orig if isinstance(problem, DBAPIError) else problem
        _complain(
            f"This machine's disk or store failed: {said}. What was committed stays, the rest is read again. Run "
            "`leadtrail doctor`, then this command once more."
        )
        sys.exit(1)


def _complain(problem: str, mark: str = "[red]✗[/red]") -> None:
    """On standard error, as it is: brackets in it are no markup, and its lines are not broken up."""
    err.print(f"{mark} {escape(problem)}", highlight=False, soft_wrap=True)


def _tell(findings: Sequence[tuple[str, str, str, str]]) -> None:
    """(mark, name, what was found, what to do) as lines: a command in them can be copied, however narrow the window."""
    wide = max((len(name) for _, name, _, _ in findings), default=0)
    for mark, name, found, fix in findings:
        out.print(f"{mark} {escape(name.ljust(wide))}  {escape(found)}", highlight=False, soft_wrap=True)
        if fix:
            out.print(f"  {'':{wide}}  [dim]→[/dim] {escape(fix)}", highlight=False, soft_wrap=True)


def now_utc() -> datetime:
    return datetime.now(UTC)


# ---- running ----


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="0 takes a free port.")] = 8900,
    seed: Annotated[int, typer.Option(help="The same seed makes the same town.")] = 7,
    clients: Annotated[int, typer.Option(min=1)] = 3,
    months: Annotated[int, typer.Option(min=1)] = 6,
    leads_per_month: Annotated[int, typer.Option(min=1, help="New leads for each client and month.")] = 60,
    truth: Annotated[Path | None, typer.Option(help="Write who is really who to this file.")] = None,
    end: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The town's history ends on this day (UTC); today if left out."),
    ] = None,
) -> None:
    """Serve all seven providers (and a form) on loopback, from one made-up town."""
    from connectors.sandbox.run import serve

    day = end or now_utc()
    serve(
        port=port,
        seed=seed,
        clients=clients,
        months=months,
        leads_per_month=leads_per_month,
        truth_path=truth,
        end=day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC),
    )


@app.command()
def intake(
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8910,
    host: Annotated[str, typer.Option(help="The address to listen on; put a TLS proxy in front.")] = "127.0.0.1",
) -> None:
    """Receive webhooks: check, store durably, answer. `leadtrail sync` brings them to landing."""
    from pipeline.desk.intake import CachedConnectors, intake_app
    from pipeline.desk.server import serve
    from pipeline.follow_up.unsubscribe import Tokens

    office = Office.from_env()
    connectors = CachedConnectors(office.webhook_connectors, office.version)
    if problem := connectors.problem():
        _complain(f"Webhooks are put off until this is mended: {problem}", "[yellow]![/yellow]")
    application = intake_app(
        office.engine, connectors, public_url=office.settings.public_url, tokens=Tokens(office.settings)
    )
    out.print(f"Intake listens on http://{host}:{port}/webhooks/<client>/<provider>")
    serve(application, host=host, port=port)


@app.command()
def desk(
    port: Annotated[int, typer.Option(help="The desk's port.")] = 8920,
    portal_port: Annotated[int, typer.Option(help="The portal's port.")] = 8930,
    host: Annotated[str, typer.Option(help="The address to listen on; put a TLS proxy in front.")] = "127.0.0.1",
) -> None:
    """Serve the desk for staff and the portal for clients, on two ports: two origins."""
    from pipeline.desk.people import serve
    from pipeline.store.accounts import all_accounts

    office = Office.from_env()
    office.clients()  # a mistake in the clients file is told now
    with office.engine.connect() as connection:
        has_staff = any(one.is_staff and not one.disabled_at for one in all_accounts(connection))
    out.print(f"Desk   {office.settings.desk_url or f'http://{host}:{port}'}")
    out.print(f"Portal {office.settings.portal_url or f'http://{host}:{portal_port}'}")
    if not has_staff:
        _complain("Nobody can sign in yet. `leadtrail accounts add EMAIL --role admin`.", "[yellow]![/yellow]")
    serve(office, host=host, port=port, portal_port=portal_port)


@app.command()
def sync(client: ClientOption = "", provider: ProviderOption = "") -> None:
    """Pull what is new from every provider, and bring waiting webhooks to landing."""
    from pipeline.processes import NICE, stand_back
    from pipeline.report import sync_table

    stand_back(NICE["sync"])
    office = Office.from_env()
    started = time.monotonic()
    outcomes = office.sync(now=now_utc(), client=client, provider=provider)
    out.print(sync_table(outcomes))
    landed = sum(outcome.landed.total() for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.state != "ok"]
    out.print(f"{landed:,} records landed from {len(outcomes)} connections in {time.monotonic() - started:.1f} s.")
    for outcome in failed:
        _complain(f"{outcome.client_id}/{outcome.provider} {outcome.state}: {outcome.reason} {outcome.fix}")
    if failed:
        err.print(f"{len(failed)} of {len(outcomes)} connections did not finish; the others are complete.")
        raise typer.Exit(1)
    out.print("Next: `leadtrail build`.")


@app.command()
def build(full_refresh: Annotated[bool, typer.Option(help="Rebuild every model from landing.")] = False) -> None:
    """Build and test the models; publish them if every test passes."""
    from pipeline.baseline import settle_baselines
    from pipeline.publishing import publish
    from pipeline.warehouse import build as build_models

    office = Office.from_env()
    settings, started = office.settings, time.monotonic()
    office.write_directory()
    result = build_models(settings, full_refresh=full_refresh)
    settle_baselines(settings, office.engine, now=now_utc())
    path = publish(settings)
    out.print(f"{result.models} models built, {result.tests} tests passed in {time.monotonic() - started:.1f} s.")
    for warning in result.warnings:
        _complain(warning, "[yellow]![/yellow]")
    out.print(f"Published as {path.name}. Open {settings.analytics} with any DuckDB tool.")


@app.command()
def rebuild() -> None:
    """Drop the warehouse and build it again from landing: the same rows, every time."""
    from pipeline.baseline import settle_baselines
    from pipeline.publishing import publish
    from pipeline.warehouse import build as build_models
    from pipeline.warehouse import drop_warehouse

    office = Office.from_env()
    settings = office.settings
    office.write_directory()
    drop_warehouse(settings)
    result = build_models(settings)
    settle_baselines(settings, office.engine, now=now_utc())
    path = publish(settings)
    out.print(f"Rebuilt {result.models} models from landing, {result.tests} tests passed. Published as {path.name}.")


@app.command()
def compact() -> None:
    """Merge small landing files into large ones. Changes no row."""
    from pipeline.compaction import compact as merge
    from pipeline.warehouse import sole_writer

    office = Office.from_env()
    with sole_writer(office.settings):
        done = merge(office.settings.landing, office.engine, now=now_utc())
    out.print(f"Merged {done.merged} files into {done.written}; deleted {done.deleted} replaced before.")


# ---- connecting ----


@clients_app.command("init")
def clients_init(force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False) -> None:
    """Write a commented clients file to start from."""
    from pipeline.clients_template import TEMPLATE

    path = Settings.from_env().clients_file
    if path.exists() and not force:
        _complain(f"{path} exists already. Edit it, or use --force to start over.")
        raise typer.Exit(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEMPLATE)
    out.print(f"Wrote {path}. Fill in one client, set its secrets, then run `leadtrail check`.")


@app.command()
def check(
    client: ClientOption = "",
    provider: ProviderOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Try every connection: does it work, and if not, what must a person do?"""
    from pipeline.checkup import check_connections

    office = Office.from_env()
    results = check_connections(office, client=client, provider=provider)
    if as_json:
        out.print_json(json.dumps([result.__dict__ for result in results]))
    else:
        marks = {True: "[green]✓[/green]", False: "[red]✗[/red]"}
        _tell([(marks[one.ok], one.connection, one.message, one.fix) for one in results])
    if not all(result.ok for result in results):
        raise typer.Exit(1)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV export.")],
    client: Annotated[str, typer.Option("--client", help="Whose export it is.")],
    provider: Annotated[str, typer.Option("--provider", help="angi or thumbtack.")],
    column: Annotated[list[str] | None, typer.Option(help="Our field=their column, if it is not recognised.")] = None,
) -> None:
    """Import a marketplace's CSV export for history. Importing it again changes nothing."""
    from pipeline.imports import ImportFailed, import_export

    office = Office.from_env()
    pairs = [pair.partition("=") for pair in column or []]
    if any(not equals for _, equals, _ in pairs):
        raise ImportFailed("--column is written field=column, e.g. --column lead_id='Lead Number'.")
    count = import_export(
        office.connector(client, provider),
        client,
        file,
        mapping={ours: theirs for ours, _, theirs in pairs},
        settings=office.settings,
        engine=office.engine,
        now=now_utc(),
    )
    out.print(f"{count} rows landed for {client}/{provider}. Next: `leadtrail build`.")


@secrets_app.command("set")
def secrets_set(name: str) -> None:
    """Store a secret, asked for (or read from standard input), encrypted."""
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    if not value:
        _complain(f"{name} was not stored: the value is empty. Type it, or pipe it in.")
        raise typer.Exit(1)
    Office.from_env().workshop.sealed.put(name, value, now_utc())
    out.print(f"{name} is stored. Run `leadtrail check` to try it.")


@secrets_app.command("list")
def secrets_list() -> None:
    """Names of stored secrets; never their values."""
    for name in Office.from_env().workshop.sealed.names():
        if not name.startswith("oauth:"):
            out.print(name)


@secrets_app.command("remove")
def secrets_remove(name: str) -> None:
    """Forget a stored secret."""
    if not Office.from_env().workshop.sealed.remove(name):
        _complain(f"No secret is called {name}. `leadtrail secrets list` shows those that are.")
        raise typer.Exit(1)
    out.print(f"{name} is gone.")


# ---- who is who ----


@identity_app.command("show")
def identity_show(
    client: Annotated[str, typer.Option("--client")],
    value: Annotated[
        str, typer.Argument(help="A phone (+15125550142), an email, or an identifier like hubspot_contact:501.")
    ],
) -> None:
    """Who holds this identifier, by which records, and why these are one person's."""
    from pipeline.identity_decisions import explain

    rows = explain(Settings.from_env().analytics, client, value)
    if not rows:
        _complain(f"Nobody of {client} holds {value}. Phones are written +15125550142, emails in lower case.")
        raise typer.Exit(1)
    last = ""
    for person, provider, record, keys, because in rows:
        if person != last:
            out.print(f"[bold]person {person}[/bold]")
        out.print(f"  {provider} {escape(record)}\n    {escape(keys or '')}\n    {escape(because)}", soft_wrap=True)
        last = person


def _decided(what: Literal["link", "part", "forget"], client: str, key_a: str, key_b: str, by: str, why: str) -> None:
    from pipeline.identity_decisions import decide

    office = Office.from_env()
    decide(
        what,
        client,
        key_a,
        key_b,
        by=by,
        why=why,
        landing_root=office.settings.landing,
        engine=office.engine,
        now=now_utc(),
    )
    out.print("Landed. `leadtrail build` takes it in, and everything that follows from it.")


KeyArgument = Annotated[str, typer.Argument(help="An identifier as `leadtrail identity show` prints it.")]
WhoOption = Annotated[str, typer.Option("--by", help="Who decides.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why, in a sentence.")]


@identity_app.command("link")
def identity_link(
    key_a: KeyArgument,
    key_b: KeyArgument,
    client: Annotated[str, typer.Option("--client")],
    by: WhoOption,
    why: WhyOption,
) -> None:
    """Decide that two identifiers are one person's."""
    _decided("link", client, key_a, key_b, by, why)


@identity_app.command("part")
def identity_part(
    key_a: KeyArgument,
    key_b: KeyArgument,
    client: Annotated[str, typer.Option("--client")],
    by: WhoOption,
    why: WhyOption,
) -> None:
    """Decide that two identifiers are two persons'."""
    _decided("part", client, key_a, key_b, by, why)


@identity_app.command("forget")
def identity_forget(
    key_a: KeyArgument,
    key_b: KeyArgument,
    client: Annotated[str, typer.Option("--client")],
    by: WhoOption,
    why: WhyOption,
) -> None:
    """Take back what was decided about two identifiers."""
    _decided("forget", client, key_a, key_b, by, why)


# ---- seeing ----


@app.command()
def verify(
    by: Annotated[str, typer.Option("--by", help="Whose check it is; whoever is logged in, if left out.")] = "",
) -> None:
    """After a change: the desk, the portal at both widths, webhooks, queue, freshness, observability, of what is running now."""
    import getpass

    from pipeline.verification.verify import verify as run

    made = run(Office.from_env(), owner=by or getpass.getuser(), now=now_utc())
    marks = {"ok": "[green]✓[/green]", "warn": "[yellow]![/yellow]", "problem": "[red]✗[/red]"}
    _tell([(marks[one.level], one.what, one.found, one.fix) for one in made.findings])
    said = "Verified" if made.ok else "NOT verified"
    out.print(f"{said} by {made.owner} at {made.at[:16]} UTC, {made.took_seconds} s ({made.verification_id}).")
    if not made.ok:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Versions, settings, connections, locks, freshness: each problem with its fix."""
    from pipeline.doctor import examine

    findings = examine(Settings.from_env(), now=now_utc())
    if as_json:
        out.print_json(json.dumps([finding.__dict__ for finding in findings]))
    else:
        marks = {"ok": "[green]✓[/green]", "warn": "[yellow]![/yellow]", "problem": "[red]✗[/red]"}
        _tell([(marks[one.level], one.what, one.found, one.fix) for one in findings])
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


@app.command()
def run(
    seed: Annotated[int, typer.Option()] = 7,
    clients: Annotated[int, typer.Option(min=1)] = 3,
    months: Annotated[int, typer.Option(min=1)] = 6,
    leads_per_month: Annotated[int, typer.Option(min=1)] = 60,
) -> None:
    """A working agency in one command: a made-up town, its webhooks, every provider synced, the models built and tested."""
    from pipeline.demo import run_demo

    if not run_demo(seed=seed, clients=clients, months=months, leads_per_month=leads_per_month, console=out):
        raise typer.Exit(1)


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Dagster's port.")] = 3000,
    intake_port: Annotated[int, typer.Option(help="The intake's port.")] = 8910,
    desk_port: Annotated[int, typer.Option(help="The desk's port.")] = 8920,
    portal_port: Annotated[int, typer.Option(help="The portal's port.")] = 8930,
) -> None:
    """Run everything that runs for long: intake, desk, portal, schedules, sensors, and Dagster's pages."""
    from pipeline.up import Ports, run_everything

    ports = Ports(dagster=port, intake=intake_port, desk=desk_port, portal=portal_port)
    raise typer.Exit(run_everything(Settings.from_env(), ports=ports, console=out))


if __name__ == "__main__":
    main()
