"""A follow-up rule as client success writes it: one YAML file, checked, with every mistake pointed at by line.

A rule says what sets it off, for which leads, which steps follow after how long, through which channel with which
template, what stops it, and who is asked when nobody answers. It sends nothing: dbt decides from it what is due.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

Trigger = Literal[
    "urgent_lead", "missed_call", "missed_call_after_hours", "form_received", "marketplace_lead", "no_response",
    "quote_sent", "quote_expiring", "job_booked", "visit_tomorrow", "visit_soon",
    "silent_lead", "past_customer", "job_paid", "complaint",
    "complaint_resolved", "client_joined", "first_booking", "hold_cleared", "task_stale", "lead_fee_disputable",
    "connection_warning", "summary_due", "opt_out_or_help",
]  # fmt: skip
Channel = Literal["crm_task", "desk_task", "text", "email", "marketplace"]
Stop = Literal["reply", "booked", "paid", "lost", "opt_out", "human_takeover", "wrong_number"]
EVERY_STOP: tuple[Stop, ...] = ("reply", "booked", "paid", "lost", "opt_out", "human_takeover", "wrong_number")
Place = tuple[str | int, ...]  # where in a rule: ("steps", 0, "after")
TASKS = ("crm_task", "desk_task")  # for people of ours: no quiet hours, no consent

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_KEPT = "as the store keeps it"
_ID = re.compile(r"^[a-z][a-z0-9-]{1,60}$")


class RuleMistake(Exception):
    """One or more mistakes in rule files; each line of the message starts with file:line."""


def seconds(value: Any, info: ValidationInfo) -> int:
    """`60s`, `15m`, `2h`, `3d` -> seconds. Raises ValueError. What we kept ourselves is in seconds already."""
    if isinstance(value, int) and info.context == _KEPT:
        return value
    match = re.fullmatch(r"(\d{1,6})([smhd])", str(value).strip())
    if not match:
        raise ValueError(f"{value!r} is not a length of time; write it like 60s, 15m, 2h or 3d")
    return int(match[1]) * _UNITS[match[2]]


def in_words(length: int) -> str:
    """Seconds as `seconds` reads them: 5400 is 90m."""
    unit, size = next((unit, size) for unit, size in reversed(_UNITS.items()) if length % size == 0)
    return f"{length // size}{unit}" if length else "0s"


def _identifier(value: str) -> str:
    if not _ID.match(value):
        raise ValueError(f"{value!r} is not a name; use lower-case letters, digits and hyphens")
    return value


Seconds = Annotated[int, BeforeValidator(seconds)]
Identifier = Annotated[str, AfterValidator(_identifier)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """For which leads. What is left out does not matter."""

    urgency: tuple[Literal["emergency", "soon", "normal"], ...] = ()
    channels: tuple[str, ...] = ()
    min_value_cents: int | None = Field(default=None, ge=0)
    repeat_customer: bool | None = None
    in_hours: bool | None = None
    after_joining: bool = True  # what happened before the client joined is history, not work


class Escalation(_Strict):
    """Who is asked when a step got no answer."""

    after: Seconds
    to: Literal["owner", "backup", "agency"]


class Step(_Strict):
    id: Identifier
    after: Seconds
    channel: Channel
    template: Identifier
    owner: Literal["lead_owner", "client_owner", "backup", "agency"] = "lead_owner"
    priority: Literal["urgent", "owner", "answer", "nurture"] = "nurture"
    expires_after: Seconds  # later than this it is not true any more, and is not sent
    respond_within: Seconds | None = None
    escalate: tuple[Escalation, ...] = ()

    @model_validator(mode="after")
    def _escalation_has_a_window(self) -> Step:
        if self.escalate and self.respond_within is None:
            raise ValueError("escalate needs respond_within: from when is nobody's answer late?")
        return self


class Rule(_Strict):
    rule: Identifier
    title: str
    owner: str = "client-success"
    trigger: Trigger
    applies_when: Condition = Condition()
    once_per: Literal["lead", "event", "caller_day", "client"] = "lead"
    stops_on: tuple[Stop, ...] = EVERY_STOP
    steps: tuple[Step, ...]
    states: tuple[str, ...] = ()  # US states whose leads it is meant for; empty: all, also where the state is not known

    @model_validator(mode="after")
    def _steps_fit_together(self) -> Rule:
        if not self.steps:
            raise ValueError("a rule has at least one step")
        names = [step.id for step in self.steps]
        if len(set(names)) < len(names):
            raise ValueError("two steps have the same id")
        if [step.after for step in self.steps] != sorted(step.after for step in self.steps):
            raise ValueError("steps are written in the order in which they come")
        messages = [step for step in self.steps if step.channel not in TASKS]
        if messages and "opt_out" not in self.stops_on:
            raise ValueError("a rule that sends messages stops on opt_out, always")
        return self

    @property
    def version(self) -> str:
        """What the rule says, as a hash: the same content is the same version, whatever its spacing or comments."""
        return hashlib.sha256(self.kept().encode()).hexdigest()[:12]

    def kept(self) -> str:
        """As the store keeps it; `from_kept` reads it again."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @classmethod
    def from_kept(cls, text: str) -> Rule:
        return cls.model_validate(json.loads(text), context=_KEPT)

    def written(self) -> dict[str, Any]:
        """As a person would write it: what is as it is anyway is left out."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        for step in said["steps"]:
            for name in ("after", "expires_after", "respond_within"):
                if name in step:
                    step[name] = in_words(step[name])
            for escalation in step.get("escalate", ()):
                escalation["after"] = in_words(escalation["after"])
        return said

    @property
    def is_nurture(self) -> bool:
        return any(step.priority == "nurture" for step in self.steps)


def read_rule(path: Path) -> Rule:
    """The rule in a file. Raises RuleMistake with file:line for each mistake."""
    text = path.read_text()
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise RuleMistake(f"{path}:{line}: not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(given, dict):
        raise RuleMistake(f"{path}:1: a rule is a mapping that begins with `rule:`")
    try:
        return Rule.model_validate(given)
    except ValidationError as error:
        found = []
        for one in error.errors():
            place = tuple(part for part in one["loc"] if isinstance(part, str | int))
            said = one["msg"].removeprefix("Value error, ")
            where = ".".join(map(str, place)) or "rule"
            found.append((place, f"{where}: {_in_words(one['type'], said)}"))
        raise mistakes_at(path, found) from None


def mistakes_at(path: Path, found: Iterable[tuple[Place, str]]) -> RuleMistake:
    """Mistakes in a rule file, each with the line where its place stands."""
    node = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    lines = dict(_lines(node, ())) if node else {}
    pointed = sorted((_line_of(lines, place), said) for place, said in found)
    return RuleMistake("\n".join(f"{path}:{line}: {said}" for line, said in pointed))


def read_rules(folder: Path) -> dict[str, Rule]:
    """Every rule of a folder by its name. Raises RuleMistake with all mistakes of all files."""
    rules: dict[str, Rule] = {}
    mistakes = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            rule = read_rule(path)
        except RuleMistake as mistake:
            mistakes.append(str(mistake))
            continue
        if rule.rule in rules:
            mistakes.append(f"{path}:1: another file already has the rule {rule.rule}")
        rules[rule.rule] = rule
    if mistakes:
        raise RuleMistake("\n".join(mistakes))
    return rules


def _in_words(kind: str, said: str) -> str:
    return {"missing": "is missing", "extra_forbidden": "is not known here; is it misspelled?"}.get(kind, said)


def _lines(node: yaml.Node, path: Place) -> Iterator[tuple[Place, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from (
                (at, line) for at, line in _lines(value, (*path, str(key.value))) if at != (*path, str(key.value))
            )
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _line_of(lines: dict[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)
