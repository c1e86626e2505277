"""The gate as the queue asks it: a committed opt-out wins every race, and nothing of a sequence passes an urgent task."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from pipeline.follow_up.escalations import take_up
from pipeline.follow_up.gate import Gate
from pipeline.follow_up.published import Published
from pipeline.follow_up.template_book import add_template, approve
from pipeline.follow_up.words import money, waited
from pipeline.store.outputs import Output, begin_sending, claim, delivered, enqueue, failed, retry, unknown
from pipeline.store.schema import output_log, outputs, suppressions
from pipeline.store.suppressions import suppress
from tests.follow_up_world import DAY, HOUR, MINUTE, NOW, PHONE, RIDGE, SECOND, TEXT, FollowUp

LEADS = {"lead-1": "lead-1", "lead-2": "lead-2", "lead-2 before": "lead-2"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FollowUp:
    made = FollowUp(tmp_path_factory.mktemp("home"))
    made.write_clients()
    made.contact()
    made.contact("lead-2", phone="+15125550177", email=None)
    made.alias("lead-2 before", "lead-2")
    made.publish()
    return made


@dataclass
class Queue:
    """A store of either kind, with the gate over one publication."""

    engine: Engine
    gate: Gate

    def put(self, key: str, **given: object) -> Output:
        row = {
            "output_type": "message", "client_id": RIDGE, "lead_id": "lead-1", "channel": "text", "priority": 2, "owner": "dana",
            "source": "test", "recipient": PHONE, "due_at": NOW, "expires_at": NOW + 4 * HOUR, "recovery_rule": "",
            "payload": {"body": "Hi, this is Ridgeline Plumbing. Reply STOP to opt out.", "message_class": "informational"},
            "template": "hello", "template_version": TEXT.version, **given,
        }  # fmt: skip
        output = Output(key, **row)  # type: ignore[arg-type]
        with self.engine.begin() as connection:
            enqueue(connection, [output], NOW)
        return output

    def clear(self) -> None:
        with self.engine.begin() as connection:
            for table in (outputs, output_log, suppressions):
                connection.execute(delete(table))


@pytest.fixture
def queue(engine: Engine, world: FollowUp) -> Iterator[Queue]:
    with engine.begin() as connection:
        add_template(connection, TEXT, client_id="", by="ana", now=NOW - DAY)
        approve(connection, "", TEXT.name, TEXT.version, by="ben", note="", now=NOW - DAY)
    with Published.opened(world.settings) as published:
        yield Queue(engine, Gate(published, {one.client_id: one for one in world.office.clients()}))


def race(queue: Queue, number: int, chance: random.Random) -> tuple[bool, bool]:
    """(it was sent, it was sent after the opt-out was committed)."""
    queue.clear()
    queue.put(f"race-{number}")
    committed: list[str] = []
    moment = chance.random() ** 2 * 0.2

    def opt_out() -> None:
        threading.Event().wait(moment)
        with queue.engine.begin() as connection:
            suppress(connection, RIDGE, PHONE, "text", cause="keyword", evidence="SM1", now=NOW)
        committed.append("yes")

    thread = threading.Thread(target=opt_out)
    thread.start()
    sent = late = False
    for one in claim(queue.engine, queue.gate, now=NOW):
        threading.Event().wait(chance.random() * 0.01)
        was_committed = bool(committed)
        if begin_sending(queue.engine, one, queue.gate, NOW):
            sent, late = True, was_committed
            delivered(queue.engine, one, "SM", NOW)
    thread.join()
    return sent, late


def races(queue: Queue, count: int) -> tuple[int, int]:
    chance = random.Random(7)
    results = [race(queue, number, chance) for number in range(count)]
    return sum(sent for sent, _ in results), sum(late for _, late in results)


def test_no_text_leaves_after_an_opt_out_was_committed(queue: Queue) -> None:
    sent, late = races(queue, 60)
    assert late == 0
    assert 0 < sent < 60, "the race never went both ways"


@pytest.mark.soak
def test_no_text_leaves_after_an_opt_out_was_committed_in_a_thousand_races(queue: Queue) -> None:
    count = 1000 if queue.engine.dialect.name == "sqlite" else 300
    sent, late = races(queue, count)
    assert late == 0
    assert 0 < sent < count


STEP = st.tuples(
    st.sampled_from(["urgent", "nurture", "take up", "deliver", "fail", "retry", "lose", "wait"]),
    st.sampled_from(sorted(LEADS)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(STEP, min_size=4, max_size=18))
def test_nothing_of_a_sequence_is_claimed_while_an_urgent_task_of_its_lead_is_open(
    queue: Queue, story: list[tuple[str, str]]
) -> None:
    """Whatever happens in whatever order, and whatever the lead was called when its task was made."""
    queue.clear()
    now, urgent = NOW, {}
    for number, (what, lead) in enumerate(story):
        now += 2 * MINUTE
        if what == "urgent":
            task = queue.put(
                f"urgent-{number}",
                lead_id=lead,
                priority=0,
                output_type="task",
                channel="desk_task",
                template_version="",
                due_at=now,
            )
            urgent[task.output_id] = LEADS[lead]
        elif what == "nurture":
            queue.put(
                f"nurture-{number}", lead_id=lead, priority=3, recipient=f"+1512555{number:04d}", expires_at=NOW + DAY
            )
        elif what == "take up" and urgent:
            done = sorted(urgent)[number % len(urgent)]
            with queue.engine.begin() as connection:
                take_up(connection, done, now)
            del urgent[done]
        for one in claim(queue.engine, queue.gate, now=now, limit=50):
            if one.row["priority"] == 3:
                assert LEADS[one.row["lead_id"]] not in urgent.values(), "a nurture step went before an urgent task"
            if what == "lose" or not begin_sending(queue.engine, one, queue.gate, now):
                continue
            if what == "fail":
                failed(queue.engine, one, "target", "gone", now)
                urgent.pop(one.output_id, None)  # a task on the desk takes its place; that is delivery's to make
            elif what == "retry":
                retry(queue.engine, one, "down", "down", now, after=timedelta(seconds=1))
            elif what == "wait":
                unknown(queue.engine, one, "?", now)
            else:
                delivered(queue.engine, one, "ref", now)


def test_the_urgent_task_is_asked_for_again_just_before_sending(queue: Queue) -> None:
    queue.put("nurture", priority=3)
    (one,) = claim(queue.engine, queue.gate, now=NOW)
    queue.put("urgent", priority=0, output_type="task", channel="desk_task", template_version="")
    assert not begin_sending(queue.engine, one, queue.gate, NOW)
    with queue.engine.connect() as connection:
        row = connection.execute(select(outputs).where(outputs.c.output_id == one.output_id)).mappings().one()
    assert (row["status"], row["reason_code"]) == ("pending", "behind_urgent")


def test_an_urgent_task_nobody_took_up_holds_a_sequence_up_until_it_is_too_late_whoever_else_was_asked(
    queue: Queue,
) -> None:
    for key, expires_at in (("urgent", NOW + HOUR), ("urgent|escalation-1", NOW + 2 * DAY)):
        task = {"priority": 0, "output_type": "task", "channel": "desk_task", "template_version": ""}
        queue.put(key, **task, expires_at=expires_at)
        (one,) = claim(queue.engine, queue.gate, now=NOW)
        assert begin_sending(queue.engine, one, queue.gate, NOW)
        delivered(queue.engine, one, "ref", NOW)
    queue.put("nurture", priority=3)
    assert claim(queue.engine, queue.gate, now=NOW + HOUR - MINUTE) == []
    assert [one.row["priority"] for one in claim(queue.engine, queue.gate, now=NOW + HOUR)] == [3]


def test_a_client_that_is_gone_gets_nothing(queue: Queue) -> None:
    output = queue.put("theirs", client_id="gone")
    assert claim(queue.engine, queue.gate, now=NOW) == []
    with queue.engine.connect() as connection:
        row = connection.execute(select(outputs).where(outputs.c.output_id == output.output_id)).mappings().one()
    assert (row["status"], row["reason_code"]) == ("cancelled", "client_gone")


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (SECOND, "less than a minute"),
        (MINUTE, "1 minute"),
        (119 * MINUTE, "119 minutes"),
        (5 * HOUR, "5 hours"),
        (3 * DAY, "3 days"),
    ],
)
def test_how_long_they_waited_is_said_as_people_say_it(time: timedelta, said: str) -> None:
    assert waited(time) == said


@pytest.mark.parametrize(
    ("cents", "currency", "said"),
    [(450_000, "USD", "$4,500"), (45_050, None, "$450.50"), (100, "EUR", "1 EUR"), (None, "USD", "")],
)
def test_amounts_are_said_as_people_say_them(cents: int | None, currency: str | None, said: str) -> None:
    assert money(cents, currency) == said
