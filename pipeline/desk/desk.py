"""The desk: what staff see and decide. A page is a function; which there are, and the right that each needs, is told here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connectors.base import ConnectorError
from pipeline.client_safe.review import NotPossible
from pipeline.clients import ClientsFileError
from pipeline.desk import (
    account_pages,
    chart_pages,
    client_pages,
    handoff_pages,
    hold_pages,
    lead_pages,
    output_pages,
    review_pages,
    rule_pages,
    status_pages,
    template_pages,
    today,
)
from pipeline.desk.oidc import OpenId
from pipeline.desk.seen import Desk, DeskVisit, Page
from pipeline.desk.sign_in import SignIn
from pipeline.desk.visits import Site, Visit
from pipeline.desk.web import Guard
from pipeline.desk.words import SHOWN
from pipeline.follow_up.look_up import NoSuchOutput
from pipeline.follow_up.published import NotPublished
from pipeline.follow_up.replay import CannotReplay
from pipeline.follow_up.template_book import NotAllowed
from pipeline.office import Office
from pipeline.store.accounts import AccountProblem
from pipeline.store.login_attempts import Throttle
from pipeline.store.sealed import load_key
from pipeline.store.sessions import DESK

FOLDER = Path(__file__).parent
REFUSALS = (
    AccountProblem,
    NotAllowed,
    NotPossible,
    NotPublished,
    CannotReplay,
    NoSuchOutput,
    ClientsFileError,
    ConnectorError,
)
PAGES: tuple[Page, ...] = (
    *today.PAGES,
    *client_pages.PAGES,
    *lead_pages.PAGES,
    *output_pages.PAGES,
    *rule_pages.PAGES,
    *template_pages.PAGES,
    *hold_pages.PAGES,
    *handoff_pages.PAGES,
    *account_pages.PAGES,
    *review_pages.PAGES,
    *chart_pages.PAGES,
    *status_pages.PAGES,
)


@dataclass(frozen=True)
class DeskSite(Site):
    desk: Desk | None = None


def desk_app(office: Office) -> Any:
    """The ASGI application."""
    settings, desk = office.settings, Desk(office)
    site = DeskSite(realm=DESK, engine=office.engine, folder=FOLDER, refusals=REFUSALS, shown=SHOWN, desk=desk)
    key = load_key(settings.key, settings.home)
    openid = OpenId.from_settings(settings, derived(key, b"leadtrail desk, signing in elsewhere"))
    doors = SignIn(Throttle(derived(key, b"leadtrail login attempts"), DESK.name), openid)

    def open_to_all(path: str, page: Callable[[Any], Response], method: str = "GET") -> Route:
        return Route(path, site.endpoint(page, visit=DeskVisit, public=True), methods=[method])

    routes = [
        open_to_all("/sign-in", doors.ask),
        open_to_all("/sign-in", doors.try_password, "POST"),
        open_to_all("/sign-out", doors.sign_out, "POST"),
        open_to_all("/sign-in/elsewhere", doors.go_to_provider),
        open_to_all("/sign-in/back", doors.back_from_provider),
        Route("/static/{name}", site.static),
        Route("/healthz", lambda request: PlainTextResponse("ok")),
        *(Route(page.path, site.endpoint(_allowed(page), visit=DeskVisit), methods=[page.method]) for page in PAGES),
    ]

    async def refused(request: Request, problem: Exception) -> Response:
        return site.error(problem.status_code if isinstance(problem, HTTPException) else 500)

    app = Starlette(routes=routes, exception_handlers={HTTPException: refused, 500: refused})
    app.router.redirect_slashes = False
    return Guard(app, public_url=settings.desk_url)


def _allowed(page: Page) -> Callable[[Visit], Response]:
    """The page for those who may open it; for others it is not there."""

    def show(visit: Visit) -> Response:
        assert isinstance(visit, DeskVisit)  # noqa: S101  (the endpoint makes nothing else)
        visit.demand(page.needs)
        return page.show(visit)

    return show


def derived(key: bytes, use: bytes) -> bytes:
    """A key for one use only, from the store's."""
    return HKDF(SHA256(), length=32, salt=None, info=use).derive(key)
