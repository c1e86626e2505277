"""One round: facts -> drafts -> redaction -> review, and what follows from decisions already taken. Any round may be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, RowMapping

from pipeline.client_safe import review
from pipeline.client_safe.call_summaries import summarize_calls
from pipeline.client_safe.differencing import not_again, published_figures
from pipeline.client_safe.document import Content, Draft, Figure, Finding
from pipeline.client_safe.draft import TEMPLATE_VERSION, write_draft
from pipeline.client_safe.facts import (
    Facts,
    NoFacts,
    Period,
    due_periods,
    figures_of,
    read_facts,
    read_hashes,
    withhold,
)
from pipeline.client_safe.known_values import KnownValues, known_values
from pipeline.client_safe.model_draft import model_version, write_by_model
from pipeline.client_safe.numbers import wrong_numbers
from pipeline.client_safe.redaction import REDACTION_VERSION, find_in, redact
from pipeline.client_safe.waiting import privacy_holds
from pipeline.settings import Settings
from pipeline.store import summaries as store

if TYPE_CHECKING:
    from pipeline.office import Office

WRITTEN_BY = "leadtrail"  # no account has this name, so anybody who may approve, may approve it


@dataclass
class Round:
    """Ids of versions and publications, by what became of them."""

    proposed: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)  # of those proposed
    voided: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # periods nothing can be told of, and why
    calls_summed_up: int = 0


def make_round(office: Office, *, now: datetime) -> Round:
    """Void what is no longer true, write what is due, publish what is approved. Raises NoFacts if nothing is published yet."""
    made = Round()
    end_what_changed(office, made, now=now)
    write_due(office, made, now=now)
    publish_approved(office, made, now=now)
    return made


def end_what_changed(office: Office, made: Round, *, now: datetime) -> None:
    """Approvals of figures that changed are void; what nobody reviewed in time expires."""
    current = read_hashes(office.settings, _decided(office.engine))
    made.voided += review.void_where_changed(office.engine, current, redaction_version=REDACTION_VERSION, now=now)
    made.expired += review.expire_old(office.engine, now=now)


def write_due(office: Office, made: Round, *, now: datetime) -> None:
    for period in wanted(office, now=now):
        propose_period(office, period, made, now=now)
    for client in office.clients():
        made.calls_summed_up += summarize_calls(office.settings, office.engine, client, now=now)


def publish_approved(office: Office, made: Round, *, now: datetime) -> None:
    """What is approved and can no longer be undone, unless a hold stands."""
    made.published += review.publish_due(office.engine, now=now, held=privacy_holds(office.engine))


def what_waits(office: Office, *, now: datetime) -> list[str]:
    """What a round would do because of a decision, of time, or of figures that changed: for a sensor."""
    with office.engine.connect() as connection:
        to_publish = [f"publish {row['summary_id']}" for row in store.due_to_publish(connection, now)]
        to_expire = [f"expire {row['summary_id']}" for row in store.past_review(connection, now)]
        decided = {
            _key(row): (row["query_hash"], row["snapshot_hash"], row["status"]) for row in store.decided(connection)
        }
    held = privacy_holds(office.engine)
    waiting = [one for one in to_publish if not held(_client_of(office.engine, one.split()[1]))] + to_expire
    if not office.settings.client_safe.exists():
        return waiting
    for key, facts in read_hashes(office.settings, decided).items():
        query, snapshot, status = decided[key]
        if facts != (query, snapshot) and status != "in_re_review":
            waiting.append(f"changed {'|'.join(key)} {facts[1][:12]}")
    return waiting


def wanted(office: Office, *, now: datetime) -> list[Period]:
    """Periods to write about: those that have just ended, and older ones whose figures changed after somebody decided on them."""
    served = {client.client_id for client in office.clients()}
    due = [one for one in due_periods(office.settings, now=now) if one.client_id in served]
    with office.engine.connect() as connection:
        rows = store.listed(connection, review.EVERY, statuses=("in_re_review", "outdated"), limit=200)
    again = {Period(row["client_id"], row["kind"], row["period_start"], row["period_end"]) for row in rows}
    return [*due, *sorted((one for one in again - {*due} if one.client_id in served), key=str)]


def propose_period(office: Office, period: Period, made: Round, *, now: datetime) -> str | None:
    """Put a draft about a period up for review, unless one of the same facts stands. Returns its id."""
    settings, engine = office.settings, office.engine
    try:
        facts = read_facts(settings, period.client_id, period.kind, period.start)
    except NoFacts as nothing:
        made.left_out.append(str(nothing))
        return None
    with engine.connect() as connection:
        stands = _stands(store.latest(connection, period.client_id, period.kind, period.start), facts, settings)
        published = published_figures(connection, period.client_id)
    if stands:
        return None
    facts = withhold(facts, not_again(facts.figures, published, figures_of(settings, period.client_id)))
    draft = make_draft(facts, settings, known_values(settings, period.client_id))
    summary_id = review.propose(engine, draft, now=now)
    if summary_id:
        (made.blocked if draft.findings else made.proposed).append(summary_id)
    return summary_id


def make_draft(facts: Facts, settings: Settings, known: KnownValues) -> Draft:
    by_model = write_by_model(facts, settings)
    if by_model and find_in(by_model, known):
        by_model = None  # it was told of no person: whoever it names, it made up
    content = redact(by_model or write_draft(facts), known)
    return Draft(
        client_id=facts.period.client_id,
        kind=facts.period.kind,
        period_start=facts.period.start,
        period_end=facts.period.end,
        content=content,
        figures=facts.figures,
        sources=facts.sources,
        query_hash=facts.query_hash,
        snapshot_hash=facts.snapshot_hash,
        template_version=model_version(settings) if by_model else TEMPLATE_VERSION,
        redaction_version=REDACTION_VERSION,
        made_by="ai" if by_model else "rule",
        author=WRITTEN_BY,
        findings=tuple(what_is_wrong(content, facts.figures, known)),
    )


def what_is_wrong(content: Content, figures: Sequence[Figure], known: KnownValues) -> list[Finding]:
    """With a text, whoever wrote it: numbers that are no stored facts, and personal data."""
    return [*wrong_numbers(content, figures), *find_in(content, known)]


def _stands(before: RowMapping | None, facts: Facts, settings: Settings) -> bool:
    """Whether the newest version says the same by the rules of today, so that none needs to be written (or a model asked)."""
    if before is None or before["status"] in ("in_re_review", "outdated"):
        return False
    if (before["query_hash"], before["snapshot_hash"]) != (facts.query_hash, facts.snapshot_hash):
        return False
    today = (TEMPLATE_VERSION, model_version(settings))
    ours = before["template_version"] in today and before["redaction_version"] == REDACTION_VERSION
    return ours or before["status"] not in store.OPEN


def _key(row: RowMapping) -> tuple[str, str, str]:
    return row["client_id"], row["kind"], row["period_start"]


def _decided(engine: Engine) -> set[tuple[str, str, str]]:
    with engine.connect() as connection:
        return {_key(row) for row in store.decided(connection)}


def _client_of(engine: Engine, summary_id: str) -> str:
    with engine.connect() as connection:
        row = store.summary(connection, summary_id, review.EVERY)
    return row["client_id"] if row else ""
