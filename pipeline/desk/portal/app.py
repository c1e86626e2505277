"""The client portal: sign in by a link, read what was approved, sign out. It reads the publications table and nothing else of
what Leadtrail knows; who may read is in accounts and sessions.

    GET  /                        the client's summaries, the newest first
    GET  /summaries/{id}          one of them
    GET  /sign-in, POST           ask for a link by e-mail
    GET  /link/{token}, POST      sign in with it (filters open links, so only the button uses it up)
    POST /sign-out
    GET  /healthz                 that it answers
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pipeline.desk.portal.reading import day, read
from pipeline.desk.visits import NotFound, Site, Visit
from pipeline.desk.web import Guard
from pipeline.store import sessions, summaries
from pipeline.store.accounts import find_account
from pipeline.store.login_attempts import Throttle
from pipeline.store.sessions import PORTAL

PER_PAGE = 24

SendLink = Callable[[str, str, str], None]
"""(address, name, path of the link): sends the mail, later and elsewhere. It must take as long for nobody as for somebody."""


class Portal:
    """`send_link` is None where no mail server is set: then a link comes from the agency. `client_name` says how a client is
    called."""

    def __init__(
        self, engine: Engine, throttle: Throttle, client_name: Callable[[str], str], send_link: SendLink | None
    ) -> None:
        self._engine, self._throttle, self._name, self._send_link = engine, throttle, client_name, send_link

    # ---- signing in ----

    def ask(self, visit: Visit) -> Response:
        return visit.render("sign_in.html", sends_mail=self._send_link is not None, asked=False)

    def send(self, visit: Visit) -> Response:
        """The answer is the same whether or not there is such an account."""
        email = visit.form.get("email", "").strip().lower()[:254]
        with self._engine.begin() as connection:
            attempt = self._throttle.begin(connection, email, visit.address, visit.now)
        if attempt.wait:
            return visit.render("wait.html", 429, minutes=int(attempt.wait.total_seconds() // 60) + 1)
        if self._send_link is not None:
            with self._engine.begin() as connection:
                account = find_account(connection, email)
                may = account is not None and account.disabled_at is None and account.role in PORTAL.roles
                token = sessions.make_login_link(connection, account, visit.now) if account and may else ""
            if account and token:
                self._send_link(account.email, account.name, f"/link/{token}")
        return visit.render("sign_in.html", sends_mail=self._send_link is not None, asked=True)

    def link(self, visit: Visit) -> Response:
        return visit.render("link.html", token=visit.part("token"))

    def use_link(self, visit: Visit) -> Response:
        with self._engine.begin() as connection:
            token = sessions.use_login_link(connection, visit.part("token"), visit.now)
        if token is None:
            return visit.render("link_is_over.html", 410)
        return visit.site.keep(visit.go("/"), token)

    def sign_out(self, visit: Visit) -> Response:
        if visit.session:
            with self._engine.begin() as connection:
                sessions.end(connection, visit.session, visit.now)
        return visit.site.drop(visit.go(visit.site.sign_in))

    # ---- reading ----

    def overview(self, visit: Visit) -> Response:
        client_id, page = self._client(visit), visit.page_number()
        with self._engine.connect() as connection:
            rows = summaries.shown_to(connection, client_id, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE)
        if not rows and page > 1:
            raise NotFound
        listed = [read(row) for row in rows[:PER_PAGE]]
        more = len(rows) > PER_PAGE
        return visit.render("overview.html", name=self._name(client_id), listed=listed, page=page, more=more)

    def summary(self, visit: Visit) -> Response:
        client_id = self._client(visit)
        with self._engine.begin() as connection:
            row = summaries.shown(connection, client_id, visit.part("publication_id"))
            if row is None:
                raise NotFound
            if row["publication_id"] != visit.part("publication_id"):
                return visit.go(f"/summaries/{row['publication_id']}")  # what stands there now
            summaries.note_view(connection, row, visit.account.account_id, visit.now)
        return visit.render("summary.html", name=self._name(client_id), shown=read(row), back="/")

    def _client(self, visit: Visit) -> str:
        """The one client of the account; nothing in a request can name another."""
        [client_id] = visit.account.clients
        return client_id


def portal_app(
    engine: Engine,
    *,
    throttle: Throttle,
    client_name: Callable[[str], str],
    send_link: SendLink | None = None,
    public_url: str = "",
) -> ASGIApp:
    site = Site(PORTAL, engine, Path(__file__).parent, shown={"day": day})
    portal = Portal(engine, throttle, client_name, send_link)

    async def health(request: object) -> Response:
        return PlainTextResponse("ok")

    routes = [
        Route("/healthz", health),
        Route("/static/{name}", site.static),
        Route("/", site.endpoint(portal.overview)),
        Route("/summaries/{publication_id}", site.endpoint(portal.summary)),
        Route("/sign-in", site.endpoint(portal.ask, public=True), methods=["GET"]),
        Route("/sign-in", site.endpoint(portal.send, public=True), methods=["POST"]),
        Route("/link/{token}", site.endpoint(portal.link, public=True), methods=["GET"]),
        Route("/link/{token}", site.endpoint(portal.use_link, public=True), methods=["POST"]),
        Route("/sign-out", site.endpoint(portal.sign_out, public=True), methods=["POST"]),
    ]

    async def lost(request: object, problem: Exception) -> Response:
        return site.error(404)

    async def wrong_way(request: object, problem: Exception) -> Response:
        return site.error(405)

    app = Starlette(routes=routes, exception_handlers={404: lost, 405: wrong_way})
    return Guard(app, public_url=public_url)
