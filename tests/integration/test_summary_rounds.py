"""Rounds over a small home: what is due is written, what changed is void, what was approved is published; and a model that
lies, obeys its callers and asks for phone numbers gets nothing past any of it."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import duckdb
import pytest
from sqlalchemy import select

from bench.redaction import people
from pipeline.assets.client_safe import client_safe_assets
from pipeline.automation import decisions_sensor
from pipeline.client_safe.call_summaries import summaries_of_lead, summarize_calls
from pipeline.client_safe.draft import TEMPLATE_VERSION
from pipeline.client_safe.facts import NoFacts, due_periods, query_hash, read_facts, read_hashes
from pipeline.client_safe.round import Round, make_round, propose_period, wanted, what_waits
from pipeline.client_safe.shown import end_of
from pipeline.store.holds import Hold, open_hold
from pipeline.store.schema import call_summaries
from tests.conftest import Stub
from tests.safe_facts import OCTOBER, row, write_client_safe
from tests.summary_home import CANARY, LATER, NOW, TRANSCRIPT, Home, chat, make_home, words

MONTH, WEEK = ("acme", "month", "2026-10-01"), ("acme", "week", "2026-10-26")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def model(home: Home, stub: Stub) -> Stub:
    home.ask(stub.origin)
    return stub


# ---- what is due ----


def test_the_last_week_and_month_that_are_over_are_due_and_nothing_older(home: Home) -> None:
    due = due_periods(home.settings, now=NOW)
    assert [(one.client_id, one.kind, one.start) for one in due] == [MONTH, WEEK, ("summit", "month", "2026-10-01")]
    assert due_periods(home.settings, now=NOW + timedelta(days=100)) == []


def test_a_round_writes_what_is_due_once(home: Home) -> None:
    made = make_round(home.office, now=NOW)
    assert len(made.proposed) == 3
    assert {one["status"] for one in home.versions()} == {"in_review"}
    assert make_round(home.office, now=LATER) == Round()


def test_nothing_is_published_that_nobody_approved_nor_before_it_can_no_longer_be_undone(home: Home) -> None:
    make_round(home.office, now=NOW)
    assert make_round(home.office, now=NOW + timedelta(days=1)).published == []
    home.approve(home.month()["summary_id"])
    assert what_waits(home.office, now=NOW + timedelta(minutes=5)) == []
    assert make_round(home.office, now=NOW + timedelta(minutes=5)).published == []
    assert [one.split()[0] for one in what_waits(home.office, now=LATER)] == ["publish"]
    assert len(make_round(home.office, now=LATER).published) == 1
    assert what_waits(home.office, now=LATER) == []


def test_one_changed_invoice_voids_an_approval_and_the_same_data_read_later_does_not(home: Home) -> None:
    make_round(home.office, now=NOW)
    home.approve(home.month()["summary_id"])
    make_round(home.office, now=LATER)
    home.publish(until=datetime(2026, 11, 9, 6))  # noqa: DTZ001
    assert what_waits(home.office, now=LATER) == []
    assert make_round(home.office, now=LATER) == Round()
    home.publish(row("revenue", 4_200_000))
    assert len(what_waits(home.office, now=LATER)) == 1
    made = make_round(home.office, now=LATER)
    assert len(made.voided) == len(made.proposed) == 1
    assert [one["status"] for one in home.published()] == ["in_re_review"]
    assert what_waits(home.office, now=LATER) == []
    assert make_round(home.office, now=LATER) == Round()


def test_a_corrected_figure_of_fewer_than_five_people_is_not_told_again(home: Home) -> None:
    make_round(home.office, now=NOW)
    home.approve(home.month()["summary_id"])
    make_round(home.office, now=LATER)
    home.publish(row("revenue", 4_200_000), row("leads", 90, k=30))
    make_round(home.office, now=LATER)
    words = home.month()["content"]
    assert "$42,000" not in words
    assert "$43,151" not in words
    assert "90" in words  # eighteen more people


def test_an_old_month_that_changes_after_it_was_approved_is_written_again(home: Home) -> None:
    make_round(home.office, now=NOW)
    home.approve(home.month()["summary_id"])
    make_round(home.office, now=LATER)
    much_later = NOW + timedelta(days=200)
    home.publish(row("booked_jobs", 90, k=60))
    make_round(home.office, now=much_later)
    assert home.month()["version"] == 2
    assert make_round(home.office, now=much_later) == Round()


def test_a_privacy_hold_keeps_an_approved_summary_back_and_the_sensor_quiet(home: Home) -> None:
    make_round(home.office, now=NOW)
    home.approve(home.month()["summary_id"])
    with home.office.engine.begin() as connection:
        open_hold(connection, Hold("acme", "all", "privacy", "seen", "dana", "look at it"), NOW)
    assert make_round(home.office, now=LATER).published == []
    assert what_waits(home.office, now=LATER) == []


def test_what_nobody_reviews_expires_and_is_never_published(home: Home) -> None:
    make_round(home.office, now=NOW)
    much_later = NOW + timedelta(days=30)
    assert {one.split()[0] for one in what_waits(home.office, now=much_later)} == {"expire"}
    assert len(make_round(home.office, now=much_later).expired) == 3
    assert home.published() == []


def test_a_period_that_is_not_over_or_a_home_without_figures_says_what_to_do(home: Home) -> None:
    with pytest.raises(NoFacts, match="summaries list"):
        read_facts(home.settings, "acme", "month", "2026-11-01")
    home.settings.client_safe.unlink()
    with pytest.raises(NoFacts, match="leadtrail build"):
        make_round(home.office, now=NOW)


# ---- hashes ----


def test_the_snapshot_is_of_the_figures_not_of_when_or_in_which_order_they_were_read(home: Home) -> None:
    first = read_hashes(home.settings, [MONTH])
    home.rows.reverse()
    home.publish(until=datetime(2027, 1, 1))  # noqa: DTZ001
    assert read_hashes(home.settings, [MONTH]) == first
    facts = read_facts(home.settings, *MONTH)  # type: ignore[arg-type]
    assert first[MONTH] == (facts.query_hash, facts.snapshot_hash)
    home.publish(row("tasks_given", 6))
    assert read_hashes(home.settings, [MONTH]) != first


def test_the_query_hash_changes_with_a_definition_and_not_with_spacing_or_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.client_safe import facts

    before = query_hash()
    copy = tmp_path / "dbt_project" / "models"
    for name in facts.QUERIES:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("-- said otherwise\n" + (facts.MODELS / name).read_text().replace("\n", "\n   "))
    (copy.parent / "dbt_project.yml").write_text((facts.MODELS.parent / "dbt_project.yml").read_text())
    monkeypatch.setattr(facts, "MODELS", copy)
    assert query_hash() == before
    changed = copy / "intermediate/metrics/int_person_weeks.sql"
    changed.write_text(changed.read_text().replace("where is_human", "where true"))
    assert query_hash() != before


# ---- a model ----


def one_draft(home: Home) -> Any:
    (period,) = [one for one in wanted(home.office, now=NOW) if (one.client_id, one.kind) == ("acme", "month")]
    propose_period(home.office, period, Round(), now=NOW)
    return home.month()


def test_a_model_that_keeps_to_the_facts_is_used_and_marked(home: Home, model: Stub) -> None:
    model.script = chat(words("You had 13 missed calls.", "81 new leads came in."))
    draft = one_draft(home)
    assert (draft["made_by"], draft["status"]) == ("ai", "in_review")
    assert json.loads(draft["content"])["made_by_ai"] is True
    assert draft["template_version"].startswith("ai-small-")
    ((method, path, headers, body),) = model.requests
    asked = json.loads(body)
    assert (method, path, headers["authorization"]) == ("POST", "/v1/chat/completions", "Bearer key")
    assert "tools" not in asked
    assert "functions" not in asked


def test_a_model_is_told_the_figures_of_one_client_and_nothing_else(home: Home, model: Stub) -> None:
    model.script = chat(words("Nothing to say."))
    with duckdb.connect(str(home.settings.analytics)) as analytics:
        analytics.execute(
            "insert into staging.stg_callrail__calls values ('acme', '1', 'Ignore Instructions', '7185550142', ?)",
            [TRANSCRIPT],
        )
    home.publish(*(row("leads_by_channel", 24, part="other") for _ in range(1)))
    for period in wanted(home.office, now=NOW):
        if period.client_id == "acme":
            propose_period(home.office, period, Round(), now=NOW)
    assert len(model.requests) == 2
    for *_, body in model.requests:
        asked = body.decode()
        assert not re.search(rf"(?i){CANARY}|4,?141|summit|acme|718|ignore your", asked)
        assert "at least 50" in asked


def test_a_number_that_is_no_fact_is_asked_again_and_may_be_mended(home: Home, model: Stub) -> None:
    model.script = chat(words("You had 14 missed calls."), words("You had 13 missed calls."))
    assert one_draft(home)["made_by"] == "ai"
    assert len(model.requests) == 2
    assert "Not a fact" in model.requests[1][3].decode()


@pytest.mark.parametrize(
    "bad",
    [
        words("You had 14 missed calls."),
        words("You had 48 new leads."),
        words("Twice as many customers called."),
        words("Call the last customer back at 718 555 0142."),
        words("Card 4111 1111 1111 1111 was charged."),
        {"opening": "hi"},
        {**words("fine"), "phone": "7185550142"},
        words("<script>alert(1)</script>"),
        words(*["fine"] * 30),
        "not JSON at all",
        500,
        429,
    ],
    ids=str,
)
def test_a_model_that_is_wrong_twice_is_not_used(
    home: Home, model: Stub, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model.script = chat(bad)
    with caplog.at_level(logging.WARNING):
        draft = one_draft(home)
    assert (draft["made_by"], draft["status"], draft["template_version"]) == ("rule", "in_review", TEMPLATE_VERSION)
    assert "81 new leads" in draft["content"]
    assert not re.search(r"14 missed|0142|4111|Twice|script", draft["content"])
    assert "acme" in caplog.text
    assert not re.search(r"0142|4111|script", caplog.text)


@pytest.mark.parametrize("line", ["Marguerite Oyelaran was glad.", "Ask for oyelaran.", "Write to m@example.com."])
def test_a_model_that_names_a_person_is_not_used(home: Home, model: Stub, line: str) -> None:
    """Its figures may be right; it was told of nobody."""
    with duckdb.connect(str(home.settings.analytics)) as analytics:
        analytics.execute(
            "insert into staging.stg_callrail__calls values ('acme', '1', 'Marguerite Oyelaran', '7185550142', '')"
        )
    model.script = chat(words(line))
    draft = one_draft(home)
    assert (draft["made_by"], draft["status"]) == ("rule", "in_review")
    assert not re.search(r"(?i)oyelaran|example\.com", draft["content"])


def test_the_same_facts_are_not_given_to_a_model_twice(home: Home, model: Stub) -> None:
    model.script = chat(words("81 new leads came in."))
    make_round(home.office, now=NOW)
    asked = len(model.requests)
    assert make_round(home.office, now=LATER) == Round()
    assert len(model.requests) == asked


# ---- calls, for staff ----

NOTE = {"wants": "A new water heater.", "outcome": "to be called back", "next_step": "Call back in the morning."}


def test_a_call_is_summed_up_once_and_hung_on_its_lead(home: Home, model: Stub) -> None:
    home.call_in("e1", NOW - timedelta(days=1))
    model.script = chat(NOTE)
    assert (home.sum_up(), home.sum_up()) == (1, 0)
    assert len(model.requests) == 1
    with home.office.engine.connect() as connection:
        (found,) = summaries_of_lead(connection, "acme", "lead of e1")
        assert summaries_of_lead(connection, "summit", "lead of e1") == []
    assert (found["wants"], found["event_id"], found["model"]) == (NOTE["wants"], "e1", "small")


def test_no_transcript_goes_to_a_model_unless_callers_heard_of_the_recording(home: Home, model: Stub) -> None:
    home.call_in("before", datetime(2026, 10, 19, 12, tzinfo=UTC))  # the day before the notice
    home.call_in("theirs", NOW - timedelta(days=1), client="summit")  # who proves nothing
    model.script = chat(NOTE)
    (config,) = [one for one in home.office.clients() if one.client_id == "acme"]
    early = datetime(2026, 10, 21, tzinfo=UTC)
    assert summarize_calls(home.settings, home.office.engine, config, now=early) == 0
    assert home.sum_up("summit") == 0
    unproven = replace(config, follow_up=replace(config.follow_up, recording_notice_proof=" "))
    home.call_in("after", NOW - timedelta(days=1))
    assert summarize_calls(home.settings, home.office.engine, unproven, now=NOW) == 0
    assert model.requests == []


def test_a_transcript_goes_to_a_model_without_phone_email_name_address_and_card(home: Home, model: Stub) -> None:
    """However each is said, also over several turns; what was asked for and what it costs is left."""
    one, number = people.customer(Random(3)), people.card(Random(3))
    with duckdb.connect(str(home.settings.analytics)) as analytics:
        analytics.execute(
            "insert into staging.stg_callrail__calls values ('acme', '1', ?, ?, '')", [one.name, one.phone]
        )
    ways = (people.PHONES, people.EMAILS, people.NAMES_CASED, people.NAMES_LOWER, people.ADDRESSES)
    turns = [f"Caller: it is {spell(one)}." for spellings in ways for spell in spellings.values()]
    turns += [f"Caller: my card is {spell(number)}." for spell in people.CARDS.values()]
    turns += [f"Caller: {part}\nAgent: go on." for part in (one.phone[:3], one.phone[3:6], one.phone[6:], number[:4])]
    turns += [f"Caller: {people.spoken(one.phone[:3])}\nAgent: go on.", "Agent: a new water heater is $1,450, at 8:30."]
    turns.append(f"Caller: my neighbour is Xochitl Okonkwo, and mine is {one.phone[:3]}\u200b{one.phone[3:]}.")
    home.call_in("e1", NOW - timedelta(days=1), "\n".join(turns))
    model.script = chat(NOTE)
    assert home.sum_up() == 1
    [(*_, body)] = model.requests
    told = json.loads(json.loads(body)["messages"][-1]["content"])["transcript"]
    assert "a new water heater is $1,450, at 8:30" in told
    told = told.replace("$1,450, at 8:30", "").lower()
    assert not re.search(r"\d{3}|\d(\W?\d){2}", told)
    digit = "(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
    assert not re.search(rf"{digit}(\W+{digit}){{2}}", told)
    parts = [one.given, one.family, one.street, one.email, one.email.split("@")[0], "xochitl", "okonkwo"]
    assert [part for part in parts if part.lower() in told] == []


def test_what_a_caller_says_is_never_part_of_what_a_client_reads(home: Home, model: Stub) -> None:
    home.call_in("e1", NOW - timedelta(days=1))
    model.script = chat({**NOTE, "wants": "CANARYWORDS 718 555 0142"})
    assert home.sum_up() == 1
    model.script = chat(words("81 new leads came in."))
    model.requests.clear()
    make_round(home.office, now=NOW)
    assert model.requests
    assert not any(b"CANARYWORDS" in body or b"718 555" in body for *_, body in model.requests)
    assert not any("CANARYWORDS" in one["content"] for one in home.versions())


def test_no_module_that_writes_for_clients_knows_of_call_summaries_or_transcripts() -> None:
    folder = Path(__file__).parents[2] / "pipeline" / "client_safe"
    for name in ("facts", "draft", "model_draft", "numbers", "shown", "document", "language_model", "review"):
        text = (folder / f"{name}.py").read_text()
        assert not re.search(r"call_summaries|stg_callrail|transcription|settings\.analytics|timeline\.", text), name


def test_a_call_that_the_model_cannot_sum_up_waits_for_the_next_round(home: Home, model: Stub) -> None:
    home.call_in("e1", NOW - timedelta(days=1))
    home.call_in("e2", NOW - timedelta(days=2))
    model.script = chat(500)
    assert home.sum_up() == 0
    assert len(model.requests) == 1  # one that fails is not asked on
    with home.office.engine.connect() as connection:
        assert connection.execute(select(call_summaries)).all() == []
    model.script = chat(NOTE)
    assert home.sum_up() == 2


def test_without_a_model_nothing_is_asked_of_anybody(home: Home) -> None:
    home.call_in("e1", NOW - timedelta(days=1))
    assert home.sum_up() == 0


# ---- in Dagster ----


@pytest.fixture
def last_month(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Assets and sensors read the clock themselves, so here October is last month."""
    start = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).replace(day=1).date().isoformat()
    rows = [
        {**one, "period_start": start, "figure_id": one["figure_id"].replace("2026-10-01", start)} for one in OCTOBER
    ]
    write_client_safe(home.settings.client_safe, rows, [("acme", "month", start, end_of("month", start))])
    monkeypatch.setenv("LEADTRAIL_HOME", str(home.settings.home))
    return home


def test_the_assets_do_what_a_round_does_and_say_nothing_of_what_clients_read(last_month: Home) -> None:
    assert dg.materialize(client_safe_assets()).success
    assert {one["status"] for one in last_month.versions()} == {"in_review"}
    last_month.approve(last_month.month()["summary_id"], now=datetime.now(UTC) - timedelta(minutes=16))
    made = dg.materialize(client_safe_assets())
    assert [one["status"] for one in last_month.published()] == ["published"]
    said = str([event.event_specific_data for event in made.all_events])
    assert "by client and status" in said
    assert not re.search(r"43,151|new leads|Missed calls", said)


def test_the_sensor_asks_for_a_run_when_an_approval_can_no_longer_be_undone(last_month: Home) -> None:
    make_round(last_month.office, now=datetime.now(UTC))
    assert isinstance(decisions_sensor(dg.build_sensor_context()), dg.SkipReason)
    last_month.approve(last_month.month()["summary_id"], now=datetime.now(UTC) - timedelta(minutes=16))
    asked = decisions_sensor(dg.build_sensor_context())
    assert isinstance(asked, dg.RunRequest)
    assert "acme" not in str(asked)
