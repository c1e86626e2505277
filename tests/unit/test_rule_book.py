"""The rule book: who may move a rule or a template where, what is in force when, and that nothing of it can be done quietly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from pipeline.follow_up import rule_book
from pipeline.follow_up.export import rule_rows
from pipeline.follow_up.intervals import HOUSE
from pipeline.follow_up.rule_file import Rule, RuleMistake
from pipeline.follow_up.shelves import DEFAULTS, read_shelf
from pipeline.follow_up.standing import Version, courses, moves_of, overview, rule_contents, states_of
from pipeline.follow_up.template_book import NotAllowed, TemplateLog, add_template, approve, withdraw
from pipeline.follow_up.template_file import Template
from pipeline.store import audit
from pipeline.store.schema import audit_log, rule_states

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def stamp(number: float) -> str:
    return hour(number).isoformat(timespec="microseconds")


def rule(after: int = 86400, **changes: object) -> Rule:
    said = {
        "rule": "quote",
        "title": "Remind of a quote",
        "trigger": "quote_sent",
        "steps": [
            {
                "id": "day-1",
                "after": f"{after}s",
                "channel": "text",
                "template": "reminder",
                "expires_after": "12h",
            }
        ],
        **changes,
    }
    return Rule.model_validate(said)


def words(body: str = "one", **changes: str) -> Template:
    said = {"name": "reminder", "channel": "text", "message_class": "informational", "subject": "", **changes}
    return Template(body=f"{{{{ business }}}} {body} {{{{ opt_out }}}}", **said)  # type: ignore[arg-type]


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        yield connection


def added(connection: Connection, one: Rule, client_id: str = HOUSE, at: float = 0) -> Version:
    rule_book.add_rule(connection, one, client_id=client_id, by="dana", now=hour(at))
    return Version(client_id, one.rule, one.version)


def approved(connection: Connection, one: Template, client_id: str = HOUSE, at: float = 0) -> Template:
    add_template(connection, one, client_id=client_id, by="dana", now=hour(at))
    approve(connection, client_id, one.name, one.version, by="lee", note="", now=hour(at))
    return one


def replayed(connection: Connection, version: Version, at: float = 0) -> Version:
    rule_book.note_replay(
        connection, version, from_at=hour(-999), to_at=hour(0), by="dana", summary={"due": 3}, now=hour(at)
    )
    return version


def enabled(connection: Connection, one: Rule, client_id: str = HOUSE, at: float = 0) -> Version:
    version = replayed(connection, added(connection, one, client_id, at), at)
    rule_book.enable(connection, version, by="dana", note="", now=hour(at))
    return version


def in_force(connection: Connection, client_id: str = "acme") -> list[tuple[str, str, str | None, str]]:
    rows = rule_rows(connection, [client_id]).rules
    return [(row["rule_version"], row["enabled_from"], row["enabled_until"], row["state"]) for row in rows]


def carried(connection: Connection, client_id: str = "acme") -> list[tuple[str, str]]:
    return [(row["rule_version"], row["template_version"]) for row in rule_rows(connection, [client_id]).steps]


# ---- states ----


def test_what_was_never_replayed_cannot_be_enabled(connection: Connection) -> None:
    version = added(connection, rule())
    approved(connection, words())
    with pytest.raises(NotAllowed, match=f"house/quote@{version.version} was never replayed"):
        rule_book.enable(connection, version, by="dana", note="", now=hour(1))
    replayed(connection, version)
    rule_book.enable(connection, version, by="dana", note="", now=hour(2))
    assert in_force(connection) == [(version.version, stamp(2), None, "enabled")]


def test_a_rule_whose_words_nobody_approved_cannot_be_enabled_and_they_are_named(connection: Connection) -> None:
    version = replayed(connection, added(connection, rule()))
    add_template(connection, words(), client_id=HOUSE, by="dana", now=hour(0))
    with pytest.raises(NotAllowed, match="no version is approved: reminder"):
        rule_book.enable(connection, version, by="dana", note="", now=hour(1))


def test_words_of_another_class_than_the_law_asks_for_cannot_be_enabled(connection: Connection) -> None:
    approved(connection, words())
    version = replayed(connection, added(connection, rule(trigger="silent_lead")))
    with pytest.raises(NotAllowed, match="advertised to, so it is promotional"):
        rule_book.enable(connection, version, by="dana", note="", now=hour(1))


def test_a_clients_own_words_are_checked_too_when_the_house_enables(connection: Connection) -> None:
    approved(connection, words())
    approved(connection, words(channel="email"), "acme")
    version = replayed(connection, added(connection, rule()))
    with pytest.raises(NotAllowed, match="is for email, the step is text"):
        rule_book.enable(connection, version, by="dana", note="", now=hour(1))


@pytest.mark.parametrize(
    ("start", "move", "said"),
    [
        ("draft", "paused", "No version of quote is enabled"),
        ("draft", "resumed", "No version of quote is enabled"),
        ("enabled", "resumed", "is not paused"),
        ("paused", "paused", "is paused already"),
        ("retired", "retired", "it can become retired only from draft or replayed or enabled or paused"),
        ("retired", "paused", "No version of quote is enabled"),
        ("enabled", "enabled", "is enabled already"),
        ("enabled", "rolled back", "is the first version that was enabled"),
    ],
)
def test_only_these_moves_are_allowed(connection: Connection, start: str, move: str, said: str) -> None:
    approved(connection, words())
    version = added(connection, rule())
    who = {"by": "dana", "note": "", "now": hour(5)}
    if start != "draft":
        rule_book.enable(connection, replayed(connection, version), by="dana", note="", now=hour(1))
    if start == "paused":
        rule_book.pause(connection, HOUSE, "quote", by="dana", note="", now=hour(2))
    if start == "retired":
        rule_book.retire(connection, version, by="dana", note="", now=hour(2))
    before = moves_of(connection)
    with pytest.raises(NotAllowed, match=said):
        {
            "paused": lambda: rule_book.pause(connection, HOUSE, "quote", **who),
            "resumed": lambda: rule_book.resume(connection, HOUSE, "quote", **who),
            "retired": lambda: rule_book.retire(connection, version, **who),
            "enabled": lambda: rule_book.enable(connection, version, **who),
            "rolled back": lambda: rule_book.roll_back(connection, HOUSE, "quote", **who),
        }[move]()
    assert moves_of(connection) == before


def test_every_move_has_who_when_and_why_and_a_sealed_row(engine: Engine) -> None:
    with engine.begin() as connection:
        approved(connection, words())
        version = enabled(connection, rule())
        rule_book.pause(connection, HOUSE, "quote", by="lee", note="typo", now=hour(1))
        rule_book.resume(connection, HOUSE, "quote", by="dana", note="mended", now=hour(2))
        rule_book.retire(connection, version, by="dana", note="over", now=hour(3))
        moves = moves_of(connection)
        sealed = connection.execute(select(audit_log).order_by(audit_log.c.seq)).mappings().all()
    assert [(one.state, one.by, one.note) for one in moves] == [
        ("draft", "dana", ""),
        ("replayed", "dana", "2026-01-18 to 2026-03-01"),
        ("enabled", "dana", ""),
        ("paused", "lee", "typo"),
        ("enabled", "dana", "mended"),
        ("retired", "dana", "over"),
    ]
    told = [(one["action"], one["actor"], one["at"], json.loads(one["detail"])["note"]) for one in sealed]
    assert [one for one in told if one[0].startswith("rule.")] == [
        (f"rule.{one.state}", one.by, one.at, one.note) for one in moves
    ]
    assert audit.verify(engine)[1] is None


def test_a_move_that_fails_half_way_leaves_neither_row(engine: Engine) -> None:
    with engine.begin() as connection:
        approved(connection, words())
        first = enabled(connection, rule())
        second = replayed(connection, added(connection, rule(90000), at=1))

    def enable_and_die() -> None:
        with engine.begin() as connection:
            rule_book.enable(connection, second, by="dana", note="", now=hour(2))
            raise KeyError

    with pytest.raises(KeyError):
        enable_and_die()
    with engine.connect() as connection:
        assert in_force(connection) == [(first.version, stamp(0), None, "enabled")]
        assert connection.execute(select(rule_states.c.seq).where(rule_states.c.at == stamp(2))).first() is None
    assert audit.verify(engine)[1] is None


def test_of_versions_enabled_at_once_one_is_in_force_and_the_log_holds(engine: Engine) -> None:
    with engine.begin() as connection:
        approved(connection, words())
        versions = [replayed(connection, added(connection, rule(86400 + number))) for number in range(6)]
    start = threading.Barrier(len(versions))

    def go(version: Version) -> None:
        start.wait()
        with engine.begin() as connection:
            rule_book.enable(connection, version, by="dana", note="", now=hour(1))

    with ThreadPoolExecutor(len(versions)) as pool:
        list(pool.map(go, versions))
    with engine.connect() as connection:
        states = states_of(moves_of(connection), HOUSE, "quote")
    assert sorted(states.values()) == ["enabled"] + ["retired"] * 5
    assert audit.verify(engine)[1] is None


# ---- which version is in force ----


def test_enabling_a_version_ends_the_interval_of_the_one_before(connection: Connection) -> None:
    approved(connection, words())
    first = enabled(connection, rule())
    second = enabled(connection, rule(90000), at=5)
    assert in_force(connection) == [
        (first.version, stamp(0), stamp(5), "enabled"),
        (second.version, stamp(5), None, "enabled"),
    ]


def test_a_rollback_brings_back_the_version_enabled_before(connection: Connection) -> None:
    approved(connection, words())
    first, second = enabled(connection, rule()), enabled(connection, rule(90000), at=5)
    assert rule_book.roll_back(connection, HOUSE, "quote", by="dana", note="", now=hour(7)) == first
    assert in_force(connection) == [
        (first.version, stamp(0), stamp(5), "enabled"),
        (second.version, stamp(5), stamp(7), "enabled"),
        (first.version, stamp(7), None, "enabled"),
    ]
    assert len(rule_rows(connection, ["acme"]).steps) == 2, "a version's steps stand once, however often it was enabled"


def test_a_pause_ends_no_interval_and_shows_in_every_row(connection: Connection) -> None:
    approved(connection, words())
    version = enabled(connection, rule())
    rule_book.pause(connection, HOUSE, "quote", by="dana", note="", now=hour(1))
    assert in_force(connection) == [(version.version, stamp(0), None, "paused")]
    rule_book.resume(connection, HOUSE, "quote", by="dana", note="", now=hour(2))
    assert in_force(connection) == [(version.version, stamp(0), None, "enabled")]


def silent(connection: Connection, client_id: str = "acme") -> set[str]:
    course = courses(moves_of(connection), client_id)["quote"]
    return {one.version for one in course.intervals if course.is_silent(one.version)}


def test_leads_in_flight_finish_on_a_version_that_was_replaced_but_not_on_one_that_was_paused_first(
    connection: Connection,
) -> None:
    approved(connection, words())
    first = enabled(connection, rule())
    second = enabled(connection, rule(90000), at=1)
    assert silent(connection) == set()
    rule_book.pause(connection, HOUSE, "quote", by="dana", note="wrong words", now=hour(2))
    assert silent(connection) == {first.version, second.version}, "a pause is of the whole rule"
    rule_book.roll_back(connection, HOUSE, "quote", by="dana", note="", now=hour(3))
    assert silent(connection) == {second.version}
    rule_book.enable(connection, second, by="dana", note="", now=hour(4))
    assert silent(connection) == set()


def test_leads_in_flight_stay_silent_when_a_paused_rule_is_retired_or_left_for_ones_own(
    connection: Connection,
) -> None:
    approved(connection, words())
    house = enabled(connection, rule())
    rule_book.pause(connection, "acme", "quote", by="dana", note="", now=hour(1))
    own = enabled(connection, rule(90000), "acme", at=2)
    assert silent(connection) == {house.version}
    rule_book.pause(connection, "acme", "quote", by="dana", note="", now=hour(3))
    rule_book.retire(connection, own, by="dana", note="", now=hour(4))
    rule_book.resume(connection, "acme", "quote", by="dana", note="", now=hour(5))
    assert silent(connection) == {own.version}
    assert silent(connection, "other") == set()


def test_a_retired_rule_takes_nobody_in_any_more(connection: Connection) -> None:
    approved(connection, words())
    version = enabled(connection, rule())
    rule_book.retire(connection, version, by="dana", note="", now=hour(1))
    assert in_force(connection) == [(version.version, stamp(0), stamp(1), "retired")]


def test_a_clients_own_rule_takes_the_houses_place_once_it_is_enabled_and_gives_it_back(connection: Connection) -> None:
    approved(connection, words())
    house = enabled(connection, rule())
    own = replayed(connection, added(connection, rule(90000), "acme", at=1), at=1)
    assert in_force(connection) == [(house.version, stamp(0), None, "enabled")], "a draft overrides nothing"
    rule_book.enable(connection, own, by="dana", note="", now=hour(3))
    assert in_force(connection) == [
        (house.version, stamp(0), stamp(3), "enabled"),
        (own.version, stamp(3), None, "enabled"),
    ]
    assert in_force(connection, "other") == [(house.version, stamp(0), None, "enabled")]
    rule_book.pause(connection, "acme", "quote", by="dana", note="", now=hour(4))
    assert {row[3] for row in in_force(connection)} == {"paused"}, "the house's does not step in for a paused one"
    assert rule_book.roll_back(connection, "acme", "quote", by="dana", note="", now=hour(5)) == house
    assert in_force(connection)[-1] == (house.version, stamp(5), None, "enabled")


def test_a_client_can_leave_the_houses_rule_and_come_back(connection: Connection) -> None:
    approved(connection, words())
    house = enabled(connection, rule())
    rule_book.pause(connection, "acme", "quote", by="dana", note="", now=hour(1))
    assert in_force(connection) == [(house.version, stamp(0), None, "paused")]
    assert in_force(connection, "other") == [(house.version, stamp(0), None, "enabled")]
    with pytest.raises(NotAllowed, match="paused already for acme"):
        rule_book.pause(connection, "acme", "quote", by="dana", note="", now=hour(1))
    rule_book.resume(connection, "acme", "quote", by="dana", note="", now=hour(2))
    assert in_force(connection) == [(house.version, stamp(0), None, "enabled")]


def test_the_list_of_rules_says_how_each_stands_for_the_house_and_for_a_client(connection: Connection) -> None:
    def listed(client_id: str = HOUSE) -> list[tuple[str, str, str]]:
        return [(one["whose"], one["state"], one["version"]) for one in overview(connection, client_id)]

    approved(connection, words())
    house = enabled(connection, rule()).version
    draft = added(connection, rule(90000), at=1).version
    assert overview(connection)[0]["waiting"] == [{"version": draft, "state": "draft"}]
    rule_book.pause(connection, "left", "quote", by="dana", note="", now=hour(2))
    own = enabled(connection, rule(80000), "own", at=3).version
    assert listed() == [("", "enabled", house), ("left", "paused", ""), ("own", "enabled", own)]
    assert listed("left") == [("", "paused", house)]
    assert listed("own") == [("", "replaced", house), ("own", "enabled", own)]
    assert listed("other") == [("", "enabled", house)]


# ---- words ----


def test_who_wrote_a_template_cannot_approve_it_however_they_spell_themselves(connection: Connection) -> None:
    one = words()
    add_template(connection, one, client_id=HOUSE, by="dana", now=hour(0))
    with pytest.raises(NotAllowed, match="cannot approve"):
        approve(connection, HOUSE, "reminder", one.version, by=" Dana", note="", now=hour(1))
    assert TemplateLog.read(connection).approved(HOUSE, "reminder") == []
    approve(connection, HOUSE, "reminder", one.version, by="lee", note="", now=hour(1))
    assert TemplateLog.read(connection).approved(HOUSE, "reminder") == [one.version]


def test_leads_in_flight_keep_the_words_that_were_approved_when_their_version_was_enabled(
    connection: Connection,
) -> None:
    old = approved(connection, words("one"))
    first = enabled(connection, rule(), at=1)
    new = approved(connection, words("two"), at=2)
    assert carried(connection) == [(first.version, old.version)], "an approval alone changes nothing"
    second = enabled(connection, rule(90000), at=3)
    assert carried(connection) == [(first.version, old.version), (second.version, new.version)]


def test_enabling_again_takes_up_newly_approved_words(connection: Connection) -> None:
    approved(connection, words("one"))
    version = enabled(connection, rule(), at=1)
    new = approved(connection, words("two"), at=2)
    rule_book.enable(connection, version, by="dana", note="new words", now=hour(3))
    assert carried(connection) == [(version.version, new.version)]
    assert in_force(connection) == [(version.version, stamp(1), None, "enabled")]


def test_withdrawn_words_are_not_taken_up_again(connection: Connection) -> None:
    old = approved(connection, words("one"))
    first = enabled(connection, rule(), at=1)
    new = approved(connection, words("two"), at=2)
    enabled(connection, rule(90000), at=3)
    withdraw(connection, HOUSE, "reminder", new.version, by="lee", note="wrong", now=hour(4))
    rule_book.roll_back(connection, HOUSE, "quote", by="dana", note="", now=hour(5))
    assert dict(carried(connection))[first.version] == old.version


def test_a_clients_own_words_go_with_the_houses_rule_once_they_are_taken_up(connection: Connection) -> None:
    house = approved(connection, words("one"))
    version = enabled(connection, rule(), at=1)
    own = approved(connection, words("ours"), "acme", at=2)
    assert carried(connection) == [(version.version, house.version)]
    rule_book.enable(connection, version, by="dana", note="", now=hour(3))
    assert carried(connection) == [(version.version, own.version)]
    assert carried(connection, "other") == [(version.version, house.version)]


# ---- what is shipped, and what people write ----


def test_the_same_content_is_added_once(connection: Connection) -> None:
    assert rule_book.add_rule(connection, rule(), client_id=HOUSE, by="dana", now=hour(0))
    assert not rule_book.add_rule(connection, rule(), client_id=HOUSE, by="lee", now=hour(1))
    assert [one.state for one in moves_of(connection)] == ["draft"]


def test_a_rule_comes_back_from_the_store_as_it_was_written(connection: Connection) -> None:
    for one in read_shelf(DEFAULTS).rules.values():
        version = added(connection, one)
        kept = rule_contents(connection)[(HOUSE, one.rule, version.version)]
        assert kept == one
        assert kept.version == one.version


def test_the_defaults_break_no_law_of_ours(connection: Connection) -> None:
    shelf = read_shelf(DEFAULTS)
    for template in shelf.templates.values():
        approved(connection, template)
    for one in shelf.rules.values():
        enabled(connection, one)
    assert len(rule_rows(connection, ["acme", "other"]).rules) == 2 * len(shelf.rules)


QUOTE = """\
rule: quote
title: Remind of a quote
trigger: quote_sent
steps:
  - {id: day-1, after: 1d, channel: text, template: reminder, expires_after: 12h}
"""


def step(name: str, after: str, channel: str = "text", **more: str) -> str:
    said = {"id": name, "after": after, "channel": channel, "template": "reminder", "expires_after": "12h", **more}
    return f"  - {{{', '.join(f'{key}: {value}' for key, value in said.items())}}}"


def steps(*lines: str) -> tuple[str, str]:
    return "steps:\n", "\n".join(["steps:", *lines, ""])


def instead(*lines: str) -> tuple[str, str]:
    return "trigger: quote_sent", "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            instead("trigger: quote_sent", "stops_on: [reply, opt_out]"),
            "4: a rule that sends messages stops on wrong_n",
        ),
        (instead("trigger: quote_sent", "stops_on: [opt_out, wrong_number]"), "4: a sequence stops on reply"),
        (instead("trigger: quote_sent", "applies_when:", "  after_joining: false"), "5: nobody is written to about"),
        (instead("trigger: job_paid", "applies_when:", "  min_value_cents: 9"), "5: reviews are asked of everybody"),
        (instead("trigger: job_paid", "states: [TX]"), "4: reviews are asked of everybody"),
        (instead("trigger: quote_sent", "states: [TX, Texas]"), "4: Texas is no US state"),
        (instead("trigger: client_joined", "states: [TX]"), "4: client_joined happens to a client"),
        (instead("trigger: missed_call", "once_per: event"), "4: however often they call, one text a day"),
        (instead("trigger: urgent_lead"), "5: an urgent lead gets a task first"),
        (steps(step("one", "1h", priority="urgent")), "5: urgent is for tasks"),
        (steps(step("one", "23h")), "6: after the first day, at most one text a day"),
        (steps(*(step(f"a{i}", "1h", "email") for i in range(4))), "8: more than 3 messages in 24 hours"),
        (steps(*(step(f"a{i}", f"{3 * i}h", "email") for i in range(8))), "4: 9 messages are too many"),
    ],
)
def test_nobodys_rule_is_looser_than_the_law_and_the_line_is_named(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    (tmp_path / "quote.yaml").write_text(QUOTE)
    read_shelf(tmp_path)
    (tmp_path / "quote.yaml").write_text(QUOTE.replace(*change))
    with pytest.raises(RuleMistake) as caught:
        read_shelf(tmp_path)
    assert f"quote.yaml:{said}" in str(caught.value)


def test_a_clients_rule_hangs_on_the_same_trigger_as_the_houses(tmp_path: Path) -> None:
    path = tmp_path / "quote.yaml"
    path.write_text(QUOTE.replace("quote_sent", "quote_expiring"))
    with pytest.raises(RuleMistake, match=r"quote.yaml:3: the house's quote is set off by quote_sent"):
        read_shelf(path, in_place_of={"quote": rule()})


def test_a_rule_without_fitting_words_is_refused_at_the_line_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "quote.yaml").write_text(QUOTE)
    with pytest.raises(RuleMistake, match=r"quote.yaml:5: there is no template reminder"):
        read_shelf(tmp_path).check_words({}.get)
    with pytest.raises(RuleMistake, match=r"quote.yaml:5: template reminder is for email, the step is text"):
        read_shelf(tmp_path).check_words({"reminder": words(channel="email")}.get)
    read_shelf(tmp_path).check_words({"reminder": words()}.get)
    read_shelf(DEFAULTS).check_words({}.get)


def test_all_mistakes_of_a_folder_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(QUOTE.replace("after: 1d", "after: soon"))
    (tmp_path / "b.yaml").write_text(QUOTE.replace("trigger: quote_sent", "trigger: nothing"))
    (tmp_path / "c.liquid").write_text("no head")
    with pytest.raises(RuleMistake) as caught:
        read_shelf(tmp_path)
    assert [line.split("/")[-1].split(":")[0] for line in str(caught.value).splitlines()] == [
        "a.yaml",
        "b.yaml",
        "c.liquid",
    ]
