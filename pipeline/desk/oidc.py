"""Signing in with the agency's own identity provider: OpenID Connect, authorization code with PKCE, state and nonce.

Between the two halves the browser holds what the second must know, sealed with our key for ten minutes. An account is found by
the email that the provider has verified; none is made: who may use the desk is decided with `leadtrail accounts add`.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from cryptography.fernet import Fernet, InvalidToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.responses import RedirectResponse, Response

from pipeline.desk.visits import Visit
from pipeline.settings import Settings

log = logging.getLogger("leadtrail.pages")

COOKIE = "__Host-leadtrail-elsewhere"
LASTS = 600  # seconds between the two halves
BACK = "/sign-in/back"
ALGORITHMS = ["RS256", "ES256", "PS256"]  # never `none`, never one with a shared secret
PROBLEM = "Signing in there did not work. Try again; if it goes on, an admin finds the reason in the log."


@dataclass(frozen=True)
class Came:
    """Who came back: a verified email, or a problem they may read."""

    email: str = ""
    next: str = "/"
    problem: str = ""


class ProviderAway(Exception):
    """It does not answer, or not as one."""


class OpenId:
    def __init__(self, settings: Settings, key: bytes) -> None:
        self._issuer, self._client_id = settings.oidc_issuer, settings.oidc_client_id
        self._secret = settings.oidc_client_secret or None
        self.name = settings.oidc_name
        self._box = Fernet(base64.urlsafe_b64encode(key))
        self._back = (settings.desk_url or "http://127.0.0.1:8920") + BACK
        self._told: dict[str, Any] = {}

    @classmethod
    def from_settings(cls, settings: Settings, key: bytes) -> OpenId | None:
        return cls(settings, key) if settings.oidc_issuer else None

    def start(self, visit: Visit, then: str) -> Response:
        """To the provider. Raises ProviderAway."""
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        try:
            endpoint = self._said("authorization_endpoint")
        except (httpx.HTTPError, ValueError, KeyError) as problem:
            log.warning("the identity provider does not answer as one: %s", type(problem).__name__)
            raise ProviderAway from None
        with self._client() as client:
            url, state = client.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "next": then}
        response = RedirectResponse(url, 303)
        sealed = self._box.encrypt_at_time(json.dumps(kept).encode(), int(visit.now.timestamp())).decode()
        response.set_cookie(COOKIE, sealed, max_age=LASTS, secure=True, httponly=True, samesite="lax", path="/")
        return response

    def back(self, visit: Visit) -> Came:
        """From the provider: check that it is the answer to what this browser asked."""
        try:
            sealed = visit.request.cookies.get(COOKIE, "").encode()
            kept = json.loads(self._box.decrypt_at_time(sealed, LASTS, int(visit.now.timestamp())))
            if not hmac.compare_digest(visit.asked("state").encode(), kept["state"].encode()):
                return Came(problem=PROBLEM)
            claims = self._claims(visit.asked("code"), kept)
        except (InvalidToken, OAuthError, JoseError, httpx.HTTPError, ValueError, KeyError) as problem:
            log.warning("signing in elsewhere failed: %s", type(problem).__name__)
            return Came(problem=PROBLEM)
        if claims.get("email_verified") is not True:
            return Came(problem="Your provider has not verified your email address, so nobody knows that it is yours.")
        return Came(email=str(claims.get("email", "")), next=kept["next"])

    def forget(self, response: Response) -> Response:
        response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax", path="/")
        return response

    def _claims(self, code: str, kept: dict[str, str]) -> dict[str, Any]:
        with self._client() as client:
            token = client.fetch_token(
                self._said("token_endpoint"), code=code, code_verifier=kept["verifier"], grant_type="authorization_code"
            )
        keys = KeySet.import_key_set(_got(self._said("jwks_uri")))  # type: ignore[arg-type]
        claims = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS).claims
        registry = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": kept["nonce"]},
            exp={"essential": True},
            sub={"essential": True},
        )
        registry.validate(claims)
        return claims

    def _client(self) -> OAuth2Client:
        return OAuth2Client(
            self._client_id,
            self._secret,
            scope="openid email profile",
            redirect_uri=self._back,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._secret else "none",
            timeout=10,
        )

    def _said(self, name: str) -> str:
        """What the provider says of itself; asked once."""
        if not self._told:
            told = _got(f"{self._issuer}/.well-known/openid-configuration")
            if str(told.get("issuer", "")).rstrip("/") != self._issuer:
                raise ValueError("the provider gives itself another name")
            self._told = told
        return str(self._told[name])


def _got(url: str) -> dict[str, Any]:
    answer = httpx.get(url, timeout=10)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
