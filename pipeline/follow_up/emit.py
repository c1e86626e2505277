"""What is due goes into the queue, once each: tasks and messages that the published steps ask for.

Emitting twice, by two processes, or after a crash changes nothing: a step's key is the output's. A step that came too late gets
its row too, so that "why was this not sent" always has an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, text

from pipeline.build_record import last_build
from pipeline.clients import ClientConfig
from pipeline.crash_points import crash_here
from pipeline.follow_up import answers, opt_outs
from pipeline.follow_up.compliance import names_opt_out
from pipeline.follow_up.compose import Desk
from pipeline.follow_up.escalations import escalate
from pipeline.follow_up.holding import to_the_desk
from pipeline.follow_up.published import Published, Step
from pipeline.follow_up.refusals import ask_owner
from pipeline.follow_up.standing import courses, moves_of
from pipeline.follow_up.taking_back import take_back
from pipeline.follow_up.tasks import owner_task
from pipeline.follow_up.template_book import templates_kept
from pipeline.settings import Settings
from pipeline.store import incidents
from pipeline.store.engine import stamp
from pipeline.store.held import ON_HOLD
from pipeline.store.outputs import Output, enqueue
from pipeline.store.schema import outputs

if TYPE_CHECKING:
    from pipeline.office import Office

TOLD_LATELY = timedelta(days=20)  # the gate wants it once in 30 days; a text may wait some of them
TRIES = 5  # of reading again because something newer was published meanwhile
CHUNK = 5_000


class TooMuchNews(Exception):
    """Something newer was published every time we looked. Emitting again will do."""


@dataclass
class Emission:
    """What an emission did. `queued` counts by (client, rule, priority); `left_out` says why a client had none;
    `too_many` names rules whose outputs wait for a person."""

    queued: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)  # rows that ended as they began, by status
    cancelled: int = 0
    escalated: int = 0
    taken_up: int = 0
    opt_outs: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    too_many: dict[tuple[str, str], int] = field(default_factory=dict)
    paused: set[tuple[str, str]] = field(default_factory=set)
    output_ids: list[str] = field(default_factory=list)


def emit(office: Office, *, now: datetime, allow: Collection[tuple[str, str]] = (), dry_run: bool = False) -> Emission:
    """Queue what is due by now. `allow`: (client, rule) pairs that may queue any number at once. With `dry_run` nothing is
    kept: what it returns is what would happen. Raises NotPublished."""
    clients = {one.client_id: one for one in office.clients()}
    for _ in range(TRIES):
        with Published.opened(office.settings) as published:
            emission = Emission(left_out=_left_out(office.settings, clients))
            news = _News(
                opt_outs.read_opt_outs(office.engine, published),
                answers.hear(office.engine, published, now),
                _composed(office, published, clients, emission, now),
            )
            crash_here("emit: read")
            with office.engine.connect() as connection, connection.begin() as transaction:
                _one_at_a_time(connection)
                if not published.is_current:  # leads may have been merged in it: their keys are other ones now
                    continue
                _queue(connection, published, clients, news, emission, now=now, allow=allow)
                if dry_run:
                    transaction.rollback()
                    return emission
        crash_here("emit: queued")
        return emission
    raise TooMuchNews("Something newer was published each time what is due was read. Run `leadtrail emit` again.")


def _left_out(settings: Settings, clients: Mapping[str, ClientConfig]) -> dict[str, str]:
    """Clients whose figures failed a test in the last build: nothing is sent on figures that may be wrong."""
    record = last_build(settings)
    if record is None or record.ok:
        return {}
    failed = clients.keys() if record.clients is None else record.clients
    said = {
        client: [str(one) for one in record.failures if one.clients is None or client in one.clients]
        for client in failed
    }
    return {client: "; ".join(said[client][:3]) for client in failed if client in clients}


# ---- what is read before the transaction, since it takes time: in the transaction nobody else can write to the store ----


@dataclass(frozen=True)
class _News:
    opt_outs: opt_outs.Said
    answers: answers.Heard
    fresh: Sequence[tuple[Step, Output]]


def _composed(
    office: Office, published: Published, clients: Mapping[str, ClientConfig], emission: Emission, now: datetime
) -> list[tuple[Step, Output]]:
    due = published.steps_due(now, clients.keys() - emission.left_out.keys())
    with office.engine.connect() as connection:
        known = _known(connection, due)
        fresh = [step for step in due if known.isdisjoint(step.keys)]
        if not fresh:
            return []
        published.know((step.client_id, step.lead_id) for step in fresh if step.lead_id)
        desk = Desk(office.settings, published, templates_kept(connection), _told_lately(connection, now), now)
    return [(step, desk.compose(step, clients[step.client_id])) for step in fresh]


def _known(connection: Connection, steps: Iterable[Step]) -> set[str]:
    """Those keys of these steps that the queue has."""
    keys = sorted({key for step in steps for key in step.keys})
    found: set[str] = set()
    for start in range(0, len(keys), CHUNK):
        column = outputs.c.idempotency_key
        found.update(connection.execute(select(column).where(column.in_(keys[start : start + CHUNK]))).scalars())
    return found


def _told_lately(connection: Connection, now: datetime) -> set[tuple[str, str]]:
    """Whom a text that surely arrived has told how to opt out."""
    sent = (
        outputs.c.channel == "text",
        outputs.c.status == "delivered",
        outputs.c.status_at > stamp(now - TOLD_LATELY),
    )
    rows = connection.execute(select(outputs.c.client_id, outputs.c.recipient, outputs.c.payload).where(*sent))
    return {(row.client_id, row.recipient) for row in rows if names_opt_out(row.payload)}


# ---- the transaction ----


def _one_at_a_time(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text("select pg_advisory_xact_lock(7412)"))


def _queue(
    connection: Connection,
    published: Published,
    clients: Mapping[str, ClientConfig],
    news: _News,
    emission: Emission,
    *,
    now: datetime,
    allow: Collection[tuple[str, str]],
) -> None:
    emission.opt_outs = opt_outs.heed_opt_outs(connection, news.opt_outs, published, clients, now)
    taken, failed = answers.heed(connection, news.answers, now)
    emission.taken_up = len(taken)
    for row in failed:
        ask_owner(
            connection, published, clients[row["client_id"]], row, row["reason_code"], row["reason"], "Call them.", now
        )
    emission.cancelled = take_back(connection, published, now)
    known = _known(connection, [step for step, _ in news.fresh])
    fresh = [(step, output) for step, output in news.fresh if known.isdisjoint(step.keys)]
    fresh = _but_paused(connection, fresh, emission)
    wanted = _but_too_many(connection, clients, [output for _, output in fresh], emission, now=now, allow=allow)
    emission.output_ids = enqueue(connection, wanted, now)
    to_the_desk(connection, now)  # while the CRM is on hold
    for output in wanted:
        if output.status == "pending":
            emission.queued[output.client_id, output.rule, output.priority] += 1
        else:
            emission.ended[output.status] += 1
    _triage(connection, clients, now)
    emission.escalated = len(escalate(connection, clients, published, now))


def _but_paused(
    connection: Connection, fresh: Sequence[tuple[Step, Output]], emission: Emission
) -> list[tuple[Step, Output]]:
    """What a paused rule asks for waits; what is still true when the pause ends is emitted then."""
    moves = moves_of(connection)
    in_course = {client_id: courses(moves, client_id) for client_id in {step.client_id for step, _ in fresh}}
    going = []
    for step, output in fresh:
        course = in_course[step.client_id].get(step.rule)
        if course is not None and course.is_silent(step.rule_version):
            emission.paused.add((step.client_id, step.rule))
        else:
            going.append((step, output))
    return going


def _but_too_many(
    connection: Connection,
    clients: Mapping[str, ClientConfig],
    wanted: Sequence[Output],
    emission: Emission,
    *,
    now: datetime,
    allow: Collection[tuple[str, str]],
) -> list[Output]:
    """A rule that would emit a flood is a mistake until a person says otherwise: none of it is queued."""
    counts = Counter((one.client_id, one.rule) for one in wanted if one.status == "pending")
    for (client_id, rule), count in sorted(counts.items()):
        client = clients[client_id]
        cause, most = f"too-many|{rule}", client.follow_up.outputs_per_emission
        if count <= most or (client_id, rule) in allow:
            incidents.resolve(connection, cause, now, client_id=client_id, by="leadtrail")
            continue
        emission.too_many[client_id, rule] = count
        incidents.report(
            connection,
            cause,
            client_id=client_id,
            title=f"{rule} asks for {count} outputs at once for {client_id}",
            evidence=f"{count} outputs are due and {most} are allowed in one emission (outputs_per_emission).",
            owner=client.owner,
            recovery_rule=f"Look at them with `leadtrail emit --dry-run`. Then pause the rule, or let them go: "
            f"`leadtrail emit --allow {client_id}/{rule}`.",
            now=now,
        )
    return [one for one in wanted if (one.client_id, one.rule) not in emission.too_many]


def _triage(connection: Connection, clients: Mapping[str, ClientConfig], now: datetime) -> None:
    """What became too late, here or at the gate, is its owner's to look at: one list a day for each client. (What a hold made
    too late is on the list of the hold's end.)"""
    for client_id, client in sorted(clients.items()):
        today = now.astimezone(ZoneInfo(client.timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
        late = (
            outputs.c.client_id == client_id,
            outputs.c.status == "expired",
            outputs.c.status_at >= stamp(today),
            outputs.c.reason_code != ON_HOLD,
            outputs.c.rule != "",
        )
        rules: Counter[str] = Counter(connection.execute(select(outputs.c.rule).where(*late)).scalars())
        if not rules:
            continue
        task = owner_task(
            client,
            key=f"too-late|{client_id}|{today.date()}",
            subject=f"Sort out what came too late: {rules.total()}",
            body="\n".join(
                [
                    "These were no longer true when they could have been sent:",
                    *(f"- {count} of {rule}" for rule, count in sorted(rules.items())),
                    f"`leadtrail outputs list --client {client_id} --status expired` shows them.",
                ]
            ),
            source="emission",
            now=now,
            role="client_owner",
        )
        enqueue(connection, [task], now)
