"""Who may see and do what on the desk, asked of every route there is: a new one is asked by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.desk import marts
from pipeline.desk.desk import PAGES
from pipeline.desk.marts import Marts
from pipeline.desk.seen import Page
from pipeline.store.tenancy import Clients
from tests.desk_world import CANARY, MINE, OTHERS, World, make_world
from tests.postgres import postgres  # noqa: F401  (a fixture)

# what a part of a path may be, where it is no id of a client's; whatever else a path has must be in the world's ids
WORDS = {
    "/rules/{whose}/{rule}/{move}": ("move", ("enable", "pause", "resume", "retire", "rollback")),
    "/templates/{whose}/{template}/{decision}": ("decision", ("approve", "withdraw")),
    "/summaries/{summary_id}/{decision}": ("decision", ("approve", "reject", "comment", "clear", "undo", "edit")),
    "/publications/{publication_id}/{decision}": ("decision", ("revoke", "roll-back")),
}
FORM = {
    "why": "because",
    "arrived": "yes",
    "decision": "confirm",
    "title": "A title",
    "heading-0": "A heading",
    "lines-0": "A line",
    "from": "2026-10-01",
    "to": "2026-10-31",
}
LIMITED = ("client_success@ridgeline", "analyst@ridgeline")
STATIC = {page.path for page in PAGES if "{" not in page.path}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("desk"))


def paths(page: Page, ids: dict[str, str]) -> Iterator[str]:
    """The page's address for these ids. An id that the world does not know fails here: give it one, so that it is tested."""
    name, words = WORDS.get(page.path, ("", ("",)))
    for word in words:
        yield page.path.format(**{**ids, name: word} if name else ids)


def ask(world: World, browser: Any, page: Page, path: str, **fields: str) -> Any:
    return browser.get(path) if page.method == "GET" else world.post(browser, path, **{**FORM, **fields})


WITH_IDS = [page for page in PAGES if "{" in page.path]
ROUTES = [pytest.param(page, id=f"{page.method} {page.path}") for page in WITH_IDS]


def test_the_routes_are_those_of_the_application(world: World) -> None:
    inside = world.app._app.router.routes
    asked = {(page.path, page.method) for page in PAGES}
    public = {"/sign-in", "/sign-out", "/sign-in/elsewhere", "/sign-in/back", "/static/{name}", "/healthz"}
    served = {
        (route.path, method) for route in inside for method in route.methods - {"HEAD"} if route.path not in public
    }
    assert served == asked
    assert len(asked) > 35


@pytest.mark.parametrize("who", LIMITED)
@pytest.mark.parametrize("page", ROUTES)
def test_another_clients_ids_are_not_there_and_nothing_is_written(world: World, page: Page, who: str) -> None:
    browser, before = world.browser(who), world.everything()
    nowhere = browser.get("/no/such/page")
    assert nowhere.status_code == 404
    own, others = world.ids[MINE], world.ids[OTHERS]
    mixed = [
        {**own, name: others[name]} for name in re.findall(r"{(\w+)}", page.path) if own.get(name) != others.get(name)
    ]
    for ids in [others, *mixed]:
        for path in paths(page, ids):
            answer = ask(world, browser, page, path, address=f"{OTHERS}@stop.example", channel="email")
            assert (answer.status_code, answer.text) == (404, nowhere.text), path
    assert world.everything() == before


@pytest.mark.parametrize("who", LIMITED)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.path in STATIC], ids=lambda page: f"{page.method} {page.path}"
)
def test_no_list_tells_of_another_client_or_is_narrowed_to_one(world: World, page: Page, who: str) -> None:
    browser = world.browser(who)
    answer = ask(world, browser, page, page.path)
    assert answer.status_code == (404 if page.needs in ("house", "accounts") else 200)
    assert CANARY not in answer.text
    if page.method == "GET":
        asked = browser.get(page.path, params={"client": OTHERS, "view": "all", "status": "pending", "kind": "task"})
        assert CANARY not in asked.text
    else:
        searched = world.post(browser, page.path, words=CANARY.lower(), client=OTHERS)
        assert searched.status_code == 404


@pytest.mark.parametrize("who", ["admin", *LIMITED])
@pytest.mark.parametrize("page", [page for page in PAGES if page.method == "GET"], ids=lambda page: page.path)
def test_what_is_theirs_is_there(world: World, page: Page, who: str) -> None:
    """Without this the tests above would hold for a desk that shows nothing."""
    browser = world.browser(who)
    hidden = (page.needs in ("house", "accounts") and who != "admin") or (
        page.needs == "decide" and who.startswith("analyst")
    )
    for path in paths(page, world.ids[MINE]):
        assert browser.get(path).status_code == (404 if hidden else 200), path


@pytest.mark.parametrize("what", ["the store", "the marts"])
def test_the_canaries_show_when_the_filter_is_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """There is one filter of the store and one of the marts: without it the tests above fail."""
    if what == "the store":
        monkeypatch.setattr(Clients, "own", lambda self, column: column.is_not(None))
        told = world.browser("analyst@ridgeline").get("/outputs").text
    else:
        monkeypatch.setattr(marts, "_own", lambda table, clients: table)
        told = world.browser("analyst@ridgeline").get("/leads").text
    assert CANARY in told


def test_a_mart_is_never_read_without_saying_whose_rows(world: World) -> None:
    with pytest.raises(AssertionError, match="without asking whose"):
        Marts(world.office.settings).rows(Clients.of([MINE]), "select * from timeline.dim_leads")


def test_pages_read_the_store_by_the_visit_and_never_whole_tables() -> None:
    """`select(table)` without a condition on whose rows appears in one module only: that of the house's own log."""
    folder = Path(marts.__file__).parent
    for path in folder.glob("*_pages.py"):
        for line in path.read_text().splitlines():
            if "select(" in line and path.name != "status_pages.py":
                assert re.search(
                    r"visit\.mine|func\.|sees\.own|rule_replays|\"select|select\(outputs\.c\.status", line
                ), (path.name, line)


def test_every_page_and_decision_works_on_postgresql_as_on_sqlite(
    postgres: Callable[[str], str],  # noqa: F811  (the fixture)
    tmp_path: Path,
) -> None:
    """All of them, in one world each: what is theirs, what is another client's, and what a decision answers."""

    def told(world: World) -> dict[str, int]:
        found = {}
        for who in ("client_success@ridgeline", "admin"):  # an admin disables the other
            browser = world.browser(who)
            for page in sorted(PAGES, key=lambda page: page.method):
                for ids in (world.ids[OTHERS], world.ids[MINE]):
                    for path in paths(page, ids):
                        known = {value: name for of in world.ids.values() for name, value in of.items()}
                        route = "/".join(known.get(part, part) for part in path.split("/"))
                        whose = "mine" if ids is world.ids[MINE] else "other's"
                        found[f"{who} {page.method} {route} {whose}"] = ask(world, browser, page, path).status_code
        return found

    sqlite, postgresql = (
        told(make_world(tmp_path / name, store_url=url))
        for name, url in (("sqlite", ""), ("postgresql", postgres("desk")))
    )
    assert postgresql == sqlite
    assert max(sqlite.values()) < 500
    assert {200, 303, 404} <= set(sqlite.values())


# ---- roles ----


@pytest.mark.parametrize("who", ["analyst", "analyst@ridgeline"])
@pytest.mark.parametrize("page", [page for page in WITH_IDS if page.method == "POST"], ids=lambda page: page.path)
def test_an_analyst_decides_nothing(world: World, page: Page, who: str) -> None:
    browser, before = world.browser(who), world.everything()
    for path in paths(page, world.ids[MINE]):
        assert ask(world, browser, page, path).status_code == 404, path
    assert world.everything() == before


@pytest.mark.parametrize("who", ["client_success", "analyst", *LIMITED])
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.needs == "accounts"], ids=lambda page: f"{page.method} {page.path}"
)
def test_accounts_are_for_admins_alone(world: World, page: Page, who: str) -> None:
    browser, before = world.browser(who), world.everything()
    given = {"email": "new@agency.example", "role": "admin", "password": "a kettle on the roof"}
    for path in paths(page, world.ids[MINE]):
        assert ask(world, browser, page, path, **given).status_code == 404, path
    assert world.everything() == before
    assert "/accounts" not in browser.get("/").text


def test_what_is_the_houses_is_changed_only_by_who_sees_every_client(world: World) -> None:
    rule, template = world.ids[MINE]["rule"], world.ids[MINE]["template"]
    browser, before = world.browser("client_success@ridgeline"), world.everything()
    for path in (f"/rules/house/{rule}/retire", f"/rules/house/{rule}/replay", f"/templates/house/{template}/approve"):
        assert world.post(browser, path, **FORM).status_code == 404, path
    assert world.everything() == before
    assert browser.get(f"/rules/house/{rule}").status_code == 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_who_is_not_signed_in_gets_no_page(world: World, page: Page) -> None:
    browser, before = world.browser(), world.everything()
    for path in paths(page, world.ids[MINE]):
        answer = browser.request(page.method, path, data=FORM if page.method == "POST" else None)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in")
    assert world.everything() == before


def test_a_client_has_no_way_to_the_desk(world: World) -> None:
    from pipeline.store.accounts import add_account

    with world.office.engine.begin() as connection:
        add_account(
            connection, "kim@ridgeline.example", name="Kim", role="client", clients=[MINE], by="t", now=world.now,
            password="a kettle on the roof",
        )  # fmt: skip
    answer = world.browser().post(
        "/sign-in", data={"email": "kim@ridgeline.example", "password": "a kettle on the roof"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(world: World) -> None:
    from pipeline.store import accounts

    browser = world.browser("client_success@ridgeline")
    assert browser.get("/").status_code == 200
    email = world.accounts["client_success@ridgeline"].email
    with world.office.engine.begin() as connection:
        accounts.set_role(connection, email, role="client_success", clients=[OTHERS], by="test", now=world.now)
    assert browser.get("/").status_code == 303
    with world.office.engine.begin() as connection:
        accounts.set_role(connection, email, role="client_success", clients=[MINE], by="test", now=world.now)


# ---- state ----


@pytest.mark.parametrize("page", [page for page in PAGES if page.method == "GET"], ids=lambda page: page.path)
def test_opening_a_page_changes_nothing(world: World, page: Page) -> None:
    browser, before = world.browser("admin"), world.everything()
    for path in paths(page, world.ids[MINE]):
        browser.get(path)
    assert world.everything() == before


def test_a_desk_with_nothing_published_says_what_to_do(world: World) -> None:
    published = world.office.settings.analytics
    aside = published.rename(published.with_suffix(".aside"))
    try:
        answer = world.browser("admin").get("/leads")
    finally:
        aside.rename(published)
    assert answer.status_code == 409
    assert "leadtrail build" in answer.text
