"""What the gate would have said in the past: by what was known at each moment, and what the rule itself had sent by then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.follow_up.gate_facts import ClientRules
from pipeline.follow_up.quiet_hours import ClientHours
from pipeline.follow_up.replay_gate import Fate, Happened, Past, fates
from pipeline.follow_up.template_file import MessageClass, Template

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOON = datetime(2026, 3, 4, 18, tzinfo=UTC)  # a Wednesday, noon in Chicago


def step(key: str, due: datetime = NOON, **more: Any) -> dict[str, Any]:
    return {
        "step_key": key, "client_id": "acme", "lead_id": "lead", "person_id": "person", "rule": "quote", "trigger": "quote_sent",
        "step_id": key, "channel": "text", "template": "words", "state": "due", "waits_for_urgent": False, "stop_reason": None,
        "stopped_at": None, "due_at": _naive(due), "expires_at": _naive(due + DAY), "triggered_at": _naive(NOON - DAY),
        "as_of": _naive(NOON + 90 * DAY), **more,
    }  # fmt: skip


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def happened(kind: str, at: datetime, *, known: datetime | None = None) -> Happened:
    return Happened(kind, at, known or at, 0)


def judged(
    steps: Sequence[dict[str, Any]], *events: Happened, kind: MessageClass = "informational", **rules: Any
) -> dict[str, Fate]:
    words = Template("words", "text", kind, "", "{{ business }}: hello. {{ opt_out }}")
    contact = {"phone": "+15125550101", "email": "ana@example.com", "zip_code": "78701", "opened_at": NOON - 9 * DAY}
    asked = happened("form_submitted", NOON - 2 * DAY)
    past = Past({"lead": contact}, {"person": [asked, *events]}, {})
    client = ClientRules(
        ("Acme",),
        "1 Main St",
        "approved",
        {"words": frozenset({words.version})},
        ClientHours("America/Chicago"),
        **rules,
    )
    found = fates(steps, past, {("acme", "words"): words}, {"acme": client})
    return {str(fate.step["step_key"]): fate for fate in found}


def said(fate: Fate) -> tuple[str, str]:
    return fate.what, fate.reason


def test_an_opt_out_counts_from_when_it_was_known() -> None:
    steps = [step("before", NOON), step("after", NOON + 2 * DAY)]
    late = happened("opted_out", NOON - HOUR, known=NOON + DAY)
    told = judged(steps, late)
    assert (said(told["before"]), said(told["after"])) == (("sent", ""), ("refused", "opted_out"))
    assert said(judged(steps, happened("opted_out", NOON - HOUR))["before"]) == ("refused", "opted_out")


def test_who_opts_in_again_and_asks_again_is_written_to_again() -> None:
    back = (
        happened("opted_out", NOON - 5 * HOUR),
        happened("opted_in", NOON - 4 * HOUR),
        happened("text_received", NOON - HOUR),
    )
    assert said(judged([step("one")], *back)["one"]) == ("sent", "")


def test_an_advertisement_needs_written_consent_which_a_question_is_not() -> None:
    assert said(judged([step("one")], kind="promotional")["one"]) == ("refused", "consent_not_written")


def test_consent_that_was_taken_back_is_none() -> None:
    old = Happened("form_submitted", NOON - 300 * DAY, NOON - 300 * DAY, 0)
    given, refused = happened("consent_given", NOON - 250 * DAY), happened("consent_refused", NOON - 200 * DAY)
    late = [step("one", NOON + 120 * DAY, as_of=_naive(NOON + 400 * DAY))]
    assert said(judged(late, old, given)["one"]) == ("sent", "")
    assert said(judged(late, old, given, refused)["one"]) == ("refused", "consent_expired")


def test_the_rules_own_texts_count_against_the_caps() -> None:
    told = judged([step("one"), step("two", NOON + HOUR)])
    assert said(told["one"]) == ("sent", "")
    assert said(told["two"]) == ("sent", "frequency")
    assert told["two"].at is not None
    assert told["two"].at > NOON + 12 * HOUR
    seven = [step(str(number), NOON + number * DAY) for number in range(9)]
    full = judged(seven)
    assert [fate.what for fate in full.values()].count("sent") == 7
    assert said(full["8"]) == ("refused", "episode_full")


def test_what_is_due_at_night_goes_in_the_morning_unless_it_was_over_by_then() -> None:
    night = NOON + 10 * HOUR
    assert said(judged([step("one", night)])["one"]) == ("sent", "quiet_hours")
    answered = step("one", night, stopped_at=_naive(night + HOUR), stop_reason="reply")
    assert said(judged([answered])["one"]) == ("stopped", "reply")
    short = step("one", night, expires_at=_naive(night + HOUR))
    assert said(judged([short])["one"]) == ("refused", "expires_before_allowed")


def test_tasks_for_people_of_ours_wait_for_no_hour_and_what_is_not_due_yet_is_not_judged() -> None:
    told = judged([step("task", NOON + 10 * HOUR, channel="crm_task"), step("later", NOON + 100 * DAY)])
    assert (said(told["task"]), said(told["later"])) == (("sent", ""), ("later", ""))
    assert told["task"].at == NOON + 10 * HOUR
