"""What `improvement` says of clients for whom nothing changed, and of clients for whom something did.

The model's own SQL, on simulated leads: levels and seasons of their own, good and bad months (more spread than counts alone
give), two years, joined after the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pytest

from pipeline.clients import ClientConfig
from pipeline.directory import write_directory
from pipeline.settings import Settings
from pipeline.warehouse import run_dbt

CLIENTS, LEADS_PER_MONTH = 200, 60
JOINED = "2025-01-15"
HEADLINES = {"speed_to_lead_human_median", "contact_rate", "missed_call_rate", "booking_rate_raw", "close_rate"}

# Of each client and month: a rate that is the client's own, moves with the season by up to a quarter, and is off by some 10 %
# for that whole month. Waiting times are log-normal, slower in busy months. `shift` is what joining does.
LEADS = """
create or replace table leads as
with levels as (
    select client, random() as level, random() as phase, 0.1 + 0.15 * random() as swing from range({clients}) as c(client)
),
months as (
    select
        client, m as nr, cast(date '2024-01-01' + to_months(cast(m as integer)) as date) as month, level,
        1 + swing * sin(2 * pi() * (m / 12.0 + phase)) as season,
        {noise} * sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random()) as luck,
        case when m > 12 then {shift} else 0 end as shift
    from levels cross join range({months}) as r(m)
)
select
    client, nr, month,
    random() < greatest(0.02, least(0.98, (0.35 + 0.3 * level) * season * (1 + luck) + shift)) as is_met,
    exp(
        ln(1800) + level - shift * 4 + ln(season) + luck
        + 1.2 * sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random())
    ) as waited
from months cross join range({leads}) as l(lead)
"""

MONTHS = """
select
    'client-' || client as client_id, cast(month as date) as month, nr, metric,
    cast(case when unit = 'rate' then count(*) filter (where is_met = (better = 'up')) else count(*) end as double) as numerator,
    cast(count(*) as double) as denominator,
    case when unit = 'rate' then count(*) filter (where is_met = (better = 'up')) / count(*) else median(waited) end as value
from leads cross join definitions group by client, month, nr, metric, unit, better
"""


@pytest.fixture(scope="module")
def improvement(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model as dbt compiles it."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home)})
    client = ClientConfig("c", "C", "America/New_York", "dana@agency.example", joined_on=JOINED, connections=())
    write_directory(home / "directory", [client], {})
    outcome = run_dbt(settings, ["compile", "--select", "improvement"])
    assert outcome.success, outcome.exception
    (compiled,) = settings.dbt_target.glob("compiled/**/improvement.sql")
    return compiled.read_text().replace('"warehouse".', "")


@pytest.fixture
def world(improvement: str) -> Iterator[duckdb.DuckDBPyConnection]:
    seeds = Path(__file__).parents[2] / "dbt_project" / "seeds"
    with duckdb.connect(config={"threads": 1}) as db:  # one thread, so that a seed gives the same leads each time
        for schema in ("metrics", "seeds", "staging", "timeline"):
            db.execute(f"create schema {schema}")
        db.execute(f"create table metrics.metric_definitions as from read_csv('{seeds}/metric_definitions.csv')")
        db.execute(f"create table seeds.t_quantiles as from read_csv('{seeds}/t_quantiles.csv')")
        db.execute("create table timeline.fct_lead_events as select timestamp '2026-03-01' as received_at")
        db.execute("create table metrics.baselines (client_id varchar, metric varchar, has_drifted boolean)")
        yield db


def verdicts(
    db: duckdb.DuckDBPyConnection,
    improvement: str,
    *,
    seed: int,
    shift: float = 0.0,
    months: int = 25,
    noise: float = 0.1,
) -> Mapping[str, Mapping[str, int]]:
    """How often each verdict was given, by headline. Each headline has leads of its own."""
    counts: dict[str, dict[str, int]] = {}
    db.execute(f"select setseed({seed / 1000})")
    for headline in sorted(HEADLINES):
        db.execute(
            "create or replace table definitions as select * from metrics.metric_definitions where metric = ?",
            [headline],
        )
        db.execute(LEADS.format(clients=CLIENTS, leads=LEADS_PER_MONTH, months=months, shift=shift, noise=noise))
        db.execute(f"create or replace table months as {MONTHS}")
        db.execute(f"""
            create or replace table staging.stg_leadtrail__baselines as
            select client_id, metric, month, numerator, denominator, value, 'hash' as baseline_hash,
                timestamp '2025-02-14' as frozen_at, date '{JOINED}' as joined_on
            from months where nr < 12
        """)
        db.execute("""
            create or replace table metrics.fct_metrics as
            select client_id, metric, month, 'all' as channel, numerator, denominator, value, true as is_comparable from months
        """)
        found = db.execute(f"select verdict, count(*) from ({improvement}) group by verdict").fetchall()
        counts[headline] = {str(verdict): int(clients) for verdict, clients in found}
        assert sum(counts[headline].values()) == CLIENTS
    return counts


def test_the_headlines_are_as_many_as_the_correction_allows_for(world: duckdb.DuckDBPyConnection) -> None:
    named = {
        row[0] for row in world.execute("select metric from metrics.metric_definitions where is_headline").fetchall()
    }
    assert named == HEADLINES  # each is held to 1 %, so that five together are wrong for at most 5 % of clients


@pytest.mark.parametrize("months", [17, 25], ids=["four months since joining", "a year since joining"])
def test_where_nothing_changed_at_most_one_in_twenty_is_said_to_have_improved(
    world: duckdb.DuckDBPyConnection, improvement: str, months: int
) -> None:
    found = verdicts(world, improvement, seed=months, months=months)
    for headline, counts in found.items():
        assert counts.get("improved", 0) <= CLIENTS * 0.05, headline
        assert counts.get("too little data", 0) == 0, headline
    assert sum(counts.get("improved", 0) for counts in found.values()) <= CLIENTS * 0.05  # of any headline


def test_where_much_changed_a_year_later_it_usually_says_so(world: duckdb.DuckDBPyConnection, improvement: str) -> None:
    better = verdicts(world, improvement, seed=3, shift=0.15)
    worse = verdicts(world, improvement, seed=4, shift=-0.15)
    for headline in HEADLINES:
        assert better[headline].get("improved", 0) >= CLIENTS * 0.8, headline
        assert worse[headline].get("worse", 0) >= CLIENTS * 0.8, headline


def test_three_months_are_too_little_to_say_anything(world: duckdb.DuckDBPyConnection, improvement: str) -> None:
    for counts in verdicts(world, improvement, seed=5, shift=0.3, months=16).values():
        assert counts == {"too little data": CLIENTS}
