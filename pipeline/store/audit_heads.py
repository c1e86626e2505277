"""Where the audit log had come to, day by day, in a file outside of the store: cutting rows off its end cannot be hidden.

One line a day: number and hash of the newest row, sealed with the key. The file is only added to; copy it elsewhere with the
backups, and not even who holds the store and the key can shorten the log unnoticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select

from pipeline.store.audit import BrokenChain
from pipeline.store.engine import stamp
from pipeline.store.schema import audit_log

FILE = "audit-heads.jsonl"


def keep_head(engine: Engine, folder: Path, key: bytes, now: datetime) -> bool:
    """Note how far the log has come, once a day. Says whether it was noted now."""
    path = folder / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    if lines and lines[-1].startswith("{") and json.loads(lines[-1]).get("at", "")[:10] == stamp(now)[:10]:
        return False
    with engine.connect() as connection:
        head = connection.execute(
            select(audit_log.c.seq, audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
        ).first()
    if head is None:
        return False
    noted = {"at": stamp(now), "seq": head.seq, "hash": head.hash}
    line = json.dumps({**noted, "seal": _seal(noted, key)}) + "\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return True


def verify_heads(engine: Engine, folder: Path, key: bytes) -> tuple[int, BrokenChain | None]:
    """(days looked at, the first noted row that the log no longer has as it was)."""
    path = folder / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    with engine.connect() as connection:
        for count, line in enumerate(lines):
            try:
                noted = json.loads(line)
                seal = noted.pop("seal")
            except (ValueError, KeyError, AttributeError):
                return count, BrokenChain(0, f"line {count + 1} of {FILE} cannot be read")
            if not hmac.compare_digest(seal, _seal(noted, key)):
                return count, BrokenChain(int(noted.get("seq", 0)), f"line {count + 1} of {FILE} was not written by us")
            there = connection.execute(select(audit_log.c.hash).where(audit_log.c.seq == noted["seq"])).scalar()
            if there != noted["hash"]:
                what = "it is gone" if there is None else "it is another"
                return count, BrokenChain(noted["seq"], f"{what}; it was there on {noted['at'][:10]}")
    return len(lines), None


def _seal(noted: dict[str, object], key: bytes) -> str:
    return hmac.new(key, b"audit head\n" + json.dumps(noted, sort_keys=True).encode(), hashlib.sha256).hexdigest()
