"""The link under a mail: `GET /u/<token>` asks, `POST /u/<token>` ends the mails, from the page or one click (RFC 8058).

The first is not the second because mail filters open every link. Nobody signs in; the token says who it is for. A token that we
did not make is a page that does not exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from connectors import mail
from connectors.base import Connector, Said, WebhookRequest
from pipeline.desk.group_commit import GroupCommit
from pipeline.desk.opt_outs_at_the_door import heed, read_wish
from pipeline.follow_up.unsubscribe import Tokens
from pipeline.store.inbox import Event

log = logging.getLogger("leadtrail.intake")

Connectors = Callable[[str, str], Sequence[Connector]]
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:18px/1.5 system-ui,sans-serif;max-width:34em;margin:4em auto;padding:0 1em}}
button{{font:inherit;padding:.5em 1.2em}}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


class Unsubscribing:
    """The handlers. `connectors` are the intake's: a client with an e-mail connection also gets the event on its timeline."""

    def __init__(self, engine: Engine, commits: GroupCommit, connectors: Connectors, tokens: Tokens) -> None:
        self._engine, self._commits, self._connectors, self._tokens = engine, commits, connectors, tokens

    async def ask(self, request: Request) -> Response:
        found = self._tokens.read(request.path_params["token"])
        if found is None:
            return _unknown()
        return _page(
            "Stop these e-mails?",
            f"<p>We will no longer send e-mail to {html.escape(_masked(found[1]))}.</p>"
            '<form method="post"><button>Unsubscribe</button></form>',
        )

    async def end(self, request: Request) -> Response:
        token = request.path_params["token"]
        found = self._tokens.read(token)
        if found is None:
            return _unknown()
        try:
            done = await self._ended(*found, token, datetime.now(UTC))
        except Exception as failure:
            log.error("an unsubscribe could not be stored: %s", type(failure).__name__)
            done = False
        if not done:
            return _page("Not yet", "<p>That did not work just now. Please try again in a minute.</p>", 503, "30")
        return _page("Done", f"<p>No more e-mail goes to {html.escape(_masked(found[1]))}.</p>")

    async def _ended(self, client_id: str, address: str, token: str, now: datetime) -> bool:
        # again a minute later is a new event: they may have resubscribed in between
        event_id = f"link:{hashlib.sha256(token.encode()).hexdigest()[:24]}:{now:%Y%m%d%H%M}"
        said = Said("email", f"mail:events:{event_id}", now, address, told="stop")
        if self._has_timeline(client_id):
            body = mail.unsubscribed(event_id, address, now)
            request = WebhookRequest("/u/", {"content-type": "application/json"}, body, now)
            return await self._commits.store(Event(client_id, "mail", f"event:{event_id}", request), [said])
        await asyncio.to_thread(self._write, client_id, said, now)
        return True

    def _has_timeline(self, client_id: str) -> bool:
        try:
            return bool(self._connectors(client_id, "mail"))
        except Exception:  # its settings are wrong: that is said elsewhere, and keeps nobody from unsubscribing
            return False

    def _write(self, client_id: str, said: Said, now: datetime) -> None:
        wish = read_wish(said)
        if wish:
            with self._engine.begin() as connection:
                heed(connection, client_id, wish, now)


def _masked(address: str) -> str:
    """Whoever holds the link need not learn the whole address."""
    name, _, domain = address.partition("@")
    return f"{name[:1]}•••@{domain}"


def _unknown() -> Response:
    return _page("Nothing here", "<p>This link is not complete. Please use the one in your e-mail.</p>", 404)


def _page(title: str, body: str, status: int = 200, retry_after: str = "") -> Response:
    headers = {**HEADERS, "Retry-After": retry_after} if retry_after else HEADERS
    return HTMLResponse(PAGE.format(title=title, body=body), status, headers)
