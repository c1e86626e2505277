"""What may happen to a summary, and who may make it happen.

Nothing is published that two did not agree on: its author and one approver, who had the very same text, figures, query text,
input snapshot, template and redaction rules before them (`bound_hash`). A change of the figures voids an approval; the passing
of time never makes one. Every decision is logged with who, when and why, and audited.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, RowMapping

from pipeline.client_safe.document import (
    Content,
    Draft,
    Figure,
    Finding,
    content_json,
    figures_json,
    findings_json,
    read_content,
    read_figures,
    read_findings,
    read_sources,
    sources_json,
)
from pipeline.store import audit
from pipeline.store import summaries as store
from pipeline.store.engine import stamp
from pipeline.store.tenancy import Clients

UNDO = timedelta(minutes=15)
REVIEW_WITHIN = {"week": timedelta(days=7), "month": timedelta(days=21)}
OWNER = "client success"
MACHINE = "leadtrail"
EVERY = Clients(None)

Check = Callable[[Content, Sequence[Figure]], Sequence[Finding]]
"""What is wrong with a text: figures that are no stored fact, personal data."""

Facts = tuple[str, str]
"""(query_hash, snapshot_hash): what the figures are, and how they are worked out."""


class NotPossible(Exception):
    """A decision that cannot be taken now. The message says why and what can be done instead."""


class Unknown(Exception):
    """There is no such summary or publication among the clients the account may see."""


@dataclass(frozen=True)
class Person:
    """Who decides, and for whom they may."""

    name: str
    clients: Clients


# ---- a new version ----


def propose(engine: Engine, draft: Draft, *, now: datetime, based_on: str | None = None) -> str | None:
    """Put a draft up for review, unless its period has a version of the same facts already. Returns the new version's id.

    A version in review whose figures are no longer true makes room for it.
    """
    with engine.begin() as connection:
        before = store.latest(connection, draft.client_id, draft.kind, draft.period_start)
        if before is not None and based_on is None and _says_the_same(before, draft):
            return None
        return _add(connection, draft, before, now, based_on)


def _says_the_same(before: RowMapping, draft: Draft) -> bool:
    if _facts(before) != (draft.query_hash, draft.snapshot_hash) or before["status"] in ("in_re_review", "outdated"):
        return False
    undecided = before["status"] in store.OPEN
    rules = (draft.template_version, draft.redaction_version)
    return not undecided or (before["template_version"], before["redaction_version"]) == rules


def _add(
    connection: Connection, draft: Draft, before: RowMapping | None, now: datetime, based_on: str | None
) -> str | None:
    version = (before["version"] if before else 0) + 1
    blocked = any(finding.cleared_by is None for finding in draft.findings)
    status = "blocked" if blocked else "in_review"
    row = {
        "summary_id": "sum_" + secrets.token_hex(8),
        "idempotency_key": f"{draft.client_id}|{draft.kind}|{draft.period_start}|{version}",
        "client_id": draft.client_id,
        "kind": draft.kind,
        "period_start": draft.period_start,
        "period_end": draft.period_end,
        "version": version,
        "content": content_json(draft.content),
        "figures": figures_json(draft.figures),
        "sources": sources_json(draft.sources),
        "query_hash": draft.query_hash,
        "snapshot_hash": draft.snapshot_hash,
        "template_version": draft.template_version,
        "redaction_version": draft.redaction_version,
        "bound_hash": draft.bound_hash,
        "made_by": draft.made_by,
        "author": draft.author,
        "based_on": based_on,
        "findings": findings_json(draft.findings),
        "created_at": stamp(now),
        "expires_at": stamp(now + REVIEW_WITHIN[draft.kind]),
        "owner": OWNER,
        "source": f"facts {draft.snapshot_hash[:12]} of {draft.kind} {draft.period_start}",
        "status": status,
        "status_at": stamp(now),
        "reason": _what_blocks(draft.findings),
        "recovery_rule": store.RECOVERY[status],
    }
    if not store.add_summary(connection, row):
        return None  # somebody else proposed it in the same moment
    if before is not None and before["status"] in store.OPEN:
        ended, why = ("edited", f"version {version} is an edit of it") if based_on else (
            "outdated", f"the figures or the rules changed; version {version} stands in its place"
        )  # fmt: skip
        store.set_status(connection, before["summary_id"], ended, why, now, publish_at=None)
        _note(connection, before, draft.author, ended, why, now)
    _note(connection, row, draft.author, "blocked" if blocked else "drafted", str(row["reason"]), now)
    return str(row["summary_id"])


def _what_blocks(findings: Sequence[Finding]) -> str:
    left = [finding for finding in findings if finding.cleared_by is None]
    return "; ".join(f"{finding.where}: {finding.what}" for finding in left[:5]) + (" …" if len(left) > 5 else "")


def edit(engine: Engine, summary_id: str, content: Content, *, by: Person, check: Check, now: datetime) -> str:
    """A new version with other words and the same figures. It voids an approval that is not published yet. Returns its id."""
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        newest = store.latest(connection, row["client_id"], row["kind"], row["period_start"])
        if newest is None or newest["summary_id"] != summary_id:
            raise NotPossible("There is a newer version of this summary. Edit that one.")
        if row["status"] in ("in_re_review", "outdated"):
            raise NotPossible("The figures have changed since. The next round writes a new version; edit that one.")
        figures = read_figures(row["figures"])
        draft = replace(
            _draft(row), content=content, findings=tuple(check(content, figures)), made_by="person", author=by.name
        )
        if content == _draft(row).content:
            raise NotPossible("Nothing was changed.")
        added = _add(connection, draft, row, now, summary_id)
        if added is None:
            raise NotPossible("Somebody else saved a version in the same moment. Look at theirs first.")
        return added


# ---- decisions ----


def approve(
    engine: Engine, summary_id: str, bound_hash: str, *, by: Person, now: datetime, undo: timedelta = UNDO
) -> None:
    """Approve what `bound_hash` names. It is published when the undo window is over. Raises NotPossible."""
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        if row["status"] == "blocked":
            raise NotPossible(f"It is blocked: {row['reason']}. {store.RECOVERY['blocked']}")
        if row["status"] != "in_review":
            raise NotPossible(f"It is {row['status'].replace('_', ' ')}; only what is in review can be approved.")
        if row["author"] == by.name:
            raise NotPossible("You wrote this version. Somebody else has to approve it.")
        if row["bound_hash"] != bound_hash or _draft(row).bound_hash != bound_hash:
            raise NotPossible("What you had before you is not this version. Open it again.")
        if row["expires_at"] <= stamp(now):
            raise NotPossible("It was not reviewed in time. Edit it into a new version.")
        store.set_status(connection, summary_id, "approved", "", now, publish_at=stamp(now + undo))
        _note(connection, row, by.name, "approved", "", now)


def undo(engine: Engine, summary_id: str, *, by: Person, now: datetime) -> None:
    """Take an approval back before it is published."""
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        if row["status"] != "approved" or row["publish_at"] <= stamp(now):
            raise NotPossible("Its undo window is over. Revoke the publication instead.")
        store.set_status(connection, summary_id, "in_review", "its approval was undone", now, publish_at=None)
        _note(connection, row, by.name, "undone", "", now)


def reject(engine: Engine, summary_id: str, reason: str, *, by: Person, now: datetime) -> None:
    reason = _said(reason, "Say why it is rejected: its author has to know what to change.")
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        if row["status"] not in ("blocked", "in_review"):
            raise NotPossible(f"It is {row['status'].replace('_', ' ')}; only what is in review can be rejected.")
        store.set_status(connection, summary_id, "rejected", reason, now)
        _note(connection, row, by.name, "rejected", reason, now)


def comment(engine: Engine, summary_id: str, words: str, *, by: Person, now: datetime) -> None:
    words = _said(words, "A comment needs words.")
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        store.log(connection, row, by.name, "commented", words, now)


def clear_finding(engine: Engine, summary_id: str, finding_id: str, reason: str, *, by: Person, now: datetime) -> None:
    """Say that what looks like personal data is none. A wrong figure cannot be cleared, only edited away."""
    reason = _said(reason, "Say why this may be shown to the client.")
    with engine.begin() as connection:
        row = _known(connection, summary_id, by)
        findings = list(read_findings(row["findings"]))
        place = next((i for i, each in enumerate(findings) if each.finding_id == finding_id), None)
        if row["status"] != "blocked" or place is None:
            raise NotPossible("There is no such finding to clear.")
        if findings[place].kind == "figure":
            raise NotPossible("A figure that is no stored fact cannot be cleared. Edit it.")
        if row["author"] == by.name:
            raise NotPossible("You wrote this version. Somebody else has to clear what was found in it.")
        findings[place] = replace(findings[place], cleared_by=by.name, cleared_because=reason)
        store.set_findings(connection, summary_id, findings_json(findings))
        left = _what_blocks(findings)
        store.set_status(connection, summary_id, "blocked" if left else "in_review", left, now)
        _note(connection, row, by.name, "cleared", f"{findings[place].where}: {reason}", now)


# ---- publishing ----


def publish_due(engine: Engine, *, now: datetime, held: Callable[[str], str] = lambda client_id: "") -> list[str]:
    """Publish what is approved and can no longer be undone; what `held` gives a reason for waits. Returns the publications' ids.

    Safe to run twice, or in two places: each version is looked at and published in one transaction.
    """
    with engine.begin() as connection:
        due = [row["summary_id"] for row in store.due_to_publish(connection, now)]
    published = [_publish(engine, summary_id, now, held) for summary_id in due]
    return [each for each in published if each]


def _publish(engine: Engine, summary_id: str, now: datetime, held: Callable[[str], str]) -> str | None:
    with engine.begin() as connection:
        row = store.summary(connection, summary_id, EVERY, lock=True)
        if row is None or row["status"] != "approved" or row["publish_at"] > stamp(now):
            return None
        if why := held(row["client_id"]):
            store.set_status(connection, summary_id, "approved", f"waits: {why}", now)
            return None
        if _what_blocks(read_findings(row["findings"])) or _draft(row).bound_hash != row["bound_hash"]:
            store.set_status(connection, summary_id, "in_review", "it is not what was approved", now, publish_at=None)
            _note(connection, row, MACHINE, "not published", "it is not what was approved", now)
            return None
        approver = store.approver_of(connection, summary_id)
        return _put_up(connection, row, approver, f"version {row['version']}, approved by {approver}", now)


def _put_up(connection: Connection, row: RowMapping, approver: str, source: str, now: datetime) -> str:
    key = store.standing_key(row)
    old = store.standing(connection, key)
    if old is not None:
        store.set_publication(
            connection, old["publication_id"], "replaced", "A newer version stands in its place.", now, standing=None
        )
        if old["summary_id"] != row["summary_id"]:
            store.set_status(connection, old["summary_id"], "replaced", "a newer version was published", now)
    publication_id = "pub_" + secrets.token_hex(8)
    same = ("client_id", "kind", "period_start", "period_end", "summary_id", "bound_hash", "sources")
    store.add_publication(
        connection,
        {
            **{name: row[name] for name in same},
            "publication_id": publication_id,
            "standing": key,
            "content": json.dumps({"words": json.loads(row["content"]), "figures": _shown_figures(row)}),
            "approved_by": approver,
            "published_at": stamp(now),
            "owner": OWNER,
            "source": source,
            "status": "published",
            "status_at": stamp(now),
            "reason": "",
            "recovery_rule": store.RECOVERY["published"],
        },
    )
    store.set_status(connection, row["summary_id"], "published", "", now)
    _note(connection, row, MACHINE, "published", source, now)
    return publication_id


def _shown_figures(row: RowMapping) -> list[dict[str, str]]:
    """Of a figure a client gets its name and how it is written; not the query."""
    return [
        {
            "figure_id": figure.figure_id,
            "label": figure.label,
            "shown": figure.shown,
            "data_until": figure.data_until,
        }
        for figure in read_figures(row["figures"])
    ]


def void_where_changed(
    engine: Engine, current: Mapping[tuple[str, str, str], Facts], *, redaction_version: str, now: datetime
) -> list[str]:
    """End approvals whose figures are no longer what the data say. `current` is by (client, kind, first day of the period); a
    period that is not in it is left alone. Returns the ids of the versions it struck.

    What is published stays where it is and says that it is being re-reviewed; what was only approved goes back.
    """
    struck = []
    with engine.begin() as connection:
        for row in store.decided(connection):
            facts = current.get((row["client_id"], row["kind"], row["period_start"]))
            if facts is None:
                continue
            other_rules = row["status"] == "approved" and row["redaction_version"] != redaction_version
            if facts == _facts(row) and not other_rules:
                continue
            why = "the figures changed after it was approved" if facts != _facts(row) else "the redaction rules changed"
            if row["status"] == "approved":
                store.set_status(connection, row["summary_id"], "outdated", why, now, publish_at=None)
            else:
                store.set_status(connection, row["summary_id"], "in_re_review", why, now)
                shown = store.standing(connection, store.standing_key(row))
                if shown is not None and shown["summary_id"] == row["summary_id"] and shown["status"] == "published":
                    store.set_publication(connection, shown["publication_id"], "in_re_review", RE_REVIEW, now)
            _note(connection, row, MACHINE, "voided", why, now)
            struck.append(row["summary_id"])
    return struck


RE_REVIEW = "Some of these figures have changed since we checked them. We are reviewing this summary again."


def expire_old(engine: Engine, *, now: datetime) -> list[str]:
    """End what nobody reviewed in time. Returns the ids."""
    with engine.begin() as connection:
        rows = store.past_review(connection, now)
        for row in rows:
            store.set_status(connection, row["summary_id"], "expired", "nobody reviewed it in time", now)
            _note(connection, row, MACHINE, "expired", "nobody reviewed it in time", now)
    return [row["summary_id"] for row in rows]


def revoke(engine: Engine, publication_id: str, reason: str, *, by: Person, now: datetime) -> None:
    """Take a publication back. Its words are gone from the portal at once; that it was withdrawn, when and why stays.

    `reason` is shown to the client.
    """
    reason = _said(reason, "Say why it is withdrawn: the client reads it.")
    with engine.begin() as connection:
        shown = store.publication(connection, publication_id, by.clients)
        if shown is None:
            raise Unknown
        if shown["status"] not in ("published", "in_re_review"):
            raise NotPossible(f"It is {shown['status'].replace('_', ' ')} already.")
        store.set_publication(connection, publication_id, "revoked", reason, now)
        row = _known(connection, shown["summary_id"], by)
        store.set_status(connection, row["summary_id"], "revoked", reason, now)
        _note(connection, row, by.name, "revoked", reason, now)


def roll_back(engine: Engine, publication_id: str, reason: str, *, by: Person, now: datetime) -> str:
    """Put an earlier publication of the same period up again, if its figures are still those of the one that stands."""
    reason = _said(reason, "Say why the earlier one is put up again.")
    with engine.begin() as connection:
        earlier = store.publication(connection, publication_id, by.clients)
        if earlier is None:
            raise Unknown
        if earlier["status"] != "replaced":
            raise NotPossible("Only a publication that was replaced can be put up again.")
        row = _known(connection, earlier["summary_id"], by)
        shown = store.standing(connection, str(store.standing_key(row)))
        now_there = store.summary(connection, shown["summary_id"], by.clients) if shown else None
        if now_there is not None and _facts(now_there) != _facts(row):
            raise NotPossible(
                "Its figures are not today's: they changed between the two. Edit the newest version instead."
            )
        source = f"rollback to {publication_id} by {by.name}: {reason}"
        new = _put_up(connection, row, earlier["approved_by"], source, now)
        _note(connection, row, by.name, "rolled back", reason, now)
        return new


# ---- in common ----


def _known(connection: Connection, summary_id: str, by: Person) -> RowMapping:
    row = store.summary(connection, summary_id, by.clients, lock=True)
    if row is None:
        raise Unknown
    return row


def _facts(row: RowMapping) -> Facts:
    return row["query_hash"], row["snapshot_hash"]


def _draft(row: RowMapping) -> Draft:
    """The version as it was proposed."""
    return Draft(
        client_id=row["client_id"],
        kind=row["kind"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        content=read_content(row["content"]),
        figures=read_figures(row["figures"]),
        sources=read_sources(row["sources"]),
        query_hash=row["query_hash"],
        snapshot_hash=row["snapshot_hash"],
        template_version=row["template_version"],
        redaction_version=row["redaction_version"],
        made_by=row["made_by"],
        author=row["author"],
        findings=read_findings(row["findings"]),
    )


def _said(words: str, otherwise: str) -> str:
    words = words.strip()
    if not words:
        raise NotPossible(otherwise)
    return words[:2000]


def _note(
    connection: Connection, row: RowMapping | Mapping[str, object], who: str, what: str, why: str, now: datetime
) -> None:
    store.log(connection, row, who, what, why, now)
    detail = {"client": row["client_id"], "version": row["version"], "bound_hash": row["bound_hash"], "reason": why}
    audit.note(connection, who, f"summary {what}", str(row["summary_id"]), detail, now)
