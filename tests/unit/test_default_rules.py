"""The rules and templates Leadtrail ships: they fit together, and none of them could ever break the law by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

import pipeline.follow_up
from pipeline.clients import ClientConfig
from pipeline.follow_up.published import Step
from pipeline.follow_up.rule_file import TASKS, Rule, Trigger, read_rules
from pipeline.follow_up.template_file import Template, read_templates
from pipeline.follow_up.words import words_for

DEFAULTS = Path(pipeline.follow_up.__file__).parent / "defaults"


@pytest.fixture(scope="module")
def rules() -> dict[str, Rule]:
    return read_rules(DEFAULTS / "rules")


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    return read_templates(DEFAULTS / "templates")


def test_every_kind_of_trigger_has_a_rule(rules: dict[str, Rule]) -> None:
    assert {rule.trigger for rule in rules.values()} == set(get_args(Trigger))


def test_every_step_has_its_template_for_its_channel_and_no_template_is_left_over(
    rules: dict[str, Rule], templates: dict[str, Template]
) -> None:
    used = {(step.template, step.channel) for rule in rules.values() for step in rule.steps}
    assert {(name, template.channel) for name, template in templates.items()} == used


def test_only_people_of_ours_get_internal_words(rules: dict[str, Rule], templates: dict[str, Template]) -> None:
    for rule in rules.values():
        for step in rule.steps:
            assert (templates[step.template].message_class == "internal") == (step.channel in TASKS), step


def test_what_is_sent_by_itself_stops_on_an_opt_out(rules: dict[str, Rule]) -> None:
    for rule in rules.values():
        if any(step.channel not in TASKS for step in rule.steps):
            assert "opt_out" in rule.stops_on, rule.rule


def test_a_visit_is_named_by_day_and_time_or_by_the_day_alone_where_nobody_knows_the_time(
    templates: dict[str, Template],
) -> None:
    client = ClientConfig("ridge", "Ridge Plumbing", "America/Chicago", "dana")
    at, day = datetime(2026, 3, 5, 1, 30, tzinfo=UTC), date(2026, 3, 4)

    def said(name: str, **visit: Any) -> str:
        step = Step(*["x"] * 7, *[at] * 3, *["x"] * 7, **visit)
        words = words_for(step, None, client, owner="", opt_out="", unsubscribe_link="", desk_url="", now=at)
        return templates[name].render(words)[1]

    for name in ("visit-ahead", "visit-confirmed"):
        assert "Wednesday, March 4 at 7:30 PM." in said(name, visit_at=at, visit_on=day), name
        assert "Wednesday, March 4." in said(name, visit_on=day), name
    assert "visit is booked. Reply" in said("visit-confirmed")


def test_urgent_leads_get_a_task_at_once_that_escalates(rules: dict[str, Rule]) -> None:
    (step,) = rules["urgent-owner-task"].steps
    assert (step.after, step.priority, step.channel) == (0, "urgent", "crm_task")
    assert [one.to for one in step.escalate] == ["owner", "backup", "agency"]


def test_a_sequence_never_writes_more_than_seven_times(rules: dict[str, Rule]) -> None:
    for rule in rules.values():
        assert sum(step.channel not in TASKS for step in rule.steps) <= 7, rule.rule


def test_reviews_are_asked_for_in_the_same_words_whatever_happened(rules: dict[str, Rule]) -> None:
    assert rules["review-after-recovery"].steps[0].template == rules["review-request"].steps[0].template
