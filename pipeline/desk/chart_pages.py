"""Which channel pays, and how fast people were answered: a chart and the same numbers as a table."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from starlette.responses import Response

from pipeline.clients import ClientConfig
from pipeline.desk.chart import bars, columns
from pipeline.desk.seen import DeskVisit, Page, Row
from pipeline.desk.visits import NotFound
from pipeline.desk.words import money, month, valued

MODELS = ("first", "last", "linear", "position_based", "w_shaped", "time_decay", "data_driven")
METRICS = (
    "speed_to_lead_human_median",
    "response_within_sla",
    "missed_call_rate",
    "recovery_rate",
    "contact_rate",
    "booking_rate_raw",
    "lead_booking_rate",
    "close_rate",
    "opt_out_rate",
)


def attribution(visit: DeskVisit) -> Response:
    client = _client(visit)
    if client is None:
        return visit.render("no_clients.html", title="Attribution")
    model = visit.asked("model") or "linear"
    if model not in MODELS:
        raise NotFound
    who = {"client": client.client_id}
    by_channel = visit.mart(
        "select channel, currency, sum(booking_credit) as bookings, sum(revenue_cents) as revenue_cents "
        "from @attribution.attribution_by_channel where client_id = $client and model = $model "
        "group by channel, currency order by revenue_cents desc, channel",
        model=model,
        **who,
    )
    ranges = visit.mart(
        "from @attribution.attribution_range where client_id = $client and period = 'all' "
        "order by most_revenue_cents desc, channel",
        **who,
    )
    models = visit.mart("from @attribution.attribution_models where client_id = $client order by model", **who)
    costs = visit.mart(
        "select channel, currency, sum(valid_leads) as leads, sum(booked_jobs) as jobs, sum(cost_cents) as cost_cents "
        "from @attribution.cost_per_lead where client_id = $client group by channel, currency having sum(cost_cents) > 0 "
        "order by cost_cents desc, channel",
        **who,
    )
    chart = bars([_amount(row) for row in by_channel])
    spread = bars(
        [
            (
                row["channel"].replace("_", " "),
                float(row["least_revenue_cents"] or 0),
                float(row["most_revenue_cents"] or 0),
                _from_to(row),
            )
            for row in ranges
        ]
    )
    return visit.render(
        "attribution.html",
        client=client,
        model=model,
        models=models,
        rows=by_channel,
        ranges=ranges,
        costs=costs,
        chart=chart,
        spread=spread,
    )


def response(visit: DeskVisit) -> Response:
    client = _client(visit)
    if client is None:
        return visit.render("no_clients.html", title="Response")
    rows = visit.mart(
        "select metric.metric, metric.month, metric.numerator, metric.denominator, metric.value, metric.unit, metric.excluded, "
        "metric.exclusions, metric.coverage, metric.is_comparable, said.definition, said.is_headline, said.better "
        "from @metrics.fct_metrics as metric inner join @metrics.metric_definitions as said using (metric) "
        "where metric.client_id = $client and metric.channel = 'all' order by metric.metric, metric.month",
        client=client.client_id,
    )
    by_metric: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_metric[row["metric"]].append(row)
    better = {
        row["metric"]: row
        for row in visit.mart("from @metrics.improvement where client_id = $client", client=client.client_id)
    }
    metrics = [_told(name, by_metric[name], better.get(name), client) for name in METRICS if by_metric.get(name)]
    return visit.render("response.html", client=client, metrics=metrics)


def _told(name: str, rows: list[Row], improvement: Row | None, client: ClientConfig) -> dict[str, Any]:
    unit = rows[0]["unit"]
    joined = client.joined_on[:7]
    after = (
        next((number for number, row in enumerate(rows) if f"{row['month']:%Y-%m}" > joined), None) if joined else None
    )
    points = [
        (f"{row['month']:%b}", None if row["value"] is None else float(row["value"]), _brief(row["value"], unit))
        for row in rows
    ]
    return {
        "name": name,
        "unit": unit,
        "definition": rows[0]["definition"],
        "better": rows[0]["better"],
        "rows": rows,
        "chart": columns(points, marked_from=after),
        "improvement": improvement,
        "joined": month(rows[after]["month"]) if after else "",
    }


def _client(visit: DeskVisit) -> ClientConfig | None:
    """The one asked for, else the first they see."""
    return visit.chosen_client() or next(iter(visit.clients.values()), None)


def _brief(value: float | None, unit: str) -> str:
    """Short enough to stand on a column; the table beside it says it in full."""
    if value is None:
        return ""
    if unit == "rate":
        return f"{value * 100:.0f} %"
    if unit == "seconds":
        return (
            f"{value / 3600:.1f} h" if value >= 3600 else f"{value / 60:.0f} min" if value >= 60 else f"{value:.0f} s"
        )
    return valued(value, unit)


def _amount(row: Row) -> tuple[str, float, float, str]:
    cents = int(row["revenue_cents"] or 0)
    return row["channel"].replace("_", " "), 0.0, float(max(cents, 0)), money(cents, row["currency"])


def _from_to(row: Row) -> str:
    low, high = (int(row[name] or 0) / 100 for name in ("least_revenue_cents", "most_revenue_cents"))
    return f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} – {high:,.0f}"


PAGES = (Page("/attribution", attribution), Page("/response", response))
