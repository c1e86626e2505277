"""The words of follow-up: versions, who wrote and approved them; approving and withdrawing, as `leadtrail templates` does."""

from __future__ import annotations

import difflib
from typing import Any

from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import NotFound
from pipeline.follow_up import template_book
from pipeline.follow_up.template_book import TemplateLog
from pipeline.follow_up.template_file import Template


def listed(visit: DeskVisit) -> Response:
    client = visit.chosen_client()
    with visit.reading() as connection:
        kept, log = template_book.templates_kept(connection), TemplateLog.read(connection)
    readable = {"", client.client_id} if client else {"", *visit.clients}
    last = {(move.client_id, move.template, move.version): move for move in log.moves if move.client_id in readable}
    rows = [
        {"said": kept[key], "move": move, "in_use": log.in_use(key[0], key[1]) == key[2]}
        for key, move in sorted(last.items(), key=lambda one: (one[0][1], one[0][0], one[1].at))
        if move.state != "withdrawn"
    ]
    return visit.render("templates.html", rows=rows, client=client)


def one(visit: DeskVisit) -> Response:
    whose, name = visit.whose(visit.part("whose")), visit.part("template")
    with visit.reading() as connection:
        kept, log = template_book.templates_kept(connection), TemplateLog.read(connection)
        versions = [version for owner, of, version in kept if (owner, of) == (whose, name)]
        if not versions:
            raise NotFound
        asked = visit.asked("version")
        chosen = asked if asked in versions else versions[-1]
        author = template_book.author_of(connection, whose, name, chosen)
    in_use = log.in_use(whose, name)
    before = next(
        (kept[owner, name, in_use] for owner in (whose, "") if in_use and (owner, name, in_use) in kept), None
    )
    return visit.render(
        "template.html",
        whose=whose,
        said=kept[whose, name, chosen],
        chosen=chosen,
        author=author,
        state=log.state(whose, name, chosen),
        in_use=in_use,
        versions=[(version, log.state(whose, name, version)) for version in reversed(versions)],
        moves=[
            move
            for move in reversed(log.moves)
            if move.template == name and (move.client_id in ("", *visit.clients)) and move.client_id == whose
        ],
        difference=_difference(before, kept[whose, name, chosen]),
        may_move=visit.decides and (whose != "" or visit.sees_all),
        wrote_it=author.strip().casefold() == visit.account.email.casefold(),
    )


def decide(visit: DeskVisit) -> Response:
    """Approve or withdraw."""
    what, name = visit.part("decision"), visit.part("template")
    whose = visit.whose(visit.part("whose"), to_change=True)
    if what not in ("approve", "withdraw"):
        raise NotFound
    given: dict[str, Any] = {
        "by": visit.account.email,
        "note": visit.form.get("why", "").strip()[:500],
        "now": visit.now,
    }
    with visit.changing() as connection:
        version = template_book.find_version(connection, whose, name, visit.form.get("version", ""))
        (template_book.approve if what == "approve" else template_book.withdraw)(
            connection, whose, name, version, **given
        )
    return visit.go(f"/templates/{whose or 'house'}/{name}", f"template-{what}")


def _difference(before: Template | None, now: Template) -> list[str]:
    if before is None or before == now:
        return []
    sides = [f"{one.subject or ''}\n{one.body}".strip().splitlines() for one in (before, now)]
    return list(difflib.unified_diff(*sides, "in use", "this version", lineterm=""))


PAGES = (
    Page("/templates", listed),
    Page("/templates/{whose}/{template}", one),
    Page("/templates/{whose}/{template}/{decision}", decide, "POST", "decide"),
)
