"""A connection's options, from what the clients file says: typed, with secrets looked up.

A secret is written `${NAME}` and looked up in the environment, then in the secrets file (LEADTRAIL_SECRETS_FILE), then in the
encrypted store.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import date
from pathlib import Path
from typing import Any

from connectors.base import Secret
from connectors.registry import connector_class
from pipeline.clients import ClientsFileError, ConnectionConfig
from pipeline.settings import Settings

_REFERENCE = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")
Lookup = Callable[[str], str | None]


def build_options(connection: ConnectionConfig, settings: Settings, lookup: Lookup) -> list[Any]:
    """The connection's Options, typed, with secrets looked up; more than one while a secret is being replaced: a list of
    secrets is the new one, then those that webhooks may still be signed with. Raises ClientsFileError with every mistake
    (without the connection's name: the caller says it)."""
    cls = connector_class(connection.provider).Options
    hints = typing.get_type_hints(cls)
    known = {definition.name: definition for definition in fields(cls)}
    mistakes = [
        f"`{odd}` is not an option of {connection.provider}; it takes {', '.join(sorted(known))}."
        for odd in sorted(set(map(str, connection.raw)) - set(known))
    ]
    choices: dict[str, list[Any]] = {}
    for name, definition in known.items():
        written = connection.raw.get(name)
        override = settings.override(connection.provider, name) if name in ("base_url", "token_url") else ""
        if written is None and override:
            choices[name] = [override]
        elif written is not None:
            try:
                choices[name] = _typed(name, written, hints[name], lookup)
            except _Mistake as mistake:
                mistakes.append(str(mistake))
        elif definition.default is MISSING and definition.default_factory is MISSING:
            mistakes.append(f"`{name}` is missing. Add it under {connection.provider} in the clients file.")
    if mistakes:
        raise ClientsFileError(" ".join(mistakes))
    return [cls(**dict(zip(choices, picked, strict=True))) for picked in itertools.product(*choices.values())]


class _Mistake(Exception):
    """What is wrong with one option. Never holds the value of a secret."""


def _typed(name: str, value: Any, hint: Any, lookup: Lookup) -> list[Any]:
    """The option's value; several only of a secret."""
    if hint is Secret:
        return [Secret(_secret(name, one, lookup)) for one in (value if isinstance(value, list) and value else [value])]
    if isinstance(value, str) and (reference := _REFERENCE.match(value)):
        value = _found(reference[1], lookup)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return [tuple(_text(name, item) for item in (value if isinstance(value, list) else [value]))]
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise _Mistake(f"`{name}` is one of {', '.join(map(str, typing.get_args(hint)))}, not {value!r}.")
        return [value]
    if origin is not None:
        if not isinstance(value, dict):
            raise _Mistake(f"`{name}` is a table: write `ours: theirs` lines under it.")
        return [{str(key): _text(name, item) for key, item in value.items()}]
    if hint is bool:
        return [_yes_or_no(name, value)]
    if hint is int:
        return [_number(name, value)]
    return [_text(name, value)]


def _secret(name: str, value: Any, lookup: Lookup) -> str:
    reference = _REFERENCE.match(value) if isinstance(value, str) else None
    if not reference:
        raise _Mistake(
            f"`{name}` is a secret and may not stand in the file. Write ${{SOME_NAME}} and put the value in the "
            "environment, the secrets file, or `leadtrail secrets set SOME_NAME`."
        )
    return _found(reference[1], lookup)


def _found(name: str, lookup: Lookup) -> str:
    value = lookup(name)
    if not value:
        raise _Mistake(
            f"secret {name} was not found. Set it in the environment, the secrets file, or with "
            f"`leadtrail secrets set {name}`."
        )
    return value


def _text(name: str, value: Any) -> str:
    """Ids may be written as whole numbers. Other numbers are not what was meant: YAML reads 1e5 as 100000.0."""
    if isinstance(value, str) or (isinstance(value, int | date) and not isinstance(value, bool)):
        return str(value)
    raise _Mistake(f"`{name}` must be text; put {value!r} in quotes if that is what you mean.")


def _yes_or_no(name: str, value: Any) -> bool:
    said = {"true": True, "yes": True, "false": False, "no": False}.get(str(value).strip().lower())
    if said is None:
        raise _Mistake(f"`{name}` is true or false, not {value!r}.")
    return said


def _number(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value.strip()):
        return int(value)
    raise _Mistake(f"`{name}` is a whole number, not {value!r}.")


def options_print(connection: ConnectionConfig, options: Any) -> str:
    """A fingerprint that changes when a person changes the connection's settings or secrets. Reveals nothing."""
    words = {
        f.name: (value.reveal() if isinstance(value, Secret) else str(value))
        for f in fields(options)
        if (value := getattr(options, f.name)) is not None
    }
    return hashlib.sha256(json.dumps([connection.name, words], sort_keys=True).encode()).hexdigest()[:16]


def secret_lookup(settings: Settings, stored: Lookup) -> Lookup:
    """Environment first, then the secrets file, then the encrypted store. An empty value counts as none."""
    from_file = _secrets_file(settings.secrets_file) if settings.secrets_file else {}

    def lookup(name: str) -> str | None:
        return settings.environ.get(name) or from_file.get(name) or stored(name)

    return lookup


def _secrets_file(path: Path) -> dict[str, str]:
    if not path.exists():
        raise ClientsFileError(f"LEADTRAIL_SECRETS_FILE names {path}, which does not exist.")
    if path.stat().st_mode & 0o077:
        raise ClientsFileError(f"{path} holds secrets but others may read it. Run `chmod 600 {path}`.")
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith("#"):
            continue
        try:
            values[name.strip()] = str(json.loads(value)) if value.startswith('"') else value.strip()
        except ValueError:
            raise ClientsFileError(
                f"{path}, line {number}: the quoted value of {name.strip()} does not end well. Write NAME=value, or "
                'NAME="value" with \\" and \\n inside.'
            ) from None
    return values
