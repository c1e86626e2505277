"""Sign-in to Google: an access token from a service account's key, or from a user's refresh token.

    POST https://oauth2.googleapis.com/token   (grant jwt-bearer, or grant refresh_token)

Google does not rotate: neither grant hands out a new refresh token, so nothing has to be stored and the access token
lives in memory only. `aud` stays Google's own URL even if the key names another `token_uri`, as google-auth does.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from connectors.base import ConfigError, ConnectorError, CredentialError, Secret
from connectors.http import Account, Http, Response, StaticAuth, Wait

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  (an address)
LIFETIME = timedelta(hours=1)  # the longest Google accepts
MARGIN = timedelta(minutes=5)


class SignInError(CredentialError):
    """Google refuses the identity itself, so every call of this connection would fail."""


class KeyFile(msgspec.Struct):
    """What we need of the JSON file that Google issues for a service account."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = ""


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: int = 3600


class _Refused(msgspec.Struct):
    error: str = ""


class Grant:
    """How to ask for a token. `who` names the identity for people: no secret, no personal data."""

    who = ""
    url = TOKEN_URL
    repair = ""

    def form(self, now: datetime) -> dict[str, str]:
        raise NotImplementedError


class ServiceAccount(Grant):
    """The agency's robot user: it sees the properties to which its e-mail was added."""

    repair = (
        "See in Google Cloud that the key still exists and that this machine's clock is right; if the key is gone, "
        "create one, put it in place of the old and run `leadtrail check`."
    )

    def __init__(self, key: Secret, *, scope: str, connection: str, token_url: str = "") -> None:
        try:
            self._key = msgspec.json.decode(key.reveal(), type=KeyFile)
            private = load_pem_private_key(self._key.private_key.encode(), password=None)
            if not isinstance(private, rsa.RSAPrivateKey):
                raise TypeError
        except (msgspec.DecodeError, ValueError, TypeError):
            raise ConfigError(
                "the service account is not a key file as Google issues it.",
                connection=connection,
                fix="Put the whole text of the JSON key file into `service_account`.",
            ) from None  # the cause would show parts of the key
        self._private, self._scope = private, scope
        self.who = self._key.client_email
        self.url = token_url or self._key.token_uri or TOKEN_URL

    def form(self, now: datetime) -> dict[str, str]:
        header = {"alg": "RS256", "typ": "JWT", "kid": self._key.private_key_id}
        issued = int(now.timestamp())
        claims = {
            "iss": self._key.client_email,
            "scope": self._scope,
            "aud": TOKEN_URL,
            "iat": issued,
            "exp": issued + int(LIFETIME.total_seconds()),
        }
        signed = f"{_segment(header)}.{_segment(claims)}"
        signature = self._private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {
            "assertion": f"{signed}.{_unpadded(signature)}",
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }


class UserConsent(Grant):
    """A person's consent, kept as a refresh token. It dies when they revoke it or leave the company."""

    who = "the user who gave consent"
    repair = "Authorise again, put the new refresh token where the old one is, and run `leadtrail check`."

    def __init__(self, *, client_id: Secret, client_secret: Secret, refresh_token: Secret, token_url: str = "") -> None:
        self._form = {
            "grant_type": "refresh_token",
            "client_id": client_id.reveal(),
            "client_secret": client_secret.reveal(),
            "refresh_token": refresh_token.reveal(),
        }
        self.url = token_url or TOKEN_URL

    def form(self, now: datetime) -> dict[str, str]:
        return self._form


class GoogleToken(Account):
    """The bearer token of one identity, shared by all threads of a connection: one renewal at a time."""

    def __init__(self, http: Http, grant: Grant, *, connection: str) -> None:
        super().__init__(http, connection=connection, base_url=grant.url, auth=StaticAuth({}))
        self.grant = grant
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at: datetime | None = None

    def headers(self) -> Mapping[str, str]:
        with self._lock:
            if self._renew_at is None or self.http.clock.now() >= self._renew_at:
                self._fetch()
            return {"Authorization": f"Bearer {self._token}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        with self._lock:
            if refused.get("Authorization") == f"Bearer {self._token}":  # else another thread was faster
                self._fetch()
            return True

    def _fetch(self) -> None:
        now = self.http.clock.now()
        granted = self._decoded("POST", self.grant.url, _Granted, form=self.grant.form(now))
        self._token = granted.access_token
        self._renew_at = now + timedelta(seconds=granted.expires_in) - MARGIN

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        if response.status not in (400, 401, 403):
            return super().judge(response)
        try:
            reason = msgspec.json.decode(response.body, type=_Refused).error
        except msgspec.DecodeError:
            reason = ""
        return SignInError(
            f"Google refuses to sign in {self.grant.who} ({reason or response.status}).",
            connection=self.connection,
            fix=self.grant.repair,
        )


def _segment(value: Any) -> str:
    return _unpadded(msgspec.json.encode(value))


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
