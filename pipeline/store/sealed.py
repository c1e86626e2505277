"""Secrets at rest: AES-GCM, each value bound to its name, so that a row moved to another client does not open."""

from __future__ import annotations

import base64
import hmac
import os
import secrets as random
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Engine, bindparam, delete, func, select

from pipeline.store.engine import put, stamp
from pipeline.store.schema import secrets


class KeyProblem(Exception):
    """The store's key is missing, malformed, or not the one the values were sealed with."""


def load_key(key: str, home: Path) -> bytes:
    """LEADTRAIL_KEY (32 bytes, base64) or, on one machine, a private key file made at first use."""
    path = home / "store.key"
    if key:
        try:
            raw = base64.b64decode(key, validate=True)
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise KeyProblem("LEADTRAIL_KEY must be 32 bytes in base64. `openssl rand -base64 32` makes one.")
        return raw
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"store.key.{random.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, random.token_bytes(32))
        os.close(descriptor)
        try:
            os.link(temporary, path)  # fails if another process made it first: then theirs is the key
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()


_SEALED = select(secrets.c.sealed).where(
    secrets.c.name == bindparam("of_name")
)  # built once: asked for with every call


class Sealed:
    """Named values, encrypted."""

    def __init__(self, engine: Engine, key: bytes) -> None:
        self._engine, self._cipher = engine, AESGCM(key)

    def get(self, name: str) -> str | None:
        with self._engine.connect() as connection:
            sealed = connection.execute(_SEALED, {"of_name": name}).scalar()
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], name.encode()).decode()
        except InvalidTag:
            raise KeyProblem(
                f"The stored secret {name} does not open with this key. Set LEADTRAIL_KEY to the key it was sealed with."
            ) from None

    def put(self, name: str, value: str, now: datetime) -> None:
        with self._engine.begin() as connection:
            self.put_in(connection, name, value, now)

    def put_in(self, connection: Connection, name: str, value: str, now: datetime) -> None:
        nonce = random.token_bytes(12)
        sealed = nonce + self._cipher.encrypt(nonce, value.encode(), name.encode())
        put(connection, secrets, [{"name": name, "sealed": sealed, "updated_at": stamp(now)}])

    def remove(self, name: str) -> bool:
        with self._engine.begin() as connection:
            return connection.execute(delete(secrets).where(secrets.c.name == name)).rowcount > 0

    def names(self) -> list[str]:
        with self._engine.connect() as connection:
            return list(connection.execute(select(secrets.c.name).order_by(secrets.c.name)).scalars())

    def version(self) -> tuple[object, ...]:
        """Changes when a person has stored or removed a secret."""
        query = select(func.count(), func.max(secrets.c.updated_at)).where(secrets.c.name.not_like("oauth:%"))
        with self._engine.connect() as connection:
            return tuple(connection.execute(query).one())


def key_id(key: bytes) -> str:
    """Which key it is, for people to tell one from another. It says nothing of the key."""
    return hmac.new(key, b"leadtrail key id", "sha256").hexdigest()[:12]
