"""From a draft on the desk to a phone in a plumber's hand, and back: in a real Chromium, over one store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from pipeline.client_safe import review
from pipeline.desk.portal.app import portal_app
from pipeline.store.accounts import add_account
from pipeline.store.login_attempts import Throttle
from tests.conftest import _Server
from tests.desk_world import MINE, NAMES, PASSWORD, World, make_world

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
PHONE, SCREEN = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
OWNER = "owner@ridgeline.example"


class Circle:
    """The desk and the portal of one store, each at its own address, and everything that browsers complained of."""

    def __init__(self, world: World, chromium: Browser) -> None:
        self.world, self.chromium = world, chromium
        self.links: list[str] = []
        self.said: list[str] = []
        engine = world.office.engine
        with engine.begin() as connection:
            add_account(connection, OWNER, name="Joe", role="client", clients=[MINE], by="test", now=world.now)
        portal = portal_app(
            engine,
            throttle=Throttle(b"k" * 32, "portal"),
            client_name=NAMES.__getitem__,
            send_link=lambda address, name, path: self.links.append(path),
        )
        self.desk, self.portal = _Server(world.app), _Server(portal)

    def page(self, origin: str, size: Any) -> Page:
        page = self.chromium.new_context(viewport=size, base_url=origin).new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        return page

    def staff(self, who: str) -> Page:
        page = self.page(self.desk.origin, SCREEN)
        page.goto("/sign-in")
        page.fill("#email", self.world.accounts[who].email)
        page.fill("#password", PASSWORD)
        page.click("button")
        page.wait_for_url("**/")
        return page

    def owner(self, size: Any) -> Page:
        page = self.page(self.portal.origin, size)
        page.goto("/sign-in")
        page.fill("#email", OWNER)
        page.click("text=Send me a link")
        page.wait_for_selector("text=Look into your mail")
        page.goto(self.links[-1])
        page.click("text=Open my summaries")
        page.wait_for_selector("h1 >> text=Your summaries")
        return page


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Circle]:
    world = make_world(tmp_path_factory.mktemp("circle"), origin="")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        made = Circle(world, chromium)
        yield made
        chromium.close()
    for server in (made.desk, made.portal):
        server.stop()


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [each["id"] for each in found if each["impact"] in ("serious", "critical")]


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_a_summary_is_approved_on_the_desk_read_on_a_phone_and_taken_back(circle: Circle) -> None:
    phone = circle.owner(PHONE)
    before = phone.locator(".card").count()
    desk = circle.staff("client_success")
    desk.goto(f"/summaries/{circle.world.ids[MINE]['summary_id']}")
    words = desk.locator("article h2").first.inner_text()
    desk.click("text=Approve this version")
    desk.wait_for_selector("text=It can be undone until it is published")
    phone.reload()
    assert phone.locator(".card").count() == before, "an approval that can be undone is not shown"

    review.publish_due(circle.world.office.engine, now=datetime.now(UTC) + review.UNDO + timedelta(seconds=1))
    phone.reload()
    assert phone.locator(".card").count() >= 1
    phone.locator(".card a").first.click()
    phone.wait_for_selector("article h1")
    assert fits(phone)
    assert serious(phone) == []
    assert circle.said == []

    address = phone.url
    desk.goto("/summaries?view=published")
    publication = address.rpartition("/")[2]
    desk.goto(f"/summaries/{circle.world.ids[MINE]['summary_id']}")
    form = desk.locator(f"form[action='/publications/{publication}/revoke']")
    form.locator("[name=why]").fill("One job was counted twice.")
    form.locator("button").click()
    desk.wait_for_load_state()
    phone.reload()
    assert "withdrawn" in phone.inner_text("h1")
    assert "One job was counted twice." in phone.inner_text("article")
    assert words not in phone.inner_text("article")
    assert serious(phone) == []
    assert circle.said == []


@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_every_page_of_the_portal_fits_is_accessible_and_silent(circle: Circle, size: dict[str, int]) -> None:
    page = circle.owner(size)
    for path in ("/", "/sign-in", "/link/none", f"/summaries/{circle.world.ids[MINE]['publication_id']}"):
        page.goto(path)
        assert fits(page), path
        assert serious(page) == [], path
    assert circle.said == []


def test_a_summary_prints_on_paper_without_what_only_works_on_screens(circle: Circle) -> None:
    page = circle.owner(SCREEN)
    page.goto(f"/summaries/{circle.world.ids[MINE]['publication_id']}")
    page.emulate_media(media="print")
    assert not page.locator(".crumbs").is_visible()
    assert not page.locator("header form").is_visible()
    assert page.pdf(format="Letter").startswith(b"%PDF")


def test_it_works_without_scripts(circle: Circle) -> None:
    context = circle.chromium.new_context(viewport=PHONE, base_url=circle.portal.origin, java_script_enabled=False)
    page = context.new_page()
    page.goto("/sign-in")
    page.fill("#email", OWNER)
    page.click("text=Send me a link")
    page.goto(circle.links[-1])
    page.click("text=Open my summaries")
    assert page.locator("h1").inner_text() == "Your summaries"
