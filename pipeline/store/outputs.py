"""The queue of everything Leadtrail emits: asked for any number of times, done once.

    pending ──claim──▶ leased ──▶ delivered
       ▲                 ├──▶ retrying ──(due again)──▶ leased          until the retry window ends: failed
       │                 ├──▶ unknown    sent, but nobody knows whether it arrived: asked for, never sent again blindly
       │                 └──▶ failed | cancelled | expired | held

A claim gives a lease and a fence. Whoever reports with an older fence, or after the lease, has lost the output and is not
heard. Just before the provider is called the worker says so (`begin_sending`); a lease that runs out after that leaves
`unknown`, one that runs out before leaves `pending`. The gate is asked in the claiming transaction and once more in that of
`begin_sending`: an opt-out that is committed before it always wins.

The lease of a claim is short: a worker that dies before the provider is called costs two minutes. The lease for sending is longer
than any delivery may take: an output whose worker is still waiting for an answer must not be taken for lost. A worker that
wakes up after a long sleep writes nothing to the provider any more (WRITE_WITHIN). If its write had left before, what it says of
it is heard even if the output is somebody else's by now, unless that one is sending it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.store.engine import stamp
from pipeline.store.schema import output_log, outputs

STATUSES = ("pending", "leased", "retrying", "held", "unknown", "delivered", "failed", "cancelled", "expired")
OPEN = ("pending", "leased", "retrying", "held", "unknown")  # something may still come of it
WAITING, GIVEN_UP = ("pending", "leased", "retrying", "held"), ("cancelled", "expired")
LEASE, SENDING_LEASE = timedelta(minutes=2), timedelta(minutes=15)
WRITE_WITHIN = timedelta(
    minutes=5
)  # of begin_sending; the rest of the lease is for slow answers and clocks that differ
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=20), timedelta(minutes=15)


@dataclass(frozen=True)
class Output:
    """Something to be emitted. `payload` is what to say, as approved; it is stored as JSON. One that ends as it begins (expired
    before it could be queued, say) comes with that `status` and its reason."""

    idempotency_key: str
    output_type: str
    client_id: str
    lead_id: str | None
    channel: str
    priority: int
    owner: str
    source: str
    recipient: str
    payload: Mapping[str, Any]
    due_at: datetime
    expires_at: datetime
    recovery_rule: str
    rule: str = ""
    rule_version: str = ""
    step_id: str = ""
    trigger_event_id: str | None = None
    template: str = ""
    template_version: str = ""
    respond_by: datetime | None = None
    status: str = "pending"
    reason_code: str = ""
    reason: str = ""

    @property
    def output_id(self) -> str:
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Claimed:
    """An output that is this worker's until `lease_until`, if it reports with this `fence`."""

    output_id: str
    fence: int
    attempts: int
    lease_until: datetime
    row: Mapping[str, Any] = field(repr=False)  # the row of `outputs`; holds what is to be said

    @property
    def payload(self) -> dict[str, Any]:
        return dict(json.loads(self.row["payload"]))


@dataclass(frozen=True)
class Ruling:
    """What the gate says about one output: go on, wait until a time, or end as `status`."""

    what: Literal["allow", "wait", "refuse"]
    code: str = ""
    reason: str = ""
    until: datetime | None = None
    status: str = "cancelled"  # of a refusal: cancelled | expired | held | failed


Gate = Callable[[Connection, Mapping[str, Any], datetime], Ruling]
Follows = Callable[[Connection], None]  # in the transaction of what it follows from


def enqueue(connection: Connection, wanted: Sequence[Output], now: datetime) -> list[str]:
    """Queue outputs in the caller's transaction; those whose key is known are left alone. Returns the ids that are new."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(outputs).on_conflict_do_nothing(index_elements=["idempotency_key"])
    added = []
    for one in wanted:
        row = _row(one, now)
        if connection.execute(statement.returning(outputs.c.output_id), row).first() is not None:
            added.append(one.output_id)
            _log(connection, one.output_id, 0, "queued", "", one.source, now)
            if one.status != "pending":
                _log(connection, one.output_id, 0, one.status, one.reason_code, one.reason, now)
    return added


def claim(
    engine: Engine,
    gate: Gate,
    *,
    now: datetime,
    limit: int = 20,
    channels: Sequence[str] = (),
    busy: Collection[tuple[str, str]] = (),
) -> list[Claimed]:
    """Take what is due, most urgent first, and have the gate rule on each in the same transaction. A refusal or a wait is
    stored with its reason: "why was this not sent" always has an answer. `busy`: (client, channel) pairs to leave alone."""
    at, claimed = stamp(now), []
    with engine.begin() as connection:
        query = (
            select(outputs)
            .where(_due(at, channels, busy))
            .order_by(outputs.c.priority, outputs.c.due_at, outputs.c.output_id)
        )
        rows = _rows(connection, query.limit(limit).with_for_update(skip_locked=True))
        for row in rows:
            ruling = gate(connection, row, now)
            if ruling.what == "allow":
                until = now + LEASE
                values = {"status": "leased", "status_at": at, "fence": row["fence"] + 1, "lease_until": stamp(until)}
                values |= {"attempts": row["attempts"] + 1, "sending_since": None, "reason_code": "", "reason": ""}
                connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**values))
                claimed.append(
                    Claimed(row["output_id"], row["fence"] + 1, row["attempts"] + 1, until, {**row, **values})
                )
            elif ruling.what == "wait":
                _put_off(connection, row, ruling, now)
            else:
                _end(connection, row, ruling.status, ruling.code, ruling.reason, now)
    return claimed


def anything_due(engine: Engine, now: datetime, *, busy: Collection[tuple[str, str]] = ()) -> bool:
    """Whether there is something that could be claimed, as far as its time goes."""
    with engine.connect() as connection:
        query = select(outputs.c.output_id).where(_due(stamp(now), (), busy)).limit(1)
        return connection.execute(query).first() is not None


def begin_sending(engine: Engine, claimed: Claimed, gate: Gate, now: datetime) -> bool:
    """Say that the provider is about to be called, if the gate still allows it. False: it must not be sent, because the output
    is not this worker's any more or something came in between (stored with its reason)."""
    with engine.begin() as connection:
        row = _first(connection, select(outputs).where(*_mine(claimed, now)).with_for_update())
        if row is None:
            return False
        ruling = gate(connection, row, now)
        if ruling.what == "allow":
            at = stamp(now)
            values = {"sending_since": at, "lease_until": stamp(now + SENDING_LEASE)}
            values |= {"first_sent_at": row["first_sent_at"] or at}  # from here on the provider is asked for it
            connection.execute(update(outputs).where(outputs.c.output_id == claimed.output_id).values(**values))
            _log(connection, claimed.output_id, claimed.fence, "sending", ruling.code, ruling.reason, now)
            return True
        if ruling.what == "wait":
            back = {"status": "pending", "lease_until": None}
            connection.execute(update(outputs).where(outputs.c.output_id == claimed.output_id).values(**back))
            _put_off(connection, row, ruling, now)
        else:
            _end(connection, row, ruling.status, ruling.code, ruling.reason, now)
    return False


def delivered(engine: Engine, claimed: Claimed, provider_ref: str, now: datetime, *, detail: str = "") -> bool:
    """The provider has it. Heard even after the lease, as long as nobody else is sending it: it is a fact."""
    values = {"status": "delivered", "provider_ref": provider_ref, "reason_code": "", "reason": detail}
    return _report(engine, claimed, values, "delivered", "", detail or provider_ref, now, even_if=(*WAITING, *GIVEN_UP))


def retry(
    engine: Engine,
    claimed: Claimed,
    code: str,
    reason: str,
    now: datetime,
    *,
    after: timedelta | None = None,
    in_the_end: Follows | None = None,
) -> str:
    """It surely was not sent; try again later, or fail once the retry window (its expiry) is over, with what follows from that.
    Returns the new status."""
    wait = after if after is not None else min(FIRST_RETRY * 2 ** (claimed.attempts - 1), LONGEST_RETRY)
    at = now + wait
    if stamp(at) >= claimed.row["expires_at"]:
        failed(engine, claimed, code, reason, now, then=in_the_end)
        return "failed"
    values = {"status": "retrying", "next_attempt_at": stamp(at), "reason_code": code, "reason": reason}
    _report(engine, claimed, values, "retrying", code, reason, now)
    return "retrying"


def failed(
    engine: Engine, claimed: Claimed, code: str, reason: str, now: datetime, *, then: Follows | None = None
) -> bool:
    """The provider will never take it: a dead letter, with its reason, for its owner. What follows from that happens with it, or
    neither does: a failure that nobody was told of would be a loss."""
    values = {"status": "failed", "reason_code": code, "reason": reason}
    return _report(engine, claimed, values, "failed", code, reason, now, then=then)


def unknown(engine: Engine, claimed: Claimed, reason: str, now: datetime, *, ask_at: datetime | None = None) -> bool:
    """It was sent, and nobody knows whether it was taken. It is asked for from `ask_at` on, never sent again blindly."""
    values = {"status": "unknown", "reason_code": "unconfirmed", "reason": reason}
    values |= {"next_attempt_at": stamp(ask_at or now)}
    return _report(engine, claimed, values, "unknown", "unconfirmed", reason, now, even_if=WAITING)


def ended(connection: Connection, output_id: str, of: str, code: str, reason: str, now: datetime) -> bool:
    """What was thought to be `of` (delivered, unknown) did not arrive after all: its provider says so. In the caller's
    transaction; False if it is something else by now."""
    where = (outputs.c.output_id == output_id, outputs.c.status == of)
    row = _first(connection, select(outputs).where(*where).with_for_update())
    if row is None:
        return False
    _end(connection, row, "failed", code, reason, now)
    return True


def carry_again(connection: Connection, output_id: str, channel: str, code: str, reason: str, now: datetime) -> bool:
    """What was delivered is gone where it was: it goes another way, under its own key and with its own times. In the caller's
    transaction; False if it is something else by now, or was taken up."""
    where = (outputs.c.output_id == output_id, outputs.c.status == "delivered", outputs.c.acknowledged_at.is_(None))
    row = _first(connection, select(outputs).where(*where, outputs.c.channel != channel).with_for_update())
    if row is None:
        return False
    values = {"channel": channel, "status": "pending", "status_at": stamp(now), "next_attempt_at": stamp(now)}
    values |= {"reason_code": code, "reason": reason}
    connection.execute(update(outputs).where(outputs.c.output_id == output_id).values(**values))
    _log(connection, output_id, row["fence"], "moved", code, reason, now)
    return True


def recover(engine: Engine, now: datetime) -> dict[str, int]:
    """Free outputs whose worker is gone: back to pending if the provider was surely not called, else unknown. Returns counts."""
    at, counts = stamp(now), {"pending": 0, "unknown": 0}
    with engine.begin() as connection:
        query = select(outputs).where(outputs.c.status == "leased", outputs.c.lease_until < at)
        for row in _rows(connection, query.with_for_update(skip_locked=True)):
            status = "unknown" if row["sending_since"] else "pending"
            values = {"status": status, "status_at": at, "lease_until": None, "next_attempt_at": at}
            values |= {"reason_code": "worker_lost", "reason": "The worker that had it did not report back."}
            connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**values))
            _log(connection, row["output_id"], row["fence"], status, "worker_lost", str(values["reason"]), now)
            counts[status] += 1
    return counts


def cancel(connection: Connection, output_id: str, code: str, reason: str, now: datetime) -> bool:
    """Take an output back before it is sent, in the caller's transaction. What is being sent, unknown or done stays as it is."""
    not_begun = outputs.c.status.in_(("pending", "retrying", "held")) | (
        (outputs.c.status == "leased") & outputs.c.sending_since.is_(None)
    )
    where = (outputs.c.output_id == output_id, not_begun)
    row = _first(connection, select(outputs).where(*where).with_for_update())
    if row is None:
        return False
    _end(connection, row, "cancelled", code, reason, now)
    return True


def acknowledge(connection: Connection, output_id: str, now: datetime, *, because: str = "") -> bool:
    """Somebody took it up."""
    where = (outputs.c.output_id == output_id, outputs.c.acknowledged_at.is_(None))
    done = connection.execute(update(outputs).where(*where).values(acknowledged_at=stamp(now))).rowcount == 1
    if done:
        _log(connection, output_id, 0, "acknowledged", "", because, now)
    return done


def note(connection: Connection, row: Mapping[str, Any], what: str, code: str, detail: str, now: datetime) -> None:
    """Write down what happened to an output, in the caller's transaction that did it."""
    _log(connection, row["output_id"], row["fence"], what, code, detail, now)


def history(connection: Connection, output_id: str) -> list[Mapping[str, Any]]:
    """What happened to an output, oldest first."""
    query = select(output_log).where(output_log.c.output_id == output_id).order_by(output_log.c.id)
    return _rows(connection, query)


def ever_delivered(connection: Connection, client_id: str, channels: Collection[str]) -> bool:
    """Whether anything of the client has ever gone this way."""
    where = (outputs.c.client_id == client_id, outputs.c.channel.in_(channels), outputs.c.status == "delivered")
    return connection.execute(select(outputs.c.output_id).where(*where).limit(1)).first() is not None


def counts(connection: Connection, client_id: str = "") -> dict[tuple[str, str], int]:
    """How many outputs are in each (client, status)."""
    query = select(outputs.c.client_id, outputs.c.status, func.count().label("n"))
    if client_id:
        query = query.where(outputs.c.client_id == client_id)
    return {
        (row.client_id, row.status): row.n
        for row in connection.execute(query.group_by(outputs.c.client_id, outputs.c.status))
    }


# ---- inside ----


def _rows(connection: Connection, query: Select[Any]) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _due(at: str, channels: Sequence[str], busy: Collection[tuple[str, str]]) -> ColumnElement[bool]:
    return and_(
        outputs.c.status.in_(("pending", "retrying")),
        outputs.c.due_at <= at,
        outputs.c.next_attempt_at <= at,
        *([outputs.c.channel.in_(channels)] if channels else []),
        *([tuple_(outputs.c.client_id, outputs.c.channel).not_in(list(busy))] if busy else []),
    )


def _first(connection: Connection, query: Select[Any]) -> Mapping[str, Any] | None:
    return next(iter(_rows(connection, query)), None)


def _row(one: Output, now: datetime) -> dict[str, Any]:
    return {
        **{
            name: getattr(one, name) for name in ("output_id", "idempotency_key", "output_type", "client_id", "lead_id")
        },
        **{
            name: getattr(one, name)
            for name in ("channel", "priority", "owner", "source", "recipient", "recovery_rule")
        },
        **{
            name: getattr(one, name)
            for name in ("rule", "rule_version", "step_id", "trigger_event_id", "template", "template_version")
        },
        "payload": json.dumps(one.payload, sort_keys=True, default=str),
        "created_at": stamp(now),
        "due_at": stamp(one.due_at),
        "expires_at": stamp(one.expires_at),
        "status": one.status,
        "status_at": stamp(now),
        "reason_code": one.reason_code,
        "reason": one.reason,
        "respond_by": stamp(one.respond_by) if one.respond_by else None,
        "attempts": 0,
        "next_attempt_at": stamp(one.due_at),
        "fence": 0,
    }


def _mine(claimed: Claimed, now: datetime) -> tuple[Any, ...]:
    return (
        outputs.c.output_id == claimed.output_id,
        outputs.c.status == "leased",
        outputs.c.fence == claimed.fence,
        outputs.c.lease_until >= stamp(now),
    )


def _report(
    engine: Engine,
    claimed: Claimed,
    values: dict[str, Any],
    what: str,
    code: str,
    detail: str,
    now: datetime,
    *,
    even_if: Sequence[str] = (),
    then: Follows | None = None,
) -> bool:
    """Store what became of a claim, unless somebody else claimed the output since. `unknown` of this fence is ours to mend.
    `even_if`: what was sent, or may have been, counts in these states too. Whoever has it then loses it to a new fence."""
    with engine.begin() as connection:
        row = _first(connection, select(outputs).where(outputs.c.output_id == claimed.output_id).with_for_update())
        ours = row is not None and row["fence"] == claimed.fence and row["status"] in ("leased", "unknown")
        done = row is not None and (ours or (row["status"] in even_if and not row["sending_since"]))
        if row is not None and done:
            fence = row["fence"] + (0 if ours else 1)
            values = {**values, "status_at": stamp(now), "lease_until": None, "sending_since": None, "fence": fence}
            connection.execute(update(outputs).where(outputs.c.output_id == claimed.output_id).values(**values))
        _log(connection, claimed.output_id, claimed.fence, what if done else f"{what}, not heard", code, detail, now)
        if done and then is not None:
            then(connection)
    return done


def _put_off(connection: Connection, row: Mapping[str, Any], ruling: Ruling, now: datetime) -> None:
    until = ruling.until or now
    values = {
        "next_attempt_at": stamp(until),
        "reason_code": ruling.code,
        "reason": ruling.reason,
        "status_at": stamp(now),
    }
    if stamp(until) >= row["expires_at"]:
        _end(connection, row, "expired", ruling.code, f"{ruling.reason} By then it is no longer true.", now)
        return
    connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**values))
    if (row["reason_code"], row["reason"]) != (ruling.code, ruling.reason):
        _log(connection, row["output_id"], row["fence"], "waiting", ruling.code, ruling.reason, now)


def _end(connection: Connection, row: Mapping[str, Any], status: str, code: str, reason: str, now: datetime) -> None:
    values = {"status": status, "status_at": stamp(now), "reason_code": code, "reason": reason, "lease_until": None}
    connection.execute(update(outputs).where(outputs.c.output_id == row["output_id"]).values(**values))
    _log(connection, row["output_id"], row["fence"], status, code, reason, now)


def _log(connection: Connection, output_id: str, fence: int, what: str, code: str, detail: str, now: datetime) -> None:
    row = {"output_id": output_id, "at": stamp(now), "fence": fence, "what": what, "code": code, "detail": detail}
    connection.execute(insert(output_log), row)
