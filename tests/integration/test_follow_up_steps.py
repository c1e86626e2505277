"""What the rules ask for, over real dbt: each client is a story, landed and built together, with the rules Leadtrail ships."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.clients import ClientConfig
from pipeline.directory import write_directory
from pipeline.follow_up.export import RuleRows, rule_row, step_rows
from pipeline.follow_up.hold_export import HoldRows
from pipeline.follow_up.intervals import Interval
from pipeline.follow_up.release import triage_key
from pipeline.follow_up.rule_file import Rule, read_rules
from pipeline.follow_up.template_book import TemplateLog
from tests.records import call, contact, form, thumbtack_lead
from tests.warehouse import Landed, staged

DEFAULTS = Path(__file__).parents[2] / "pipeline" / "follow_up" / "defaults" / "rules"
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
SYNCED = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)  # everything is read for the first time
MONDAY = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)  # ten in the morning in Chicago; the office is open
NIGHT = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
ANA, BO = "+15125550101", "+15125550102"


def _outbound(client: str, number: str, at: datetime, phone: str, **more: Any) -> Landed:
    return call(client, number, at, phone, payload={"direction": "outbound"}, **more)


def _stories() -> Iterator[Landed]:
    def missed(client: str, number: str, at: datetime, phone: str = ANA, **more: Any) -> Landed:
        return call(client, number, at, phone, answered=False, **more)

    yield missed("three-calls", "1", MONDAY)
    yield missed("three-calls", "2", MONDAY + 45 * SECOND)
    yield missed("three-calls", "3", MONDAY + 90 * SECOND)
    yield missed("three-calls", "4", MONDAY + DAY)

    yield missed("answered-since", "1", MONDAY)
    yield _outbound("answered-since", "2", MONDAY + 5 * MINUTE, ANA)

    # staff called back within the minute, but we read that only an hour later
    yield missed("learnt-late", "1", MONDAY)
    yield _outbound("learnt-late", "2", MONDAY + 30 * SECOND, ANA, received_at=MONDAY + HOUR)

    # the webhook of the call itself came nine hours late
    yield missed("late-webhook", "1", MONDAY, received_at=MONDAY + 9 * HOUR)

    yield missed("at-night", "1", NIGHT)

    # a quiet lead, until ten minutes before its sequence begins
    yield form("urgent", "1", MONDAY, name="Ana Lopez", phone=ANA, message="A new water heater some day")
    yield form("urgent", "2", MONDAY + DAY - 10 * MINUTE, name="Ana Lopez", phone=ANA, message="A pipe burst, water!")

    yield form("quiet", "1", MONDAY, name="Ana Lopez", phone=ANA, message="A new water heater some day")
    yield form("writes-back", "1", MONDAY, name="Bo Reed", phone=BO, message="A quote for gutters")
    yield call("writes-back", "2", MONDAY + 30 * HOUR, BO)

    yield missed("before-joining", "1", MONDAY - 60 * DAY)
    yield missed("new-version", "1", MONDAY - 3 * DAY)
    yield missed("new-version", "2", MONDAY + DAY, BO)

    # by area code in Texas and in New York; by the ZIP of the form in Texas, whatever the phone; and nobody knows
    yield form("two-states", "1", MONDAY, name="Ana Lopez", phone=ANA, message="A quote")
    yield form("two-states", "2", MONDAY, name="Bo Reed", phone="+12125550142", message="A quote")
    yield form("two-states", "3", MONDAY, name="Cy Hale", phone="+12125550143", message="A quote")
    yield contact("two-states", "3", MONDAY, first="Cy", phone="+12125550143", properties={"zip": "78701"})
    yield form("two-states", "4", MONDAY, name="Di Ray", email="di@example.com", message="A quote")

    # two bookings for Wednesday: one at half past two in the afternoon, the other some time that day; one for in an hour
    yield thumbtack_lead("visits", "1", MONDAY, name="Ana L.", phone=ANA, booked_for="2026-03-04T20:30:00Z")
    yield thumbtack_lead("visits", "2", MONDAY, name="Bo R.", phone=BO, booked_for="2026-03-04")
    yield thumbtack_lead(
        "visits", "3", MONDAY, name="Cy H.", phone="+15125550103", booked_for=(MONDAY + HOUR).isoformat()
    )

    yield missed("merged", "1", MONDAY)
    yield form("merged", "2", MONDAY + 2 * HOUR, name="Ana Lopez", email="ana@example.com")
    once_two = {"hs_merged_object_ids": "4"}
    yield contact(
        "merged",
        "3",
        MONDAY + 3 * HOUR,
        first="Ana",
        last="Lopez",
        phone=ANA,
        email="ana@example.com",
        properties=once_two,
    )


def _rows(clients: list[str]) -> RuleRows:
    shipped, nothing = read_rules(DEFAULTS), TemplateLog([])
    since = (MONDAY - 90 * DAY).isoformat()
    rules, steps = [], []

    def enable(client: str, rule: Rule, since: str, until: str | None = None) -> None:
        rules.append(rule_row(client, rule, Interval("", rule.version, since, until, since), "enabled"))
        steps.extend(step_rows(client, rule, nothing, pinned_at=since))

    for client in clients:
        for rule in shipped.values():
            if (client, rule.rule) == ("two-states", "form-acknowledgement"):
                enable(client, rule.model_copy(update={"states": ("TX", "OK")}), since)
            elif (client, rule.rule) != ("new-version", "missed-call-text-back"):
                enable(client, rule, since)
    old = shipped["missed-call-text-back"]
    slower = old.model_copy(update={"steps": (old.steps[0].model_copy(update={"after": 300}),)})
    enable("new-version", old, since, MONDAY.isoformat())
    enable("new-version", slower, MONDAY.isoformat())
    return RuleRows(rules, steps)


def _holds(client: str) -> HoldRows:
    """Two that ended, of which one left something over; one that stands; and a sign-in that ends."""
    held = {
        "client_id": client,
        "scope": "callrail",
        "cause": "webhook",
        "evidence": "Silent.",
        "opened_at": MONDAY.isoformat(),
    }
    ended = {**held, "cleared_at": (MONDAY + 9 * HOUR).isoformat()}
    warning = {"client_id": client, "provider": "quickbooks", "kind": "token_ends", "what_happened": "It ends."}
    return HoldRows(
        [
            {**ended, "hold_id": "h1", "left_over": 3},
            {**ended, "hold_id": "h2", "left_over": 0},
            {**held, "hold_id": "h3"},
        ],
        [{**warning, "warning_id": "w1", "since": MONDAY.isoformat()}],
    )


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    home = tmp_path_factory.mktemp("home")
    stories = list(_stories())
    clients = sorted({one.client_id for one in stories})
    # the first read of each stream, so that what comes later counts as known when it came
    firsts = [
        one
        for client in clients
        for one in (
            call(client, "first", SYNCED, "+15125559999", received_at=SYNCED),
            form(client, "first", SYNCED, phone="+15125559998", received_at=SYNCED),
            contact(client, "first", SYNCED, first="Zed", phone="+15125559997", received_at=SYNCED),
        )
    ]
    joined = [ClientConfig(client, client, "America/Chicago", "dana", joined_on="2026-02-01") for client in clients]
    write_directory(home / "directory", joined, {}, _rows(clients), _holds(clients[0]))
    with staged(home, [*firsts, *stories], "+fct_follow_up_steps +follow_up_contacts") as connection:
        yield connection


def steps(warehouse: duckdb.DuckDBPyConnection, client: str, rule: str, *columns: str) -> list[tuple[Any, ...]]:
    names = ", ".join(columns or ("step_id", "state", "due_at"))
    query = f"select {names} from follow_up.fct_follow_up_steps where client_id = ? and rule = ?"
    query += " and triggered_at <> ? order by due_at, step_number, step_key"
    return warehouse.execute(query, [client, rule, utc(SYNCED)]).fetchall()


def utc(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def test_three_missed_calls_in_ninety_seconds_give_one_text_and_another_day_gives_another(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    found = steps(warehouse, "three-calls", "missed-call-text-back", "due_at", "state")
    assert found == [(utc(MONDAY + 80 * SECOND), "due"), (utc(MONDAY + DAY + 80 * SECOND), "due")]


def test_a_step_names_the_event_and_the_raw_record_that_caused_it(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = """
        select events.provider, events.stream, events.record_id, steps.why
        from follow_up.fct_follow_up_steps as steps
        inner join timeline.fct_lead_events as events on steps.trigger_event_id = events.event_id
        where steps.client_id = 'three-calls' and rule = 'missed-call-text-back' order by due_at limit 1
    """
    why = "A customer called and nobody answered. (2026-03-02 10:00)"
    assert warehouse.execute(query).fetchall() == [("callrail", "calls", "1", why)]


def test_a_call_back_stops_what_was_not_due_and_leaves_what_was(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert steps(warehouse, "answered-since", "missed-call-text-back", "state", "stop_reason") == [
        ("due", "human_takeover")
    ]
    assert steps(warehouse, "answered-since", "missed-call-callback", "state", "stop_reason") == [
        ("stopped", "human_takeover")
    ]


def test_nothing_is_stopped_by_what_was_not_known_yet(warehouse: duckdb.DuckDBPyConnection) -> None:
    text, task = (
        steps(warehouse, "learnt-late", f"missed-call-{which}", "state", "due_at", "stopped_at")[0]
        for which in ("text-back", "callback")
    )
    known = utc(MONDAY + HOUR)
    assert text == ("due", utc(MONDAY + 80 * SECOND), known)  # the text had gone by then
    assert task == ("due", utc(MONDAY + 15 * MINUTE + 20 * SECOND), known)  # and so had the task


def test_what_is_learnt_too_late_to_be_true_expires_instead_of_being_sent(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    assert steps(warehouse, "late-webhook", "missed-call-text-back") == [("text", "expired", utc(MONDAY + 9 * HOUR))]
    assert steps(warehouse, "late-webhook", "missed-call-callback") == [("call", "due", utc(MONDAY + 9 * HOUR))]


def test_a_call_at_night_is_another_rules_than_one_in_office_hours(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert not steps(warehouse, "at-night", "missed-call-text-back")
    assert [step for step, *_ in steps(warehouse, "at-night", "after-hours-missed-call")] == ["text", "call"]
    assert not steps(warehouse, "three-calls", "after-hours-missed-call")


def test_no_sequence_starts_while_an_urgent_task_is_open(warehouse: duckdb.DuckDBPyConnection) -> None:
    asked = utc(MONDAY + DAY - 10 * MINUTE)
    assert steps(warehouse, "urgent", "urgent-owner-task") == [("call", "due", asked)]
    first, second, *_ = steps(warehouse, "urgent", "no-response", "step_id", "state", "due_at", "waits_for_urgent")
    assert first == ("day-0", "expired", asked + DAY, True)  # nobody took the task up all day
    assert second == ("day-1", "due", utc(MONDAY + 2 * DAY), False)


def test_what_is_not_urgent_is_followed_up_until_somebody_gets_through(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert not steps(warehouse, "quiet", "urgent-owner-task")
    sequence = steps(warehouse, "quiet", "no-response")
    assert [step for step, state, _ in sequence if state == "due"] == [
        "day-0", "day-1", "day-2", "day-3", "day-5", "decide", "close",
    ]  # fmt: skip
    assert sequence[0][2] == utc(MONDAY + DAY)
    written = steps(warehouse, "writes-back", "no-response", "step_id", "state", "stop_reason")
    assert written[0] == ("day-0", "due", "reply")
    assert {(state, reason) for _, state, reason in written[1:]} == {("stopped", "reply")}


def test_what_happened_before_a_client_joined_is_history(warehouse: duckdb.DuckDBPyConnection) -> None:
    assert not steps(warehouse, "before-joining", "missed-call-text-back")


def test_a_lead_keeps_the_version_of_a_rule_it_began_with(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = steps(
        warehouse, "new-version", "missed-call-text-back", "rule_version", "due_at - triggered_at - interval 20 second"
    )
    assert len({version for version, _ in found}) == 2
    assert [waited for _, waited in found] == [60 * SECOND, 300 * SECOND]


def test_a_visit_is_reminded_of_by_its_own_time_and_by_its_day_where_only_that_is_known(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    half_past_two, wednesday = datetime(2026, 3, 4, 20, 30), date(2026, 3, 4)  # noqa: DTZ001  (as the warehouse has them)
    columns = ("due_at", "state", "visit_at", "visit_on")
    assert steps(warehouse, "visits", "visit-tomorrow", *columns) == [
        (datetime(2026, 3, 3, 16), "due", None, wednesday),  # noqa: DTZ001  (ten in the morning in Chicago)
        (half_past_two - DAY, "due", half_past_two, wednesday),
    ]
    # booked at ten for eleven: an hour ahead is in time, the day before is over
    assert steps(warehouse, "visits", "visit-soon", *columns) == [
        (utc(MONDAY), "due", utc(MONDAY + HOUR), date(2026, 3, 2)),
        (half_past_two - HOUR, "due", half_past_two, wednesday),
    ]
    confirmed = steps(warehouse, "visits", "visit-reminder", "visit_at", "visit_on")
    assert set(confirmed) == {(half_past_two, wednesday), (None, wednesday), (utc(MONDAY + HOUR), date(2026, 3, 2))}


def test_a_rule_for_some_states_is_for_leads_that_are_known_to_be_there(warehouse: duckdb.DuckDBPyConnection) -> None:
    asked = set(steps(warehouse, "two-states", "form-acknowledgement", "lead_id"))
    there = "select lead_id from follow_up.follow_up_contacts where client_id = 'two-states' and given_name in ('Ana', 'Cy')"
    assert asked == set(warehouse.execute(there).fetchall())
    assert len(set(steps(warehouse, "two-states", "no-response", "lead_id"))) == 4  # a rule without states is for all


def test_when_two_leads_turn_out_to_be_one_it_goes_through_a_rule_once(warehouse: duckdb.DuckDBPyConnection) -> None:
    people = "select count(distinct lead_id) from follow_up.follow_up_contacts where client_id = 'merged' and phone = ?"
    assert warehouse.execute(people, [ANA]).fetchone() == (1,)
    assert [step for step, *_ in steps(warehouse, "merged", "no-response")].count("day-0") == 1


def test_a_lead_is_reached_by_its_own_phone_and_first_name(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select phone, email, given_name from follow_up.follow_up_contacts where client_id = 'merged' and phone = ?"
    assert warehouse.execute(query, [ANA]).fetchall() == [(ANA, "ana@example.com", "Ana")]


def test_a_task_hangs_on_the_contact_that_is_left_of_two_that_were_merged(warehouse: duckdb.DuckDBPyConnection) -> None:
    query = "select distinct crm_contact_id from follow_up.follow_up_contacts where client_id = 'merged' and phone = ?"
    assert warehouse.execute(query, [ANA]).fetchall() == [("3",)]


def test_a_hold_that_left_something_over_asks_for_the_list_that_its_release_made(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    asked = warehouse.execute(
        "select client_id, trigger_event_id, step_key, due_at, why from follow_up.fct_follow_up_steps "
        "where rule = 'after-an-outage'"
    ).fetchall()
    [(client, hold, key, due, why)] = asked
    assert (hold, key, due) == ("h1", triage_key(client, "h1"), utc(MONDAY + 9 * HOUR))
    assert why.startswith("Silent. 3 outputs waited until they were no longer true.")


def test_a_connection_that_needs_care_is_its_owners_task(warehouse: duckdb.DuckDBPyConnection) -> None:
    [asked] = warehouse.execute(
        "select channel, priority, owner_role, why from follow_up.fct_follow_up_steps where rule = 'connection-warning'"
    ).fetchall()
    assert asked[:3] == ("desk_task", "urgent", "client_owner")
    assert asked[3].startswith("It ends.")
