"""The words a client reads, written from facts alone: a minute on a phone. The same facts make the same words."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.client_safe.document import Content, Section
from pipeline.client_safe.facts import Facts, Improvement, Told
from pipeline.client_safe.shown import CHANNELS, FEW, label_of, period_name

TEMPLATE_VERSION = "rule-2"  # changes with the words below: an approval binds it
MANY_MISSED = 0.2  # of all calls: worth saying first
SLOW = 3600  # seconds that a typical lead waits: likewise


def write_draft(facts: Facts) -> Content:
    period = facts.period
    sections = (
        Section("Calls", tuple(_lines(facts, "calls", "missed_calls"))),
        Section("New leads", tuple([*_lines(facts, "leads"), *_channels(facts), *_wait(facts)])),
        Section("Jobs and money", tuple([*_lines(facts, "booked_jobs", "invoiced", "revenue")])),
        Section("Since you joined", tuple(_since_joining(facts))),
        Section("What we did", tuple(_lines(facts, "messages_sent", "tasks_given"))),
        Section("What is next", tuple(_next(facts))),
        Section("What is uncertain", tuple(_uncertain(facts))),
    )
    return Content(
        title=f"{period_name(period.kind, period.start, period.end)} in short",
        opening=_opening(facts),
        sections=tuple(section for section in sections if section.lines),
    )


def _opening(facts: Facts) -> str:
    phrases = {"leads": "brought {} new leads", "booked_jobs": "{} booked jobs", "revenue": "{} in revenue"}
    said = [
        phrase.format(one.figure.shown)
        for name, phrase in phrases.items()
        if (one := facts.get(name)) and one.figure.value is not None and not one.leaves_out_few
    ]
    if not said or not said[0].startswith("brought"):
        return f"What the {facts.period.kind} brought, as far as it can be told."
    return f"The {facts.period.kind} {' and '.join(filter(None, (', '.join(said[:-1]), said[-1])))}."


def _lines(facts: Facts, *names: str) -> Iterator[str]:
    for name in names:
        if (one := facts.get(name)) is None:
            continue
        label = one.figure.label
        if one.figure.value is None and one.why_not != "few":
            yield f"{label.capitalize()}: not shown this time, see below."
            continue
        yield f"{label.capitalize()}: {one.figure.shown}{_compared(facts, one)}."


def _compared(facts: Facts, one: Told) -> str:
    before = next((each for each in facts.before if (each.name, each.part) == (one.name, one.part)), None)
    if one.figure.value is None or before is None or before.figure.value is None:
        return ""
    return f" (the {facts.period.kind} before: {before.figure.shown})"


def _channels(facts: Facts) -> Iterator[str]:
    found = [one for one in facts.told if one.name == "leads_by_channel" and one.figure.value is not None]
    if len(found) > 1:
        ranked = sorted(found, key=lambda one: (one.part == "other", -(one.figure.value or 0), one.part))
        yield (
            "They came from: "
            + ", ".join(f"{CHANNELS.get(one.part, one.part)} {one.figure.shown}" for one in ranked)
            + "."
        )


def _wait(facts: Facts) -> Iterator[str]:
    one = facts.get("response_time")
    if one is not None and one.figure.value is not None:
        yield f"A typical lead waited {one.figure.shown} until a person answered."


# ---- what has changed ----


def _since_joining(facts: Facts) -> Iterator[str]:
    if facts.period.kind != "month":
        return
    clear = [one for one in facts.improvements if one.verdict in ("improved", "worse")]
    # headlines first; what got worse is never left out
    ranked = sorted(clear, key=lambda one: (not one.is_headline, one.verdict == "improved", one.metric))
    kept = [one for one in ranked if one.verdict == "worse" or one.is_headline][:4]
    for one in kept:
        yield _changed(one)
    if kept:
        yield (
            "This compares the same months of the year before and after you joined. It is what we observed: other things "
            "may have changed as well."
        )
    elif any(one.verdict == "no clear change" for one in facts.improvements):
        yield "So far no change is clear enough to tell it from chance."
    elif facts.improvements:
        yield "It is too early to tell: for a fair comparison the same months of the year must be on both sides."


def _changed(one: Improvement) -> str:
    label = label_of(one.metric, "all", None).capitalize()
    before, after, low, high = (one.figures[name].shown for name in ("before", "after", "low", "high"))
    rose = (one.figures["after"].value or 0) > (one.figures["before"].value or 0)
    direction = "higher" if rose else "lower"
    verdict = "Better" if one.verdict == "improved" else "Worse"
    by = (
        f"The true change is most likely between {low} and {high} {direction}"
        if low != high
        else f"About {low} {direction}"
    )
    return f"{verdict}. {label}: {after} now, {before} before. {by}."


# ---- what follows from it ----


def _next(facts: Facts) -> Iterator[str]:
    calls, missed, wait = (facts.get(name) for name in ("calls", "missed_calls", "response_time"))
    for source in facts.sources:
        if source.state == "paused":
            yield f"We reconnect {source.name}, so that nothing of it is missing next time."
    if calls and missed and (missed.figure.value or 0) >= MANY_MISSED * (calls.figure.value or float("inf")):
        yield "Many calls found nobody. What helps most is somebody who picks up in your busy hours."
    if wait and (wait.figure.value or 0) >= SLOW:
        yield "New leads wait long for a person. Calling them back sooner is the next thing to try."
    yield "We keep following up new leads and open quotes with your team, and tell you what comes of it."


def _uncertain(facts: Facts) -> Iterator[str]:
    for source in facts.sources:
        if source.state != "complete":
            yield f"{source.name}: {source.says}"
    reasons = {one.why_not for one in facts.told}
    if "few" in reasons:
        yield f'We write "{FEW}" where a number would speak of too few people.'
    if "recounted" in reasons:
        yield "A figure we told you before was corrected for a few people only. It is left out: both would tell of these few."
    if "subtraction" in reasons:
        yield "A figure is left out because, taken together with other reports, it would tell of too few people."
    if any(one.leaves_out_few for one in facts.told):
        yield 'Where it says "at least" or "without a few", some at the edge of the month are too few to be told apart.'
    yield "Leads, jobs and payments can still be corrected in your own systems. If that changes a figure here, we look again."
