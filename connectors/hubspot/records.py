"""One HubSpot object -> one Record, byte for byte."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from connectors.base import Record


class _Head(msgspec.Struct, rename="camel"):
    id: str
    created_at: datetime | None = None
    updated_at: datetime | None = None


_decode = msgspec.json.Decoder(_Head).decode


def record(raw: msgspec.Raw) -> Record:
    """`updatedAt` mirrors the property changes are found by. An archived object keeps its last one, so that the order in
    which we saw it live, archived and restored decides."""
    try:
        head = _decode(raw)
    except msgspec.ValidationError:
        return _odd(raw)
    return Record(head.id, raw, _aware(head.created_at), _aware(head.updated_at))


def _odd(raw: msgspec.Raw) -> Record:
    """A record of another shape is landed all the same; staging puts it aside."""
    value: Any = msgspec.json.decode(raw)
    known = value.get("id") if isinstance(value, dict) else None
    return Record(str(known) if known else "sha256:" + hashlib.sha256(raw).hexdigest()[:32], raw)


def _aware(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else None
