"""The rule book: every version of every rule, how it stands, and who moved it there.

draft -> replayed -> enabled -> paused -> retired. Nobody can enable what nobody has seen replayed, nor what would send words
that nobody approved. Each move is a row that is only ever added, and a row of the sealed audit log, in one transaction: the
caller's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, text

from pipeline.follow_up.intervals import HOUSE, HOUSES_VERSION, Move
from pipeline.follow_up.rule_file import Rule
from pipeline.follow_up.rule_law import objections_to_template
from pipeline.follow_up.standing import (
    State,
    Version,
    in_force,
    moves_of,
    rule_contents,
    state_of,
    was_replayed,
)
from pipeline.follow_up.template_book import NotAllowed, TemplateLog, templates_kept
from pipeline.store import audit
from pipeline.store.engine import add, stamp
from pipeline.store.schema import rule_replays, rule_states, rule_versions

# from which states a version may come; enabled from enabled takes up newly approved templates
ALLOWED: Mapping[State, tuple[State, ...]] = {
    "draft": (),
    "replayed": ("draft",),
    "enabled": ("replayed", "enabled", "paused", "retired"),
    "paused": ("enabled",),
    "retired": ("draft", "replayed", "enabled", "paused"),
}


def add_rule(connection: Connection, rule: Rule, *, client_id: str, by: str, now: datetime, note: str = "") -> bool:
    """Add a version as a draft. False if it is there already."""
    row = {
        "client_id": client_id,
        "rule": rule.rule,
        "version": rule.version,
        "content": rule.kept(),
        "added_at": stamp(now),
        "added_by": by,
    }
    if not add(connection, rule_versions, row):
        return False
    _note(connection, Version(client_id, rule.rule, rule.version), "draft", by=by, note=note, now=now)
    return True


def note_replay(
    connection: Connection,
    version: Version,
    *,
    from_at: datetime,
    to_at: datetime,
    by: str,
    summary: Any,
    now: datetime,
) -> None:
    """Keep what a replay showed; a draft has then been replayed. The version may still be a file that nobody added."""
    row = {
        "client_id": version.client_id,
        "rule": version.rule,
        "version": version.version,
        "replayed_at": stamp(now),
        "by": by,
        "from_at": stamp(from_at),
        "to_at": stamp(to_at),
        "summary": json.dumps(summary, sort_keys=True),
    }
    _one_at_a_time(connection)
    connection.execute(insert(rule_replays), row)
    if state_of(connection, version) == "draft":
        _note(connection, version, "replayed", by=by, note=f"{from_at:%Y-%m-%d} to {to_at:%Y-%m-%d}", now=now)


def enable(connection: Connection, version: Version, *, by: str, note: str, now: datetime) -> None:
    """Put a version in force from now on, in place of the one before; leads in flight keep theirs. Enabling the one in force
    again takes up the templates that were approved since."""
    _one_at_a_time(connection)
    state = _known_state(connection, version)
    if not was_replayed(connection, version):
        raise NotAllowed(
            f"{version} was never replayed, so nobody knows what it would do. "
            f"Run `leadtrail replay {version.rule} --version {version.version}{_for(version)} --from … --to …` first."
        )
    served = [version.client_id] if version.client_id else TemplateLog.read(connection).client_ids()
    _check_templates(connection, version, served)
    moves = moves_of(connection, version.rule)
    if state == "enabled" and not _has_newer_templates(connection, version, served, moves):
        raise NotAllowed(f"{version} is enabled already, with the templates that are approved.")
    if state == "draft":
        _move(connection, version, "replayed", by=by, note="replayed before it was added", now=now)
    _move(connection, version, "enabled", by=by, note=note, now=now)
    before = in_force(moves, version.client_id, version.rule)
    if before and before != version.version:
        replaced = Version(version.client_id, version.rule, before)
        _move(connection, replaced, "retired", by=by, note=f"replaced by {version.version}", now=now)


def pause(connection: Connection, client_id: str, rule: str, *, by: str, note: str, now: datetime) -> Version:
    """Emit nothing of this rule until it is resumed. For a client without a version of its own: the house's, as far as this
    client goes."""
    return _pause_or_resume(connection, client_id, rule, "paused", by=by, note=note, now=now)


def resume(connection: Connection, client_id: str, rule: str, *, by: str, note: str, now: datetime) -> Version:
    return _pause_or_resume(connection, client_id, rule, "enabled", by=by, note=note, now=now)


def retire(connection: Connection, version: Version, *, by: str, note: str, now: datetime) -> None:
    """Let nobody new into a version. Leads in flight finish, unless it was paused before. A client's own gives way to the
    house's again."""
    _one_at_a_time(connection)
    _known_state(connection, version)
    _move(connection, version, "retired", by=by, note=note, now=now)


def roll_back(connection: Connection, client_id: str, rule: str, *, by: str, note: str, now: datetime) -> Version:
    """Enable the version that was enabled before the one in force; a client's first gives way to the house's. Returns what is
    in force now."""
    _one_at_a_time(connection)
    moves = moves_of(connection, rule)
    current = in_force(moves, client_id, rule)
    if current is None:
        raise NotAllowed(
            f"No version of {rule} is enabled{_for_client(client_id)}, so there is nothing to go back from."
        )
    earlier = [
        move.version
        for move in moves
        if move.client_id == client_id and move.state == "enabled" and move.version not in (current, HOUSES_VERSION)
    ]
    if earlier:
        back = Version(client_id, rule, earlier[-1])
        enable(connection, back, by=by, note=note or f"rolled back from {current}", now=now)
        return back
    houses = in_force(moves, HOUSE, rule) if client_id else None
    if houses is None:
        raise NotAllowed(f"{rule}@{current} is the first version that was enabled; pause or retire it instead.")
    retire(connection, Version(client_id, rule, current), by=by, note=note or "rolled back to the house's", now=now)
    return Version(HOUSE, rule, houses)


# ---- how moves are made ----


def _pause_or_resume(
    connection: Connection, client_id: str, rule: str, to: State, *, by: str, note: str, now: datetime
) -> Version:
    _one_at_a_time(connection)
    moves = moves_of(connection, rule)
    own, houses = in_force(moves, client_id, rule), in_force(moves, HOUSE, rule)
    whose, in_use = (client_id, own) if own else (HOUSE, houses)
    if in_use is None:
        raise NotAllowed(f"No version of {rule} is enabled{_for_client(client_id)}.")
    version = Version(whose, rule, in_use)
    if whose == client_id:
        state = _known_state(connection, version)
    else:  # the client's own word on the house's rule
        said = [move.state for move in moves if (move.client_id, move.version) == (client_id, HOUSES_VERSION)]
        state = "paused" if said and said[-1] == "paused" else "enabled"
    if state == to:
        raise NotAllowed(
            f"{version} is {'not paused' if to == 'enabled' else 'paused already'}{_for_client(client_id)}."
        )
    if to == "enabled":
        _check_templates(connection, version, [client_id])
    if whose == client_id:
        _move(connection, version, to, by=by, note=note, now=now)
    else:
        _note(connection, Version(client_id, rule, HOUSES_VERSION), to, by=by, note=note, now=now)
    return version


def _check_templates(connection: Connection, version: Version, served: Iterable[str]) -> None:
    """Every step's words are approved, and fit it, for everybody whom this version serves."""
    rule = rule_contents(connection)[(version.client_id, version.rule, version.version)]
    log, kept = TemplateLog.read(connection), templates_kept(connection)
    lacking: list[str] = []
    wrong: list[str] = []
    for step in rule.steps:
        if log.in_use(version.client_id, step.template) is None:
            lacking.append(step.template)
        for whose in {HOUSE, *served}:
            if approved := log.approved(whose, step.template):
                wrong += objections_to_template(rule, step, kept[(whose, step.template, approved[-1])])
    if lacking:
        names = " ".join(dict.fromkeys(lacking))
        raise NotAllowed(
            f"{version} uses templates of which no version is approved: {names}. "
            f"Have somebody read them: `leadtrail templates approve {names}{_for(version)} --by …`."
        )
    if wrong:
        raise NotAllowed(f"{version} cannot be enabled: {'; '.join(dict.fromkeys(wrong))}.")


def _has_newer_templates(connection: Connection, version: Version, served: Iterable[str], moves: list[Move]) -> bool:
    rule = rule_contents(connection)[(version.client_id, version.rule, version.version)]
    log = TemplateLog.read(connection)
    mine = [move.at for move in moves if (move.client_id, move.version) == (version.client_id, version.version)]
    enabled_at = max(mine)
    return any(
        log.in_use(client_id, step.template) != log.in_use(client_id, step.template, at=enabled_at)
        for client_id in served
        for step in rule.steps
    )


def _move(connection: Connection, version: Version, to: State, *, by: str, note: str, now: datetime) -> None:
    state = _known_state(connection, version)
    if state not in ALLOWED[to]:
        raise NotAllowed(f"{version} is {state}; it can become {to} only from {' or '.join(ALLOWED[to])}.")
    _note(connection, version, to, by=by, note=note, now=now)


def _known_state(connection: Connection, version: Version) -> State:
    state = state_of(connection, version)
    if state is None:
        raise NotAllowed(f"There is no {version}. `leadtrail rules list` shows what there is.")
    return state


def _note(connection: Connection, version: Version, state: State, *, by: str, note: str, now: datetime) -> None:
    what = {"client_id": version.client_id, "rule": version.rule, "version": version.version}
    connection.execute(insert(rule_states), {**what, "state": state, "at": stamp(now), "by": by, "note": note})
    audit.note(connection, by, f"rule.{state}", str(version), {"note": note}, now)


def _one_at_a_time(connection: Connection) -> None:
    """Two people who move the same rule do so one after the other. SQLite's transactions do anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(7412)"))


def _for(version: Version) -> str:
    return f" --client {version.client_id}" if version.client_id else ""


def _for_client(client_id: str) -> str:
    return f" for {client_id}" if client_id else ""
