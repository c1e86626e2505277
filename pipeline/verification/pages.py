"""The desk, the portal and the intake, asked from outside as a browser or a provider would."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import httpx
from sqlalchemy import Engine

from pipeline.doctor import Finding
from pipeline.store import sessions
from pipeline.store.accounts import Account, add_account, find_account
from pipeline.store.sessions import PORTAL

SLOW = 1.0  # seconds
RESTART = "Is `leadtrail up` running? See its log in the home's logs/, and start it again."
# the account that verification reads the portal with; no mail reaches it, so nobody else can sign in with it
READER = "verification@leadtrail.invalid"


def desk(url: str, http: httpx.Client) -> Iterator[Finding]:
    """It answers, it lets nobody in who has not signed in, and it tells browsers to run nothing."""
    yield from _closed("desk", url, http)


def intake(url: str, http: httpx.Client, client_id: str, provider: str) -> Iterator[Finding]:
    """It answers, and it takes no webhook that proves nothing."""
    answer = http.get(f"{url}/healthz")
    if answer.status_code != 200:
        yield Finding("problem", "webhooks", f"the intake answers {answer.status_code}", RESTART)
        return
    unproven = http.post(f"{url}/webhooks/{client_id}/{provider}", json={"verification": True})
    if unproven.status_code == 401:
        yield Finding("ok", "webhooks", f"the intake answers, and refuses what proves nothing ({_took(unproven)})")
    else:
        yield Finding(
            "problem", "webhooks", f"an unsigned webhook was answered with {unproven.status_code}, not 401",
            "Stop the intake: it may take what anybody sends. Then look at its log.",
        )  # fmt: skip


def portal(url: str, http: httpx.Client, cookie: str) -> Iterator[Finding]:
    """It is closed to strangers, and a client sees a page with nothing of another."""
    yield from _closed("portal", url, http)
    page = http.get(url, headers={"Cookie": cookie})
    if page.status_code != 200:
        yield Finding("problem", "portal", f"a client who signed in gets {page.status_code}", RESTART)
    else:
        yield Finding("ok", "portal", f"a client who signed in reads their page ({_took(page)})")


def _closed(what: str, url: str, http: httpx.Client) -> Iterator[Finding]:
    stranger = http.get(url)
    if stranger.status_code != 303 or "sign-in" not in stranger.headers.get("location", ""):
        yield Finding("problem", what, f"a stranger gets {stranger.status_code} instead of the sign-in page", RESTART)
        return
    form = http.get(f"{url}/sign-in")
    policy = form.headers.get("content-security-policy", "")
    if form.status_code != 200 or "default-src 'none'" not in policy or "script" in policy:
        yield Finding("problem", what, f"its sign-in page is not as it should be ({form.status_code})", RESTART)
    elif form.elapsed.total_seconds() > SLOW:
        yield Finding("warn", what, f"its sign-in page took {_took(form)}", "Is the machine busy?")
    else:
        yield Finding("ok", what, f"answers, and lets no stranger in ({_took(form)})")


def _took(answer: httpx.Response) -> str:
    return f"{answer.elapsed.total_seconds() * 1000:.0f} ms"


def reader(engine: Engine, client_id: str, now: datetime) -> str:
    """Sign the verification's own account in to the portal. Returns the cookie."""
    with engine.begin() as connection:
        account: Account | None = find_account(connection, READER)
        if account is None:
            account = add_account(
                connection,
                READER,
                name="Verification",
                role="client",
                clients=[client_id],
                by="leadtrail verify",
                now=now,
            )
        return f"__Host-leadtrail-{PORTAL.name}={sessions.start(connection, account, PORTAL, now)}"


def sign_out(engine: Engine, cookie: str, now: datetime) -> None:
    with engine.begin() as connection:
        session = sessions.find(connection, cookie.partition("=")[2], PORTAL, now)
        if session:
            sessions.end(connection, session, now)
