"""Replay one version for some clients, and say what it would have done: counts that name nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.clients import ClientConfig
from pipeline.follow_up.export import RuleRows
from pipeline.follow_up.gate_facts import ClientRules
from pipeline.follow_up.quiet_hours import ClientHours
from pipeline.follow_up.replay import (
    CannotReplay,
    History,
    Period,
    rows_in_period,
    urgent_rows,
    who_follows,
)
from pipeline.follow_up.replay_gate import Fate, Past, fates
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.standing import Standing, Version, in_force_for
from pipeline.follow_up.template_file import Template

Words = Mapping[tuple[str, str], Template]  # by client and name


@dataclass(frozen=True)
class Replayed:
    """What a version would have done, and what the version in force would have done instead, if that is another one."""

    version: Version
    rule: Rule
    clients: Sequence[ClientConfig]
    period: Period
    fates: Sequence[Fate]
    before: Rule | None = None
    fates_before: Sequence[Fate] = ()
    lacking: Sequence[str] = ()
    zones: Mapping[str, ZoneInfo] = field(default_factory=dict)


def replay(
    standing: Standing,
    history: History,
    rule: Rule,
    whose: str,
    clients: Sequence[ClientConfig],
    period: Period,
    *,
    templates: Mapping[str, Template] | None = None,
) -> Replayed:
    """Replay a version for those of these clients whom it would serve. `templates` are such as nobody has added yet. Raises
    CannotReplay."""
    served = set(who_follows(standing.moves, [one.client_id for one in clients], rule.rule, whose))
    clients = [one for one in clients if one.client_id in served]
    if not clients:
        raise CannotReplay(f"{rule.rule} would serve none of these clients: each has a version of its own.")
    words, lacking = _words(standing, rule, clients, templates or {})
    told = _fates(standing, history, rule, whose, clients, period, words)
    in_force = in_force_for(standing.moves, clients[0].client_id, rule.rule)  # of these clients all have the same
    other: Rule | None = None
    told_before: list[Fate] = []
    if in_force is not None and in_force.version != rule.version:
        other = standing.rule_of(in_force)
        words_before, _ = _words(standing, other, clients, {})
        told_before = _fates(standing, history, other, in_force.client_id, clients, period, words_before)
    return Replayed(
        Version(whose, rule.rule, rule.version),
        rule,
        clients,
        period,
        told,
        other,
        told_before,
        [*lacking, *_set_up(rule, clients)],
        {one.client_id: ZoneInfo(one.timezone) for one in clients},
    )


def summary(replayed: Replayed) -> dict[str, Any]:
    """Counts of a replay, as they are kept and printed."""
    sent = [fate for fate in replayed.fates if fate.what == "sent"]
    zones = replayed.zones
    hours = Counter(fate.at.astimezone(zones[str(fate.step["client_id"])]).hour for fate in sent if fate.at)
    return {
        "rule": replayed.rule.rule,
        "version": replayed.version.version,
        "clients": [one.client_id for one in replayed.clients],
        "from": replayed.period.start.isoformat(),
        "to": replayed.period.end.isoformat(),
        "asked_for": len(replayed.fates),
        "would_go": len(sent),
        "leads": len({fate.step["lead_id"] for fate in sent if fate.step["lead_id"]}),
        "by_client": _counts(str(fate.step["client_id"]) for fate in sent),
        "by_channel": _counts(str(fate.step["channel"]) for fate in sent),
        "by_hour": {str(hour): hours[hour] for hour in sorted(hours)},
        "by_step": {step.id: _of_step(replayed.fates, step.id) for step in replayed.rule.steps},
        "stopped": _counts(fate.reason for fate in replayed.fates if fate.what == "stopped"),
        "put_off_behind_urgent": sum(bool(fate.step["waits_for_urgent"]) for fate in sent),
        "too_late": _counts(fate.reason for fate in replayed.fates if fate.what == "expired"),
        "refused": _counts(fate.reason for fate in replayed.fates if fate.what == "refused"),
        "moved": _counts(fate.reason for fate in sent if fate.is_moved),
        "not_due_yet": sum(fate.what == "later" for fate in replayed.fates),
        "lacking": list(replayed.lacking),
        "compared_with": _difference(replayed, replayed.before) if replayed.before else None,
    }


def _fates(
    standing: Standing,
    history: History,
    rule: Rule,
    whose: str,
    clients: Sequence[ClientConfig],
    period: Period,
    words: Words,
) -> list[Fate]:
    ids = [one.client_id for one in clients]
    own = rows_in_period(rule, whose, ids, period, standing.approvals)
    urgent = urgent_rows(standing, ids, period, besides=rule.rule)
    with history.open() as past:
        steps = history.steps(past, RuleRows([*own.rules, *urgent.rules], [*own.steps, *urgent.steps]), rule.rule)
        facts = Past.read(past, steps)
    rules = {one.client_id: _as_set_up(one, words, facts.closed_on(one.client_id)) for one in clients}
    return fates(steps, facts, words, rules)


def _words(
    standing: Standing, rule: Rule, clients: Sequence[ClientConfig], given: Mapping[str, Template]
) -> tuple[Words, list[str]]:
    """The words each client's steps would carry; and which of them are not approved."""
    words: dict[tuple[str, str], Template] = {}
    unapproved: set[str] = set()
    for client in clients:
        for name in dict.fromkeys(step.template for step in rule.steps):
            template = given.get(name) or standing.words_now(client.client_id, name)
            if template is None:
                raise CannotReplay(f"{rule.rule} uses the template {name}, which nobody has added. Add its file first.")
            if standing.approvals.in_use(client.client_id, name) != template.version:
                unapproved.add(name)
            words[(client.client_id, name)] = template
    return words, [f"template {name} is not approved" for name in sorted(unapproved)]


def _as_set_up(client: ClientConfig, words: Words, holidays: frozenset[date]) -> ClientRules:
    """What the client set, with what a person still has to do taken as done."""
    settings = client.follow_up
    return ClientRules(
        business_names=(settings.business_name or client.name,),
        physical_address=settings.postal_address or "the postal address",
        texting_status="approved",
        approved_templates={
            name: frozenset({one.version}) for (whose, name), one in words.items() if whose == client.client_id
        },
        hours=ClientHours(
            zone=client.timezone,
            holidays=holidays | {date.fromisoformat(day) for day in settings.holidays},
            promotional=settings.promotional,
            grace=settings.grace,
        ),
        sms_per_day=settings.texts_per_day,
        touches_in_24_hours=settings.messages_in_24_hours,
        touches_per_episode=settings.messages_per_lead,
        provider_answers_keywords=settings.provider_answers_keywords,
    )


def _set_up(rule: Rule, clients: Sequence[ClientConfig]) -> list[str]:
    """What keeps these messages back today, whatever the past says."""
    channels = {step.channel for step in rule.steps}
    texting = [
        f"{one.client_id}: texting (10DLC) is {one.follow_up.texting}, so its texts wait"
        for one in clients
        if "text" in channels and one.follow_up.texting != "approved"
    ]
    mail = [
        f"{one.client_id}: no postal_address is set, so no mail goes out"
        for one in clients
        if "email" in channels and not one.follow_up.postal_address
    ]
    return [*texting, *mail]


def _of_step(told: Iterable[Fate], step_id: str) -> dict[str, int]:
    mine = [fate for fate in told if fate.step["step_id"] == step_id]
    return {
        "asked_for": len(mine),
        **{
            what: sum(fate.what == what for fate in mine) for what in ("stopped", "expired", "refused", "later", "sent")
        },
        "moved": sum(fate.is_moved for fate in mine),
    }


def _difference(replayed: Replayed, before: Rule) -> dict[str, Any]:
    now, then = _sent_at(replayed.fates), _sent_at(replayed.fates_before)
    return {
        "version": before.version,
        "would_go": len(then),
        "added": len(now.keys() - then.keys()),
        "removed": len(then.keys() - now.keys()),
        "retimed": sum(now[key] != then[key] for key in now.keys() & then.keys()),
    }


def _sent_at(told: Iterable[Fate]) -> dict[str, datetime | None]:
    return {str(fate.step["step_key"]): fate.at for fate in told if fate.what == "sent"}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
