"""The demo's follow-up: what client success does with the shipped rules in their first hour, done by named demo accounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.replay import History, Period
from pipeline.follow_up.replay_run import replay, summary
from pipeline.follow_up.rule_book import add_rule, enable, note_replay
from pipeline.follow_up.shelves import DEFAULTS, SHIPPED_BY, read_shelf
from pipeline.follow_up.standing import Standing, Version
from pipeline.follow_up.template_book import add_template, approve
from pipeline.office import Office

APPROVER, STEWARD = "demo-approver@agency.example", "demo-client-success@agency.example"


@dataclass(frozen=True)
class Told:
    """How many rules were replayed, and what they would have sent."""

    rules: int
    tasks: int
    texts: int
    mails: int


def enable_shipped_rules(
    office: Office, *, now: datetime, months: int, progress: Callable[[str], None] = lambda rule: None
) -> Told | None:
    """Add the shipped rules and templates, approve the words, replay every rule over the town's months, and enable it. None, and
    nothing done, if this home has rules already."""
    history, clients = History.of(office.settings.analytics, office.settings.dbt_target), office.clients()
    period = Period(now - timedelta(days=31 * months), now)
    sent: Counter[str] = Counter()
    with office.engine.begin() as connection:  # one transaction: a demo that is stopped halfway begins anew
        if Standing.read(connection).contents:
            return None
        shelf = read_shelf(DEFAULTS)
        for template in shelf.templates.values():
            add_template(connection, template, client_id=HOUSE, by=SHIPPED_BY, now=now)
            approve(connection, HOUSE, template.name, template.version, by=APPROVER, note="the demo's", now=now)
        for rule in shelf.rules.values():
            add_rule(connection, rule, client_id=HOUSE, by=SHIPPED_BY, now=now)
        standing = Standing.read(connection)
        for rule in shelf.rules.values():
            progress(rule.rule)
            shown = summary(replay(standing, history, rule, HOUSE, clients, period))
            sent.update(shown["by_channel"])
            version = Version(HOUSE, rule.rule, rule.version)
            note_replay(connection, version, from_at=period.start, to_at=period.end, by=STEWARD, summary=shown, now=now)
            enable(connection, version, by=STEWARD, note="the demo's", now=now)
    office.write_directory()
    return Told(len(shelf.rules), sent["crm_task"] + sent["desk_task"], sent["text"], sent["email"])
