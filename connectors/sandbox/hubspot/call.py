"""One authenticated call: what its handlers need to know and may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from connectors.sandbox.hubspot.portal import Obj, Portal
from connectors.sandbox.hubspot.schema import SINGULAR, kind_of
from connectors.sandbox.hubspot.writes import Refused
from connectors.sandbox.provider import Request

if TYPE_CHECKING:
    from connectors.sandbox.hubspot.api import SandboxHubSpot


@dataclass(frozen=True)
class Call:
    sandbox: SandboxHubSpot
    portal: Portal
    request: Request
    version: str
    rest: list[str]
    body: Any

    @property
    def method(self) -> str:
        return self.request.method

    def kind(self, name: str) -> str:
        kind = kind_of(name)
        if kind is None:
            raise Refused(400, "VALIDATION_ERROR", f"Unable to infer object type from: {name}")
        return kind

    def need(self, scope: str) -> None:
        if scope in self.portal.scopes:
            return
        raise Refused(
            403,
            "MISSING_SCOPES",
            "This app hasn't been granted all required scopes to make this call. Read more about required scopes here.",
            errors=[
                {
                    "message": "One or more of the following scopes are required.",
                    "context": {"requiredGranularScopes": [scope]},
                }
            ],
            links={"scopes": "https://developers.hubspot.com/scopes"},
        )

    def flag(self, name: str) -> bool:
        return self.request.param(name).lower() == "true"  # the Python SDK sends `True`

    def names(self, name: str) -> list[str]:
        """A list in the query: `a,b` or repeated."""
        return [
            part.strip()
            for key, value in self.request.params
            if key == name
            for part in value.split(",")
            if part.strip()
        ]

    def limit(self, *, default: int, most: int) -> int:
        text = self.request.param("limit", str(default))
        if not text.isdecimal() or not 0 < int(text) <= most:
            raise Refused(400, "VALIDATION_ERROR", f"limit must be between 1 and {most}")
        return int(text)

    def offset(self) -> int:
        text = self.request.param("after") or "0"
        if not text.isdecimal():
            raise Refused(400, "VALIDATION_ERROR", "after is not a valid page token")
        return int(text)

    def paging(self, after: str) -> dict[str, Any]:
        query = [(key, value) for key, value in self.request.params if key != "after"]
        link = f"{self.request.root}{self.request.path}?{urlencode([*query, ('after', after)])}"
        return {"next": {"after": after, "link": link}}

    def wrote(self, kind: str, body: dict[str, Any]) -> None:
        self.sandbox.world.wrote("hubspot", kind, {"client_id": self.portal.client.client_id, **body})

    def wrote_object(self, obj: Obj, how: str, given: dict[str, Any]) -> None:
        """`task` for a new one, `task.update`, `task.archive`."""
        kind = SINGULAR[obj.kind] + how
        self.wrote(
            kind,
            {
                "id": str(obj.id),
                "properties": given.get("properties", {}),
                "associations": given.get("associations", []),
            },
        )
