"""Input that nobody thought of, sent to every route of the desk: no server error, whatever it is."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from pipeline.desk.desk import PAGES
from tests.desk_world import MINE, World, make_world

FIELDS = ("why", "version", "client", "words", "stage", "page", "from", "to", "decision", "address", "channel", "finding",
          "bound_hash", "title", "opening", "heading-0", "lines-0", "arrived", "email", "password", "next", "name", "role",
          "cause", "scope", "owner", "resumes", "contact", "field-0", "value-0", "seen")  # fmt: skip
QUERY = (
    "client",
    "stage",
    "status",
    "kind",
    "view",
    "version",
    "model",
    "page",
    "done",
    "next",
    "state",
    "code",
    "contact",
)
DOORS = (("/sign-in", "GET"), ("/sign-in", "POST"), ("/sign-in/back", "GET"), ("/static/{name}", "GET"))


def described() -> dict[str, Any]:
    """The routes as an OpenAPI document; a new route is in it by itself."""
    told: dict[str, Any] = {}
    for path, method in [*((page.path, page.method) for page in PAGES), *DOORS]:
        names = re.findall(r"{(\w+)}", path)
        words = {"type": "string"}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ]
        parameters += [{"name": name, "in": "query", "schema": words} for name in QUERY]
        told.setdefault(path, {})[method.lower()] = {
            "parameters": parameters,
            "responses": {"default": {"description": "any"}},
        }
        if method == "POST":
            form = {"type": "object", "properties": dict.fromkeys(FIELDS, words), "required": ["csrf"]}
            form["properties"] = {**form["properties"], "csrf": words}  # type: ignore[dict-item]
            told[path]["post"]["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": form}}}
    return {"openapi": "3.0.3", "info": {"title": "desk", "version": "1"}, "paths": told}


schema = schemathesis.openapi.from_dict(described())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def browser(world: World) -> Any:
    return world.browser("admin")  # who may open every page


@pytest.fixture(scope="module")
def token(world: World, browser: Any) -> str:
    return world.token(browser)


def tried(most: int) -> Any:
    return settings(
        max_examples=most,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.soak
@schema.parametrize()
@tried(150)
def test_no_input_is_a_server_error(case: Any, world: World, browser: Any, token: str) -> None:
    send(case, world, browser, token)


def send(case: Any, world: World, browser: Any, token: str) -> None:
    """Half of the time with ids that there are: else nothing behind the look-up would be reached."""
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        real = world.ids[MINE].get(name)
        path = path.replace(
            f"{{{name}}}", real if real and len(str(value)) % 2 else quote(str(value), safe="", errors="replace")
        )
    fields = {**case.body, "csrf": token} if isinstance(case.body, dict) else {}
    asked = {name: value for name, value in (case.query or {}).items() if isinstance(value, str)}
    answer = browser.request(case.method, path, params=asked, data=fields if case.method == "POST" else None)
    assert answer.status_code < 500, (case.method, path, asked, fields)
