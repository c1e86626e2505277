"""What may go wrong at the door, and must not. The cases are named by their number in the list of faults; those that need no
trouble of their own (B1, B3, B4, B5, B9, B11, B13) are in tests/integration/test_intake.py, B10 is in tests/contract, and
bench/intake measures B6."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from connectors.base import Connector, Secret, WebhookRequest
from connectors.forms import Forms, FormsOptions
from connectors.http import Http
from connectors.mail import Mail, MailOptions
from pipeline.desk.caps import Caps, Rate
from pipeline.desk.group_commit import MAX_GROUP, GroupCommit
from pipeline.desk.server import MOST_HEAD
from pipeline.follow_up.unsubscribe import Tokens
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.store.inbox import Event
from pipeline.store.schema import audit_log
from tests.intakes import SECRET, Command, Desk, desks, rows, send_all, signed, stop_by_mail, submission


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with desks(tmp_path) as start:
        yield start


@pytest.fixture
def connectors() -> Iterator[dict[tuple[str, str], Connector]]:
    http = Http()
    made: dict[tuple[str, str], Connector] = {}
    for client in ("ridgeline", "bluestem"):
        made[client, "forms"] = Forms(FormsOptions(secret=Secret(SECRET)), connection=f"{client}/forms", http=http)
        made[client, "mail"] = Mail(MailOptions(secret=Secret(SECRET)), connection=f"{client}/mail", http=http)
    yield made
    http.close()


def post(desk: Desk, number: int, client: str = "ridgeline") -> httpx.Response:
    body = submission(number)
    return httpx.post(desk.url(client, "forms"), content=body, headers=signed(body), timeout=30)


def say_stop(desk: Desk, number: int) -> httpx.Response:
    headers, body = stop_by_mail(number)
    return httpx.post(desk.url("ridgeline", "mail"), content=body, headers=headers, timeout=30)


def stopped(store: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(store, timeout=30)) as connection:
        return {address for (address,) in connection.execute("select address from suppressions")}


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Somebody else writes to the store, and does not finish."""
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# ---- killed ----


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_b8_every_acknowledged_event_is_there_once_and_its_opt_out_in_force_however_often_the_intake_is_killed(
    tmp_path: Path, kills: int
) -> None:
    command, chance = Command(tmp_path), random.Random(kills)
    command.start()
    acknowledged: dict[int, float] = {}
    sending = threading.Thread(
        target=lambda: asyncio.run(send_all(command.port, range(10_000_000), acknowledged, 16)), daemon=True
    )
    sending.start()
    ids: Counter[str] = Counter()
    stops, read_to = set(), 0
    for kill in range(kills):
        before = len(acknowledged)
        while len(acknowledged) < before + 20:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        command.kill()
        certain = set(acknowledged)  # every answer in here was given before the kill
        for row in rows(command.store, after=read_to):
            one, read_to = json.loads(row["body"]), row["id"]
            ids[one.get("submission_id") or one["event_id"]] += 1
            stops |= {one["address"]} if "event_id" in one else set()
        lost = {n for n in certain if f"{'m' if n % 3 == 0 else 's'}-{n}" not in ids}
        assert lost == set(), f"acknowledged but not stored, after kill {kill}"
        assert set(ids.values()) == {1}, "stored twice"
        assert stopped(command.store) == stops
        command.start()
    command.kill()


# ---- an opt-out and its event, both or neither ----


def test_an_opt_out_that_cannot_be_written_is_not_acknowledged_and_costs_nobody_else_his_event(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors)

    def refuse(_: Any, __: Any, statement: str, *more: Any) -> None:
        if "INSERT INTO suppressions" in statement:
            raise RuntimeError("canary")

    event.listen(desk.engine, "before_cursor_execute", refuse)
    with ThreadPoolExecutor(12) as pool:
        stops = [pool.submit(say_stop, desk, number) for number in range(4)]
        others = [pool.submit(post, desk, number) for number in range(8)]
        refused = [one.result() for one in stops]
        assert [one.result().status_code for one in others] == [200] * 8
    assert {(one.status_code, int(one.headers["retry-after"]) > 0) for one in refused} == {(503, True)}
    assert {row["provider"] for row in desk.rows()} == {"forms"}
    event.remove(desk.engine, "before_cursor_execute", refuse)
    assert say_stop(desk, 1).status_code == 200
    assert stopped(desk.store) == {"a1@example.com"}


def test_b9_ten_deliveries_of_a_stop_at_once_are_one_event_one_opt_out_and_one_line_in_the_audit_log(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: say_stop(desk, 7).status_code, range(10)))
    assert answers == [200] * 10
    assert [row["receipts"] for row in desk.rows()] == [10]
    assert stopped(desk.store) == {"a7@example.com"}
    with desk.engine.connect() as connection:
        assert list(connection.execute(select(audit_log.c.action)).scalars()) == ["suppression.added"]


# ---- too much ----


def test_a_connection_beyond_its_cap_is_told_when_to_come_back_and_keeps_nobody_else_out(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors, caps=Caps(per_second=0.01, burst=5))
    answers = [post(desk, number) for number in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert all(90 <= int(answer.headers["retry-after"]) <= 100 for answer in answers[5:])
    assert len(desk.rows()) == 5, "nothing of what was refused is stored"
    assert post(desk, 1, "bluestem").status_code == 200
    assert say_stop(desk, 1).status_code == 200, "the cap is the connection's, not the client's"


def test_unproven_requests_use_up_nobodys_cap(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors, caps=Caps(per_second=0.001, burst=2))
    body = submission(1)
    for _ in range(10):
        answer = httpx.post(desk.url("ridgeline", "forms"), content=body, headers=signed(body, "a guess"))
        assert answer.status_code == 401
    assert [post(desk, number).status_code for number in range(2)] == [200, 200]


def test_a_cap_fills_up_again_as_time_passes_and_never_beyond_its_burst() -> None:
    now = 0.0
    rate = Rate(2, 3, clock=lambda: now)
    key, other = ("a", "forms"), ("b", "forms")
    assert [rate.wait(key) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait(other) == 0
    now = 0.25
    assert rate.wait(key) == 0.25
    now = 1000.0
    assert [rate.wait(key) for _ in range(4)] == [0, 0, 0, 0.5]


def test_in_a_flood_of_one_connection_the_others_event_is_in_the_next_group(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}")

    def arrived(client: str, number: int) -> Event:
        request = WebhookRequest("https://x.example", {}, b"{}", datetime.now(UTC))
        return Event(client, "forms", f"{client}-{number}", request)

    async def flood() -> tuple[int, int]:
        commits = GroupCommit(engine, most=100_000)
        done = 0

        async def one(event: Event) -> None:
            nonlocal done
            await commits.store(event)
            done += 1

        many = [asyncio.create_task(one(arrived("ridgeline", number))) for number in range(10 * MAX_GROUP)]
        other = asyncio.create_task(one(arrived("bluestem", 1)))
        await asyncio.sleep(0)  # all of them wait
        commits.start()
        await other
        before = done
        await asyncio.gather(*many)
        await commits.stop()
        return before, done

    before, after = asyncio.run(flood())
    assert before <= 2 * MAX_GROUP
    assert after == 10 * MAX_GROUP + 1
    engine.dispose()


def test_while_the_store_is_locked_what_cannot_wait_is_refused_at_once_and_what_waits_is_stored(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors, caps=Caps(waiting=8))
    post(desk, 0)
    with ThreadPoolExecutor(20) as pool:
        with locked(desk.store):
            sent = [pool.submit(post, desk, number) for number in range(1, 21)]
            deadline = time.monotonic() + 10
            while sum(one.done() for one in sent) < 8 and time.monotonic() < deadline:
                time.sleep(0.02)
        answers = [one.result() for one in sent]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) >= 8
    assert {(one.status_code, one.headers["retry-after"]) for one in refused} == {(503, "2")}
    taken = sum(answer.status_code == 200 for answer in answers)
    assert taken == 20 - len(refused) > 0
    assert len(desk.rows()) == taken + 1


def test_a_store_that_stays_locked_is_answered_503_and_recovers(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors)
    event.listen(desk.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=100"))
    desk.engine.dispose()
    with locked(desk.store):
        answer = post(desk, 1)
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert post(desk, 1).status_code == 200
    assert [row["receipts"] for row in desk.rows()] == [1]


# ---- heads ----

LONG_HEADS = {
    "a long path": ("/" + "x" * 3000, {}, 414),
    "a long query": ("?q=" + "x" * 3000, {}, 414),
    "many headers": ("", {f"x-{number}": "1" for number in range(200)}, 431),
    "a long header": ("", {"x-long": "x" * 40_000}, 431),
}


@pytest.mark.parametrize("what", LONG_HEADS)
@pytest.mark.parametrize("client", ["ridgeline", "nobody"])
def test_a_head_beyond_the_caps_is_refused_whether_or_not_the_client_exists(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector], what: str, client: str
) -> None:
    desk, body = desk_of(connectors), submission(1)
    tail, headers, status = LONG_HEADS[what]
    answer = httpx.post(desk.url(client, "forms") + tail, content=body, headers={**signed(body), **headers})
    assert answer.status_code == status
    assert desk.rows() == []


def test_a_head_that_never_ends_is_cut_off(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector]
) -> None:
    desk = desk_of(connectors)
    with socket.create_connection(("127.0.0.1", desk.port), timeout=10) as connection:
        connection.sendall(b"POST /webhooks/ridgeline/forms HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with contextlib.suppress(OSError):  # reset or broken pipe, as the machine likes
            while sent < 2000 * MOST_HEAD:
                connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
                sent += 1010
    assert sent < 200 * MOST_HEAD, "what the sockets hold, and no more"
    assert post(desk, 1).status_code == 200


# ---- anything at all ----

FIRM = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEGMENT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PARTS = st.sampled_from(["webhooks", "ridgeline", "nobody", "forms", "mail", "u", "healthz", "..", ""]) | SEGMENT
HEADER = st.sampled_from(
    ["content-type", "x-leadtrail-signature", "x-leadtrail-timestamp", "content-encoding", "expect", "range", "date"]
)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


def test_b14_no_request_whatsoever_gets_a_server_error(
    desk_of: Callable[..., Desk], connectors: dict[tuple[str, str], Connector], tmp_path: Path
) -> None:
    tokens = Tokens(Settings.from_env({"LEADTRAIL_HOME": str(tmp_path / "home")}))
    desk = desk_of(connectors, tokens=tokens)
    seen: Counter[int] = Counter()

    with httpx.Client(base_url=desk.origin) as caller:

        @FIRM
        @given(
            method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "BREW"]),
            parts=st.just(["webhooks", "ridgeline", "forms"]) | st.lists(PARTS, max_size=6),
            query=VALUE,
            headers=st.dictionaries(HEADER, VALUE, max_size=4),
            body=st.binary(max_size=300),
            proven=st.booleans(),
        )
        def ask(method: str, parts: list[str], query: str, headers: dict[str, str], body: bytes, proven: bool) -> None:
            path = "/" + "/".join(httpx.QueryParams({"p": part}).__str__()[2:] for part in parts)
            if proven:
                path, headers = "/webhooks/ridgeline/forms", {**headers, **signed(body)}
            answer = caller.request(method, path, params={"q": query}, headers=headers, content=body)
            seen[answer.status_code] += 1
            assert answer.status_code < 500

        ask()
    assert set(seen) >= {400, 401, 404, 405}, "it has been everywhere"
    assert post(desk, 1).status_code == 200, "it is as well as before"
