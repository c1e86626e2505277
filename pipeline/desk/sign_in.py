"""Signing in to the desk and out again: by password, or by OpenID Connect where it is set up (pipeline.desk.oidc)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from pipeline.desk.oidc import OpenId, ProviderAway
from pipeline.desk.seen import DeskVisit
from pipeline.desk.visits import NotFound, safe_path
from pipeline.store import accounts, sessions
from pipeline.store.login_attempts import Throttle

WRONG = "That is not an account of the desk with this password."


class SignIn:
    """The pages that anybody may open."""

    def __init__(self, throttle: Throttle, openid: OpenId | None) -> None:
        self._throttle, self._openid = throttle, openid

    def ask(self, visit: DeskVisit) -> Response:
        return visit.go("/") if visit.session else self._page(visit)

    def try_password(self, visit: DeskVisit) -> Response:
        email, password = visit.form.get("email", ""), visit.form.get("password", "")
        with visit.changing() as connection:
            attempt = self._throttle.begin(connection, email, visit.address, visit.now)
        if attempt.wait:
            return self._wait(visit, attempt.wait)
        account = accounts.password_is(visit.desk.engine, email, password)
        if account is None or not account.is_staff:
            return self._page(visit, 403, WRONG)
        with visit.changing() as connection:
            self._throttle.right(connection, attempt)
            token = self._begin(visit, connection, account)
        return visit.site.keep(visit.go(safe_path(visit.form.get("next", ""))), token)

    def sign_out(self, visit: DeskVisit) -> Response:
        if visit.session:
            with visit.changing() as connection:
                sessions.end(connection, visit.session, visit.now)
        return visit.site.drop(visit.go("/sign-in", "signed-out"))

    # ---- OpenID Connect ----

    def go_to_provider(self, visit: DeskVisit) -> Response:
        if self._openid is None:
            raise NotFound
        try:
            return self._openid.start(visit, safe_path(visit.asked("next")))
        except ProviderAway:
            return self._page(
                visit, 503, f"{self._openid.name} does not answer just now. Try again, or use a password."
            )

    def back_from_provider(self, visit: DeskVisit) -> Response:
        if self._openid is None:
            raise NotFound
        came = self._openid.back(visit)
        with visit.reading() as connection:
            account = accounts.find_account(connection, came.email) if came.email else None
        if account is None or account.disabled_at or not account.is_staff:
            return self._openid.forget(
                self._page(visit, 403, came.problem or "There is no account of the desk for you.")
            )
        with visit.changing() as connection:
            token = self._begin(visit, connection, account)
        return self._openid.forget(visit.site.keep(visit.go(safe_path(came.next)), token))

    # ---- inside ----

    def _begin(self, visit: DeskVisit, connection: Any, account: accounts.Account) -> str:
        if visit.session:  # who signs in again leaves no second session behind
            sessions.end(connection, visit.session, visit.now)
        return sessions.start(connection, account, visit.site.realm, visit.now)

    def _wait(self, visit: DeskVisit, wait: timedelta) -> Response:
        minutes = max(1, round(wait.total_seconds() / 60))
        said = f"Too many wrong passwords. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        page = self._page(visit, 429, said)
        page.headers["Retry-After"] = str(int(wait.total_seconds()) + 1)
        return page

    def _page(self, visit: DeskVisit, status: int = 200, problem: str = "") -> Response:
        then = safe_path(visit.form.get("next") or visit.asked("next"))
        return visit.render(
            "sign_in.html",
            status,
            problem=problem,
            email=visit.form.get("email", ""),
            next=then,
            elsewhere=f"/sign-in/elsewhere?{urlencode({'next': then})}" if self._openid else "",
            elsewhere_name=self._openid.name if self._openid else "",
        )
