"""Who the agency serves, and how each client is connected: one YAML file that a person writes (`leadtrail clients init`).

Secrets never stand in the file: a secret option is written `${NAME}` and looked up in the environment, then in the secrets
file (LEADTRAIL_SECRETS_FILE), then in the encrypted store.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from connectors.base import Secret
from connectors.registry import CONNECTORS, connector_class
from pipeline.settings import Settings

_REFERENCE = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")
_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
Lookup = Callable[[str], str | None]


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
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(text, Loader=loader) or {}  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise ClientsFileError(f"{path} is not YAML: {error}") from None
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


def _client(entry: Any, number: int, mistakes: list[str]) -> ClientConfig | None:
    if not isinstance(entry, dict) or not entry.get("client_id"):
        mistakes.append(f"client number {number} has no client_id")
        return None
    client_id = str(entry["client_id"])
    where = f"client {client_id}"
    if not _SLUG.match(client_id):
        mistakes.append(f"{where}: client_id must be lower-case letters, digits and dashes (it becomes part of URLs)")
    zone = str(entry.get("timezone") or "")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        mistakes.append(f"{where}: timezone {zone!r} is not known; write one like America/Chicago")
    known = {"client_id", "name", "timezone", "owner", "joined_on", "connections"}
    for odd in sorted(set(entry) - known):
        mistakes.append(f"{where}: `{odd}` is not a setting; known ones are {', '.join(sorted(known))}")
    owner = str(entry.get("owner") or "")
    if not owner:
        mistakes.append(f"{where}: owner is missing (who in client success answers for this client?)")
    connections = []
    for provider, raw in (entry.get("connections") or {}).items():
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
        joined_on=str(entry.get("joined_on") or ""),
        connections=tuple(connections),
    )


# ---- options ----


def build_options(connection: ConnectionConfig, settings: Settings, lookup: Lookup) -> Any:
    """The connector's Options, typed, with secrets looked up. Raises ClientsFileError naming option and next step."""
    cls = connector_class(connection.provider).Options
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    values: dict[str, Any] = {}
    for odd in sorted(set(connection.raw) - set(known)):
        raise ClientsFileError(
            f"{connection.name}: `{odd}` is not an option of {connection.provider}; it takes {', '.join(sorted(known))}."
        )
    for name, definition in known.items():
        override = settings.override(connection.provider, name) if name in ("base_url", "token_url") else ""
        if name in connection.raw and connection.raw[name] is not None:
            values[name] = _typed(connection, name, connection.raw[name], hints[name], lookup)
        elif override:
            values[name] = override
        elif definition.default is MISSING and definition.default_factory is MISSING:
            raise ClientsFileError(
                f"{connection.name}: `{name}` is missing. Add it under {connection.provider} in the clients file."
            )
    return cls(**values)


def _typed(connection: ConnectionConfig, name: str, value: Any, hint: Any, lookup: Lookup) -> Any:
    if hint is Secret:
        reference = _REFERENCE.match(str(value))
        if not reference:
            raise ClientsFileError(
                f"{connection.name}: `{name}` is a secret and may not stand in the file. Write ${{SOME_NAME}} and put the "
                "value in the environment, the secrets file, or `leadtrail secrets set SOME_NAME`."
            )
        found = lookup(reference[1])
        if found is None:
            raise ClientsFileError(
                f"{connection.name}: secret {reference[1]} was not found. Set it in the environment, the secrets file, or "
                f"with `leadtrail secrets set {reference[1]}`."
            )
        return Secret(found)
    if isinstance(value, str) and (reference := _REFERENCE.match(value)):
        value = lookup(reference[1])
    origin = typing.get_origin(hint)
    if origin is tuple:
        return tuple(str(item) for item in (value if isinstance(value, list) else [value]))
    if origin is not None and isinstance(value, dict):
        return {str(k): (tuple(map(str, v)) if isinstance(v, list) else str(v)) for k, v in value.items()}
    if hint in (int, bool, float):
        return hint(value)
    return str(value)


def options_print(connection: ConnectionConfig, options: Any) -> str:
    """A fingerprint that changes when a person changes the connection's settings or secrets. Reveals nothing."""
    words = {
        f.name: (value.reveal() if isinstance(value, Secret) else str(value))
        for f in fields(options)
        if (value := getattr(options, f.name)) is not None
    }
    return hashlib.sha256(json.dumps([connection.name, words], sort_keys=True).encode()).hexdigest()[:16]


def secret_lookup(settings: Settings, stored: Lookup) -> Lookup:
    """Environment first, then the secrets file, then the encrypted store."""
    from_file = _secrets_file(settings.secrets_file) if settings.secrets_file else {}

    def lookup(name: str) -> str | None:
        value = settings.environ.get(name)
        if value is not None:
            return value
        return from_file[name] if name in from_file else stored(name)

    return lookup


def _secrets_file(path: Path) -> dict[str, str]:
    if not path.exists():
        raise ClientsFileError(f"LEADTRAIL_SECRETS_FILE names {path}, which does not exist.")
    if path.stat().st_mode & 0o077:
        raise ClientsFileError(f"{path} holds secrets but others may read it. Run `chmod 600 {path}`.")
    values = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith("#"):
            continue
        values[name.strip()] = str(json.loads(value)) if value.startswith('"') else value
    return values
