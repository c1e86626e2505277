"""A message template as client success writes it: Liquid under a YAML head, checked against a closed list of words it may use.

    ---
    template: missed-call
    channel: text
    class: conversational
    ---
    Hi {{ given_name | default: "there" }}, this is {{ business }}. Sorry we missed your call!

What is rendered is fixed when an output is queued; an approval names the version, so a changed template is not an approved one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from liquid import Environment, StrictUndefined
from liquid.exceptions import LiquidError
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.follow_up.rule_file import Identifier, RuleMistake

# promotional needs express written consent; informational answers what they asked for; conversational answers what they just
# said; internal is for people of ours
MessageClass = Literal["promotional", "informational", "conversational", "internal"]
WORDS = {
    "given_name": "The lead's first name, if known.",
    "business": "The client's name.",
    "service": "What they want, in their provider's words.",
    "office_phone": "The client's office number.",
    "owner_name": "Who owns the lead.",
    "booking_link": "Where they can book.",
    "review_link": "Where they can write a review.",
    "opt_out": "How to opt out; empty where it was said before and need not be repeated.",
    "unsubscribe_link": "Where a mail is unsubscribed.",
    "postal_address": "The client's postal address, for mails.",
    "visit_day": "The day of the visit, on the client's clock; empty where no source says it.",
    "visit_time": "When the visit begins, on the client's clock; empty where only its day is known.",
    "amount": "The amount of a quote or bill, in words.",
    "valid_until": "Until when a quote holds.",
    "channel": "How they got in touch.",
    "waiting": "How long they have waited.",
    "what_happened": "What set a task off, in plain words.",
    "timeline_link": "The lead's timeline on the desk: for people of ours only.",
}
ONLY_INSIDE = ("timeline_link", "what_happened", "waiting", "channel")
TEXT_LENGTH = 480  # three segments; longer is a mail


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    template: Identifier
    channel: Literal["text", "email", "crm_task", "desk_task", "marketplace"]
    # `class` is a word of Python's own
    message_class: MessageClass
    subject: str = ""


@dataclass(frozen=True)
class Template:
    """A checked template. `render` gives (subject, body)."""

    name: str
    channel: str
    message_class: MessageClass
    subject: str
    body: str

    @property
    def version(self) -> str:
        return hashlib.sha256(self.kept().encode()).hexdigest()[:12]

    def kept(self) -> str:
        """As the store keeps it; `from_kept` reads it again."""
        return json.dumps([self.name, self.channel, self.message_class, self.subject, self.body])

    @classmethod
    def from_kept(cls, text: str) -> Template:
        return cls(*json.loads(text))

    def render(self, words: Mapping[str, str]) -> tuple[str, str]:
        """Subject and body with the words filled in; a word that is not given is empty. Raises RuleMistake if Liquid cannot."""
        given = {name: words.get(name, "") for name in WORDS}
        try:
            subject = _LIQUID.from_string(self.subject).render(**given)
            body = _LIQUID.from_string(self.body).render(**given)
        except LiquidError as error:
            raise RuleMistake(f"template {self.name}: {error}") from None
        return " ".join(subject.split()), body.strip()


_LIQUID = Environment(undefined=StrictUndefined)


def read_template(path: Path) -> Template:
    """The template in a file. Raises RuleMistake with file:line for each mistake."""
    text = path.read_text()
    opening, _, rest = text.partition("---\n")
    head_text, closing, body = rest.partition("\n---\n")
    if opening.strip() or not closing:
        raise RuleMistake(f"{path}:1: a template begins with its head between two lines of ---")
    try:
        given = yaml.safe_load(head_text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleMistake(
            f"{path}:{mark.line + 2 if mark else 1}: not YAML: {getattr(error, 'problem', error)}"
        ) from None
    if isinstance(given, dict) and "class" in given:
        given["message_class"] = given.pop("class")
    try:
        head = _Head.model_validate(given)
    except ValidationError as error:
        lines = head_text.splitlines()
        raise RuleMistake("\n".join(f"{path}:{_line(lines, one)}: {_said(one)}" for one in error.errors())) from None
    template = Template(head.template, head.channel, head.message_class, head.subject, body.strip())
    if mistakes := list(_mistakes(template, first_line=head_text.count("\n") + 4)):
        raise RuleMistake("\n".join(f"{path}:{line}: {said}" for line, said in mistakes))
    return template


def read_templates(folder: Path) -> dict[str, Template]:
    """Every template of a folder by its name. Raises RuleMistake with all mistakes of all files."""
    found: dict[str, Template] = {}
    mistakes = []
    for path in sorted(folder.glob("*.liquid")):
        try:
            template = read_template(path)
        except RuleMistake as mistake:
            mistakes.append(str(mistake))
            continue
        if template.name in found:
            mistakes.append(f"{path}:1: another file already has the template {template.name}")
        found[template.name] = template
    if mistakes:
        raise RuleMistake("\n".join(mistakes))
    return found


def _mistakes(template: Template, *, first_line: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    used: dict[str, int] = {}
    for text, start in ((template.subject, 1), (template.body, first_line)):
        try:
            analysis = _LIQUID.from_string(text).analyze()
        except LiquidError as error:
            return [(start + (getattr(error, "lineno", None) or 1) - 1, f"not Liquid: {error}")]
        for name, places in analysis.globals.items():
            used[name.split(".")[0]] = start + text[: places[0].span.index].count("\n")
    for name, line in used.items():
        if name not in WORDS:
            found.append((line, f"{{{{ {name} }}}} is not known; a template may use: {', '.join(WORDS)}"))
        elif name in ONLY_INSIDE and template.message_class != "internal":
            found.append(
                (
                    line,
                    f"{{{{ {name} }}}} is for people of ours only; the class of this template is {template.message_class}",
                )
            )
    if template.message_class == "internal":
        return found
    if template.channel == "text" and "opt_out" not in used:
        found.append((first_line, "a text names {{ opt_out }}: the first one to a person must say how to opt out"))
    if template.channel == "text" and "business" not in used:
        found.append((first_line, "a text names {{ business }}: people must see who writes"))
    if template.channel == "text" and len(template.body) > TEXT_LENGTH:
        found.append((first_line, f"{len(template.body)} characters are too long for a text; at most {TEXT_LENGTH}"))
    if template.channel == "email":
        found += [
            (first_line, f"a mail names {{{{ {name} }}}}: the law asks for it")
            for name in ("unsubscribe_link", "postal_address")
            if name not in used
        ]
        if not template.subject:
            found.append((1, "a mail has a subject"))
    return found


def _line(lines: list[str], error: Mapping[str, object]) -> int:
    place = error["loc"]
    key = str(place[0]) if isinstance(place, tuple) and place else ""
    key = "class" if key == "message_class" else key
    return next((number for number, line in enumerate(lines, 2) if line.startswith(f"{key}:")), 1)


def _said(error: Mapping[str, object]) -> str:
    place = error["loc"]
    key = str(place[0]) if isinstance(place, tuple) and place else "head"
    said = {"missing": "is missing", "extra_forbidden": "is not known here; is it misspelled?"}.get(
        str(error["type"]), str(error["msg"]).removeprefix("Value error, ")
    )
    return f"{'class' if key == 'message_class' else key}: {said}"
