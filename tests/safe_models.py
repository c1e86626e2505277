"""The client-safe models over a few given events, without dbt: their SQL as DuckDB gets it, in memory, in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pyarrow as pa
import yaml

from pipeline.warehouse import PROJECT

MACROS = ("portable", "local_day", "metrics")
MODELS = {
    "int_zone_days": "intermediate/metrics",
    "int_person_weeks": "intermediate/metrics",
    "client_periods": "marts/metrics",
    "period_figures": "marts/metrics",
    "safe_figures": "marts/client_safe",
}
DDL = """
create table leadtrail_clients (client_id varchar, timezone varchar);
create table int_unowned_money (client_id varchar, currency varchar, converted_at timestamp, revenue_cents bigint);
create table fct_lead_events (client_id varchar, person_id varchar, event_type varchar, occurred_at timestamp,
    received_at timestamp, record_uid varchar, detail varchar, value_cents bigint, currency varchar, cluster_id varchar);
create table sync_health (client_id varchar, provider varchar, last_success_at timestamp);
create table marketing_channels (provider_source varchar, channel varchar);
insert into leadtrail_clients values ('acme', 'UTC');
insert into marketing_channels values ('a', 'angi'), ('b', 'direct'), ('c', 'yelp');
"""


@dataclass(frozen=True)
class Happening:
    """Somebody called and opened a lead."""

    day: int
    person: int
    answered: bool = True
    channel: str = "direct"
    cents: int = 0


@cache
def sql_of(name: str) -> str:
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)
    macros: dict[str, Any] = {}
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    environment.globals.update(
        config=lambda **_: "",
        var=variables.get,
        source=lambda *names: "_".join(names),
        dbt=SimpleNamespace(type_string=lambda: "varchar"),
        adapter=SimpleNamespace(dispatch=lambda macro: macros[f"default__{macro}"]),
        touched_rows=lambda relation: relation,
        **{"ref": lambda model: model, "return": lambda value: value},
    )
    text = "\n".join((PROJECT / "macros" / f"{one}.sql").read_text() for one in MACROS)
    module = environment.from_string(text).module
    macros.update({macro: getattr(module, macro) for macro in dir(module) if not macro.startswith("_")})
    environment.globals.update(macros)
    return environment.from_string((PROJECT / "models" / MODELS[name] / f"{name}.sql").read_text()).render()


@cache
def _prepared(clients: tuple[str, ...], first: datetime, last: datetime) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(DDL)
    connection.executemany("insert into leadtrail_clients values (?, 'UTC')", [[one] for one in clients])
    connection.execute("create table int_zone_days as " + sql_of("int_zone_days"))
    known = [[one, at.replace(tzinfo=None), at.replace(tzinfo=None)] for one in clients for at in (first, last)]
    connection.executemany("insert into fct_lead_events values (?, null, 'none', ?, ?, '', '', 0, null, null)", known)
    connection.execute("create table client_periods as " + sql_of("client_periods"))
    return connection


def safe_figures(worlds: Mapping[str, Sequence[Happening]], *, first: datetime, last: datetime) -> list[dict[str, Any]]:
    """Rows of safe_figures over what happened to each client, where data began on the first day and ended on the last."""
    connection = _prepared(tuple(worlds), first, last)
    rows = [
        {
            "client_id": client,
            "person_id": f"p{one.person}",
            "lead_id": f"{client}-{number}",
            "at": (first + timedelta(days=one.day, hours=1)).replace(tzinfo=None),
            "is_answered": one.answered,
            "channel": one.channel,
            "cents": one.cents,
        }
        for client, world in worlds.items()
        for number, one in enumerate(world)
    ]
    happened = pa.Table.from_pylist(rows)  # noqa: F841  (read by the SQL below)
    connection.execute("""
        create or replace table int_calls as
            select client_id, "at"::timestamp as called_at, person_id, true as is_human, is_answered, client_id as cluster_id
            from happened;
        create or replace table int_leads as
            select client_id, lead_id, person_id, channel, "at"::timestamp as opened_at, "at"::date as opened_on,
                "at"::timestamp as booked_at, true as has_enquiry, true as is_valid, 600 as human_response_seconds,
                client_id as cluster_id
            from happened;
        create or replace table int_conversions as
            select client_id, lead_id, 'payment' as conversion_type, 'USD' as currency, "at"::timestamp as converted_at,
                cents as revenue_cents, client_id as cluster_id
            from happened;
    """)
    for model in ("int_person_weeks", "period_figures"):
        connection.execute(f"create or replace table {model} as {sql_of(model)}")
    cursor = connection.execute(sql_of("safe_figures"))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
