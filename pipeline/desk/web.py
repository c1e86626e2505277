"""What stands before every page of the desk and of the portal: which host is ours, who may send forms, and the headers that tell
a browser to run nothing, embed nothing and keep nothing.

No page has a script, so the policy allows none, and no style but our own file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_FORM = 256 * 1024
SAFE = ("GET", "HEAD", "OPTIONS")
CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
TRANSPORT = "max-age=31536000; includeSubDomains"


class Guard:
    """`public_url` is the address that people type; without one, only this machine is answered."""

    def __init__(self, app: ASGIApp, *, public_url: str = "") -> None:
        self._app, self._url = app, urlsplit(public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(scope, MutableHeaders(scope=message))
            await send(message)

        if refusal:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, guarded)
        else:
            await self._app(scope, _capped(receive), guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return 421, "This is not the address of this site."
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal() or int(length) > LARGEST_FORM:
            return 413, "That is too much for one form."
        if scope["method"] not in SAFE and not self._comes_from_us(scope, headers):
            return 403, "This form was not sent from a page of this site. Open the page again, and send it from there."
        return None

    def _is_ours(self, host: str) -> bool:
        if self._url.netloc:
            return host.lower() == self._url.netloc.lower()
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or _is_loopback(name)

    def _comes_from_us(self, scope: Scope, headers: Headers) -> bool:
        """Browsers say from which site a form comes, and no page can make them say otherwise. Who says neither is refused."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        ours = f"{self._scheme(scope)}://{headers['host']}".lower()
        if origin is not None and origin.lower() != ours:
            return False
        return site == "same-origin" if site is not None else origin is not None

    def _scheme(self, scope: Scope) -> str:
        return self._url.scheme or str(scope["scheme"])

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers[name] = value
        if "cache-control" not in headers:
            headers["Cache-Control"] = "no-store"
        if self._scheme(scope) == "https":
            headers["Strict-Transport-Security"] = TRANSPORT


class TooLarge(Exception):
    """The body is larger than it may be, whatever its head said."""


def _capped(receive: Receive) -> Receive:
    taken = 0

    async def capped() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_FORM:
            raise TooLarge
        return message

    return capped


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
