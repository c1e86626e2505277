"""The rows behind a figure that clients may read: what was counted, for staff who want to see it one by one.

A figure's id says what it counts: client|kind|first day|figure, with a part or a currency where it has one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipeline.clients import ClientConfig
from pipeline.desk.marts import Row
from pipeline.desk.seen import DeskVisit

MOST = 50
_HUMAN_CALLS = (
    "@timeline.fct_lead_events where contact_method = 'call' "
    "and (lead_id is not null or (event_type = 'call_answered' and duration_seconds >= 60)) and event_type in "
)
_NOT_FAILED = (
    " and record_uid not in (select record_uid from @timeline.fct_lead_events "
    "where event_type = 'leadtrail_outcome' and detail like 'failed%')"
)
_ENQUIRIES = "@timeline.dim_leads where has_enquiry and is_valid"
# figure -> what is counted, and the time by which it belongs to a period. The same conditions as in intermediate.int_person_weeks
_COUNTED = {
    "calls": (_HUMAN_CALLS + "('call_answered', 'call_missed', 'call_voicemail', 'call_abandoned')", "occurred_at"),
    "missed_calls": (_HUMAN_CALLS + "('call_missed', 'call_voicemail', 'call_abandoned')", "occurred_at"),
    "leads": (_ENQUIRIES, "opened_at"),
    "leads_by_channel": (_ENQUIRIES, "opened_at"),
    "response_time": (f"{_ENQUIRIES} and human_response_seconds is not null", "opened_at"),
    "booked_jobs": ("@timeline.dim_leads where is_booked and booked_at is not null", "booked_at"),
    "revenue": (
        "@timeline.fct_lead_events where event_type in ('payment_received', 'refund_issued') and value_cents <> 0",
        "occurred_at",
    ),
    "invoiced": ("@timeline.fct_lead_events where event_type = 'invoice_issued' and value_cents <> 0", "occurred_at"),
    "messages_sent": ("@timeline.fct_lead_events where event_type = 'leadtrail_message'" + _NOT_FAILED, "occurred_at"),
    "tasks_given": ("@timeline.fct_lead_events where event_type = 'leadtrail_task'" + _NOT_FAILED, "occurred_at"),
}
_LENGTH = {"week": timedelta(days=7), "month": timedelta(days=32)}


@dataclass(frozen=True)
class Behind:
    """The first rows behind a figure and how many there are. `of`: the model they are in."""

    of: str
    rows: list[Row]
    count: int


def rows_behind(visit: DeskVisit, client: ClientConfig, figure_id: str, others: Collection[str]) -> Behind | None:
    """None where a figure is not made of rows one could look at. `others`: ids of the figures told beside it."""
    whose, *of = figure_id.split("|")
    if whose != client.client_id or len(of) < 2:
        return None
    kind, *more = of
    if kind == "improvement":
        return _months(visit, client, more[0])
    start = _day(more[0])
    if kind not in _LENGTH or start is None or len(more) < 2 or more[1] not in _COUNTED:
        return None
    figure, told = more[1], more[2] if len(more) > 2 else ""
    counted, at = _COUNTED[figure]
    given = {"client": client.client_id, "told": told, **_bounds(client, kind, start)}
    if figure == "leads_by_channel":
        stem = figure_id.removesuffix(told)
        given["named"] = sorted(one.removeprefix(stem) for one in others if one.startswith(stem))
        counted += (
            " and case when $told = 'other' then not list_contains($named, coalesce(channel, 'unknown')) "
            "or coalesce(channel, 'unknown') = 'other' else coalesce(channel, 'unknown') = $told end"
        )
    elif figure in ("revenue", "invoiced"):
        counted += " and coalesce(currency, 'unknown') = $told"
    else:
        counted += " and $told = ''"
    asked = f"from {counted} and client_id = $client and {at} >= $since and {at} < $until"
    columns = f"{at} as at, lead_id, channel, " + (
        "event_id, event_type as what, value_cents, currency"
        if "fct_lead_events" in counted
        else "null as event_id, stage as what, null as value_cents, currency"
    )
    [total] = visit.mart(f"select count(*) as n {asked}", **given)
    rows = visit.mart(f"select {columns} {asked} order by {at}, lead_id limit {MOST}", **given)
    return Behind(counted.split()[0].removeprefix("@"), rows, total["n"])


def _months(visit: DeskVisit, client: ClientConfig, metric: str) -> Behind:
    asked = "from @metrics.fct_metrics where client_id = $client and metric = $metric and channel = 'all'"
    given = {"client": client.client_id, "metric": metric}
    [total] = visit.mart(f"select count(*) as n {asked}", **given)
    columns = "month, numerator, denominator, value, unit"
    return Behind(
        "metrics.fct_metrics",
        visit.mart(f"select {columns} {asked} order by month desc limit {MOST}", **given),
        total["n"],
    )


def _bounds(client: ClientConfig, kind: str, start: date) -> dict[str, datetime]:
    """The period on the client's clock, in UTC."""
    end = start + _LENGTH[kind]
    end = end.replace(day=1) if kind == "month" else end
    zone = ZoneInfo(client.timezone)
    since, until = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (start, end))
    return {"since": since, "until": until}


def _day(written: str) -> date | None:
    try:
        return date.fromisoformat(written)
    except ValueError:
        return None
