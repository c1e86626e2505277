"""The audit log cannot be shortened, or rewritten from any row on, without it being found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select

from pipeline.store import audit
from pipeline.store.audit_heads import FILE, keep_head, verify_heads
from pipeline.store.schema import audit_log

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEY = b"k" * 32


def noted(engine: Engine, what: str) -> None:
    with engine.begin() as connection:
        audit.note(connection, "ann", what, "it", {}, NOW)


@pytest.fixture
def two_days(engine: Engine, tmp_path: Path) -> Path:
    for day in range(2):
        for n in range(3):
            noted(engine, f"did {day} {n}")
        assert keep_head(engine, tmp_path, KEY, NOW + timedelta(days=day))
        assert not keep_head(engine, tmp_path, KEY, NOW + timedelta(days=day, hours=1)), "once a day"
    return tmp_path


def test_a_whole_log_holds(engine: Engine, two_days: Path) -> None:
    noted(engine, "more")
    assert verify_heads(engine, two_days, KEY) == (2, None)
    assert (two_days / FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kept", range(6))
def test_rows_cut_off_the_end_are_missed(engine: Engine, two_days: Path, kept: int) -> None:
    with engine.begin() as connection:
        connection.execute(delete(audit_log).where(audit_log.c.seq > kept))
    assert audit.verify(engine)[1] is None, "the chain alone cannot tell"
    _, broken = verify_heads(engine, two_days, KEY)
    assert broken is not None
    assert broken.seq == (3 if kept < 3 else 6)


def test_a_log_rewritten_with_right_hashes_is_found(engine: Engine, two_days: Path) -> None:
    with engine.begin() as connection:
        connection.execute(delete(audit_log).where(audit_log.c.seq > 4))
    noted(engine, "something nicer")
    noted(engine, "and more")
    assert audit.verify(engine)[1] is None
    with engine.connect() as connection:
        assert connection.execute(select(audit_log.c.seq).order_by(audit_log.c.seq.desc())).scalar() == 6
    _, broken = verify_heads(engine, two_days, KEY)
    assert broken is not None
    assert (broken.seq, "another" in broken.problem) == (6, True)


@pytest.mark.parametrize(
    "change", [lambda text: text.replace('"seq": 6', '"seq": 5'), lambda text: text + "not ours\n"]
)
def test_a_forged_note_is_found(engine: Engine, two_days: Path, change: object) -> None:
    path = two_days / FILE
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    assert verify_heads(engine, two_days, KEY)[1] is not None
    assert verify_heads(engine, two_days, b"x" * 32)[1] is not None, "another key"
