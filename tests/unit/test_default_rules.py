"""The rules and templates Leadtrail ships: they fit together, and none of them could ever break the law by itself."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

import pipeline.follow_up
from pipeline.follow_up.rule_file import TASKS, Rule, Trigger, read_rules
from pipeline.follow_up.template_file import Template, read_templates

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


def test_urgent_leads_get_a_task_at_once_that_escalates(rules: dict[str, Rule]) -> None:
    (step,) = rules["urgent-owner-task"].steps
    assert (step.after, step.priority, step.channel) == (0, "urgent", "crm_task")
    assert [one.to for one in step.escalate] == ["owner", "backup", "agency"]


def test_a_sequence_never_writes_more_than_seven_times(rules: dict[str, Rule]) -> None:
    for rule in rules.values():
        assert sum(step.channel not in TASKS for step in rule.steps) <= 7, rule.rule


def test_reviews_are_asked_for_in_the_same_words_whatever_happened(rules: dict[str, Rule]) -> None:
    assert rules["review-after-recovery"].steps[0].template == rules["review-request"].steps[0].template
