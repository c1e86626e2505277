"""Every route of the portal, as the route table has them: another client's ids, and input that nobody thought of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import select
from starlette.testclient import TestClient

from pipeline.desk.portal.app import portal_app
from pipeline.store.engine import open_store
from pipeline.store.login_attempts import Throttle
from pipeline.store.schema import publication_views
from tests.integration.test_portal import Portal

ROUTES = [
    (route.path, method)
    for route in portal_app(None, throttle=Throttle(b"k" * 32, "portal"), client_name=str)._app.routes  # type: ignore[arg-type, attr-defined]
    for method in sorted(route.methods - {"HEAD"})
]
WORDS = {"type": "string"}


def described() -> dict[str, Any]:
    """The routes as an OpenAPI document; a new route is in it by itself."""
    told: dict[str, Any] = {}
    for path, method in ROUTES:
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in re.findall(r"{(\w+)}", path)
        ]
        parameters += [{"name": name, "in": "query", "schema": WORDS} for name in ("page", "next", "done")]
        told.setdefault(path, {})[method.lower()] = {
            "parameters": parameters,
            "responses": {"default": {"description": "any"}},
        }
        if method == "POST":
            form = {"type": "object", "properties": {"csrf": WORDS, "email": WORDS}}
            told[path]["post"]["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return {"openapi": "3.0.3", "info": {"title": "portal", "version": "1"}, "paths": told}


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    engine = open_store(f"sqlite:///{tmp_path_factory.mktemp('portal') / 'store.db'}")
    yield Portal(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def ids(portal: Portal) -> dict[str, str]:
    return {client: portal.publish(client) for client in ("acme", "bolt")}


@pytest.fixture(scope="module")
def browser(portal: Portal, ids: dict[str, str]) -> TestClient:
    return portal.signed_in("acme")


@pytest.mark.parametrize(("path", "method"), [route for route in ROUTES if "{" in route[0]])
def test_an_id_of_another_client_is_as_good_as_none(
    portal: Portal, ids: dict[str, str], browser: TestClient, path: str, method: str
) -> None:
    def asked(value: str) -> Any:
        return browser.request(method, re.sub(r"{\w+}", value, path), data={} if method == "POST" else None)

    theirs, nobodys = asked(ids["bolt"]), asked("pub_0123456789abcdef")
    assert theirs.status_code == nobodys.status_code
    assert theirs.text.replace(ids["bolt"], "") == nobodys.text.replace("pub_0123456789abcdef", "")
    assert "bolt" not in theirs.text.lower().replace(ids["bolt"], "")
    with portal.engine.connect() as connection:
        assert set(connection.execute(select(publication_views.c.client_id)).scalars()) <= {"acme"}


schema = schemathesis.openapi.from_dict(described())


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_input_is_a_server_error(case: Any, portal: Portal, ids: dict[str, str], browser: TestClient) -> None:
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        known = ids["acme"] if len(str(value)) % 2 else quote(str(value), safe="", errors="replace")
        path = path.replace(f"{{{name}}}", known)
    asked = {name: value for name, value in (case.query or {}).items() if isinstance(value, str)}
    fields = case.body if isinstance(case.body, dict) else {}
    answer = browser.request(case.method, path, params=asked, data=fields if case.method == "POST" else None)
    assert answer.status_code < 500, (case.method, path)
