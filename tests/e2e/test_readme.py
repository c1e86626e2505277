"""What the README and the pages under docs/ say is run or looked up: a sentence that stops being true fails here."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import msgspec
import pytest
import typer

from connectors.base import Connector, ConnectorError, Cursor, Health, Page, Record, Secret, Stream, WebhookRequest
from connectors.callrail import CallRail, CallRailOptions
from connectors.http import Account, Http, StaticAuth
from connectors.oauth import TokenVault
from connectors.registry import CONNECTORS, connector_class, reads_from
from connectors.sandbox.facts import Client
from connectors.sandbox.provider import Reply, Request, SandboxProvider, json_reply
from connectors.sandbox.run import RunningSandbox, start_sandbox
from connectors.sandbox.town import make_town
from pipeline.automation import BUILD_CRON, RECONCILE_CRON
from pipeline.checkup import check_connections
from pipeline.cli import app
from pipeline.office import Office
from pipeline.publishing import publish
from pipeline.settings import Settings
from pipeline.warehouse import build
from tests.conftest import NOW, Served

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text()
CONNECTING = (ROOT / "docs" / "connecting.md").read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ADDING = (ROOT / "docs" / "adding-a-provider.md").read_text()
INSTRUCTIONS_USE = (
    *(Account, Client, ClassVar, Connector, ConnectorError, Cursor, Health, Http, Page, Record, Reply, Request),
    *(SandboxProvider, Secret, StaticAuth, Stream, TokenVault, dataclass, json_reply),
)  # imported for the code blocks of docs/adding-a-provider.md
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


QUERIES = fenced(README, "sql")


def section(text: str, heading: str) -> str:
    """What stands under a `## heading`, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found, f"there is no section ## {heading}"
    return found[1]


def table_rows(text: str) -> list[list[str]]:
    """Cells of every row of every table, headings included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# ---- names ----


def anchors(page: Path) -> set[str]:
    """Of every heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_make_targets_and_variables_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        calls = [call for line in code_lines(page.read_text()) for call in re.findall(r"\bmake ([a-z]+)(?=(.*))", line)]
        for target, rest in calls:
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page.name}: make {target}"
            for variable in re.findall(r"\b([A-Z_]+)=", rest):
                assert f"{variable} ?=" in makefile, f"{page.name}: {variable}"


def commands() -> dict[str, Any]:
    """`leadtrail …` -> its command, sub-commands with both words."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found |= {name: command} | {f"{name} {sub}": one for sub, one in getattr(command, "commands", {}).items()}
    return found


def code_lines(text: str) -> list[str]:
    """Every `span`, and every line of a fenced block that is not Python."""
    fences = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in fences if language != "python"]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*spans, *(line for block in blocks for line in block.splitlines())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    known = commands()
    groups = {name.split()[0] for name in known if " " in name}
    for line in code_lines(page.read_text()):
        for called in re.findall(r"leadtrail ([a-z][^&|#]*)", line):
            words = called.split()
            name = " ".join(words[: 2 if words[0] in groups else 1])
            assert name in known, line
            options = {option for parameter in known[name].params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", called)) <= options, line


def test_the_readme_lists_every_command() -> None:
    listed = {}
    for cells in table_rows(section(README, "Every day")):
        if name := re.match(r"`leadtrail ([a-z-]+)", cells[0]):
            listed[name[1]] = set(re.findall(r"--[a-z-]+", cells[1]))
    assert set(listed) == {name for name in commands() if " " not in name}
    for name, told in listed.items():
        assert told <= {option for parameter in commands()[name].params for option in parameter.opts}, name


def test_folders_exist() -> None:
    named = [cells[0] for cells in table_rows(section(README, "Where things are")) if cells[0].startswith("`")]
    folders = [name.strip("`") for name in named if (ROOT / name.strip("`")).is_dir()]
    assert folders == ["connectors/", "connectors/sandbox/", "pipeline/", "dbt_project/", "bench/", "tests/", "docs/"]


def test_settings_are_those_of_the_code() -> None:
    code = (ROOT / "pipeline" / "settings.py").read_text()
    in_code = set(re.findall(r'env(?:\.get\(|\[)"(LEADTRAIL_[A-Z_]+)"', code))
    in_table = {
        name for cells in table_rows(section(README, "Settings")) for name in re.findall(r"LEADTRAIL_\w+", cells[0])
    }
    assert {name for name in in_table if "<" not in name and not name.endswith("_")} == in_code
    with_token_url = {name.upper() for name in CONNECTORS if "token_url" in options_of(name)}
    token_row = next(cells for cells in table_rows(README) if "TOKEN_URL" in cells[0])
    assert set(re.findall(r"`([A-Z_]+)`", token_row[2])) == with_token_url


# ---- providers ----


def options_of(provider: str) -> dict[str, Any]:
    return {field.name: field for field in fields(connector_class(provider).Options)}


@pytest.mark.parametrize("provider", CONNECTORS)
def test_a_provider_has_a_section_with_exactly_its_options(provider: str) -> None:
    cls = connector_class(provider)
    known = {name: field for name, field in options_of(provider).items() if name not in ("base_url", "token_url")}
    hints = typing.get_type_hints(cls.Options)
    told: dict[str, str] = {}
    for cells in table_rows(section(CONNECTING, cls.title)):
        if len(cells) == 3:
            told |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1])
    assert set(told) == set(known)
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        assert ("required" in told[name]) == required, name
        assert ("secret" in told[name]) == (hints[name] is Secret), name
    row = next(
        cells for cells in table_rows(section(README, "Connect real accounts")) if cells[0].startswith(f"[{cls.title}]")
    )
    assert set(re.findall(r"`(\w+)`", row[2])) <= set(known)
    assert all(f"`{name}`" in row[2] for name, field in known.items() if "required" in told[name])


@pytest.mark.parametrize("provider", CONNECTORS)
def test_a_provider_that_sends_webhooks_has_its_address_in_its_section(provider: str) -> None:
    cls = connector_class(provider)
    sends = cls.accept is not Connector.accept
    address = f"https://<your host>/webhooks/<client_id>/{provider}"
    assert (address in section(CONNECTING, cls.title)) == sends


def test_callrail_tails_do_what_the_page_says() -> None:
    options = CallRailOptions(account_id="ACC1", api_key=Secret("k"))
    connector = CallRail(options, connection="c/callrail", http=Http())
    text = section(CONNECTING, "CallRail")
    acted_on = re.findall(r"/callrail(/[a-z-]+)`", text)
    ignored = re.findall(r"`(/[a-z-]+)`", text)
    assert len(acted_on) == 4
    assert len(ignored) == 5
    for tail in (*acted_on, *ignored):
        body = b'{"resource_id":"CAL0123456789abcdef0123456789abcdef"}'
        received = connector.receive(WebhookRequest("https://leads.example", {}, body, NOW, tail=tail))
        assert bool(received.refetch) == (tail in acted_on), tail


def test_the_runbook_has_every_schedule() -> None:
    said = {
        "*/15 * * * *": "every 15 minutes",
        "5 * * * *": "hourly, at :05",
        "15 * * * *": "hourly, at :15",
        "30 9 * * *": "09:30 Pacific time",
        RECONCILE_CRON: "hourly, at :45",
    }
    rows = table_rows(section(RUNBOOK, "When it runs"))
    for provider in filter(reads_from, CONNECTORS):
        cls = connector_class(provider)
        short = {
            "Google Search Console": "Search Console",
            "QuickBooks Online": "QuickBooks",
            "Website forms": "web forms",
        }
        row = next(cells for cells in rows if short.get(cls.title, cls.title) in cells[0])
        assert said[cls.cron or RECONCILE_CRON] in row[1], provider
    minutes = ", ".join(f":{int(minute):02}" for minute in BUILD_CRON.split()[0].split(","))
    assert any(minutes in cells[1] for cells in rows)


# ---- a small home: one client, one month ----


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    running = start_sandbox(seed=7, clients=1, months=1, leads_per_month=12, end=END)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def settings(sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Synced, built and published."""
    home = tmp_path_factory.mktemp("home")
    office = Office(Settings.from_env({**os.environ, **sandbox.env, "LEADTRAIL_HOME": str(home)}))
    office.sync(now=datetime.now(UTC))
    office.write_directory()
    build(office.settings)
    publish(office.settings)
    return office.settings


def test_the_readme_has_queries_on_every_operations_model() -> None:
    models = {path.stem for path in (ROOT / "dbt_project" / "models" / "marts" / "operations").glob("*.sql")}
    assert models <= set(re.findall(r"operations\.(\w+)", " ".join(QUERIES)))


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.splitlines()[0].removeprefix("-- "))
def test_a_query_of_the_readme_works(settings: Settings, query: str) -> None:
    with duckdb.connect(str(settings.analytics), read_only=True) as connection:
        rows = connection.execute(query).fetchall()
    assert rows or any(often_empty in query for often_empty in ("operations.quarantine", "fct_follow_up_steps"))


def test_the_home_holds_what_the_readme_says(settings: Settings) -> None:
    named = {
        name.rstrip("/")
        for cells in table_rows(section(README, "Where things are"))
        for name in re.findall(r"`([\w.]+/?)`", cells[0])
    }
    made = {
        path.name for path in settings.home.iterdir() if not path.name.startswith(("store.db-", "warehouse.duckdb."))
    }
    assert made - {"warehouse.lock"} <= named


def test_check_says_what_the_pages_promise(sandbox: RunningSandbox, settings: Settings) -> None:
    def plain(text: str) -> str:
        return re.sub(r'"[^"]*"', '"…"', re.sub(r"\d+", "1", " ".join(text.split())))

    for result in check_connections(Office(settings)):
        told = section(CONNECTING, connector_class(result.connection.partition("/")[2]).title)
        assert plain(result.message) in plain(told), result.connection


# ---- adding a provider ----


class Jobs(msgspec.Struct):
    """What the instructions leave out: the shape of a page, and of what is read of a record."""

    jobs: list[msgspec.Raw]
    more: bool = False


class Job(msgspec.Struct):
    id: str
    opened_at: datetime | None = None


def test_the_provider_in_the_instructions_works_against_its_emulator(serve: Any) -> None:
    names: dict[str, Any] = {**globals(), "_Jobs": Jobs, "_Job": Job, "SIZE": 5}
    for block in fenced(ADDING, "python"):
        exec(block, names)

    town = make_town(7, clients=1, months=1, leads_per_month=12, end=NOW)
    served: Served = serve(town, names["SandboxJobline"], now=NOW)
    emulator: Any = served.providers["jobline"]
    given = emulator.connection(town.clients[0], served.root("jobline"))
    options = names["JoblineOptions"](**given, base_url=served.root("jobline"))
    connector = names["Jobline"](options, connection="c/jobline", http=Http())

    assert connector.check().ok
    pages = list(connector.pull("jobs", None, now=NOW + timedelta(days=1)))
    expected = sorted(record_id for _, _, record_id, _ in emulator.records())
    assert len(expected) > names["SIZE"]
    assert sorted(record.record_id for page in pages for record in page.records) == expected
    assert [page.cursor is not None for page in pages] == [False] * (len(pages) - 1) + [True]
