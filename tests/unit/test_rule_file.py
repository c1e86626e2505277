"""Rules as client success writes them: what is wrong is named by file and line; what says the same is the same version."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.follow_up.rule_file import RuleMistake, read_rule, read_rules

GOOD = """\
rule: missed-call-text-back
title: Text back a missed call
trigger: missed_call
applies_when:
  in_hours: true
once_per: caller_day
steps:
  - id: text
    after: 60s
    channel: text
    template: missed-call
    priority: answer
    expires_after: 20m
    respond_within: 15m
    escalate:
      - {after: 15m, to: backup}
"""


def written(folder: Path, text: str, name: str = "rule.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(RuleMistake) as caught:
        read_rule(written(folder, text))
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_a_rule_is_read_with_its_times_in_seconds(tmp_path: Path) -> None:
    rule = read_rule(written(tmp_path, GOOD))
    assert (rule.steps[0].after, rule.steps[0].expires_after, rule.steps[0].escalate[0].after) == (60, 1200, 900)
    assert rule.applies_when.in_hours is True


def test_the_same_content_is_the_same_version_whatever_its_spacing(tmp_path: Path) -> None:
    one = read_rule(written(tmp_path, GOOD))
    other = read_rule(written(tmp_path, "# a comment\n" + GOOD.replace("  in_hours: true", "    in_hours:   true")))
    assert one.version == other.version
    assert read_rule(written(tmp_path, GOOD.replace("60s", "90s"))).version != one.version


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("after: 60s", "after: soon"), "rule.yaml:9: steps.0.after: 'soon' is not a length of time; write it like 60s"),
        (("trigger: missed_call\n", ""), "rule.yaml:1: trigger: is missing"),
        (("trigger: missed_call", "trigger: missed_cal"), "rule.yaml:3: trigger: Input should be 'urgent_lead'"),
        (("once_per", "onceper"), "rule.yaml:6: onceper: is not known here; is it misspelled?"),
        (("template: missed-call", "template: Missed Call"), "rule.yaml:11: steps.0.template: 'Missed Call' is not a name"),
        (("    respond_within: 15m\n", ""), "rule.yaml:8: steps.0: escalate needs respond_within"),
        (("to: backup", "to: nobody"), "rule.yaml:16: steps.0.escalate.0.to: Input should be 'owner'"),
        (("steps:", "stops_on: [booked]\nsteps:"), "rule.yaml:1: rule: a rule that sends messages stops on opt_out, always"),
        (("  in_hours: true", "  in_hours: [\n"), "rule.yaml:8: not YAML"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_file_and_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    found = mistakes(tmp_path, GOOD.replace(*change, 1))
    assert any(line.startswith(said) for line in found), found


def test_every_mistake_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("60s", "soon").replace("20m", "later"), "a.yaml")
    written(tmp_path, GOOD.replace("title:", "titel:"), "b.yaml")
    with pytest.raises(RuleMistake) as caught:
        read_rules(tmp_path)
    lines = str(caught.value).splitlines()
    assert [line.rpartition("/")[2].split(":")[0] for line in lines] == ["a.yaml", "a.yaml", "b.yaml", "b.yaml"]


def test_two_files_cannot_hold_the_same_rule(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "a.yaml")
    written(tmp_path, GOOD, "b.yaml")
    with pytest.raises(RuleMistake, match="already has the rule missed-call-text-back"):
        read_rules(tmp_path)


def test_steps_come_in_the_order_they_are_written_and_have_names_of_their_own(tmp_path: Path) -> None:
    twice = GOOD + "  - {id: text, after: 30s, channel: text, template: again, expires_after: 1h}\n"
    assert "two steps have the same id" in mistakes(tmp_path, twice)[0]
    back = twice.replace("{id: text, after: 30s", "{id: more, after: 30s")
    assert "in the order in which they come" in mistakes(tmp_path, back)[0]
