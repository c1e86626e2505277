"""Holds and warnings, as two files that dbt reads: `holds.parquet` and `connection_warnings.parquet`. Nothing in them is
forgotten, so that a rule can be replayed over an outage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from connectors.oauth import Tokens
from pipeline.follow_up.causes.trouble import Thresholds
from pipeline.follow_up.holding import DO_NOT_KNOW
from pipeline.store.engine import stamp
from pipeline.store.holds import all_holds

HOLDS = (
    "hold_id",
    "client_id",
    "scope",
    "cause",
    "evidence",
    "owner",
    "recovery_rule",
    "opened_at",
    "opened_by",
    "cleared_at",
    "cleared_by",
    "released",
    "left_over",
)
WARNINGS = ("warning_id", "client_id", "provider", "kind", "since", "what_happened")
WARNED_BEFORE: timedelta = Thresholds().token_ends_within

Row = dict[str, Any]


@dataclass(frozen=True)
class HoldRows:
    """The rows of both files."""

    holds: Sequence[Row] = ()
    warnings: Sequence[Row] = ()


NO_HOLDS = HoldRows()


def hold_rows(connection: Connection, tokens: Mapping[tuple[str, str], Tokens]) -> HoldRows:
    """`tokens` by (client, provider): somebody is warned before they end."""
    held = [{name: row[name] for name in HOLDS} for row in all_holds(connection)]
    warnings = [
        {
            "warning_id": row["hold_id"],
            "client_id": row["client_id"],
            "provider": row["scope"],
            "kind": row["cause"],
            "since": row["opened_at"],
            "what_happened": f"{row['evidence']} {row['recovery_rule']}",
        }
        for row in held
        if row["cause"] in DO_NOT_KNOW
    ]
    return HoldRows(held, [*warnings, *_ending(tokens)])


def _ending(tokens: Mapping[tuple[str, str], Tokens]) -> list[Row]:
    return [
        {
            "warning_id": f"{client_id}:{provider}:{token.reconnect_by:%Y-%m-%d}",
            "client_id": client_id,
            "provider": provider,
            "kind": "token_ends",
            "since": stamp(token.reconnect_by - WARNED_BEFORE),
            "what_happened": f"The sign-in to {provider} ends on {token.reconnect_by:%d %b %Y}. Reconnect it before.",
        }
        for (client_id, provider), token in sorted(tokens.items())
        if token.reconnect_by is not None
    ]
