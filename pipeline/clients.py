"""Who the agency serves, and how each client is connected: one YAML file that a person writes (`leadtrail clients init`).

Secrets never stand in it; how they and the other options are read is in `options.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from connectors.registry import CONNECTORS
from pipeline.follow_up.client_settings import FollowUpSettings, read_follow_up
from pipeline.settings import Settings

_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
HOUSE = "house"  # in addresses and in the audit log: what is the agency's own, and no client's


class ClientsFileError(Exception):
    """The clients file cannot be used. The message says where, what, and what to write instead."""


@dataclass(frozen=True)
class ConnectionConfig:
    """One client's connection to one provider, as written; `problem` is set if it cannot be used."""

    client_id: str
    provider: str
    raw: Mapping[str, Any]
    owner: str

    @property
    def name(self) -> str:
        return f"{self.client_id}/{self.provider}"


@dataclass(frozen=True)
class ClientConfig:
    client_id: str
    name: str
    timezone: str
    owner: str
    joined_on: str = ""
    connections: tuple[ConnectionConfig, ...] = field(default=())
    follow_up: FollowUpSettings = field(default_factory=FollowUpSettings)


def load_clients(settings: Settings) -> list[ClientConfig]:
    """Read and check the clients file. Raises ClientsFileError with every mistake it finds."""
    path = settings.clients_file
    if not path.exists():
        raise ClientsFileError(
            f"There is no clients file at {path}. Run `leadtrail clients init` to make a commented one, "
            "or set LEADTRAIL_CLIENTS_FILE to yours."
        )
    return _read_clients(path.read_bytes(), path)


def _read_clients(text: bytes, path: Path) -> list[ClientConfig]:
    try:
        document = yaml.load(text, Loader=_Loader) or {}  # noqa: S506  (a safe loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ClientsFileError(f"{path}{where} cannot be read: {error.problem}. Mend that line.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ClientsFileError(f"{path} is not YAML text ({type(error).__name__}). Save it as UTF-8.") from None
    entries = document.get("clients") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ClientsFileError(f"{path} needs a list called `clients:`. `leadtrail clients init` shows the shape.")
    mistakes: list[str] = []
    clients = [client for i, entry in enumerate(entries) if (client := _client(entry, i + 1, mistakes))]
    seen: set[str] = set()
    for client in clients:
        if client.client_id in seen:
            mistakes.append(f"client_id {client.client_id} is used twice; every client needs its own")
        seen.add(client.client_id)
    if mistakes:
        raise ClientsFileError(f"{path} has {len(mistakes)} mistake(s):\n  - " + "\n  - ".join(mistakes))
    return clients


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML lets a key stand twice and drops the first; here that is a client's forgotten connection, so it is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands here for the second time", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


def _client(entry: Any, number: int, mistakes: list[str]) -> ClientConfig | None:
    if not isinstance(entry, dict) or not entry.get("client_id"):
        mistakes.append(f"client number {number} has no client_id")
        return None
    client_id = str(entry["client_id"])
    where = f"client {client_id}"
    if not _SLUG.match(client_id):
        mistakes.append(f"{where}: client_id must be lower-case letters, digits and dashes (it becomes part of URLs)")
    if client_id == HOUSE:
        mistakes.append(
            f"{where}: {HOUSE!r} is what Leadtrail calls the agency's own rules and templates; give this client another "
            "client_id, e.g. house-plumbing"
        )
    zone = str(entry.get("timezone") or "")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        mistakes.append(f"{where}: timezone {zone!r} is not known; write one like America/Chicago")
    known = {"client_id", "name", "timezone", "owner", "joined_on", "connections", "follow_up"}
    for odd in sorted(set(map(str, entry)) - known):
        mistakes.append(f"{where}: `{odd}` is not a setting; known ones are {', '.join(sorted(known))}")
    owner = str(entry.get("owner") or "")
    if not owner:
        mistakes.append(f"{where}: owner is missing (who in client success answers for this client?)")
    joined_on = str(entry.get("joined_on") or "")
    if joined_on and not _is_day(joined_on):
        mistakes.append(f"{where}: joined_on is a day like 2026-02-01, not {joined_on!r}")
    follow_up, wrong = read_follow_up(entry.get("follow_up"))
    mistakes += [f"{where}: {one}" for one in wrong]
    connections = []
    listed = entry.get("connections") or {}
    if not isinstance(listed, dict):
        mistakes.append(f"{where}: write its connections as `provider:` with the options under it")
        listed = {}
    for provider, raw in listed.items():
        if provider not in CONNECTORS:
            mistakes.append(f"{where}: no provider is called {provider!r}; there are {', '.join(CONNECTORS)}")
        elif not isinstance(raw, dict):
            mistakes.append(f"{where}: {provider} needs its options under it")
        else:
            connections.append(ConnectionConfig(client_id, provider, raw, owner))
    return ClientConfig(
        client_id=client_id,
        name=str(entry.get("name") or client_id),
        timezone=zone,
        owner=owner,
        joined_on=joined_on,
        connections=tuple(connections),
        follow_up=follow_up,
    )


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
