"""The portal shows what was approved, to whom it is about, until it is taken back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from pipeline.client_safe import review
from pipeline.client_safe.document import Content, Section
from pipeline.desk.portal.app import portal_app
from pipeline.desk.portal.export import export
from pipeline.store import sessions
from pipeline.store.accounts import add_account, disable, the_account
from pipeline.store.engine import open_store
from pipeline.store.login_attempts import Throttle
from pipeline.store.schema import publications
from pipeline.store.sessions import DESK
from pipeline.store.summaries import summary, views
from pipeline.store.tenancy import Clients
from tests.unit.test_review import ANN, BEN, a_draft

NOW = datetime.now(UTC)
NAMES = {"acme": "Acme Plumbing", "bolt": "Bolt Roofing"}
PAGES = {"sec-fetch-site": "same-origin", "origin": "https://localhost"}


class Portal:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.mails = engine, []
        self.app = portal_app(
            engine,
            throttle=Throttle(b"k" * 32, "portal"),
            client_name=NAMES.__getitem__,
            send_link=lambda address, name, path: self.mails.append((address, path)),
        )
        with engine.begin() as connection:
            for client in NAMES:
                add_account(
                    connection, f"owner@{client}.example", name=client, role="client", clients=[client], by="t", now=NOW
                )
            add_account(connection, "ann@agency.example", name="Ann", role="analyst", clients=["*"], by="t", now=NOW)

    def browser(self) -> TestClient:
        return TestClient(self.app, base_url="https://localhost", headers=PAGES, follow_redirects=False)

    def signed_in(self, client: str = "acme") -> TestClient:
        browser = self.browser()
        browser.post("/sign-in", data={"email": f"owner@{client}.example"})
        _, path = self.mails[-1]
        assert browser.post(path).status_code == 303
        return browser

    def publish(self, client: str = "acme", **changes: object) -> str:
        summary_id = review.propose(self.engine, a_draft(client_id=client, **changes), now=NOW)
        assert summary_id
        with self.engine.connect() as connection:
            row = summary(connection, summary_id, Clients(None))
        assert row
        review.approve(self.engine, summary_id, row["bound_hash"], by=ANN, now=NOW - review.UNDO)
        [publication_id] = review.publish_due(self.engine, now=NOW)
        return publication_id


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield Portal(engine)
    engine.dispose()


def test_a_link_from_the_mail_signs_in_once_and_shows_only_approved_words(portal: Portal) -> None:
    review.propose(portal.engine, a_draft(content=replace(a_draft().content, opening="SECRET DRAFT")), now=NOW)
    portal.publish(period_start="2026-09-01", period_end="2026-10-01")
    browser = portal.signed_in()
    page = browser.get("/").text
    assert "September 2026" in page
    assert "A good month." in page
    assert "SECRET DRAFT" not in page
    assert portal.browser().post(portal.mails[-1][1]).status_code == 410, "a link works once"
    assert portal.browser().get("/").headers["location"] == "/sign-in"


def test_opening_a_link_uses_nothing_up(portal: Portal) -> None:
    portal.browser().post("/sign-in", data={"email": "owner@acme.example"})
    _, path = portal.mails[-1]
    for _ in range(3):
        assert portal.browser().get(path).status_code == 200
    assert portal.browser().post(path).status_code == 303


def test_asking_for_a_link_tells_nobody_who_has_an_account(portal: Portal) -> None:
    known = portal.browser().post("/sign-in", data={"email": "owner@acme.example"})
    unknown = portal.browser().post("/sign-in", data={"email": "nobody@acme.example"})
    staff = portal.browser().post("/sign-in", data={"email": "ann@agency.example"})
    assert known.text == unknown.text == staff.text
    assert [address for address, _ in portal.mails] == ["owner@acme.example"]


def test_asking_often_has_to_wait(portal: Portal) -> None:
    answers = [portal.browser().post("/sign-in", data={"email": "owner@acme.example"}).status_code for _ in range(8)]
    assert answers[0] == 200
    assert answers[-1] == 429
    assert portal.browser().post("/sign-in", data={"email": "owner@bolt.example"}).status_code in (200, 429)


def test_another_clients_summary_is_as_if_it_did_not_exist(portal: Portal) -> None:
    theirs = portal.publish("bolt")
    mine = portal.publish("acme")
    browser = portal.signed_in("acme")
    assert browser.get(f"/summaries/{mine}").status_code == 200
    refused, made_up = browser.get(f"/summaries/{theirs}"), browser.get("/summaries/pub_0000000000000000")
    assert (refused.status_code, refused.text) == (404, made_up.text)
    assert theirs not in browser.get("/").text


def test_a_desk_session_is_nothing_here(portal: Portal) -> None:
    portal.publish()
    with portal.engine.begin() as connection:
        token = sessions.start(connection, the_account(connection, "ann@agency.example"), DESK, NOW)
    browser = portal.browser()
    browser.cookies.set("__Host-leadtrail-portal", token)
    assert browser.get("/").status_code == 303


def test_a_disabled_client_is_out_with_the_next_request(portal: Portal) -> None:
    browser = portal.signed_in()
    assert browser.get("/").status_code == 200
    with portal.engine.begin() as connection:
        disable(connection, "owner@acme.example", by="t", now=NOW)
    assert browser.get("/").status_code == 303


def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(portal: Portal) -> None:
    browser = portal.signed_in()
    cookie = browser.cookies["__Host-leadtrail-portal"]
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/").text)
    assert csrf
    assert browser.post("/sign-out", data={"csrf": "wrong"}).status_code == 400
    assert browser.post("/sign-out", data={"csrf": csrf[1]}).status_code == 303
    thief = portal.browser()
    thief.cookies.set("__Host-leadtrail-portal", cookie)
    assert thief.get("/").status_code == 303


def test_changed_figures_are_said_to_be_re_reviewed_and_the_old_words_are_gone(portal: Portal) -> None:
    publication = portal.publish()
    browser = portal.signed_in()
    review.void_where_changed(
        portal.engine, {("acme", "month", "2026-10-01"): ("q1", "s2")}, redaction_version="r1", now=NOW
    )
    for path in ("/", f"/summaries/{publication}"):
        page = browser.get(path).text
        assert "re-reviewed" in page
        assert "A good month." not in page
        assert "12" not in re.sub(
            r"20\d\d|portal\.\w+\.css|pub_\w+|value=\"[^\"]+\"|\d+ (?:October|November)", "", page
        )


def test_a_withdrawn_summary_leaves_its_reason_and_none_of_its_words(portal: Portal) -> None:
    publication = portal.publish()
    browser = portal.signed_in()
    browser.get(f"/summaries/{publication}")
    review.revoke(portal.engine, publication, "One job was counted twice.", by=BEN, now=NOW)
    page = browser.get(f"/summaries/{publication}").text
    assert "One job was counted twice." in page
    assert "A good month." not in page


def test_an_old_address_leads_to_what_stands_in_its_place(portal: Portal) -> None:
    first = portal.publish()
    review.void_where_changed(
        portal.engine, {("acme", "month", "2026-10-01"): ("q1", "s2")}, redaction_version="r1", now=NOW
    )
    second = portal.publish(snapshot="s2")
    assert portal.signed_in().get(f"/summaries/{first}").headers["location"] == f"/summaries/{second}"


def test_words_are_words_whatever_they_look_like(portal: Portal) -> None:
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}\"'><svg/onload=alert(1)>"
    content = Content(nasty, nasty, (Section(nasty, (nasty, nasty)),))
    publication = portal.publish(content=content)
    page = portal.signed_in().get(f"/summaries/{publication}").text
    assert "<script>" not in page
    assert "<img" not in page
    assert "<svg" not in page
    assert "{{7*7}}" in page


def test_every_page_forbids_scripts_frames_and_caches(portal: Portal) -> None:
    browser = portal.signed_in()
    for path in ("/", "/sign-in", "/nothing", "/summaries/x"):
        headers = browser.get(path).headers
        assert "script" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["strict-transport-security"]


def test_a_form_from_elsewhere_is_refused(portal: Portal) -> None:
    browser = portal.signed_in()
    for headers in (
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    ):
        assert browser.post("/sign-out", headers={**PAGES, **headers}).status_code == 403
    assert browser.get("/").status_code == 200


def test_nothing_but_publications_is_read(portal: Portal) -> None:
    """The portal's own queries name no table of ours but publications, who saw them, and who may sign in."""
    asked: list[str] = []
    event.listen(portal.engine, "before_cursor_execute", lambda c, cur, statement, *rest: asked.append(statement))
    publication = portal.publish()
    asked.clear()
    browser = portal.signed_in()
    browser.get("/")
    browser.get(f"/summaries/{publication}")
    tables = {name for one in asked for name in re.findall(r"(?:FROM|INTO|UPDATE) \"?(\w+)", one)}
    assert "publications" in tables
    assert tables <= {
        "publications", "publication_views", "accounts", "sessions", "login_links", "login_attempts", "audit_log"
    }  # fmt: skip


def test_the_static_site_holds_the_same_and_follows_a_withdrawal(portal: Portal, tmp_path: Path) -> None:
    publication = portal.publish()
    portal.publish("bolt")
    site = tmp_path / "site"
    assert export(portal.engine, site, "acme", "Acme Plumbing") == 1
    page = (site / "acme" / f"{publication}.html").read_text()
    assert "A good month." in page
    assert "Sign out" not in page
    assert f'href="{publication}.html"' in (site / "acme" / "index.html").read_text()
    assert not (site / "bolt").exists()
    review.revoke(portal.engine, publication, "Wrong month.", by=BEN, now=NOW)
    export(portal.engine, site, "acme", "Acme Plumbing")
    assert "A good month." not in (site / "acme" / f"{publication}.html").read_text()
    assert [path.name for path in site.iterdir()] == ["acme"], "nothing of the old site is left"


def test_what_a_client_opened_is_known(portal: Portal) -> None:
    publication = portal.publish()
    portal.signed_in().get(f"/summaries/{publication}")
    with portal.engine.connect() as connection:
        assert len(views(connection, publication, Clients.of(["acme"]))) == 1


def test_the_stored_publication_holds_no_query(portal: Portal) -> None:
    portal.publish()
    with portal.engine.connect() as connection:
        [content] = connection.execute(publications.select()).mappings().all()
    assert set(json.loads(content["content"])["figures"][0]) == {"figure_id", "label", "shown", "data_until"}
