"""The desk in a real Chromium: signed in, at the width of a phone and of a screen, with what people would do on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from pipeline.desk.desk import PAGES
from pipeline.store.schema import outputs, summaries
from tests.conftest import _Server
from tests.desk_world import MINE, PASSWORD, World, make_world
from tests.integration.test_desk_access import paths
from tests.integration.test_desk_defences import PAYLOADS

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
PHONE, SCREEN = {"width": 360, "height": 740}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A desk whose every name, note, campaign and message is markup that would run."""
    return make_world(tmp_path_factory.mktemp("desk"), words={"any": " ".join(PAYLOADS[:40])}, origin="")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("plain"), origin="")


@pytest.fixture(scope="module")
def opened(world: World, plain: World) -> Iterator[Callable[..., tuple[Page, list[str]]]]:
    """`opened(world, who, size)`: a page that has signed in by the form, and everything its console says."""
    servers = {id(one): _Server(one.app) for one in (world, plain)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def open_desk(of: World, who: str, size: Any) -> tuple[Page, list[str]]:
            page = browser.new_context(viewport=size, base_url=servers[id(of)].origin).new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            page.goto("/sign-in")
            page.fill("#email", of.accounts[who].email)
            page.fill("#password", PASSWORD)
            page.click("button")
            page.wait_for_url("**/")
            return page, said

        yield open_desk
        browser.close()
    for server in servers.values():
        server.stop()


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_every_page_fits_is_accessible_and_silent_and_runs_nothing_that_people_wrote(
    opened: Callable[..., tuple[Page, list[str]]], world: World, size: dict[str, int]
) -> None:
    page, said = opened(world, "admin", size)
    serious: dict[str, Any] = {}
    for one in PAGES:
        if one.method == "POST":
            continue
        for path in paths(one, world.ids[MINE]):
            page.goto(path)
            assert fits(page), path
            found = Axe().run(page).response["violations"]
            bad = [
                (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            if bad:
                serious[path] = bad
    assert serious == {}
    assert said == []


def test_a_task_is_taken_up_from_a_phone(opened: Callable[..., tuple[Page, list[str]]], plain: World) -> None:
    page, said = opened(plain, "client_success", PHONE)
    page.click("summary >> text=Menu")
    page.click("header nav >> text=Today")
    page.get_by_role("button", name=re.compile("I am on it")).first.click()
    page.wait_for_selector("text=It is yours now")
    with plain.office.engine.connect() as connection:
        taken = connection.execute(select(outputs.c.output_id).where(outputs.c.acknowledged_at.is_not(None))).all()
    assert len(taken) == 1
    assert said == []


def test_a_lead_leads_to_the_raw_record_of_each_event(
    opened: Callable[..., tuple[Page, list[str]]], plain: World
) -> None:
    page, said = opened(plain, "analyst", SCREEN)
    page.goto("/leads")
    page.fill("#words", "camila")
    page.click("main >> button >> text=Search")
    page.click("th >> text=Camila >> nth=0")
    page.click("text=callrail record")
    assert "As callrail sent it" in page.inner_text("main")
    assert "camila" not in page.url.lower()
    assert said == []


def test_a_summary_is_reviewed_approved_and_undone_and_each_figure_leads_to_its_source(
    opened: Callable[..., tuple[Page, list[str]]], plain: World
) -> None:
    page, said = opened(plain, "client_success", SCREEN)
    page.goto(f"/summaries/{plain.ids[MINE]['summary_id']}")
    page.click("article a.figure >> nth=0")
    assert "client_safe.safe_figures" in page.inner_text("main")
    page.go_back()
    page.click("text=Approve this version")
    page.wait_for_selector("text=It can be undone until it is published")
    page.click("text=Undo the approval")
    page.wait_for_selector("text=The approval is undone")
    page.fill("#reject", "Say what we did about the missed calls.")
    page.click("button >> text=Reject")
    page.wait_for_selector(".pill >> text=rejected")
    with plain.office.engine.connect() as connection:
        query = select(summaries.c.status).where(summaries.c.summary_id == plain.ids[MINE]["summary_id"])
        assert connection.execute(query).scalar_one() == "rejected"
    assert said == []


def test_signing_out_closes_the_desk(opened: Callable[..., tuple[Page, list[str]]], plain: World) -> None:
    page, _ = opened(plain, "analyst", SCREEN)
    page.click("nav.side >> text=Sign out")
    page.wait_for_selector("text=You are signed out")
    page.goto("/leads")
    assert "/sign-in?next=%2Fleads" in page.url
