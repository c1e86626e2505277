"""The desk over a home that `leadtrail run` made: real marts, real records, and as fast as people expect."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import duckdb
import pytest
from starlette.testclient import TestClient

from pipeline.desk.desk import PAGES, desk_app
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import sessions
from pipeline.store.accounts import find_account
from tests.desk_world import BROWSER, MARTS, ORIGIN
from tests.e2e.conftest import Home

FAST = 0.2  # seconds, of which a page may take none more; the median of a few
ROUNDS = 5


@pytest.fixture(scope="module")
def browser(built_home: Home) -> Iterator[TestClient]:
    """Signed in as the demo's admin."""
    office = Office(Settings.from_env({"LEADTRAIL_HOME": str(built_home.path), "LEADTRAIL_DESK_URL": ORIGIN}))
    with office.engine.begin() as connection:
        account = find_account(connection, "demo-admin@agency.example")
        assert account is not None
        token = sessions.start(connection, account, sessions.DESK, datetime.now(UTC))
    client = TestClient(desk_app(office), base_url=ORIGIN, headers=BROWSER, follow_redirects=False)
    client.cookies.set("__Host-leadtrail-desk", token, domain="desk.test")
    yield client
    office.engine.dispose()


def links(browser: TestClient, path: str, pattern: str) -> list[str]:
    found = re.findall(rf'href="({pattern})"', browser.get(path).text)
    return list(dict.fromkeys(found))


def test_the_demo_accounts_have_passwords_that_only_the_owner_of_the_home_can_read(built_home: Home) -> None:
    kept = built_home.path / "demo-accounts.txt"
    assert str(kept) in built_home.said.replace("\n", "")
    assert kept.stat().st_mode & 0o777 == 0o600
    passwords = re.findall(r"example  (\w{6}-\w{6}-\w{6})  desk", kept.read_text())
    assert len(set(passwords)) == 4
    assert not any(password in built_home.said for password in passwords)


def test_the_marts_of_the_desks_tests_are_the_real_ones(built_home: Home) -> None:
    """Otherwise those tests would go on passing when a mart changes."""

    def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
        rows = connection.execute(
            "select table_schema || '.' || table_name, column_name, data_type from information_schema.columns "
            "order by 1, ordinal_position"
        ).fetchall()
        told: dict[str, list[tuple[Any, ...]]] = {}
        for table, *column in rows:
            told.setdefault(table, []).append(tuple(column))
        return told

    made = duckdb.connect()
    for schema in ("timeline", "follow_up", "attribution", "metrics", "seeds", "operations"):
        made.execute(f"create schema {schema}")
    made.execute(MARTS.read_text())
    real = columns(duckdb.connect(str((built_home.path / "analytics.duckdb").resolve()), read_only=True))
    for table, expected in columns(made).items():
        assert real[table] == expected, table


def test_every_page_of_a_town_opens_fast(browser: TestClient) -> None:
    lead = links(browser, "/leads", r"/leads/[a-z-]+/\w+")[0]
    client = links(browser, "/clients", r"/clients/[a-z-]+")[0]
    found = [page.path for page in PAGES if page.method == "GET" and "{" not in page.path]
    found += [lead, client, f"{client}/hold", f"{client}/handoff", links(browser, lead, rf"{lead}/events/\w+")[0]]
    found += links(browser, "/rules", r"/rules/house/[a-z-]+")[:2]
    found += [path.replace("&amp;", "&") for path in links(browser, "/templates", r"/templates/house/[^\"]+")[:1]]
    found += [
        f"{path}?client={client.rpartition('/')[2]}" for path in ("/attribution", "/response", "/connections", "/leads")
    ]
    slow = {}
    for path in found:
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = browser.get(path)
            took.append(time.perf_counter() - began)
            assert answer.status_code == 200, path
        if statistics.median(took) > FAST:
            slow[path] = statistics.median(took)
    assert slow == {}


def test_an_event_shows_the_record_as_its_provider_sent_it(browser: TestClient) -> None:
    lead = links(browser, "/leads", r"/leads/[a-z-]+/\w+")[0]
    for event in links(browser, lead, rf"{lead}/events/\w+")[:5]:
        page = browser.get(event).text
        assert "As " in page
        assert re.search(r"<pre[^>]*>\s*\{", page), event


def test_a_search_finds_a_lead_by_number_and_leaves_it_out_of_the_address(
    browser: TestClient, built_home: Home
) -> None:
    connection = duckdb.connect(str((built_home.path / "analytics.duckdb").resolve()), read_only=True)
    (phone, lead), *_ = connection.execute(
        "select phone, lead_id from follow_up.follow_up_contacts where phone is not null order by lead_id limit 1"
    ).fetchall()
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/leads").text)
    assert csrf
    answer = browser.post("/leads", data={"csrf": csrf[1], "words": phone[-7:]})
    assert lead in answer.text
    assert phone[-7:] not in str(answer.url)


def test_the_rows_behind_a_figure_are_as_many_as_it_counts(built_home: Home, browser: TestClient) -> None:
    told = "select figure_id, value from client_safe.safe_figures where unit = 'count' and not leaves_out_few and value > 0"
    with duckdb.connect(str(built_home.path / "analytics.duckdb"), read_only=True) as connection:
        counts = dict(connection.execute(told).fetchall())
    looked_at = 0
    for summary in links(browser, "/summaries?view=all", r"/summaries/\w+")[:3]:
        for path in links(browser, summary, r"/summaries/\w+/figures/[^\"]+"):
            figure_id = unquote(path.rpartition("/")[2])
            if figure_id in counts:
                behind = re.search(
                    r"The rows behind it <span[^>]*>(?:the first 50 of )?([\d,]+)<", browser.get(path).text
                )
                assert behind, figure_id
                assert int(behind[1].replace(",", "")) == counts[figure_id], figure_id
                looked_at += 1
    assert looked_at
