"""Signing in with an identity provider that signs what it says, over HTTP; and everything that must not be believed."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from pipeline.desk.desk import desk_app
from pipeline.office import Office
from pipeline.settings import Settings
from tests.conftest import _Server
from tests.desk_world import BROWSER, ORIGIN, World, make_world

CLIENT = "leadtrail-desk"


class Provider:
    """An OpenID Connect provider. `claims` is what it says of whoever comes; `key` signs it."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.signs_with: Any = self.key
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {}
        self.challenge = self.asked_nonce = ""
        self.origin = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        told: dict[str, Any]
        if scope["path"] == "/.well-known/openid-configuration":
            told = {
                "issuer": self.origin,
                "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/token",
                "jwks_uri": f"{self.origin}/keys",
            }
        elif scope["path"] == "/keys":
            told = {"keys": [self.key.as_dict(private=False)]}
        else:
            sent = dict(parse_qsl(body.decode()))
            digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.challenge, "PKCE"
            told = {"access_token": "a", "token_type": "Bearer", "id_token": self._signed()}
        content = json.dumps(told).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": content})

    def _signed(self) -> str:
        now = int(time.time())
        said = {"iss": self.origin, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 60, "nonce": self.asked_nonce}
        said |= {"email": "admin@agency.example", "email_verified": True, **self.claims}
        said = {name: value for name, value in said.items() if value is not None}
        if self.algorithm == "none":
            parts = [json.dumps(part).encode() for part in ({"alg": "none"}, said)]
            return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])
        return jwt.encode({"alg": self.algorithm, "kid": "one"}, said, self.signs_with)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    server = _Server(made)
    made.origin = server.origin
    yield made
    server.stop()


@pytest.fixture
def browser(world: World, provider: Provider) -> TestClient:
    settings = Settings.from_env(
        {
            "LEADTRAIL_HOME": str(world.office.settings.home),
            "LEADTRAIL_DESK_URL": ORIGIN,
            "LEADTRAIL_OIDC_ISSUER": provider.origin,
            "LEADTRAIL_OIDC_CLIENT_ID": CLIENT,
            "LEADTRAIL_OIDC_NAME": "Agency SSO",
        }
    )
    return TestClient(desk_app(Office(settings)), base_url=ORIGIN, headers=BROWSER, follow_redirects=False)


def come_back(
    browser: TestClient, provider: Provider, change: Callable[[dict[str, str]], None] = lambda _: None
) -> Any:
    """To the provider and back, as a browser goes."""
    away = browser.get("/sign-in/elsewhere", params={"next": "/holds"})
    assert away.status_code == 303
    asked = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
    assert asked["redirect_uri"] == f"{ORIGIN}/sign-in/back"
    assert asked["code_challenge_method"] == "S256"
    provider.challenge, provider.asked_nonce = asked["code_challenge"], asked["nonce"]
    back = {"code": "c", "state": asked["state"]}
    change(back)
    return browser.get("/sign-in/back", params=back)


def test_somebody_with_an_account_signs_in_and_goes_where_they_wanted(browser: TestClient, provider: Provider) -> None:
    assert "Continue with Agency SSO" in browser.get("/sign-in").text
    answer = come_back(browser, provider)
    assert (answer.status_code, answer.headers["location"]) == (303, "/holds")
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "stranger@elsewhere.example"},
        {"email": None},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"aud": "another-app"},
        {"iss": "https://evil.example"},
        {"nonce": "of another browser"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
    ],
    ids=str,
)
def test_what_the_provider_says_of_somebody_else_signs_nobody_in(
    browser: TestClient, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    answer = come_back(browser, provider)
    assert answer.status_code == 403
    assert "__Host-leadtrail-desk=" not in str(answer.headers)
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize("how", ["none", "another key", "a shared secret"])
def test_what_the_provider_did_not_sign_is_not_believed(browser: TestClient, provider: Provider, how: str) -> None:
    if how == "none":
        provider.algorithm = "none"
    elif how == "another key":
        provider.signs_with = RSAKey.generate_key(2048)
    else:
        from joserfc.jwk import OctKey

        provider.algorithm, provider.signs_with = "HS256", OctKey.import_key(b"k" * 32)
    assert come_back(browser, provider).status_code == 403
    assert browser.get("/").status_code == 303


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(browser: TestClient, provider: Provider) -> None:
    def other_state(back: dict[str, str]) -> None:
        back["state"] = "of another browser"

    assert come_back(browser, provider, other_state).status_code == 403
    browser.cookies.clear()
    assert browser.get("/sign-in/back", params={"code": "c", "state": "s"}).status_code == 403


def test_a_provider_that_does_not_answer_is_no_error_of_ours(
    world: World, provider: Provider, browser: TestClient
) -> None:
    provider.origin = "http://127.0.0.1:9"
    answer = browser.get("/sign-in/elsewhere")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def test_without_a_provider_there_is_no_such_way(world: World) -> None:
    assert world.browser().get("/sign-in/elsewhere").status_code == 404
    assert world.browser().get("/sign-in/back").status_code == 404
    assert "Continue with" not in world.browser().get("/sign-in").text
