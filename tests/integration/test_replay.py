"""Replay over real dbt: the same statement as live, given other rules, and nothing known before it was known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from sqlalchemy import Engine, select
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.clients import ClientConfig
from pipeline.directory import write_directory
from pipeline.follow_up import rule_book
from pipeline.follow_up.client_settings import FollowUpSettings
from pipeline.follow_up.export import rule_rows
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.replay import CannotReplay, History, Period
from pipeline.follow_up.replay_run import Replayed, replay, summary
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.shelves import DEFAULTS, SHIPPED_BY, read_shelf
from pipeline.follow_up.standing import Standing, Version
from pipeline.follow_up.template_book import add_template, approve
from pipeline.settings import Settings
from pipeline.store.engine import open_store
from pipeline.store.schema import rule_replays
from tests.records import call, contact, form
from tests.warehouse import Landed, staged

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
SYNCED = datetime(2026, 2, 2, 12, 0, tzinfo=UTC)  # everything is read for the first time
MONDAY = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)  # ten in the morning in Chicago; the office is open
NIGHT = datetime(2026, 3, 3, 4, 0, tzinfo=UTC)
PERIOD = Period(SYNCED, MONDAY + 60 * DAY)
ANA, BO = "+15125550101", "+15125550102"
SHIPPED = read_shelf(DEFAULTS)


def _stories() -> Iterator[Landed]:
    for number in range(3):
        yield call("calls", str(number), MONDAY + number * 45 * SECOND, ANA, answered=False)
    yield call("calls", "9", MONDAY + DAY, BO, answered=False)
    # staff called back within the minute, but we read that only an hour later
    yield call("late", "1", MONDAY, ANA, answered=False)
    outbound = {"direction": "outbound"}
    yield call("late", "2", MONDAY + 30 * SECOND, ANA, received_at=MONDAY + HOUR, payload=outbound)
    # a quiet lead, until ten minutes before its sequence begins
    yield form("urgent", "1", MONDAY, name="Ana Lopez", phone=ANA, message="A new water heater some day")
    yield form("urgent", "2", MONDAY + DAY - 10 * MINUTE, name="Ana Lopez", phone=ANA, message="A pipe burst, water!")
    yield form("night", "1", NIGHT, name="Ana Lopez", phone=ANA, message="A quote for gutters")
    yield call("night", "2", MONDAY + 30 * DAY, "+15125559999")  # the last news: until then everything is due


@dataclass(frozen=True)
class Town:
    engine: Engine
    history: History
    home: Path
    clients: Sequence[ClientConfig]

    def replay(self, rule: Rule, whose: str = HOUSE, period: Period = PERIOD) -> Replayed:
        with self.engine.connect() as connection:
            standing = Standing.read(connection)
        return replay(standing, self.history, rule, whose, self.clients, period)

    def told(self, rule: Rule) -> dict[str, Any]:
        return summary(self.replay(rule))

    def live(self, rule: str) -> set[str]:
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as connection:
            due = "select step_key from follow_up.fct_follow_up_steps where rule = ? and state = 'due'"
            return {key for (key,) in connection.execute(due, [rule]).fetchall()}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    home = tmp_path_factory.mktemp("home")
    stories = list(_stories())
    names = sorted({one.client_id for one in stories})
    # the first read of each stream, so that what comes later counts as known when it came
    firsts = [
        one
        for client in names
        for one in (
            call(client, "first", SYNCED - DAY, "+15125559999", received_at=SYNCED - DAY),
            form(client, "first", SYNCED - DAY, phone="+15125559998", received_at=SYNCED - DAY),
            contact(client, "first", SYNCED - DAY, first="Zed", phone="+15125559997", received_at=SYNCED - DAY),
        )
    ]
    clients = [
        ClientConfig(
            name,
            name,
            "America/Chicago",
            "dana@agency.example",
            joined_on="2026-02-01",
            follow_up=FollowUpSettings(texting="approved", postal_address="1 Main St"),
        )
        for name in names
    ]
    said = [
        {
            "client_id": one.client_id,
            "timezone": one.timezone,
            "owner": one.owner,
            "joined_on": "2026-02-01",
            "follow_up": {"texting": "approved", "postal_address": "1 Main St"},
        }
        for one in clients
    ]
    (home / "clients.yaml").write_text(yaml.safe_dump({"clients": said}))
    engine = open_store(f"sqlite:///{home / 'store.db'}")
    with engine.begin() as connection:
        for template in SHIPPED.templates.values():
            add_template(connection, template, client_id=HOUSE, by=SHIPPED_BY, now=SYNCED)
            approve(connection, HOUSE, template.name, template.version, by="lee", note="", now=SYNCED)
        for rule in SHIPPED.rules.values():
            version = Version(HOUSE, rule.rule, rule.version)
            rule_book.add_rule(connection, rule, client_id=HOUSE, by=SHIPPED_BY, now=SYNCED)
            rule_book.note_replay(connection, version, from_at=SYNCED, to_at=SYNCED, by="dana", summary={}, now=SYNCED)
            rule_book.enable(connection, version, by="dana", note="", now=SYNCED)
        rows = rule_rows(connection, names)
    write_directory(home / "directory", clients, {}, rows)
    staged(home, [*firsts, *stories], "+fct_follow_up_steps +follow_up_contacts").close()
    settings = Settings.from_env({"LEADTRAIL_HOME": str(home)})
    settings.analytics.symlink_to(settings.warehouse)
    yield Town(engine, History.of(settings.analytics, settings.dbt_target), home, clients)
    engine.dispose()


def changed(name: str, **step: Any) -> Rule:
    """A shipped rule whose first step is another."""
    rule = SHIPPED.rules[name]
    return rule.model_copy(update={"steps": (rule.steps[0].model_copy(update=step), *rule.steps[1:])})


def test_an_unchanged_rule_replays_to_exactly_the_steps_that_are_due_live(town: Town) -> None:
    found = {
        name: {fate.step["step_key"] for fate in town.replay(rule).fates if fate.step["state"] == "due"}
        for name, rule in SHIPPED.rules.items()
    }
    assert found == {name: town.live(name) for name in SHIPPED.rules}
    assert {name for name, keys in found.items() if keys} >= {
        "missed-call-text-back", "missed-call-callback", "form-acknowledgement", "no-response", "urgent-owner-task",
    }  # fmt: skip


def test_what_a_replay_sends_is_counted_by_lead_channel_client_and_hour_of_the_clients_day(town: Town) -> None:
    told = town.told(SHIPPED.rules["missed-call-text-back"])
    assert (told["asked_for"], told["would_go"], told["leads"]) == (3, 3, 3)
    assert told["by_channel"] == {"text": 3}
    assert told["by_client"] == {"calls": 2, "late": 1}
    assert told["by_hour"] == {"10": 3}


def test_a_replay_does_not_know_what_was_learnt_later(town: Town) -> None:
    (late,) = (
        fate for fate in town.replay(SHIPPED.rules["missed-call-callback"]).fates if fate.step["client_id"] == "late"
    )
    assert late.what == "sent", "that somebody had called back was known only an hour later"
    slow = town.replay(changed("missed-call-callback", after=3600))
    assert [(fate.what, fate.reason) for fate in slow.fates if fate.step["client_id"] == "late"] == [
        ("stopped", "human_takeover")
    ]


def test_a_changed_rule_is_compared_with_the_one_in_force(town: Town) -> None:
    later = town.told(changed("missed-call-text-back", after=120))
    assert later["compared_with"] == {
        "version": SHIPPED.rules["missed-call-text-back"].version,
        "would_go": 3, "added": 0, "removed": 0, "retimed": 3,
    }  # fmt: skip
    by_event = SHIPPED.rules["missed-call-callback"].model_copy(update={"once_per": "event"})
    assert town.told(by_event)["compared_with"]["added"] > 0
    assert town.told(SHIPPED.rules["missed-call-text-back"])["compared_with"] is None


def test_urgent_tasks_hold_a_replayed_sequence_back_as_they_do_live(town: Town) -> None:
    told = town.told(changed("no-response", expires_after=2 * 86400))
    assert told["put_off_behind_urgent"] == 1
    assert town.told(SHIPPED.rules["no-response"])["too_late"] == {"behind_urgent": 1}


def test_the_gate_judges_each_replayed_message_at_its_moment(town: Town) -> None:
    told = {
        fate.step["step_id"]: fate
        for fate in town.replay(SHIPPED.rules["no-response"]).fates
        if fate.step["client_id"] == "night"
    }
    assert (told["day-0"].what, told["day-0"].reason) == ("sent", "quiet_hours")
    assert told["day-0"].at is not None
    assert told["day-0"].at > NIGHT + DAY, "it was due at ten in the evening and waits for the morning"
    assert (told["day-2"].what, told["day-2"].reason) == ("refused", "email_missing")
    answer = town.told(SHIPPED.rules["form-acknowledgement"])
    assert answer["refused"] == {"expires_before_allowed": 1}, "at night, an answer that is true for 15 minutes"


def test_triggers_outside_the_period_are_left_out(town: Town) -> None:
    rule = SHIPPED.rules["missed-call-text-back"]
    first_day = town.replay(rule, period=Period(MONDAY - HOUR, MONDAY + HOUR))
    assert len(first_day.fates) == 2
    assert not town.replay(rule, period=Period(MONDAY + HOUR, MONDAY + 2 * HOUR)).fates


def test_who_has_a_version_of_its_own_is_not_served_by_the_houses(town: Town) -> None:
    own = changed("missed-call-text-back", after=90)
    version = Version("calls", own.rule, own.version)
    with town.engine.connect() as connection, connection.begin() as transaction:
        rule_book.add_rule(connection, own, client_id="calls", by="dana", now=MONDAY)
        rule_book.note_replay(connection, version, from_at=MONDAY, to_at=MONDAY, by="dana", summary={}, now=MONDAY)
        rule_book.enable(connection, version, by="dana", note="", now=MONDAY)
        standing = Standing.read(connection)
        transaction.rollback()
    house = replay(standing, town.history, SHIPPED.rules[own.rule], HOUSE, town.clients, PERIOD)
    assert "calls" not in summary(house)["clients"]
    theirs = replay(standing, town.history, own, "calls", town.clients, PERIOD)
    assert summary(theirs)["by_client"] == {"calls": 2}


def test_without_a_build_there_is_nothing_to_replay_against(tmp_path: Path) -> None:
    with pytest.raises(CannotReplay, match="leadtrail build"):
        History.of(tmp_path / "analytics.duckdb", tmp_path)


# ---- the command ----


def run(town: Town, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setenv("LEADTRAIL_HOME", str(town.home))
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_rule_goes_from_its_file_over_a_replay_into_force_and_back(
    town: Town, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "missed-call-text-back.yaml"
    file.write_text((DEFAULTS / "rules" / file.name).read_text().replace("after: 60s", "after: 2m"))
    days = ("--from", "2026-03-01", "--to", "2026-03-31")
    said = run(town, monkeypatch, "replay", file.stem, "--file", str(file), *days, "--by", "dana")
    assert "would have sent 3 to 3 leads: 3 text." in said
    assert "0 more, 0 fewer, 3 at another time." in said
    run(town, monkeypatch, "rules", "add", str(file), "--by", "dana")
    assert "-  after: 1m\n+  after: 2m" in run(town, monkeypatch, "rules", "diff", file.stem)
    run(town, monkeypatch, "rules", "enable", file.stem, "--by", "dana")
    in_force = json.loads(run(town, monkeypatch, "rules", "list", "--json"))
    new = next(row for row in in_force if row["rule"] == file.stem)
    assert (new["state"], new["by"]) == ("enabled", "dana")
    run(town, monkeypatch, "rules", "rollback", file.stem, "--by", "dana", "--why", "too slow")
    in_force = json.loads(run(town, monkeypatch, "rules", "list", "--json"))
    old = next(row for row in in_force if row["rule"] == file.stem)
    assert old["version"] == SHIPPED.rules[file.stem].version != new["version"]


def test_what_is_kept_of_a_replay_names_nobody(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = run(town, monkeypatch, "replay", "no-response", "--from", "2026-03-01", "--to", "2026-03-31", "--json")
    with town.engine.connect() as connection:
        kept = connection.execute(select(rule_replays.c.summary).order_by(rule_replays.c.seq.desc())).scalar()
    assert json.loads(str(kept)) == json.loads(printed)
    with duckdb.connect(str(town.home / "warehouse.duckdb"), read_only=True) as connection:
        people = connection.execute("select lead_id, person_id, phone, given_name from follow_up.follow_up_contacts")
        secrets = {word for row in people.fetchall() for word in row if word}
    assert secrets
    assert not [word for word in secrets if word in str(kept)]
