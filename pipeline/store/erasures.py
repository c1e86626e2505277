"""Who was erased: tombstones, so that nothing of them comes in again, and what they asked for stays asked.

A tombstone is a keyed hash of an identifier, so the table by itself tells of nobody; with the store's key it can be asked "was
this one erased?". Kinds: `record:` a provider's record, left out for ever; `mention:` somebody else's record, in which only the
address was blotted out; `phone:` and `email:`, by which what happened before the erasure is known should it come late; `name:`
their full name, looked for in what staff wrote; `lead:`, `person:` and `webhook:` our own ids.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, Engine, func, select

from connectors.base import Record
from pipeline.landing import Batch
from pipeline.settings import Settings
from pipeline.store.engine import put, stamp
from pipeline.store.schema import erasures
from pipeline.store.sealed import load_key

EMAIL = re.compile(rb"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
PHONE = re.compile(rb"(?<![\d.])(?:\+?1[\s.\-]{0,2})?\(?[2-9]\d{2}\)?[\s./\-]{0,3}\d{3}[\s.\-]{0,3}\d{4}(?!\d)")
ERASED = "erased:"  # before the keyed hash of an address that is kept only to know it again

Fate = Literal["keep", "blot", "drop"]


class Prints:
    """Keyed hashes of identifiers. The key is made from the store's, which is kept apart from the store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _key(self) -> bytes:
        key = load_key(self._settings.key, self._settings.home)
        return HKDF(SHA256(), length=32, salt=None, info=b"leadtrail erasures").derive(key)

    def of(self, client_id: str, identifier: str) -> str:
        return hmac.new(self._key, f"{client_id}\n{identifier}".encode(), "sha256").hexdigest()[:40]

    def address(self, client_id: str, address: str) -> str:
        """How a suppression keeps the address of somebody who was erased."""
        kind = "email" if "@" in address else "phone"
        return ERASED + self.of(client_id, f"{kind}:{address}")


def addresses_in(text: bytes) -> dict[str, set[bytes]]:
    """Every phone and email in a text, as an identifier, with its spellings there."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for match in EMAIL.finditer(text):
        found[f"email:{match[0].decode().lower()}"].add(match[0])
    for match in PHONE.finditer(text):
        digits = re.sub(rb"\D", b"", match[0]).decode()
        found[f"phone:+1{digits[-10:]}"].add(match[0])
    return found


def blotted(text: bytes, spellings: Iterable[bytes]) -> bytes:
    """The text with these addresses made unreadable, as long as before: JSON stays JSON, and an id in front of it stays."""
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, re.sub(rb"\d", b"0", re.sub(rb"[A-Za-z]", b"x", spelling)))
    return text


class Tombstones:
    """Those of every client, as they were when read."""

    def __init__(self, prints: Prints, rows: Iterable[tuple[str, str, str]]) -> None:
        self.prints = prints
        self._at: Mapping[str, dict[str, str]] = defaultdict(dict)
        for client_id, identifier_hash, erased_at in rows:
            self._at[client_id][identifier_hash] = erased_at

    @classmethod
    def read(cls, connection: Connection, prints: Prints, *, at: str | None = None) -> Tombstones:
        """All of them, or those of the erasure that began then."""
        query = select(erasures.c.client_id, erasures.c.identifier_hash, erasures.c.erased_at)
        rows = connection.execute(query if at is None else query.where(erasures.c.erased_at == at))
        return cls(prints, [(row.client_id, row.identifier_hash, row.erased_at) for row in rows])

    @property
    def clients(self) -> set[str]:
        return {client_id for client_id, hashes in self._at.items() if hashes}

    def has(self, client_id: str, identifier: str) -> bool:
        return bool(self._at.get(client_id)) and self.prints.of(client_id, identifier) in self._at[client_id]

    def fate(self, client_id: str, provider: str, stream: str, record_id: str) -> Fate:
        """Of a record that is named in a tombstone."""
        name = f"{provider}/{stream}/{record_id}"
        if self.has(client_id, f"record:{name}"):
            return "drop"
        return "blot" if self.has(client_id, f"mention:{name}") else "keep"

    def erased_addresses(self, client_id: str, text: bytes) -> dict[str, set[bytes]]:
        """Addresses of erased people in a text, with their spellings there."""
        if client_id not in self.clients:
            return {}
        return {name: spelled for name, spelled in addresses_in(text).items() if self.has(client_id, name)}

    def blot(self, client_id: str, text: bytes) -> bytes:
        found = self.erased_addresses(client_id, text)
        return blotted(text, {one for spelled in found.values() for one in spelled}) if found else text

    def filtered(self, batch: Batch) -> Batch:
        """The batch without what was erased. What happens after the erasure is a new matter and comes in."""
        if batch.client_id not in self.clients:
            return batch
        records, keys = [], []
        for record, key in zip(batch.records, batch.keys, strict=True):
            kept = self._kept(batch, record)
            if kept is not None:
                records.append(kept)
                keys.append(key)
        return replace(batch, records=records, keys=keys)

    def _kept(self, batch: Batch, record: Record) -> Record | None:
        fate = self.fate(batch.client_id, batch.provider, batch.stream, record.record_id)
        if fate == "drop":
            return None
        found = self.erased_addresses(batch.client_id, bytes(record.payload))
        at = record.updated_at or record.occurred_at
        before = [name for name in found if at is None or stamp(at) <= self.erased_at(batch.client_id, name)]
        if not before:
            return record
        if fate == "keep":
            return None  # it names nobody else that we know of
        return msgspec.structs.replace(record, payload=self.blot(batch.client_id, bytes(record.payload)))

    def erased_at(self, client_id: str, identifier: str) -> str:
        """ "" if it was not."""
        return self._at.get(client_id, {}).get(self.prints.of(client_id, identifier), "")


@contextmanager
def landing_lock(settings: Settings, *, alone: bool) -> Iterator[None]:
    """Held while segments are made and noted, by any number at once; `alone`, while landing is rewritten."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "landing.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


class Door:
    """What every batch passes on its way into landing: what was erased stays out, whenever it was read."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine, self._prints = settings, engine, Prints(settings)
        self._tombstones = Tombstones(self._prints, ())
        self._count = 0

    @contextmanager
    def open(self) -> Iterator[Tombstones]:
        with landing_lock(self._settings, alone=False):
            with self._engine.connect() as connection:
                count = connection.execute(select(func.count()).select_from(erasures)).scalar_one()
                if count != self._count:
                    self._tombstones, self._count = Tombstones.read(connection, self._prints), count
            yield self._tombstones


def entomb(
    connection: Connection, prints: Prints, client_id: str, identifiers: Iterable[str], *, by: str, now: datetime
) -> int:
    rows = [
        {
            "client_id": client_id,
            "identifier_hash": prints.of(client_id, identifier),
            "erased_at": stamp(now),
            "erased_by": by,
            "evidence": json.dumps({"kind": identifier.partition(":")[0]}),
        }
        for identifier in sorted(set(identifiers))
    ]
    if rows:
        put(connection, erasures, rows)
    return len(rows)
