"""Rules and templates in files: those we ship, and those that a person adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.follow_up.rule_file import Place, Rule, RuleMistake, mistakes_at, read_rule
from pipeline.follow_up.rule_law import objections, objections_to_override, objections_to_template
from pipeline.follow_up.template_file import Template, read_template

DEFAULTS = Path(__file__).parent / "defaults"
SHIPPED_BY = "leadtrail"  # the author of what we ship: anybody at the agency may approve it


@dataclass(frozen=True)
class Shelf:
    rules: dict[str, Rule] = field(default_factory=dict)
    templates: dict[str, Template] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)  # of each rule

    def check_words(self, words: Callable[[str], Template | None]) -> None:
        """That every step has words that fit it, here or in the book. Raises RuleMistake with file:line for each that has not."""
        mistakes = []
        for name, rule in self.rules.items():
            found: list[tuple[Place, str]] = []
            for number, step in enumerate(rule.steps):
                template = self.templates.get(step.template) or words(step.template)
                wrong = (
                    objections_to_template(rule, step, template)
                    if template
                    else [f"there is no template {step.template}; add its file too"]
                )
                found += [(("steps", number, "template"), said) for said in wrong]
            if found:
                mistakes.append(str(mistakes_at(self.files[name], found)))
        if mistakes:
            raise RuleMistake("\n".join(mistakes))


def read_shelf(path: Path, *, in_place_of: Mapping[str, Rule] | None = None) -> Shelf:
    """What a file or folder (and the folders in it) holds: .yaml is a rule, .liquid a template. `in_place_of` are the house's
    rules, if these are a client's. Raises RuleMistake with every mistake of every file, each as file:line."""
    files = [path] if path.is_file() else sorted([*path.rglob("*.yaml"), *path.rglob("*.liquid")])
    shelf = Shelf()
    mistakes = [] if files else [f"{path}:1: there is no .yaml or .liquid file here"]
    for file in files:
        try:
            if file.suffix == ".liquid":
                template = read_template(file)
                _put(shelf.templates, template.name, template, file)
            else:
                rule = read_lawful_rule(file, in_place_of=in_place_of)
                _put(shelf.rules, rule.rule, rule, file)
                shelf.files[rule.rule] = file
        except RuleMistake as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise RuleMistake("\n".join(mistakes))
    return shelf


def read_lawful_rule(path: Path, *, in_place_of: Mapping[str, Rule] | None = None) -> Rule:
    """A rule that is well written and breaks no law. Raises RuleMistake."""
    rule = read_rule(path)
    found = list(objections(rule))
    if in_place_of and (houses := in_place_of.get(rule.rule)):
        found += objections_to_override(rule, houses)
    if found:
        raise mistakes_at(path, found)
    return rule


def _put(shelf: dict[str, Any], name: str, one: Rule | Template, file: Path) -> None:
    if name in shelf:
        raise RuleMistake(f"{file}:1: another file already has {name}")
    shelf[name] = one
