"""One request of the desk or the portal: who it is from, what they sent, and how a page is given back.

A page is a plain function of a `Visit`. Everything that pages share happens around it, once: the session is looked up, the
form's token is checked, what is not there or not theirs becomes the same "not found", and what breaks tells the visitor nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pipeline.desk.web import SAFE, TooLarge
from pipeline.store import sessions
from pipeline.store.accounts import Account
from pipeline.store.engine import only_reading
from pipeline.store.sessions import Realm, Session

log = logging.getLogger("leadtrail.pages")

MOST_FIELDS = 100
PAGE_SIZE, LAST_PAGE = 50, 10_000


class NotFound(Exception):
    """It is not there, or not this visitor's to see: they are told the same."""


class SignInFirst(Exception):
    """Nobody is signed in."""


class BadForm(Exception):
    """The form is not one of ours, or too old. The message says what to do."""


@dataclass(frozen=True)
class Site:
    """The desk or the portal. `folder` holds its templates/ and static/. What `refusals` say, the visitor may read."""

    realm: Realm
    engine: Engine
    folder: Path
    home: str = "/"
    sign_in: str = "/sign-in"
    refusals: tuple[type[Exception], ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)  # filters and globals of its templates

    @cached_property
    def reads(self) -> Engine:
        """The same store: looking up who is there waits for no writer."""
        return only_reading(self.engine)

    @property
    def cookie(self) -> str:
        return f"__Host-leadtrail-{self.realm.name}"

    @cached_property
    def files(self) -> dict[str, tuple[bytes, str]]:
        """Its static files, by a name that changes with their content: (content, media type)."""
        found = {}
        for path in sorted((self.folder / "static").iterdir()):
            content = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            found[name] = (content, guess_type(path.name)[0] or "application/octet-stream")
        return found

    @cached_property
    def templates(self) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(self.folder / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals |= {"asset": self._asset, **self.shown}
        environment.filters |= {name: one for name, one in self.shown.items() if callable(one)}
        return environment

    def _asset(self, name: str) -> str:
        stem, _, suffix = name.rpartition(".")
        return f"/static/{next(one for one in self.files if one.startswith(f'{stem}.') and one.endswith(suffix))}"

    def static(self, request: Request) -> Response:
        """The endpoint of /static/{name}."""
        found = self.files.get(request.path_params["name"])
        if found is None:
            return self.error(404)
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=31536000, immutable"})

    def endpoint(
        self, page: Callable[[Visit], Response], *, visit: type[Visit] | None = None, public: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """What a route calls for this page. Not `public`: only for who is signed in."""

        async def respond(request: Request) -> Response:
            try:
                form = await _form(request)
                return await run_in_threadpool(self._answer, page, visit or Visit, request, form, public)
            except NotFound:
                return self.error(404)
            except TooLarge:
                return self.error(413, "That is too much for one form.")
            except BadForm as problem:
                return self.error(400, str(problem))
            except SignInFirst:
                return RedirectResponse(self._sign_in_for(request), 303)
            except self.refusals as problem:
                return self.error(409, str(problem))
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as problem:
                return self.error(500, f"Reference {_note(problem)}.")

        return respond

    def _answer(
        self,
        page: Callable[[Visit], Response],
        visit: type[Visit],
        request: Request,
        form: Mapping[str, str],
        public: bool,
    ) -> Response:
        now = datetime.now(UTC)
        session = self._session(request, now)
        if session is None and not public:
            raise SignInFirst
        if session is not None and request.method not in SAFE and not _same(form.get("csrf", ""), session.csrf):
            raise BadForm("This form is from another session. Open the page again, and send it from there.")
        return page(visit(self, request, now, session, form))

    def _session(self, request: Request, now: datetime) -> Session | None:
        token = request.cookies.get(self.cookie)
        if not token:
            return None
        with self.reads.connect() as connection:
            session = sessions.find(connection, token, self.realm, now)
        if session is not None and sessions.is_stale(session, now):
            with self.engine.begin() as connection:
                sessions.seen(connection, session, now)
        return session

    def _sign_in_for(self, request: Request) -> str:
        path = request.url.path
        return (
            f"{self.sign_in}?{urlencode({'next': path})}"
            if request.method == "GET" and path != self.home
            else self.sign_in
        )

    def error(self, status: int, said: str = "") -> Response:
        """A page that says what to do, and nothing of what is there."""
        words = self.templates.get_template("error.html").render(status=status, said=said, visit=None)
        return HTMLResponse(words, status)

    def keep(self, response: Response, token: str) -> Response:
        """Give the browser its session."""
        age = int(self.realm.lifetime.total_seconds())
        response.set_cookie(self.cookie, token, max_age=age, secure=True, httponly=True, samesite="lax", path="/")
        return response

    def drop(self, response: Response) -> Response:
        response.delete_cookie(self.cookie, secure=True, httponly=True, samesite="lax", path="/")
        return response


@dataclass(frozen=True)
class Visit:
    site: Site
    request: Request
    now: datetime
    session: Session | None
    form: Mapping[str, str]

    @property
    def account(self) -> Account:
        if self.session is None:
            raise SignInFirst
        return self.session.account

    @property
    def csrf(self) -> str:
        return self.session.csrf if self.session else ""

    @property
    def address(self) -> str:
        """Where it comes from; behind a proxy what the proxy says, which the server takes from trusted ones only."""
        return self.request.client.host if self.request.client else ""

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str:
        """A parameter of the query. Never a personal one: addresses end up in logs and histories."""
        return self.request.query_params.get(name, "")

    def page_number(self) -> int:
        asked = self.form.get("page") or self.asked("page")
        return min(max(int(asked), 1), LAST_PAGE) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 1

    def render(self, template: str, code: int = 200, /, **shown: Any) -> Response:
        words = self.site.templates.get_template(template).render(visit=self, **shown)
        return HTMLResponse(words, code)

    def go(self, path: str, done: str = "") -> Response:
        """To another page, after something was done. `done` names one of the sentences of the templates."""
        return RedirectResponse(f"{path}?{urlencode({'done': done})}" if done else path, 303)


def safe_path(path: str, otherwise: str = "/") -> str:
    """A page of this site, or `otherwise`: where a visitor goes after signing in is not for others to say."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if good else otherwise


async def _form(request: Request) -> Mapping[str, str]:
    if "\x00" in request.url.path or any("\x00" in value for value in request.query_params.values()):
        raise NotFound  # the store takes none in text
    if request.method in SAFE:
        return {}
    try:
        form = await request.form(max_fields=MOST_FIELDS, max_files=0, max_part_size=64 * 1024)
    except TooLarge:
        raise
    except Exception:
        raise BadForm("The form could not be read. Open the page again, and send it from there.") from None
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    if any("\x00" in name + value for name, value in fields.items()):
        raise BadForm("The form holds a character that cannot be stored.")
    return fields


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(given.encode(), kept.encode())


def _note(problem: Exception) -> str:
    """Log where it broke, not what it said: messages of databases quote what they were given."""
    reference = secrets.token_hex(4)
    last = traceback.extract_tb(problem.__traceback__)[-4:]
    where = " < ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in reversed(last))
    log.error("a page broke (%s): %s at %s", reference, type(problem).__name__, where)
    return reference
