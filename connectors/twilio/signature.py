"""X-Twilio-Signature: HMAC-SHA1 over the URL that Twilio called and the form it sent, keyed with the account's auth token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlsplit

from connectors.base import SignatureError, WebhookRequest

Fields = list[tuple[str, str]]


def fields(request: WebhookRequest) -> Fields:
    """The form as sent. Empty values count: they are signed, and a STOP with an empty body is still a message."""
    text = urlsplit(request.url).query if request.method == "GET" else request.body.decode("utf-8", "replace")
    return parse_qsl(text, keep_blank_values=True)


def verify(request: WebhookRequest, auth_token: str) -> None:
    """Raise SignatureError unless the request is signed with this token."""
    given = request.headers.get("x-twilio-signature", "")
    if not given:
        raise SignatureError("The request has no X-Twilio-Signature header.")
    signed: Fields = []
    if request.method != "GET" and request.body:
        if _is_form(request.headers):
            signed = fields(request)
        else:
            _check_body_hash(request)
    url = request.url.partition("#")[0]
    wanted = [signature(each, signed, auth_token) for each in _with_and_without_port(url)]
    # Both are compared in full, so that the time taken tells nothing.
    if not any([hmac.compare_digest(one.encode(), given.encode("utf-8", "replace")) for one in wanted]):
        raise SignatureError(
            "The signature does not match: wrong auth token, or the public URL is not the one Twilio calls."
        )


def signature(url: str, form: Fields, auth_token: str) -> str:
    """Names in byte order, each followed by its distinct values in order, straight after the URL."""
    text = url + "".join(name + value for name, value in sorted(set(form)))
    return base64.b64encode(hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def _check_body_hash(request: WebhookRequest) -> None:
    """A body that is not a form is signed by its hash in the URL; without one, nothing vouches for it."""
    promised = parse_qs(urlsplit(request.url).query).get("bodySHA256", [""])[0]
    actual = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(promised.encode(), actual.encode()):
        raise SignatureError("The body is not the one that was signed (bodySHA256).")


def _with_and_without_port(url: str) -> tuple[str, str]:
    """Twilio signs sometimes with the default port written out and sometimes without."""
    scheme, _, rest = url.partition("://")
    host = re.split("[/?]", rest, maxsplit=1)[0]
    name, _, port = host.rpartition(":")
    if not (name and port.isdigit()):
        name, port = host, "443" if scheme == "https" else "80"
    return f"{scheme}://{name}:{port}{rest[len(host) :]}", f"{scheme}://{name}{rest[len(host) :]}"
