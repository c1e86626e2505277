"""Who gets the credit, over real dbt: the books are shared out to the cent, late news move credit, search demand stays aside."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from connectors.base import Record
from pipeline.clients import ClientConfig
from pipeline.directory import write_directory
from pipeline.manifest import manifest_path
from pipeline.settings import Settings
from pipeline.warehouse import build
from tests.records import angi_lead, call, form, thumbtack_lead
from tests.warehouse import Landed, land, staged

T0 = datetime(2026, 5, 4, 15, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = ["first", "last", "linear", "position_based", "w_shaped", "time_decay"]


def _books(stream: str, record_id: str, at: datetime, cents: int, customer: str = "", **more: Any) -> Landed:
    payload = {
        "Id": record_id,
        "TotalAmt": cents / 100,
        "CurrencyRef": {"value": "USD"},
        "MetaData": {"CreateTime": at.isoformat()},
        **({"CustomerRef": {"value": customer}} if customer else {}),
        **more,
    }
    record = Record(record_id, json.dumps(payload).encode(), occurred_at=at, updated_at=at)
    return Landed("acme", "quickbooks", stream, record, received_at=at)


def _customer(customer_id: str, at: datetime, phone: str) -> Landed:
    payload = {
        "Id": customer_id,
        "DisplayName": f"Customer {customer_id}",
        "PrimaryPhone": {"FreeFormNumber": phone},
        "MetaData": {"CreateTime": at.isoformat()},
    }
    record = Record(customer_id, json.dumps(payload).encode(), occurred_at=at, updated_at=at)
    return Landed("acme", "quickbooks", "customers", record, received_at=at)


def _imported(number: str | None, row: str, at: datetime, *, fee: str, credit: str = "", phone: str = "") -> Landed:
    payload = {
        "lead_id": number,
        "created_at": at.isoformat(),
        "fee": fee,
        "credit": credit,
        "phone": phone,
        "columns": {},
    }
    record = Record(number or row, json.dumps(payload).encode(), occurred_at=at, updated_at=at)
    return Landed("acme", "angi", "imported_leads", record, via="import", received_at=at)


def _thumbtack(lead_id: str, at: datetime, phone: str, **charge: str) -> Landed:
    lead = thumbtack_lead("acme", lead_id, at, name="Tom Reed", phone=phone)
    payload = {**json.loads(lead.record.payload), **charge}
    return replace(lead, record=msgspec.structs.replace(lead.record, payload=json.dumps(payload).encode()))


def _stories() -> list[Landed]:
    return [
        # found by search, came back directly; paid twice, got some back; the last payment on the last evening of a month
        call("acme", "C1", T0, "+15125552101"),
        form("acme", "F1", T0 + 3 * DAY, name="Ana Lopez", phone="5125552101"),
        _customer("1", T0 + 4 * DAY, "5125552101"),
        _books("payments", "P1", T0 + 5 * DAY, 10001, "1"),
        _books("payments", "P2", datetime(2026, 6, 1, 4, 30, tzinfo=UTC), 333, "1"),
        _books("refund_receipts", "R1", T0 + 30 * DAY, 4000, "1"),
        # money that is none: voided, deleted
        _books("payments", "P3", T0 + 6 * DAY, 0, "1", PrivateNote="Voided - wrong customer"),
        _books("payments", "P4", T0 + 6 * DAY, 700, "1", status="Deleted"),
        # money of a customer who never asked, and of nobody
        _customer("2", T0, "5125552102"),
        _books("payments", "P5", T0 + DAY, 5050, "2"),
        _books("sales_receipts", "S1", T0 + DAY, 2500),
        # Angi: by webhook and in the export, which knows of a credit; without a number in the export; in the export only
        angi_lead("acme", "A1", T0, name="Rosa Cruz", phone="5125552103"),
        _imported("A1", "", T0, fee="$30.00", credit="$12.50", phone="5125552103"),
        angi_lead("acme", "A2", T0 + DAY, name="Max Webb", phone="5125552104"),
        _imported(None, "sha256:1", T0 + DAY, fee="$31.00", phone="5125552104"),
        _imported("A3", "", T0 + 2 * DAY, fee="$40.00", phone="5125552105"),
        # Thumbtack: charged, given back, not yet charged
        _thumbtack("N1", T0, "5125552106"),
        _thumbtack("N2", T0 + DAY, "5125552107", chargeState="Refunded"),
        _thumbtack("N3", T0 + 2 * DAY, "5125552108", chargeState="Created"),
    ]


def _late_news() -> list[Landed]:
    """Ana had clicked an ad before; the payment of nobody's customer was one of hers: her phone is on that customer too."""
    ad = call(
        "acme", "C0", T0 - 2 * DAY, "+15125552101", payload={"source": "google_paid", "source_name": "Google Ads"}
    )
    linked = _customer("2", T0, "5125552101")
    record = msgspec.structs.replace(linked.record, updated_at=T0 + 40 * DAY)
    return [replace(one, segment=1, received_at=T0 + 40 * DAY) for one in (ad, replace(linked, record=record))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("attribution")
    write_directory(home / "directory", [ClientConfig("acme", "Acme", "America/Chicago", "dana")], {})
    return home


@pytest.fixture(scope="module")
def warehouse(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """As built from the stories alone, with every test of the models. Kept in memory, so later builds find the file free."""
    built = staged(home, _stories(), "+marts.attribution")
    kept = duckdb.connect()
    kept.execute("create schema attribution")
    for name in (
        "fct_attribution_credit",
        "attribution_by_channel",
        "attribution_models",
        "fct_marketplace_fees",
        "cost_per_lead",
    ):
        rows = built.execute(f"select * from attribution.{name}").to_arrow_table()
        kept.register("rows", rows)
        kept.execute(f"create table attribution.{name} as select * from rows")
        kept.unregister("rows")
    built.close()
    yield kept
    kept.close()


def revenue(warehouse: duckdb.DuckDBPyConnection, model: str) -> dict[tuple[date, str], int]:
    rows = warehouse.execute(
        "select month, channel, revenue_cents from attribution.attribution_by_channel where model = ? and money_credit > 0",
        [model],
    ).fetchall()
    return {(month, channel): cents for month, channel, cents in rows}


MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


def test_every_cent_of_the_books_is_credited_in_the_month_of_the_clients_clock(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    for model in RULES:
        by_month: dict[date, int] = defaultdict(int)
        for (month, _), cents in revenue(warehouse, model).items():
            by_month[month] += cents
        assert by_month == {MAY: 10001 + 333 + 5050 + 2500, JUNE: -4000}, model


def test_money_that_nobody_asked_for_is_unattributed(warehouse: duckdb.DuckDBPyConnection) -> None:
    for model in RULES:
        assert revenue(warehouse, model)[MAY, "unattributed"] == 5050 + 2500


def test_each_model_says_where_money_came_from_and_a_refund_goes_back_there(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert revenue(warehouse, "first")[MAY, "google_organic"] == 10334
    assert revenue(warehouse, "first")[JUNE, "google_organic"] == -4000
    assert revenue(warehouse, "last")[MAY, "direct"] == 10334
    assert revenue(warehouse, "linear")[MAY, "direct"] == 5001 + 167  # odd cents go to the first by name
    assert revenue(warehouse, "linear")[JUNE, "direct"] == -2000


def test_with_few_leads_the_data_driven_model_has_no_rows_but_a_reason(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert warehouse.execute(
        "select count(*) from attribution.fct_attribution_credit where model = 'data_driven'"
    ).fetchone() == (0,)
    row = warehouse.execute(
        "select is_shown, reason from attribution.attribution_models where model = 'data_driven'"
    ).fetchone()
    assert row
    assert row[0] is False
    assert row[1].startswith("Not shown: it would be learnt from ")


def test_a_marketplace_fee_is_one_row_with_its_credit_however_often_it_was_told(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    rows = warehouse.execute(
        "select channel, lead_number, state, fee_cents, credit_cents, net_cents, pending_cents, known_by, lead_id is not null "
        "from attribution.fct_marketplace_fees order by 1, 2"
    ).fetchall()
    assert rows == [
        ("angi", "A1", "credited", 3000, 1250, 1750, 0, "webhook and import", True),
        ("angi", "A2", "charged", 3100, 0, 3100, 0, "webhook and import", True),
        ("angi", "A3", "charged", 4000, 0, 4000, 0, "import", True),
        ("thumbtack", "N1", "charged", 2500, 0, 2500, 0, "webhook", True),
        ("thumbtack", "N2", "credited", 2500, 2500, 0, 0, "webhook", True),
        ("thumbtack", "N3", "pending", 2500, 0, 0, 2500, "webhook", True),
    ]


def test_cost_per_lead_counts_what_is_known_and_is_empty_where_nothing_is(warehouse: duckdb.DuckDBPyConnection) -> None:
    rows = warehouse.execute(
        "select channel, valid_leads, cost_cents, cost_per_lead_cents, cost_per_booked_job_cents, costs_in "
        "from attribution.cost_per_lead order by 1"
    ).fetchall()
    assert rows == [
        ("angi", 3, 8850, 2950, None, "marketplace fees less credits"),
        ("google_organic", 1, None, None, None, "none known"),
        ("thumbtack", 3, 2500, 833, None, "marketplace fees less credits"),
    ]


def test_late_news_move_credit_and_give_what_building_from_nothing_gives(
    home: Path, warehouse: duckdb.DuckDBPyConnection
) -> None:
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home)})
    land(home, _late_news())
    build(settings, select=["+marts.attribution"])
    on_top = _all_rows(settings)
    build(settings, select=["+marts.attribution"], full_refresh=True)
    assert on_top == _all_rows(settings)
    first = {(month, channel): cents for month, channel, model, cents in on_top["by_channel"] if model == "first"}
    assert first[MAY, "google_paid"] == 10334 + 5050
    assert first[JUNE, "google_paid"] == -4000
    assert first[MAY, "unattributed"] == 2500


def _all_rows(settings: Settings) -> dict[str, list[Any]]:
    queries = {
        "touches": "select * from intermediate.int_touches order by touch_id",
        "credit": "select * from attribution.fct_attribution_credit order by conversion_id, model, channel",
        "by_channel": "select month, channel, model, revenue_cents from attribution.attribution_by_channel "
        "where money_credit > 0 order by channel_key",
    }
    with duckdb.connect(str(settings.warehouse), read_only=True) as warehouse:
        return {name: warehouse.execute(query).fetchall() for name, query in queries.items()}


def test_no_model_about_leads_or_persons_reads_search_console(home: Path) -> None:
    """Search Console counts searches. Through no chain of models may it reach a table with a lead or a person in it."""
    nodes = json.loads(manifest_path(Settings.from_env({"LEADTRAIL_HOME": str(home)})).read_bytes())["nodes"]
    models = {key: node for key, node in nodes.items() if node["resource_type"] == "model"}

    def reads_search(key: str) -> bool:
        if key.startswith("source."):
            return ".search_console." in key
        return any(reads_search(parent) for parent in nodes[key]["depends_on"].get("nodes", []))

    readers = {node["name"]: node for key, node in models.items() if reads_search(key)}
    about_people = {
        name for name, node in readers.items() if "lead_id" in node["raw_code"] or "person_id" in node["raw_code"]
        or {"lead_id", "person_id"} & node["columns"].keys()
    }  # fmt: skip
    assert "search_demand" in readers
    assert "fct_lead_events" in {node["name"] for node in models.values()}
    assert about_people == set()
