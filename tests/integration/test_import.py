"""Importing a marketplace's CSV export: history lands once, however often the file comes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from connectors.base import ConfigError
from connectors.sandbox.angi import SandboxAngi
from connectors.sandbox.facts import Town
from connectors.sandbox.provider import World
from connectors.sandbox.town import make_town
from pipeline.follow_up.detect import detect_holds
from pipeline.imports import ImportFailed, import_export
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store.segments import live_segments
from pipeline.warehouse import build

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
Import = Callable[..., int]


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(7, clients=2, months=4, leads_per_month=30, end=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def exports(town: Town) -> dict[str, str]:
    """client_id -> the CSV its Angi account gives."""
    angi = SandboxAngi(town, World(town.seed, now=lambda: NOW))
    return {client.client_id: angi.export(client) for client in town.clients}


def office_in(folder: Path, *clients: str) -> Office:
    listed = ", ".join(
        f"{{client_id: {name}, timezone: America/Chicago, owner: dana, connections: "
        '{angi: {api_key: "${K}"}, thumbtack: {path_token: "${K}"}, callrail: {account_id: A, api_key: "${K}"}}}'
        for name in clients
    )
    (folder / "clients.yaml").write_text(f"clients: [{listed}]")
    environ = {
        "LEADTRAIL_HOME": str(folder / "home"),
        "LEADTRAIL_CLIENTS_FILE": str(folder / "clients.yaml"),
        "K": "k",
    }
    return Office(Settings.from_env(environ))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return office_in(tmp_path, "ridgeline")


def run(office: Office, client: str, file: Path, provider: str = "angi", at: datetime = NOW, **mapping: str) -> int:
    return import_export(
        office.connector(client, provider),
        client,
        file,
        mapping=mapping,
        settings=office.settings,
        engine=office.engine,
        now=at,
    )


# ---- imported, and imported again ----


@pytest.fixture(scope="module")
def warehouse(
    tmp_path_factory: pytest.TempPathFactory, exports: dict[str, str], town: Town
) -> tuple[dict[str, list[int]], duckdb.DuckDBPyConnection]:
    """Both clients' exports imported; then again a day later, the first with one row more and its rows in another order."""
    folder = tmp_path_factory.mktemp("import")
    office = office_in(folder, *exports)
    counts: dict[str, list[int]] = {client: [] for client in exports}
    for day in range(2):
        for number, (client, text) in enumerate(exports.items()):
            header, *rows = text.splitlines()
            if day and number == 0:
                rows = [*reversed(rows), '99999,03/01/2026,"Ng, Ann",5125550199,,Roof,$30.00,$0.00']
            file = folder / f"{client}-{day}.csv"
            file.write_text("\ufeff" * day + "\r\n".join([header, *rows]) + "\r\n")
            counts[client].append(run(office, client, file, at=NOW + timedelta(days=day)))
    build(office.settings, select=["staging.angi"])
    return counts, duckdb.connect(str(office.settings.warehouse), read_only=True)


def test_importing_again_changes_nothing_but_adds_what_is_new(
    warehouse: tuple[dict[str, list[int]], duckdb.DuckDBPyConnection], exports: dict[str, str], town: Town
) -> None:
    counts, database = warehouse
    staged = database.execute(
        "select client_id, count(*), count(distinct record_key) from staging.stg_angi__imported_leads group by 1"
    ).fetchall()
    expected = {}
    for number, (client, text) in enumerate(exports.items()):
        leads = len(list(csv.reader(text.splitlines()))) - 1
        assert leads == sum(lead.client_id == client for lead in town.angi_leads) > 0
        expected[client] = leads + (number == 0)
        assert counts[client] == [leads, leads + (number == 0)]
    assert {client: rows for client, rows, _ in staged} == expected
    assert {client: keys for client, _, keys in staged} == expected
    versions = database.execute(
        "select min(received_at) from staging.base_angi__imported_leads where record_id <> '99999'"
    ).fetchone()
    assert versions == (NOW.replace(tzinfo=None),), "the second import made no newer version"


def test_what_was_imported_says_so(warehouse: tuple[object, duckdb.DuckDBPyConnection]) -> None:
    _, database = warehouse
    assert database.execute("select distinct via from staging.base_angi__imported_leads").fetchall() == [("import",)]


# ---- files that are not what they should be ----


def test_an_export_much_shorter_than_an_earlier_one_puts_its_connection_on_hold(office: Office, tmp_path: Path) -> None:
    def imported(rows: int, at: datetime) -> list[str]:
        file = tmp_path / "export.csv"
        file.write_text("Lead Number,Name,Date\n" + "".join(f"{n},Ann,2026-01-05\n" for n in range(rows)))
        run(office, "ridgeline", file, at=at)
        return detect_holds(office, now=at).opened

    assert imported(50, NOW) == []
    assert imported(24, NOW + timedelta(days=1)) == ["ridgeline|angi|import"]


def test_a_thumbtack_export_and_columns_that_a_person_names(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "thumbtack.csv"
    file.write_text("Ref,Wer,When\n1,Ann Oakes,2026-01-05\n2,Bo Lund,2026-01-06\n")
    with pytest.raises(ConfigError, match=r"no column of the file says who the lead is \(columns: Ref, Wer, When\)"):
        run(office, "ridgeline", file, "thumbtack")
    with pytest.raises(ConfigError, match="the file's columns are Ref, Wer, When"):
        run(office, "ridgeline", file, "thumbtack", lead_id="Reference")
    assert not list(office.settings.landing.rglob("*.parquet"))
    assert run(office, "ridgeline", file, "thumbtack", lead_id="Ref", name="Wer") == 2
    ((_, size),) = live_segments(office.engine, "thumbtack", "imported_leads")
    assert size > 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Lead Number,Name\n1,Jos\xe9\n", "is not UTF-8 text"),
        (b"Lead Number,Name\n", "has no rows below its header"),
        (b"", "has no rows below its header"),
        (b"Lead Number,Name\n1," + b"x" * 200_000 + b"\n", "is not a CSV file"),
    ],
)
def test_a_file_that_cannot_be_read_lands_nothing_and_says_why(
    office: Office, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "export.csv"
    file.write_bytes(content)
    with pytest.raises(ImportFailed, match=told):
        run(office, "ridgeline", file)
    assert not list(office.settings.landing.rglob("*.parquet"))


def test_a_provider_that_can_be_asked_has_no_file_import(office: Office, tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text("id,name\n1,Ann\n")
    with pytest.raises(ImportFailed, match="CallRail has no file import; its history is read with `leadtrail sync`"):
        run(office, "ridgeline", tmp_path / "export.csv", "callrail")
