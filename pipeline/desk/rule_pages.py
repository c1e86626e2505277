"""Follow-up rules: what each says, what its replays showed, how it stands, and moving it, as `leadtrail rules` does."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from sqlalchemy import select
from starlette.responses import Response

from pipeline.desk.seen import DeskVisit, Page
from pipeline.desk.visits import BadForm, NotFound
from pipeline.follow_up import rule_book
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.replay import History, Period
from pipeline.follow_up.replay_run import replay, summary
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.standing import Standing, Version, courses, in_force_for, overview, states_of
from pipeline.replay_report import replay_lines
from pipeline.store.schema import rule_replays

MOST_REPLAYS = 5
MOVES = ("enable", "pause", "resume", "retire", "rollback")


def listed(visit: DeskVisit) -> Response:
    client = visit.chosen_client()
    with visit.reading() as connection:
        rows = overview(connection, client.client_id if client else HOUSE)
        titles = {name: rule.title for (_, name, _), rule in Standing.read(connection).contents.items()}
    rows = [row for row in rows if row["whose"] in _readable(visit)]
    return visit.render("rules.html", rows=rows, titles=titles, client=client)


def one(visit: DeskVisit) -> Response:
    whose, rule = visit.whose(visit.part("whose")), visit.part("rule")
    with visit.reading() as connection:
        standing = Standing.read(connection)
        replays = _replays(visit, connection, whose, rule)
    states = states_of(standing.moves, whose, rule)
    versions = [name for owner, of, name in standing.contents if (owner, of) == (whose, rule)]
    if not versions:
        raise NotFound
    asked = visit.asked("version")
    chosen = standing.find_version(whose, rule, asked if asked in versions else "")
    said = standing.rule_of(chosen)
    in_force = in_force_for(standing.moves, whose, rule)
    moves = [move for move in standing.moves if move.rule == rule and move.client_id in _readable(visit)]
    return visit.render(
        "rule.html",
        whose=whose,
        rule=said,
        written=_written(said),
        chosen=chosen,
        in_force=in_force,
        versions=[(name, states.get(name, "draft")) for name in reversed(versions)],
        state=states.get(chosen.version, "draft"),
        replays=[one for one in replays if one["version"] == chosen.version][:MOST_REPLAYS],
        moves=list(reversed(moves))[:40],
        difference=_difference(standing, in_force, chosen),
        paused_for={name for name in visit.clients if courses(standing.moves, name)[rule].state == "paused"},
        may_move=visit.decides and (whose != HOUSE or visit.sees_all),
        today=visit.now.date(),
    )


def move(visit: DeskVisit) -> Response:
    """Enable, pause, resume, retire or roll back."""
    what, rule = visit.part("move"), visit.part("rule")
    for_one = (
        visit.form.get("client", "") if what in ("pause", "resume") else ""
    )  # the house's rule, as far as a client goes
    whose = visit.client(for_one).client_id if for_one else visit.whose(visit.part("whose"), to_change=True)
    if what not in MOVES:
        raise NotFound
    given: dict[str, Any] = {
        "by": visit.account.email,
        "note": visit.form.get("why", "").strip()[:500],
        "now": visit.now,
    }
    with visit.changing() as connection:
        if what == "pause":
            rule_book.pause(connection, whose, rule, **given)
        elif what == "resume":
            rule_book.resume(connection, whose, rule, **given)
        elif what == "rollback":
            rule_book.roll_back(connection, whose, rule, **given)
        else:
            which = Standing.read(connection).find_version(whose, rule, visit.form.get("version", ""))
            (rule_book.enable if what == "enable" else rule_book.retire)(connection, which, **given)
    visit.desk.office.write_directory()  # the next build takes it in
    return visit.go(_path("" if for_one else whose, rule), f"rule-{what}")


def try_out(visit: DeskVisit) -> Response:
    """Replay a version over past days, and keep what that showed."""
    rule = visit.part("rule")
    whose = visit.whose(visit.part("whose"), to_change=True)
    period = _period(visit.form.get("from", ""), visit.form.get("to", ""))
    office = visit.desk.office
    history = History.of(office.settings.analytics, office.settings.dbt_target)
    with visit.reading() as connection:
        standing = Standing.read(connection)
    which = standing.find_version(whose, rule, visit.form.get("version", ""))
    clients = [one for one in visit.clients.values() if whose in (HOUSE, one.client_id)]
    shown = summary(replay(standing, history, standing.rule_of(which), whose, clients, period))
    with visit.changing() as connection:
        rule_book.note_replay(
            connection,
            which,
            from_at=period.start,
            to_at=period.end,
            by=visit.account.email,
            summary=shown,
            now=visit.now,
        )
    return visit.go(f"{_path(whose, rule)}", "replayed")


def _replays(visit: DeskVisit, connection: Any, whose: str, rule: str) -> list[dict[str, Any]]:
    """Those over clients whom they may all see: a replay's counts are of its clients together."""
    query = select(rule_replays).where(rule_replays.c.client_id == whose, rule_replays.c.rule == rule)
    found = []
    for row in visit.all(connection, query.order_by(rule_replays.c.seq.desc()).limit(40)):
        told = json.loads(row["summary"])
        if all(client_id in visit.sees for client_id in told["clients"]):
            hours = [(int(hour), count) for hour, count in told["by_hour"].items()]
            found.append({**row, "told": told, "lines": list(replay_lines(told)), "hours": sorted(hours)})
    return found


def _readable(visit: DeskVisit) -> set[str]:
    """The house, and the clients they may see."""
    return {HOUSE, *visit.clients}


def _difference(standing: Standing, old: Version | None, new: Version) -> list[str]:
    if old is None or old == new:
        return []
    sides = [_written(standing.rule_of(one)).splitlines() for one in (old, new)]
    return list(difflib.unified_diff(*sides, str(old), str(new), lineterm=""))


def _written(rule: Rule) -> str:
    return yaml.safe_dump(rule.written(), sort_keys=False, allow_unicode=True).rstrip()


def _period(start: str, end: str) -> Period:
    try:
        first, last = (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) for day in (start, end))
    except ValueError:
        raise BadForm("Write both days like 2026-10-31.") from None
    if last < first or last - first > timedelta(days=731):
        raise BadForm("The last day comes after the first, and at most two years after it.")
    return Period(first, last + timedelta(days=1))


def _path(whose: str, rule: str) -> str:
    return f"/rules/{whose or 'house'}/{rule}"


PAGES = (
    Page("/rules", listed),
    Page("/rules/{whose}/{rule}", one),
    Page("/rules/{whose}/{rule}/replay", try_out, "POST", "decide"),
    Page("/rules/{whose}/{rule}/{move}", move, "POST", "decide"),
)
