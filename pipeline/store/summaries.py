"""Summaries, who decided what about them, and what was published: rows in, rows out. What may follow what is in
pipeline.client_safe.review.

    blocked -> in_review -> approved -> published -> in_re_review | replaced | revoked
    blocked, in_review -> rejected | edited | outdated | expired        approved -> in_review (undone) | outdated | edited
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, insert, select, update

from pipeline.store.engine import add, stamp
from pipeline.store.schema import publication_views, publications, summaries, summary_log
from pipeline.store.tenancy import Clients

OPEN = ("blocked", "in_review", "approved")
STATUSES = (*OPEN, "published", "in_re_review", "replaced", "revoked", "rejected", "edited", "outdated", "expired")
SHOWN = ("published", "in_re_review", "revoked")  # statuses of a publication that a client can meet

RECOVERY = {
    "blocked": "Edit the wrong figure away, or clear each finding with a reason; then it can be reviewed.",
    "in_review": "Somebody other than its author approves or rejects it; unreviewed it expires and is never approved.",
    "approved": "It is published when its undo window is over; until then it can be undone.",
    "published": "Revoke it, or roll back to an earlier publication of the same period.",
    "in_re_review": "The figures changed after approval: approve the new version; until then clients see that it is re-reviewed.",
    "replaced": "None is needed: a later publication stands in its place. It can be rolled back to.",
    "revoked": "Approve a corrected version of the period; clients see that this one was withdrawn.",
    "rejected": "Edit it into a new version.",
    "edited": "None is needed: the edited version stands in its place.",
    "outdated": "None is needed: the figures changed, and a new version stands in its place.",
    "expired": "Edit it into a new version, which somebody else approves.",
}


def add_summary(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Whether it was not there yet."""
    return add(connection, summaries, row)


def set_status(connection: Connection, summary_id: str, status: str, reason: str, now: datetime, **more: Any) -> None:
    values = {"status": status, "status_at": stamp(now), "reason": reason, "recovery_rule": RECOVERY[status], **more}
    connection.execute(update(summaries).where(summaries.c.summary_id == summary_id).values(**values))


def set_findings(connection: Connection, summary_id: str, findings: str) -> None:
    connection.execute(update(summaries).where(summaries.c.summary_id == summary_id).values(findings=findings))


def log(
    connection: Connection, summary: RowMapping | Mapping[str, Any], who: str, what: str, reason: str, now: datetime
) -> None:
    row = {"at": stamp(now), "who": who, "what": what, "reason": reason}
    same = {name: summary[name] for name in ("summary_id", "client_id", "bound_hash")}
    connection.execute(insert(summary_log), {**row, **same})


# ---- reading ----


def summary(connection: Connection, summary_id: str, clients: Clients, *, lock: bool = False) -> RowMapping | None:
    found = select(summaries).where(summaries.c.summary_id == summary_id, clients.own(summaries.c.client_id))
    return connection.execute(found.with_for_update() if lock else found).mappings().first()


def latest(connection: Connection, client_id: str, kind: str, period_start: str) -> RowMapping | None:
    """The newest version about a period."""
    found = (
        select(summaries)
        .where(summaries.c.client_id == client_id, summaries.c.kind == kind, summaries.c.period_start == period_start)
        .order_by(summaries.c.version.desc())
        .limit(1)
        .with_for_update()
    )
    return connection.execute(found).mappings().first()


def listed(
    connection: Connection, clients: Clients, *, statuses: Collection[str] = STATUSES, limit: int = 50, offset: int = 0
) -> list[RowMapping]:
    """Newest first, without their words."""
    columns = [column for column in summaries.c if column.name not in ("content", "figures", "sources")]
    found = (
        select(*columns)
        .where(clients.own(summaries.c.client_id), summaries.c.status.in_(sorted(statuses)))
        .order_by(summaries.c.created_at.desc(), summaries.c.summary_id)
    )
    return list(connection.execute(found.limit(limit).offset(offset)).mappings())


def history(connection: Connection, summary_id: str, clients: Clients) -> list[RowMapping]:
    """What was decided about a version, and about those it was edited from, oldest first."""
    ids, current = [], summary(connection, summary_id, clients)
    while current is not None and current["summary_id"] not in ids:
        ids.append(current["summary_id"])
        current = summary(connection, current["based_on"] or "", clients)
    found = select(summary_log).where(summary_log.c.summary_id.in_(ids), clients.own(summary_log.c.client_id))
    return list(connection.execute(found.order_by(summary_log.c.seq)).mappings())


def approved_before(connection: Connection, row: RowMapping) -> RowMapping | None:
    """What a reviewer compares a version with: the last one that was published, of the same period if there is one, else of the
    period before."""
    found = (
        select(summaries)
        .where(
            summaries.c.client_id == row["client_id"],
            summaries.c.kind == row["kind"],
            summaries.c.summary_id != row["summary_id"],
            summaries.c.status.in_(["published", "in_re_review", "replaced"]),
            summaries.c.period_start <= row["period_start"],
        )
        .order_by(summaries.c.period_start.desc(), summaries.c.version.desc())
        .limit(1)
    )
    return connection.execute(found).mappings().first()


def approver_of(connection: Connection, summary_id: str) -> str:
    """Who approved it last."""
    found = (
        select(summary_log.c.who)
        .where(summary_log.c.summary_id == summary_id, summary_log.c.what == "approved")
        .order_by(summary_log.c.seq.desc())
        .limit(1)
    )
    return str(connection.execute(found).scalar_one())


def decided(connection: Connection) -> list[RowMapping]:
    """Versions that rest on an approval: what a change of figures would void."""
    found = select(summaries).where(summaries.c.status.in_(["approved", "published"]))
    return list(connection.execute(found.order_by(summaries.c.summary_id)).mappings())


def due_to_publish(connection: Connection, now: datetime) -> list[RowMapping]:
    found = select(summaries).where(summaries.c.status == "approved", summaries.c.publish_at <= stamp(now))
    return list(connection.execute(found.order_by(summaries.c.publish_at, summaries.c.summary_id)).mappings())


def past_review(connection: Connection, now: datetime) -> list[RowMapping]:
    found = select(summaries).where(
        summaries.c.status.in_(["blocked", "in_review"]), summaries.c.expires_at <= stamp(now)
    )
    return list(connection.execute(found.order_by(summaries.c.summary_id)).mappings())


# ---- publications ----


def standing_key(row: RowMapping | Mapping[str, Any]) -> str:
    return f"{row['client_id']}|{row['kind']}|{row['period_start']}"


def standing(connection: Connection, key: str) -> RowMapping | None:
    found = select(publications).where(publications.c.standing == key).with_for_update()
    return connection.execute(found).mappings().first()


def publication(connection: Connection, publication_id: str, clients: Clients) -> RowMapping | None:
    found = select(publications).where(
        publications.c.publication_id == publication_id, clients.own(publications.c.client_id)
    )
    return connection.execute(found).mappings().first()


def publications_of(connection: Connection, clients: Clients, *, limit: int = 50, offset: int = 0) -> list[RowMapping]:
    """Newest first, those that were replaced too: the desk's list."""
    found = (
        select(publications)
        .where(clients.own(publications.c.client_id))
        .order_by(publications.c.published_at.desc(), publications.c.publication_id)
    )
    return list(connection.execute(found.limit(limit).offset(offset)).mappings())


def shown_to(connection: Connection, client_id: str, *, limit: int, offset: int = 0) -> list[RowMapping]:
    """What a client's portal lists: the newest period first. The one query behind the portal, with `shown`."""
    found = (
        select(publications)
        .where(publications.c.client_id == client_id, publications.c.standing.is_not(None))
        .order_by(publications.c.period_end.desc(), publications.c.kind, publications.c.publication_id)
    )
    return list(connection.execute(found.limit(limit).offset(offset)).mappings())


def shown(connection: Connection, client_id: str, publication_id: str) -> RowMapping | None:
    """One of a client's own publications. One that was replaced leads to the one in its place."""
    one = (
        connection.execute(
            select(publications).where(
                publications.c.client_id == client_id, publications.c.publication_id == publication_id
            )
        )
        .mappings()
        .first()
    )
    if one is None or one["standing"] is not None:
        return one
    return (
        connection.execute(
            select(publications).where(
                publications.c.client_id == client_id, publications.c.standing == standing_key(one)
            )
        )
        .mappings()
        .first()
    )


def set_publication(
    connection: Connection, publication_id: str, status: str, reason: str, now: datetime, **more: Any
) -> None:
    values = {"status": status, "status_at": stamp(now), "reason": reason, "recovery_rule": RECOVERY[status], **more}
    connection.execute(update(publications).where(publications.c.publication_id == publication_id).values(**values))


def add_publication(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(publications), row)


def note_view(connection: Connection, row: RowMapping, account_id: str, now: datetime) -> None:
    """Who saw it: asked when it has to be taken back."""
    seen = {"publication_id": row["publication_id"], "account_id": account_id, "client_id": row["client_id"]}
    if not add(connection, publication_views, {**seen, "first_at": stamp(now), "last_at": stamp(now)}):
        connection.execute(
            update(publication_views)
            .where(
                and_(
                    publication_views.c.publication_id == row["publication_id"],
                    publication_views.c.account_id == account_id,
                )
            )
            .values(last_at=stamp(now))
        )


def views(connection: Connection, publication_id: str, clients: Clients) -> list[RowMapping]:
    found = select(publication_views).where(
        publication_views.c.publication_id == publication_id, clients.own(publication_views.c.client_id)
    )
    return list(connection.execute(found.order_by(publication_views.c.first_at)).mappings())
