"""Six causes are seen by the system itself, each opens one hold of one incident, and none holds back too much. On both stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import Engine, select, update

from connectors.base import WebhookRequest
from pipeline.build_record import BuildRecord, Failure, note_build, save
from pipeline.follow_up.detect import Detection, detect_holds
from pipeline.follow_up.holding import holds_back
from pipeline.follow_up.incidents import failure_incident, job_succeeded
from pipeline.follow_up.release import PER_HOUR, plan_release, release
from pipeline.office import Office
from pipeline.settings import Settings
from pipeline.store import audit, inbox
from pipeline.store.connections import ConnectionState, save_states
from pipeline.store.holds import Hold, clear_hold, open_hold, open_holds
from pipeline.store.incidents import open_incidents
from pipeline.store.outputs import Claimed, Output, Ruling, claim, delivered, enqueue, failed, history, retry, unknown
from pipeline.store.schema import holds, outputs

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
NUMBERS = count()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CLIENTS = """
clients:
  - client_id: ridgeline
    timezone: America/Chicago
    owner: dana@agency.example
    follow_up: {texting: approved}
    connections:
      callrail: {account_id: A, api_key: "${K}"}
      hubspot: {access_token: "${K}"}
      twilio: {account_sid: AC1, auth_token: "${K}", from_numbers: ["+15125550100"]}
      smtp: {host: mail.example, username: u, password: "${K}", sender: a@b.example}
      thumbtack: {webhook_user: u, webhook_password: "${K}"}
      search_console: {site_urls: ["https://a.example/"], service_account: "${K}"}
  - client_id: summit
    timezone: America/Chicago
    owner: lee@agency.example
    follow_up: {texting: approved}
    connections:
      callrail: {account_id: B, api_key: "${K}"}
"""


class Home:
    """A home, its store, and what detection makes of it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        (folder / "clients.yaml").write_text(CLIENTS)
        url = engine.url.render_as_string(hide_password=False)
        environ = {"LEADTRAIL_HOME": str(folder), "LEADTRAIL_STORE_URL": url, "LEADTRAIL_CLIENTS_FILE": ""}
        self.office = Office(Settings.from_env(environ))
        self.engine, self.settings, self.folder = engine, self.office.settings, folder

    def look(self, now: datetime = NOW) -> Detection:
        return detect_holds(self.office, now=now)

    def open(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {hold["open_key"]: hold["evidence"] for hold in open_holds(connection)}

    def incidents(self) -> list[tuple[str, int]]:
        with self.engine.connect() as connection:
            return [(one["open_key"], one["symptoms"]) for one in open_incidents(connection)]

    def synced(self, provider: str, state: str, at: datetime, client: str = "ridgeline", reason: str = "No.") -> None:
        save_states(self.engine, [ConnectionState(client, provider, state, "dana", reason=reason)], at)

    def built(self, at: datetime, *failures: Failure) -> None:
        published = at.isoformat(timespec="seconds")
        save(self.settings, BuildRecord(1, published, failures, "analytics-1.duckdb", published, not failures))

    def publish(self, sql: str) -> None:
        with duckdb.connect(str(self.settings.analytics)) as warehouse:
            warehouse.execute(sql)

    def queue(self, key: str, channel: str = "text", *, client: str = "ridgeline", priority: int = 3,
              due: datetime = NOW, expires: timedelta = DAY) -> str:  # fmt: skip
        wanted = Output(
            key, "task" if channel.endswith("task") else "message", client, "lead", channel, priority, "dana", "rule",
            "+15125550142", {"body": "hello"}, due, due + expires, "Tried again.", rule="no-response",
        )  # fmt: skip
        with self.engine.begin() as connection:
            enqueue(connection, [wanted], due)
        return wanted.output_id

    def row(self, output_id: str) -> dict[str, Any]:
        with self.engine.connect() as connection:
            return dict(connection.execute(select(outputs).where(outputs.c.output_id == output_id)).mappings().one())

    def clear(self, key: str, at: datetime) -> None:
        with self.engine.begin() as connection:
            assert clear_hold(connection, key, at, by="dana", note="Seen.")


def allow(*_: Any) -> Ruling:
    return Ruling("allow")


def hold(*_: Any) -> Ruling:
    return Ruling("refuse", "on_hold", "on hold", status="held")


def sends(
    home: Home, at: datetime, outcome: Callable[[Engine, Claimed, datetime], Any], many: int, channel: str = "text"
) -> None:
    for _ in range(many):
        home.queue(f"{channel} {next(NUMBERS)}", channel, due=at)
    for one in claim(home.engine, allow, now=at, limit=many):
        outcome(home.engine, one, at)


def good(engine: Engine, one: Claimed, at: datetime) -> None:
    delivered(engine, one, "SM1", at)


def bad(engine: Engine, one: Claimed, at: datetime) -> None:
    retry(engine, one, "provider_down", "503", at)


@pytest.fixture
def home(engine: Engine, tmp_path: Path) -> Home:
    return Home(engine, tmp_path)


# ---- the six causes ----


def test_a_credential_that_needs_a_person_holds_its_connection_until_a_build_knows_what_came_since(home: Home) -> None:
    home.synced("hubspot", "needs_person", NOW, reason="HubSpot refuses the token.")
    assert home.look(NOW).opened == ["ridgeline|hubspot|credential"]
    assert home.open() == {"ridgeline|hubspot|credential": "HubSpot refuses the token."}
    home.built(NOW - HOUR)
    home.synced("hubspot", "ok", NOW + HOUR)
    assert home.look(NOW + HOUR).cleared == [], "read again, but no published figure knows of it"
    home.built(NOW + 2 * HOUR)
    assert home.look(NOW + 2 * HOUR).cleared == ["ridgeline|hubspot|credential"]


def test_a_send_refused_for_its_credential_holds_a_connection_that_nobody_reads_until_a_person_ends_it(
    home: Home,
) -> None:
    home.queue("mail", "email")
    [mail] = claim(home.engine, allow, now=NOW)
    retry(home.engine, mail, "credential", "535", NOW)
    assert home.look(NOW).opened == ["ridgeline|smtp|credential"]
    assert home.look(NOW + DAY).cleared == [], "no read can prove that it works"
    home.clear("ridgeline|smtp|credential", NOW + DAY)
    assert home.look(NOW + DAY).opened == []


def webhooks(home: Home, times: list[datetime]) -> None:
    requests = [WebhookRequest("https://h", {}, b"{}", at) for at in times]
    events = [inbox.Event("ridgeline", "callrail", request.received_at.isoformat(), request) for request in requests]
    inbox.store_events(home.engine, events)


def test_a_silent_webhook_holds_and_ends_once_webhooks_come_and_the_source_was_read(home: Home) -> None:
    webhooks(home, [NOW - HOUR * hours for hours in range(1, 24 * 8)])
    assert home.look(NOW).opened == []
    assert home.look(NOW + 4 * HOUR).opened == ["ridgeline|callrail|webhook"]
    assert home.incidents() == [("ridgeline|hold:callrail:webhook", 1)]
    webhooks(home, [NOW + 5 * HOUR])
    assert home.look(NOW + 5 * HOUR).cleared == []
    home.synced("callrail", "ok", NOW + 5 * HOUR + MINUTE)
    assert home.look(NOW + 5 * HOUR + 2 * MINUTE).cleared == ["ridgeline|callrail|webhook"]
    assert home.incidents() == []


def test_a_silence_that_a_person_explained_is_not_reported_again_before_the_next_one(home: Home) -> None:
    webhooks(home, [NOW - HOUR * hours for hours in range(1, 24 * 8)])
    home.look(NOW + 4 * HOUR)
    home.clear("ridgeline|callrail|webhook", NOW + 4 * HOUR)
    assert home.look(NOW + 9 * HOUR).opened == []
    webhooks(home, [NOW + 10 * HOUR])
    assert home.look(NOW + 16 * HOUR).opened == ["ridgeline|callrail|webhook"]


def test_webhooks_that_cannot_be_read_hold_and_a_few_do_not(home: Home) -> None:
    webhooks(home, [NOW - MINUTE * number for number in range(20)])
    waiting = inbox.pending(home.engine, "ridgeline", "callrail", limit=20)
    for number, one in enumerate(waiting[:5]):
        assert home.look().opened == [], number
        with home.engine.begin() as connection:
            inbox.mark_quarantined(connection, one, [("odd", b"{}")], NOW)
    assert home.look().opened == ["ridgeline|callrail|webhook"]
    assert "5 of the 20 webhooks" in home.open()["ridgeline|callrail|webhook"]


def test_a_source_that_cannot_be_read_for_hours_holds_as_an_import(home: Home) -> None:
    home.synced("callrail", "ok", NOW)
    home.synced("callrail", "failing", NOW + HOUR, reason="CallRail answers 500.")
    assert home.look(NOW + HOUR).opened == []
    assert home.look(NOW + 3 * HOUR).opened == ["ridgeline|callrail|import"]
    assert "Not read since 2026-03-02T17:00 UTC: CallRail answers 500." in home.open()["ridgeline|callrail|import"]
    home.synced("callrail", "ok", NOW + 4 * HOUR)
    assert home.look(NOW + 4 * HOUR).cleared == ["ridgeline|callrail|import"]


COVERAGE = """
create schema operations;
create table operations.source_coverage as select * from (values {rows}) as t(
    client_id, provider, stream, last_day_records, usual_day_records, read_until,
    last_batch_records, last_batch_rejected, last_received_at
)
"""


@pytest.mark.parametrize(
    ("provider", "day", "usual", "came", "rejected", "held"),
    [
        ("callrail", 4, 20.0, 4, 0, True),  # a fifth of a usual day
        ("callrail", 5, 20.0, 5, 0, False),
        ("callrail", 0, 19.0, 0, 0, False),  # too small a client to tell from chance
        ("callrail", 50, 50.0, 25, 5, True),  # every fifth record of the last batch unreadable
        ("callrail", 50, 50.0, 26, 5, False),
        ("callrail", 50, 50.0, 4, 4, False),
        ("search_console", 0, 900.0, 0, 0, False),  # knows of nobody
    ],
)
def test_an_import_with_far_fewer_rows_than_usual_or_in_a_new_shape(
    home: Home, provider: str, day: int, usual: float, came: int, rejected: int, held: bool
) -> None:
    at = "timestamp '2026-03-02 16:00'"
    row = f"('ridgeline', '{provider}', 'calls', {day}, {usual}, {at}, {came}, {rejected}, {at})"
    home.publish(COVERAGE.format(rows=row))
    assert home.look().opened == (["ridgeline|callrail|import"] if held else [])
    assert home.look().opened == []


def test_an_export_with_far_fewer_rows_than_an_earlier_one(home: Home) -> None:
    def imported(rows: int, at: datetime) -> Detection:
        with home.engine.begin() as connection:
            audit.note(connection, "leadtrail", "import.landed", "ridgeline/thumbtack", {"rows": rows}, at)
        return home.look(at)

    assert [imported(rows, NOW).opened for rows in (15, 400, 430, 215)] == [[], [], [], []]
    assert imported(200, NOW + HOUR).opened == ["ridgeline|thumbtack|import"]
    assert "has 200 rows; an earlier one had 430" in home.open()["ridgeline|thumbtack|import"]


def test_delivery_errors_above_a_rate_hold_the_channel_which_rests_and_tries_again(home: Home) -> None:
    sends(home, NOW, good, 4)
    sends(home, NOW, bad, 4)
    assert home.look(NOW).opened == [], "four are too few to say"
    sends(home, NOW, lambda e, one, at: unknown(e, one, "lost", at), 1)
    assert home.look(NOW).opened == ["ridgeline|text|delivery"]
    assert (
        "5 of the last 9 outputs did not get through (provider_down, unconfirmed)"
        in home.open()["ridgeline|text|delivery"]
    )
    assert home.look(NOW + 14 * MINUTE).cleared == []
    assert home.look(NOW + 15 * MINUTE).cleared == ["ridgeline|text|delivery"]
    assert home.look(NOW + 16 * MINUTE).opened == [], "what was seen before has been dealt with"
    sends(home, NOW + 20 * MINUTE, bad, 5)
    assert home.look(NOW + 20 * MINUTE).opened == ["ridgeline|text|delivery"], "it goes on"


def test_what_fails_because_of_its_recipient_says_nothing_about_the_channel(home: Home) -> None:
    sends(home, NOW, lambda e, one, at: failed(e, one, "bad_address", "21211", at), 12)
    assert home.look().opened == []


@pytest.mark.parametrize(
    ("channel", "code", "held"),
    [
        ("email", "sender", "ridgeline|email|delivery"),
        ("text", "filtered", "ridgeline|text|delivery"),
        ("text", "sender", "ridgeline|text|compliance"),
    ],
)
def test_one_answer_that_we_may_not_send_holds_the_channel_for_a_person(
    home: Home, channel: str, code: str, held: str
) -> None:
    sends(home, NOW, good, 15, channel)
    sends(home, NOW + MINUTE, lambda e, one, at: failed(e, one, code, "No.", at), 1, channel)
    assert home.look(NOW + MINUTE).opened == [held]
    look = home.look(NOW + 2 * HOUR)
    assert (look.cleared, look.clearable) == ([], [])


def test_texting_that_was_approved_and_is_no_longer_holds_texts_until_a_person_has_looked(home: Home) -> None:
    clients = home.settings.clients_file
    clients.write_text(CLIENTS.replace("approved", "withdrawn"))
    assert home.look(NOW).opened == [], "nobody texts for them"
    sends(home, NOW, good, 1)
    assert home.look(NOW).opened == ["ridgeline|text|compliance"]
    clients.write_text(CLIENTS)
    later = home.look(NOW + HOUR)
    assert (later.cleared, later.clearable) == ([], ["ridgeline|text|compliance"])
    clients.write_text(CLIENTS.replace("approved", "withdrawn"))
    home.look(NOW + 2 * HOUR)
    with home.engine.connect() as connection:
        assert connection.execute(select(holds.c.clearable_at)).scalar() is None, "it is back: not to be ended"


def test_texts_that_the_gate_held_before_anybody_looked_are_let_go_with_the_hold(home: Home) -> None:
    home.settings.clients_file.write_text(CLIENTS.replace("approved", "pending"))
    one = home.queue("text")
    claim(home.engine, lambda *_: Ruling("refuse", "texting_not_approved", "pending", status="held"), now=NOW)
    assert home.look(NOW + MINUTE).opened == ["ridgeline|text|compliance"]
    with home.engine.begin() as connection:
        [standing] = open_holds(connection)
        release(connection, standing, NOW + HOUR, by="dana", note="Approved.")
    assert (home.row(one)["status"], home.row(one)["reason_code"]) == ("pending", "released")


def test_a_token_that_may_read_but_not_write_is_not_cleared_by_reading(home: Home) -> None:
    home.synced("hubspot", "ok", NOW - DAY)
    home.queue("task", "crm_task")
    [task] = claim(home.engine, allow, now=NOW)
    retry(home.engine, task, "credential", "403", NOW)
    home.look(NOW)
    home.synced("hubspot", "ok", NOW + HOUR)
    assert home.look(NOW + HOUR).cleared == []
    home.synced("hubspot", "needs_person", NOW + 2 * HOUR)
    home.synced("hubspot", "ok", NOW + 3 * HOUR)
    assert home.look(NOW + 3 * HOUR).cleared == ["ridgeline|hubspot|credential"]


@pytest.mark.parametrize(
    ("code", "many", "held"),
    [(30034, 1, True), (30032, 1, True), (30007, 2, False), (30007, 3, True), (30003, 9, False)],
)
def test_carriers_that_refuse_our_number_or_take_us_for_spam(home: Home, code: int, many: int, held: bool) -> None:
    home.publish(
        "create schema staging; create table staging.stg_twilio__messages as select 'ridgeline' as client_id, "
        f"'outbound-api' as direction, 'undelivered' as status, {code} as error_code, "
        f"timestamp '2026-03-02 16:00' as created_at from range({many})"
    )
    assert home.look().opened == (["ridgeline|text|compliance"] if held else [])
    assert home.look(NOW + 2 * DAY).cleared == [], "a person must have looked"


def test_a_failed_privacy_check_of_a_build_holds_everything_of_those_it_may_concern(home: Home) -> None:
    leak = Failure("test.x", "no_numbers", "test", "m", 1, ("summit",), "found 1", tags=("privacy",))
    home.built(NOW, leak, Failure("test.y", "other", "test", "m", 1, ("ridgeline",), "found 1"))
    assert home.look(NOW).opened == ["summit|all|privacy"]
    home.built(NOW + HOUR)
    assert home.look(NOW + HOUR).clearable == ["summit|all|privacy"]
    home.built(NOW + 2 * HOUR, Failure("test.x", "no_numbers", "test", "m", 1, None, "found 1", tags=("privacy",)))
    assert home.look(NOW + 2 * HOUR).opened == ["ridgeline|all|privacy"], "whose it is cannot be told"


def test_a_build_says_which_of_its_failures_are_about_privacy(home: Home) -> None:
    """From what dbt leaves behind to the hold."""
    node = "test.leadtrail.no_numbers"
    of_dbt = {"name": "no_numbers", "resource_type": "test", "depends_on": {"nodes": []}, "tags": ["privacy"]}
    with duckdb.connect(str(home.settings.warehouse)) as warehouse:
        warehouse.execute("create schema landing; create table landing.builds as select 1 as build")
    target = home.folder / "target"
    target.mkdir()
    (target / "manifest.json").write_text(json.dumps({"nodes": {node: of_dbt}, "unit_tests": {}}))
    result = {"unique_id": node, "status": "fail", "failures": 1, "message": "Got 1 result"}
    (target / "run_results.json").write_text(
        json.dumps({"results": [{**result, "compiled_code": "select 'summit' as client_id"}]})
    )
    note_build(home.settings, target, in_part=False)
    assert home.look(datetime.now(UTC)).opened == ["summit|all|privacy"]


@pytest.mark.parametrize("said", ["call (512) 555-0142", "+15125550142", "mail ana.b@example.com now"])
def test_a_way_to_reach_somebody_in_what_clients_see_holds_everything_of_that_client(home: Home, said: str) -> None:
    file = home.folder / "published" / "client_safe-1.duckdb"
    file.parent.mkdir()
    with duckdb.connect(str(file)) as shown:
        shown.execute("create schema client_safe; create table client_safe.safe_x (client_id varchar, said varchar)")
        shown.execute(
            "insert into client_safe.safe_x values ('ridgeline', '12 calls, 3 booked, $4,120.00'), ('summit', ?)",
            [said],
        )
    home.settings.client_safe.symlink_to(file)
    assert home.look().opened == ["summit|all|privacy"]
    assert said not in json.dumps(home.open())


# ---- one mechanism ----


def test_looking_again_changes_nothing_and_every_hold_is_audited(home: Home) -> None:
    home.synced("hubspot", "needs_person", NOW)
    home.synced("callrail", "needs_person", NOW)
    assert len(home.look(NOW).opened) == 2
    again = [home.look(NOW + MINUTE * number) for number in range(1, 4)]
    assert [(one.opened, one.cleared, one.clearable) for one in again] == [([], [], [])] * 3
    assert [symptoms for _, symptoms in home.incidents()] == [1, 1]
    assert audit.verify(home.engine) == (4, None)


def test_one_cause_at_several_clients_is_one_incident_of_the_house(home: Home) -> None:
    home.synced("callrail", "needs_person", NOW)
    home.look(NOW)
    assert home.incidents() == [("ridgeline|hold:callrail:credential", 1)]
    home.synced("callrail", "needs_person", NOW, client="summit")
    home.look(NOW + MINUTE)
    assert home.incidents() == [("|hold:callrail:credential", 2)]


def test_a_look_that_breaks_ends_nothing_and_is_an_incident(home: Home) -> None:
    at = "timestamp '2026-03-02 16:00'"
    home.publish(COVERAGE.format(rows=f"('ridgeline', 'callrail', 'calls', 0, 99.0, {at}, 9, 0, {at})"))
    home.look(NOW)
    home.settings.analytics.rename(home.folder / "away")
    home.settings.analytics.write_bytes(b"torn")
    home.synced("callrail", "ok", NOW + HOUR)
    broken = home.look(NOW + HOUR)
    assert (broken.not_looked, broken.cleared) == (["import", "compliance"], [])
    assert ("|look:import", 1) in home.incidents()
    home.settings.analytics.unlink()
    home.look(NOW + 2 * HOUR)
    assert home.incidents() == []


def test_a_hold_of_a_connection_that_is_gone_ends(home: Home) -> None:
    home.synced("thumbtack", "needs_person", NOW)
    assert home.look(NOW).opened == ["ridgeline|thumbtack|credential"]
    written = CLIENTS.replace('      thumbtack: {webhook_user: u, webhook_password: "${K}"}\n', "")
    home.settings.clients_file.write_text(written)
    assert home.look(NOW + HOUR).cleared == ["ridgeline|thumbtack|credential"]


def test_a_publication_from_before_this_was_counted_is_no_trouble(home: Home) -> None:
    home.publish("create schema operations; create table operations.source_coverage as select 'ridgeline' as client_id")
    assert home.look() == Detection()


def test_what_a_person_opened_only_a_person_ends(home: Home) -> None:
    with home.engine.begin() as connection:
        open_hold(connection, Hold("ridgeline", "text", "delivery", "Odd.", "dana", "Look."), NOW, actor="dana")
    look = home.look(NOW + DAY)
    assert (look.cleared, look.clearable, list(home.open())) == ([], [], ["ridgeline|text|delivery"])


# ---- what a hold holds back ----

NURTURE, ANSWER, URGENT = 3, 2, 0


@pytest.mark.parametrize(
    ("scope", "cause", "channel", "priority", "held"),
    [
        ("hubspot", "credential", "crm_task", URGENT, True),
        ("hubspot", "credential", "text", ANSWER, False),  # its own texts still answer
        ("hubspot", "credential", "text", NURTURE, True),  # a reply or a booking may be there
        ("hubspot", "webhook", "crm_task", URGENT, False),  # we write there all the same
        ("callrail", "webhook", "text", NURTURE, True),
        ("callrail", "webhook", "text", ANSWER, False),
        ("callrail", "webhook", "crm_task", URGENT, False),
        ("quickbooks", "import", "email", NURTURE, True),
        ("search_console", "credential", "email", NURTURE, False),
        ("twilio", "webhook", "text", ANSWER, True),  # their STOP may be on its way
        ("twilio", "webhook", "email", ANSWER, False),
        ("text", "compliance", "text", ANSWER, True),
        ("text", "compliance", "email", NURTURE, False),
        ("email", "delivery", "text", NURTURE, False),
        ("all", "privacy", "email", ANSWER, True),
        ("all", "privacy", "crm_task", URGENT, True),
        ("all", "privacy", "desk_task", URGENT, False),
        ("crm_task", "delivery", "crm_task", URGENT, True),
    ],
)
def test_a_hold_holds_back_what_it_makes_uncertain_and_no_more(
    scope: str, cause: str, channel: str, priority: int, held: bool
) -> None:
    assert holds_back({"scope": scope, "cause": cause}, channel=channel, priority=priority) is held


def test_a_task_that_the_crm_cannot_take_goes_to_the_desk_at_once(home: Home) -> None:
    waiting, refused = home.queue("a", "crm_task", priority=0), home.queue("b", "crm_task", priority=0)
    other, on_desk = home.queue("c", "crm_task", client="summit"), home.queue("d", "desk_task")
    sent = home.queue("e", "crm_task", due=NOW - HOUR)
    [mine] = claim(home.engine, allow, now=NOW - MINUTE)
    unknown(home.engine, mine, "lost", NOW - MINUTE)
    claim(
        home.engine,
        lambda c, row, now: hold() if row["output_id"] == refused else Ruling("wait", "later", until=NOW + HOUR),
        now=NOW,
    )
    home.synced("hubspot", "needs_person", NOW)
    assert home.look(NOW).to_the_desk == 2
    for moved in (waiting, refused):
        row = home.row(moved)
        assert (row["channel"], row["status"]) == ("desk_task", "pending")
    assert [home.row(one)["channel"] for one in (other, on_desk, sent)] == ["crm_task", "desk_task", "crm_task"]
    assert {one.output_id for one in claim(home.engine, allow, now=NOW, channels=["desk_task"])} >= {waiting, refused}
    assert home.look(NOW).to_the_desk == 0


# ---- its end ----


def test_after_an_outage_what_is_too_old_is_listed_once_and_the_rest_goes_slowly_most_urgent_first(home: Home) -> None:
    lapsed = [home.queue(f"old {n}", expires=timedelta(hours=1 + n)) for n in range(6)]
    nurture = [home.queue(f"new {n}", expires=DAY) for n in range(70)]
    answer = home.queue("answer", priority=2, expires=DAY)
    short = home.queue("short", priority=3, expires=9 * HOUR + MINUTE)  # true now, not at any turn
    other = home.queue("other client", client="summit", expires=DAY)
    with home.engine.begin() as connection:
        open_hold(connection, Hold("ridgeline", "text", "compliance", "Withdrawn.", "dana", "Look."), NOW)
    assert claim(home.engine, hold, now=NOW, limit=100) == []
    later = NOW + 9 * HOUR
    with home.engine.begin() as connection:
        [standing] = open_holds(connection)
        plan = release(connection, standing, later, by="dana", note="Approved again.")
        assert plan is not None
        assert release(connection, standing, later, by="lee", note="Me too.") is None
    rows = [home.row(one) for one in (answer, *nurture)]
    assert {row["status"] for row in rows} == {"pending"}
    assert {home.row(one)["status"] for one in (*lapsed, short)} == {"expired"}
    assert home.row(other)["status"] == "held"
    times = sorted(datetime.fromisoformat(row["next_attempt_at"]) for row in rows)
    assert times[0] > later
    assert times[0].isoformat() == datetime.fromisoformat(home.row(answer)["next_attempt_at"]).isoformat()
    for start in times:
        assert sum(start <= at < start + HOUR for at in times) <= PER_HOUR
    with home.engine.connect() as connection:
        [task] = connection.execute(select(outputs).where(outputs.c.template == "triage-list")).mappings().all()
        cleared = connection.execute(select(holds)).mappings().one()
    told = json.loads(task["payload"])
    assert (task["channel"], task["output_type"], task["owner"]) == ("desk_task", "task", "dana")
    assert {one["output_id"] for one in told["left_over"]} == {*lapsed, short}
    assert (cleared["released"], cleared["left_over"]) == (71, 7)
    assert datetime.fromisoformat(task["respond_by"]) == later + HOUR
    assert "+1512" not in task["payload"]


def test_what_another_hold_holds_back_too_stays_and_is_listed_by_the_last_one(home: Home) -> None:
    text, old = home.queue("text"), home.queue("old", expires=HOUR)
    with home.engine.begin() as connection:
        for scope in ("text", "twilio"):
            open_hold(connection, Hold("ridgeline", scope, "compliance", "x", "dana", "y"), NOW)
    claim(home.engine, hold, now=NOW)
    with home.engine.begin() as connection:
        first, last = open_holds(connection)
        assert release(connection, first, NOW + DAY / 2, by="dana", note="") == plan_release(connection, first, NOW)
        assert home_status(connection, text) == home_status(connection, old) == "held"
        release(connection, last, NOW + DAY / 2, by="dana", note="")
        assert (home_status(connection, text), home_status(connection, old)) == ("pending", "expired")


def home_status(connection: Any, output_id: str) -> str:
    found: str = connection.execute(select(outputs.c.status).where(outputs.c.output_id == output_id)).scalar()
    return found


def test_two_releases_one_after_the_other_share_the_hour(home: Home) -> None:
    texts, mails = [home.queue(f"t{n}") for n in range(20)], [home.queue(f"m{n}", "email") for n in range(20)]
    with home.engine.begin() as connection:
        for scope in ("text", "email"):
            open_hold(connection, Hold("ridgeline", scope, "delivery", "x", "dana", "y"), NOW)
    claim(home.engine, hold, now=NOW, limit=50)
    with home.engine.begin() as connection:
        for standing in open_holds(connection):
            release(connection, standing, NOW + HOUR, by="dana", note="")
    times = sorted(home.row(one)["next_attempt_at"] for one in (*texts, *mails))
    assert len(set(times)) == 40, "no two at once"


def test_what_was_held_tells_its_whole_story(home: Home) -> None:
    one = home.queue("text")
    with home.engine.begin() as connection:
        open_hold(connection, Hold("ridgeline", "text", "delivery", "x", "dana", "y"), NOW)
    claim(home.engine, hold, now=NOW)
    with home.engine.begin() as connection:
        [standing] = open_holds(connection)
        release(connection, standing, NOW + HOUR, by="dana", note="")
        assert [row["what"] for row in history(connection, one)] == ["queued", "held", "released"]


def test_an_output_in_somebody_elses_hands_is_not_touched_by_a_release(home: Home) -> None:
    one = home.queue("text")
    with home.engine.begin() as connection:
        open_hold(connection, Hold("ridgeline", "text", "delivery", "x", "dana", "y"), NOW)
        connection.execute(update(outputs).values(status="leased", reason_code="on_hold"))
        [standing] = open_holds(connection)
        release(connection, standing, NOW + HOUR, by="dana", note="")
    assert home.row(one)["status"] == "leased"


# ---- runs that fail ----


def test_runs_that_fail_for_one_reason_are_one_incident_until_the_job_succeeds(home: Home) -> None:
    def fails(job: str, error: str, number: int) -> bool:
        with home.engine.begin() as connection:
            run = f"run{number}"
            return failure_incident(
                connection, run_id=run, job=job, error_class=error, owner="dana", now=NOW + MINUTE * number
            )

    assert [fails("refresh", "BuildFailed", number) for number in range(5)] == [True, False, False, False, False]
    assert fails("refresh", "OSError", 6)
    assert fails("sync", "OSError", 7)
    assert sorted(home.incidents()) == [
        ("|run:refresh::BuildFailed", 5),
        ("|run:refresh::OSError", 1),
        ("|run:sync::OSError", 1),
    ]
    with home.engine.begin() as connection:
        assert job_succeeded(connection, job="refresh", now=NOW + HOUR) == 2
        assert job_succeeded(connection, job="ref", now=NOW + HOUR) == 0
    assert home.incidents() == [("|run:sync::OSError", 1)]
    home.look(NOW + HOUR)
    assert home.incidents() == [("|run:sync::OSError", 1)], "looking for holds leaves the runs' incidents alone"
