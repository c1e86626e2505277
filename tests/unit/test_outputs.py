"""The queue of outputs: nothing lost, nothing twice, and a reason for everything that was not sent. On SQLite and PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, update

from pipeline.store import audit
from pipeline.store.engine import stamp
from pipeline.store.outputs import (
    LEASE,
    Output,
    Ruling,
    acknowledge,
    begin_sending,
    cancel,
    claim,
    counts,
    delivered,
    enqueue,
    failed,
    history,
    recover,
    retry,
    unknown,
)
from pipeline.store.schema import audit_log, outputs, suppressions
from pipeline.store.unconfirmed import resolve_unknown

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
PHONE = "+15125550142"


def output(key: str, **changed: Any) -> Output:
    given = {
        "output_type": "message", "client_id": "ridgeline", "lead_id": "lead-1", "channel": "text", "priority": 2,
        "owner": "ana@agency.example", "source": "missed-call@1+event-1", "recipient": PHONE, "payload": {"body": "Hi"},
        "due_at": NOW, "expires_at": NOW + 4 * HOUR, "recovery_rule": "Sent again for four hours, then its owner's.", **changed,
    }  # fmt: skip
    return Output(key, **given)


def allow(connection: Connection, row: Mapping[str, Any], now: datetime) -> Ruling:
    return Ruling("allow")


def unless_suppressed(connection: Connection, row: Mapping[str, Any], now: datetime) -> Ruling:
    where = (suppressions.c.address == row["recipient"], suppressions.c.state == "standing")
    if connection.execute(select(suppressions.c.address).where(*where)).first():
        return Ruling("refuse", "opted_out", "They opted out.")
    return Ruling("allow")


def queue(engine: Engine, *wanted: Output) -> list[str]:
    with engine.begin() as connection:
        return enqueue(connection, wanted, NOW)


def status(engine: Engine, key: str = "a") -> str:
    with engine.connect() as connection:
        return str(connection.execute(select(outputs.c.status).where(outputs.c.idempotency_key == key)).scalar())


def told(engine: Engine, key: str = "a") -> list[str]:
    with engine.connect() as connection:
        return [str(row["what"]) for row in history(connection, output(key).output_id)]


def opt_out(connection: Connection, now: datetime) -> None:
    row = {"client_id": "ridgeline", "address": PHONE, "channel": "any", "since": stamp(now), "cause": "keyword"}
    connection.execute(insert(suppressions), row | {"evidence": "SM1", "state": "standing", "state_at": stamp(now)})


def test_the_same_output_can_be_asked_for_any_number_of_times_and_is_queued_once(engine: Engine) -> None:
    first = queue(engine, output("a"), output("a"), output("b"))
    assert len(first) == 2
    assert queue(engine, output("a", payload={"body": "changed"})) == []
    (one, _) = claim(engine, allow, now=NOW)
    assert one.payload == {"body": "Hi"}


def test_urgent_outputs_are_claimed_before_others_and_nothing_before_it_is_due(engine: Engine) -> None:
    queue(engine, output("later", due_at=NOW + MINUTE), output("nurture", priority=3), output("urgent", priority=0))
    assert [one.row["idempotency_key"] for one in claim(engine, allow, now=NOW)] == ["urgent", "nurture"]
    assert [one.row["idempotency_key"] for one in claim(engine, allow, now=NOW + MINUTE)] == ["later"]


def test_many_workers_at_once_never_claim_one_output_twice(engine: Engine) -> None:
    queue(engine, *(output(f"k{n}") for n in range(60)))
    barrier = threading.Barrier(6)

    def work(_: int) -> list[str]:
        barrier.wait()
        return [one.output_id for _ in range(10) for one in claim(engine, allow, now=NOW, limit=3)]

    with ThreadPoolExecutor(6) as pool:
        taken = Counter(one for some in pool.map(work, range(6)) for one in some)
    assert len(taken) == 60
    assert set(taken.values()) == {1}


def test_a_worker_that_lost_its_lease_may_not_send_and_is_not_heard(engine: Engine) -> None:
    queue(engine, output("a"))
    (slow,) = claim(engine, allow, now=NOW)
    later = NOW + LEASE + SECOND
    assert recover(engine, later) == {"pending": 1, "unknown": 0}
    (quick,) = claim(engine, allow, now=later)
    assert not begin_sending(engine, slow, allow, later)
    assert begin_sending(engine, quick, allow, later)
    assert not delivered(engine, slow, "SM-slow", later)
    assert delivered(engine, quick, "SM-quick", later)
    assert status(engine) == "delivered"
    assert "delivered, not heard" in told(engine)


def test_what_was_sent_by_a_worker_that_died_is_unknown_and_never_sent_again_blindly(engine: Engine) -> None:
    queue(engine, output("a"))
    (one,) = claim(engine, allow, now=NOW)
    assert begin_sending(engine, one, allow, NOW)
    assert recover(engine, NOW + HOUR) == {"pending": 0, "unknown": 1}
    assert claim(engine, allow, now=NOW + HOUR) == []
    assert resolve_unknown(engine, one.output_id, "SM1", "reconcile", NOW + HOUR)
    assert status(engine) == "delivered"
    assert told(engine) == ["queued", "sending", "unknown", "delivered"]


def test_an_unknown_output_that_the_provider_surely_does_not_have_is_sent(engine: Engine) -> None:
    queue(engine, output("a"))
    (one,) = claim(engine, allow, now=NOW)
    begin_sending(engine, one, allow, NOW)
    unknown(engine, one, "The answer never came.", NOW)
    assert resolve_unknown(engine, one.output_id, None, "reconcile", NOW + MINUTE)
    assert len(claim(engine, allow, now=NOW + MINUTE)) == 1


def test_retries_wait_longer_each_time_and_end_with_the_retry_window(engine: Engine) -> None:
    queue(engine, output("a", expires_at=NOW + 10 * MINUTE))
    now, waits = NOW, []
    for _ in range(20):
        claimed = claim(engine, allow, now=now)
        if not claimed:
            now += SECOND
            continue
        waits.append(now - NOW)
        if retry(engine, claimed[0], "http_503", "The provider is down.", now) == "failed":
            break
        with engine.connect() as connection:
            now = datetime.fromisoformat(str(connection.execute(select(outputs.c.next_attempt_at)).scalar()))
    assert [int(wait.total_seconds()) for wait in waits] == [0, 20, 60, 140, 300]
    assert status(engine) == "failed"


def test_a_provider_that_says_when_to_come_back_is_believed(engine: Engine) -> None:
    queue(engine, output("a"))
    (one,) = claim(engine, allow, now=NOW)
    assert retry(engine, one, "http_429", "Too many.", NOW, after=7 * MINUTE) == "retrying"
    assert claim(engine, allow, now=NOW + 7 * MINUTE - SECOND) == []
    assert len(claim(engine, allow, now=NOW + 7 * MINUTE)) == 1


def test_a_wait_is_stored_with_its_reason_once_and_one_beyond_the_expiry_ends_it(engine: Engine) -> None:
    queue(engine, output("a"))

    def night(connection: Connection, row: Mapping[str, Any], now: datetime) -> Ruling:
        return Ruling("wait", "quiet_hours", "It is night there.", until=NOW + 2 * HOUR)

    assert claim(engine, night, now=NOW) == []
    assert claim(engine, allow, now=NOW + HOUR) == []
    claim(engine, night, now=NOW + 2 * HOUR - SECOND)
    assert told(engine) == ["queued", "waiting"]

    def long_night(connection: Connection, row: Mapping[str, Any], now: datetime) -> Ruling:
        return Ruling("wait", "quiet_hours", "It is night there.", until=NOW + 9 * HOUR)

    assert claim(engine, long_night, now=NOW + 2 * HOUR) == []
    assert status(engine) == "expired"


def test_a_refusal_ends_an_output_and_says_why(engine: Engine) -> None:
    with engine.begin() as connection:
        opt_out(connection, NOW)
    queue(engine, output("a"))
    assert claim(engine, unless_suppressed, now=NOW) == []
    assert status(engine) == "cancelled"
    with engine.connect() as connection:
        (_, last) = history(connection, output("a").output_id)
    assert (last["code"], last["detail"]) == ("opted_out", "They opted out.")


def test_no_text_is_sent_after_an_opt_out_in_a_thousand_races(engine: Engine) -> None:
    chance = random.Random(1)
    races = 1000 if engine.dialect.name == "sqlite" else 200
    late = sent = 0
    for race in range(races):
        with engine.begin() as connection:
            connection.execute(delete(suppressions))
            connection.execute(delete(outputs))
        queue(engine, output(f"race-{race}"))
        order: list[str] = []
        moment = chance.random() * 0.002

        def stop(moment: float = moment, order: list[str] = order) -> None:
            threading.Event().wait(moment)
            with engine.begin() as connection:
                opt_out(connection, NOW)
            order.append("stopped")

        thread = threading.Thread(target=stop)
        thread.start()
        for one in claim(engine, unless_suppressed, now=NOW):
            if chance.random() < 0.5:
                threading.Event().wait(chance.random() * 0.002)
            stopped_before = bool(order)
            if begin_sending(engine, one, unless_suppressed, NOW):
                sent += 1
                late += stopped_before
                delivered(engine, one, "SM", NOW)
        thread.join()
    assert late == 0
    assert 0 < sent < races, "the race never went both ways"


def test_dead_letters_and_cancelled_outputs_are_never_claimed_again(engine: Engine) -> None:
    queue(engine, output("a"), output("b"))
    (one, two) = claim(engine, allow, now=NOW)
    assert failed(engine, one, "21211", "Not a number.", NOW)
    retry(engine, two, "http_503", "Down.", NOW)
    with engine.begin() as connection:
        assert cancel(connection, two.output_id, "replied", "They replied.", NOW)
        assert not cancel(connection, two.output_id, "replied", "They replied.", NOW)
    assert claim(engine, allow, now=NOW + 3 * HOUR) == []
    with engine.connect() as connection:
        assert counts(connection, "ridgeline") == {("ridgeline", "failed"): 1, ("ridgeline", "cancelled"): 1}


def test_a_clock_that_jumps_back_sends_nothing_twice(engine: Engine) -> None:
    queue(engine, output("a"))
    (one,) = claim(engine, allow, now=NOW)
    assert begin_sending(engine, one, allow, NOW)
    assert delivered(engine, one, "SM1", NOW)
    assert recover(engine, NOW - HOUR) == {"pending": 0, "unknown": 0}
    assert claim(engine, allow, now=NOW - HOUR) == []
    assert queue(engine, output("a")) == []


def test_a_task_is_acknowledged_once(engine: Engine) -> None:
    queue(engine, output("a", output_type="task", channel="desk_task"))
    with engine.begin() as connection:
        assert acknowledge(connection, output("a").output_id, NOW)
        assert not acknowledge(connection, output("a").output_id, NOW)


# ---- audit ----


def write(engine: Engine, rows: int) -> None:
    for number in range(rows):
        with engine.begin() as connection:
            audit.note(connection, "ana", "rule.enabled", f"rule-{number}", {"version": number}, NOW)


def test_an_audit_log_that_nobody_touched_verifies(engine: Engine) -> None:
    write(engine, 5)
    assert audit.verify(engine) == (5, None)


@pytest.mark.parametrize("tampering", ["changed", "left out", "put in"])
def test_the_first_bad_row_of_a_tampered_audit_log_is_named(engine: Engine, tampering: str) -> None:
    write(engine, 6)
    with engine.begin() as connection:
        if tampering == "changed":
            connection.execute(update(audit_log).where(audit_log.c.seq == 4).values(actor="somebody else"))
        elif tampering == "left out":
            connection.execute(delete(audit_log).where(audit_log.c.seq == 4))
        else:
            row = dict(connection.execute(select(audit_log).where(audit_log.c.seq == 4)).mappings().one())
            connection.execute(update(audit_log).where(audit_log.c.seq >= 4).values(seq=audit_log.c.seq + 100))
            connection.execute(insert(audit_log), row | {"action": "rule.disabled"})
    _, broken = audit.verify(engine)
    assert broken is not None
    assert broken.seq == 4


def test_audit_rows_of_many_writers_make_one_chain(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write(engine, 5), range(4)))
    assert audit.verify(engine) == (20, None)
