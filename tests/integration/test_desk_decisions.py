"""What a decision on the desk does: the same as the command for it, by the person who is signed in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from pipeline.client_safe import review
from pipeline.client_safe.document import Finding
from pipeline.follow_up import rule_book, template_book
from pipeline.follow_up.deliver import deliver
from pipeline.follow_up.detect import detect_holds
from pipeline.follow_up.standing import Standing
from pipeline.store.accounts import add_account
from pipeline.store.schema import (
    accounts,
    audit_log,
    holds,
    incidents,
    outputs,
    publications,
    summaries,
    suppressions,
)
from tests.conftest import Served
from tests.desk_world import CANARY, MINE, ORIGIN, OTHERS, PASSWORD, World, a_draft, enqueue_many, make_world
from tests.follow_up_sandbox import CONTACT, House, house


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def rows(world: World, table: Any, **named: str) -> list[Any]:
    with world.office.engine.connect() as connection:
        return list(
            connection.execute(
                select(table).where(*(table.c[name] == value for name, value in named.items()))
            ).mappings()
        )


def audited(world: World, action: str) -> list[str]:
    return [row["actor"] for row in rows(world, audit_log, action=action)]


def test_a_task_is_taken_up_by_who_says_so(world: World) -> None:
    browser, ids = world.browser("client_success@ridgeline"), world.ids[MINE]
    assert "Call them back" in browser.get("/").text
    answer = world.post(browser, f"/outputs/{ids['output_id']}/take-up", **{"from": "today"})
    assert answer.headers["location"].startswith("/?done=")
    assert rows(world, outputs, output_id=ids["output_id"])[0]["acknowledged_at"]
    assert audited(world, "output.acknowledged") == [world.accounts["client_success@ridgeline"].email]


def test_what_nobody_knows_of_is_told_by_a_person(world: World) -> None:
    browser, output_id = world.browser("client_success"), world.ids[MINE]["unknown_id"]
    world.post(browser, f"/outputs/{output_id}/resolve", arrived="yes")
    assert rows(world, outputs, output_id=output_id)[0]["status"] == "delivered"
    assert "not there" not in browser.get(f"/outputs/{output_id}").text


def test_a_hold_ends_with_a_reason_only(world: World) -> None:
    browser, hold_id = world.browser("client_success"), world.ids[MINE]["hold_id"]
    assert world.post(browser, f"/holds/{hold_id}/clear").status_code == 400
    assert rows(world, holds, hold_id=hold_id)[0]["open_key"]
    assert world.post(browser, f"/holds/{hold_id}/clear", why="It is registered now.").status_code == 303
    ended = rows(world, holds, hold_id=hold_id)[0]
    assert (ended["open_key"], ended["cleared_by"]) == (None, world.accounts["client_success"].email)
    assert "It is registered now." in browser.get(f"/holds/{hold_id}").text


def test_an_incident_is_resolved_and_words_that_may_mean_stop_are_decided_on(world: World) -> None:
    browser, ids = world.browser("client_success"), world.ids[MINE]
    world.post(browser, f"/incidents/{ids['incident_id']}/resolve")
    assert rows(world, incidents, incident_id=ids["incident_id"])[0]["resolved_by"]
    said = {"address": f"{MINE}@stop.example", "channel": "email"}
    world.post(browser, f"/clients/{MINE}/opt-outs", decision="confirm", **said)
    assert rows(world, suppressions, **said)[0]["state"] == "standing"


def test_a_rule_is_not_enabled_before_it_was_replayed_and_its_words_approved(world: World) -> None:
    browser, rule = world.browser("client_success"), world.ids[MINE]["rule"]
    refused = world.post(browser, f"/rules/house/{rule}/enable", why="go")
    assert refused.status_code == 409
    assert "never replayed" in refused.text
    assert world.post(browser, f"/rules/house/{rule}/replay", **{"from": "x", "to": "y"}).status_code == 400


def test_the_houses_rule_is_paused_for_a_client_by_who_sees_that_client(world: World) -> None:
    rule = world.ids[MINE]["rule"]
    with world.office.engine.begin() as connection:
        which = Standing.read(connection).find_version("", rule)
        for step in Standing.read(connection).rule_of(which).steps:
            version = template_book.find_version(connection, "", step.template)
            template_book.approve(connection, "", step.template, version, by="x@agency.example", note="", now=world.now)
        told: dict[str, Any] = {"clients": [MINE, OTHERS], "by_client": {OTHERS: 977}, "lacking": ["CANARY"]}
        replayed = {"from_at": world.now, "to_at": world.now, "by": "x@agency.example", "now": world.now}
        rule_book.note_replay(connection, which, summary=told, **replayed)
        rule_book.enable(connection, which, by="x@agency.example", note="", now=world.now)
    browser = world.browser("client_success@ridgeline")
    assert "CANARY" not in browser.get(f"/rules/house/{rule}").text  # a replay over clients whom they do not see
    path = f"/rules/house/{rule}/pause"
    assert world.post(browser, path, client=OTHERS, why="x").status_code == 404
    assert world.post(browser, path, why="for everybody").status_code == 404
    assert world.post(browser, path, client=MINE, why="They are closed this week.").status_code == 303
    page = browser.get(f"/rules/house/{rule}").text
    assert "Ridgeline Plumbing (paused)" in page
    assert "They are closed this week." in page


def test_words_are_approved_by_somebody_else(world: World) -> None:
    browser, template = world.browser("client_success"), world.ids[MINE]["template"]
    answer = world.post(browser, f"/templates/{MINE}/{template}/approve", why="reads well")
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "in use" in page
    assert world.accounts["client_success"].email in page
    assert world.post(browser, f"/templates/{MINE}/{template}/approve").status_code == 409


# ---- review ----


def test_a_version_is_approved_as_it_was_shown_undone_and_rejected(world: World) -> None:
    browser, summary_id = world.browser("client_success@ridgeline"), world.ids[MINE]["summary_id"]
    path = f"/summaries/{summary_id}"
    page = browser.get(path).text
    shown = rows(world, summaries, summary_id=summary_id)[0]["bound_hash"]
    assert shown in page
    assert 'class="figure" href="/summaries/' in page
    assert "2026-09 in short" in page  # against the last approved one
    assert world.post(browser, f"{path}/approve", bound_hash="another").status_code == 409
    assert world.post(browser, f"{path}/approve", bound_hash=shown).status_code == 303
    assert rows(world, summaries, summary_id=summary_id)[0]["status"] == "approved"
    world.post(browser, f"{path}/undo")
    assert world.post(browser, f"{path}/reject").status_code == 409  # without a reason
    world.post(browser, f"{path}/comment", why="Is the number of calls right?")
    assert world.post(browser, f"{path}/reject", why="Too dry.").status_code == 303
    page = browser.get(path).text
    for said in ("Is the number of calls right?", "Too dry.", world.accounts["client_success@ridgeline"].email):
        assert said in page


def test_an_edit_is_a_new_version_that_its_author_cannot_approve(world: World) -> None:
    browser, path = world.browser("client_success"), f"/summaries/{world.ids[MINE]['summary_id']}"
    form = {"title": "October", "opening": "Well.", "heading-0": "What came in", "lines-0": "131 calls came in."}
    answer = world.post(browser, f"{path}/edit", **form)
    assert answer.status_code == 303, answer.text
    new = answer.headers["location"].partition("?")[0]
    assert new != path
    row = rows(world, summaries, summary_id=new.rpartition("/")[2])[0]
    assert row["author"] == world.accounts["client_success"].email
    assert "You wrote this version" in browser.get(new).text
    assert world.post(browser, f"{new}/approve", bound_hash=row["bound_hash"]).status_code == 409
    other = world.browser("admin")
    assert world.post(other, f"{new}/approve", bound_hash=row["bound_hash"]).status_code == 303


def test_an_edit_that_names_a_number_which_is_no_figure_is_blocked(world: World) -> None:
    browser, path = world.browser("client_success"), f"/summaries/{world.ids[MINE]['summary_id']}"
    form = {"title": "October", "opening": "Well.", "heading-0": "What came in", "lines-0": "977 calls came in."}
    new = world.post(browser, f"{path}/edit", **form).headers["location"].partition("?")[0]
    assert rows(world, summaries, summary_id=new.rpartition("/")[2])[0]["status"] == "blocked"


def test_what_was_found_is_cleared_with_a_reason_and_then_it_can_be_approved(world: World) -> None:
    found = Finding("personal_data", "section 1, line 1", "looks like a name", "C•••")
    summary_id = review.propose(world.office.engine, a_draft(MINE, "2026-08-01", findings=(found,)), now=world.now)
    browser, path = world.browser("client_success"), f"/summaries/{summary_id}"
    assert "It is no personal data" in browser.get(path).text
    bound = rows(world, summaries, summary_id=summary_id)[0]["bound_hash"]
    assert world.post(browser, f"{path}/approve", bound_hash=bound).status_code == 409
    world.post(browser, f"{path}/clear", finding=found.finding_id, why="A street of the town.")
    assert world.post(browser, f"{path}/approve", bound_hash=bound).status_code == 303


def test_a_publication_is_revoked_with_words_for_the_client(world: World) -> None:
    browser, publication_id = world.browser("client_success"), world.ids[MINE]["publication_id"]
    assert world.post(browser, f"/publications/{publication_id}/revoke").status_code == 409
    assert world.post(browser, f"/publications/{publication_id}/revoke", why="A figure was wrong.").status_code == 303
    row = rows(world, publications, publication_id=publication_id)[0]
    assert (row["status"], row["reason"]) == ("revoked", "A figure was wrong.")
    assert review.publish_due(world.office.engine, now=world.now) == []


def test_the_audit_page_shows_who_did_what_and_whether_the_log_holds(world: World) -> None:
    browser = world.browser("admin")
    assert "hold.opened" in browser.get("/audit").text
    assert "The log holds" in world.post(browser, "/audit/verify").text
    with world.office.engine.begin() as connection:
        connection.execute(audit_log.update().where(audit_log.c.seq == 3).values(actor="somebody else"))
    told = world.post(browser, "/audit/verify").text
    assert "does not hold" in told
    assert "Row 3" in told


def test_lists_are_paged(world: World) -> None:
    enqueue_many(world, MINE, 120)
    browser = world.browser("analyst@ridgeline")
    pages = [browser.get("/outputs", params={"page": number}).text for number in (1, 2, 3)]
    seen = [set(re.findall(r"/outputs/(\w{32})", page)) for page in pages]
    assert [len(one) for one in seen] == [50, 50, 22]
    assert len(set().union(*seen)) == 122
    assert "Older" in pages[0]
    assert "Older" not in pages[2]
    for odd in ("0", "-1", "x", "99999999999", "²"):
        assert browser.get("/outputs", params={"page": odd}).status_code == 200


# ---- accounts ----


def test_an_admin_adds_an_account_sets_its_password_and_disables_it(world: World) -> None:
    admin, typed = world.browser("admin"), "a lantern in the shed"
    answer = world.post(
        admin, "/accounts", email="Kim@agency.example", name="Kim", role="analyst", client=MINE, password=PASSWORD
    )
    assert answer.headers["location"] == "/accounts?done=account-added"
    page = admin.get("/accounts").text
    assert "kim@agency.example" in page
    assert PASSWORD not in page
    [kim] = rows(world, accounts, email="kim@agency.example")
    assert json.loads(kim["clients"]) == [MINE]

    signed_in = world.browser()
    assert signed_in.post("/sign-in", data={"email": "kim@agency.example", "password": PASSWORD}).status_code == 303
    assert world.post(admin, f"/accounts/{kim['account_id']}/password", password="short").status_code == 409
    assert world.post(admin, f"/accounts/{kim['account_id']}/password", password=typed).status_code == 303
    assert signed_in.get("/").headers["location"] == "/sign-in", "the old password's sessions are over"
    again = world.browser()
    assert again.post("/sign-in", data={"email": "kim@agency.example", "password": typed}).status_code == 303

    assert world.post(admin, f"/accounts/{kim['account_id']}/disable").status_code == 303
    assert again.get("/").headers["location"] == "/sign-in"
    by = world.accounts["admin"].email
    with world.office.engine.connect() as connection:
        told = connection.execute(
            select(audit_log.c.action, audit_log.c.actor, audit_log.c.detail).where(
                audit_log.c.subject == "kim@agency.example", audit_log.c.actor == by
            )
        ).all()
    assert [one.action for one in told] == ["account.added", "account.password_set", "account.disabled"]
    assert not any(typed in one.detail or PASSWORD in one.detail for one in told)


def test_nobody_disables_their_own_account_and_a_form_of_another_session_changes_none(world: World) -> None:
    admin, before = world.browser("admin"), world.everything()
    assert world.post(admin, f"/accounts/{world.accounts['admin'].account_id}/disable").status_code == 400
    other = world.ids[MINE]["account_id"]
    assert admin.post(f"/accounts/{other}/disable", data={"csrf": "another"}).status_code == 400
    assert world.post(admin, "/accounts", email="no address", role="analyst").status_code == 409
    assert world.post(admin, "/accounts", email="new@agency.example", role="owner").status_code == 409
    assert world.everything() == before


# ---- a hold by hand ----


def test_a_hold_that_a_person_opens_says_why_whose_it_is_and_how_it_resumes(world: World) -> None:
    browser, by = world.browser("client_success@ridgeline"), world.accounts["client_success@ridgeline"].email
    path = f"/clients/{MINE}/hold"
    assert "everything" in browser.get(path).text
    given = {
        "cause": "privacy",
        "scope": "email",
        "why": "A mail went to a stranger.",
        "owner": "nicole@agency.example",
    }
    assert world.post(browser, path, **given).status_code == 400, "it says how it resumes, or is none"
    assert world.post(browser, path, **{**given, "scope": "pigeons", "resumes": "x"}).status_code == 400
    answer = world.post(browser, path, **given, resumes="Nicole has read the list.")
    [hold] = rows(world, holds, open_key=f"{MINE}|email|privacy")
    assert answer.headers["location"] == f"/holds/{hold['hold_id']}?done=hold-opened"
    assert (hold["opened_by"], hold["owner"], hold["recovery_rule"], hold["evidence"]) == (
        by, "nicole@agency.example", "Nicole has read the list.", "A mail went to a stranger.",
    )  # fmt: skip
    assert audited(world, "hold.opened")[-1] == by
    assert rows(world, incidents, open_key=f"{MINE}|hold:email:privacy")
    again = world.post(browser, path, **given, resumes="Somebody else's words.")
    assert again.headers["location"] == f"/holds/{hold['hold_id']}?done=hold-stood"
    assert detect_holds(world.office, now=world.now + timedelta(days=2)).cleared == [], "only a person ends it"


# ---- a change of a CRM contact ----


@pytest.fixture
def in_crm(tmp_path: Path, serve: Callable[..., Served]) -> tuple[House, World]:
    """A client whose CRM is the sandbox's, over HTTP."""
    agency = house(tmp_path / "home", serve, None)
    agency.home.environ["LEADTRAIL_DESK_URL"] = ORIGIN
    world = World(agency.home.office, datetime.now(UTC))
    with world.office.engine.begin() as connection:
        world.accounts["staff"] = add_account(
            connection,
            "staff@agency.example",
            name="Staff",
            role="client_success",
            clients=[MINE],
            by="test",
            now=world.now,
        )
    return agency, world


def test_a_handoff_is_queued_only_after_just_that_change_was_seen(in_crm: tuple[House, World]) -> None:
    agency, world = in_crm
    portal = agency.hubspot.portal(MINE)
    browser, path = world.browser("staff"), f"/clients/{MINE}/handoff"
    portal.edit("contacts", int(CONTACT), {"city": "Dallas"})
    assert browser.get(f"{path}?contact={CONTACT}").status_code == 200
    wanted = {"contact": CONTACT, "field-0": "city", "value-0": "Austin"}
    shown = world.post(browser, path, **wanted).text
    assert "<td>Dallas</td><td>Austin</td>" in shown
    assert rows(world, outputs) == [], "looking queues nothing"

    seen = re.search(r'name="seen" value="(\w+)"', shown)
    assert seen
    portal.edit("contacts", int(CONTACT), {"city": "Houston"})
    meanwhile = world.post(browser, path, **wanted, seen=seen[1]).text
    assert "has changed since you looked" in meanwhile
    assert rows(world, outputs) == []

    seen = re.search(r'name="seen" value="(\w+)"', meanwhile)
    assert seen
    gone = world.post(browser, path, **wanted, seen=seen[1])
    [queued] = rows(world, outputs)
    assert gone.headers["location"] == f"/outputs/{queued['output_id']}?done=handoff-planned"
    assert (queued["output_type"], queued["status"], queued["owner"]) == ("handoff", "pending", "staff@agency.example")
    assert json.loads(queued["payload"])["changes"] == [{"field": "city", "before": "Houston", "after": "Austin"}]
    assert "<td>Houston</td><td>Austin</td>" in browser.get(f"/outputs/{queued['output_id']}").text
    assert audited(world, "handoff.planned") == ["staff@agency.example"]
    agency.home.publish()
    deliver(agency.home.office)
    assert portal.values(portal.get("contacts", int(CONTACT)))["city"] == "Austin"


@pytest.mark.parametrize(
    "wanted",
    [
        {"contact": "../deals/1", "field-0": "city", "value-0": "Austin"},
        {"contact": CONTACT, "field-0": "City name", "value-0": "Austin"},
        {"contact": CONTACT},
    ],
)
def test_a_handoff_that_is_no_contacts_or_names_no_field_asks_the_crm_nothing(
    in_crm: tuple[House, World], wanted: dict[str, str]
) -> None:
    _, world = in_crm
    assert world.post(world.browser("staff"), f"/clients/{MINE}/handoff", **wanted).status_code == 400
    assert rows(world, outputs) == []


# ---- what a machine noted, and what a figure is made of ----


def test_what_a_model_noted_of_a_call_stands_beside_it_marked_as_a_machines_and_internal(world: World) -> None:
    page = world.browser("analyst@ridgeline").get(f"/leads/{MINE}/lead-{MINE}").text
    assert "AI draft · internal" in page
    assert "A new heater" in page
    assert "quote wanted" in page


def test_a_figure_shows_the_rows_it_was_counted_from_and_none_of_another_clients(world: World) -> None:
    at = world.now.astimezone(ZoneInfo("America/Chicago")) - timedelta(days=2)
    draft = a_draft(MINE, "2026-10-01")
    ids = [f"{MINE}|month|{at:%Y-%m}-01|missed_calls", f"{OTHERS}|month|{at:%Y-%m}-01|missed_calls", f"{MINE}|month|x"]
    figures = tuple(replace(draft.figures[0], figure_id=one) for one in ids)
    summary_id = review.propose(
        world.office.engine,
        replace(draft, period_start="2026-11-01", period_end="2026-12-01", figures=figures),
        now=world.now,
    )
    browser = world.browser("analyst")
    page, other, unknown = (browser.get(f"/summaries/{summary_id}/figures/{quote(one, safe='')}").text for one in ids)
    assert f'href="/leads/{MINE}/lead-{MINE}/events/event-{MINE}">Call missed' in page
    assert "The rows behind it" in page
    assert CANARY not in page
    assert "The rows behind it" not in other
    assert "The rows behind it" not in unknown
