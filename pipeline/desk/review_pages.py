"""Review of what clients will read: one version with every figure leading to its source, beside the last approved one; deciding.

What may follow what, and who may, is in `pipeline.client_safe.review`; these pages ask it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape
from starlette.responses import Response

from pipeline.build_plan import read_manifest
from pipeline.client_safe import review
from pipeline.client_safe.document import (
    Content,
    Figure,
    Finding,
    Section,
    read_content,
    read_figures,
    read_findings,
    read_sources,
)
from pipeline.client_safe.known_values import known_values
from pipeline.client_safe.round import what_is_wrong
from pipeline.desk.figure_rows import rows_behind
from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import PAGE_SIZE, BadForm, NotFound
from pipeline.store import summaries as store
from pipeline.store.schema import publications, summaries

VIEWS = {"open": store.OPEN, "published": ("published", "in_re_review", "revoked", "replaced"), "all": store.STATUSES}


def listed(visit: DeskVisit) -> Response:
    view, number = visit.asked("view") or "open", visit.page_number()
    if view not in VIEWS:
        raise NotFound
    with visit.reading() as connection:
        start = (number - 1) * PAGE_SIZE
        rows = store.listed(connection, visit.sees, statuses=VIEWS[view], limit=PAGE_SIZE + 1, offset=start)
        shown = store.publications_of(connection, visit.sees, limit=20)
    kept, more = visit.listed([dict(row) for row in rows], PAGE_SIZE)
    for row in kept:
        row["left"] = sum(finding.cleared_by is None for finding in read_findings(row["findings"]))
    return visit.render(
        "summaries.html", rows=kept, more=more, number=number, view=view, views=list(VIEWS), shown=shown
    )


def one(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        row = visit.one(connection, summaries, summary_id=visit.part("summary_id"))
        before = store.approved_before(connection, row)  # type: ignore[arg-type]
        happened = store.history(connection, row["summary_id"], visit.sees)
        shown = visit.all(
            connection,
            visit.mine(publications)
            .where(publications.c.summary_id == row["summary_id"])
            .order_by(publications.c.published_at),
        )
    content, figures = read_content(row["content"]), read_figures(row["figures"])
    path = f"/summaries/{row['summary_id']}/figures/"
    return visit.render(
        "summary.html",
        row=row,
        content=content,
        figures=figures,
        marked=lambda words: _marked(words, figures, path),
        sources=read_sources(row["sources"]),
        findings=read_findings(row["findings"]),
        before=before,
        difference=_difference(read_content(before["content"]) if before else None, content),
        happened=happened,
        shown=shown,
        wrote_it=row["author"] == visit.account.email,
    )


def figure(visit: DeskVisit) -> Response:
    """Where one figure comes from."""
    with visit.reading() as connection:
        row = visit.one(connection, summaries, summary_id=visit.part("summary_id"))
    wanted = visit.part("figure_id")
    figures = read_figures(row["figures"])
    found = next((each for each in figures if each.figure_id == wanted), None)
    if found is None:
        raise NotFound
    client = visit.client(row["client_id"])
    others = [each.figure_id for each in figures]
    content = read_content(row["content"])
    used = [line for line in content.text.splitlines() if found.shown and found.shown in line]
    return visit.render(
        "figure.html",
        row=row,
        figure=found,
        used=used,
        model=_model(visit, found.query),
        behind=rows_behind(visit, client, wanted, others),
    )


def edit_page(visit: DeskVisit) -> Response:
    with visit.reading() as connection:
        row = visit.one(connection, summaries, summary_id=visit.part("summary_id"))
    return visit.render(
        "summary_edit.html", row=row, content=read_content(row["content"]), figures=read_figures(row["figures"])
    )


def decide(visit: DeskVisit) -> Response:
    """Approve, reject, edit, comment, clear a finding, undo."""
    what, summary_id = visit.part("decision"), visit.part("summary_id")
    with visit.reading() as connection:
        row = visit.one(connection, summaries, summary_id=summary_id)
    given: dict[str, Any] = {"by": _person(visit), "now": visit.now}
    engine, why = visit.desk.engine, visit.form.get("why", "")
    if what == "approve":
        review.approve(engine, summary_id, visit.form.get("bound_hash", ""), **given)
    elif what == "reject":
        review.reject(engine, summary_id, why, **given)
    elif what == "comment":
        review.comment(engine, summary_id, why, **given)
    elif what == "clear":
        review.clear_finding(engine, summary_id, visit.form.get("finding", ""), why, **given)
    elif what == "undo":
        review.undo(engine, summary_id, **given)
    elif what == "edit":
        known = known_values(visit.desk.office.settings, row["client_id"])
        words = _written(visit, read_content(row["content"]))

        def check(content: Content, figures: Sequence[Figure]) -> list[Finding]:
            return what_is_wrong(content, figures, known)

        summary_id = review.edit(engine, summary_id, words, check=check, **given)
    else:
        raise NotFound
    return visit.go(f"/summaries/{summary_id}", f"summary-{what}")


def take_back(visit: DeskVisit) -> Response:
    """Revoke a publication, or put an earlier one up again."""
    what, why = visit.part("decision"), visit.form.get("why", "")
    with visit.reading() as connection:
        row = visit.one(connection, publications, publication_id=visit.part("publication_id"))
    given: dict[str, Any] = {"by": _person(visit), "now": visit.now}
    if what == "revoke":
        review.revoke(visit.desk.engine, row["publication_id"], why, **given)
    elif what == "roll-back":
        review.roll_back(visit.desk.engine, row["publication_id"], why, **given)
    else:
        raise NotFound
    return visit.go(f"/summaries/{row['summary_id']}", f"summary-{what}")


# ---- inside ----


def _person(visit: DeskVisit) -> review.Person:
    return review.Person(visit.account.email, visit.sees)


def _written(visit: DeskVisit, before: Content) -> Content:
    """The words of the form: a heading and its lines, one a line, for each section. A section with neither is left out."""
    sections = []
    for number in range(len(before.sections) + 1):
        heading = visit.form.get(f"heading-{number}", "").strip()
        lines = [line.strip() for line in visit.form.get(f"lines-{number}", "").splitlines() if line.strip()]
        if heading or lines:
            sections.append(Section(heading, tuple(lines)))
    title, opening = visit.form.get("title", "").strip(), visit.form.get("opening", "").strip()
    if not title or not sections:
        raise BadForm("A summary has a title and at least one section.")
    return Content(title, opening, tuple(sections), before.made_by_ai)


def _marked(words: str, figures: Sequence[Figure], path: str) -> Markup:
    """The words with every figure a link to its source. The longest first: 1,204 is not 204."""
    by_shown = {figure.shown: figure for figure in reversed(figures) if figure.shown}
    if not by_shown:
        return escape(words)
    longest = sorted(by_shown, key=len, reverse=True)
    parts = re.split(rf"(?<![\w.,])({'|'.join(map(re.escape, longest))})(?![\w]|[.,]\d)", words)
    link = Markup('<a class="figure" href="{}{}" title="{}">{}</a>')
    return Markup("").join(
        link.format(path, quote(by_shown[part].figure_id, safe=""), by_shown[part].label, part)
        if part in by_shown
        else part
        for part in parts
    )


def _difference(before: Content | None, now: Content) -> list[str]:
    if before is None:
        return []
    return list(
        difflib.unified_diff(
            before.text.splitlines(), now.text.splitlines(), "last approved", "this version", lineterm=""
        )
    )


def _model(visit: DeskVisit, query: str) -> dict[str, Any] | None:
    """What the project says of the model that a figure was read from."""
    manifest = read_manifest(visit.desk.office.settings)
    if manifest is None:
        return None
    name = query.rpartition(".")[2]
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["name"] == name:
            return {
                "name": query,
                "description": node["description"],
                "sql": node.get("compiled_code") or node["raw_code"],
            }
    return None


PAGES = (
    Page("/summaries", listed),
    Page("/summaries/{summary_id}", one),
    Page("/summaries/{summary_id}/edit", edit_page, "GET", "decide"),
    Page("/summaries/{summary_id}/figures/{figure_id}", figure),
    Page("/summaries/{summary_id}/{decision}", decide, "POST", "decide"),
    Page("/publications/{publication_id}/{decision}", take_back, "POST", "decide"),
)
