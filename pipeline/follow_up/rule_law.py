"""What no rule may loosen, whoever writes it: a client's own least of all.

The gate judges every message again when it is claimed. These checks come earlier and see more: the whole rule at once, and what
the gate cannot know, such as who would never be asked for a review.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pipeline.follow_up.rule_file import TASKS, Condition, Place, Rule, Step
from pipeline.follow_up.template_file import Template
from pipeline.follow_up.zones import is_state

DAY = 86400
MESSAGES_IN_A_RULE = 7  # as many as an episode may have
MESSAGES_IN_24_HOURS = 3  # a state's law, over all channels
OF_A_CLIENT = ("client_joined", "summary_due", "connection_warning", "hold_cleared")
Objection = tuple[Place, str]


def objections(rule: Rule) -> Iterator[Objection]:
    """What is against this rule, and where in it."""
    messages = [(number, step) for number, step in enumerate(rule.steps) if step.channel not in TASKS]
    if rule.trigger == "urgent_lead":
        yield from _owner_first(rule)
    yield from _somewhere(rule)
    if not messages:
        return
    if rule.trigger != "opt_out_or_help" and "wrong_number" not in rule.stops_on:
        yield ("stops_on",), "a rule that sends messages stops on wrong_number: that person is a stranger"
    if any(step.priority == "nurture" for _, step in messages) and "reply" not in rule.stops_on:
        yield ("stops_on",), "a sequence stops on reply: who has answered is not written to by a machine"
    if not rule.applies_when.after_joining:
        yield ("applies_when", "after_joining"), "nobody is written to about what was before the client joined"
    if rule.trigger in ("missed_call", "missed_call_after_hours") and rule.once_per not in ("lead", "caller_day"):
        yield ("once_per",), "however often they call, one text a day: once_per is caller_day or lead"
    if rule.trigger == "opt_out_or_help" and len(messages) > 1:
        yield ("steps",), "an opt-out is confirmed by one message and no other"
    if rule.trigger in ("job_paid", "complaint_resolved"):
        yield from _asks_everybody(rule)
    for number, step in messages:
        if step.priority not in ("answer", "nurture"):
            yield ("steps", number, "priority"), f"{step.priority} is for tasks; a message is answer or nurture"
    yield from _not_too_many(messages)


def objections_to_override(rule: Rule, of: Rule) -> Iterator[Objection]:
    """What is against a client's own rule in place of the house's."""
    if rule.trigger != of.trigger:
        yield (
            ("trigger",),
            f"the house's {of.rule} is set off by {of.trigger}, so this one is too; or give it another name",
        )


def objections_to_template(rule: Rule, step: Step, template: Template) -> Iterator[str]:
    """What is against these words in this step."""
    name, kind = f"template {template.name}", template.message_class
    if template.channel != step.channel:
        yield f"{name} is for {template.channel}, the step is {step.channel}"
    if (kind == "internal") != (step.channel in TASKS):
        yield f"{name} is {kind}: internal words are for tasks, and tasks have no others"
    if step.channel in TASKS:
        return
    if rule.trigger in ("silent_lead", "past_customer") and kind != "promotional":
        yield f"{name} is {kind}: who is asked after so long is advertised to, so it is promotional"
    if kind == "promotional" and step.priority != "nurture":
        yield f"{name} is promotional, which is never an answer: the step's priority is nurture"
    if rule.trigger in ("missed_call", "missed_call_after_hours", "opt_out_or_help") and kind != "informational":
        yield f"{name} is {kind}: the one answer to a call or an opt-out is informational"


def _owner_first(rule: Rule) -> Iterator[Objection]:
    first = rule.steps[0]
    if first.channel not in TASKS or first.priority != "urgent" or first.after > 0:
        yield ("steps", 0), "an urgent lead gets a task first: its channel a task, its priority urgent, after 0s"


def _asks_everybody(rule: Rule) -> Iterator[Objection]:
    for name in Condition.model_fields:
        if name != "after_joining" and getattr(rule.applies_when, name) not in ((), None):
            yield (
                ("applies_when", name),
                "reviews are asked of everybody or nobody: no condition may choose who is asked",
            )
    if rule.states:
        yield ("states",), "reviews are asked of everybody or nobody, wherever they are"


def _somewhere(rule: Rule) -> Iterator[Objection]:
    for number, state in enumerate(rule.states):
        if not is_state(state):
            yield ("states", number), f"{state} is no US state; write its two letters, as in TX"
    if rule.states and rule.trigger in OF_A_CLIENT:
        yield ("states",), f"{rule.trigger} happens to a client, not to a lead, so no state chooses among its leads"


def _not_too_many(messages: list[tuple[int, Step]]) -> Iterator[Objection]:
    if len(messages) > MESSAGES_IN_A_RULE:
        yield ("steps",), f"{len(messages)} messages are too many; a lead gets at most {MESSAGES_IN_A_RULE} by itself"
    for place, (number, step) in enumerate(messages):
        lately = [other for _, other in messages[: place + 1] if other.after > step.after - DAY]
        if len(lately) > MESSAGES_IN_24_HOURS:
            yield ("steps", number, "after"), f"more than {MESSAGES_IN_24_HOURS} messages in 24 hours"
            return
    texts = [(number, step) for number, step in messages if step.channel == "text"]
    for (_, earlier), (number, later) in pairwise(texts):
        if later.after >= DAY and later.after - earlier.after < DAY:
            yield ("steps", number, "after"), "after the first day, at most one text a day"
